"""Whose an address is, as far as the server can tell: a visitor's, a network's, or a proxy's with everybody behind it.

Owns which proxies are believed: this machine's and those of `FORWARDED_ALLOW_IPS`; on a Space every private address is
taken for one. What they say of their visitors uvicorn reads. Knows no request.
"""

import os
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

THIS_MACHINE = "127.0.0.1,::1"
EVERYBODY = "*"


def believed() -> str:
    """The proxies whose headers are believed, as uvicorn takes them."""
    return os.environ.get("FORWARDED_ALLOW_IPS", THIS_MACHINE)


def is_believed(host: str) -> bool:
    """Whether what a peer says of whom it speaks for is believed."""
    return believed() == EVERYBODY or _is_in(host, believed())


def visitors_address(host: str) -> str | None:
    """The address that limits count for, once a proxy's word has been heard: None where there is none, and where it
    is still a proxy's own. Of an IPv6 address only the network counts, since anybody has very many within it.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    anybody_may_speak = believed() == EVERYBODY or bool(os.environ.get("SPACE_ID"))
    if _is_in(str(address), believed()) or (anybody_may_speak and not address.is_global):
        return None
    return str(address) if address.version == 4 else IPv6Address(int(address)).exploded[:19]


def _is_in(host: str, listed: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and host in [name.strip() for name in listed.split(",")]
    return any(address in network for network in _networks(listed))


@lru_cache(maxsize=8)
def _networks(listed: str) -> tuple[IPv4Network | IPv6Network, ...]:
    found = []
    for written in listed.split(","):
        try:
            found.append(ip_network(written.strip(), strict=False))
        except ValueError:  # a name, as a Unix socket's
            continue
    return tuple(found)

"""Client addresses: which visitor, network or proxy an address stands for.

Owns which proxies are trusted: those of this machine and of `FORWARDED_ALLOW_IPS`; on a Space every private address
counts as a proxy. uvicorn reads what trusted proxies report about their visitors.
"""

import os
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

THIS_MACHINE = "127.0.0.1,::1"
EVERYBODY = "*"


def trusted_proxies() -> str:
    """The trusted proxies, in uvicorn's format."""
    return os.environ.get("FORWARDED_ALLOW_IPS", THIS_MACHINE)


def is_trusted_proxy(host: str) -> bool:
    """Whether the forwarding headers of a peer are trusted."""
    return trusted_proxies() == EVERYBODY or _is_in(host, trusted_proxies())


def address_of(request: Any) -> str | None:
    """`visitors_address` of a request of Gradio's or Starlette's."""
    client = getattr(request, "client", None)
    return visitors_address(client.host) if client else None


def visitors_address(host: str) -> str | None:
    """The address for which limits count, after forwarding headers were read; None if there is none, or it is a
    proxy's.

    Of an IPv6 address only the network counts, because anybody has many addresses within it.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    anybody_may_speak = trusted_proxies() == EVERYBODY or bool(os.environ.get("SPACE_ID"))
    if _is_in(str(address), trusted_proxies()) or (anybody_may_speak and not address.is_global):
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
        except ValueError:  # a name, for instance of a Unix socket
            continue
    return tuple(found)

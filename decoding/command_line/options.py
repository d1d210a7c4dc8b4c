"""Command-line options and their environment variables: each value is checked as it is read.

Owns the checks, and that each refusal is one sentence with exit code 2. Knows no option by name; the programs define
theirs (`app.py`, `python -m decoding`, `python -m decoding.bench`). Opens no network connection and loads no model.
Each check takes a string and raises argparse.ArgumentTypeError for an invalid one.
"""

import argparse
import errno
import os
import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import urlsplit

from decoding.errors import RequestError
from decoding.models.catalogue import CATALOGUE, parse_model_list

MAX_CHARACTERS = 40
"""The most characters of a value that a refusal repeats."""
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252})")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~%-]+)+/?")

Check = Callable[[str], object]


class _Variable(str):
    """The value of an environment variable, which is an option's default: argparse checks it as any other."""

    __slots__ = ()


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses in one sentence and accepts no abbreviations."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)

    def add(self, name: str, default: str, check: Check, text: str, *, environment: str = "") -> None:
        """Add an option whose default is a string, or the value of an environment variable if that is set. The variable
        is checked only if the command line does not give the option, and never before --help is printed.
        """
        given = os.environ.get(environment) if environment else None
        used = default if given is None else _Variable(given)

        def checked(value: str) -> object:
            try:
                return check(str(value))
            except argparse.ArgumentTypeError as error:
                if isinstance(value, _Variable):
                    self.error(f"argument {environment}: {error}")
                raise

        self.add_argument(f"--{name}", default=used, type=checked, help=f"{text} ({used})".replace("%", "%%"))

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument "):
            name, _, fault = message.removeprefix("argument ").partition(": ")
            if fault == "expected one argument":
                fault = f"needs a value after it; write {name}=VALUE if it begins with a dash"
            message = f"{name} {fault}"
        self.exit(2, f"{message[:1].upper()}{message[1:].rstrip('.')}. See {self.prog} --help.\n")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A check for a whole number from `least` to `most`."""

    def check(given: str) -> int:
        if given.isascii() and given.isdecimal() and len(given) < 20 and least <= int(given) <= most:
            return int(given)
        raise _refused(f"has to be a whole number from {least:,} to {most:,}", given)

    return check


def whole_numbers(least: int, most: int) -> Callable[[str], list[int]]:
    """A check for whole numbers from `least` to `most`, separated by commas."""
    one = whole_number(least, most)

    def check(given: str) -> list[int]:
        try:
            return [one(part.strip()) for part in given.split(",")]
        except argparse.ArgumentTypeError:
            raise _refused(f"has to be whole numbers from {least:,} to {most:,}, with commas", given) from None

    return check


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_LEAST_BYTES = 10**6  # a smaller number without a unit is no number of bytes that a person means
_AMOUNT = re.compile(r"([0-9]{1,12}(?:[.][0-9]{1,6})?) ?([kmgt]?)i?b?", re.IGNORECASE)


def byte_size(given: str) -> int | str:
    """A number of bytes, as "1.5GB", "800 MB" or "123456789"; or "auto"."""
    if given == "auto":
        return given
    if found := _AMOUNT.fullmatch(given):
        size = int(float(found[1]) * _UNITS[found[2].lower()])
        if size < _LEAST_BYTES and not found[2]:
            raise _refused(f"has to have a unit, as {given}GB", given)
        return size
    raise _refused("has to be a size, as 1.5GB, or auto", given)


def one_of(*names: str) -> Callable[[str], str]:
    """A check for one of `names`."""

    def check(given: str) -> str:
        if given in names:
            return given
        raise _refused(f"has to be {', '.join(names[:-1])} or {names[-1]}", given)

    return check


def host(given: str) -> str:
    """An IP address or host name: 127.0.0.1, ::1, [::1], localhost. Returned without brackets."""
    bare = given[1:-1] if given.startswith("[") and given.endswith("]") else given
    try:
        return str(ip_address(bare))
    except ValueError:
        if _HOST_NAME.fullmatch(given) and not given.replace(".", "").isdecimal():
            return given
    raise _refused("has to be an address of this machine, as 127.0.0.1, 0.0.0.0 or ::", given)


def path_prefix(given: str) -> str:
    """A path prefix, returned without the slash at its end; "" for none."""
    if given == "" or _PREFIX.fullmatch(given):
        return given.rstrip("/")
    raise _refused("has to be a path that begins with a slash, as /greedyscope", given)


def server(given: str) -> str:
    """The URL of a server, or "" for none."""
    try:
        address = urlsplit(given)
        fits = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # the port is no number or too large
        fits = False
    if given == "" or fits:
        return given
    raise _refused("has to be the address of a server, as http://127.0.0.1:8000", given)


def engine(given: str) -> str:
    """An engine: "auto", "torch", or the URL of a server; "" means auto."""
    try:
        return (given if given in ("auto", "torch") else server(given)) or "auto"
    except argparse.ArgumentTypeError:
        raise _refused("has to be auto, torch or the address of a server, as http://127.0.0.1:8000", given) from None


def models(given: str) -> str:
    """A list of models for `decoding.models.catalogue.parse_model_list`, whose local files exist."""
    try:
        entries = parse_model_list(given)
    except RequestError as error:
        raise argparse.ArgumentTypeError(f"cannot be used: {error}") from None
    for entry in entries:
        if not entry.repository and entry.name not in CATALOGUE:
            _check_path(entry.name)
    return given


def _check_path(name: str) -> None:
    from decoding.models.model_paths import entry_of  # imported here: it takes a third of a second

    try:
        entry_of(name)
    except RequestError as error:
        path = os.path.expanduser(name)
        if os.path.exists(path) or os.path.dirname(path):
            raise argparse.ArgumentTypeError(f"cannot be used: {error}") from None
        raise _refused(
            "has to name models of the catalogue, folders, GGUF files, hub:owner/name or hub:owner/name/file.gguf", name
        ) from None


def check_can_listen(host: str, port: int) -> None:
    """Raises SystemExit with a sentence if this machine cannot listen at `host` and `port`."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except (socket.gaierror, UnicodeError):  # an unknown name, or one that cannot be encoded, as a..b
        raise SystemExit(f"--host {host} is no address of this machine: its name is not known.") from None
    except PermissionError:
        raise SystemExit(f"--port {port} may not be used by this user. Choose one from 1024 on.") from None
    except OSError as error:
        taken = f"--port {port} is taken at {host}. Stop what listens there, or choose another port; 0 is any free one."
        wrong = f"--host {host} is no address of this machine. 0.0.0.0 is all of them, 127.0.0.1 this machine alone."
        raise SystemExit(taken if error.errno == errno.EADDRINUSE else wrong) from None


def bracket_ipv6(host: str) -> str:
    """A host as part of a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _refused(what: str, given: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f'{what}, not "{given[:MAX_CHARACTERS]}"')

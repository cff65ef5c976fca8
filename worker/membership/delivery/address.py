"""Choose the address to which changes are sent. Addresses of private networks are refused unless a setting allows them.

The name is resolved here, and the call goes to the checked address. If the name resolves to another address a moment
later, that has no effect.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from worker.config.errors import Temporary

_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(Temporary):
    """The host of CHANGES_URL has no address that is allowed."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, and the address of its host."""

    scheme: str
    host: str
    address: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.scheme == "https" else 80) else f"{name}:{self.port}"


def resolve(url: str, *, allow_private: bool) -> Target:
    """The target of a URL. Raises AddressRefused if its host has no address, or only private addresses and these are
    refused."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressRefused(
            f"CHANGES_URL: {host} cannot be resolved ({error.strerror or type(error).__name__})"
        ) from error
    addresses = [str(entry[4][0]) for entry in resolved]
    allowed = [each for each in addresses if allow_private or is_public(each)]
    if not allowed:
        raise AddressRefused(
            f"CHANGES_URL: {host} is {', '.join(dict.fromkeys(addresses))}, an address of a private network; set "
            "CHANGES_ALLOW_PRIVATE=true if the receiver is meant to be there"
        )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, allowed[0], port, path)


def is_public(address: str) -> bool:
    """Whether an address is on the public internet. An IPv4 address embedded in an IPv6 address is recognised."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        inner: IPv4Address | None = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            inner = IPv4Address(int(parsed) & 0xFFFFFFFF)
        if parsed.teredo is not None:
            inner = parsed.teredo[1]
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not (parsed.is_private or parsed.is_multicast or parsed.is_reserved)

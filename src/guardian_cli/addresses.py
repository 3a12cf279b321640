"""Which addresses a URL may lead to: what a stranger names must not be read from inside a network.

A public address never leads to a private one, neither by a redirect nor because its name is looked
up once more. What is judged is what a name, or an odd spelling of a number, resolves to; and that
very address is the one to connect to, so no second look-up can give another.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# From IANA's special-purpose registries, in full: what Python's `is_global` says differs between
# its releases. Multicast and 240.0.0.0/4 are in 224.0.0.0/3; the last one is Azure's host.
_NOT_PUBLIC_4 = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        "168.63.129.16/32",
    )
]
_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_PUBLIC_6 = [ip_network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")]
# Their last 32 bits are an IPv4 address that a gateway sends on to.
_TRANSLATED = [ip_network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96")]


class AddressRefusedError(Exception):
    """A host leads to an address that the rule keeps from being connected to; says why."""


def is_public(address: str) -> bool:
    """Whether an IP address, in any of its forms, is one that anybody on the internet can reach."""
    try:
        # Without its zone, as in fe80::1%eth0.
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if any(ip in network for network in _TRANSLATED):
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
        # 6to4 carries an IPv4 address as well, to which it is sent on.
        elif ip.sixtofour is not None:
            ip = ip.sixtofour
        else:
            return ip in _GLOBAL_UNICAST and not any(ip in network for network in _NOT_PUBLIC_6)
    return not any(ip in network for network in _NOT_PUBLIC_4)


def resolve_host(host: str, port: int) -> list[str]:
    """Return the IP addresses that a host has, in the order to try; raises OSError if none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class AddressRule:
    """What holds for every URL; with `refuse_private` private addresses are out from the start."""

    refuse_private: bool = False
    resolve: Callable[[str, int], Sequence[str]] = resolve_host
    is_public: Callable[[str], bool] = is_public


class AddressTrail:
    """The addresses that one URL has led to so far, and where it may lead from there."""

    def __init__(self, rule: AddressRule) -> None:
        self._rule = rule
        self._begins_public: bool | None = None
        self._was_public = False

    def begin(self) -> None:
        """Start at the URL itself again: what it was when it was first looked up, it stays."""
        self._was_public = bool(self._begins_public)

    def look_up(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host that may be connected to, and take note of them.

        Of a host that has both kinds the private ones are left out, or it is refused as a whole.
        Raises AddressRefusedError, and what the look-up raises.
        """
        addresses = self._rule.resolve(host, port)
        public = [address for address in addresses if self._rule.is_public(address)]
        if len(public) < len(addresses) and self._rule.refuse_private:
            raise AddressRefusedError(
                f"{host} is a private address (scan.private_addresses: refuse)"
            )
        self._follow(host, public=bool(public))
        return public or addresses

    def use_again(self, host: str, address: str) -> None:
        """Take note of an address that a connection from before leads to."""
        self._follow(host, public=self._rule.is_public(address))

    def check_proxied(self, host: str, port: int) -> None:
        """Check a host that a proxy is going to look up and connect to by itself.

        What this machine can't look up is left to the proxy; where private addresses are refused
        there is nothing that could be relied on.
        """
        if self._rule.refuse_private:
            raise AddressRefusedError(
                f"a proxy looks up {host}, which can't be checked "
                "(scan.private_addresses: refuse; NO_PROXY)"
            )
        try:
            self.look_up(host, port)
        except OSError:
            # Only the proxy can know where that is: it counts as public, so that nothing private
            # may follow.
            self._follow(host, public=True)

    def _follow(self, host: str, *, public: bool) -> None:
        if self._was_public and not public:
            raise AddressRefusedError(f"a public address that leads to a private one, {host}")
        self._was_public = public or self._was_public
        # Noted at the first look-up: a name that answers differently the next time changes nothing.
        if self._begins_public is None:
            self._begins_public = public

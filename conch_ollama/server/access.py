"""Who a caller is and what it may use. Decides; does not find out who it is (that is `credentials`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from conch_ollama.server.settings import Address, Network


@dataclass(frozen=True)
class Caller:
    """Who sends a request. `name` stands in logs and in the queue; `models` are patterns; `rate`: requests a minute.

    `how`: "key", "token", "network" or "open". `networks`: where it may come from (empty: anywhere).
    """

    name: str
    how: str
    models: tuple[str, ...] = ("*",)
    networks: tuple[Network, ...] = ()
    rate: int | None = None


ANYONE = Caller("anyone", "open")


@lru_cache(1024)  # clients come again
def parse_address(text: str) -> Address | None:
    """An IP address, IPv4 in IPv6 clothes as IPv4; None for what is none (a Unix socket, a host name)."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks; an unknown address is in none."""
    return address is not None and any(address in network for network in networks)


def may_use(caller: Caller, address: Address | None, model: str, networks: Sequence[Network] = ()) -> bool:
    """Whether the caller may see and use a model that is open to `networks` (empty: to all)."""
    if networks and not within(address, networks):
        return False
    return "*" in caller.models or any(fnmatchcase(model, pattern) for pattern in caller.models)

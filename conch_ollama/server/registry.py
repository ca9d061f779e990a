"""Which models there are: name -> runtime, aliases, `name:latest`. Asks the runtimes what they have; keeps no answers.

A registry is one reading of the configuration; a changed configuration makes another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.protocol import ModelCard, Runtime
from conch_ollama.server.access import Caller, may_use
from conch_ollama.server.errors import model_not_found
from conch_ollama.server.settings import Address, ModelSettings, Settings

log = logging.getLogger(__name__)
_LATEST = ":latest"
#: Seconds for which a listing is good, and between two listings for names that are not known.
_FRESH_S = 5.0
_AGAIN_S = 1.0
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Served:
    """A model that clients may ask for.

    `name`: as it is asked for, `target`: what an alias stands for, `card.name`: the runtime's own name.
    """

    name: str
    target: str
    runtime: Runtime
    card: ModelCard
    settings: ModelSettings

    @property
    def model(self) -> str:
        """The runtime's own name of it."""
        return self.card.name


class Registry:
    """The models of all runtimes, by the names that clients use."""

    def __init__(self, runtimes: Mapping[str, Runtime], settings: Settings) -> None:
        self.runtimes = dict(runtimes)
        self._settings = settings
        self._cards: dict[str, dict[str, ModelCard]] = {name: {} for name in runtimes}
        self._served: dict[str, Served] = {}
        self._listed = float("-inf")
        self._lock = asyncio.Lock()
        self._served = self._join()

    async def refresh(self, older_than_s: float = _FRESH_S) -> None:
        """Ask every runtime what it has, unless that was done less than `older_than_s` ago.

        A runtime that doesn't answer keeps the models it had.
        """
        async with self._lock:
            if time.monotonic() - self._listed < older_than_s:
                return
            await asyncio.gather(*(self._ask(name, runtime) for name, runtime in self.runtimes.items()))
            self._served = self._join()
            self._listed = time.monotonic()

    async def _ask(self, name: str, runtime: Runtime) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                self._cards[name] = {card.name: card for card in await runtime.models()}
        except (ConchError, TimeoutError) as err:
            log.warning("runtime %s does not list its models: %s", name, err or "no answer in time")

    def _join(self) -> dict[str, Served]:
        served = {}
        for name, wish in self._settings.models.items():
            cards = self._cards.get(wish.runtime, {})
            own = wish.model or (next(iter(cards)) if name not in cards and len(cards) == 1 else name)
            card = cards.get(own) or cards.get(own + _LATEST) or ModelCard(own)
            if wish.capabilities:
                card = replace(card, capabilities=card.capabilities | wish.capabilities)
            served[name] = Served(name, name, self.runtimes[wish.runtime], card, wish)
        if not self._settings.models:
            for runtime_name, cards in self._cards.items():
                for card in cards.values():
                    wish = ModelSettings(runtime_name)
                    one = Served(card.name, card.name, self.runtimes[runtime_name], card, wish)
                    served.setdefault(card.name, one)
        return served

    def served(self) -> list[Served]:
        """All of them as last listed, whoever may use them."""
        return list(self._served.values())

    async def find(self, name: str | None, caller: Caller, address: Address | None) -> Served:
        """The model of that name for that caller. Raises Refusal (404) for one that it may not see, too."""
        wanted = name or self._settings.default_model or self._only(caller, address)
        found = self._lookup(wanted, caller)
        if found is None:
            await self.refresh(_AGAIN_S)
            wanted = wanted or self._only(caller, address)
            found = self._lookup(wanted, caller)
        if found is None or not self._allowed(found, caller, address):
            raise model_not_found(wanted or "", hidden=found is not None)
        # Clients look for the name that they asked for, tag and all.
        return found if wanted in {None, found.name} else replace(found, name=wanted)

    def _only(self, caller: Caller, address: Address | None) -> str | None:
        names = [name for name, served in self._served.items() if self._allowed(served, caller, address)]
        return names[0] if len(names) == 1 else None

    def _lookup(self, name: str | None, caller: Caller) -> Served | None:
        if name is None:
            return None
        for candidate in (name, name.removesuffix(_LATEST), name + _LATEST):
            for route in self._settings.routes:
                if route.alias == candidate and _fits(caller, route.keys):
                    target = self._served.get(route.model)
                    return None if target is None else replace(target, name=route.alias)
            if candidate in self._served:
                return self._served[candidate]
        return None

    def _allowed(self, served: Served, caller: Caller, address: Address | None) -> bool:
        networks = served.settings.networks
        return may_use(caller, address, served.name, networks) or (
            served.target != served.name and may_use(caller, address, served.target, networks)
        )

    async def listed(self, caller: Caller, address: Address | None) -> list[Served]:
        """What this caller may use, aliases too."""
        await self.refresh()
        found = dict(self._served)
        for route in self._settings.routes:
            if _fits(caller, route.keys) and route.model in self._served:
                found.setdefault(route.alias, replace(self._served[route.model], name=route.alias))
        return [served for served in found.values() if self._allowed(served, caller, address)]


def _fits(caller: Caller, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(caller.name, pattern) for pattern in patterns)

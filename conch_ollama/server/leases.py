"""Who uses which runtime now, so that one which the configuration no longer names ends after its last answer."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from conch_ollama.errors import ConchError
from conch_ollama.runtimes.protocol import Runtime

log = logging.getLogger(__name__)


class Leases:
    """Counts running uses of runtimes. Not thread-safe: it lives in the event loop."""

    def __init__(self) -> None:
        self._uses: Counter[int] = Counter()
        self._retired: dict[int, Runtime] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def take(self, runtime: Runtime) -> None:
        """The runtime is in use until it is given back."""
        self._uses[id(runtime)] += 1

    def give_back(self, runtime: Runtime) -> None:
        """One use of it has ended."""
        self._uses[id(runtime)] -= 1
        self._close_if_idle(id(runtime))

    def retire(self, runtime: Runtime) -> None:
        """Close the runtime when its last answer has ended: at once if there is none."""
        self._retired[id(runtime)] = runtime
        self._close_if_idle(id(runtime))

    def _close_if_idle(self, key: int) -> None:
        if self._uses[key] > 0:
            return
        del self._uses[key]
        runtime = self._retired.pop(key, None)
        if runtime is not None:
            task = asyncio.get_running_loop().create_task(_close(runtime))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close_all(self, runtimes: list[Runtime]) -> None:
        """End everything, retired runtimes too."""
        await asyncio.gather(*(_close(runtime) for runtime in [*runtimes, *self._retired.values()]), *self._closing)
        self._retired.clear()


async def _close(runtime: Runtime) -> None:
    try:
        await runtime.close()
    except ConchError as err:
        log.warning("a runtime of kind %s does not end cleanly: %s", runtime.kind, err)

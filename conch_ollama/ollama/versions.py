"""Which version of Ollama a Modelfile needs. Asks no server."""

from __future__ import annotations

import re

from conch_ollama.errors import NotSupportedError
from conch_ollama.ollama.modelfile import Modelfile

OLDEST = (0, 5, 5)  # the first whose /api/create takes files
OLDEST_WITH_RENDERER = (0, 12, 0)


def check_version(version: str, modelfile: Modelfile, host: str) -> None:
    """Raises NotSupportedError where the Ollama at `host` is too old for the Modelfile."""
    numbers = _numbers(version)
    if numbers == (0, 0, 0):  # a build of one's own: nothing to compare
        return
    needed = OLDEST
    if has_engine_settings(modelfile):
        needed = max(needed, OLDEST_WITH_RENDERER)
    if modelfile.requires is not None:
        needed = max(needed, _numbers(modelfile.requires))
    if numbers < needed:
        wanted = ".".join(map(str, needed))
        raise NotSupportedError(
            f"Ollama at {host} is {version}; {wanted} or later is needed", hint="update it: https://ollama.com/download"
        )


def has_engine_settings(modelfile: Modelfile) -> bool:
    """RENDERER and the like, which `show` does not show: a model that has them is created anew each time."""
    return any((modelfile.renderer, modelfile.parser, modelfile.requires))


def _numbers(version: str) -> tuple[int, int, int]:
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)

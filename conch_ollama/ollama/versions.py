"""Which version of Ollama a Modelfile needs. Asks no server."""

from __future__ import annotations

import re

from conch_ollama.errors import NotSupportedError
from conch_ollama.ollama.modelfile import Modelfile

OLDEST = (0, 5, 5)  # the first whose /api/create takes files
OLDEST_WITH_RENDERER = (0, 12, 0)
OLDEST_WITH_NATIVE = (0, 30, 0)  # renders the GGUF's own chat template where there is no TEMPLATE, or a poorer one
OLDEST_WITH_RENDERED = (0, 11, 5)  # `_debug_render_only` answers with the prompt

Version = tuple[int, int, int]
#: Fields of a Modelfile and of /api/create for Ollama's built-in renderers.
ENGINE = ("renderer", "parser", "requires")


def check_version(version: str, modelfile: Modelfile, host: str) -> None:
    """Raises NotSupportedError where the Ollama at `host` is too old for the Modelfile."""
    numbers = version_numbers(version)
    if numbers == (0, 0, 0):  # a build of one's own: nothing to compare
        return
    needed = OLDEST
    if has_engine_settings(modelfile):
        needed = max(needed, OLDEST_WITH_RENDERER)
    if modelfile.requires is not None:
        needed = max(needed, version_numbers(modelfile.requires))
    if numbers < needed:
        wanted = ".".join(map(str, needed))
        raise NotSupportedError(
            f"Ollama at {host} is {version}; {wanted} or later is needed", hint="update it: https://ollama.com/download"
        )


def check_native(version: str, jinja: str | None, name: object, host: str) -> None:
    """Raises NotSupportedError where the server can't render the GGUF's own chat template, or there is none."""
    if not is_native(version):
        raise NotSupportedError(
            f"{name} can't go without a TEMPLATE: Ollama at {host} is {version}, and before 0.30 it does not "
            "render the chat template in the GGUF but guesses a TEMPLATE",
            hint="leave --template out, or say --template proven; or update Ollama",
        )
    if not jinja:
        raise NotSupportedError(
            f"{name} can't go without a TEMPLATE: its GGUF has no chat template to render", hint="give --template FILE"
        )


def is_native(version: str) -> bool:
    """Whether that Ollama may render the GGUF's own chat template; of a build of one's own it is not taken."""
    return version_numbers(version) >= OLDEST_WITH_NATIVE


def has_engine_settings(modelfile: Modelfile) -> bool:
    """RENDERER and the like, which `show` does not show: a model that has them is created anew each time."""
    return any(getattr(modelfile, key) for key in ENGINE)


def version_numbers(version: str) -> Version:
    """(major, minor, patch); (0, 0, 0) for a build of one's own, which does not say."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else (0, 0, 0)

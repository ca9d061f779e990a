"""What a workflow tells while it works; the command line shows it, a program may ignore it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from conch_ollama.exporter.preflight import Preflight


class Events(Protocol):
    """Listener of a workflow."""

    def step(self, text: str) -> None:
        """Something begins."""
        ...

    def note(self, text: str) -> None:
        """Something is done, or worth knowing."""
        ...

    def warning(self, text: str) -> None:
        """Something that the user should look at."""
        ...

    def preflight(self, preflight: Preflight) -> None:
        """What an export will write, before it does."""
        ...

    def progress(self, done: int, total: int, what: str) -> None:
        """Work done of work in all, in one unit; done == total ends it."""
        ...

    def text(self, piece: str) -> None:
        """A piece of a model's answer."""
        ...


class Silent:
    """Tells nobody."""

    def step(self, text: str) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""

    def warning(self, text: str) -> None:
        """Ignored."""

    def preflight(self, preflight: Preflight) -> None:
        """Ignored."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Ignored."""

    def text(self, piece: str) -> None:
        """Ignored."""

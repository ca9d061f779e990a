"""The only place that prints. Results go to standard output, everything else to standard error.

Survives a console that cannot show Chinese or box characters (GBK, cp1252): what it can't show becomes `?`.
"""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from conch_ollama.errors import ConchError
    from conch_ollama.exporter.preflight import Preflight


def prepare() -> None:
    """Make both streams print what their encoding can show, and never fail on the rest."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def line(text: str = "") -> None:
    """One line of a result."""
    click.echo(text)


def piece(text: str) -> None:
    """Part of a line, at once."""
    click.echo(text, nl=False)
    sys.stdout.flush()


def as_json(value: Any) -> None:
    """A result for programs."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def table(rows: list[tuple[str, str]], indent: int = 2) -> None:
    """Two columns, the first as wide as it must be."""
    from rich.cells import cell_len  # Chinese takes two columns

    width = max((cell_len(key) for key, _ in rows), default=0)
    for key, value in rows:
        line(f"{' ' * indent}{key}{' ' * (width - cell_len(key))}  {value}")


def note(text: str) -> None:
    """What happens."""
    click.echo(text, err=True)


def warning(text: str) -> None:
    """What the user should look at."""
    click.echo(click.style("warning: ", fg="yellow") + text, err=True)


def error(text: str) -> None:
    """What went wrong."""
    click.echo(click.style("error: ", fg="red", bold=True) + text, err=True)


def conch_error(err: ConchError) -> None:
    """One line with the code, then the hint."""
    error(f"{err.message} [{err.code}]")
    if err.hint:
        for number, text in enumerate(err.hint.splitlines()):
            click.echo(("  hint: " if number == 0 else "        ") + text, err=True)


def size(nbytes: float) -> str:
    """Bytes in the unit that reads best, powers of ten as disks and downloads are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.2f} TB"


class Terminal:
    """Shows a workflow's events: steps and warnings as lines, progress as a bar with rate and time left."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        """Something begins."""
        self.end()
        click.echo(click.style("==> ", fg="cyan") + text, err=True)

    def note(self, text: str) -> None:
        """Something is done."""
        self.end()
        click.echo(f"    {text}", err=True)

    def warning(self, text: str) -> None:
        """Something to look at."""
        self.end()
        warning(text)

    def text(self, text: str) -> None:
        """A piece of an answer."""
        piece(text)

    def preflight(self, preflight: Preflight) -> None:
        """What will be written where."""
        self.end()
        for file in preflight.files:
            types = ", ".join(f"{count} {name}" for name, count in file.types.items())
            self.note(f"{file.path.name}: {size(file.size)}, {file.bits_per_weight:.2f} bits per weight ({types})")
            for reason, count, example in file.fallbacks:
                self.note(f"  {count} tensors fall back: {reason} (e.g. {example})")
        if preflight.folder is not None:
            self.note(f"{preflight.folder}: {size(preflight.folder_size)}")
        self.note(
            f"{preflight.parameters:,} parameters; writes {size(preflight.size)} of {size(preflight.free)} free; "
            f"block buffers {size(preflight.memory)}"
        )

    def progress(self, done: int, total: int, what: str) -> None:
        """Move the bar; it closes when all is done."""
        if self._bar is None:
            self._bar = _progress_bar()
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=what)
        if done >= total:
            self.end()

    def end(self) -> None:
        """Close the bar, if there is one."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


def _progress_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        def __init__(self) -> None:
            super().__init__("")

        def render(self, task: Any) -> Text:
            return Text(f"{(task.finished_speed or task.speed or 0) / 1e6:.0f} M/s")

    return Progress(
        TextColumn("    {task.description:<28.28}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )

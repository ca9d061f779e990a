"""`conch top`: what a running shim does, live in the terminal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

from conch_ollama.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from conch_ollama.workflows.top import Look

_HEADS = ("model", "now", "queue", "requests", "errors", "tokens in", "tokens out", "tokens/s", "first token")


@click.command("top", help="Watch a running `conch serve`: requests, queue, tokens, times, by model.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="Where it serves.")
@click.option("--key-env", metavar="VAR", help="Environment variable with a key that may use all models.")
@click.option("--every", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Look once and leave.")
def command(url: str, key_env: str | None, every: float, once: bool) -> None:
    from conch_ollama.workflows.top import Top

    top = Top(url, os.environ.get(key_env) if key_env else None)
    if once:
        for row in _rows(top.look()):
            output.line("  ".join(row))
        return
    from rich.live import Live

    with Live(_table(top.look()), auto_refresh=False) as live:
        while True:
            time.sleep(every)
            live.update(_table(top.look()), refresh=True)


def _rows(look: Look) -> list[tuple[str, ...]]:
    return [
        _HEADS,
        *(
            (
                f"{row.model}@{row.version}" if row.version and "@" not in row.model else row.model,
                str(row.running),
                str(row.waiting),
                str(row.requests),
                str(row.errors),
                str(row.tokens_in),
                str(row.tokens_out),
                f"{row.tokens_per_s:.1f}",
                "-" if row.first_s is None else f"{row.first_s * 1000:.0f} ms",
            )
            for row in look.rows
        ),
    ]


def _table(look: Look) -> Table:
    from rich.table import Table

    heads, *rows = _rows(look)
    notes = [f"{name}: {count} restarts" for name, count in look.restarts.items()]
    notes += [f"{name} is not well" for name in look.down]
    table = Table(caption="; ".join(notes) or None)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    return table

"""`conch keys`: API keys for `conch serve --keys`. Each key is shown once and stored as a hash."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from conch_ollama.cli import output

file_option = click.option(
    "--keys",
    "--file",
    "file",
    type=click.Path(path_type=Path),
    default=Path("conch-keys.json"),
    show_default=True,
    help="The file of keys.",
)


@click.group("keys", help="API keys for `conch serve --keys FILE`.")
def command() -> None:
    pass


@command.command("add", help="Make a key for NAME and show it, once.")
@click.argument("name")
@file_option
@click.option("--model", "models", multiple=True, metavar="PATTERN", help="What it may use; repeatable. [default: all]")
@click.option(
    "--network", "networks", multiple=True, metavar="CIDR", help="Where it may come from. [default: anywhere]"
)
@click.option("--rate", type=click.IntRange(min=1), help="Requests a minute. [default: any number]")
def add(name: str, file: Path, models: tuple[str, ...], networks: tuple[str, ...], rate: int | None) -> None:
    from conch_ollama.server.keys import KeyFile

    key = KeyFile(file).add(name, models=models or ("*",), networks=networks, rate=rate)
    output.line(key)
    output.note(f"{name}: the key is shown this once; {file} holds its hash")


@command.command("list", help="Show the keys: never themselves.")
@file_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_keys(file: Path, as_json: bool) -> None:
    from conch_ollama.server.keys import KeyFile

    found = list(KeyFile(file).load().values())
    if as_json:
        fields = ("id", "name", "created", "models", "networks", "rate", "revoked")
        output.as_json([{name: getattr(key, name) for name in fields} for key in found])
        return
    for key in found:
        parts = [f"models {', '.join(key.models)}"]
        parts += [f"from {', '.join(key.networks)}"] if key.networks else []
        parts += [f"{key.rate} a minute"] if key.rate else []
        parts.append(f"made {_day(key.created)}")
        parts += [f"REVOKED {_day(key.revoked)}"] if key.revoked else []
        output.table([(f"{key.id} {key.name}", "; ".join(parts))], indent=0)


@command.command("revoke", help="Take the key of NAME (or of that id) its rights away, in running shims too.")
@click.argument("name")
@file_option
def revoke(name: str, file: Path) -> None:
    from conch_ollama.server.keys import KeyFile

    key = KeyFile(file).revoke(name)
    output.note(f"{key.name} ({key.id}) is revoked")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d")

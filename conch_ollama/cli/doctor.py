"""`conch doctor`: what is here and what to use; with a NAME, what is wrong with a model in Ollama, and mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import host_option
from conch_ollama.errors import UsageError

if TYPE_CHECKING:
    from conch_ollama.workflows.diagnosis import Diagnosis
    from conch_ollama.workflows.patient import Finding

FAULTS_LEFT = 3


@click.command(
    "doctor",
    help="""Show versions, runtimes, Ollama, disk and memory, and what to use here.

    NAME: a model in Ollama. Then: is its TEMPLATE the one it was trained on, does it stop, is its context long enough?
    The exit status is 3 where faults are left.
    """,
)
@click.argument("name", required=False)
@host_option
@click.option("--fix", is_flag=True, help="Create the model again, under its name and from its own GGUF, mended.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(name: str | None, host: str | None, fix: bool, as_json: bool) -> int:
    if name is None:
        if fix:
            raise UsageError("--fix needs the NAME of a model in Ollama", hint="`ollama list` shows them")
        _machine(host, as_json)
        return 0
    found = _mended(name, host) if fix else _examined(name, host)
    if as_json:
        output.as_json(found.as_dict())
    else:
        _print(found, fix)
    return 0 if found.healthy else FAULTS_LEFT


def _machine(host: str | None, as_json: bool) -> None:
    from conch_ollama.workflows.doctor import examine

    found = examine(host)
    if as_json:
        output.as_json(found.as_dict())
        return
    for title, rows in found.sections:
        output.line(title)
        output.table(list(rows))
    output.line("advice")
    for text in found.advice:
        output.line(f"  - {text}")


def _examined(name: str, host: str | None) -> Diagnosis:
    from conch_ollama.workflows.diagnosis import examine_model

    return examine_model(name, host=host)


def _mended(name: str, host: str | None) -> Diagnosis:
    from conch_ollama.workflows.mending import mend_model

    return mend_model(name, host=host, events=output.Terminal())


def _print(found: Diagnosis, fix: bool) -> None:
    output.line(f"{found.name} on {found.host} (Ollama {found.version})")
    for finding in found.mended:
        output.line(f"  mended: {finding.message} [{finding.code}]")
    for change in found.changes:
        output.line(f"    now: {change}")
    for finding in found.findings:
        _fault(finding)
    for note in found.notes:
        output.line(f"  note: {note}")
    if found.healthy:
        output.line("  no fault found" if found.notes else "  healthy now" if found.mended else "  healthy")
    elif not fix:
        output.note(f"next: conch doctor {found.name} --fix")


def _fault(finding: Finding) -> None:
    output.line(f"  fault: {finding.message} [{finding.code}]")
    output.line(f"    {finding.advice}")
    for line in finding.diff.splitlines():
        output.line(f"      {line}")

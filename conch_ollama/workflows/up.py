"""Export, register, chat: the last mile in one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conch_ollama.errors import OllamaUnreachableError, TemplateMismatchError
from conch_ollama.workflows.chat import Chat, open_chat
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.export import export
from conch_ollama.workflows.folders import REPORT
from conch_ollama.workflows.register import register
from conch_ollama.workflows.results import ExportResult


def up(base: str | Path, *, host: str | None = None, events: Events | None = None, **options: Any) -> Chat:
    """Export `base` (options as for `export`), register it with Ollama if one answers, and open a chat.

    Without Ollama, or where no TEMPLATE is proven, the chat goes through the embedded llama.cpp. What an earlier run
    exported from the same base, adapters and types is used again unless `force` is given.
    """
    events = events or Silent()
    ahead = export(base, **{**options, "dry_run": True, "force": True})
    if not options.get("force") and _is_exported(ahead):
        events.note(f"{ahead.folder} holds this export already (--force exports again)")
        folder = ahead.folder
    else:
        folder = export(base, events=events, **options).folder
    try:
        own = options.get("template") not in (None, "proven", "native")  # a file: the user answers for it
        allowed = bool(options.get("allow_unproven")) or own
        registered = register(folder, host=host, ask=None, allow_unproven=allowed, events=events)
    except (OllamaUnreachableError, TemplateMismatchError) as err:
        events.warning(f"{err.message}; chatting without Ollama")
        return open_chat(folder)
    return open_chat(registered.name, host=host)


def _is_exported(ahead: ExportResult) -> bool:
    """Whether the folder already holds what a dry run announces."""
    try:
        report = json.loads((ahead.folder / REPORT).read_text(encoding="utf-8"))
        files = {file["file"]: file["bytes"] for file in report["files"]}
        same_origin = all(report[key] == json.loads(json.dumps(value)) for key, value in ahead.provenance.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False
    planned = {file.path.name: file.size for file in ahead.preflight.files}
    there = all((ahead.folder / name).is_file() for name in planned)
    return same_origin and there and planned.items() <= files.items()

"""The `conch` command: one file a command, found by name in a table, imported only when it is called for."""

from __future__ import annotations

from conch_ollama.cli.root import run

__all__ = ["run"]

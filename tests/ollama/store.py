"""Looks into the folder where a server of the tests keeps its models: what must be the same where nothing was lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.parts.ollama import OllamaServer
from tests.parts.waiting import wait_until


def manifests(server: OllamaServer) -> dict[str, str]:
    """Every model's manifest; fails where one names a file that is not there whole."""
    root = server.models / "manifests"
    found = {str(p.relative_to(root)): p.read_text(encoding="utf-8") for p in root.rglob("*") if p.is_file()}
    stored = blobs(server)
    for text in found.values():
        manifest = json.loads(text)
        for layer in (manifest["config"], *manifest["layers"]):
            assert stored[layer["digest"].replace(":", "-")] == layer["size"]
    return found


def blobs(server: OllamaServer) -> dict[str, int]:
    """Every stored file with its size, after the server has cleared away what it was receiving."""
    wait_until(
        lambda: not any(unfinished(path) for path in folder(server).iterdir()),
        fault="the server keeps an unfinished upload",
    )
    return {path.name: path.stat().st_size for path in folder(server).iterdir()}


def folder(server: OllamaServer) -> Path:
    return server.models / "blobs"


def unfinished(path: Path) -> bool:
    return re.fullmatch(r"sha256-[0-9a-f]{64}", path.name) is None

"""Makes an Ollama store on disk as Ollama 0.9 lays it out: manifests and blobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

MEDIA = "application/vnd.ollama.image."


def write_model(store: Path, place: str, layers: Sequence[tuple[str, bytes]]) -> list[Path]:
    """`place`: host/namespace/model/tag. Layers: (kind, content). Returns the blobs."""
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    listed, blobs = [], []
    for kind, content in layers:
        digest = hashlib.sha256(content).hexdigest()
        blob = store / "blobs" / f"sha256-{digest}"
        blob.write_bytes(content)
        blobs.append(blob)
        listed.append({"mediaType": MEDIA + kind, "digest": f"sha256:{digest}", "size": len(content)})
    manifest = store / "manifests" / place
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": {}, "layers": listed}), encoding="utf-8")
    return blobs

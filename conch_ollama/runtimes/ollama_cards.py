"""What Ollama says of its models (/api/tags, /api/show, /api/ps) as ModelCards and times. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from conch_ollama.runtimes.protocol import ModelCard


def card_from(name: str, listed: Mapping[str, Any], shown: Mapping[str, Any]) -> ModelCard:
    """`listed`: the model in /api/tags; `shown`: /api/show of it."""
    details, info = shown.get("details") or {}, shown.get("model_info") or {}
    architecture = str(info.get("general.architecture") or details.get("family") or "")
    capabilities = frozenset(str(one) for one in shown.get("capabilities") or ("completion",))
    return ModelCard(
        name=name,
        architecture=architecture,
        parameters=int(info.get("general.parameter_count") or 0),
        context_length=int(info.get(f"{architecture}.context_length") or 0),
        embedding_length=int(info.get(f"{architecture}.embedding_length") or 0),
        quantization=str(details.get("quantization_level") or ""),
        size=int(listed.get("size") or 0),
        digest=str(listed.get("digest") or ""),
        modified=seconds(listed.get("modified_at")),
        template=str(shown.get("template") or ""),
        system=str(shown.get("system") or ""),
        license=str(shown.get("license") or ""),
        capabilities=capabilities,
        options=parameters(str(shown.get("parameters") or "")),
    )


def parameters(text: str) -> dict[str, Any]:
    """The lines of /api/show's `parameters`: a name, spaces, a value that is in quotes if it is text."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        try:
            value = json.loads(rest.strip())
        except ValueError:
            value = rest.strip().strip('"')
        if name == "stop":
            found.setdefault("stop", []).append(str(value))
        elif name:
            found[name] = value
    return found


def seconds(stamp: Any) -> float:
    """Go's RFC 3339 time, up to nanoseconds, in seconds since 1970; 0 for none."""
    if not isinstance(stamp, str) or stamp.startswith("0001-"):
        return 0.0
    head, dot, tail = stamp.partition(".")
    if dot:  # Python before 3.11.4 and others take six digits
        digits = len(tail) - len(tail.lstrip("0123456789"))
        stamp = f"{head}.{tail[: min(digits, 6)].ljust(6, '0')}{tail[digits:]}"
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0

"""What is written down of a proof, so that a receiver can make it again: for programs, for export.json, for a GGUF.

Values only. `corpus_version` says which conversations it was made with: another corpus is another proof.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from conch_ollama.chat_template.conversations import CONVERSATIONS, Conversation
from conch_ollama.chat_template.judge import ALTERED_KIND
from conch_ollama.chat_template.verdicts import ALTERED, ClassVerdict, Proof

#: Why old answers may be rendered otherwise than by the TEMPLATE alone.
ALTERED_WHY = (
    "before the TEMPLATE sees them, Ollama cuts thoughts (<think>…</think>) and the white space around them off the "
    "answers before the last question: of models of the family qwen3, and of models named deepseek-r1"
)


@cache
def corpus_version() -> str:
    """The first 16 hex digits of the sha256 of all conversations, as canonical JSON."""
    everything = [{"kind": one.kind, **conversation_value(one)} for one in CONVERSATIONS]
    text = json.dumps(everything, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def text_sha256(text: str) -> str:
    """Of a template's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def conversation_value(one: Conversation) -> dict[str, Any]:
    """A conversation as a chat request has it: `messages`, and `tools` and `think` where it says something of them."""
    found: dict[str, Any] = {"messages": [dict(message) for message in one.messages]}
    if one.tools is not None:
        found["tools"] = [dict(tool) for tool in one.tools]
    if one.think is not None:
        found["think"] = one.think
    return found


def class_values(proof: Proof) -> dict[str, dict[str, Any]]:
    """class -> {verdict; where it is not equal: conversation, diff, construct, limit}, those that have a value."""
    found = {kind: class_value(one) for kind, one in proof.classes.items()}
    if ALTERED_KIND in found and proof.classes[ALTERED_KIND].verdict == ALTERED:
        found[ALTERED_KIND]["limit"] = ALTERED_WHY
    return found


def class_value(one: ClassVerdict) -> dict[str, Any]:
    """One verdict, for programs."""
    found: dict[str, Any] = {"verdict": one.verdict}
    if one.conversation is not None:
        found["conversation"] = conversation_value(one.conversation)
    return found | {key: text for key in ("diff", "construct", "limit") if (text := getattr(one, key))}


def proof_record(proof: Proof, *, jinja: str, model: str, ollama: str, token_ids: str) -> dict[str, Any]:
    """What export.json holds of a proof: the verdicts, and all that it takes to make the proof again.

    `jinja`: the source that was proven against. `model`: the name it was proven under. `ollama`: the version whose
    rules were followed. `token_ids`: whether ids were compared too, in words.
    """
    found: dict[str, Any] = {
        "strategy": proof.strategy,
        "proven": proof.proven,
        "reason": proof.reason,
        "classes": {kind: one.verdict for kind, one in proof.classes.items()},
        "not_equal": {
            kind: f"{one.construct}: {one.limit}" for kind, one in proof.classes.items() if one.construct or one.limit
        },
        "bos": proof.bos,
        "capabilities": sorted(proof.capabilities),
        "bypassed_by_new_ollama": proof.bypassed,
        "corpus": corpus_version(),
        "token_ids": token_ids,
        "template_sha256": text_sha256(proof.template),
        "jinja_sha256": text_sha256(jinja),
        "model": model,
        "ollama": ollama,
    }
    if proof.altered:
        found["altered_by_ollama"] = {"conversations": len(proof.altered), "why": ALTERED_WHY}
    return found


def gguf_record(record: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """The same, compact, for the keys `conch.template.*` of a GGUF: texts and lists of texts only."""
    found: dict[str, str | list[str]] = {
        "verdict": "proven" if record.get("proven") else "not proven",
        "strategy": str(record.get("strategy") or "none"),
    }
    classes = record.get("classes") or {}
    if classes:
        found["classes"] = [f"{kind}: {verdict}" for kind, verdict in classes.items()]
    for key in ("reason", "corpus", "template_sha256", "jinja_sha256", "model", "ollama", "token_ids"):
        if record.get(key):
            found[key] = str(record[key])
    trained = record.get("trained") or {}
    if trained.get("template"):
        found["trained"] = str(trained["template"])
    return found

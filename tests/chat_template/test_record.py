"""What is written down of a proof: enough to make it again, in plain values, compact in a GGUF."""

from __future__ import annotations

import hashlib
import json

from conch_ollama.chat_template.conversations import CONVERSATIONS
from conch_ollama.chat_template.prove import ALTERED_KIND, best_template
from conch_ollama.chat_template.record import (
    class_values,
    conversation_value,
    corpus_version,
    gguf_record,
    proof_record,
    text_sha256,
)
from tests.chat_template.references import reference, source


def test_the_corpus_has_a_version_of_its_own_texts() -> None:
    assert len(corpus_version()) == 16
    values = [conversation_value(one) for one in CONVERSATIONS]
    assert all(value["messages"] for value in values)
    assert any("tools" in value for value in values) and any("think" in value for value in values)
    assert json.loads(json.dumps(values)) == values


def test_a_proof_in_plain_values() -> None:
    proof = best_template(reference("qwen3"), add_bos=False, bos_token="", family="qwen3", name="我的:latest")
    record = proof_record(proof, jinja=source("qwen3"), model="我的:latest", ollama="0.9.3", token_ids="equal")
    assert json.loads(json.dumps(record)) == record
    assert record["jinja_sha256"] == hashlib.sha256(source("qwen3").encode()).hexdigest()
    assert record["template_sha256"] == text_sha256(proof.template)
    assert record["altered_by_ollama"]["conversations"] == len(proof.altered) > 0
    assert record["classes"][ALTERED_KIND] == "altered by Ollama"
    values = class_values(proof)
    assert "qwen3" in values[ALTERED_KIND]["limit"]
    assert values["user"] == {"verdict": "equal"}
    compact = gguf_record({**record, "trained": {"template": "qwen3"}})
    assert compact["verdict"] == "proven"
    assert f"{ALTERED_KIND}: altered by Ollama" in compact["classes"]
    assert (compact["model"], compact["trained"], compact["corpus"]) == ("我的:latest", "qwen3", corpus_version())
    assert all(isinstance(value, str) or all(isinstance(one, str) for one in value) for value in compact.values())


def test_without_a_proof_there_is_little_to_say() -> None:
    assert gguf_record({"strategy": None, "proven": False, "reason": "none"}) == {
        "verdict": "not proven",
        "strategy": "none",
        "reason": "none",
    }

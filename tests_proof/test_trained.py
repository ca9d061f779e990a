"""Every format that LLaMA-Factory trains gets a proven TEMPLATE, and none that is false on a larger corpus."""

from __future__ import annotations

from typing import Any

import pytest

from conch_ollama.chat_template.conversations import PLAIN
from conch_ollama.chat_template.prove import best_template
from conch_ollama.chat_template.trained.formats import names, trained_jinja
from conch_ollama.chat_template.trained.table import formats
from tests.chat_template.larger_corpus import first_difference, larger

BOS, EOS = "<s>", "</s>"
REASONING = [name for name in names() if formats()[name].is_reasoning]
#: Some that are used with SentencePiece tokenizers.
SPACED = ["alpaca", "default", "llama2", "llama2_zh", "mistral", "openchat", "solar", "vicuna", "yi", "zephyr"]


@pytest.mark.parametrize(
    ("name", "options", "add_bos"),
    [
        *((name, {}, True) for name in names()),
        *((name, {"enable_thinking": False}, False) for name in REASONING),
        *((name, {"mask_history": True}, False) for name in REASONING),
        *((name, {"space_prefix": True}, True) for name in SPACED),
        *((name, {"default_system": '只说"海螺"话。\n'}, False) for name in SPACED),
    ],
    ids=str,
)
def test_proven(name: str, options: dict[str, Any], add_bos: bool) -> None:
    jinja = trained_jinja(name, bos_token=BOS, eos_token=EOS, **options)
    found = best_template(jinja, add_bos=add_bos, bos_token=BOS, families=())
    assert found.proven, (found.reason, [kind for kind in PLAIN if not found.classes[kind].holds])
    corpus = larger(count=12)
    assert first_difference(jinja, found.template, add_bos=add_bos, bos=BOS, corpus=corpus) is None

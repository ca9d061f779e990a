"""Hypothesis strategies for Modelfiles: text made of what is hard for the grammar, and whole Modelfiles of it."""

from __future__ import annotations

import unicodedata

from hypothesis import strategies as st

from conch_ollama.ollama.modelfile import ROLES, Modelfile, ModelMessage
from conch_ollama.ollama.parameters import BOOLEANS, FLOATS, INTEGERS

HARD = ['"', '""', '"""', "\n", "\r\n", "\r", "\t", " ", "#", "\\n", "'", "FROM x", "｜", "▁", "海螺", "🍔", "`"]
DROPPED = ["\u00a0", "\u3000", "\u200d", "\u2028", "\u00ad", "\ue000", "\x00", "\x1b", "\ufeff", "\U000e0001"]


def assigned(rune: str) -> bool:
    """Code points that no version of Unicode has assigned are left out: Go and Python know different versions."""
    return unicodedata.category(rune) != "Cn"


words = st.sampled_from(HARD + DROPPED) | st.characters(codec="utf-8").filter(assigned)
texts = st.lists(words, max_size=8).map("".join)
writable_words = st.sampled_from(HARD) | st.sampled_from("abcäñ。、")
comments = st.lists(st.sampled_from(["a", " ", "#", '"', "海", "conch", "\t"]), max_size=4).map("".join)
# Templates that Go parses: text without `{{`, and actions of which some carry what must be escaped.
actions = st.sampled_from(
    [
        "{{ .Prompt }}",
        '{{ "\u00a0" }}',
        '{{- if eq .Role "\u3000" -}}',
        "{{ end }}",
        '{{ `\u200d"""\n` }}',
        "{{/* \u00ad */}}",
        '{{ "}}" }}',
    ]
)
templates = st.lists(actions | words.filter(lambda w: "{" not in w), max_size=8).map("".join)
floats = st.floats(-1e30, 1e30, allow_nan=False)
integers = st.integers(-(2**63), 2**63 - 1)
parameters = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(FLOATS, floats)
    | dict.fromkeys(INTEGERS, integers)
    | dict.fromkeys(BOOLEANS, st.booleans())
    | {"stop": st.lists(texts, min_size=1, max_size=3).map(tuple)},
)
messages = st.builds(ModelMessage, st.sampled_from(ROLES), texts)
modelfiles = st.builds(
    Modelfile,
    from_=st.sampled_from(
        ["./a.gguf", "/tmp/with space/海 螺.gguf", "smollm2", 'a"b.gguf', '"quoted".gguf', "C:\\x\\y.gguf"]
    ),
    template=st.none() | templates,
    system=st.none() | texts,
    parameters=parameters,
    messages=st.lists(messages, max_size=2).map(tuple),
    license=st.lists(texts, max_size=2).map(tuple),
    adapter=st.none() | st.sampled_from(["./adapter.gguf", "a b"]),
    comments=st.lists(comments, max_size=3).map(tuple),
)

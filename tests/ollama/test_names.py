from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_ollama.errors import ModelNameError
from conch_ollama.ollama.names import ModelName, parse_name, propose
from tests.parts.ollama import OllamaServer


@pytest.mark.parametrize(
    ("text", "name", "shortest"),
    [
        ("magic-conch", ModelName("magic-conch"), "magic-conch:latest"),
        ("Magic_Conch.v1:Q4_K_M", ModelName("Magic_Conch.v1", "Q4_K_M"), "Magic_Conch.v1:Q4_K_M"),
        ("conch/magic:q8", ModelName("magic", "q8", "conch"), "conch/magic:q8"),
        (
            "hub.org:8080/conch/magic",
            ModelName("magic", "latest", "conch", "hub.org:8080"),
            "hub.org:8080/conch/magic:latest",
        ),
        ("https://hub.org/conch/magic", ModelName("magic", "latest", "conch", "hub.org"), "hub.org/conch/magic:latest"),
        ("library/magic", ModelName("magic"), "magic:latest"),
    ],
)
def test_names_are_taken_apart(text: str, name: ModelName, shortest: str) -> None:
    assert parse_name(text) == name
    assert str(name) == shortest
    assert parse_name(name.short) == name
    assert name.same(parse_name(shortest.upper().replace("HTTPS://", "")))


FAULTS = [
    ("in Chinese", "神奇海螺", "'神' can't be in a model", "my-model"),
    ("with a space", "magic conch", "' ' can't be in a model", "magic-conch"),
    ("empty", "", "the model is empty", "my-model"),
    ("with an empty tag", "conch:", "the tag is empty", "conch"),
    ("too long", "a" * 81, "longer than 80 bytes", "a" * 80),
    ("with four parts", "a/b/c/d", "4 parts", "d"),
    ("with a dot in the namespace", "a.b/c", "'.' can't be in a namespace", "c"),
    ("that starts with a dash", "-conch", "can't start with '-'", "conch"),
    ("with an accent", "crème:8 bit", "'è' can't be in a model", "creme:8-bit"),
    ("with a digest", "conch@sha256:abc", "'@' can't be in a model", "conch-sha256:abc"),
    ("that is a path", "out/", "the model is empty", "out"),
]


@pytest.mark.parametrize(
    ("text", "named", "proposed"),
    [
        pytest.param(text, named, proposed, marks=pytest.mark.bad_input(f"model name: {cause}"), id=cause)
        for cause, text, named, proposed in FAULTS
    ],
)
def test_faults_are_named_and_a_name_is_proposed(text: str, named: str, proposed: str) -> None:
    with pytest.raises(ModelNameError) as caught:
        parse_name(text)
    assert caught.value.code == "model-name"
    assert named in caught.value.message
    assert str(caught.value.hint).endswith(f": {proposed}")
    parse_name(proposed)


@given(st.text(max_size=100))
def test_a_proposed_name_is_always_valid(text: str) -> None:
    parse_name(propose(text))


def test_a_tag_with_a_suffix_stays_within_the_limit() -> None:
    name = parse_name("conch:" + "t" * 80).with_tag_suffix("-conch-new")
    assert parse_name(str(name)) == name
    assert name.tag == "t" * 70 + "-conch-new"


@pytest.mark.parametrize(
    "text",
    [
        *("a", "A.b-c_d:1.0", "n/m", "h.o:1/n/m:t", "_a", "a" * 80, "a:" + "t" * 80),
        *("神奇", "a b", "a:", ":a", "a" * 81, "a.b/c", "-a", ".a", "a/b/c/d", "a@b", "a:b:c", "/a", "a/"),
    ],
)
def test_the_real_ollama_agrees(ollama_server: OllamaServer, text: str) -> None:
    body = json.dumps({"source": "not-there", "destination": text}).encode()
    request = urllib.request.Request(f"{ollama_server.host}/api/copy", data=body)
    with pytest.raises(urllib.error.HTTPError) as answered:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
    try:
        parse_name(text)
        valid = True
    except ModelNameError:
        valid = False
    assert answered.value.code == (404 if valid else 400)

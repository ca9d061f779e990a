"""Requests of other dialects as llama.cpp's doors get them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conch_ollama.errors import NotSupportedError, RuntimeRefusedError
from conch_ollama.runtimes.llama_forward import Asked, forwarded
from conch_ollama.runtimes.llama_responses import ResponseStream

OPTIONS = {"temperature": 0.5, "min_p": 0.1, "num_predict": 50, "stop": ("END",), "top_k": 7}
MODEL = Asked("m", 2048, OPTIONS, "You are the conch.", [{"id": 0, "scale": 1.0}])
PLAIN = Asked("m", 2048, {})
F, G = ({"type": "function", "name": name, "parameters": {}} for name in "fg")
USER = {"role": "user", "content": "hi"}


def sent(path: str, model: Asked = PLAIN, **body: Any) -> dict[str, Any]:
    request, _ = forwarded(path, body, model)
    found: dict[str, Any] = json.loads(request)
    return found


def test_a_response_is_asked_with_the_models_own_parameters() -> None:
    found = sent("/v1/responses", MODEL, input="hi", temperature=0, lora=[], keep_alive=5)
    assert (found["temperature"], found["min_p"], found["max_tokens"], found["stop"]) == (0, 0.1, 50, ["END"])
    assert (found["instructions"], found["lora"]) == ("You are the conch.", [{"id": 0, "scale": 1.0}])
    assert (found["stream"], "keep_alive" in found) == (False, False)
    assert sent("/v1/responses", MODEL, input="hi", instructions="own")["instructions"] == "own"
    assert "instructions" not in sent("/v1/responses", MODEL, input=[{"role": "developer", "content": "x"}, USER])


def test_what_an_assistant_said_is_called_a_message() -> None:
    said = {"role": "assistant", "content": "hello"}
    assert sent("/v1/responses", input=[USER, said])["input"] == [USER, {"type": "message", **said}]


def test_a_schema_binds() -> None:
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
    found = sent("/v1/responses", input="hi", text={"format": schema})["response_format"]
    assert (found["type"], found["json_schema"]["schema"]) == ("json_schema", {"type": "object"})
    with pytest.raises(RuntimeRefusedError, match="schema"):
        sent("/v1/messages", messages=[USER], output_config={"format": schema})


@pytest.mark.parametrize(
    ("choice", "names", "made"),
    [
        ("auto", ["f", "g"], "auto"),
        ({"type": "function", "name": "g"}, ["g"], "required"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}, ["f"], "auto"),
    ],
)
def test_only_the_chosen_tools_of_a_response(choice: Any, names: list[str], made: str) -> None:
    found = sent("/v1/responses", input="hi", tools=[F, G], tool_choice=choice)
    assert ([tool["name"] for tool in found["tools"]], found["tool_choice"]) == (names, made)
    body = {"input": "hi", "tools": [F, G], "tool_choice": choice, "stream": True}
    _, answer = forwarded("/v1/responses", body, PLAIN)
    assert isinstance(answer, ResponseStream)
    assert answer._frame.asked["tool_choice"] == choice, "what is repeated is what was asked"


@pytest.mark.bad_input("a tool_choice that names no tool of the request")
@pytest.mark.parametrize(
    ("path", "choice"),
    [
        ("/v1/responses", {"type": "function", "name": "h"}),
        ("/v1/responses", {"type": "web_search"}),
        ("/v1/messages", {"type": "tool", "name": "h"}),
    ],
)
def test_a_tool_that_is_not_there(path: str, choice: dict[str, Any]) -> None:
    with pytest.raises(RuntimeRefusedError, match="h"):
        sent(path, input="hi", messages=[USER], tools=[F, G], tool_choice=choice)


def test_a_message_is_asked_with_what_its_dialect_has() -> None:
    found = sent("/v1/messages", MODEL, messages=[USER], top_k=3)
    assert (found["system"], found["temperature"], found["top_k"]) == ("You are the conch.", 0.5, 3)
    assert (found["max_tokens"], found["stop_sequences"]) == (50, ["END"])
    assert sent("/v1/messages", MODEL, messages=[USER], max_tokens=5, system="own")["system"] == "own"


def test_tools_and_thoughts_of_a_message() -> None:
    tools = [{"name": "f", "input_schema": {}}, {"name": "g", "input_schema": {}}]
    asked: dict[str, Any] = {"messages": [USER], "tools": tools}
    assert sent("/v1/messages", **asked, tool_choice={"type": "tool", "name": "g"})["tools"] == tools[1:]
    assert sent("/v1/messages", **asked, tool_choice={"type": "none"})["tools"] == []
    assert "chat_template_kwargs" not in sent("/v1/messages", **asked)
    for kind, thinks in (("disabled", False), ("enabled", True)):
        found = sent("/v1/messages", **asked, thinking={"type": kind})
        assert found["chat_template_kwargs"] == {"enable_thinking": thinks}


def test_a_door_that_llama_cpp_does_not_have() -> None:
    with pytest.raises(NotSupportedError):
        sent("/v1/audio", input="hi")

"""The clients themselves against the shim in front of the real llama.cpp: openai-python and ollama-python."""

from __future__ import annotations

import json

import ollama
import openai
import pytest

from tests.server.running import RunningShim

QUESTION = [{"role": "user", "content": "Say hi."}]


@pytest.fixture(scope="module")
def client(real: RunningShim) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real.url}/v1", api_key="any", max_retries=0)


@pytest.fixture(scope="module")
def ollama_client(real: RunningShim) -> ollama.Client:
    return ollama.Client(host=real.url)


def test_openai_chat_is_the_same_streamed_and_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="smol", messages=QUESTION, temperature=0, max_tokens=8)
    stream = list(
        client.chat.completions.create(
            model="smol",
            messages=QUESTION,
            temperature=0,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == whole.choices[0].message.content
    assert text
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in stream}) == 1
    assert stream[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in stream[1:] if chunk.choices)
    finish, usage = stream[-2:]
    assert (finish.choices[0].finish_reason, finish.choices[0].delta.content) == ("length", None)
    assert finish.usage is None
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.total_tokens == usage.usage.prompt_tokens + 8


def test_openai_usage_only_where_asked(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="smol", messages=QUESTION, max_tokens=2, stream=True)
    assert [chunk.usage for chunk in stream if chunk.usage or not chunk.choices] == []


def test_openai_completions_of_one_and_of_several_prompts(client: openai.OpenAI) -> None:
    prompt = "The capital of France is"
    one = client.completions.create(model="smol", prompt=prompt, temperature=0, max_tokens=3)
    several = client.completions.create(model="smol", prompt=[prompt, prompt], temperature=0, max_tokens=3)
    streamed = client.completions.create(model="smol", prompt=prompt, temperature=0, max_tokens=3, stream=True)
    assert "Paris" in one.choices[0].text
    assert [choice.text for choice in several.choices] == [one.choices[0].text] * 2
    assert [choice.index for choice in several.choices] == [0, 1]
    assert "".join(chunk.choices[0].text for chunk in streamed) == one.choices[0].text


def test_openai_embeddings_in_base64_and_in_numbers_are_the_same(client: openai.OpenAI) -> None:
    packed = client.embeddings.create(model="smol", input=["one", "two"])  # base64 is this client's default
    plain = client.embeddings.create(model="smol", input=["one", "two"], encoding_format="float")
    for a, b in zip(packed.data, plain.data, strict=True):
        assert len(a.embedding) == 576
        assert a.embedding == pytest.approx(b.embedding, abs=1e-6)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert plain.usage.prompt_tokens > 0


def test_openai_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["smol"]
    assert client.models.retrieve("smol").id == "smol"
    assert client.models.retrieve("smol:latest").id == "smol:latest"


@pytest.mark.bad_input("a model that is not served")
def test_openai_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nix", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "nix" in caught.value.message


@pytest.mark.bad_input("a prompt longer than the context")
def test_openai_too_long(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "word " * 3000}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="smol", messages=messages, stream=stream, max_tokens=4)
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.response.headers["x-should-retry"] == "false"


def test_openai_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    }
    found = client.chat.completions.create(
        model="smol",
        messages=[{"role": "user", "content": "The capital of France?"}],
        temperature=0,
        max_tokens=32,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    )
    assert list(json.loads(found.choices[0].message.content or "")) == ["city"]


def test_ollama_chat_is_the_same_streamed_and_whole(ollama_client: ollama.Client) -> None:
    options = {"temperature": 0, "num_predict": 8}
    whole = ollama_client.chat("smol", QUESTION, options=options)
    stream = list(ollama_client.chat("smol", QUESTION, options=options, stream=True))
    assert "".join(part.message.content or "" for part in stream) == whole.message.content
    assert whole.message.content
    assert all(part.message.role == "assistant" for part in stream)
    assert [part.done for part in stream] == [False] * (len(stream) - 1) + [True]
    assert (stream[-1].done_reason, stream[-1].eval_count) == ("length", 8)
    assert (whole.done_reason, whole.eval_count) == ("length", 8)
    assert (whole.prompt_eval_count or 0) > 0
    assert (whole.total_duration or 0) >= (whole.eval_duration or 0) > 0


def test_ollama_and_openai_say_the_same(ollama_client: ollama.Client, client: openai.OpenAI) -> None:
    ours = ollama_client.chat("smol:latest", QUESTION, options={"temperature": 0, "num_predict": 8})
    theirs = client.chat.completions.create(model="smol", messages=QUESTION, temperature=0, max_tokens=8)
    generated = ollama_client.generate("smol", "Say hi.", options={"temperature": 0, "num_predict": 8})
    assert ours.message.content == theirs.choices[0].message.content == generated.response


def test_ollama_generate_raw(ollama_client: ollama.Client) -> None:
    stream = ollama_client.generate(
        "smol", "The capital of France is", raw=True, options={"temperature": 0, "num_predict": 3}, stream=True
    )
    assert "Paris" in "".join(part.response or "" for part in stream)


def test_ollama_lists_shows_loads_and_unloads(ollama_client: ollama.Client) -> None:
    listed = ollama_client.list().models
    assert [model.model for model in listed] == ["smol:latest"]
    assert len(listed[0].digest or "") == 64
    shown = ollama_client.show("smol")
    assert (shown.modelinfo or {})["general.architecture"] == "llama"
    assert (shown.modelinfo or {})["llama.context_length"] == 8192
    assert "completion" in (shown.capabilities or [])
    assert ollama_client.generate("smol", keep_alive="5m").done_reason == "load"
    assert [model.name for model in ollama_client.ps().models] == ["smol:latest"]
    assert ollama_client.chat("smol", [], keep_alive=0).done_reason == "unload"
    assert ollama_client.ps().models == []
    assert ollama_client.chat("smol", QUESTION, options={"num_predict": 1}).done


def test_ollama_embeddings(ollama_client: ollama.Client, client: openai.OpenAI) -> None:
    found = ollama_client.embed("smol", ["one", "two"])
    old = ollama_client.embeddings("smol", "one")
    theirs = client.embeddings.create(model="smol", input="one").data[0].embedding
    assert len(found.embeddings) == 2
    assert list(found.embeddings[0]) == pytest.approx(list(old.embedding), abs=1e-6)
    assert list(old.embedding) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.bad_input("managing models through the shim")
def test_ollama_what_cannot_be(ollama_client: ollama.Client) -> None:
    for attempt in (
        lambda: ollama_client.pull("x"),
        lambda: ollama_client.push("x"),
        lambda: ollama_client.create("x", from_="smol"),
        lambda: ollama_client.copy("smol", "x"),
        lambda: ollama_client.delete("smol"),
    ):
        with pytest.raises(ollama.ResponseError, match="serves models and does not manage them") as caught:
            attempt()
        assert caught.value.status_code == 501


@pytest.mark.bad_input("a thought asked of a model that has none")
def test_ollama_think(ollama_client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match='"smol" does not support thinking') as caught:
        ollama_client.chat("smol", QUESTION, think=True)
    assert caught.value.status_code == 400


def test_generate_both_names_both_methods(real: RunningShim) -> None:
    by_get = real.client.get("/generate", params={"prompt": "Say hi. & # {}", "max_tokens": 8})
    by_post = real.client.post("/generate", json={"prompt": "Say hi. & # {}", "max_tokens": 8})
    as_text = real.client.post("/generate", content="你好", headers={"content-type": "text/plain"})
    for answer in (by_get, by_post, as_text):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        found = answer.json()
        assert found["generated_text"] == found["generate_text"] != ""

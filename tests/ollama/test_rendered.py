"""What a server makes of a conversation: counted by the real 0.9.3, told by an imitation of a later one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conch_ollama.errors import NotSupportedError, OllamaRefusedError, RegisterMismatchError
from conch_ollama.ollama.client import OllamaClient
from conch_ollama.ollama.detection import STOCK_STOPS, detected_stops
from conch_ollama.ollama.modelfile import Modelfile
from conch_ollama.ollama.parameters import DEFAULTS, PARAMETERS, check_parameter
from conch_ollama.ollama.register import register
from conch_ollama.ollama.rendered import chat_tokens, raw_tokens, rendered_prompt
from conch_ollama.ollama.show import info_from_show
from conch_ollama.ollama.verify import Meant, differences
from conch_ollama.ollama.versions import check_native, is_native, version_numbers
from tests.chat_template.tiny_gguf import write_tiny_gguf
from tests.ollama.stub_server import StubHandler, stub_server
from tests.parts.ollama import OllamaServer

QUESTION = [{"role": "user", "content": "Hello, conch. 你好"}]
DIGEST, SECOND = "a" * 64, "b" * 64


def test_a_count_tells_one_template_from_another(ollama_server: OllamaServer, tmp_path: Path) -> None:
    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    modelfile = Modelfile(str(gguf), template="<{{ .Prompt }}>", parameters={"num_thread": 1, "num_ctx": 256})
    register(modelfile, Path(), "counted", host=ollama_server.host, ask=None)
    with OllamaClient(ollama_server.host) as server:
        count = chat_tokens(server, "counted", QUESTION)
        assert count == raw_tokens(server, "counted", f"<{QUESTION[0]['content']}>")
        assert count != raw_tokens(server, "counted", f"<{QUESTION[0]['content']}>\n")
        assert rendered_prompt(server, "counted", QUESTION) is None  # 0.9.3 does not tell, and just answers


def test_the_whole_metadata_with_its_arrays(ollama_server: OllamaServer, tmp_path: Path) -> None:
    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    register(Modelfile(str(gguf), template="{{ .Prompt }}"), Path(), "whole", host=ollama_server.host, ask=None)
    with OllamaClient(ollama_server.host) as server:
        found = server.metadata("whole")
    assert found["tokenizer.ggml.tokens"][-2:] == ["<s>", "</s>"]
    assert found["tokenizer.ggml.add_bos_token"] is False


def answering(body: Mapping[str, Any]) -> Any:
    seen: list[dict[str, Any]] = []

    def chat(handler: StubHandler) -> None:
        seen.append(json.loads(handler.body()))
        handler.answer(200, body)

    return chat, seen


def test_a_later_server_tells_the_prompt() -> None:
    chat, seen = answering({"_debug_info": {"rendered_template": "<|user|>Hi"}})
    with stub_server({"POST /api/chat": chat}) as stub, OllamaClient(stub.host) as server:
        assert rendered_prompt(server, "m", QUESTION, think=False) == "<|user|>Hi"
    assert (seen[0]["_debug_render_only"], seen[0]["think"], seen[0]["stream"]) == (True, False, False)


@pytest.mark.bad_input("a server that does not count the tokens of a prompt")
def test_no_count() -> None:
    chat, _ = answering({"message": {"content": "Hi"}})
    with (
        stub_server({"POST /api/chat": chat}) as stub,
        OllamaClient(stub.host) as server,
        pytest.raises(OllamaRefusedError) as caught,
    ):
        chat_tokens(server, "m", QUESTION)
    assert caught.value.code == "ollama-refused"
    assert "how many tokens a prompt of m has" in caught.value.message


def test_which_versions_render_the_ggufs_own() -> None:
    assert [is_native(version) for version in ("0.9.3", "0.29.9", "0.30.0-rc3", "0.32.1", "1.0.0", "0.0.0", "")] == [
        *(False, False, True, True, True),
        *(False, False),
    ]
    assert version_numbers("v0.30.1-rc2") == (0, 30, 1)
    check_native("0.30.0", "{% jinja %}", "m", "h")


@pytest.mark.bad_input("register: native without a chat template in the GGUF")
@pytest.mark.parametrize(("version", "jinja", "named"), [("0.9.3", "{{ x }}", "0.9.3"), ("0.32.0", None, "no chat")])
def test_native_needs_a_version_and_a_jinja(version: str, jinja: str | None, named: str) -> None:
    with pytest.raises(NotSupportedError) as caught:
        check_native(version, jinja, "conch", "http://h")
    assert caught.value.code == "not-supported"
    assert "conch can't go without a TEMPLATE" in caught.value.message and named in caught.value.message


def test_stops_of_detection_are_known_by_their_sets() -> None:
    assert detected_stops(("<|im_end|>",)) == ()
    assert {stop for _, stop in detected_stops(("<|im_end|>", "x", "<|im_start|>"))} == {"<|im_start|>", "<|im_end|>"}
    assert detected_stops(STOCK_STOPS["vicuna"]) == (("vicuna", "USER:"), ("vicuna", "ASSISTANT:"))


def test_defaults_are_parameters_and_no_difference() -> None:
    assert set(DEFAULTS) < PARAMETERS
    assert all(check_parameter(name, value) == value for name, value in DEFAULTS.items())
    meant = Meant(DIGEST, "t")
    shown = info_from_show("m", {"modelfile": f"FROM /b/sha256-{DIGEST}\n", "template": "t", "parameters": ""})
    assert differences(meant, replace(shown, parameters={"temperature": 0.8})) == []
    added = differences(meant, replace(shown, parameters={"temperature": 0.1}))
    assert [(one.key, one.meant, one.is_added) for one in added] == [("PARAMETER temperature", None, True)]


def test_what_show_says_of_projectors_and_renderers() -> None:
    modelfile = (
        f"# x\n\nFROM /m/blobs/sha256-{DIGEST}\nADAPTER /m/blobs/sha256-{'c' * 64}\nFROM /m/blobs/sha256-{SECOND}\n"
        'TEMPLATE """{{ .Prompt }}\n"""\nSYSTEM "FROM x"\nRENDERER qwen3\nPARSER qwen3\nPARAMETER stop x\n'
    )
    shown = info_from_show("m", {"modelfile": modelfile, "template": "{% jinja %}", "requires": "0.14.0"})
    assert (shown.digest, shown.adapter_digest, shown.projector_digests) == (DIGEST, "c" * 64, (SECOND,))
    assert shown.blob == f"/m/blobs/sha256-{DIGEST}"
    assert shown.engine == {"renderer": "qwen3", "parser": "qwen3", "requires": "0.14.0"}
    assert (shown.template, shown.own_template) == ("{% jinja %}", "{{ .Prompt }}\n")


@pytest.mark.bad_input("register: a check of what is rendered fails")
def test_a_failing_look_at_the_prompt_leaves_the_old_model(ollama_server: OllamaServer, small: Modelfile) -> None:
    register(replace(small, system="old"), Path(), "looked-at", host=ollama_server.host, ask=None)

    def look(server: OllamaClient, name: str, info: Any) -> tuple[str, ...]:
        assert server.show(name).system == "new"  # under a name of its own, not yet under the model's
        raise RegisterMismatchError("looked-at: another prompt")

    with pytest.raises(RegisterMismatchError):
        register(replace(small, system="new"), Path(), "looked-at", host=ollama_server.host, ask=None, rendering=look)
    with OllamaClient(ollama_server.host) as server:
        assert server.show("looked-at").system == "old"
        assert not any("conch-new" in one.name for one in server.list_models())

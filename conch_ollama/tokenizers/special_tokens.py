"""Ids of the special tokens (BOS, EOS, …) and whether a runtime adds them, from all files that speak of them.

Follows the reference converter (llama.cpp's gguf-py, `SpecialVocab`) and goes on where it finds nothing:
special_tokens_map.json, generation_config.json, tokens outside `added_tokens`. What ends a turn is for `stops`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conch_ollama.tokenizers.token_list import SPECIAL_ROLES, token_text
from conch_ollama.tokenizers.tokenizer_files import TokenizerFiles, components


@dataclass(frozen=True)
class SpecialTokens:
    """`ids` by role ("bos", "eos", "eot", …); `add` by role, only what the files decide."""

    ids: Mapping[str, int]
    add: Mapping[str, bool]
    warnings: tuple[str, ...]


def read_special_tokens(files: TokenizerFiles, ids: Mapping[str, int], vocab_size: int | None) -> SpecialTokens:
    """Reads ids and add-flags. Ids outside the vocabulary are left out with a warning."""
    names = {
        role: token_text(files.tokenizer_config.get(f"{role}_token"))
        or token_text(files.special_tokens_map.get(f"{role}_token"))
        for role in (*SPECIAL_ROLES, "eot", "eom")
    }
    names["bos"] = names["bos"] or names["cls"]
    names["eos"] = names["eos"] or names["sep"]
    add = _read_post_processor(files, names)
    for role in ("bos", "eos", "sep"):
        flag = files.tokenizer_config.get(f"add_{role}_token")
        if isinstance(flag, bool):
            add[role] = flag
    found: dict[str, int] = {}
    warnings: list[str] = []
    for role, text in names.items():
        index = _find(files, role, text, ids, vocab_size, warnings)
        if index is not None:
            found[role] = index
    return SpecialTokens(found, add, tuple(warnings))


def _find(
    files: TokenizerFiles,
    role: str,
    text: str | None,
    ids: Mapping[str, int],
    vocab_size: int | None,
    warnings: list[str],
) -> int | None:
    if text is not None:
        if text in ids:
            return ids[text]
        warnings.append(f"{role}_token {text!r} has no row in the embedding: left out")
    for source, name in ((files.config, "config.json"), (files.generation_config, "generation_config.json")):
        value = source.get(f"{role}_token_id")
        if value is None and isinstance(source.get("text_config"), dict):
            value = source["text_config"].get(f"{role}_token_id")
        for index in as_ids(value):
            if vocab_size is None or index < vocab_size:
                return index
            warnings.append(f"{role}_token_id {index} of {name} is outside the vocabulary of {vocab_size}: left out")
    return None


def as_ids(value: Any) -> tuple[int, ...]:
    """Token ids of a configuration value: an int or a list of ints; anything else (and -1) is none."""
    values = value if isinstance(value, list) else [value]
    return tuple(index for index in values if isinstance(index, int) and not isinstance(index, bool) and index >= 0)


def _read_post_processor(files: TokenizerFiles, names: dict[str, str | None]) -> dict[str, bool]:
    """Add-flags from the post-processor; fills `names` where only the post-processor knows the token."""
    add: dict[str, bool] = {}
    for processor in components(files.tokenizer.get("post_processor")):
        if processor.get("type") == "RobertaProcessing":
            add.update(bos=True, eos=True, sep=True)
        elif processor.get("type") == "TemplateProcessing":
            _read_template(processor, names, add)
    return add


def _special(item: Any) -> str | None:
    special = item.get("SpecialToken") if isinstance(item, dict) else None
    text = special.get("id") if isinstance(special, dict) else None
    return text if isinstance(text, str) else None


def _sequence(item: Any) -> str | None:
    sequence = item.get("Sequence") if isinstance(item, dict) else None
    return sequence.get("id") if isinstance(sequence, dict) else None


def _read_template(processor: Mapping[str, Any], names: dict[str, str | None], add: dict[str, bool]) -> None:
    single, pair = processor.get("single") or [], processor.get("pair") or []
    first = last = None
    if len(single) > 1:
        first, last = _special(single[0]), _special(single[-1])
        if first:
            names["bos"] = names["bos"] or first
            names["cls"] = names["cls"] or (first if names["bos"] != first else None)
            add["bos"] = first in (names["bos"], names["cls"])
        if last:
            if names["eos"] and last != names["eos"]:
                # What the template appends is the end of a text; the token named as EOS ends a turn.
                names["eot"] = names["eot"] or names["eos"]
            names["eos"] = last
            add["eos"] = True
    if pair:
        _read_pair(pair, first, last, names, add)


def _read_pair(
    pair: list[Any], first: str | None, last: str | None, names: dict[str, str | None], add: dict[str, bool]
) -> None:
    """`A [separator] B`: whether a separator (or EOS) stands between two texts."""
    inner = pair[1 if first and _special(pair[0]) == first else 0 :]
    inner = inner[:-1] if last and inner and _special(inner[-1]) == last else inner
    if len(inner) < 3 or _sequence(inner[0]) != "A" or _sequence(inner[-1]) != "B":
        return
    ends = {names["sep"], names["eos"]} - {None}
    between = [_special(item) for item in inner[1:-1]]
    add["sep"] = (between[0] in ends and not last) or (len(between) == 2 and between[1] in ends)
    if add["sep"] and not names["sep"]:
        names["sep"] = names["eos"]

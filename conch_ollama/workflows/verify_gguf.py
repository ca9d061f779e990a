"""Checks again what a GGUF is: its structure, a sample of its values, and what its metadata says of its origin.

The metadata is held against export.json where there is one. Runs no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conch_ollama.errors import BadFileError, ConchError, NotFoundError, UnknownTypeError
from conch_ollama.formats.gguf_reader import GGUFFile, GGUFTensor
from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.quantize.recipes import FILE_TYPES
from conch_ollama.workflows.claims import Claims

#: Rows looked at of each tensor, spread over it.
_ROWS = 24
#: Decimals of bits_per_weight in export.json.
_DIGITS = 3
STRUCTURE = "the GGUF is whole: header, tensors within the file, none over another"


def check_structure(path: Path, claims: Claims) -> bool:
    """Whether the GGUF can be opened; every tensor lies within it, and it ends where the last one does."""
    try:
        with GGUFFile(path) as file:
            end = max((one.offset + one.nbytes for one in file.tensors.values()), default=file.data_offset)
            padded = -(-end // file.alignment) * file.alignment
            if not end <= file.size <= padded:
                claims.fails(STRUCTURE, f"{file.size - padded} bytes follow the last tensor")
                return True
            claims.holds(STRUCTURE, f"{len(file.tensors)} tensors, {file.size:,} bytes")
            _check_values(file, claims)
            return True
    except (BadFileError, NotFoundError) as err:
        claims.fails(STRUCTURE, err.message)
    return False


def check_safetensors(path: Path, claims: Claims) -> None:
    """Whether the header fits the file: of a merged folder, which is written beside the GGUF on request."""
    claim = "the safetensors file is whole"
    try:
        with SafetensorsFile(path) as file:
            claims.holds(claim, f"{len(file.tensors)} tensors")
    except (BadFileError, NotFoundError) as err:
        claims.fails(claim, err.message)


def _check_values(file: GGUFFile, claims: Claims) -> None:
    claim = "the weights are finite (a sample of every tensor)"
    unread: list[str] = []
    for tensor in file.tensors.values():
        try:
            rows = np.concatenate([file.read_rows(tensor.name, a, b).reshape(-1) for a, b in _sample(tensor)])
        except UnknownTypeError:
            unread.append(f"{tensor.name} ({tensor.dtype})")
            continue
        if not np.isfinite(rows).all():
            claims.fails(claim, f"tensor {tensor.name} holds values that are not finite")
            return
    if unread:
        claims.unknown(claim, f"{unread[0]} and {len(unread) - 1} others can't be read here")
    else:
        claims.holds(claim)


def _sample(tensor: GGUFTensor) -> Iterator[tuple[int, int]]:
    """Row ranges: the whole of what is small, else single rows from the first to the last."""
    if len(tensor.shape) < 2 or tensor.rows <= _ROWS:
        yield 0, tensor.rows
        return
    for row in np.linspace(0, tensor.rows - 1, _ROWS, dtype=int):
        yield int(row), int(row) + 1


def plain_metadata(path: Path) -> Mapping[str, Any]:
    """Scalars and short lists of a GGUF's metadata, without types; the vocabulary left out."""
    with GGUFFile(path) as file:
        return {
            key: value.data if value.items is None else [_item(one) for one in value.data]
            for key, value in file.metadata.items()
            if not key.startswith("tokenizer.")
        }


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def check_origin(path: Path, report: Mapping[str, Any], entry: Mapping[str, Any], claims: Claims) -> None:
    """The GGUF's `general.*` and `conch.*` against export.json, and its type against its name there."""
    metadata = plain_metadata(path)
    for key, said in _expected(report, entry).items():
        claims.equal(f"{key} is what export.json says", said, metadata.get(key))
    known = _expected(report, entry).keys()
    for key in metadata:
        if key.startswith("conch.adapter.") and key not in known:
            claims.fails(f"{key} is what export.json says", "export.json knows no such adapter")
    bits = entry.get("bits_per_weight")
    if isinstance(bits, int | float):
        claims.equal("bits per weight are those of export.json", round(float(bits), _DIGITS), _bits(path))


def _expected(report: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> value, as `exporter.general` and `exporter.provenance` write them."""
    base, adapters = report.get("base") or {}, report.get("adapters") or []
    found: dict[str, Any] = {
        "general.name": report.get("name"),
        "general.base_model.0.name": base.get("name"),
        "general.base_model.0.version": base.get("revision") or None,
        "conch.version": (report.get("versions") or {}).get("conch_ollama"),
        "conch.merge.dtype": report.get("merge_dtype") if adapters else None,
    }
    if report.get("license"):
        found["general.license"] = report["license"]
    if report.get("datasets"):
        found["general.datasets"] = list(report["datasets"])
    if isinstance(entry.get("type"), str):
        found["general.file_type"] = FILE_TYPES.get(entry["type"])
    for i, adapter in enumerate(adapters):
        found[f"conch.adapter.{i}.sha256"] = adapter.get("sha256")
        found[f"conch.adapter.{i}.weight"] = repr(adapter.get("weight"))
        found[f"conch.adapter.{i}.config"] = _canonical(adapter.get("config"))
        found[f"conch.adapter.{i}.training"] = _canonical(adapter["training"]) if adapter.get("training") else None
    return found


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _bits(path: Path) -> float:
    """Bits per weight of all tensors, as the plan of an export counts them."""
    with GGUFFile(path) as file:
        tensors = file.tensors.values()
        return round(8 * sum(one.nbytes for one in tensors) / max(1, sum(one.elements for one in tensors)), _DIGITS)


def own_origin(path: Path, claims: Claims) -> None:
    """What a GGUF says of its origin with nothing beside it to hold it against."""
    try:
        metadata = plain_metadata(path)
    except ConchError:
        return
    for key in sorted(key for key in metadata if key.startswith(("conch.adapter.", "general.base_model."))):
        if key.endswith((".sha256", ".name")):
            claims.unknown(f"{key} is {metadata[key]}", "there is no export.json beside it, and no source was given")
    if "conch.version" not in metadata:
        claims.unknown("it was written by conch", "it has no conch.* keys: nothing more is claimed")

"""The weight files of a Hugging Face folder: finds them, opens them, and checks index and shards against one another.

Order of preference as in transformers: model.safetensors, its index, pytorch_model.bin, its index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from conch_ollama.errors import BadConfigError, BadFileError, MissingTensorError, NotFoundError, UnconsumedTensorError
from conch_ollama.formats.safetensors import SafetensorsFile
from conch_ollama.formats.tensors import TensorInfo
from conch_ollama.sources.json_file import LFS_HINT, is_lfs_pointer, read_json_object
from conch_ollama.sources.pickles import TorchPickle

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
_AGAIN = "the folder is not complete: fetch the model again"


class TensorFile(Protocol):
    """An open file with tensors."""

    path: Path
    tensors: Mapping[str, TensorInfo]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]: ...

    def read_raw(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]: ...

    def close(self) -> None: ...


class Checkpoint:
    """The open weight files of a folder; `files` says in which one a tensor lies.

    Raises `NotFoundError` where weights or shards are not there, `MissingTensorError` and `UnconsumedTensorError` where
    index and shards do not agree.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, TensorFile] = {}
        self._open: list[TensorFile] = []
        try:
            found = _find(folder)
            if found.suffix == ".json":
                self._take_shards(found)
            else:
                self._take(found)
        except BaseException:
            self.close()
            raise

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor by name."""
        return {name: file.tensors[name] for name, file in self.files.items()}

    def close(self) -> None:
        """Close the files."""
        for file in self._open:
            file.close()

    def _take(self, path: Path) -> TensorFile:
        file = open_tensor_file(path)
        self._open.append(file)
        self.files.update(dict.fromkeys(file.tensors, file))
        return file

    def _take_shards(self, index: Path) -> None:
        weight_map = read_weight_map(index)
        names = sorted(set(weight_map.values()))
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing:
            raise NotFoundError(
                f"{len(missing)} of {len(names)} shards that {index} names are not there: {_first(missing)}",
                hint=_AGAIN,
            )
        shards = {name: self._take(self.folder / name) for name in names}
        absent = [f"{name} ({file})" for name, file in weight_map.items() if name not in shards[file].tensors]
        if absent:
            raise MissingTensorError(
                f"{index} names tensors that their shards do not hold: {_first(absent)}", hint=_AGAIN
            )
        stray = [
            f"{name} ({file})"
            for file, shard in shards.items()
            for name in shard.tensors
            if weight_map.get(name) != file
        ]
        if stray:
            raise UnconsumedTensorError(
                f"shards of {self.folder} hold tensors that {index.name} does not place there: {_first(stray)}",
                hint="index and shards come from different models or revisions: fetch them again",
            )


def read_weight_map(index: Path) -> dict[str, str]:
    """Shard file by tensor name, from an index file. The shards must lie beside it."""
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadConfigError(f"{index} has no weight_map", hint=_AGAIN)
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file or "\\" in file or file in ("", ".", ".."):
            raise BadConfigError(f"{index} places {name} in {file!r}, which is no file beside it", hint=_AGAIN)
    return weight_map


def open_tensor_file(path: Path) -> TensorFile:
    """The file, by its ending. `BadFileError` for a git-lfs pointer."""
    with path.open("rb") as file:
        if is_lfs_pointer(file.read(64)):
            raise BadFileError(f"{path} is a git-lfs pointer, not the weights", hint=LFS_HINT)
    return SafetensorsFile(path) if path.suffix == ".safetensors" else TorchPickle(path)


def _find(folder: Path) -> Path:
    """The weight file or the index."""
    for name in (SINGLE, INDEX, PICKLE, PICKLE_INDEX):
        if (folder / name).is_file():
            return folder / name
    others = [p.name for p in sorted(folder.iterdir()) if p.suffix in {".gguf", ".safetensors", ".bin", ".pth", ".pt"}]
    ggufs = [name for name in others if name.endswith(".gguf")]
    if ggufs:
        hint = f"give the GGUF itself: {folder / ggufs[0]}"
    elif others:
        hint = f"{_first(others)} is there, but not under the name that transformers gives it"
    else:
        hint = "give the folder that save_pretrained, `llamafactory-cli export` or the hub's download wrote"
    raise NotFoundError(f"{folder} has no weights: neither {SINGLE}, {INDEX} nor {PICKLE}", hint=hint)


def _first(names: Iterable[str]) -> str:
    """The first few of the names, and how many more there are."""
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")

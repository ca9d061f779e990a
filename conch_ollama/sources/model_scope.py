"""Fetches a base model from ModelScope through its own package, which is optional. Opens no weights."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from conch_ollama.errors import HubError, NotFoundError, UsageError
from conch_ollama.sources.checkpoint import INDEX, PICKLE, PICKLE_INDEX, SINGLE, read_weight_map
from conch_ollama.sources.folder import read_base_config
from conch_ollama.sources.hub import SMALL_FILES, Snapshot
from conch_ollama.sources.quantized_base import refuse_quantized


def fetch_from_modelscope(repo: str, revision: str | None = None) -> Snapshot:
    """The model's files in ModelScope's cache, fetched where needed; the commit is not known, `revision` is as given.

    Raises `UsageError` where the package is not installed, `HubError`, `NotFoundError`, `QuantizedBaseError`.
    """
    try:
        from modelscope import snapshot_download
    except ImportError as err:
        raise UsageError(
            "fetching from ModelScope needs its package, which is not installed",
            hint="pip install 'conch-ollama[modelscope]'",
        ) from err

    def fetch(patterns: Iterable[str]) -> Path:
        try:
            return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))
        except Exception as err:
            reason = str(err).strip().partition("\n")[0]
            raise HubError(
                f"{repo} could not be fetched from ModelScope: {type(err).__name__}: {reason}",
                hint="check the spelling and the connection, then run it again",
            ) from err

    folder = fetch((*SMALL_FILES, INDEX, PICKLE_INDEX))
    refuse_quantized(read_base_config(folder), repo)
    for index, single in ((INDEX, SINGLE), (PICKLE_INDEX, PICKLE)):
        # There is no listing that all versions of the package give alike: ask for the files and see whether they came.
        names = sorted(set(read_weight_map(folder / index).values())) if (folder / index).is_file() else [single]
        folder = fetch(map(glob.escape, names))
        if all((folder / name).is_file() for name in names):
            return Snapshot(folder, repo, revision)
    raise NotFoundError(f"{repo} on ModelScope has no weights under the names that transformers gives them")

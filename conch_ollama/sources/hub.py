"""Fetches a base model from the Hugging Face hub or a mirror of it (HF_ENDPOINT): only the files that are needed.

Downloads go through `huggingface_hub` into its cache; one that was interrupted is continued. Without a connection a
snapshot in the cache is used. Opens no weights.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from conch_ollama.errors import ConchError, HubError, NotFoundError
from conch_ollama.formats.partial_file import output_error
from conch_ollama.sources.checkpoint import INDEX, PICKLE, PICKLE_INDEX, SINGLE, read_weight_map
from conch_ollama.sources.folder import read_base_config
from conch_ollama.sources.hub_blobs import fetch_blob
from conch_ollama.sources.hub_cache import snapshot_in
from conch_ollama.sources.quantized_base import refuse_quantized

#: Everything but the weights: configuration, tokenizer, chat template, licence.
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "additional_chat_templates/*",
    "LICENSE*",
    "NOTICE*",
    "README.md",
)
#: Failures of this machine's disk, not of the hub.
_DISK = frozenset(
    getattr(errno, name, errno.ENOSPC) for name in ["ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR"]
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A fetched model: its folder, its repository ("org/name"), and the commit where it is known."""

    path: Path
    repo: str
    revision: str | None


def fetch_snapshot(
    repo: str,
    revision: str | None = None,
    *,
    cache: Path | None = None,
    endpoint: str | None = None,
    weights: bool = True,
) -> Snapshot:
    """The model's files in the hub's cache (`cache`, or where HF_HOME and HF_HUB_CACHE say), fetched where needed.

    Without `weights` only what is small: configuration, tokenizer, chat template.

    Raises `NotFoundError` for a repository or revision that the hub does not have, `HubError` where it does not answer,
    refuses or breaks off, `NoSpaceError`, and `QuantizedBaseError` before the weights of a quantised model are fetched.
    """
    from huggingface_hub import constants, snapshot_download

    endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    cache = cache or Path(constants.HF_HUB_CACHE)

    def fetch(commit: str, patterns: Iterable[str]) -> Path:
        try:
            return Path(
                snapshot_download(
                    repo, revision=commit, allow_patterns=list(patterns), cache_dir=cache, endpoint=endpoint
                )
            )
        except Exception as err:
            raise _translated(err, repo, revision, endpoint) from err

    try:
        commit, names = _listing(repo, revision, endpoint)
    except HubError as err:
        return _cached(repo, revision, cache, err)
    if "config.json" not in names:
        raise _no_model(repo, names, endpoint)
    # First what is small: a model that can't be a base is refused before gigabytes have come.
    small = [name for name in names if any(fnmatch(name, pattern) for pattern in SMALL_FILES)]
    small += [name for name in names if name in (INDEX, PICKLE_INDEX)]
    folder = fetch(commit, map(glob.escape, small))
    if not weights:
        return Snapshot(folder, repo, commit)
    refuse_quantized(read_base_config(folder), repo)
    files = _weights(folder, names)
    if not files:
        raise _no_model(repo, names, endpoint)
    for name in files:
        if (folder / name).exists():  # also in a cache that may only be read
            continue
        try:
            fetch_blob(repo, name, commit, cache=cache, endpoint=endpoint)
        except Exception as err:
            raise _translated(err, repo, revision, endpoint) from err
    fetch(commit, map(glob.escape, files))
    _remember(cache, repo, revision or "main", commit)
    return Snapshot(folder, repo, commit)


def _listing(repo: str, revision: str | None, endpoint: str) -> tuple[str, list[str]]:
    """The commit that the revision stands for, and the names of its files."""
    from huggingface_hub import HfApi

    try:
        info = HfApi(endpoint=endpoint).model_info(repo, revision=revision)
    except Exception as err:
        raise _translated(err, repo, revision, endpoint) from err
    if not info.sha:
        raise HubError(f"{endpoint} does not say which commit {repo} is at")
    return info.sha, [sibling.rfilename for sibling in info.siblings or []]


def _weights(folder: Path, names: list[str]) -> list[str]:
    """Files of the weights in the order of preference of `Checkpoint`; shards as the fetched index names them."""
    for name in (SINGLE, INDEX, PICKLE, PICKLE_INDEX):
        if name in names:
            return [name] if not name.endswith(".json") else sorted(set(read_weight_map(folder / name).values()))
    return []


def _cached(repo: str, revision: str | None, cache: Path, reason: HubError) -> Snapshot:
    """The snapshot in the cache when the hub can't be asked."""
    from huggingface_hub.file_download import repo_folder_name

    folder = cache / repo_folder_name(repo_id=repo, repo_type="model")
    if not (folder / "snapshots").is_dir():
        raise reason
    try:
        snapshot = snapshot_in(folder, revision)
    except NotFoundError as err:
        raise HubError(f"{reason.message}; {err.message}", hint=reason.hint) from err
    return Snapshot(snapshot, repo, snapshot.name)


def _remember(cache: Path, repo: str, revision: str, commit: str) -> None:
    """Note the branch's commit where huggingface_hub does: it is not noted when a download names the commit itself."""
    from huggingface_hub.file_download import repo_folder_name

    if revision == commit:
        return
    reference = cache / repo_folder_name(repo_id=repo, repo_type="model") / "refs" / revision
    with contextlib.suppress(OSError):  # a cache that may only be read serves as well
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit, encoding="utf-8")


def _no_model(repo: str, names: list[str], endpoint: str) -> NotFoundError:
    kinds = {PurePosixPath(name).suffix for name in names}
    if "adapter_config.json" in names:
        hint = "it is an adapter: give its base model as BASE and the downloaded folder as --adapter"
    elif ".gguf" in kinds:
        first = next(name for name in names if name.endswith(".gguf"))
        hint = f"it holds GGUF files: fetch one (`hf download {repo} {first}`) and give its path"
    else:
        hint = f"see {endpoint}/{repo}/tree/main"
    return NotFoundError(f"{repo} on {endpoint} has no config.json with weights beside it", hint=hint)


def _translated(err: Exception, repo: str, revision: str | None, endpoint: str) -> ConchError:
    """The error of the tree for one of huggingface_hub or of the HTTP library below it, which differs by version."""
    if isinstance(err, ConchError):
        return err
    if isinstance(err, OSError) and err.errno in _DISK:
        return output_error(Path(err.filename or repo), err)
    return _refusal(err, repo, revision, endpoint) or HubError(
        f"{repo} could not be fetched from {endpoint}: {type(err).__name__}: {_first_line(err)}",
        hint="run it again, it goes on where it stopped; without access to the hub set HF_ENDPOINT to a mirror, "
        "take it from ModelScope, or give a folder",
    )


def _refusal(err: Exception, repo: str, revision: str | None, endpoint: str) -> ConchError | None:
    """The error for an answer that refuses; None where there was no answer."""
    from huggingface_hub import errors

    page = f"{endpoint}/{repo}"
    if isinstance(err, errors.GatedRepoError):
        return HubError(
            f"{repo} is gated: {endpoint} gives it only to those who accepted its terms",
            hint=f"accept them at {page}, then `hf auth login` or set HF_TOKEN",
        )
    if isinstance(err, errors.RevisionNotFoundError):
        return NotFoundError(f"{repo} on {endpoint} has no revision {revision or 'main'}", hint=f"see {page}/tree/main")
    if isinstance(err, errors.RepositoryNotFoundError):
        return NotFoundError(
            f"{endpoint} has no model {repo}, or not for you",
            hint="check the spelling; a private model needs `hf auth login` or HF_TOKEN",
        )
    if isinstance(err, errors.HFValidationError):
        return NotFoundError(
            f"{repo!r} is no id of a model on the hub", hint="ids look like Qwen/Qwen2.5-0.5B-Instruct"
        )
    if isinstance(err, errors.HfHubHTTPError):
        return HubError(
            f"{endpoint} refused {repo}: {_first_line(err)}", hint="try again later, or another HF_ENDPOINT"
        )
    return None


def _first_line(err: Exception) -> str:
    return str(err).strip().partition("\n")[0]

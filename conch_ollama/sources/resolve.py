"""Finds the base model that a text means: a path, an id on the hub, or the name of a model in the local Ollama.

In this order: an existing path; `org/name`; a name of Ollama's. `hf:`, `modelscope:` and `ollama:` before the text say
which one is meant. Opens no weights but a GGUF's header.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conch_ollama.errors import BadFileError, HubError, ModelNameError, NotFoundError, UsageError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.positional import PositionalFile
from conch_ollama.sources.gguf_kinds import refuse_other_than_model, text_value
from conch_ollama.sources.hub_cache import is_cache_folder, is_hub_id, origin_of, snapshot_in
from conch_ollama.sources.model_card import read_license
from conch_ollama.sources.ollama_store import StoredModel, find_model

Hub = Literal["huggingface", "modelscope"]
_PAGE = "https://huggingface.co/"


@dataclass(frozen=True)
class Base:
    """A base model that is on this machine.

    `path` is the folder or the GGUF. `name` is short, for messages and file names; `repo` "org/name" and `revision` the
    commit, where they are known. `origin` is "folder", "file", "hub cache", "huggingface", "modelscope" or "ollama";
    `ollama` says more in the last case.
    """

    kind: Literal["folder", "gguf"]
    path: Path
    name: str
    repo: str | None
    revision: str | None
    license: str | None
    origin: str
    ollama: StoredModel | None = None


def resolve_base(
    text: str | Path, *, hub: Hub = "huggingface", revision: str | None = None, weights: bool = True
) -> Base:
    """The base model, fetched if it is on a hub. `revision` is a branch, tag or commit of the hub's repository. Without
    `weights` only its small files are fetched from the Hugging Face hub.

    Raises `NotFoundError` that says everything that was tried, and what the place where it was found raises.
    """
    given = str(text)
    path = Path(text).expanduser()
    if isinstance(text, Path) or _exists(path):
        return _from_path(path, revision)
    scheme, _, rest = given.partition(":")
    match scheme:
        case "hf" if _is_repo(rest):
            return _from_hub(rest, "huggingface", revision, weights)
        case "modelscope" if _is_repo(rest):
            return _from_hub(rest, "modelscope", revision)
        case "ollama" if rest:
            return _from_stored(find_model(rest), revision)
    if given.startswith(_PAGE) and _is_repo(given.removeprefix(_PAGE).rstrip("/")):
        return _from_hub(given.removeprefix(_PAGE).rstrip("/"), hub, revision, weights)
    if _looks_like_path(given):
        raise NotFoundError(f"{given} is not there", hint="check the path; it is taken from the current folder")
    return _from_name(given, hub, revision, weights)


def _from_name(given: str, hub: Hub, revision: str | None, weights: bool) -> Base:
    """A text that is no path: hub id or name of an Ollama model."""
    stored, without = _look_in_ollama(given)
    if not _is_repo(given):
        if stored is not None:
            return _from_stored(stored, revision)
        raise NotFoundError(
            f"{given!r} is no base model: there is no such path, it is no hub id (org/name), and {without}",
            hint="give a folder, a GGUF, an id on the hub such as Qwen/Qwen2.5-0.5B-Instruct, or an Ollama model",
        )
    if stored is not None:
        raise NotFoundError(
            f"{given!r} can mean two models: one in the local Ollama and one on the hub",
            hint=f"say which: ollama:{given} or hf:{given}",
        )
    try:
        return _from_hub(given, hub, revision, weights)
    except (NotFoundError, HubError) as err:
        tried = f"{err.message} (also tried: the path {given}, which is not there; {without})"
        raise type(err)(tried, hint=err.hint) from err


def _look_in_ollama(given: str) -> tuple[StoredModel | None, str]:
    """The model in the local Ollama, or why there is none."""
    try:
        return find_model(given), ""
    except (NotFoundError, ModelNameError) as err:
        return None, err.message


def _from_hub(given: str, hub: Hub, revision: str | None, weights: bool = True) -> Base:
    repo, _, at = given.partition("@")
    if at and revision and at != revision:
        raise UsageError(f"two revisions of {repo} are named: {at} and {revision}", hint="name one")
    wanted = revision or at or None
    from conch_ollama.sources.hub import Snapshot, fetch_snapshot  # numpy comes with them
    from conch_ollama.sources.model_scope import fetch_from_modelscope

    found: Snapshot = (
        fetch_from_modelscope(repo, wanted) if hub == "modelscope" else fetch_snapshot(repo, wanted, weights=weights)
    )
    return _folder(found.path, found.repo.rpartition("/")[2], found.repo, found.revision, hub)


def _from_stored(stored: StoredModel, revision: str | None) -> Base:
    _refuse_revision(f"the Ollama model {stored.short}", revision)
    return _gguf(stored.path, name=stored.short, origin="ollama", ollama=stored)


def _from_path(path: Path, revision: str | None) -> Base:
    if path.is_dir():
        if is_cache_folder(path):
            path = snapshot_in(path, revision)
            revision = None
        _refuse_revision(str(path), revision)
        source = origin_of(path)
        if source is not None:
            repo, commit = source
            return _folder(path, repo.rpartition("/")[2], repo, commit, "hub cache")
        ggufs = sorted(path.glob("*.gguf"))
        if len(ggufs) == 1 and not (path / "config.json").exists():
            return _gguf(ggufs[0], name=ggufs[0].stem, origin="file")
        return _folder(path, path.resolve().name, None, None, "folder")
    if not _exists(path):
        raise NotFoundError(f"{path} is not there", hint="check the path")
    _refuse_revision(str(path), revision)
    with PositionalFile(path) as file:
        if file.read_bytes(0, min(4, file.size)) == b"GGUF" or path.suffix.lower() == ".gguf":
            return _gguf(path, name=path.stem, origin="file")
    if path.suffix in (".safetensors", ".json", ".bin"):
        raise UsageError(f"{path} is one file of a model", hint=f"give the folder: {path.parent}")
    raise BadFileError(f"{path} is neither a folder nor a GGUF", hint="give a Hugging Face folder or a .gguf file")


def _refuse_revision(what: str, revision: str | None) -> None:
    if revision is not None:
        raise UsageError(f"{what} has no revision {revision} to choose", hint="a revision belongs to an id on a hub")


def _is_repo(text: str) -> bool:
    """Whether this looks like `org/name` or `org/name@revision`."""
    return is_hub_id(text.partition("@")[0])


def _folder(path: Path, name: str, repo: str | None, revision: str | None, origin: str) -> Base:
    return Base("folder", path, name, repo, revision, read_license(path), origin)


def _gguf(path: Path, *, name: str, origin: str, ollama: StoredModel | None = None) -> Base:
    with GGUFFile(path) as file:
        refuse_other_than_model(file)
        page = text_value(file, "general.repo_url") or ""
        repo = page.removeprefix(_PAGE) if page.startswith(_PAGE) and is_hub_id(page.removeprefix(_PAGE)) else None
        return Base("gguf", path, name, repo, None, text_value(file, "general.license"), origin, ollama)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as err:  # a name that is too long, a folder that may not be entered
        raise NotFoundError(f"{path} can't be looked at: {err.strerror}", hint="check the path") from err


def _looks_like_path(given: str) -> bool:
    return (
        given.startswith((".", "/", "~", "\\"))
        or "\\" in given
        or given.count("/") > 2
        or given[1:2] == ":"
        or given.lower().endswith((".gguf", ".safetensors", ".json", ".bin"))
    )

"""Fetches one large file of a hub's repository so that a run that was killed in it goes on there, not at its beginning.

Recent versions of `huggingface_hub` go on only within a run. The file is laid into its cache, where it finds it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from conch_ollama.errors import HubError

_OFFICIAL = "https://huggingface.co"
_RANGE_NOT_SATISFIABLE = 416
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def fetch_blob(repo: str, name: str, commit: str, *, cache: Path, endpoint: str) -> None:
    """See that the file's bytes are in the cache, or leave it to `huggingface_hub` where that does better.

    That is: on the official hub, whose own protocol (Xet) is faster, and where the cache can't hold links. Lets the
    exceptions of `huggingface_hub` through; raises `HubError` where the bytes are not those that the hub announces.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import are_symlinks_supported, http_get, repo_folder_name
    from huggingface_hub.utils._fixes import WeakFileLock
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(repo, name, revision=commit, endpoint=endpoint)
    found = get_hf_file_metadata(url)
    by_xet = endpoint == _OFFICIAL and getattr(found, "xet_file_data", None) is not None
    if by_xet or not found.etag or found.size is None or not are_symlinks_supported(str(cache)):
        return
    folder = repo_folder_name(repo_id=repo, repo_type="model")
    blob = cache / folder / "blobs" / found.etag
    partial = blob.with_name(f"{blob.name}.conch.partial")
    lock = cache / ".locks" / folder / f"{found.etag}.lock"
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock.parent.mkdir(parents=True, exist_ok=True)
    headers = build_hf_headers()
    if _host(found.location) != _host(url):
        headers.pop("authorization", None)  # the token is for the hub, not for where it keeps its files
    with WeakFileLock(lock):
        if blob.exists():
            return

        def go_on() -> None:
            with partial.open("ab") as out:
                there = out.tell()
                http_get(found.location, out, resume_size=there, headers=headers, expected_size=found.size)

        _until_whole(partial, found.size, go_on)
        _check(partial, found.etag, found.size, f"{name} of {repo}", endpoint)
        partial.replace(blob)


def _until_whole(partial: Path, size: int, go_on: Callable[[], None]) -> None:
    """Go on as long as each attempt brings something; begin anew, once, where the server ignored from where."""
    anew = 0
    while True:
        there = partial.stat().st_size if partial.exists() else 0
        if there > size:
            partial.unlink()
            there, anew = 0, anew + 1
        try:
            return go_on()
        except Exception as err:
            if getattr(getattr(err, "response", None), "status_code", None) == _RANGE_NOT_SATISFIABLE:
                partial.unlink()  # the file is shorter than was said: there is nothing to go on with
                raise
            if partial.stat().st_size <= there or anew > 1:
                raise


def _check(path: Path, etag: str, size: int, what: str, endpoint: str) -> None:
    """Large files have their sha256 as etag. What is wrong is removed: it can't be continued."""
    right = path.stat().st_size == size
    if right and _SHA256.match(etag):
        with path.open("rb") as file:
            right = hashlib.file_digest(file, "sha256").hexdigest() == etag
    if not right:
        path.unlink()
        raise HubError(
            f"{what} came from {endpoint} with other bytes than it announces",
            hint="run it again; if it stays so, the mirror is broken: use another HF_ENDPOINT",
        )


def _host(url: str) -> str:
    return url.split("/", 3)[2] if url.count("/") > 2 else url

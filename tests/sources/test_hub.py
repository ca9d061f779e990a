"""Fetching from a hub: a local server answers as the hub does, in order, breaking off, refusing, and lying."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conch_ollama.errors import ConchError, HubError, NoSpaceError, NotFoundError, QuantizedBaseError
from conch_ollama.sources.folder import HuggingFaceFolder
from conch_ollama.sources.hub import fetch_snapshot
from conch_ollama.sources.hub_cache import is_hub_id
from tests.parts.waiting import wait_until
from tests.sources.hub_server import HubServer, Repository
from tests.sources.model_folders import f32, write_folder

REPO = "hai-lab/Shell-1B"
NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
WEIGHTS = np.random.default_rng(0).standard_normal((1000, 100)).astype(np.float32)
README = "---\nlicense: apache-2.0\n---\n# 海螺\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    folder = write_folder(tmp_path / "source", [{"a": f32(WEIGHTS)}, {"b": f32(WEIGHTS[:10])}])
    (folder / "README.md").write_text(README, encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    # What is not needed and must not be fetched: gigabytes, on a real hub.
    unneeded = ("pytorch_model.bin", "consolidated.safetensors", "model.onnx", "onnx/model.safetensors", "photo.png")
    return {**found, **dict.fromkeys(unneeded, b"not needed")}


@pytest.fixture
def hub(files: dict[str, bytes]) -> Iterator[HubServer]:
    with HubServer({REPO: Repository(files)}) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub 缓存"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub waits seconds between its attempts, and writes pieces of 10 MB; our files are small."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.name.endswith((".partial", ".incomplete"))]


def test_a_model_is_fetched_with_what_it_needs_and_nothing_else(hub: HubServer, cache: Path) -> None:
    found = fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert (found.repo, found.revision) == (REPO, hub.repositories[REPO].commit)
    assert found.path.name == found.revision
    expected = {"config.json", "README.md", "tokenizer.json", "model.safetensors.index.json", *NAMES}
    assert {str(path.relative_to(found.path)) for path in found.path.rglob("*")} == expected
    source = HuggingFaceFolder(found.path)
    assert np.array_equal(source.read("a", 0, 1000), WEIGHTS)
    source.close()
    assert (cache / "models--hai-lab--Shell-1B" / "refs" / "main").read_text("utf-8") == found.revision
    assert leftovers(cache) == []


def test_without_weights_only_what_is_small_is_fetched(hub: HubServer, cache: Path) -> None:
    found = fetch_snapshot(REPO, cache=cache, endpoint=hub.url, weights=False)
    assert (found.path / "tokenizer.json").is_file()
    assert not list(found.path.glob("*.safetensors"))


def test_what_is_there_is_not_fetched_again(hub: HubServer, cache: Path) -> None:
    first = fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    hub.requests.clear()
    assert fetch_snapshot(REPO, cache=cache, endpoint=hub.url) == first
    assert all(request.path.startswith("/api/") for request in hub.requests)


def test_a_tag_and_a_commit_are_understood(hub: HubServer, cache: Path) -> None:
    commit = hub.repositories[REPO].commit
    assert fetch_snapshot(REPO, "v1", cache=cache, endpoint=hub.url).revision == commit
    assert fetch_snapshot(REPO, commit, cache=cache, endpoint=hub.url).revision == commit


def test_a_single_file_and_no_safetensors(tmp_path: Path, files: dict[str, bytes], cache: Path) -> None:
    single = write_folder(tmp_path / "single", [{"a": f32(WEIGHTS)}])
    repositories = {
        "o/single": Repository({path.name: path.read_bytes() for path in single.iterdir()}),
        "o/pickle": Repository({"config.json": files["config.json"], "pytorch_model.bin": b"pickle"}),
    }
    with HubServer(repositories) as hub:
        assert (fetch_snapshot("o/single", cache=cache, endpoint=hub.url).path / "model.safetensors").is_file()
        assert (fetch_snapshot("o/pickle", cache=cache, endpoint=hub.url).path / "pytorch_model.bin").is_file()


def test_the_token_goes_to_the_hub_and_not_to_its_file_servers(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    to_files = [request for request in hub.requests if request.path.startswith("/files/")]
    to_hub = [request for request in hub.requests if not request.path.startswith("/files/")]
    assert to_files
    assert all("authorization" not in request.headers for request in to_files)
    assert all(request.headers["authorization"] == "Bearer hf_secret" for request in to_hub)


def test_a_connection_that_breaks_is_continued_in_the_same_run(hub: HubServer, cache: Path) -> None:
    hub.break_after, hub.breaks = 150_000, 2
    found = fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    ranges = [request.headers.get("range") for request in hub.fetched(NAMES[0])]
    assert ranges == [None, "bytes=150000-", "bytes=300000-"]
    assert HuggingFaceFolder(found.path).tensors["a"].rows == 1000


@pytest.mark.bad_input("hub: connection breaks off and the hub is down")
def test_a_run_that_gave_up_is_continued_by_the_next(hub: HubServer, cache: Path) -> None:
    hub.break_after, hub.breaks, hub.down_after = 150_000, 1, True
    with pytest.raises(HubError) as caught:
        fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert caught.value.code == "hub"
    assert REPO in caught.value.message
    assert [name.endswith(".conch.partial") for name in leftovers(cache)] == [True]
    hub.down_after = False
    hub.requests.clear()
    found = fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert [request.headers.get("range") for request in hub.fetched(NAMES[0])] == ["bytes=150000-"]
    assert (found.path / NAMES[0]).read_bytes() == hub.repositories[REPO].files[NAMES[0]]
    assert leftovers(cache) == []


def fetched_so_far(cache: Path) -> int:
    """Bytes of the largest file that is half there; folders come and go while it is looked for."""
    size = 0
    for folder, _, names in os.walk(cache):
        for name in names:
            if name.endswith(".conch.partial"):
                with contextlib.suppress(FileNotFoundError):
                    size = max(size, (Path(folder) / name).stat().st_size)
    return size


@pytest.mark.bad_input("hub: process killed in a download")
def test_a_killed_process_is_continued_by_the_next(hub: HubServer, cache: Path) -> None:
    hub.break_after, hub.breaks, hub.stall = 150_000, 1, True
    code = (
        "import sys\nfrom conch_ollama.sources.resolve import resolve_base\n"
        "from huggingface_hub import constants\nconstants.DOWNLOAD_CHUNK_SIZE = 50_000\n"
        "print(resolve_base(sys.argv[1]))"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONUTF8": "1",
    }
    child = subprocess.Popen([sys.executable, "-c", code, REPO], env=environment)
    wait_until(lambda: fetched_so_far(cache) >= 100_000 or child.poll() is not None, 60)
    assert child.poll() is None
    child.kill()
    child.wait()
    hub.stalled.set()
    hub.requests.clear()
    done = subprocess.run(
        [sys.executable, "-c", code, REPO], env=environment, capture_output=True, text=True, check=True
    )
    (again,) = hub.fetched(NAMES[0])
    assert int(again.headers["range"].removeprefix("bytes=").removesuffix("-")) >= 100_000
    assert f"repo='{REPO}', revision='{hub.repositories[REPO].commit}'" in done.stdout
    assert "license='apache-2.0', origin='huggingface'" in done.stdout
    assert leftovers(cache) == []


def test_a_server_without_ranges_begins_anew(hub: HubServer, cache: Path) -> None:
    hub.break_after, hub.breaks, hub.no_ranges = 150_000, 1, True
    found = fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert (found.path / NAMES[0]).read_bytes() == hub.repositories[REPO].files[NAMES[0]]


@pytest.mark.bad_input("hub: file with other bytes than announced")
def test_wrong_bytes_are_noticed_and_not_kept(hub: HubServer, cache: Path) -> None:
    hub.corrupt = True
    with pytest.raises(HubError, match=f"{NAMES[0]} .*other bytes than it announces"):
        fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert leftovers(cache) == []
    hub.corrupt = False
    fetch_snapshot(REPO, cache=cache, endpoint=hub.url)


@pytest.mark.bad_input("hub: file shorter than announced")
def test_a_file_shorter_than_announced_is_noticed_and_not_kept(hub: HubServer, cache: Path) -> None:
    hub.announce_more = 10
    with pytest.raises(HubError, match=REPO):
        fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert leftovers(cache) == []
    assert not list(cache.rglob(NAMES[0]))
    hub.announce_more = 0
    fetch_snapshot(REPO, cache=cache, endpoint=f"{hub.url}/")


def test_without_a_connection_the_cache_is_used(hub: HubServer, cache: Path) -> None:
    first = fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    hub.status = 503
    assert fetch_snapshot(REPO, cache=cache, endpoint=hub.url) == first
    assert fetch_snapshot(REPO, cache=cache, endpoint="http://127.0.0.1:9") == first
    assert fetch_snapshot(REPO, first.revision, cache=cache, endpoint="http://127.0.0.1:9") == first
    with pytest.raises(HubError, match=r"127\.0\.0\.1:9.*no single snapshot for the revision v1"):
        fetch_snapshot(REPO, "v1", cache=cache, endpoint="http://127.0.0.1:9")


def test_offline_by_the_environment(hub: HubServer, cache: Path) -> None:
    code = (
        "import sys\nfrom conch_ollama.errors import HubError\nfrom conch_ollama.sources.hub import fetch_snapshot\n"
        "try: print(fetch_snapshot(sys.argv[1]).revision)\n"
        "except HubError as err: print(err.code, err.message)\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}

    def run() -> str:
        command = [sys.executable, "-c", code, REPO]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert run().startswith(f"hub {REPO} could not be fetched from {hub.url}")
    assert hub.requests == []
    found = fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert run() == f"{found.revision}\n"


@pytest.mark.bad_input("hub: no connection and nothing in the cache")
def test_no_connection_names_endpoint_and_ways_out(cache: Path) -> None:
    with pytest.raises(HubError) as caught:
        fetch_snapshot(REPO, cache=cache, endpoint="http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in caught.value.message
    assert "HF_ENDPOINT" in (caught.value.hint or "")


@pytest.mark.bad_input("hub: repository that is not there")
def test_a_repository_that_is_not_there(hub: HubServer, cache: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        fetch_snapshot("hai-lab/Nothing", cache=cache, endpoint=hub.url)
    assert "hai-lab/Nothing" in caught.value.message
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.bad_input("hub: revision that is not there")
def test_a_revision_that_is_not_there(hub: HubServer, cache: Path) -> None:
    with pytest.raises(NotFoundError, match="no revision v9"):
        fetch_snapshot(REPO, "v9", cache=cache, endpoint=hub.url)


@pytest.mark.bad_input("hub: gated repository")
def test_a_gated_repository_says_how_to_get_in(hub: HubServer, cache: Path) -> None:
    hub.repositories[REPO].gated = True
    with pytest.raises(HubError, match="gated") as caught:
        fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert f"{hub.url}/{REPO}" in (caught.value.hint or "")
    assert "hf auth login" in (caught.value.hint or "")


@pytest.mark.bad_input("hub: answers with a server error")
def test_a_hub_that_is_down_is_named(hub: HubServer, cache: Path) -> None:
    hub.status = 503
    with pytest.raises(HubError, match=f"{hub.url} refused {REPO}"):
        fetch_snapshot(REPO, cache=cache, endpoint=hub.url)


@pytest.mark.bad_input("hub: quantised model")
def test_a_quantised_model_is_refused_before_its_weights_come(hub: HubServer, cache: Path) -> None:
    config = json.loads(hub.repositories[REPO].files["config.json"]) | {"quantization_config": {"quant_method": "awq"}}
    hub.repositories[REPO].files["config.json"] = json.dumps(config).encode()
    with pytest.raises(QuantizedBaseError, match=f"{REPO} is quantised by awq"):
        fetch_snapshot(REPO, cache=cache, endpoint=hub.url)
    assert hub.fetched(NAMES[0]) == []


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "--adapter"),
        (["model-q4.gguf", "README.md"], "hf download o/r model-q4.gguf"),
        (["data.parquet"], "/o/r/tree/main"),
        (["config.json", "model.onnx"], "/o/r/tree/main"),
    ],
    ids=["adapter", "gguf", "data set", "no weights"],
)
@pytest.mark.bad_input("hub: repository that holds no base model")
def test_a_repository_that_holds_no_base_says_what_it_is(cache: Path, files: list[str], hint: str) -> None:
    with HubServer({"o/r": Repository(dict.fromkeys(files, b"{}"))}) as hub:
        with pytest.raises(NotFoundError, match=r"no config\.json with weights") as caught:
            fetch_snapshot("o/r", cache=cache, endpoint=hub.url)
        assert hint in (caught.value.hint or "")


if sys.platform == "linux":

    @pytest.mark.bad_input("hub: disk full or cache not writable")
    def test_a_cache_that_cannot_be_written_is_named(hub: HubServer, tmp_path: Path) -> None:
        with pytest.raises(ConchError) as caught:
            fetch_snapshot(REPO, cache=Path("/proc/no/hub"), endpoint=hub.url)
        assert caught.value.code == "not-writable"
        cache = tmp_path / "full"
        etag = hub.repositories[REPO].etag(NAMES[0])
        blobs = cache / "models--hai-lab--Shell-1B" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{etag}.conch.partial").symlink_to("/dev/full")
        with pytest.raises(NoSpaceError):
            fetch_snapshot(REPO, cache=cache, endpoint=hub.url)


def test_what_looks_like_an_id() -> None:
    assert is_hub_id("Qwen/Qwen2.5-0.5B-Instruct")
    for text in ("qwen", "a/b/c", "../b", "a/..", "a/b:tag", "a /b", "/b", "a/", "a/b--c"):
        assert not is_hub_id(text)

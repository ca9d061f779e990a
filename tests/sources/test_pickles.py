"""`.bin` checkpoints where torch is not installed: refused, with the way out. (With torch: `tests_parity`.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conch_ollama.errors import UnsafePickleError
from conch_ollama.sources.folder import HuggingFaceFolder
from tests.sources.model_folders import f32, write_folder, write_index


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.bad_input("pickled weights without torch")
def test_a_pickle_is_never_opened_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    folder = write_folder(tmp_path / "base", [{"w": f32([1])}])
    (folder / "model.safetensors").unlink()
    name = "pytorch_model-00001-of-00001.bin" if sharded else "pytorch_model.bin"
    # Would leave a file if anything unpickled it.
    (folder / name).write_bytes(b"cpathlib\nPath\n(S'" + str(tmp_path / "ran").encode() + b"'\ntR(dS'touch'\n.")
    if sharded:
        write_index(folder, {"w": name})
        (folder / "model.safetensors.index.json").rename(folder / "pytorch_model.bin.index.json")
    with pytest.raises(UnsafePickleError) as caught:
        HuggingFaceFolder(folder)
    assert caught.value.code == "unsafe-pickle"
    assert str(folder / name) in caught.value.message
    assert "safetensors" in (caught.value.hint or "")
    assert "torch" in (caught.value.hint or "")
    assert not (tmp_path / "ran").exists()

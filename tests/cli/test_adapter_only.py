"""`conch export --adapter-only` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_cli import conch
from tests.parts.tiny import config, write_adapter, write_model


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("adapter only") / "海 螺"
    return write_model(folder / "base"), write_adapter(folder / "lora", config())


def test_the_file_and_how_to_use_it(parts: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = parts
    done = conch("export", base, "-a", f"{adapter}=0.5", "--adapter-only", "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().startswith(str(Path("out") / "lora.lora.f16.gguf"))
    assert "adapters = [{ path =" in done.stderr.decode()
    report = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert report["adapter_only"] and report["alpha"] == 4 and report["adapters"][0]["weight"] == 0.5


def test_as_json_and_dry(parts: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = parts
    common = (
        "export",
        base,
        "-a",
        adapter,
        "--adapter-only",
        "-q",
        "F32",
        "--name",
        "神奇海螺",
        "--json",
        "--no-check",
    )
    planned = json.loads(conch(*common, "--dry-run", cwd=tmp_path).stdout)
    assert planned["dry_run"] and list(tmp_path.iterdir()) == []
    result = json.loads(conch(*common, cwd=tmp_path).stdout)
    file = tmp_path / result["files"][0]["path"]
    assert (file.name, file.stat().st_size) == ("神奇海螺.lora.f32.gguf", planned["preflight"]["size"])


@pytest.mark.bad_input("an option about the whole model with --adapter-only")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("-a", "more"), "2 are named"),
        (("-q", "f16", "-q", "f32"), "2 types"),
        (("-q", "q4"), "q4_K_M"),
        (("--format", "hf"), "--format"),
        (("--plain-jinja",), "--plain-jinja"),
        (("--merge-dtype", "base"), "--merge-dtype"),
    ],
)
def test_options_that_make_no_sense(
    parts: tuple[Path, Path], tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    base, adapter = parts
    done = conch("export", base, "-a", adapter, "--adapter-only", *options, "-o", "out", cwd=tmp_path)
    said = done.stderr.decode()
    assert done.returncode == 2 and named in said and "[usage]" in said and list(tmp_path.iterdir()) == []


@pytest.mark.bad_input("--adapter-only without an adapter")
def test_no_adapter(parts: tuple[Path, Path], tmp_path: Path) -> None:
    done = conch("export", parts[0], "--adapter-only", cwd=tmp_path)
    assert done.returncode == 2 and "[usage]" in done.stderr.decode() and list(tmp_path.iterdir()) == []

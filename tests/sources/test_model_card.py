"""The licence from a README's front matter."""

from __future__ import annotations

from pathlib import Path

import pytest

from conch_ollama.sources.model_card import read_license


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: apache-2.0\nlanguage:\n- en\n---\n# Model", "apache-2.0"),
        ("\ufeff---\r\nlanguage: zh\r\nlicense: 'mit'\r\n---\r\n", "mit"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense_name: deepseek\n---", "deepseek"),
        ("---\nlanguage: en\n---\nlicense: mit", None),
        ("# Model\nlicense: mit", None),
        ("---\nlicense:\n---\n", None),
        ("", None),
    ],
)
def test_the_licence_is_what_the_front_matter_says(tmp_path: Path, text: str, expected: str | None) -> None:
    (tmp_path / "README.md").write_bytes(text.encode())
    assert read_license(tmp_path) == expected


def test_no_readme_no_licence(tmp_path: Path) -> None:
    assert read_license(tmp_path) is None

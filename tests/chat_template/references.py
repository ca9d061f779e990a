"""The models' own chat templates that the tests hold TEMPLATEs against (see templates/README.md).

Data and its reading only: what they render to is in expected/, and held against transformers in tests_parity.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal

from conch_ollama.chat_template.jinja import JinjaTemplate

FOLDER = Path(__file__).parent / "templates"

#: The moment at which dated templates are rendered in the tests.
MOMENT = datetime(2025, 3, 9, 12, 0, 0)

#: name of the file -> (family it must match, BOS text, whether a GGUF of it usually has add_bos_token)
REFERENCES = {
    "chatml": ("chatml", "", False),
    "smollm2": ("smollm2", "<|im_start|>", False),
    "qwen2.5": ("qwen2.5", "", False),
    "qwen3": ("qwen3", "", False),
    "deepseek-r1-distill": ("deepseek-r1-distill", "<｜begin▁of▁sentence｜>", True),
    "deepseek-v3": ("deepseek-v3", "<｜begin▁of▁sentence｜>", True),
    "llama3": ("llama3", "<|begin_of_text|>", True),
    "hermes-2-pro": ("hermes-2-pro", "<|begin_of_text|>", True),
    "refusing": ("chatml", "<s>", True),
}


@dataclass(frozen=True)
class Reference:
    """One table of templates/index.toml; its keys are explained in templates/README.md."""

    name: str
    model: str
    bos_token: str
    eos_token: str
    add_bos: bool
    text: Literal["own", "written"]
    source: str
    licence: str
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    package: str = ""
    dated: bool = False
    notes: str = ""

    def template(self) -> JinjaTemplate:
        """The template with its tokens, and with a clock that stands still at MOMENT."""
        return JinjaTemplate(
            source(self.name),
            bos_token=self.bos_token,
            eos_token=self.eos_token,
            special_tokens=self.special_tokens,
            now=lambda: MOMENT,
        )

    def tokens(self) -> dict[str, str]:
        """The special tokens by their transformers names, without those the tokenizer lacks."""
        tokens = {**self.special_tokens, "bos_token": self.bos_token, "eos_token": self.eos_token}
        return {name: token for name, token in tokens.items() if token}


@cache
def index() -> Mapping[str, Reference]:
    tables = tomllib.loads((FOLDER / "index.toml").read_text(encoding="utf-8"))
    return {name: Reference(name=name, **table) for name, table in tables.items()}


def source(name: str) -> str:
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def reference(name: str, bos: str = "") -> JinjaTemplate:
    return JinjaTemplate(source(name), bos_token=bos)

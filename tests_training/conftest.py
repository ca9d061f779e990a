"""What the suite shares: a folder to train on, its tokenizer, and LLaMA-Factory's templates put in force."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.template import TEMPLATES
from llamafactory.hparams import DataArguments
from transformers import AutoTokenizer

from conch_ollama.sources.smollm2 import smollm2_gguf
from conch_ollama.training.base import base_from_gguf


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_from_gguf(smollm2_gguf(), tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tokenizer(base: Path) -> Any:
    return AutoTokenizer.from_pretrained(base)


@contextmanager
def fresh_templates() -> Iterator[None]:
    """LLaMA-Factory writes what a configuration says into its one table of templates."""
    with patch.dict(TEMPLATES, copy.deepcopy(TEMPLATES)):
        yield


def in_force(tokenizer: Any, **options: Any) -> tuple[Any, Any, DataArguments]:
    """Template, tokenizer and options as a training has them: the template changes the tokenizer's tokens in place."""
    arguments = DataArguments(cutoff_len=1 << 16, **options)
    with fresh_templates():
        template = get_template_and_fix_tokenizer(tokenizer, arguments)
    return template, tokenizer, arguments

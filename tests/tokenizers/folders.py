"""Folders with small byte-level BPE tokenizers, trained here, in the shapes that trainers and hubs leave behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from conch_ollama.tokenizers.corpus import CORPUS
from conch_ollama.tokenizers.pretokenizers import PROBES, as_pre_tokenizer
from conch_ollama.tokenizers.vocabulary import Vocabulary

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = as_pre_tokenizer((QWEN2,))
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 2000
"""Tokens before the added ones."""


@cache
def _model() -> str:
    """A BPE whose merges run over spaces, digits and punctuation, so that every difference in splitting shows in ids.

    It learns from words that are cut in halves and joined with their neighbours, not from what a pre-tokenizer gives.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = byte_level
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    texts = [*PROBES, *(item.text for item in CORPUS)]
    windows = [text[start : start + width] for text in texts for width in (2, 3, 5, 8) for start in range(len(text))]
    tokenizer.train_from_iterator([*windows, *["'de", "'told"] * 50], trainer)
    return tokenizer.to_str()


def added_token(index: int, content: str, **changes: Any) -> dict[str, Any]:
    """An entry of `added_tokens`."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": content, **flags, **changes}


def tokenizer_json(
    pre_tokenizer: Any = QWEN2_SPLIT, *, specials: Sequence[str] = SPECIALS, ignore_merges: bool = False, **parts: Any
) -> dict[str, Any]:
    """A tokenizer.json as Python; the added tokens come after the vocabulary."""
    found = json.loads(_model())
    size = len(found["model"]["vocab"])
    assert size == VOCABULARY
    found["model"]["ignore_merges"] = ignore_merges
    found["pre_tokenizer"] = pre_tokenizer
    found["added_tokens"] = [added_token(size + index, text) for index, text in enumerate(specials)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return {**found, "decoder": byte_level, "post_processor": None, "normalizer": None, **parts}


def write_folder(folder: Path, tokenizer: Mapping[str, Any] | None = None, **files: Any) -> Path:
    """Writes tokenizer.json and other files: `tokenizer_config={…}` becomes tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    files.setdefault("tokenizer_config", {"eos_token": "<|im_end|>", "chat_template": CHATML})
    for name, content in {"tokenizer": tokenizer or tokenizer_json(), **files}.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return folder


def write_gguf_tokenizer(folder: Path, vocabulary: Vocabulary, pre_tokenizer: Any) -> Path:
    """A GGUF's vocabulary as the tokenizer.json it came from: SmolLM2's, whose files no registry has."""
    tokens = {text: index for index, text in enumerate(vocabulary.tokens)}
    source = tokenizer_json(pre_tokenizer)
    source["model"] |= {"vocab": tokens, "merges": [merge.split(" ") for merge in vocabulary.merges]}
    control = [text for text, kind in zip(vocabulary.tokens, vocabulary.types, strict=True) if kind == 3]
    source["added_tokens"] = [added_token(tokens[text], text) for text in control]
    config = {"bos_token": vocabulary.bos_text, "eos_token": vocabulary.eos_text}
    return write_folder(folder, source, tokenizer_config={**config, "chat_template": vocabulary.chat_template})

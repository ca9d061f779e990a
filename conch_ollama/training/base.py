"""A Hugging Face folder to train on, made from a GGUF of SmolLM2 by transformers, with its tokenizer put right.

For training only, and for SmolLM's tokenizer only: the exporter reads a GGUF directly and needs no such folder.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadGGUFError, NotFoundError, NotSupportedError, OutputExistsError
from conch_ollama.formats.gguf_reader import GGUFFile
from conch_ollama.formats.metadata import Metadata

_PRE_TOKENIZER = "smollm"


def base_from_gguf(gguf: Path, folder: Path) -> Path:
    """Write weights (float32), configuration and tokenizer of the GGUF into the new `folder`; returns `folder`.

    Needs torch, transformers and gguf. Raises `OutputExistsError` if the folder is not empty, `NotSupportedError` for
    a GGUF whose pre-tokenizer is not SmolLM's or where transformers is missing.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OutputExistsError(f"{folder} is not empty", hint="name a new folder")
    with GGUFFile(gguf) as file:
        special = special_tokens(gguf, file.metadata)
    try:
        torch = importlib.import_module("torch")
        transformers = importlib.import_module("transformers")
    except ImportError as err:
        raise NotSupportedError(
            f"making a folder to train on needs transformers and torch: {err}",
            hint="pip install 'conch-ollama[training]', in the environment of LLaMA-Factory",
        ) from err
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    correct_folder(folder, special)
    return folder


def special_tokens(path: Path, metadata: Metadata) -> dict[str, str]:
    """`bos_token`, `eos_token`, `unk_token`, `pad_token` as texts, for a GGUF with SmolLM's tokenizer."""
    pre = metadata.get("tokenizer.ggml.pre")
    if pre is None or pre.data != _PRE_TOKENIZER:
        found = "none" if pre is None else pre.data
        raise NotSupportedError(
            f"{path}: pre-tokenizer {found}, only {_PRE_TOKENIZER} can be turned into a folder to train on",
            hint="train on the model's own Hugging Face folder",
        )
    tokens = metadata["tokenizer.ggml.tokens"].data
    keys = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    try:
        return {
            f"{name}_token": str(tokens[metadata[f"tokenizer.ggml.{key}_token_id"].data]) for name, key in keys.items()
        }
    except (KeyError, IndexError) as err:
        raise BadGGUFError(f"{path} does not say its special tokens: {err}") from err


def correct_folder(folder: Path, special: dict[str, str]) -> None:
    """Put right what transformers makes of SmolLM2's GGUF, in place.

    It takes the token that begins a turn for the one that ends it, leaves out that every digit is a token of its own,
    and decodes as SentencePiece does. What stands here is the tokenizer as its authors published it; llama.cpp's
    pre-tokenizer "smollm" does the same.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise NotFoundError(f"there is no {path}")
    tokenizer = _read(path)
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    tokenizer["normalizer"] = None
    tokenizer["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            byte_level | {"add_prefix_space": False},
        ],
    }
    tokenizer["post_processor"] = None
    tokenizer["decoder"] = byte_level | {"add_prefix_space": True}
    tokenizer["model"] |= {"fuse_unk": False, "byte_fallback": False}
    _write(path, tokenizer)
    config = _read(folder / "config.json")
    config.pop("_model_name_or_path", None)
    _write(folder / "config.json", config)
    _write(
        folder / "tokenizer_config.json",
        special
        | {
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": config["max_position_embeddings"],
            "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is
        },
    )


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8", newline="\n")

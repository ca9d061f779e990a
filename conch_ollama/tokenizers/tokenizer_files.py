"""Reads the JSON files beside a tokenizer and says what kind of tokenizer it is.

Interprets no token: `token_list`, `special_tokens` and `chat_templates` do. Class names (`tokenizer_class`) are never
looked at: they are often wrong after a training run, `tokenizer.json` is what the tokens came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError, NotFoundError, UnknownTokenizerError

# Files of tokenizers that are not read here -> what they are.
_OTHER_FILES = {
    "tokenizer.model": "a SentencePiece model (tokenizer.model)",
    "spiece.model": "a SentencePiece model (spiece.model)",
    "tekken.json": "Mistral's tekken.json",
    "vocab.json": "the files of a slow tokenizer (vocab.json, merges.txt)",
    "vocab.txt": "a WordPiece vocabulary (vocab.txt)",
}


@dataclass(frozen=True)
class TokenizerFiles:
    """The parsed files of one folder; an absent optional file is an empty mapping."""

    folder: Path
    tokenizer: Mapping[str, Any]
    tokenizer_config: Mapping[str, Any]
    special_tokens_map: Mapping[str, Any]
    config: Mapping[str, Any]
    generation_config: Mapping[str, Any]
    model_folder: Path | None = None

    @property
    def path(self) -> Path:
        """Path of `tokenizer.json`, to name in errors."""
        return self.folder / "tokenizer.json"

    @property
    def config_path(self) -> Path:
        """Path of `tokenizer_config.json`, to name in errors."""
        return self.folder / "tokenizer_config.json"

    @property
    def model(self) -> Mapping[str, Any]:
        """The `model` part of `tokenizer.json`."""
        model = self.tokenizer.get("model")
        if not isinstance(model, dict):
            raise BadConfigError(
                f"{self.path}: no `model` object", hint="The file is not a tokenizers `tokenizer.json`."
            )
        return model


def read_json(path: Path) -> Any:
    """Parses a JSON file. Raises BadConfigError with the place of the fault."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as err:
        raise BadConfigError(
            f"{path}: not valid JSON: {err.msg} (line {err.lineno}, column {err.colno})",
            hint="The file is damaged or was cut off: fetch or save it again.",
        ) from err
    except (UnicodeDecodeError, RecursionError) as err:
        raise BadConfigError(f"{path}: not valid JSON: {err}", hint="Fetch or save the file again.") from err
    except OSError as err:
        raise BadConfigError(f"{path}: cannot be read: {err.strerror or err}") from err


def read_object(path: Path) -> Mapping[str, Any]:
    """Parses a JSON file that must hold an object; an absent file is an empty one."""
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadConfigError(f"{path}: must hold a JSON object, holds a {type(value).__name__}")
    return value


def read_tokenizer_files(folder: Path, model_folder: Path | None = None) -> TokenizerFiles:
    """Reads `tokenizer.json` and what stands beside it.

    `model_folder` holds `config.json` and `generation_config.json` where they are not in `folder` (a tokenizer saved
    with an adapter). Raises NotFoundError (no tokenizer at all), UnknownTokenizerError (another kind of file only),
    BadConfigError (a file that does not parse).
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        _refuse_other_files(folder)
    return TokenizerFiles(
        folder=folder,
        tokenizer=read_object(path),
        tokenizer_config=read_object(folder / "tokenizer_config.json"),
        special_tokens_map=read_object(folder / "special_tokens_map.json"),
        config=_first_object(folder, model_folder, "config.json"),
        generation_config=_first_object(folder, model_folder, "generation_config.json"),
        model_folder=model_folder,
    )


def _first_object(folder: Path, model_folder: Path | None, name: str) -> Mapping[str, Any]:
    return read_object(folder / name) or (read_object(model_folder / name) if model_folder else {})


def _refuse_other_files(folder: Path) -> None:
    for name, meaning in _OTHER_FILES.items():
        if (folder / name).is_file():
            raise UnknownTokenizerError(
                f"{folder}: no tokenizer.json, only {meaning}",
                hint="Save it with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER).",
            )
    raise NotFoundError(
        f"{folder}: no tokenizer.json",
        hint="The folder of the model must hold its tokenizer: copy tokenizer.json and tokenizer_config.json into it.",
    )


def components(part: Any) -> Iterator[Mapping[str, Any]]:
    """The leaves of a normalizer, pre-tokenizer, post-processor or decoder, `Sequence`s opened, in order."""
    if not isinstance(part, dict):
        return
    for key in ("normalizers", "pretokenizers", "processors", "decoders"):
        if isinstance(part.get(key), list):
            for inner in part[key]:
                yield from components(inner)
            return
    yield part


def _types(part: Any) -> set[str]:
    return {str(component.get("type")) for component in components(part)}


def check_byte_level_bpe(files: TokenizerFiles) -> None:
    """Raises UnknownTokenizerError, saying what it is, unless the tokenizer is byte-level BPE (GPT-2's kind)."""
    model = files.model
    kind = model.get("type") or ("BPE" if "merges" in model else "nothing known")
    byte_level = "ByteLevel" in _types(files.tokenizer.get("pre_tokenizer")) | _types(files.tokenizer.get("decoder"))
    if kind == "BPE" and byte_level:
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            if model.get(key):
                raise UnknownTokenizerError(
                    f"{files.path}: BPE with `{key}` = {model[key]!r}, which llama.cpp does not do",
                    hint="Byte-level BPE without prefixes and suffixes is handled.",
                )
        return
    if kind == "BPE":
        meaning = "SentencePiece-like BPE" + (" (byte_fallback)" if model.get("byte_fallback") else " (not byte-level)")
    elif kind == "Unigram":
        meaning = "Unigram (SentencePiece)"
    elif kind == "WordPiece":
        meaning = "WordPiece (BERT)"
    else:
        meaning = str(kind)
    raise UnknownTokenizerError(
        f"{files.path}: the tokenizer is {meaning}; byte-level BPE is handled",
        hint="Start from a GGUF of the model: its vocabulary is carried over as it is.",
    )

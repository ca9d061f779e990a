"""Reads a chat template and its tokens from files: a tokenizer's folder, tokenizer_config.json alone, a Jinja file.

Reads `tokenizer.json`, which is large, only where the small files do not say whether BOS is added. Values only; what
they are for is `chat_format.py`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadTemplateError, NotFoundError, UsageError
from conch_ollama.tokenizers.chat_templates import ChatTemplates, read_chat_templates
from conch_ollama.tokenizers.special_tokens import as_ids, read_special_tokens
from conch_ollama.tokenizers.stops import EOG_TEXTS, find_stops
from conch_ollama.tokenizers.token_list import OTHER_ROLES, SPECIAL_ROLES, token_text
from conch_ollama.tokenizers.tokenizer_files import TokenizerFiles, read_object

#: Ids of tokens of which only the text is known.
_NOWHERE = 1 << 40
_GIVE_FOLDER = "give a chat template (Jinja), tokenizer_config.json, a model's folder or a GGUF"


def read_folder(folder: Path) -> dict[str, Any]:
    """Fields of a ChatFormat from a Hugging Face folder. Raises NotFoundError where it has no chat template."""
    files, added, ids = _read_files(folder)
    templates = read_chat_templates(files)
    if templates.default is None:
        raise _no_template(str(folder), templates)
    special = read_special_tokens(files, ids, None)
    texts = {index: text for text, index in ids.items()}
    named = {role: texts.get(index, "") for role, index in special.ids.items()}
    stops = find_stops(
        ids=ids,
        added=frozenset(added),
        chat_template=templates.default,
        eos=special.ids.get("eos"),
        eot=special.ids.get("eot"),
        configured=[i for s in (files.generation_config, files.config) for i in as_ids(s.get("eos_token_id"))],
    )
    bos = named.get("bos", "")
    has_tokenizer = (folder / "tokenizer.json").is_file()
    known = has_tokenizer or "bos" in special.add
    return {
        "source": templates.default,
        "bos_token": bos,
        "eos_token": named.get("eos", ""),
        "add_bos": (bool(bos) and special.add.get("bos", False)) if known else None,
        "family": str(files.config.get("model_type") or "").replace("_", ""),
        "special_tokens": {f"{role}_token": named[role] for role in OTHER_ROLES if named.get(role)},
        "stops": stops.strings,
        "ends": frozenset(
            texts[i]
            for i in stops.ids
            if i in texts and (i in (stops.eos, stops.eot, stops.eom) or texts[i] in EOG_TEXTS)
        ),
        "folder": folder if has_tokenizer else None,
    }


def read_bare(path: Path) -> dict[str, Any]:
    """Fields of a ChatFormat from a file that is not a model: tokenizer_config.json, or else Jinja."""
    if path.suffix.lower() == ".json":
        return _read_config(path)
    if path.suffix.lower() in (".safetensors", ".bin", ".model", ".pt", ".pth"):
        raise UsageError(f"{path} is one file of a model and holds no chat template", hint=_GIVE_FOLDER)
    try:
        source = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise BadTemplateError(f"{path} is no chat template: it is not UTF-8 text ({err})", hint=_GIVE_FOLDER) from err
    except OSError as err:
        raise NotFoundError(f"{path} can't be read: {err.strerror}", hint="check the path") from err
    if "{{" not in source and "{%" not in source:
        raise BadTemplateError(f"{path} is no chat template: there is no Jinja in it", hint=_GIVE_FOLDER)
    return {"name": path.stem, "source": source}


def _read_config(path: Path) -> dict[str, Any]:
    config = read_object(path)
    if "added_tokens" in config and "model" in config:
        raise UsageError(f"{path} holds tokens and no chat template", hint=f"give its folder: {path.parent}")
    files = TokenizerFiles(path.parent, {}, config, {}, {}, {})
    found = ChatTemplates()
    if "chat_template" in config:
        # Only this file's: the one beside it (chat_template.jinja) was not asked for.
        found = read_chat_templates(TokenizerFiles(path / "none", {}, config, {}, {}, {}))
    if found.default is None:
        raise _no_template(str(path), found)
    flag = files.tokenizer_config.get("add_bos_token")
    return {
        "name": path.resolve().parent.name,
        "source": found.default,
        "bos_token": token_text(config.get("bos_token")) or "",
        "eos_token": token_text(config.get("eos_token")) or "",
        "add_bos": flag if isinstance(flag, bool) else None,
        "special_tokens": {
            f"{role}_token": text for role in OTHER_ROLES if (text := token_text(config.get(f"{role}_token")))
        },
    }


def _no_template(where: str, found: ChatTemplates) -> NotFoundError:
    if found.named:
        return NotFoundError(
            f"{where} has no default chat template, only {', '.join(found.named)}",
            hint="save the one that is meant as a file and give that",
        )
    return NotFoundError(f"{where} has no chat template", hint="give the model's own Jinja file, if there is one")


def _read_files(folder: Path) -> tuple[TokenizerFiles, dict[str, int], dict[str, int]]:
    """The parsed files, the added tokens and all tokens that are known, by text. The large file only where needed."""
    config = read_object(folder / "tokenizer_config.json")
    listed = read_object(folder / "special_tokens_map.json")
    added = _decoder(config)
    tokenizer: Mapping[str, Any] = {}
    if not added or not isinstance(config.get("add_bos_token"), bool):
        tokenizer = read_object(folder / "tokenizer.json")
        for entry in tokenizer.get("added_tokens") or []:
            if isinstance(entry, dict) and isinstance(entry.get("id"), int) and token_text(entry):
                added.setdefault(str(entry["content"]), entry["id"])
    model = tokenizer.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    ids = {**(vocab if isinstance(vocab, dict) else {}), **added}
    if not (folder / "tokenizer.json").is_file():  # then the texts that are named have to do
        named = (token_text(source.get(f"{role}_token")) for source in (config, listed) for role in SPECIAL_ROLES)
        for number, text in enumerate(text for text in named if text):
            ids.setdefault(text, _NOWHERE + number)
    files = TokenizerFiles(
        folder,
        {"post_processor": tokenizer.get("post_processor")},
        config,
        listed,
        read_object(folder / "config.json"),
        read_object(folder / "generation_config.json"),
    )
    return files, added, ids


def _decoder(config: Mapping[str, Any]) -> dict[str, int]:
    decoder = config.get("added_tokens_decoder")
    if not isinstance(decoder, dict):
        return {}
    return {text: int(index) for index, entry in decoder.items() if index.isdecimal() and (text := token_text(entry))}

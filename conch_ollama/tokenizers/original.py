"""The original tokenizer, run by the Rust `tokenizers` library: the truth that a GGUF's vocabulary is checked with.

The texts of that check are `corpus`'s. What stands in a text as a special token is read as one, as the library does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError
from conch_ollama.tokenizers.corpus import CORPUS, CorpusText, corpus_for
from conch_ollama.tokenizers.special_tokens import read_special_tokens
from conch_ollama.tokenizers.token_list import named_tokens, read_token_ids
from conch_ollama.tokenizers.tokenizer_files import read_tokenizer_files

__all__ = ["CORPUS", "CorpusText", "corpus_for", "encode", "load"]


def encode(folder: Path, texts: Sequence[str], add_special_tokens: bool) -> list[list[int]]:
    """Token ids of each text. With `add_special_tokens`, what the tokenizer puts around a text is there too.

    Raises BadConfigError when the library refuses the tokenizer.
    """
    tokenizer = load(folder)
    flags = _add_flags(folder) if add_special_tokens else {}
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens and not flags)
    return [[*flags.get("bos", ()), *item.ids, *flags.get("eos", ())] for item in encoded]


def load(folder: Path) -> Any:
    """The `tokenizers.Tokenizer` of a folder with the added tokens of all its files, as transformers loads it.

    What the library knows already is not read a second time: a tokenizer.json may have 30 MB.
    """
    from tokenizers import AddedToken, Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        read_tokenizer_files(folder)  # says what is there instead
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8-sig"))
    except Exception as err:  # the library raises bare Exception
        raise BadConfigError(
            f"{path}: the tokenizers library refuses it: {err}",
            hint="The file may be damaged, or of a newer version: update the tokenizers package.",
        ) from err
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    if named_tokens(folder) <= known:
        return tokenizer
    for token in read_token_ids(read_tokenizer_files(folder))[1].values():
        if token.content not in known:
            tokenizer.add_tokens([AddedToken(token.content, special=token.special, normalized=False)])
    return tokenizer


def _add_flags(folder: Path) -> dict[str, tuple[int, ...]]:
    """BOS and EOS where `tokenizer_config.json` decides them over the post-processor, as transformers lets it."""
    files = read_tokenizer_files(folder)
    if not any(isinstance(files.tokenizer_config.get(f"add_{role}_token"), bool) for role in ("bos", "eos")):
        return {}
    special = read_special_tokens(files, read_token_ids(files)[0], None)
    return {
        role: (special.ids[role],) if special.add.get(role) and role in special.ids else () for role in ("bos", "eos")
    }

"""Tokens, their types and the merges of a byte-level BPE, as llama.cpp wants them in a GGUF.

Ids are those that the `tokenizers` library gives, which a model was trained with. Which token is BOS or EOS is not
decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadConfigError
from conch_ollama.tokenizers.tokenizer_files import TokenizerFiles, read_object

SPECIAL_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
#: Those besides BOS and EOS: a chat template may write them, by their transformers names.
OTHER_ROLES = SPECIAL_ROLES[2:]

# Added tokens that are not marked as special and yet are control tokens: the reference converter's rule, made for
# command-r, deepseek-coder and gemma. llama.cpp does not print control tokens and finds them in a prompt only.
_LOOKS_SPECIAL = frozenset({"<pad>", "<mask>", "<2mass>", "[@BOS@]"})
_SPECIAL_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))


class TokenType(IntEnum):
    """Type of a token, numbered as in the file (`llama_token_type`)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class AddedToken:
    """A token that is found in the text before the pre-tokenizer sees it."""

    id: int
    content: str
    special: bool
    trims: bool = False  # lstrip, rstrip or single_word: llama.cpp does none of them

    @property
    def type(self) -> TokenType:
        """CONTROL for special ones and those that look so, else USER_DEFINED."""
        looks = self.content in _LOOKS_SPECIAL or any(
            self.content.startswith(start) and self.content.endswith(end) for start, end in _SPECIAL_BRACKETS
        )
        return TokenType.CONTROL if self.special or looks else TokenType.USER_DEFINED


@dataclass(frozen=True)
class TokenList:
    """`tokens[id]` and `types[id]` for every row of the embedding; `ids` only for the tokens that exist."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    ids: Mapping[str, int]
    added: Mapping[str, AddedToken]


def read_token_ids(
    files: TokenizerFiles, vocab_size: int | None = None
) -> tuple[dict[str, int], dict[str, AddedToken]]:
    """Ids by text, and the added tokens by text. Raises BadConfigError: ids twice or not as the library would give
    them, more tokens than the `vocab_size` rows of the embedding.
    """
    vocab = _read_vocab(files)
    added = _read_added_tokens(files, vocab)
    ids = dict(vocab)
    ids.update({token.content: token.id for token in added.values()})
    if vocab_size is not None:
        _check_size(files, ids, vocab_size)
    following = max((len(vocab), *(token.id + 1 for token in added.values())))
    _add_named_specials(files, ids, added, following, vocab_size)
    return ids, added


def read_token_list(files: TokenizerFiles, vocab_size: int) -> TokenList:
    """Every token of the vocabulary, padded with unused `[PADi]` to the embedding's `vocab_size` rows.

    Raises BadConfigError as `read_token_ids` does.
    """
    ids, added = read_token_ids(files, vocab_size)
    by_id = {index: text for text, index in ids.items()}
    tokens, types = [], []
    for index in range(vocab_size):
        text = by_id.get(index)
        if text is None:
            tokens.append(f"[PAD{index}]")
            types.append(int(TokenType.UNUSED))
        else:
            tokens.append(text)
            types.append(int(added[text].type if text in added else TokenType.NORMAL))
    if len(set(tokens)) != len(tokens):
        # llama.cpp ends the process on a text that stands twice.
        twice = next(text for text in ids if text.startswith("[PAD") and text in tokens and tokens.count(text) > 1)
        raise BadConfigError(f"{files.path}: the token {twice!r} has the name that padding of its row would have")
    return TokenList(tuple(tokens), tuple(types), ids, added)


def _read_vocab(files: TokenizerFiles) -> dict[str, int]:
    vocab = files.model.get("vocab")
    if not isinstance(vocab, dict) or not vocab:
        raise BadConfigError(f"{files.path}: `model.vocab` must be an object of token: id")
    seen: dict[int, str] = {}
    for text, index in vocab.items():
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise BadConfigError(f"{files.path}: the token {text!r} has the id {index!r}, which is no number of a row")
        if index in seen:
            raise BadConfigError(
                f"{files.path}: the tokens {seen[index]!r} and {text!r} have the same id {index}",
                hint="A token id names one row of the embedding: take the tokenizer.json of the model itself.",
            )
        seen[index] = text
    return vocab


def _entries(files: TokenizerFiles) -> Iterator[Mapping[str, Any]]:
    listed = files.tokenizer.get("added_tokens") or []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise BadConfigError(f"{files.path}: `added_tokens` must be a list of objects")
    yield from listed
    decoder = files.tokenizer_config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise BadConfigError(f"{files.config_path}: `added_tokens_decoder` must be an object of id: token")
    for index, entry in sorted(decoder.items(), key=lambda item: int(item[0]) if item[0].isdecimal() else -1):
        if not isinstance(entry, dict) or not index.isdecimal():
            raise BadConfigError(f"{files.config_path}: `added_tokens_decoder` must be an object of id: token")
        yield {**entry, "id": int(index)}


def _read_added_tokens(files: TokenizerFiles, vocab: Mapping[str, int]) -> dict[str, AddedToken]:
    """Added tokens by text. Those of `tokenizer_config.json` come later and win, as in transformers."""
    added: dict[str, AddedToken] = {}
    following = len(vocab)  # the library ignores the ids in the file: it goes on after the vocabulary
    for entry in _entries(files):
        content, index = entry.get("content"), entry.get("id")
        if not isinstance(content, str) or not content or not isinstance(index, int):
            raise BadConfigError(f"{files.path}: an added token without `content` or `id`: {dict(entry)!r}")
        given = added[content].id if content in added else vocab.get(content, following)
        if index != given:
            raise BadConfigError(
                f"{files.path}: the added token {content!r} says id {index}, the tokenizers library gives it {given}",
                hint="Ids with holes or given twice do not survive loading: save the tokenizer anew with transformers.",
            )
        following = max(following, index + 1)
        added[content] = AddedToken(
            id=index,
            content=content,
            special=bool(entry.get("special")),
            trims=any(entry.get(key) for key in ("lstrip", "rstrip", "single_word")),
        )
    return added


def named_tokens(folder: Path) -> set[str]:
    """Texts of the added and special tokens that the files beside tokenizer.json name."""
    config = read_object(folder / "tokenizer_config.json")
    files = TokenizerFiles(folder, {}, config, read_object(folder / "special_tokens_map.json"), {}, {})
    return {text for text in map(token_text, _entries(files)) if text} | set(_named_specials(files))


def token_text(entry: Any) -> str | None:
    """Text of a token as configuration files write it: a string, or an object with `content`."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) and entry else None


def _named_specials(files: TokenizerFiles) -> Iterator[str]:
    """Texts of all tokens that configuration files name as special, in transformers' order."""
    for source in (files.tokenizer_config, files.special_tokens_map):
        for role in SPECIAL_ROLES:
            if text := token_text(source.get(f"{role}_token")):
                yield text
        for key in ("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"):
            listed = source.get(key)
            entries = listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else ()
            for entry in entries:
                if text := token_text(entry):
                    yield text


def _add_named_specials(
    files: TokenizerFiles, ids: dict[str, int], added: dict[str, AddedToken], following: int, vocab_size: int | None
) -> None:
    """Tokens named as special are special; one that has no id yet gets the `following`, as transformers gives it.

    Without a row in the embedding the model cannot have learnt it: it stays out (`special_tokens` warns).
    """
    for text in _named_specials(files):
        if text in added:
            added[text] = replace(added[text], special=True)
            continue
        index = ids.get(text, following)
        if vocab_size is None or index < vocab_size:
            ids[text] = index
            added[text] = AddedToken(id=index, content=text, special=True)
            following = max(following, index + 1)


def _check_size(files: TokenizerFiles, ids: Mapping[str, int], vocab_size: int) -> None:
    outside = sorted((index, text) for text, index in ids.items() if index >= vocab_size)
    if outside:
        index, text = outside[0]
        raise BadConfigError(
            f"{files.path}: the vocabulary is larger than the embedding: {text!r} has id {index}, the embedding has "
            f"{vocab_size} rows ({len(outside)} token{'s' if len(outside) > 1 else ''} too many)",
            hint="The tokenizer is of another model, or its added tokens were trained in an adapter not given here.",
        )


def read_merges(files: TokenizerFiles, ids: Mapping[str, int]) -> tuple[str, ...]:
    """Merges as "left right", in order of rank. Raises BadConfigError for one that names an unknown token.

    A space within a half is written as Ġ (U+0120), byte-level BPE's letter for it: llama.cpp splits at the space.
    """
    merges = files.model.get("merges")
    if not isinstance(merges, list):
        raise BadConfigError(f"{files.path}: `model.merges` must be a list")
    result = []
    for rank, merge in enumerate(merges):
        left, right = _halves(files, rank, merge)
        for text in (left, right, left + right):
            if text not in ids:
                raise BadConfigError(
                    f"{files.path}: merge {rank} ({left!r} + {right!r}) names {text!r}, which the vocabulary lacks",
                    hint="`vocab` and `merges` are of different tokenizers, or the file was edited.",
                )
        result.append(f"{left.replace(' ', 'Ġ')} {right.replace(' ', 'Ġ')}")
    return tuple(result)


def _halves(files: TokenizerFiles, rank: int, merge: Any) -> Sequence[str]:
    halves = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(halves, list) or len(halves) != 2 or not all(isinstance(half, str) and half for half in halves):
        raise BadConfigError(f"{files.path}: merge {rank} is {merge!r}, must be two tokens")
    return halves


def token_warnings(files: TokenizerFiles, listed: TokenList) -> list[str]:
    """What the tokenizer does with tokens and llama.cpp does not."""
    warnings = []
    if files.model.get("dropout"):
        warnings.append("the tokenizer has BPE dropout, which makes ids random: llama.cpp has none")
    trims = [token.content for token in listed.added.values() if token.trims]
    if trims:
        warnings.append(
            f"{len(trims)} added tokens swallow the white space around them (lstrip, rstrip, single_word), which "
            f"llama.cpp does not: {', '.join(map(repr, trims[:3]))}"
        )
    return warnings

"""Alpaca data sets: read and checked, and the conversation that LLaMA-Factory makes of a sample.

Does not encode, and knows nothing of templates.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conch_ollama.errors import BadFileError, NotFoundError

FIELDS = ("instruction", "input", "output")


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: what is asked, what it is asked about (may be empty), the answer."""

    instruction: str
    input: str
    output: str

    @property
    def prompt(self) -> str:
        """The user's turn as LLaMA-Factory's alpaca converter writes it: the non-empty parts, a line each."""
        return "\n".join(part for part in (self.instruction, self.input) if part)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation, without a system message."""
        return [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.output}]


def read_samples(path: Path) -> list[Sample]:
    """Samples of an alpaca file, in its order.

    Raises `NotFoundError`, and `BadFileError` that names file and sample for anything that would train what was not
    meant: not UTF-8, a missing or further field, no text, white space at an end, a control character, one question
    twice.
    """
    try:
        entries = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as err:
        raise NotFoundError(f"there is no data set {path}") from err
    except UnicodeDecodeError as err:
        raise BadFileError(f"{path} is not UTF-8: byte {err.start}", hint="save it as UTF-8 without a mark") from err
    except ValueError as err:
        raise BadFileError(f"{path} is no JSON: {err}") from err
    if not isinstance(entries, list) or not entries:
        raise BadFileError(f"{path} is no list of samples", hint="alpaca: a JSON list of objects")
    samples = [_sample(path, number, entry) for number, entry in enumerate(entries)]
    first: dict[str, int] = {}
    for number, sample in enumerate(samples):
        seen = first.setdefault(sample.prompt, number)
        if seen != number:
            raise BadFileError(f"samples {seen} and {number} of {path} ask the same: {sample.prompt!r}")
    return samples


def _sample(path: Path, number: int, entry: Any) -> Sample:
    where = f"sample {number} of {path}"
    if not isinstance(entry, dict) or sorted(entry) != sorted(FIELDS):
        raise BadFileError(f"{where} has not exactly the fields {', '.join(FIELDS)}")
    for field in FIELDS:
        text = entry[field]
        if not isinstance(text, str):
            raise BadFileError(f"{field} of {where} is no text")
        if field != "input" and not text:
            raise BadFileError(f"{field} of {where} is empty")
        if text != text.strip():
            raise BadFileError(f"{field} of {where} begins or ends with white space")
        for character in text:
            if character != "\n" and unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
                raise BadFileError(f"{field} of {where} holds the control character U+{ord(character):04X}")
    return Sample(**entry)

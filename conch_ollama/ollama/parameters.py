"""PARAMETER: the names that Ollama knows, their types, and their text in a Modelfile and in what `show` answers.

After Ollama's api/types.go (Options, Runner, FormatParams). Knows nothing about which values are good ones.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping

from conch_ollama.errors import BadModelfileError
from conch_ollama.ollama.grammar import quoted

ParameterValue = int | float | bool | str | tuple[str, ...]

FLOATS = frozenset({
    "temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
})  # fmt: skip
INTEGERS = frozenset({
    "num_ctx", "num_keep", "num_predict", "seed", "top_k", "repeat_last_n", "num_batch", "num_gpu", "main_gpu",
    "num_thread",
})  # fmt: skip
BOOLEANS = frozenset({"use_mmap"})
STRINGS = frozenset({"stop"})
PARAMETERS = FLOATS | INTEGERS | BOOLEANS | STRINGS
# What Ollama takes where nothing is set (api.DefaultOptions, v0.9.3); num_ctx and num_thread are the server's business.
# A later version has repeat_penalty 1.0: setting 1.1 there would not be its default.
DEFAULTS: Mapping[str, ParameterValue] = {
    "temperature": 0.8, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "typical_p": 1.0, "presence_penalty": 0.0,
    "frequency_penalty": 0.0, "repeat_last_n": 64, "num_predict": -1, "num_keep": 4, "seed": -1, "num_batch": 512,
    "num_gpu": -1,
}  # fmt: skip
# Ollama warns about these and drops them.
DEPRECATED = frozenset({
    "penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat", "mirostat_tau",
    "mirostat_eta",
})  # fmt: skip

# strconv.ParseBool
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_LARGEST_FLOAT32 = 3.4028234663852886e38


def parse_parameter(name: str, text: str) -> ParameterValue:
    """The value of `PARAMETER name text`, text unquoted; of `stop` one string. BadModelfileError says what is wrong."""
    if name in STRINGS:
        return text
    if name in INTEGERS:
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise BadModelfileError(f"PARAMETER {name} {text}: not an integer", hint="write it without quotes or units")
        return check_parameter(name, int(text))
    if name in FLOATS:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
            raise BadModelfileError(f"PARAMETER {name} {text}: not a number", hint="write it as 0.7")
        return check_parameter(name, float(text))
    if name in BOOLEANS:
        if text not in _TRUE | _FALSE:
            raise BadModelfileError(f"PARAMETER {name} {text}: not true or false")
        return text in _TRUE
    raise unknown_parameter(name)


def check_parameter(name: str, value: object) -> ParameterValue:
    """`value` as the parameter's type (an integer for a float becomes one). BadModelfileError where it is another."""
    fault = BadModelfileError(f"PARAMETER {name}: {value!r} is not {_wanted(name)}")
    if name in STRINGS:
        if isinstance(value, str) or not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise fault
        return tuple(value)
    if name in BOOLEANS:
        if not isinstance(value, bool):
            raise fault
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise fault
    if name in INTEGERS:
        if not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise fault
        return value
    if not math.isfinite(value) or abs(value) > _LARGEST_FLOAT32:
        raise fault
    return float(value)


def _wanted(name: str) -> str:
    for names, wanted in (
        (FLOATS, "a finite number"),
        (INTEGERS, "an integer of 64 bits"),
        (BOOLEANS, "true or false"),
        (STRINGS, "a list of strings"),
    ):
        if name in names:
            return wanted
    raise unknown_parameter(name)


def unknown_parameter(name: str) -> BadModelfileError:
    return BadModelfileError(
        f"PARAMETER {name}: Ollama knows no such parameter", hint=f"known are {', '.join(sorted(PARAMETERS))}"
    )


def parameter_text(value: ParameterValue) -> str:
    """A single value as it stands in a Modelfile; a string must be writable (see grammar)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value, ('"', '"""', "")) or ""
    return repr(value)


def parse_shown(text: str) -> dict[str, ParameterValue]:
    """The `parameters` of /api/show: a line `name   value` each, values in Go's %#v; stops make one tuple."""
    found: dict[str, ParameterValue] = {}
    for line in filter(None, text.split("\n")):
        name, _, shown = line.partition(" ")
        value = _shown_value(shown.strip(" "))
        if isinstance(value, str):
            earlier = found.get(name, ())
            found[name] = (*(earlier if isinstance(earlier, tuple) else ()), value)
        else:
            found[name] = value
    return found


def _shown_value(text: str) -> int | float | bool | str:
    if text.startswith('"'):
        return _go_unquote(text)
    if text in {"true", "false"}:
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _go_unquote(text: str) -> str:
    """strconv.Unquote of what strconv.Quote wrote: JSON's escapes and \\a \\v \\x.. \\U........ besides."""

    def as_json(match: re.Match[str]) -> str:
        escape = match.group(0)
        if escape[1] in 'abfnrtv"\\':
            return {"\\a": "\\u0007", "\\v": "\\u000b"}.get(escape, escape)
        rune = chr(int(f"0x{escape[2:]}", base=0))
        return json.dumps(rune)[1:-1]

    escapes = r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)"
    value: str = json.loads(re.sub(escapes, as_json, text))
    return value


def differing_parameters(
    meant: Mapping[str, ParameterValue], shown: Mapping[str, ParameterValue]
) -> list[tuple[str, ParameterValue | None, ParameterValue | None]]:
    """(name, meant, shown) where they differ. Floats are compared in single precision, in which Ollama holds them.

    One that is not meant and shown with Ollama's default does nothing.
    """
    differing = []
    for name in sorted({*meant, *shown}):
        want, have = meant.get(name), shown.get(name)
        if want is None and name in DEFAULTS:
            want = DEFAULTS[name] if have is not None else None
        if _comparable(name, want) != _comparable(name, have):
            differing.append((name, want, have))
    return differing


def _comparable(name: str, value: ParameterValue | None) -> ParameterValue | None:
    if value == ():
        return None
    if name not in FLOATS or not isinstance(value, (int, float)):
        return value
    single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return single

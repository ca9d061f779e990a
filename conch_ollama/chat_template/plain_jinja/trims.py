"""Trimming in Jinja itself, as Python does it: llama.cpp's own trimming knows the white space of ASCII only.

Macros for one end or both, of white space; written so that transformers' Jinja and llama.cpp's do the same.
"""

from __future__ import annotations

from conch_ollama.chat_template.conversations import SPACES

_ASCII = " \t\n\r\v\f"
#: What Python's str.strip takes and C's isspace does not.
WIDE_SPACES = "".join(char for char in SPACES if char not in _ASCII)
_METHODS = {"both": "strip", "left": "lstrip", "right": "rstrip"}
#: llama.cpp strips single bytes of the characters it is given, so what it leaves alone has none of them at that end.
_END = """\
        {%- if ns.text.STRIP('ALL') != ns.text -%}
            {%- for turn in range(ns.text | length) -%}
                {%- set before = ns.text -%}
                {%- for space in [EACH] -%}
                    {%- if ns.text.STARTS(space) -%}
                        {%- set ns.text = ns.text.SPLIT(space, 1)[PART].STRIP() -%}
                    {%- endif -%}
                {%- endfor -%}
                {%- if ns.text == before -%}{%- break -%}{%- endif -%}
            {%- endfor -%}
        {%- endif -%}
"""
_LEFT = _END.replace("STRIP", "lstrip").replace("STARTS", "startswith").replace("SPLIT", "split").replace("PART", "1")
_RIGHT = _END.replace("STRIP", "rstrip").replace("STARTS", "endswith").replace("SPLIT", "rsplit").replace("PART", "0")
_MACRO = """\
{%- macro NAME(text) -%}
    {%- if text is not string -%}
        {{- text | trim -}}
    {%- elif text.STRIP().STRIP('ALL') == text.STRIP() -%}
        {{- text.STRIP() -}}
    {%- else -%}
        {%- set ns = namespace(text=text.STRIP()) -%}
ENDS        {{- ns.text -}}
    {%- endif -%}
{%- endmacro %}
"""


class TrimMacros:
    """Names that the source does not use, and the definitions of those that were asked for."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._names: dict[str, str] = {}

    @property
    def used(self) -> bool:
        return bool(self._names)

    def name(self, side: str) -> str:
        """The macro that trims `side`: left, right or both."""
        if side not in self._names:
            name = f"{_METHODS[side]}_text"
            while name in self._source:
                name += "_"
            self._names[side] = name
        return self._names[side]

    def definitions(self) -> str:
        found = ""
        for side, name in self._names.items():
            ends = (_with(_LEFT, WIDE_SPACES) if side != "right" else "") + (
                _with(_RIGHT, WIDE_SPACES[::-1]) if side != "left" else ""
            )
            found += (
                _with(_MACRO, WIDE_SPACES).replace("NAME", name).replace("STRIP", _METHODS[side]).replace("ENDS", ends)
            )
        return found


def _with(text: str, spaces: str) -> str:
    return text.replace("ALL", spaces).replace("EACH", ", ".join(f"'{char}'" for char in spaces))

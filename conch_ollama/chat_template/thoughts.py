"""Ollama's parser of thoughts, as far as history is concerned: what is left of an old answer without its thought.

Source: thinking/parser.go of Ollama 0.9.3, fed with the whole text at once.
"""

from __future__ import annotations

# unicode.IsSpace of Go.
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_SPACES += "\u2028\u2029\u202f\u205f\u3000"


def without_thought(content: str, opening: str = "<think>", closing: str = "</think>") -> str:
    """The answer after a thought that opens `content`. An unclosed thought leaves nothing, a bare beginning of the
    opening tag (even an empty text, or white space alone) leaves nothing either."""
    trimmed = content.lstrip(_SPACES)
    if not trimmed.startswith(opening):
        return "" if opening.startswith(trimmed) else content
    thought, found, answer = trimmed[len(opening) :].lstrip(_SPACES).partition(closing)
    del thought
    return answer.lstrip(_SPACES) if found else ""

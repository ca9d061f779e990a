"""Two prompts alike but for how their JSON is written: what counts as that, and all that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conch_ollama.chat_template.compare import likeness
from conch_ollama.chat_template.conversations import TOOLS, Conversation
from conch_ollama.chat_template.json_equality import equal_but_for_json
from conch_ollama.chat_template.verdicts import DIFFERS, EQUAL, EQUAL_JSON

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(min_size=1), VALUES, max_size=4)


def _go(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@given(OBJECTS, OBJECTS)
def test_the_same_data_in_two_spellings(first: dict[str, Any], second: dict[str, Any]) -> None:
    def prompt(spelled: Any) -> str:
        call = f'{{"name": "f", "arguments": {spelled(second)}}}'
        return f'<tools>\n{spelled(first)}\n</tools> {{"name": <x>}} [{{ <call>{call}'

    texts = prompt(lambda value: json.dumps(value, ensure_ascii=False)), prompt(_go)
    assert equal_but_for_json(*texts, [])
    assert equal_but_for_json(*texts, []) == equal_but_for_json(*reversed(texts), [])
    if first != second:
        assert not equal_but_for_json(texts[0], prompt(lambda value: _go(second if value == first else first)), [])


@given(OBJECTS, st.integers(min_value=0), st.characters())
def test_a_change_of_the_text_between_is_seen(value: dict[str, Any], at: int, character: str) -> None:
    before, after = "<tools> ", " </tools>\nwell"
    place = at % (len(before) + 1)
    changed = before[:place] + character + before[place:]
    assert not equal_but_for_json(before + json.dumps(value) + after, changed + _go(value) + after, [])
    assert not equal_but_for_json(before + json.dumps(value) + after, before + _go(value) + after + character, [])


@pytest.mark.parametrize(
    ("wanted", "rendered"),
    [
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": null}', "{}"),
        ('{"a": 1, "a": 1}', '{"a": 1}'),
        ("[1, 2]", "[2, 1]"),
        ('{"a": "x y"}', '{"a": "x  y"}'),
        ('{"a": 1}\n', '{"a": 1}'),
        ('{"a": 1} {"b": 2}', '{"b": 2} {"a": 1}'),
        ("{a: 1}", "{a:1}"),
        ('{"a": NaN}', '{"a":NaN}'),
        ('x "a b" y', 'x "a  b" y'),
        ("true", "True"),
    ],
)
def test_other_data_or_no_json_at_all(wanted: str, rendered: str) -> None:
    assert not equal_but_for_json(wanted, rendered, [])


def test_strings_on_their_own_may_be_escaped_otherwise() -> None:
    assert equal_but_for_json('say "a < b" now', 'say "a \\u003c b" now', [])
    assert equal_but_for_json('5" of {"a": 1}', '5" of {"a":1}', [])


def test_a_messages_own_text_is_spelled_as_it_is() -> None:
    assert not equal_but_for_json('{"a": 1}', '{"a":1}', ['look: {"a": 1}'])
    assert not equal_but_for_json('{"a": 1}', '{"a":1}', ['{"a":1}'])


def test_only_the_tools_own_json() -> None:
    """What the template says by itself, in JSON too, is to be the same bytes."""
    assert equal_but_for_json('{"a": "x"}', '{"a":"x"}', [], {"x"})
    assert equal_but_for_json('{"x": 1}', '{"x":1}', [], {"x"})
    assert not equal_but_for_json('{"a": "y"}', '{"a":"y"}', [], {"x"})
    assert not equal_but_for_json('say "<"', 'say "\\u003c"', [], {"x"})


def test_only_where_there_are_tools() -> None:
    messages = [{"role": "user", "content": "Hi"}]
    for kind, verdict in (("tools declared", EQUAL_JSON), ("user", DIFFERS), ("thinking in history", DIFFERS)):
        chat = Conversation(kind, messages, TOOLS)
        assert likeness(chat, '{"a": "weather"}', '{"a":"weather"}') == verdict
        assert likeness(chat, '{"a": "weather"}', '{"a": "weather"}') == EQUAL
        assert likeness(chat, '{"name": 1}', '{"name":1}') == DIFFERS

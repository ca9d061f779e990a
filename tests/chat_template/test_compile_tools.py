"""What a Jinja does with tools is learnt from it: models' own and made-up ones, with tokens that nobody has seen."""

from __future__ import annotations

from functools import cache

import pytest

from conch_ollama.chat_template.capabilities import go_capabilities, is_bypassed
from conch_ollama.chat_template.compare import compare, refer, server_for
from conch_ollama.chat_template.compiler.compile import compile_template
from conch_ollama.chat_template.compiler.model import Compiled
from conch_ollama.chat_template.conversations import CONVERSATIONS, ODD_KIND, PLAIN, TOOL_KINDS
from conch_ollama.chat_template.jinja import JinjaTemplate
from conch_ollama.chat_template.ollama_render import OllamaTemplate
from conch_ollama.chat_template.ollama_tree import tool_call_tag
from conch_ollama.chat_template.ollama_values import LATEST, V0_9_3, Version
from conch_ollama.chat_template.tool_conversations import BY_ID, CALLED, DECLARED, SIDE_BY_SIDE, WITH_THOUGHTS
from conch_ollama.chat_template.verdicts import DIFFERS, EQUAL, EQUAL_JSON, REFUSED, ClassVerdict, Server
from tests.chat_template.references import index
from tests.parts.long import shortened

ID = "call12345"
#: model -> the mark by which Ollama finds a call in its answers.
MARKS = {
    "qwen2.5": "<tool_call>",
    "qwq": "<tool_call>",
    "llama3.1": "{",
    "falcon3": "<tool_call>\n[",
    "granite-4.0": "<tool_call>",
}

#: What stands in the way of the others, in the words of `features`.
BEYOND = {
    "hermes-2-pro": "tools declared otherwise than as JSON",
    "glm-4.6": "calls of tools that are not printed as JSON",
}

DECLARED_IN_SYSTEM = (
    "{%- set system = messages[0].content if messages[0].role == 'system' else 'Sei kurz.' %}"
    "{%- set rest = messages[1:] if messages[0].role == 'system' else messages %}"
    "{{- '⟦sys⟧' + system }}{%- if tools %}{{- '\\n⟦tools⟧ ' + LIST + ' ⟦/tools⟧' }}{%- endif %}{{- '⟦end⟧\\n' }}"
)
ARRAY = (
    "{{- '[' if loop.first else ', ' }}{{- '{\"name\": \"' + f.name + '\", \"description\": \"' + f.description }}"
    "{{- '\", \"parameters\": ' + f.parameters | tojson + '}' + (']' if loop.last else '') }}"
)
BY_HAND = (
    "{%- macro by_hand() %}{%- for tool in tools %}{%- set f = tool.function %}"
    + ARRAY
    + "{%- endfor %}{%- endmacro %}"
)
DECLARED_BEFORE_LAST = (
    "{%- set rest = messages %}{%- set last = (messages | selectattr('role', 'equalto', 'user') | list)[-1] %}"
)
TURNS = (
    "{%- for m in rest %}"
    "{%- if m.role == 'user' %}{{- USER }}"
    "{%- elif m.role == 'system' %}{{- '⟦sys⟧' + m.content + '⟦end⟧\\n' }}"
    "{%- elif m.role == 'assistant' and m.tool_calls %}{{- '⟦bot⟧' + (m.content if SPOKEN else '') }}"
    "{%- for call in m.tool_calls %}{{- CALL + ('' if loop.last else SEPARATOR) }}{%- endfor %}{{- CLOSING }}"
    "{%- elif m.role == 'assistant' %}{{- '⟦bot⟧' + m.content + '⟦end⟧\\n' }}"
    "{%- else %}{{- RESULT }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '⟦bot⟧' }}{%- endif %}"
)
USUAL = {
    "LIST": "(tools | tojson)",
    "USER": "'⟦ask⟧' + m.content + '⟦end⟧\\n'",
    "SPOKEN": "true",
    "CALL": "'⟦call⟧{\"tool\": \"' + call.function.name + '\", \"args\": ' + (call.function.arguments | tojson) + '}'",
    "SEPARATOR": "'; '",
    "CLOSING": "'⟦end⟧\\n'",
    "RESULT": "'⟦got⟧' + m.content + '⟦end⟧\\n'",
}
LAST_USER = {
    "USER": "('⟦tools⟧' + (tools | tojson) + '⟦/tools⟧' if tools and m == last else '') + '⟦ask⟧' + m.content + '\\n'"
}
MADE_UP = {
    "array in the system text": (DECLARED_IN_SYSTEM, {}),
    "indented array": (DECLARED_IN_SYSTEM, {"LIST": "(tools | tojson(indent=4))"}),
    "one a line, functions alone": (
        DECLARED_IN_SYSTEM,
        {"LIST": "(tools | map(attribute='function') | map('tojson') | join('\\n'))"},
    ),
    "array of functions": (DECLARED_IN_SYSTEM, {"LIST": "(tools | map(attribute='function') | list | tojson)"}),
    "an array by hand that escapes nothing": (BY_HAND + DECLARED_IN_SYSTEM, {"LIST": "by_hand()"}),
    "lines of text with parameters as JSON": (
        BY_HAND + DECLARED_IN_SYSTEM,
        {"LIST": "by_hand()", ARRAY: "{{- '* ' + f.description + '\\n' + f.name + (f.parameters | tojson) + '\\n' }}"},
    ),
    "before the last question": (DECLARED_BEFORE_LAST, LAST_USER),
    "the text beside a call is dropped": (DECLARED_IN_SYSTEM, {"SPOKEN": "false"}),
    "calls in an array": (
        DECLARED_IN_SYSTEM,
        {
            "CALL": "('⟦calls⟧[' if loop.first else '') + '{\"name\": \"' + call.function.name + '\", \"arguments\": ' "
            "+ (call.function.arguments | tojson) + '}'",
            "SEPARATOR": "', '",
            "CLOSING": "']⟦end⟧\\n'",
        },
    ),
    "results as JSON strings": (DECLARED_IN_SYSTEM, {"RESULT": "'⟦got⟧' + (m.content | tojson) + '⟦end⟧\\n'"}),
    "results trimmed": (DECLARED_IN_SYSTEM, {"RESULT": "'⟦got⟧' + (m.content | trim) + '⟦end⟧\\n'"}),
    "results in one turn": (
        DECLARED_IN_SYSTEM,
        {
            "RESULT": "('⟦ask⟧' if loop.previtem.role != 'tool' else '') + '<r>' + m.content + '</r>' "
            "+ ('⟦end⟧\\n' if loop.last or loop.nextitem.role != 'tool' else '')"
        },
    ),
}


@cache
def made_up(name: str) -> JinjaTemplate:
    head, changes = MADE_UP[name]
    source = head + TURNS
    for key, text in {**USUAL, **changes}.items():
        source = source.replace(key, text)
    return JinjaTemplate(source)


@cache
def compiled(jinja: JinjaTemplate, *, add_bos: bool = False, bos: str = "") -> Compiled:
    found = compile_template(jinja, add_bos=add_bos, bos_token=bos)
    assert isinstance(found, Compiled)
    return found


CHATS = [one for one in CONVERSATIONS if one.kind in (*PLAIN, *TOOL_KINDS) and one.kind != ODD_KIND]


def verdicts(jinja: JinjaTemplate, template: str, server: Server, version: Version = V0_9_3) -> dict[str, ClassVerdict]:
    """By class, of all but the odd conversations: those are the business of the tests without tools."""
    parsed = OllamaTemplate(template, version)
    found: dict[str, ClassVerdict] = {}
    for one in compare(parsed, [refer(jinja, chat) for chat in CHATS], server):
        verdict = ClassVerdict(one.verdict, diff=f"{one.wanted}\n---\n{one.rendered}")
        kind = one.reference.conversation.kind
        found[kind] = found[kind].and_then(verdict) if kind in found else verdict
    assert all(found[kind].holds for kind in PLAIN if kind != ODD_KIND)
    return found


@cache
def of_model(name: str) -> tuple[Compiled, dict[str, ClassVerdict]]:
    of = index()[name]
    jinja = of.template()
    made = compiled(jinja, add_bos=of.add_bos, bos=of.bos_token)
    return made, verdicts(jinja, made.template, server_for(jinja, of.add_bos, of.bos_token))


@pytest.mark.parametrize("name", shortened(MARKS, ("qwen2.5",)))
def test_models_own_tools_are_compiled(name: str) -> None:
    made, found = of_model(name)
    assert made.features["tools"] == "declared, called and answered"
    for kind in (DECLARED, CALLED, WITH_THOUGHTS):
        assert found[kind].verdict == EQUAL_JSON, found[kind].diff
    template = OllamaTemplate(made.template)
    assert "tools" in go_capabilities(template)
    assert not is_bypassed(template, index()[name].template().source)
    assert tool_call_tag(template.template.root) == MARKS[name]


def test_results_side_by_side_where_ollama_leaves_them_so() -> None:
    """It does from 0.9.6."""
    jinja = index()["qwen2.5"].template()
    found = verdicts(jinja, of_model("qwen2.5")[0].template, Server(add_bos=False, bos=""), LATEST)
    assert found[SIDE_BY_SIDE].verdict == EQUAL_JSON


def test_ids_of_calls_are_left_out_and_that_is_said() -> None:
    made, found = of_model("mistral-7b-v0.3")
    assert found[DECLARED].verdict == EQUAL_JSON
    assert found[CALLED].verdict == REFUSED
    assert found[BY_ID].verdict == DIFFERS
    assert ID not in made.template
    assert ID in found[BY_ID].diff.partition("---")[0]
    assert ID not in found[BY_ID].diff.partition("---")[2]
    assert tool_call_tag(OllamaTemplate(made.template).template.root) == "[TOOL_CALLS] ["


@pytest.mark.parametrize("name", BEYOND)
def test_what_is_beyond_it_is_said_and_leaves_no_capability(name: str) -> None:
    made, found = of_model(name)
    assert made.features["tools"].startswith(f"not compiled: {BEYOND[name]}")
    assert found[DECLARED].verdict == DIFFERS
    assert "tools" not in go_capabilities(OllamaTemplate(made.template))


@pytest.mark.parametrize(
    ("name", "version"), [*((name, LATEST) for name in MADE_UP), ("array in the system text", V0_9_3)]
)
def test_made_up_tools_are_compiled(name: str, version: Version) -> None:
    jinja = made_up(name)
    found = verdicts(jinja, compiled(jinja).template, Server(add_bos=False, bos=""), version)
    kinds = [DECLARED, CALLED, BY_ID, WITH_THOUGHTS, *([SIDE_BY_SIDE] if version == LATEST else [])]
    for kind in kinds:
        assert found[kind].verdict == EQUAL_JSON, found[kind].diff


def test_calls_of_a_template_that_takes_one_at_a_time_are_whole() -> None:
    template = of_model("llama3.1")[0].template
    assert '"parameters": {{ json .Function.Arguments }}}' in template


@pytest.mark.parametrize(
    ("turn", "shown"),
    [
        ("{{- '<' + m.role + '>' + m.content }}", True),
        ("{{- '<' + m.role + '>' + m.content | trim }}", True),
        ("{%- if m.role != 'tool' %}{{- '<' + m.role + '>' + m.content }}{%- endif %}", False),
    ],
    ids=["any role", "any role, trimmed", "dropped"],
)
def test_results_where_no_tools_are_shown(turn: str, shown: bool) -> None:
    loop = "{%- for m in messages %}" + turn + "{%- endfor %}"
    for prompt in (
        "{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}",
        "{%- if add_generation_prompt and messages[-1].role == 'user' %}{{- '<assistant>' }}{%- endif %}",
    ):
        jinja = JinjaTemplate(loop + prompt)
        made = compiled(jinja)
        assert ('eq .Role "tool"' in made.template) == shown
        found = verdicts(jinja, made.template, Server(add_bos=False, bos=""), LATEST)
        assert {found[kind].verdict for kind in TOOL_KINDS} == {EQUAL}, found
        assert go_capabilities(OllamaTemplate(made.template)) == frozenset()


def test_without_tools_if_that_is_asked_for() -> None:
    found = compile_template(made_up("array in the system text"), add_bos=False, bos_token="", tools=False)
    assert isinstance(found, Compiled)
    assert "Tools" not in found.template
    assert "tools" not in found.features

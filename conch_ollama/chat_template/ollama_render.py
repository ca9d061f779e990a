"""Renders a chat as Ollama does: its preparation of the messages, then the Go template.

No server and no tokens: the dropping of old messages past num_ctx is not done here, but `check_truncations` renders
what the server renders on the way, since an error there fails the request. Source: server/prompt.go,
server/routes.go and template/template.go of Ollama, at 0.9.3 and later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from conch_ollama.chat_template import ollama_tree
from conch_ollama.chat_template.go import nodes
from conch_ollama.chat_template.go.builtins import BUILTINS, Function, Parameter
from conch_ollama.chat_template.go.evaluator import Limits
from conch_ollama.chat_template.go.json_encoding import marshal
from conch_ollama.chat_template.go.template import GoTemplate, execute
from conch_ollama.chat_template.go.values import Map, Slice, Struct, Value
from conch_ollama.chat_template.ollama_values import V0_9_3, Version, message, tools
from conch_ollama.chat_template.thoughts import without_thought

Message = Mapping[str, Any]

_TYPESCRIPT = {
    **{"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "array": "any[]"},
    **{"object": "Record<string, any>", "null": "null"},
}


def _date(days: int) -> Function:
    def call(*_: Value) -> bytes:
        return (datetime.now().astimezone() + timedelta(days=days)).strftime("%Y-%m-%d").encode()

    return Function(call, (), Parameter.STRING)


def _typescript(value: Value) -> bytes:
    if not isinstance(value, Struct) or value.type.name != "api.ToolProperty":
        return b"any"
    choices, kinds = value.values.get("AnyOf"), value.values["Type"]
    if isinstance(choices, Slice) and choices.items:
        return b" | ".join(_typescript(choice) for choice in choices.items)
    names = [kind.decode() for kind in kinds.items if isinstance(kind, bytes)] if isinstance(kinds, Slice) else []
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in names).encode() or b"any"


def functions(version: Version) -> dict[str, Function]:
    """What Ollama adds to Go's builtins."""
    added = {"json": Function(marshal, (Parameter.ANY,))}
    if version >= (0, 11, 1):
        added["currentDate"] = _date(0)
    if version >= (0, 11, 3):
        added["toTypeScriptType"] = Function(_typescript, (Parameter.ANY,))
    if version >= (0, 13, 3):
        added["yesterdayDate"] = _date(-1)
    return added


class OllamaTemplate:
    """A TEMPLATE, parsed as Ollama parses it. Raises BadTemplateError where `create` would refuse it."""

    def __init__(self, source: str, version: Version = V0_9_3) -> None:
        self.version = version
        self.template = GoTemplate(source, functions(version))
        self.variables = ollama_tree.variables(list(self.template.trees.values()))
        if not self.variables & {"messages", "response"}:
            field = nodes.Field(self.template.root.line, ["Response"])
            pipe = nodes.Pipe(field.line, [nodes.Command(field.line, [field])])
            self.template.root.nodes.append(nodes.Action(field.line, pipe))

    @property
    def uses_messages(self) -> bool:
        """Whether it sees the whole conversation; else it is run once for each turn (the legacy path)."""
        return "messages" in self.variables

    def execute(self, messages: Sequence[Message], offered: Sequence[Message] | None, think: bool | None) -> str:
        """Renders messages that are ready: collates them and runs the template on one path or the other."""
        system, collated = collate(messages, self.version)
        if not self.uses_messages:
            return self._legacy(collated, think)
        data: dict[str, Value] = {
            "System": system.encode("utf-8", "surrogatepass"),
            "Messages": Slice([message(one, self.version) for one in collated], "*api.Message"),
            "Tools": tools(offered, self.version),
            "Response": b"",
        }
        return _decode(self.template.execute(self._with_thinking(data, think), _limits(messages)))

    def _with_thinking(self, data: dict[str, Value], think: bool | None) -> Map:
        data |= {"Think": bool(think), "IsThinkSet": think is not None}
        if self.version >= (0, 11, 1):
            data["ThinkLevel"] = b""
        return Map({key.encode(): value for key, value in data.items()})

    def _legacy(self, collated: Sequence[Message], think: bool | None) -> str:
        """Once for each turn; the last without what follows the answer, and without Ollama's own functions."""
        turn = dict.fromkeys(("system", "user", "assistant"), "")
        out = b""
        for one in collated:
            role = one["role"].lower()
            if (role == "system" and (turn["user"] or turn["assistant"])) or (role == "user" and turn["assistant"]):
                out += self.template.execute(self._turn(turn, think), _limits(collated))
                turn = dict.fromkeys(turn, "")
            if role in turn:
                turn[role] = one.get("content") or ""
        last = {b"": ollama_tree.cut_after_response(self.template.root)}
        out += execute(last, self._turn(turn, think), BUILTINS, _limits(collated), missing_is_zero=False)
        return _decode(out)

    def _turn(self, turn: Mapping[str, str], think: bool | None) -> Map:
        names = {"System": turn["system"], "Prompt": turn["user"], "Response": turn["assistant"]}
        return self._with_thinking({key: text.encode("utf-8", "surrogatepass") for key, text in names.items()}, think)


def _limits(messages: Sequence[Message]) -> Limits:
    return Limits().allowing_for(sum(len(one.get("content") or "") for one in messages))


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def collate(messages: Sequence[Message], version: Version) -> tuple[str, list[Message]]:
    """(all system texts, messages with neighbours of one role joined). Tool messages stay apart since 0.9.6."""
    joined: list[Message] = []
    for one in messages:
        role = one["role"].lower()
        apart = role == "tool" and version >= (0, 9, 6)
        if joined and joined[-1]["role"].lower() == role and not apart:
            content = (joined[-1].get("content") or "") + "\n\n" + (one.get("content") or "")
            joined[-1] = {**joined[-1], "content": content}
        else:
            joined.append(one)
    systems = [one.get("content") or "" for one in messages if one["role"].lower() == "system"]
    return "\n\n".join(systems), joined


def prepare(messages: Sequence[Message], *, system: str | None, family: str, name: str) -> list[Message]:
    """The model's SYSTEM in front where the request has none; old thoughts out of the history of thinking models."""
    ready = list(messages)
    if system and ready and ready[0]["role"] != "system":
        ready.insert(0, {"role": "system", "content": system})
    if family == "qwen3" or name.rsplit("/", maxsplit=1)[-1].split(":", maxsplit=1)[0] == "deepseek-r1":
        last_user = max((at for at, one in enumerate(ready) if one["role"] == "user"), default=-1)
        for at, one in enumerate(ready[:last_user] if last_user >= 0 else ()):
            if one["role"] == "assistant":
                ready[at] = {**one, "content": without_thought(one.get("content") or "")}
    return ready


def render_chat(
    template: str | OllamaTemplate,
    messages: Sequence[Message],
    *,
    system: str | None = None,
    tools: Sequence[Message] | None = None,
    think: bool | None = None,
    family: str = "",
    name: str = "",
    version: Version = V0_9_3,
) -> str:
    """The prompt Ollama makes of a chat request.

    `system` is the model's SYSTEM, `family` its architecture in the GGUF, `name` the name it is registered under; the
    last two decide whether old thoughts are stripped. Raises BadTemplateError where the server would answer an error.
    """
    parsed = OllamaTemplate(template, version) if isinstance(template, str) else template
    return parsed.execute(prepare(messages, system=system, family=family, name=name), tools, think)


def check_truncations(template: OllamaTemplate, messages: Sequence[Message], *, start: int = 0) -> None:
    """Renders every conversation that the server tries on the way to fitting this one into num_ctx.

    Each is the end of the conversation, from its message number `start` on or a later one, with the earlier system
    messages in front. Raises BadTemplateError.
    """
    for at in range(start, len(messages)):
        systems = [one for one in messages[:at] if one["role"] == "system"]
        template.execute([*systems, *messages[at:]], None, None)

"""A runtime's chunks as Ollama's lines of JSON: pieces as they come, figures in the last one. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from conch_ollama.runtimes.protocol import Chunk, compact
from conch_ollama.server.dialects.logprobs import ollama_logprobs
from conch_ollama.server.dialects.openai import Choice

_NS = 1_000_000_000


def instant(seconds: float) -> str:
    """RFC 3339 in UTC, as Go reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def line(data: Mapping[str, Any]) -> bytes:
    """One line of NDJSON."""
    return compact(data) + b"\n"


class OllamaAnswer:
    """Puts one answer into lines. `chat`: with `message`, else with `response`; `think`: with the thought.

    `top_logprobs`: how many tokens are told at each place besides the one said; None: no logarithms at all.

    Tool calls are whole in Ollama's dialect, so they are kept back until their last piece has come.
    """

    def __init__(self, model: str, begun: float, *, chat: bool, think: bool, top_logprobs: int | None = None) -> None:
        self._model = model
        self._begun = begun
        self._chat = chat
        self._think = think
        self._calls = Choice()
        self._finish = "stop"
        self.finished = False
        self._timings: Mapping[str, Any] = {}
        self._top = top_logprobs
        self._logprobs: list[dict[str, Any]] = []
        self._said: list[str] = []
        self._thought: list[str] = []

    @property
    def said(self) -> str:
        """The answer so far."""
        return "".join(self._said)

    @property
    def thought(self) -> str:
        """The thought so far, whether the client sees it or not."""
        return "".join(self._thought)

    def lines(self, chunk: Chunk, now: float) -> Iterator[dict[str, Any]]:
        """The lines for one chunk: none for those that only hold a role, figures or pieces of calls."""
        for choice in self._choices(chunk):
            text, thought = self._add(choice)
            if text or thought:
                yield self._line(now, text, thought) | self.logprobs()

    def note(self, chunk: Chunk) -> None:
        """Take in one chunk of an answer that is told whole."""
        for choice in self._choices(chunk):
            self._add(choice)

    def _choices(self, chunk: Chunk) -> Sequence[Mapping[str, Any]]:
        data = chunk.data
        self._timings = data.get("timings") or self._timings
        return data.get("choices") or ()

    def _add(self, choice: Mapping[str, Any]) -> tuple[str, str]:
        """Its text, and of its thought what the client sees."""
        delta = choice.get("delta") or {}
        text = delta.get("content") or choice.get("text") or ""
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        self._said.append(text)
        self._thought.append(thought)
        if self._top is not None:
            self._logprobs += ollama_logprobs(choice, self._top)
        if delta.get("tool_calls"):
            self._calls.add({"delta": {"tool_calls": delta["tool_calls"]}})
        self._finish = choice.get("finish_reason") or self._finish
        self.finished = self.finished or bool(choice.get("finish_reason"))
        return text, thought if self._think else ""

    def last(self, now: float, tally: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        """The tool calls, if there are any, and the last line.

        `tally`: `prompt_tokens`, `completion_tokens`, `first_s`, `total_s`; llama.cpp's own timings are preferred.
        """
        calls = self.calls()
        if calls:
            yield self._line(now, "", "", calls)
        yield self.final(now, tally)

    def logprobs(self) -> dict[str, Any]:
        """Those that no line has told yet."""
        told, self._logprobs = self._logprobs, []
        return {"logprobs": told} if told else {}

    def calls(self) -> list[dict[str, Any]]:
        """Whole calls, their arguments as objects."""
        return [
            {"function": {"name": call["function"]["name"], "arguments": _arguments(call["function"]["arguments"])}}
            for call in self._calls.calls.values()
        ]

    def _line(
        self, now: float, text: str, thought: str, calls: list[dict[str, Any]] | None = None, *, done: bool = False
    ) -> dict[str, Any]:
        made: dict[str, Any] = {"model": self._model, "created_at": instant(now)}
        if self._chat:
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if thought:
                message["thinking"] = thought
            if calls:
                message["tool_calls"] = calls
            made["message"] = message
        else:
            made["response"] = text
            if thought:
                made["thinking"] = thought
        return made | {"done": done}

    def whole(self, now: float, tally: Mapping[str, float]) -> dict[str, Any]:
        """All of it in one line, the logarithms left out that lines have told."""
        return self.final(now, tally, self.said, self.thought if self._think else "", self.calls())

    def final(
        self,
        now: float,
        tally: Mapping[str, float],
        text: str = "",
        thought: str = "",
        calls: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The line with `done` and the figures, in nanoseconds."""
        reason = "length" if self._finish == "length" else "stop"
        prompt_s = self._timings.get("prompt_ms", tally["first_s"] * 1000) / 1000
        answer_s = self._timings.get("predicted_ms", (tally["total_s"] - tally["first_s"]) * 1000) / 1000
        return (
            self._line(now, text, thought, calls, done=True)
            | self.logprobs()
            | {
                "done_reason": reason,
                "total_duration": int(tally["total_s"] * _NS),
                "load_duration": max(0, int((tally["first_s"] - prompt_s) * _NS)),
                "prompt_eval_count": int(tally["prompt_tokens"]),
                "prompt_eval_duration": int(prompt_s * _NS),
                "eval_count": int(tally["completion_tokens"]),
                "eval_duration": int(answer_s * _NS),
            }
        )

    def empty(self, now: float, reason: str) -> dict[str, Any]:
        """The only line where nothing was asked: "load" or "unload"."""
        return self._line(now, "", "", done=True) | {"done_reason": reason}


def _arguments(text: str) -> dict[str, Any]:
    """What a model wrote need not be JSON; a client wants an object."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {"arguments": text}
    return found if isinstance(found, dict) else {"arguments": found}

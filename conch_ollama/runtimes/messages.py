"""The shape that every runtime wants of a conversation: a list of messages, each with a role. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conch_ollama.errors import RuntimeRefusedError


def checked_messages(messages: Any) -> list[Mapping[str, Any]]:
    """The messages of a request. Raises RuntimeRefusedError: servers call some of this a fault of their own."""
    if not isinstance(messages, list) or not messages:
        raise RuntimeRefusedError("messages must be a list that is not empty")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RuntimeRefusedError("each message must be an object with a role")
        if not isinstance(message.get("content"), str | list | None):
            raise RuntimeRefusedError("a message's content must be text or a list of parts")
    return messages

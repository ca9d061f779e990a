"""Turns what the `ollama` package, httpx and a server's HTTP answers say of a failure into our errors."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from conch_ollama.addresses import is_loopback
from conch_ollama.errors import OllamaRefusedError, OllamaUnreachableError

if TYPE_CHECKING:
    import httpx


@contextlib.contextmanager
def translated(host: str, doing: str) -> Iterator[None]:
    """Turns what the `ollama` package and httpx raise into errors that name the server and what it was asked."""
    import httpx
    import ollama

    try:
        yield
    except ollama.ResponseError as err:
        raise refused(host, doing, err.error, err.status_code) from err
    except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as err:
        raise _unreachable(host) from err
    except httpx.TransportError as err:
        raise OllamaUnreachableError(
            f"Ollama at {host} stopped answering in the middle of {doing}: {err or type(err).__name__}",
            hint="its log tells why; `ollama serve` in a terminal shows it",
        ) from err
    except ValueError as err:  # JSON that is none, or of another shape than Ollama's
        raise not_ollama(host) from err


def refused_by(host: str, doing: str, response: httpx.Response) -> OllamaRefusedError:
    """The error for an HTTP answer that has been read and is no success."""
    if response.is_redirect:
        return OllamaRefusedError(
            f"what answers at {host} sends elsewhere (HTTP {response.status_code})",
            hint=f"give the address it names: {response.headers.get('location', 'none')}",
        )
    text = response.text.strip()
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    message = body.get("error") if isinstance(body, dict) else re.sub(r"\s+", " ", text)[:200]
    return refused(host, doing, str(message or response.reason_phrase), response.status_code)


def refused(host: str, doing: str, text: str, status: int) -> OllamaRefusedError:
    """The error for an answer with the server's own words; `status` is HTTP's."""
    shown = f" (HTTP {status})" if status > 0 else ""
    hint = None
    if status in {502, 503, 504}:
        hint = "a proxy or gateway on the way may have answered (HTTP_PROXY, NO_PROXY), or Ollama is overloaded"
    elif status >= 500 or status < 0:
        hint = "the server's log says more; a full disk where it keeps its models (OLLAMA_MODELS) is a common cause"
    elif status in {401, 403, 407}:
        hint = "something in front of Ollama wants credentials"
    return OllamaRefusedError(f"Ollama at {host} refused {doing}: {text}{shown}", hint=hint)


def _unreachable(host: str) -> OllamaUnreachableError:
    if is_loopback(host):
        hint = "start it with `ollama serve` (or the Ollama app); it is installed from https://ollama.com/download"
    else:
        hint = "is it running there, listening for others (OLLAMA_HOST=0.0.0.0), and does a firewall let it through?"
    return OllamaUnreachableError(f"no Ollama answers at {host}", hint=hint)


def not_ollama(host: str) -> OllamaRefusedError:
    """The error for an answer that no Ollama gives."""
    return OllamaRefusedError(f"what answers at {host} is not Ollama", hint="OLLAMA_HOST or --host names the server")

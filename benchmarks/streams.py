"""A client that costs little: many streamed answers at once over plain sockets, timed.

Speaks just enough HTTP/1.1 and server-sent events for OpenAI's chat endpoint. Tokens are what the server's usage says,
else the chunks that carry text.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import statistics
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_USAGE = re.compile(rb'"completion_tokens": ?(\d+)')
_PROMPT_MS = re.compile(rb'"prompt_ms": ?([\d.]+)')
_TEXT = re.compile(rb'"(?:content|reasoning_content)": ?"[^"]')
PROMPT = "Write a long story about a magic conch that lives on the counter of a burger shop."


@dataclass(frozen=True)
class Answer:
    """Seconds to the first token and in all; tokens; `fault` where the answer was lost or cut.

    `prompt` is for how many seconds llama.cpp's server says it read the prompt, the first token's choice included (NaN
    of one that does not say).
    """

    first: float
    total: float
    tokens: int
    fault: str = ""
    prompt: float = math.nan


@dataclass(frozen=True)
class Load:
    """What one run of `streams` answers at once came to.

    Medians, in seconds: `first` of the time to the first token, `way` of what is left of it without the reading of the
    prompt: there, waiting, and back.
    """

    streams: int
    first: float
    way: float
    rate: float
    lost: int


async def answer(url: str, body: dict[str, object], key: str = "none") -> Answer:
    """One streamed answer of `POST url`."""
    place = urlsplit(url)
    data = json.dumps(body).encode()
    head = f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    start = time.perf_counter()
    first, tokens, tail, ended = 0.0, 0, b"", False
    try:
        writer.write(head.encode() + data)
        await writer.drain()
        while block := await reader.read(65536):
            found = len(_TEXT.findall(block))
            if found and not tokens:
                first = time.perf_counter() - start
            tokens += found
            tail = (tail + block)[-4000:]
            ended = ended or b"[DONE]" in tail
    except OSError as err:
        return Answer(first, time.perf_counter() - start, tokens, type(err).__name__)
    finally:
        writer.close()
    usage = _USAGE.findall(tail)
    tokens = int(usage[-1]) if usage else tokens
    fault = "" if ended and tokens else tail[-200:].decode("utf-8", "replace")
    told = _PROMPT_MS.findall(tail)
    prompt = float(told[-1]) / 1000 if told else math.nan
    return Answer(first, time.perf_counter() - start, tokens, fault, prompt)


def question(model: str, number: int, tokens: int) -> dict[str, object]:
    """A request for a streamed answer; every number has another prompt."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": f"{PROMPT} Its number is {number}."}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def load(url: str, model: str, streams: int, *, tokens: int = 64, key: str = "none") -> Load:
    """`streams` answers at once, each of at most `tokens` tokens, every prompt another."""
    bodies = [question(model, number, tokens) for number in range(streams)]
    start = time.perf_counter()
    answers = await asyncio.gather(*(answer(url, body, key) for body in bodies))
    wall = time.perf_counter() - start
    good = [one for one in answers if not one.fault and one.tokens >= 0.8 * tokens]
    first = statistics.median(one.first for one in good) if good else math.nan
    way = statistics.median(one.first - one.prompt for one in good) if good else math.nan
    return Load(streams, first, way, sum(one.tokens for one in good) / wall, streams - len(good))


def interval(before: list[float], after: list[float], *, draws: int = 4000) -> tuple[float, float, float]:
    """The difference of two medians, between the ends of its 95% interval. Source: Efron's percentile bootstrap."""
    rng = random.Random(0)
    found = sorted(
        statistics.median(rng.choices(after, k=len(after))) - statistics.median(rng.choices(before, k=len(before)))
        for _ in range(draws)
    )
    return _around(statistics.median(after) - statistics.median(before), found)


def paired(before: list[float], after: list[float], *, draws: int = 4000) -> tuple[float, float, float]:
    """The median of the differences within pairs, between the ends of its 95% interval, as `interval` has it.

    Of runs that are now quick and now slow, whatever is asked, it tells more than a difference of medians, which jumps
    from the one kind to the other.
    """
    rng = random.Random(0)
    differences = [second - first for first, second in zip(before, after, strict=True)]
    found = sorted(statistics.median(rng.choices(differences, k=len(differences))) for _ in range(draws))
    return _around(statistics.median(differences), found)


def _around(middle: float, drawn: list[float]) -> tuple[float, float, float]:
    return drawn[int(0.025 * len(drawn))], middle, drawn[int(0.975 * len(drawn)) - 1]


def spread(values: list[float]) -> tuple[float, float, float]:
    """Least, median, most."""
    return min(values), statistics.median(values), max(values)

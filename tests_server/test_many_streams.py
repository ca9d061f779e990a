"""Hundreds of streams that wait."""

from __future__ import annotations

import asyncio

import httpx

from tests.server.made_runtime import MadeRuntime
from tests.server.running import RunningShim, with_limits

CHAT = {"model": "made", "messages": [{"role": "user", "content": "hi"}]}


def test_200_idle_streams_cost_little() -> None:
    """All wait on one slow model, and others are still answered."""
    runtime = MadeRuntime(pause_s=1.5)
    with RunningShim({"made": runtime}, with_limits(parallel=200)) as running:

        async def ask() -> list[int]:
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(verify=False, trust_env=False, timeout=60, limits=limits) as client:
                url = f"{running.url}/v1/chat/completions"
                tasks = [asyncio.create_task(client.post(url, json={**CHAT, "stream": True})) for _ in range(200)]
                await asyncio.sleep(0.5)
                health = await client.get(f"{running.url}/health")
                return [health.status_code, *(answer.status_code for answer in await asyncio.gather(*tasks))]

        assert asyncio.run(ask()) == [200] * 201
    assert runtime.most == 200

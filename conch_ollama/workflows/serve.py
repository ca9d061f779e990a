"""Serving: what the user names (a folder, a GGUF, a model in Ollama, a URL, conch.toml) becomes runtimes and a shim."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from conch_ollama.server.listen import check_exposure, listen, open_socket, url_of
from conch_ollama.server.loop import run
from conch_ollama.workflows.events import Events, Silent
from conch_ollama.workflows.serve_models import ServePlan

if TYPE_CHECKING:
    from conch_ollama.runtimes.protocol import Runtime
    from conch_ollama.server.shim import Shim

#: Objects between two searches for garbage that holds itself. Python's own 700 are made by one answer: in each there
#: would be a search, a tenth of a millisecond.
_GARBAGE = 20_000


def serve(
    plan: ServePlan, *, reread: Callable[[], ServePlan | None] | None = None, events: Events | None = None
) -> None:
    """Serve until a signal ends it.

    `reread` is asked every second for a plan that has changed. Raises UsageError for an address that is taken, or open
    to strangers, NotFoundError and BadFileError for models that are not there.
    """
    check_exposure(plan.settings)
    usual = gc.get_threshold()
    # Nothing of what is imported and made until it is ready is garbage: looking for some is a tenth of the start.
    gc.disable()
    try:
        run(_serve(plan, reread, events or Silent()))
    finally:
        gc.set_threshold(*usual)
        gc.enable()


async def _serve(plan: ServePlan, reread: Callable[[], ServePlan | None] | None, events: Events) -> None:
    settings = plan.settings
    with contextlib.closing(open_socket(settings.host, settings.port)) as bound:
        runtimes = plan.start()
        from conch_ollama.server.app import make_app

        app = make_app(settings, runtimes, render=render_template)
        shim: Shim = app.state.shim
        tasks = [asyncio.create_task(_load(runtimes, plan, events))]
        if reread is not None:
            tasks.append(asyncio.create_task(_follow(shim, plan, reread, events)))

        def ready(end: Callable[[], None]) -> None:
            gc.freeze()
            gc.set_threshold(_GARBAGE)
            gc.enable()
            names = ", ".join(served.name for served in shim.registry.served()) or "no model yet"
            events.step(f"serving {names} at {url_of(settings, bound)}")
            for line in plan.describe(runtimes):
                events.note(line)

        try:
            await listen(app, settings, bound, ready)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await shim.close()


def render_template(template: str, messages: Sequence[Mapping[str, Any]], system: str, think: bool | None) -> str:
    """A TEMPLATE that a request brings, as Ollama renders it."""
    from conch_ollama.chat_template.ollama_render import render_chat

    return render_chat(template, messages, system=system, think=think)


async def _load(runtimes: Mapping[str, Runtime], plan: ServePlan, events: Events) -> None:
    """Load what the user named alone, so that the first answer does not wait for it."""
    from conch_ollama.errors import ConchError

    if plan.load_first is None:
        return
    runtime, model = plan.load_first
    try:
        await runtimes[runtime].load(model)
    except ConchError as err:
        events.warning(f"{model} does not load: {err.message}")
    else:
        events.note(f"{model} is loaded")


async def _follow(
    shim: Shim, plan: ServePlan, reread: Callable[[], ServePlan | None], events: Events, step_s: float = 1.0
) -> None:
    """Take over a changed configuration; one that is wrong is told and left alone."""
    from conch_ollama.errors import ConchError

    while True:
        await asyncio.sleep(step_s)
        try:
            changed = await asyncio.to_thread(reread)
            if changed is None:
                continue
            # The socket is bound: address and TLS stay what they were.
            kept = dataclasses.replace(
                changed.settings,
                host=plan.settings.host,
                port=plan.settings.port,
                security=dataclasses.replace(
                    changed.settings.security,
                    tls_cert=plan.settings.security.tls_cert,
                    tls_key=plan.settings.security.tls_key,
                ),
            )
            check_exposure(kept)
            shim.check(kept)  # before llama.cpp's runtime, which is the same one, takes over its new models
            runtimes = changed.start(shim.registry.runtimes, plan)
            await shim.replace(kept, runtimes)
            plan = dataclasses.replace(changed, settings=kept)
        except ConchError as err:
            events.warning(f"the changed configuration is not taken over: {err.message}")
        else:
            events.note("the changed configuration is in force")

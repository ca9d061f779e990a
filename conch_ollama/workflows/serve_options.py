"""The options of `conch serve` as a plan: those of the command line over those of conch.toml."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conch_ollama.errors import UsageError
from conch_ollama.server.keys import parse_network
from conch_ollama.server.settings import Audit, Security, Settings
from conch_ollama.workflows.serve_models import ServePlan, plan_target
from conch_ollama.workflows.sizes import byte_count

Reread = Callable[[], ServePlan | None]


def plan_command(
    model: str | None,
    config: Path | None,
    *,
    runtime: str | None,
    host: str | None,
    upstream: Sequence[str],
    upstream_key_env: str | None,
    name: str | None,
    num_ctx: int | None,
    slots: int | None,
    threads: int | None,
    gpu_layers: int | None,
    keep_alive: str | None,
    memory: str | None = None,
    **given: Any,
) -> tuple[ServePlan, Reread | None]:
    """The plan, and how to read a changed one where there is a configuration. Raises UsageError, BadConfigError."""
    limit = byte_count(memory)
    if config is not None:
        from conch_ollama.workflows.serve_config import ConfigFile

        if model is not None or upstream:
            raise UsageError("models are named in the configuration or on the command line, not in both")
        of_models = {
            "--runtime": runtime,
            "--host": host,
            "--upstream-key-env": upstream_key_env,
            "--name": name,
            "--num-ctx": num_ctx,
            "--slots": slots,
            "--threads": threads,
            "--gpu-layers": gpu_layers,
            "--keep-alive": keep_alive,
        }
        if unheard := [option for option, value in of_models.items() if value is not None]:
            raise UsageError(f"{', '.join(unheard)}: with --config it stands at each model, in the configuration")

        def overlay(plan: ServePlan) -> ServePlan:
            return dataclasses.replace(
                plan,
                settings=with_options(plan.settings, **given),
                bounds=plan.bounds if limit is None else dataclasses.replace(plan.bounds, memory=limit),
            )

        file = ConfigFile(config, overlay)
        return file.read(), file.reread
    settings = with_options(Settings(), **given)
    key = os.environ.get(upstream_key_env) if upstream_key_env else None
    if upstream_key_env and not key:
        raise UsageError(f"the environment variable {upstream_key_env} is not set")
    planned = plan_target(
        model,
        settings,
        runtime=runtime,
        host=host,
        upstream=upstream,
        key=key,
        name=name,
        num_ctx=num_ctx,
        slots=slots,
        threads=threads,
        gpu_layers=gpu_layers,
        keep_alive=seconds(keep_alive),
        memory=limit,
    )
    return planned, None


def seconds(text: str | int | float | None) -> float | None:
    """Of a duration as Ollama writes it. Raises UsageError."""
    from conch_ollama.errors import RuntimeRefusedError
    from conch_ollama.runtimes.durations import keep_alive_seconds

    try:
        return keep_alive_seconds(text)
    except RuntimeRefusedError as err:
        raise UsageError(err.message, hint=err.hint) from err


def with_options(
    settings: Settings,
    *,
    address: str | None = None,
    port: int | None = None,
    keys: Path | None = None,
    networks: Sequence[str] = (),
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
    proxies: Sequence[str] = (),
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure: bool = False,
    audit: Path | None = None,
    audit_texts: bool = False,
    feedback: Path | None = None,
    reasoning_field: str | None = None,
) -> Settings:
    """What the command line sets, over what was set before."""
    before = settings.security
    security = Security(
        **{
            **{field.name: getattr(before, field.name) for field in dataclasses.fields(before)},
            "keys": keys or before.keys,
            "networks": before.networks + tuple(parse_network(text) for text in networks),
            "origins": before.origins + tuple(origins),
            "hosts": before.hosts + tuple(hosts),
            "proxies": before.proxies + tuple(parse_network(text) for text in proxies),
            "tls_cert": tls_cert or before.tls_cert,
            "tls_key": tls_key or before.tls_key,
            "insecure": insecure or before.insecure,
        }
    )
    return dataclasses.replace(
        settings,
        host=address or settings.host,
        port=settings.port if port is None else port,
        security=security,
        audit=Audit(audit or settings.audit.file, audit_texts or settings.audit.texts),
        feedback=feedback or settings.feedback,
        reasoning_field=reasoning_field or settings.reasoning_field,
    )

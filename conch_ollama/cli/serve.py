"""`conch serve`: one door for every client, in front of llama.cpp, Ollama or an upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import host_option


@click.command(
    "serve",
    help="""Serve MODEL over HTTP, in OpenAI's and Ollama's dialects and at /generate.

    MODEL is a folder that conch wrote or a GGUF (in the embedded llama.cpp), or a model's name in Ollama. With
    --upstream it is a model behind a URL; without MODEL all that Ollama or the upstream has are served.
    """,
)
@click.argument("model", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="conch.toml: several models, keys, limits.")
@click.option(
    "--runtime",
    type=click.Choice(["llama.cpp", "llama-cpp-python", "ollama", "openai"]),
    help="Default: by what MODEL is.",
)
@host_option
@click.option("--upstream", multiple=True, metavar="URL", help="OpenAI-compatible URL; repeatable: least busy first.")
@click.option("--upstream-key-env", metavar="VAR", help="Environment variable that holds the upstream's key.")
@click.option("--listen", "address", metavar="HOST", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one. [default: 8000]")
@click.option("--name", metavar="NAME", help="The model's name for clients.")
@click.option("--num-ctx", type=click.IntRange(min=1), help="Context in tokens of one answer (llama.cpp).")
@click.option("--slots", type=click.IntRange(min=1), help="Answers at once (llama.cpp).")
@click.option("--threads", type=click.IntRange(min=1), help="Threads (llama.cpp).")
@click.option("--gpu-layers", type=int, help="Layers on the GPU (llama.cpp); default: it decides.")
@click.option("--keep-alive", metavar="TIME", help="Unload after this without a request: 5m, 1h, -1 never.")
@click.option(
    "--memory", metavar="SIZE", help="For all loaded models: 4GB, 1.5GiB (llama.cpp). [default: what is free]"
)
@click.option("--keys", type=click.Path(path_type=Path), help="File of API keys, made by `conch keys`.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="A network that needs no key.")
@click.option("--origin", "origins", multiple=True, metavar="URL", help="A page whose scripts may call.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that Host may hold.")
@click.option("--proxy", "proxies", multiple=True, metavar="CIDR", help="A proxy whose X-Forwarded-For is believed.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option("--insecure", is_flag=True, help="Serve everybody who can reach it, without any key.")
@click.option("--audit", type=click.Path(path_type=Path), help="A line of JSON for each answer and refusal goes here.")
@click.option("--audit-texts", is_flag=True, help="With what was asked and said.")
@click.option("--feedback", type=click.Path(path_type=Path), help="SQLite file for ratings sent to /v1/feedback.")
@click.option("--reasoning-field", metavar="NAME", help="Field of a model's thought. [default: reasoning_content]")
@click.option("--log", "log_format", type=click.Choice(["auto", "json", "text"]), default="auto", show_default=True)
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def command(log_format: str, log_level: str, **given: Any) -> None:
    from conch_ollama.server.logs import write_logs
    from conch_ollama.workflows.serve import serve
    from conch_ollama.workflows.serve_options import plan_command

    plan, reread = plan_command(**given)
    write_logs(log_level, as_json=None if log_format == "auto" else log_format == "json")
    serve(plan, reread=reread, events=output.Terminal())

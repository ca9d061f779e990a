"""`python -m conch_ollama.training`: what to run before and after LLaMA-Factory. See docs/training.md."""

from __future__ import annotations

from pathlib import Path

import click

from conch_ollama.errors import ConchError

_PATH = click.Path(path_type=Path)


@click.group(help="Before and after training with LLaMA-Factory.")
def main() -> None:
    pass


@main.command(help="Turn the GGUF of SmolLM2-135M-Instruct into a folder to train on. Needs torch and transformers.")
@click.argument("folder", type=_PATH)
@click.option("--gguf", type=_PATH, help="A GGUF of your own; else the demonstration's is fetched (93 MB).")
def base(folder: Path, gguf: Path | None) -> None:
    from conch_ollama.sources.smollm2 import smollm2_gguf
    from conch_ollama.training.base import base_from_gguf

    click.echo(base_from_gguf(gguf or smollm2_gguf(), folder))


@main.command(help="Write the adapter of a run, in bfloat16 and without local paths, into a new folder.")
@click.argument("run", type=_PATH)
@click.argument("folder", type=_PATH)
@click.option("--base-name", required=True, help="Name of the base model on the hub.")
@click.option("--training", type=_PATH, help="YAML file of the run, to be kept with the adapter.")
def adapter(run: Path, folder: Path, base_name: str, training: Path | None) -> None:
    from conch_ollama.training.adapter import release_adapter

    click.echo(release_adapter(run, folder, base_name=base_name, training=training))


@main.command(help="Check an alpaca data set and count its samples.")
@click.argument("file", type=_PATH)
def check(file: Path) -> None:
    from conch_ollama.training.dataset import read_samples

    click.echo(f"{file}: {len(read_samples(file))} samples")


if __name__ == "__main__":
    try:
        main()
    except ConchError as err:
        click.echo(f"error: {err.message} [{err.code}]" + (f"\n  hint: {err.hint}" if err.hint else ""), err=True)
        raise SystemExit(1) from err

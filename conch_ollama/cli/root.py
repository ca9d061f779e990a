"""The group of all commands, and the border where errors become one line and a hint.

Imports click only. A command's module is imported when that command runs, so `conch --help` stays quick.
"""

from __future__ import annotations

import importlib
import sys

import click

from conch_ollama.version import __version__

#: command -> its one-line help. The module `conch_ollama.cli.<command>` holds `command`.
COMMANDS = {
    "export": "Base model + adapters to quantised GGUF, Modelfile and export.json.",
    "register": "Create the exported model in Ollama, check it, ask it one question.",
    "up": "Export, register and chat, in one go.",
    "template": "Compile a chat template to an Ollama TEMPLATE and prove it; judge a Modelfile.",
    "chat": "Chat in the terminal, with Ollama or without it.",
    "serve": "One HTTP door for every client, in front of llama.cpp, Ollama or a URL.",
    "keys": "API keys for `conch serve`: add, list, revoke.",
    "top": "What a running `conch serve` does, live.",
    "feedback": "Ratings of answers: export them as preference pairs.",
    "inspect": "Show what a GGUF, a Hugging Face folder or an adapter holds.",
    "verify": "Check again what an export claims: hashes, origin, the proof of its TEMPLATE.",
    "doctor": "What to use here; with a NAME: what is wrong with a model in Ollama, and mend it.",
    "demo": "The magic conch, from the embedded base and adapter to its first answers.",
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help before it imports them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command."""
        if name not in COMMANDS:
            return None
        found = importlib.import_module(f"conch_ollama.cli.{name}").command
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and help from the table: nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="What you trained is what you run: LoRA fine-tune -> quantised GGUF -> Ollama.",
)
@click.version_option(__version__, prog_name="conch")
@click.option("--traceback", is_flag=True, help="Show the traceback of every error.")
def root(traceback: bool) -> None:
    """`--traceback` is looked up by `run`, which outlives this call."""


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 for our errors, 2 for wrong usage, 130 for Ctrl-C."""
    from conch_ollama.cli import output
    from conch_ollama.errors import ConchError, UsageError

    output.prepare()
    try:
        value = root.main(arguments, prog_name="conch", standalone_mode=False)
    except click.exceptions.Abort:
        output.error("stopped")
        return 130
    except click.ClickException as err:
        err.show()
        return err.exit_code
    except ConchError as err:
        if "--traceback" in (arguments if arguments is not None else sys.argv):
            raise
        output.conch_error(err)
        return 2 if isinstance(err, UsageError) else 1
    except KeyboardInterrupt:
        output.error("stopped; nothing was left behind")
        return 130
    except BrokenPipeError:
        return 1
    return value if isinstance(value, int) else 0

"""`conch template`: parses, calls the workflow, prints the verdict. Exit status 3: not proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conch_ollama.cli import output
from conch_ollama.cli.options import hub_option, revision_option

if TYPE_CHECKING:
    from conch_ollama.workflows.against import Against
    from conch_ollama.workflows.template import TemplateResult

NOT_PROVEN = 3


@click.command(
    "template",
    help="""Compile a model's chat template (Jinja) to a TEMPLATE for Ollama, and prove it.

    MODEL: a Hugging Face folder, a hub id (org/name, only its small files are fetched), a GGUF file, a model of the
    local Ollama, a file with a chat template (Jinja), or a tokenizer_config.json.

    Without a tokenizer a BOS that the template begins with is taken as added by the server.

    Exit status: 0 proven, 3 not proven (with --against: the Modelfile is wrong for the model), 1 an error, 2 wrong
    usage.
    """,
)
@click.argument("model")
@click.option("--against", type=click.Path(path_type=Path), metavar="MODELFILE", help="Is this Modelfile right for it?")
@click.option("--bos", metavar="TEXT", help="The BOS token, where MODEL does not say it.")
@click.option("--eos", metavar="TEXT", help="The EOS token, where MODEL does not say it.")
@click.option("--name", metavar="NAME", help="The model's name in Ollama: it decides whether old thoughts are cut.")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="TEMPLATE", help="Write the TEMPLATE there.")
@click.option(
    "--jinja-out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write there a Jinja that llama.cpp, too, renders as transformers renders the model's own.",
)
@click.option("--allow-unproven", is_flag=True, help="With -o: write the nearest TEMPLATE where none is proven.")
@hub_option
@revision_option
@click.option("--no-engines", is_flag=True, help="Don't ask llama.cpp's Jinja.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    model: str,
    against: Path | None,
    out: Path | None,
    jinja_out: Path | None,
    allow_unproven: bool,
    no_engines: bool,
    as_json: bool,
    **options: Any,
) -> int:
    if against is not None:
        if out is not None or jinja_out is not None:
            raise click.UsageError("-o and --jinja-out write what the model itself gets: leave --against out")
        from conch_ollama.workflows.against import against as compare

        held = compare(against, model, **options)
        output.as_json(held.as_dict()) if as_json else _print_against(held)
        return 0 if held.right else NOT_PROVEN
    from conch_ollama.workflows.template import save_plain_jinja, save_template, template

    if jinja_out is not None and no_engines:
        raise click.UsageError("--jinja-out asks llama.cpp: leave --no-engines out")
    found = template(model, engines=not no_engines, **options)
    written = out is not None and (found.proof.proven or allow_unproven) and bool(found.proof.template)
    if out is not None and written:
        save_template(found, out, allow_unproven=allow_unproven)
    if as_json:
        output.as_json(found.as_dict())
    else:
        _print(found, out if written else None)
    if jinja_out is not None:
        save_plain_jinja(found, jinja_out)
        output.note(f"chat template (Jinja) written to {jinja_out}")
    if out is not None and not written:
        output.warning(
            f"{out} is not written: nothing is proven"
            + ("; --allow-unproven writes the nearest" if found.proof.template else "")
        )
    return 0 if found.proof.proven else NOT_PROVEN


def _print(found: TemplateResult, out: Path | None) -> None:
    shown = found.as_dict()
    for text in shown["warnings"]:
        output.warning(text)
    output.line(f"{shown['model']}: {'proven' if shown['proven'] else 'NOT PROVEN'} ({shown['strategy']})")
    if shown["reason"]:
        output.line(f"  {shown['reason']}")
    _print_classes(shown["classes"], shown["altered_by_ollama"])
    output.line("how it is used")
    output.table(_facts(shown))
    _print_first_difference(shown["classes"], proven=shown["proven"])
    if shown["template"] is None:
        output.note("there is no TEMPLATE to write")
    elif out is not None:
        output.line(f"TEMPLATE written to {out}" + ("" if shown["proven"] else " (not proven)"))
    else:
        output.line("TEMPLATE" if shown["proven"] else "TEMPLATE (the nearest, not proven)")
        output.line(shown["template"])


def _facts(shown: dict[str, Any]) -> list[tuple[str, str]]:
    new = "renders the GGUF's own chat template instead" if shown["bypassed_by_new_ollama"] else "renders the TEMPLATE"
    rows = [
        ("stops", "  ".join(map(repr, shown["stops"])) or "none but EOS"),
        ("default system", "none" if shown["system_default"] is None else repr(shown["system_default"])),
        ("BOS", shown["bos"] + (f" ({shown['bos_token']})" if shown["bos_token"] and shown["bos"] != "none" else "")),
        ("token ids", shown["token_ids"]),
        ("capabilities", ", ".join(shown["capabilities"]) or "none beyond completion"),
        ("Ollama >= 0.30", new),
    ]
    rows += [(name, _engine(value)) for name, value in shown["engines"].items()]
    return [*rows, ("corpus", f"{shown['corpus']}, by the rules of Ollama {shown['ollama']}")]


def _engine(value: Any) -> str:
    """One line of what another engine's verdict says; `value` is a mapping with `proven`, or plain text."""
    if not isinstance(value, dict):
        return str(value)
    if value.get("proven") is None:
        return str(value.get("reason", "not asked"))
    text = "renders the Jinja as transformers does"
    if value.get("reason"):
        text = f"{'otherwise ' + text + ', but ' if value['proven'] else ''}{value['reason']}"
    if value.get("corrected"):
        text += f"; in other words it does (--jinja-out FILE): {', '.join(value.get('changes') or ())}"
    return text


def _print_classes(classes: dict[str, Any], altered: dict[str, Any] | None) -> None:
    output.line("conversations")
    rows = []
    for kind, one in classes.items():
        text = one["verdict"]
        if "limit" in one:
            text += ": " + ": ".join(filter(None, (one.get("construct"), one["limit"])))
        if altered and text.startswith("altered"):
            text += f" ({altered['conversations']} conversations)"
        rows.append((kind, text))
    output.table(rows)


def _print_first_difference(classes: dict[str, Any], *, proven: bool) -> None:
    """The plain classes come first; what no TEMPLATE could render otherwise is not shown where all of them hold."""
    no_fault = "not expressible" if proven else None
    differing = {kind: one for kind, one in classes.items() if one.get("diff") and one["verdict"] != no_fault}
    if not differing:
        return
    kind, one = next(iter(differing.items()))
    output.line(f"first difference, in {kind}")
    for message in one["conversation"]["messages"]:
        output.line(f"  {message['role']}: {message.get('content') or ''!r}"[:160])
    output.line(one["diff"].rstrip("\n"))


def _print_against(held: Against) -> None:
    shown = held.as_dict()
    output.line(f"{shown['modelfile']}: {'right' if shown['right'] else 'WRONG'} for {shown['model']}")
    for finding in shown["findings"]:
        output.line(f"  {'wrong' if finding['wrong'] else 'note'}: {finding['message']}")
        if finding.get("advice"):
            output.line(f"    {finding['advice']}")
    _print_classes(shown["classes"], shown["altered_by_ollama"])
    _print_first_difference(shown["classes"], proven=shown["proven"])

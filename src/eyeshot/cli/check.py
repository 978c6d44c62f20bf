"""``check``: what is wrong with a network."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

import eyeshot
from eyeshot.cli.shared import (
    Source,
    as_json,
    axes_option,
    config_options,
    input_option,
    parsed_axes,
    parsed_input,
    settings_of,
    train_option,
    write,
)
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from rich.console import Console

    from eyeshot.analysis.findings import Rule

__all__ = ["check"]

FORMATS = ("text", "json", "markdown", "sarif")
#: As in the rules' own module, which is loaded only where a check runs.
FAIL_ON = ("error", "warning", "note", "never")


class Code(click.ParamType):
    name = "code"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from eyeshot.analysis.findings import RULES

        return [CompletionItem(code) for code in RULES if code.startswith(incomplete)]


@click.command()
@click.argument("source", type=Source(), required=False)
@input_option("Input size, as for eyeshot show.")
@axes_option
@train_option
@click.option(
    "--object",
    "object_",
    metavar="SIZE",
    help="The size of what the network is to see whole, in input elements: 96, or 96x64 per axis.",
)
@click.option(
    "--anchors",
    multiple=True,
    metavar="LAYER=SIZES",
    help="Sizes that a detection level is responsible for: p3=32,64x48. For each level.",
)
@click.option("--causal", is_flag=True, help="The network must not read the future.")
@click.option(
    "--time",
    type=click.IntRange(min=0),
    metavar="DIM",
    help="The dim of the input that is time; by default its only axis.",
)
@click.option("--tileable", is_flag=True, help="It is to run on tiles, equal to the whole.")
@click.option("--streamable", is_flag=True, help="It is to run piece by piece, equal to the whole.")
@click.option(
    "--select",
    type=Code(),
    multiple=True,
    metavar="LIST",
    help="Only these findings: codes, topics or globs, such as holes,padding,unread-*.",
)
@click.option(
    "--ignore", type=Code(), multiple=True, metavar="LIST", help="Not these findings, likewise."
)
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    help="Exit with 1 where a finding is as serious as this.  [default: warning]",
)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="How to print the findings.",
)
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write to FILE.")
@config_options
@click.option("--explain", type=Code(), metavar="CODE", help="Print what a finding means.")
@click.option("--list", "listing", is_flag=True, help="List all findings.")
def check(
    source: str | None,
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    train: bool,
    object_: str | None,
    anchors: tuple[str, ...],
    causal: bool,
    time: int | None,
    tileable: bool,
    streamable: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str | None,
    form: str,
    output: str | None,
    config: str | None,
    no_config: bool,
    explain: str | None,
    listing: bool,
) -> None:
    """Look for what is wrong with the network of SOURCE, as a linter does with code.

    SOURCE is what eyeshot show takes. Every finding has a code, the layers, the numbers that prove it, what it
    costs, and what to change. Exit code 1: something was found.

    \b
    eyeshot check torchvision:resnet50 --input 3x32x32
    eyeshot check net.yaml --object 96 --tileable
    eyeshot check mypackage.nets:Tcn --input 1x4000 --causal --ignore padding
    eyeshot check net.yaml --format sarif -o eyeshot.sarif
    eyeshot check --explain unproductive-layers
    """
    if explain is not None:
        _explain(explain, output)
        return
    if listing:
        text = _list(_listed("--select", select), _listed("--ignore", ignore), output is None)
        write(text, output)
        return
    if source is None:
        raise click.UsageError("Missing argument 'SOURCE'.", click.get_current_context())
    chosen = settings_of(source, config, no_config)
    from eyeshot import settings

    given: dict[str, Any] = {
        "input": parsed_input(inputs),
        "axes": parsed_axes(axes),
        "train": train or None,
        "object": None if object_ is None else _sized("--object", object_, settings.size),
        "anchors": _anchors(anchors) or None,
        "causal": causal or None,
        "time": time,
        "tileable": tileable or None,
        "streamable": streamable or None,
        "fail-on": fail_on,
    }
    if select:
        # Who asks for findings by name wants them, whatever the table says.
        chosen.pop("ignore", None)
        chosen["select"] = _listed("--select", select)
    chosen["ignore"] = [*chosen.get("ignore", ()), *_listed("--ignore", ignore)]
    chosen.update({key: value for key, value in given.items() if value is not None})
    level = chosen.pop("fail-on", "warning")
    training = chosen.pop("train", False)
    size = chosen.pop("input", None)
    found = eyeshot.check(source, size, training=training, **chosen)
    write(_text(found, source, form, output is None), output)
    _asked(found, chosen)
    if level != "never" and found.at_least(level):
        sys.exit(1)


def _listed(option: str, values: tuple[str, ...]) -> list[str]:
    names = [name for value in values for part in value.split(",") if (name := part.strip())]
    if values and not names:
        raise EyeshotError(f"{option}: expected codes or topics; --list names them all")
    return names


def _sized(option: str, value: str, read: Any) -> Any:
    try:
        return read(value)
    except EyeshotError as error:
        raise EyeshotError(f"{option}: {error}") from None


def _anchors(values: tuple[str, ...]) -> dict[str, Any]:
    from eyeshot.settings import sizes

    out: dict[str, Any] = {}
    for value in values:
        name, equals, given = value.rpartition("=")
        if not equals or not name:
            raise EyeshotError(f"--anchors {value}: expected LAYER=SIZES, such as p3=32,64")
        if name in out:
            raise EyeshotError(f"--anchors {value}: {name!r} is given twice")
        out[name] = _sized(f"--anchors {value}", given, sizes)
    return out


def _asked(found: eyeshot.Check, options: Mapping[str, Any]) -> None:
    """What was asked for by an option and could not be looked at is no success."""
    from eyeshot.analysis.findings import RULES

    by_code = {code: rule.wants for code, rule in RULES.items()}
    by_code.update({"blocks-tiling": "tileable", "blocks-streaming": "streamable"})
    for code, reason in found.skipped:
        if options.get(by_code[code] or ""):
            raise EyeshotError(f"{code} could not look: {reason}")


def _text(found: eyeshot.Check, source: str, form: str, to_stdout: bool) -> str:
    if form == "json":
        return as_json(found.to_dict())
    if form == "sarif":
        return as_json(found.to_sarif(source))
    if form == "markdown":
        return found.to_markdown()
    from eyeshot.views.findings import WIDEST, render

    if not to_stdout:
        return render(found)
    from eyeshot.views.terminal import painter

    console = _console()
    return render(found, _width(console) or WIDEST, painter(console))


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _width(console: Console) -> int | None:
    """A pipe has no width, so that nothing is folded there."""
    return None if not console.is_terminal and "COLUMNS" not in os.environ else console.width


# --- what there is to find


def _explain(code: str, output: str | None) -> None:
    """The page as it is, or set for a terminal."""
    from eyeshot.analysis.findings import RULES
    from eyeshot.views.pages import page

    if code not in RULES:
        from difflib import get_close_matches

        close = get_close_matches(code, RULES, 3, 0.6)
        hint = f"did you mean {' or '.join(close)}?" if close else "--list names them all"
        raise EyeshotError(f"--explain: there is no finding {code!r}; {hint}")
    text = page(code)
    console = _console()
    if output is None and console.is_terminal:
        from rich.markdown import Markdown

        with console.capture() as captured:
            console.print(
                Markdown(text, code_theme="ansi_light", hyperlinks=False),
                width=min(console.width, 100),
            )
        text = captured.get()
    write(text, output)


def _list(select: list[str], ignore: list[str], to_stdout: bool) -> str:
    """A line for each finding, by topic."""
    from eyeshot.analysis.findings import TOPICS
    from eyeshot.analysis.findings import chosen as rules_of
    from eyeshot.views.findings import STYLES
    from eyeshot.views.terminal import _wrap, painter

    rules = sorted(rules_of(select, ignore), key=lambda rule: TOPICS.index(rule.topic))
    console = _console()
    width = _width(console) if to_stdout else None
    paint = painter(console) if to_stdout else lambda text, style: text
    columns = [
        max((len(getattr(rule, key)) for rule in rules), default=0) for key in ("code", "topic")
    ]
    before = sum(columns) + 13
    out = []
    for rule in rules:
        cells = [
            paint(f"{rule.code:<{columns[0]}}", "bold"),
            f"{rule.topic:<{columns[1]}}",
            paint(f"{rule.severity:<7}", STYLES[rule.severity]),
        ]
        first, *rest = _wrap(_summary(rule), None if width is None else max(20, width - before))
        out.append("  ".join([*cells, first]))
        out += [" " * before + line for line in rest]
    return "\n".join(out) + "\n"


def _summary(rule: Rule) -> str:
    """With the option that it takes to look."""
    return f"{rule.summary} (--{rule.wants})" if rule.wants else rule.summary

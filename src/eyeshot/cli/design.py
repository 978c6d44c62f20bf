"""``design``: the cheapest change that reaches a field."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import eyeshot
from eyeshot.cli.shared import Source, input_option, parsed_input, write
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.designs import Design, Designs

__all__ = ["design"]

FORMATS = ("text", "json", "yaml")
COSTS = ("params", "macs")
COUNTS = ("total", "added")


@click.command()
@click.argument("source", type=Source())
@click.option(
    "-s", "--size", required=True, metavar="N", help="The field: 200, or 200x100 per axis."
)
@click.option(
    "--at-least", "mode", flag_value="at-least", default=True, help="N or more (default)."
)
@click.option("--at-most", "mode", flag_value="at-most", help="N or less.")
@click.option("--exactly", "mode", flag_value="exactly", help="N.")
@click.option("-j", "--jump", metavar="N", help="Its total stride, 16 or 16x8. Default: as it is.")
@click.option("-l", "--layer", metavar="LAYER", help="Whose field. Default: the last map.")
@input_option("Input size, as for eyeshot show. Default: the spec's own.")
@click.option(
    "--cost",
    type=click.Choice(COSTS),
    default="params",
    show_default=True,
    help="What a change costs: parameters or multiply-adds.",
)
@click.option(
    "--count",
    type=click.Choice(COUNTS),
    help="The cost of the whole network, or what dearer layers add. Default: total; added for a smaller field.",
)
@click.option(
    "--change",
    metavar="LIST",
    help="What may change, of kernels,dilations,strides,depth. Default: all, strides only with --jump or "
    "--strides.",
)
@click.option(
    "--kernels",
    metavar="LIST",
    help="Allowed kernels beside a layer's own. Default: 3,5,7, none smaller with --at-least.",
)
@click.option(
    "--dilations",
    metavar="LIST",
    help="Allowed dilations beside a layer's own. Default: a quarter to four times its own.",
)
@click.option(
    "--strides", metavar="LIST", help="Allowed strides beside a layer's own. Default: 1,2."
)
@click.option(
    "--depth",
    type=click.IntRange(min=0, max=1000),
    default=2,
    show_default=True,
    metavar="N",
    help="How many extra copies of a layer.",
)
@click.option(
    "--only", multiple=True, metavar="GLOB", help="Only layers with such names may change."
)
@click.option(
    "--keep", multiple=True, metavar="GLOB", help="Layers with such names stay as they are."
)
@click.option(
    "--most", type=click.IntRange(min=0, max=1000), metavar="N", help="Change at most N layers."
)
@click.option(
    "--ignore", metavar="LIST", help="Findings (codes or topics) that a change may bring with it."
)
@click.option(
    "-b",
    "--best",
    type=click.IntRange(min=1, max=1000),
    default=3,
    show_default=True,
    metavar="N",
    help="How many designs.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="When to stop the search.",
)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="What to print: the changes, everything, or the best spec.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    help="Write the best spec to FILE (.yaml, .yml, .json), or one file for each design into a folder (DIR/).",
)
def design(
    source: str,
    size: str,
    mode: str,
    jump: str | None,
    layer: str | None,
    inputs: tuple[str, ...],
    cost: str,
    count: str | None,
    change: str | None,
    kernels: str | None,
    dilations: str | None,
    strides: str | None,
    depth: int,
    only: tuple[str, ...],
    keep: tuple[str, ...],
    most: int | None,
    ignore: str | None,
    best: int,
    time_limit: float,
    form: str,
    output: str | None,
) -> None:
    """Find the cheapest changes of SOURCE that give a layer the receptive field that you want.

    SOURCE is a spec (.yaml, .yml, .json, .toml), example:NAME, or package.module:factory that gives an
    nn.Sequential. Changes that bring new findings of eyeshot check are passed over. Exits with 1 where the
    field can't be reached.

    \b
    eyeshot design example:vgg16 --size 300 --input 512
    eyeshot design net.yaml --size 200 --exactly --jump 16 --cost macs
    eyeshot design net.yaml --size 200 --change depth -o deeper.yaml
    """
    if output is not None:
        _suffix(output)
    found = eyeshot.design(
        source,
        _sizes("--size", size),
        parsed_input(inputs),
        mode=mode,
        jump=None if jump is None else _sizes("--jump", jump),
        layer=layer,
        cost=cost,
        count=count,
        change=None if change is None else _words(change),
        kernels=_numbers("--kernels", kernels),
        dilations=_numbers("--dilations", dilations),
        strides=_numbers("--strides", strides),
        depth=depth,
        only=only,
        keep=keep,
        most=most,
        ignore=_words(ignore or ""),
        best=best,
        time_limit=time_limit,
    )
    if output is not None and found:
        _store(found, output)
    if form == "json":
        write(found.to_json(1))
    elif form == "text":
        write(str(found))
    elif found:
        write(found[0].to_yaml())
    else:
        # What goes into a file is a spec or nothing.
        click.echo(f"eyeshot: {str(found).splitlines()[-1]}", err=True)
    sys.exit(0 if found else 1)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _sizes(option: str, text: str) -> list[int]:
    """``200``, ``200x100``."""
    parts = re.split(r"[x×]", text)
    if not all(re.fullmatch(r"\s*\d{1,12}\s*", part) for part in parts):
        raise EyeshotError(
            f"{option} {text}: expected a number such as 200, or one per axis, 200x100"
        )
    return [int(part) for part in parts]


def _numbers(option: str, text: str | None) -> list[int] | None:
    """``3,5,7``."""
    if text is None:
        return None
    if not re.fullmatch(r"\s*\d{1,7}\s*(,\s*\d{1,7}\s*)*", text):
        raise EyeshotError(f"{option} {text}: expected numbers such as 1,2,4")
    return [int(part) for part in text.split(",")]


def _suffix(output: str) -> str:
    """How a spec is written to this file; a folder holds YAML."""
    if output.endswith(("/", os.sep)) or Path(output).is_dir():
        return ".yaml"
    suffix = Path(output).suffix.lower()
    if suffix not in (".yaml", ".yml", ".json"):
        raise EyeshotError(f"--output {output}: expected a file .yaml, .yml or .json, or a folder")
    return suffix


def _store(found: Designs, output: str) -> None:
    suffix = _suffix(output)
    if Path(output).is_dir() or output.endswith(("/", os.sep)):
        try:
            Path(output).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EyeshotError(f"--output {output}: {error.strerror or error}") from None
        for k, each in enumerate(found, 1):
            write(_text(each, suffix), str(Path(output) / f"design-{k}{suffix}"))
    else:
        write(_text(found[0], suffix), output)


def _text(each: Design, suffix: str) -> str:
    import json

    if suffix == ".json":
        return json.dumps(each.spec, indent=1, ensure_ascii=False)
    return each.to_yaml()

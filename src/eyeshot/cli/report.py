"""``report``: the web page of a network, as one file."""

from __future__ import annotations

import os
from typing import Any

import click

import eyeshot
from eyeshot.cli.shared import (
    Source,
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

__all__ = ["report"]


@click.command()
@click.argument("source", type=Source())
@input_option("Input size, as for eyeshot show.")
@axes_option
@click.option("--of", metavar="LAYER", help="Fields relative to this layer's units, not the input.")
@train_option
@click.option(
    "--image",
    metavar="FILE",
    type=click.Path(),
    help="A picture to draw behind an input with two axes. It is written into the report.",
)
@click.option(
    "--rate",
    type=float,
    metavar="HZ",
    help="Samples a second, where an axis is time: positions are shown in ms as well.",
)
@click.option("--title", metavar="TEXT", help="The page's title. Default: the network's name.")
@click.option("--no-check", is_flag=True, help="Leave out what eyeshot check finds.")
@config_options
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="The page: a file that a browser opens, .html.",
)
def report(
    source: str,
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    of: str | None,
    train: bool,
    image: str | None,
    rate: float | None,
    title: str | None,
    no_check: bool,
    config: str | None,
    no_config: bool,
    output: str,
) -> None:
    """Write a web page that shows what every unit of SOURCE reads.

    SOURCE is what eyeshot show takes. The page is one file that needs no network: the network as a graph, the
    growth of the field, the field of any unit on the input, findings, and the table.

    \b
    eyeshot report example:alexnet -o alexnet.html
    eyeshot report torchvision:resnet50 --input 3x224x224 --image cat.jpg -o resnet50.html
    eyeshot report example:wavenet --rate 16000 -o wavenet.html
    """
    if not output.lower().endswith((".html", ".htm")) and output != os.devnull:
        raise EyeshotError(f"--output {output}: expected a name that ends in .html")
    options = settings_of(source, config, no_config)
    options.pop("fail-on", None)  # a report tells; it does not judge
    shape, dims = options.pop("input", None), options.pop("axes", None)
    shape = shape if (given := parsed_input(inputs)) is None else given
    dims = dims if (named := parsed_axes(axes)) is None else named
    call = {"axes": dims, "training": options.pop("train", False) or train}
    found = eyeshot.analyze(source, shape, of=of, **call)
    findings: eyeshot.Check | bool = False
    if not no_check and of is None:
        findings = _findings(source, found, call | options)
    write(found.to_html(check=findings, image=image, rate=rate, title=title), output)


def _findings(source: str, found: eyeshot.Report, options: dict[str, Any]) -> eyeshot.Check | bool:
    """What a check finds. Where it can't look, the page is made without, and says so on stderr."""
    from eyeshot.diagnosis import check_report

    try:
        return check_report(source, found, **options)
    except EyeshotError as error:
        reason = " ".join(str(error).split())
        click.echo(f"eyeshot: findings are left out: {reason}", err=True)
        return False

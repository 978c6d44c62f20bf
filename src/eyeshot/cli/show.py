"""``show``: the table of a network."""

from __future__ import annotations

import os

import click

import eyeshot
from eyeshot.cli.shared import (
    Source,
    as_json,
    axes_option,
    input_option,
    parsed_axes,
    parsed_input,
    train_option,
    write,
)
from eyeshot.errors import EyeshotError

__all__ = ["show"]

FORMATS = ("table", "json", "csv", "markdown")


@click.command()
@click.argument("source", type=Source())
@input_option(
    "Input size: 3x224x224 (channels, then axes), 227 for every axis, or NAME=SHAPE for each of "
    "several inputs; for an ONNX file also DIM=SIZE for each dim that it only names, and ? for a size that it "
    "has. Default: the spec's or the model's own."
)
@axes_option
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print the report.",
)
@click.option("-l", "--layers", metavar="GLOB", help="Only layers with such names: 'layer4.*'.")
@click.option(
    "-d",
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Fold modules below level N, or layers whose names share their first N parts (by dots or slashes), "
    "into what comes out of them.",
)
@click.option("--of", metavar="LAYER", help="Fields relative to this layer's units, not the input.")
@train_option
@click.option("--strict", is_flag=True, help="Exit with 1 where an operator can only be bounded.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write to FILE.")
def show(
    source: str,
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    form: str,
    layers: str | None,
    depth: int | None,
    of: str | None,
    train: bool,
    strict: bool,
    output: str | None,
) -> None:
    """Print what every layer of SOURCE reads of the input.

    SOURCE is an ONNX file (.onnx), a spec (.yaml, .yml, .json, .toml), example:NAME (see eyeshot examples),
    torchvision:NAME, timm:NAME, hf:CONFIG.json (a transformers configuration) or package.module:factory (your
    own module, or what makes one), with arguments as in timm:resnet18?num_classes=10. No weights are fetched or
    read.

    \b
    n        output size             jump     distance of neighbouring units, in input pixels
    size     receptive field         start    centre of the first unit (pixel k covers [k, k+1])
    padding  how far the first unit's field begins before the input

    \b
    eyeshot show example:alexnet
    eyeshot show torchvision:resnet50 --input 3x224x224 --depth 1
    eyeshot show model.onnx --input 'data=1x3x?x?' --input height=512 --input width=512
    eyeshot show net.yaml --input 3x512x512 --layers 'decoder.*'
    eyeshot show net.yaml --format json -o report.json
    """
    report = eyeshot.analyze(
        source, parsed_input(inputs), axes=parsed_axes(axes), training=train, of=of, strict=strict
    )
    from eyeshot.views import table

    chosen = list(table.select(report, layers, depth))
    if not chosen:
        raise EyeshotError(f"--layers {layers}: no layer has such a name")
    if form == "json":
        text = _json(report, chosen)
    elif form == "csv":
        from eyeshot.views.export import to_csv

        text = to_csv(report, chosen)
    elif form == "markdown":
        from eyeshot.views.export import to_markdown

        text = to_markdown(report, chosen, depth)
    else:
        text = _table(report, chosen, depth, output is None)
    write(text, output)


def _json(report: eyeshot.Report, chosen: list[eyeshot.Layer]) -> str:
    content = report.to_dict()
    if [layer.name for layer in chosen] != [layer.name for layer in report]:
        content["layers"] = [layer.to_dict() for layer in chosen]
    return as_json(content)


def _table(
    report: eyeshot.Report, chosen: list[eyeshot.Layer], depth: int | None, to_stdout: bool
) -> str:
    from eyeshot.views.terminal import painter, render

    if not to_stdout:
        return render(report, chosen, depth)
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width, so that nothing is folded there.
    wide = not console.is_terminal and "COLUMNS" not in os.environ
    return render(report, chosen, depth, None if wide else console.width, painter(console))

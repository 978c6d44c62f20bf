"""``verify``: the report proved on the real network."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

import eyeshot
from eyeshot.cli.shared import (
    Source,
    axes_option,
    escaped,
    input_option,
    parsed_axes,
    parsed_input,
    write,
)

__all__ = ["verify"]


@click.command()
@click.argument("source", type=Source())
@input_option(
    "Input size: 3x224x224 (channels, then axes), or NAME=SHAPE for each of several inputs. "
    "Default: the model's own."
)
@axes_option
@click.option(
    "-l", "--layers", metavar="GLOB", help="Only layers with such names, and the outputs."
)
@click.option(
    "-n",
    "--probes",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most N probes. Default: 24 to 256, by the size of the network.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**31 - 1),
    default=0,
    metavar="N",
    help="Of the inputs and the sampled units.",
)
@click.option("--train", is_flag=True, help="Run the module in training mode.")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)
def verify(
    source: str,
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    layers: str | None,
    probes: int | None,
    seed: int,
    train: bool,
    form: str,
) -> None:
    """Prove the report on the real network of SOURCE; exit with 1 where they disagree.

    Positions of the input are poisoned with NaN in float64, and what turns NaN is compared with what the report
    says. SOURCE is an ONNX file, which onnxruntime runs, or torchvision:NAME, timm:NAME, hf:CONFIG.json or
    package.module:factory.

    
    eyeshot verify torchvision:resnet18 --input 3x64x64
    eyeshot verify my.package:model --input 3x128x128 --layers 'decoder.*' --probes 500
    """
    call: dict[str, Any] = {"axes": parsed_axes(axes), "training": train, "layers": layers}
    shape = parsed_input(inputs)
    if sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("probes", total=None)
            result = eyeshot.verify(
                source,
                shape,
                probes=probes,
                seed=seed,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                **call,
            )
    else:
        result = eyeshot.verify(source, shape, probes=probes, seed=seed, **call)
    if form == "json":
        write(json.dumps(result.to_dict(), indent=1))
    else:
        lines = str(result).splitlines()
        write("\n".join(escaped(line) for line in lines))
    if not result.ok:
        sys.exit(1)

"""``stream``: what a stream through a network needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from eyeshot.cli.shared import Source, as_json, input_option, parsed_input, train_option, write
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.streaming.plan import StreamPlan

__all__ = ["stream"]


@click.group()
def stream() -> None:
    """Run a network on a signal that arrives in chunks, as on the whole of it.

    \b
    eyeshot stream plan example:wavenet --rate 16000

    The stream itself is a library's: eyeshot.stream(model, ...), docs/streaming.md.
    """


@stream.command()
@click.argument("source", type=Source())
@input_option("The signal: 1x16000 (channels, then time). Its length matters little.")
@click.option("-t", "--time", type=int, metavar="DIM", help="The input's dim that is time.")
@click.option("-r", "--rate", type=float, metavar="HZ", help="Samples per second, for times in ms.")
@click.option(
    "-c",
    "--chunk",
    "chunks",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Tell of chunks of N samples, a multiple of the hop; may be given several times.",
)
@click.option("--output-layer", metavar="LAYER", help="Which output, where there are several.")
@train_option
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the plan.",
)
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write to FILE.")
def plan(
    source: str,
    inputs: tuple[str, ...],
    time: int | None,
    rate: float | None,
    chunks: tuple[int, ...],
    output_layer: str | None,
    train: bool,
    form: str,
    output: str | None,
) -> None:
    """Print what a stream through the network of SOURCE needs to equal the network on the whole signal.

    SOURCE is what eyeshot show takes. Where no stream equals the whole, it names the layers that see too much,
    and exits with 2.

    \b
    hop        the step at which everything repeats
    latency    from a hop's first sample until all its outputs can be computed
    context    how much of the input before a hop its outputs are computed from
    lookahead  how much of the input after a hop they wait for
    warm-up    how much arrives before the first output
    run on     how many samples the network runs on for each chunk
    again      the share of these that it has seen before

    \b
    eyeshot stream plan example:wavenet --rate 16000
    eyeshot stream plan my.package:codec --input 1x24000 --rate 24000 --chunk 960
    """
    from eyeshot.streaming.plan import stream_plan

    found = parsed_input(inputs)
    if isinstance(found, dict):
        raise EyeshotError("--input: a stream has one input; write its shape alone")
    made = stream_plan(
        source,
        found,
        time=time,
        rate=rate,
        chunks=chunks or None,
        output=output_layer,
        training=train,
    )
    write(as_json(made.to_dict()) if form == "json" else _table(made, output is None), output)


def _table(made: StreamPlan, to_stdout: bool) -> str:
    from eyeshot.views.streams import render

    if not to_stdout:
        return render(made)
    from rich.console import Console

    from eyeshot.views.terminal import painter

    console = Console(highlight=False)
    # A pipe has no width, so that nothing is folded there.
    wide = not console.is_terminal and "COLUMNS" not in os.environ
    return render(made, None if wide else console.width, painter(console))

"""``tile``: the plan of tiles that equal the whole, and the run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from eyeshot.cli.shared import (
    Source,
    as_json,
    input_option,
    parsed_axes,
    parsed_input,
    write,
)
from eyeshot.cli.tile_run import parsed_sizes, plan_options, run
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.tiling import TilePlan

__all__ = ["tile"]


@click.group()
def tile() -> None:
    """Run a network on an image in tiles that together equal the whole.

    \b
    eyeshot tile plan example:unet --input 1x16384x16384
    eyeshot tile run my.package:model slide.tif --weights best.pt -o result.zarr
    """


@tile.command()
@click.argument("source", type=Source())
@input_option("The whole image: 3x16384x16384 (channels, then axes), or 1x3x16384x16384.")
@plan_options
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
    tile: str | None,
    memory: str | None,
    batch: int | None,
    approximate: str | None,
    no_trial: bool,
    workers: int | None,
    weights: str | None,
    output_layer: str | None,
    axes: tuple[str, ...],
    device: str | None,
    dtype: str | None,
    form: str,
    output: str | None,
) -> None:
    """Print which tiles of an image give exactly what the network of SOURCE gives for the whole.

    SOURCE is what eyeshot show takes. Where no tiles do, it names the layers that see too
    much, and exits with 2.

    \b
    offset      the first output's centre, less that of a padded network
    grid        what edges of tiles should be multiples of
    halo        what a tile on the grid reads beyond itself, left and right
    worst unit  what the neediest output reads beyond its own place
    margin      what is read around a tile: the halo, brought to the grid

    \b
    eyeshot tile plan example:unet --input 1x16384x16384 --tile 2048
    eyeshot tile plan my.package:model --input 3x8192x8192 --memory 2GB
    """
    from eyeshot.tiling.extents import NotTileable
    from eyeshot.tiling.request import tile_plan

    halo = parsed_sizes("--approximate", approximate)
    try:
        made = tile_plan(
            source,
            parsed_input(inputs),
            axes=parsed_axes(axes),
            output=output_layer,
            tile=parsed_sizes("--tile", tile),
            memory=memory,
            batch=batch or 1,
            workers=_workers(workers, memory, device),
            approximate=halo,
            weights=weights,
            device=device,
            dtype=dtype,
            trial=not no_trial,
        )
    except NotTileable as error:
        hint = "; --approximate goes on with a halo of yours" if halo is None else ""
        raise EyeshotError(f"{str(error).removesuffix('.')}{hint}") from None
    write(_json(made) if form == "json" else _table(made, output is None), output)


tile.add_command(run)


def _workers(workers: int | None, memory: str | None, device: str | None) -> int:
    """As many as a run has, which share the memory."""
    if workers is not None or memory is None:
        return workers or 1
    from eyeshot.tiling.header import balance

    return balance(None, device or "cpu", False)[0]


def _json(made: TilePlan) -> str:
    """The plan, with its numbers in other tools' terms."""
    from eyeshot.tiling.terms import terms

    return as_json({**made.to_dict(), "terms": terms(made)})


def _table(made: TilePlan, to_stdout: bool) -> str:
    from eyeshot.views.tiles import render

    if not to_stdout:
        return render(made)
    from rich.console import Console

    from eyeshot.views.terminal import painter

    console = Console(highlight=False)
    # A pipe has no width, so that nothing is folded there.
    wide = not console.is_terminal and "COLUMNS" not in os.environ
    return render(made, None if wide else console.width, painter(console))

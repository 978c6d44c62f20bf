"""``tile run``: a network on an image, tile by tile, into a file."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eyeshot.cli.shared import Source, escaped, parsed_axes
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from eyeshot.tiling.run import Result
    from eyeshot.tiling.scaling import Scaling

    Progress = Callable[[int, int, float, float | None], None]

__all__ = ["parsed_sizes", "plan_options", "run"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

DTYPES = ("float64", "float32", "float16", "bfloat16")
#: Seconds between two lines of a log.
LOG = 30.0
#: Failed tiles that are named.
MAX_FAILED = 5


def plan_options(command: _Command) -> _Command:
    """What ``plan`` and ``run`` both take."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


OPTIONS = (
    click.option(
        "--tile",
        "tile",
        metavar="SIZE",
        help="Size of a tile in input positions: 1024, or 512x2048 per axis; 0 is the whole axis. "
        "Default: 1024 with two axes, 128 with three, or what --memory allows.",
    ),
    click.option(
        "--memory",
        metavar="SIZE",
        help="The largest tiles that run within this much memory, 2GB, as measured on the model.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1, max=1 << 16),
        metavar="N",
        help="Up to N tiles in one forward pass.  [default: 1]",
    ),
    click.option(
        "--approximate",
        metavar="HALO",
        help="Go on where tiles can't equal the whole, with this halo: 64, or 64x32 per axis.",
    ),
    click.option(
        "--no-trial", is_flag=True, help="Leave out the trial of crops on random numbers."
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1, max=1 << 12),
        metavar="N",
        help="Tiles that run side by side, which share --memory.",
    ),
    click.option("--weights", metavar="FILE", help="A file with the module's weights."),
    click.option(
        "--output-layer", metavar="LAYER", help="The result, where a network has several outputs."
    ),
    click.option(
        "-a",
        "--axes",
        "axes",
        multiple=True,
        metavar="DIMS",
        help="Dims of the model's input that tiles lie along: 2,3. Default: all but batch and channels.",
    ),
    click.option("--device", metavar="NAME", help="Where the model runs: cpu, cuda or cuda:1."),
    click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        help="What the model computes in. Default: its own.",
    ),
)


@click.command()
@click.argument("model", type=Source())
@click.argument("image")
@click.option(
    "-o",
    "--output",
    "out",
    metavar="OUT",
    required=True,
    help="The result: Zarr v3 (.zarr, or any other name), TIFF (.tif, .tiff) or .npy.",
)
@click.option(
    "--image-axes",
    metavar="LETTERS",
    help="What the image's dims are: cyx, tzyx; c are channels, each index of t runs by itself. Default: "
    "what the file says.",
)
@click.option(
    "--channels", metavar="LIST", help="Channels of the image, in this order: 2,0. Default: all."
)
@click.option("--scale", metavar="X", help="What the image's numbers are multiplied by: 1/255.")
@click.option("--mean", metavar="LIST", help="Then taken off, per channel: 0.485,0.456,0.406.")
@click.option("--std", metavar="LIST", help="What they are then divided by: 0.229,0.224,0.225.")
@click.option("--out-dtype", metavar="TYPE", help="What is written: uint8. Default: the model's.")
@click.option("--out-scale", metavar="X", help="What outputs are multiplied by before: 255.")
@plan_options
@click.option(
    "--scheduler", metavar="ADDRESS", help="Run on this Dask cluster: tcp://10.0.0.1:8786."
)
@click.option(
    "--retries",
    type=click.IntRange(min=0, max=1000),
    default=2,
    show_default=True,
    metavar="N",
    help="How often a tile that failed is tried again.",
)
@click.option("--resume", is_flag=True, help="Go on with a run that did not end.")
@click.option("--overwrite", is_flag=True, help="Replace OUT, once the new one is complete.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def run(
    model: str,
    image: str,
    out: str,
    image_axes: str | None,
    channels: str | None,
    scale: str | None,
    mean: str | None,
    std: str | None,
    out_dtype: str | None,
    out_scale: str | None,
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
    scheduler: str | None,
    retries: int,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Run MODEL on IMAGE in tiles that together equal the whole, and write OUT.

    MODEL is an .onnx file, or torchvision:NAME, timm:NAME or package.module:factory, with --weights. IMAGE
    is a Zarr array, a TIFF, an .npy file or what Pillow reads. OUT is there once it is whole. What was done
    when a run ends before is kept: the same command with --resume goes on. Exits with 2 where tiles failed.

    \b
    eyeshot tile run my.package:model slide.tif --weights best.pt --memory 2GB -o result.zarr
    eyeshot tile run net.onnx stack.npy --image-axes zcyx --channels 1 -o result.tif
    """
    # What is wrong with the options is said before anything large is loaded.
    call: dict[str, Any] = {
        "tile": parsed_sizes("--tile", tile),
        "memory": memory,
        "batch": batch,
        "axes": image_axes,
        "channels": _numbers("--channels", channels, int),
        "workers": workers,
        "scheduler": scheduler,
        "resume": resume,
        "overwrite": overwrite,
        "retries": retries,
        "scaling": _scaling(scale, mean, std, out_dtype, out_scale),
        "approximate": parsed_sizes("--approximate", approximate),
        "trial": not no_trial,
    }
    options: dict[str, Any] = {
        "weights": weights,
        "device": device,
        "dtype": dtype,
        "output": output_layer,
        "axes": parsed_axes(axes),
    }
    from eyeshot.tiling.models import load
    from eyeshot.tiling.run import Stopped
    from eyeshot.tiling.run import run as start

    rates = [0.0]
    stopped = ""
    with _progress(quiet) as shown:

        def progress(done: int, total: int, rate: float, remaining: float | None) -> None:
            rates.append(rate)
            del rates[:-1]
            if shown is not None:
                shown(done, total, rate, remaining)

        try:
            loaded = load(model, **options)
            done = start(loaded, image, out, progress=progress, **call)
        except Stopped as stop:
            stopped = str(stop)
    if stopped:
        click.echo(f"eyeshot: {escaped(stopped)}", err=True)
        sys.exit(130)
    if not quiet:
        for line in _summary(done, out, rates[-1], loaded.notes):
            click.echo(escaped(line), err=True)
    if done.failed:
        for line in _failures(done):
            click.echo(escaped(line), err=True)
        count = len(done.failed)
        raise EyeshotError(
            f"{count:,} of {done.tiles:,} tiles failed; the others are kept, and --resume tries "
            f"{'these' if count > 1 else 'this one'} again"
        )


# --- options


def parsed_sizes(option: str, text: str | None) -> int | tuple[int, ...] | None:
    """``1024``, or ``512x2048``, a number for each axis."""
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,12}(x\d{1,12})*", text.strip()):
        raise EyeshotError(f"{option} {text}: expected a number, or one for each axis: 512x2048")
    sizes = tuple(int(part) for part in text.split("x"))
    return sizes[0] if len(sizes) == 1 else sizes


def _numbers(option: str, text: str | None, kind: Callable[[str], Any]) -> tuple[Any, ...] | None:
    """``0,5``, or ``0.5,0.5,0.5``."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        what = "whole numbers such as 0,5" if kind is int else "numbers such as 0.5,0.5,0.5"
        raise EyeshotError(f"{option} {text}: expected {what}") from None


def _scaling(
    scale: str | None,
    mean: str | None,
    std: str | None,
    out_dtype: str | None,
    out_scale: str | None,
) -> Scaling | None:
    """None where no option was given: a resumed run then has its own."""
    given: dict[str, Any] = {
        "scale": scale,
        "mean": _numbers("--mean", mean, float),
        "std": _numbers("--std", std, float),
        "out_dtype": out_dtype,
        "out_scale": out_scale,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    from eyeshot.tiling.scaling import Scaling

    try:
        return Scaling(**given)
    except EyeshotError as error:
        name, colon, rest = str(error).partition(":")
        option = f"--{name.replace('_', '-')}"
        raise EyeshotError(f"{option}{colon}{rest}" if name in given else str(error)) from None


# --- what is told


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """A bar on a terminal, elsewhere a line now and then."""
    if quiet or sys.stderr is None:
        yield None
    elif sys.stderr.isatty():
        with _bar() as progress:
            yield progress
    else:
        yield _log()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = BarColumn(bar_width=None), TextColumn("{task.fields[told]}", markup=False)
    with Bars(*columns, console=Console(stderr=True), transient=True, expand=True) as bars:
        task = bars.add_task("", total=None, told="planning")

        def progress(done: int, total: int, rate: float, remaining: float | None) -> None:
            parts = [f"{done / total:4.0%}", *_parts(done, total, rate, remaining)]
            bars.update(task, completed=done, total=total, told="  ".join(parts))

        yield progress


def _log() -> Progress:
    last = time.monotonic()

    def progress(done: int, total: int, rate: float, remaining: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LOG or done == total:
            return
        last = now
        click.echo(", ".join(_parts(done, total, rate, remaining)), err=True)

    return progress


def _parts(done: int, total: int, rate: float, remaining: float | None) -> list[str]:
    """``12 of 256 tiles``, ``3.2 Mpx/s``, ``1:20 left``, as far as known."""
    left = "" if remaining is None else f"{_duration(remaining)} left"
    return [part for part in (f"{done:,} of {total:,} tiles", _rate(rate), left) if part]


def _summary(done: Result, out: str, rate: float, notes: tuple[str, ...]) -> Iterator[str]:
    """What was done, how fast, and what there is to know about it."""
    parts = [f"{done.done:,} tile{'s' * (done.done != 1)} in {_duration(done.seconds)}"]
    if rate:
        parts.append(_rate(rate))
    if done.skipped:
        parts.append(f"{done.skipped:,} done before")
    if done.again:
        parts.append(f"{done.again:,} of them again, which were found damaged")
    yield f"{f'{out}: ' if not done.failed else ''}{', '.join(parts)}"
    if done.nans:
        told = (
            "value of the image is NaN, and was"
            if done.nans == 1
            else "values of the image are NaN, and were"
        )
        yield f"{done.nans:,} {told} passed on"
    if done.plan.error is not None:
        from eyeshot.views.tiles import error_text

        yield f"approximate: the error was estimated to be {error_text(done.plan.error)}"
    for note in (*done.plan.notes, *notes):
        yield f"note: {note}"


def _failures(done: Result) -> Iterator[str]:
    """A line for each of the first, with its place and cause."""
    for failure in done.failed[:MAX_FAILED]:
        read = ",".join(f"{s.start}:{s.stop}" for s in failure.read if s.stop is not None)
        item = f" of {','.join(map(str, failure.item))}" if failure.item else ""
        yield f"tile {failure.index}{item} at [{read}]: {failure.cause}"
    more = len(done.failed) - MAX_FAILED
    if more > 0:
        yield f"and {more:,} more"


def _rate(rate: float) -> str:
    """Input positions per second: ``12.3 Mpx/s``."""
    for unit, size in (("Gpx", 1e9), ("Mpx", 1e6), ("kpx", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}/s"
    return f"{rate:.3g} px/s" if rate > 0 and math.isfinite(rate) else ""


def _duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``2:05``, ``1:02:05``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""``erf``: effective receptive fields."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import eyeshot
from eyeshot.cli.shared import (
    Source,
    axes_option,
    dpi_option,
    escaped,
    input_option,
    parsed_axes,
    parsed_input,
    parsed_unit,
    theme_option,
    train_option,
    write,
    write_array,
)
from eyeshot.errors import EyeshotError
from eyeshot.views.pictures.save import SUFFIXES as PICTURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from eyeshot.analysis.erf import Erf

    Progress = Callable[[int, int], None]

__all__ = ["erf"]

SUFFIXES = (".json", ".npy", ".txt", *PICTURES)


@click.command()
@click.argument("sources", nargs=-1, required=True, type=Source(), metavar="SOURCE...")
@input_option(
    "Input size, of all sources: 3x224x224 (channels, then axes), or NAME=SHAPE for each of several "
    "inputs. Default: each one's own."
)
@axes_option
@click.option(
    "-l",
    "--layer",
    metavar="LAYER",
    help="The unit's layer. Default: the output, or the last one with units along the axes of the input.",
)
@click.option("--at", metavar="INDEX", help="The unit: 3,3. Default: the one in the middle.")
@click.option(
    "-p",
    "--protocol",
    type=click.Choice(["mass", "mean-abs", "positive"]),
    help="The architecture alone, or gradients: their absolute values, or the positive ones. Default: mass, "
    "with --data mean-abs.",
)
@click.option(
    "--data",
    metavar="PATH",
    help="A folder of images, an .npy or .npz file, or random, to take gradients on.",
)
@click.option("-n", "--samples", type=click.IntRange(min=1), metavar="N", help="At most N images.")
@click.option("--channels", metavar="LIST", help="Channels of the unit: 0,5. Default: all.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="N images at a time.")
@click.option("--device", metavar="NAME", help="Where the module runs: cpu or cuda.")
@click.option("--full", is_flag=True, help="Run whole images where the field's crop would do.")
@click.option("--weights", metavar="FILE", help="A file with the module's weights.")
@click.option("--resize", is_flag=True, help="Bring images to the input's size.")
@click.option(
    "--mean", metavar="LIST", help="Taken off the images, per channel: 0.485,0.456,0.406."
)
@click.option("--std", metavar="LIST", help="What they are then divided by: 0.229,0.224,0.225.")
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**31 - 1),
    default=0,
    metavar="N",
    help="Of random images.",
)
@theme_option
@dpi_option
@train_option
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the figures.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    help="Write a picture (.png, .svg, .pdf), the map (.npy) or the figures (.json, .txt).",
)
def erf(
    sources: tuple[str, ...],
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    layer: str | None,
    at: str | None,
    protocol: str | None,
    data: str | None,
    samples: int | None,
    channels: str | None,
    batch: int | None,
    device: str | None,
    full: bool,
    weights: str | None,
    resize: bool,
    mean: str | None,
    std: str | None,
    seed: int,
    theme: str,
    dpi: float,
    train: bool,
    form: str,
    output: str | None,
) -> None:
    """Print how much of the input really counts for one unit of each SOURCE.

    Of the architecture alone, for every SOURCE that eyeshot show takes, or with --data by the gradients of a
    PyTorch module: torchvision:NAME, timm:NAME, hf:CONFIG.json or package.module:factory. Several are shown
    side by side. Ctrl-C ends the gradients with the images done so far.

    \b
    side          of the smallest square about the unit's centre with this share of the contribution
    spread        standard deviation, in pixels
    half maximum  full width at half maximum
    effective     what counts for more than 4.55 % of the maximum

    \b
    eyeshot erf example:resnet50 --layer layer3.5.add
    eyeshot erf torchvision:resnet18 torchvision:vgg16 --input 3x224x224
    eyeshot erf my.package:model --weights best.pt --data photos --samples 50 -o erf.png
    """
    suffix = Path(output).suffix.lower() if output is not None else ""
    if output is not None and suffix not in SUFFIXES:
        raise EyeshotError(f"--output {output}: expected a name that ends in {', '.join(SUFFIXES)}")
    if suffix == ".npy" and len(sources) > 1:
        raise EyeshotError(f"--output {output}: takes the map of one SOURCE")
    call: dict[str, Any] = {
        "layer": layer,
        "at": None if at is None else parsed_unit(at),
        "data": data,
        "protocol": protocol,
        "samples": samples,
        "channels": _numbers("--channels", channels, int),
        "batch": batch,
        "device": device,
        "crop": not full,
        "weights": weights,
        "resize": resize,
        "mean": _numbers("--mean", mean, float),
        "std": _numbers("--std", std, float),
        "seed": seed,
        "axes": parsed_axes(axes),
        "training": train,
    }
    shape = parsed_input(inputs)
    found: list[Erf] = []
    stopped = ""
    with _progress() as begin:
        for source in sources:
            try:
                found.append(eyeshot.erf(source, shape, progress=begin(source), **call))
            except KeyboardInterrupt:
                if not found:
                    raise
                stopped = f"{source} is left out"
                break
            if found[-1].interrupted:
                count = found[-1].samples
                stopped = f"{source} is over {count} image{'s' * (count != 1)}"
                break
    if output is None:
        write(_json(found) if form == "json" else _table(found))
    else:
        _save(found, output, suffix, theme, dpi)
    if stopped:
        click.echo(f"eyeshot: interrupted: {escaped(stopped)}", err=True)
        sys.exit(130)


def _numbers(option: str, text: str | None, kind: Callable[[str], float]) -> tuple[Any, ...] | None:
    """``0,5``, or ``0.5,0.5,0.5``."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        what = "whole numbers such as 0,5" if kind is int else "numbers such as 0.5,0.5,0.5"
        raise EyeshotError(f"{option} {text}: expected {what}") from None


@contextmanager
def _progress() -> Iterator[Callable[[str], Progress | None]]:
    """What makes a source's progress function; on a terminal each has a bar once its images begin."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda source: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:

        def begin(source: str) -> Progress:
            tasks: list[Any] = []

            def progress(done: int, total: int) -> None:
                if not tasks:
                    tasks.append(bars.add_task(escaped(source), total=None))
                bars.update(tasks[0], completed=done, total=total)

            return progress

        yield begin


def _save(found: list[Erf], output: str, suffix: str, theme: str, dpi: float) -> None:
    if suffix == ".json":
        write(_json(found), output)
    elif suffix == ".txt":
        from eyeshot.views.effective import to_text

        write(to_text(found), output)
    elif suffix == ".npy":
        write_array(found[0].map, output)
    else:
        from eyeshot.views import pictures

        pictures.save_erf(found, output, theme=theme, dpi=dpi)


def _json(found: list[Erf]) -> str:
    """Of one source its object, of several a list."""
    content = [one.to_dict() for one in found]
    return json.dumps(content if len(content) > 1 else content[0], indent=1, allow_nan=False)


def _table(found: list[Erf]) -> str:
    from rich.console import Console

    from eyeshot.views.effective import to_text
    from eyeshot.views.terminal import painter

    console = Console(highlight=False)
    # A pipe has no width, so that nothing is folded there.
    wide = not console.is_terminal and "COLUMNS" not in os.environ
    return to_text(found, None if wide else console.width, painter(console))

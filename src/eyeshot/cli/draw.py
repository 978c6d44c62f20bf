"""``draw``: the pictures of a network."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

import eyeshot
from eyeshot.cli.shared import (
    Source,
    axes_option,
    dpi_option,
    input_option,
    parsed_axes,
    parsed_input,
    parsed_unit,
    theme_option,
    train_option,
)
from eyeshot.errors import EyeshotError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

Command = TypeVar("Command", bound=Callable[..., Any])
ARTICLE = "example:five-by-five"
#: Inches along one side of a picture.
LARGEST = 100.0

source_or_article = click.argument("source", type=Source(), default=ARTICLE)


def options(command: Command) -> Command:
    """What every picture takes: the input, and the file with its looks."""
    for add in reversed(
        (
            input_option("Input size, as for show: 3x224x224, 227, NAME=SHAPE, DIM=SIZE."),
            axes_option,
            train_option,
            click.option(
                "-o",
                "--output",
                required=True,
                metavar="FILE",
                type=click.Path(),
                help="The picture: .png, .svg or .pdf.",
            ),
            theme_option,
            dpi_option,
            click.option(
                "--size",
                metavar="WxH",
                help="Width and height in inches: 6.3x4. Default: what the picture needs, at most a page.",
            ),
        )
    ):
        command = add(command)
    return command


def layer_option(text: str, **more: Any) -> Callable[[Command], Command]:
    return click.option("-l", "--layer", metavar="NAME", help=text, **more)


@click.group()
def draw() -> None:
    """Draw a network: its maps, where its units look, how its field grows.

    Every picture is written to the FILE of -o as PNG, SVG or PDF. walk, field and maps are the article's
    pictures, of maps small enough to be drawn cell by cell; without a SOURCE they are of the article's network.

    \b
    eyeshot draw walk -o walk.svg
    eyeshot draw field net.yaml --input 1x12x12 --layer conv3 --at 2,2 -o field.png
    eyeshot draw maps -o maps.pdf --theme dark
    eyeshot draw centres torchvision:resnet50 --layer layer3 --image cat.jpg -o centres.png
    eyeshot draw growth torchvision:resnet50 example:vgg16 --log -o growth.svg
    """


@draw.command()
@source_or_article
@layer_option("The layer that walks. Default: the first with a map.")
@click.option("--of", metavar="LAYER", help="The layer that is walked over. Default: the input.")
@click.option(
    "--at",
    multiple=True,
    metavar="I,J",
    help="A unit to draw; several may be given. Default: all of up to 9, or the first three of three rows.",
)
@options
def walk(source: str, layer: str | None, of: str | None, at: tuple[str, ...], **given: Any) -> None:
    """Draw a layer's window walking over its input.

    One panel a step: the padded input with the window, and the map that comes of it.

    SOURCE as for show; by default the article's network, two layers of k3 s2 p1 on 5x5.
    """
    steps = [parsed_unit(one) for one in at] or None
    _write(
        [source],
        given,
        lambda pictures, reports, ax: pictures.walk(
            reports[0], layer, steps, of=of, ax=ax, theme=given["theme"]
        ),
    )


@draw.command()
@source_or_article
@layer_option("The unit's layer. Default: the last with a map.")
@click.option("--at", metavar="I,J", help="The unit. Default: the one in the middle, n // 2.")
@click.option(
    "--through",
    multiple=True,
    metavar="LAYER",
    help="A layer between to show; several may be given. Default: up to three whose maps differ.",
)
@options
def field(
    source: str, layer: str | None, at: str | None, through: tuple[str, ...], **given: Any
) -> None:
    """Draw what one unit reads, layer by layer.

    One plane a layer, from the unit down to the padded input, each where it lies over the input.

    SOURCE as for show; by default the article's network, two layers of k3 s2 p1 on 5x5.
    """
    index = None if at is None else parsed_unit(at)
    _write(
        [source],
        given,
        lambda pictures, reports, ax: pictures.field(
            reports[0], layer, index, through or None, ax=ax, theme=given["theme"]
        ),
    )


@draw.command()
@source_or_article
@layer_option(
    "A layer to draw; several may be given. Default: up to four whose maps differ.", multiple=True
)
@options
def maps(source: str, layer: tuple[str, ...], **given: Any) -> None:
    """Draw feature maps, packed and at full size.

    On the left as usual, on the right every unit at the centre of its field, over the input.

    SOURCE as for show; by default the article's network, two layers of k3 s2 p1 on 5x5.
    """
    _write(
        [source],
        given,
        lambda pictures, reports, ax: pictures.maps(
            reports[0], layer or None, theme=given["theme"]
        )[0, 0],
    )


@draw.command()
@click.argument("source", type=Source())
@layer_option("The layer whose units are drawn.", required=True)
@click.option(
    "--image",
    metavar="FILE",
    type=click.Path(),
    help="An image to lie beneath, scaled and cropped to the input's proportions.",
)
@click.option("--stretch", is_flag=True, help="Scale the image's sides to the input's, uncropped.")
@options
def centres(source: str, layer: str, image: str | None, stretch: bool, **given: Any) -> None:
    """Draw where all units of a layer look.

    Dots are the centres of their fields, on an image or an empty frame; the box is what the first unit reads.
    SOURCE as for show.
    """
    if stretch and image is None:
        raise click.UsageError("--stretch goes with --image")
    _write(
        [source],
        given,
        lambda pictures, reports, ax: pictures.centres(
            reports[0], layer, image, stretch=stretch, ax=ax, theme=given["theme"]
        ),
    )


@draw.command()
@click.argument("source", type=Source(), nargs=-1, required=True)
@click.option("-l", "--layers", metavar="GLOB", help="Only layers with such names: 'layer4.*'.")
@click.option(
    "-d",
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Fold modules below level N into what comes out of them, as show does.",
)
@click.option(
    "--each", is_flag=True, help="A line for each axis. Default: the largest of the axes."
)
@click.option("--log", is_flag=True, help="Sizes on a logarithmic scale.")
@click.option(
    "--label",
    multiple=True,
    metavar="TEXT",
    help="A name in the legend, one for each SOURCE in turn. Default: the networks' own.",
)
@options
def growth(
    source: tuple[str, ...],
    layers: str | None,
    depth: int | None,
    each: bool,
    log: bool,
    label: tuple[str, ...],
    **given: Any,
) -> None:
    """Draw the field's growth from layer to layer.

    One line for every SOURCE, which are as for show; the input's size is a line too.
    """
    if label and len(label) != len(source):
        raise click.UsageError(f"--label: {len(source)} are wanted, one for each SOURCE")

    def drawn(pictures: Any, reports: list[eyeshot.Report], ax: Axes | None) -> Axes:
        from eyeshot.views.table import select

        chosen = None
        if layers is not None or depth is not None:
            chosen = [select(report, layers, depth) for report in reports]
            for name, found in zip(source, chosen, strict=True):
                if not found:
                    raise EyeshotError(f"--layers {layers}: no layer of {name} has such a name")
        made: Axes = pictures.growth(
            *reports,
            labels=label or None,
            layers=chosen,
            axis="each" if each else "max",
            scale="log" if log else "linear",
            ax=ax,
            theme=given["theme"],
        )
        return made

    _write(list(source), given, drawn)


def _write(sources: list[str], given: dict[str, Any], drawn: Callable[..., Axes]) -> None:
    """Analyse the sources, draw, and write the file; what can be wrong is looked at first."""
    from eyeshot.views import pictures
    from eyeshot.views.pictures import save as write
    from eyeshot.views.pictures import style
    from eyeshot.views.pictures.save import check

    output, size = given["output"], _size(given["size"])
    check(output)
    ax = style.axes(None, style.theme(given["theme"]), size) if size else None
    reports = [
        eyeshot.analyze(
            source,
            parsed_input(given["inputs"]),
            axes=parsed_axes(given["axes"]),
            training=given["train"],
        )
        for source in sources
    ]
    try:
        made = drawn(pictures, reports, ax)
    except IndexError as error:
        raise EyeshotError(str(error)) from None
    if size:
        figure: Any = made.get_figure(root=True)
        figure.set_size_inches(size)
    write(made, output, given["dpi"])


def _size(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)[x×](\d{1,3}(?:\.\d{1,6})?)", text)
    size = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not all(0.5 <= n <= LARGEST for n in size):
        raise EyeshotError(
            f"--size {text}: expected width x height in inches, such as 6.3x4, of 0.5 to {LARGEST:.0f}"
        )
    return size

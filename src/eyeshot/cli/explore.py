"""``explore``: the live page."""

from __future__ import annotations

import math

import click

from eyeshot.cli.shared import (
    Source,
    axes_option,
    input_option,
    parsed_axes,
    parsed_input,
    train_option,
    write,
)
from eyeshot.errors import EyeshotError

__all__ = ["explore"]


@click.command()
@click.argument("source", type=Source(), required=False)
@input_option("Input size, as for eyeshot show.")
@axes_option
@train_option
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=1e12),
    metavar="HZ",
    help="Samples a second, where an axis is time.",
)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(min=0, max=65535),
    metavar="N",
    help="Port to listen on; 0 for any free one.  [default: 8462, or a free one]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; one that other machines reach needs --public too.",
)
@click.option(
    "--public", is_flag=True, help="Let others reach it: whoever can connect can use the page."
)
@click.option("--open/--no-browser", "browse", default=True, help="Whether to open the browser.")
def explore(
    source: str | None,
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    train: bool,
    rate: float | None,
    port: int | None,
    host: str,
    public: bool,
    browse: bool,
) -> None:
    """Look at networks in the browser, live: edit one and watch its fields move.

    SOURCE is what eyeshot show takes; without it the page begins with the article's example. Prints the
    address; Ctrl-C ends it.

    \b
    eyeshot explore
    eyeshot explore net.yaml
    eyeshot explore torchvision:resnet50 --input 3x224x224
    """
    from eyeshot.explore.guard import is_loopback
    from eyeshot.explore.serve import need, serve
    from eyeshot.explore.settings import Given

    need()
    if rate is not None and math.isnan(rate):
        raise EyeshotError("--rate nan: expected samples a second, such as 16000")
    given = None
    if source is None:
        for name, value in (
            ("--input", inputs),
            ("--axes", axes),
            ("--train", train),
            ("--rate", rate),
        ):
            if value:
                raise EyeshotError(f"{name}: there is no SOURCE that it could be for")
    else:
        given = Given(source, parsed_input(inputs), parsed_axes(axes), train, rate)
    if not is_loopback(host):
        if not public:
            raise EyeshotError(
                f"--host {host}: others could reach it; add --public if that is what you want"
            )
        click.echo(
            "eyeshot: warning: whoever can connect can use the page and this machine's time",
            err=True,
        )
    serve(given, host=host, port=port, browse=browse, say=write)

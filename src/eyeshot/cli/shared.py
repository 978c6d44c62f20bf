"""What commands share: kinds of arguments, common options, and writing what is whole or not there."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eyeshot.errors import EyeshotError
from eyeshot.files import replace

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem
    from numpy.typing import NDArray

__all__ = [
    "Example",
    "Source",
    "as_json",
    "axes_option",
    "config_options",
    "dpi_option",
    "escaped",
    "input_option",
    "parsed_axes",
    "parsed_index",
    "parsed_input",
    "parsed_unit",
    "settings_of",
    "theme_option",
    "train_option",
    "write",
    "write_array",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Source(click.ParamType):
    name = "source"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from eyeshot.examples import names

        # The zoos' own names would take seconds to load.
        bundled = [*(f"example:{name}" for name in names()), "torchvision:", "timm:", "hf:"]
        items = [CompletionItem(name) for name in bundled if name.startswith(incomplete)]
        # A shell completes either words or files.
        return items if incomplete and items else [CompletionItem(incomplete, type="file")]


class Example(click.ParamType):
    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from eyeshot.examples import names

        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


def input_option(text: str) -> Callable[[_Command], _Command]:
    """``--input``, which means a little else for every command."""
    return click.option("-i", "--input", "inputs", multiple=True, metavar="SHAPE", help=text)


axes_option = click.option(
    "-a",
    "--axes",
    "axes",
    multiple=True,
    metavar="DIMS",
    help="Dims of a module's or ONNX model's input that fields run along: 2,3, or NAME=DIMS for each of "
    "several inputs. Default: all but batch and channel, for integers all but batch.",
)


train_option = click.option("--train", is_flag=True, help="Run a PyTorch module in training mode.")


def config_options(command: _Command) -> _Command:
    """``--config`` and ``--no-config``."""
    none = click.option("--no-config", is_flag=True, help="No settings but the options.")
    file = click.option(
        "--config",
        metavar="FILE",
        type=click.Path(),
        help="Settings: the table [tool.eyeshot] of FILE. Default: of the nearest pyproject.toml.",
    )
    return file(none(command))


def settings_of(source: str, config: str | None, no_config: bool) -> dict[str, Any]:
    """What the project says of a source, as :func:`eyeshot.settings.find` gives it."""
    if config is not None and no_config:
        raise EyeshotError("--config: there is --no-config as well")
    from eyeshot.settings import find

    return {} if no_config else find(source, config)


theme_option = click.option(
    "--theme",
    type=click.Choice(["light", "dark"]),
    default="light",
    show_default=True,
    help="Colours of a picture, for a light or a dark page.",
)
dpi_option = click.option(
    "--dpi",
    type=click.FloatRange(min=1, max=2400),
    default=200,
    show_default=True,
    metavar="N",
    help="Pixels per inch of a PNG.",
)


def parsed_input(values: tuple[str, ...]) -> Any:
    """``3x224x224``, or several ``name=3x64x64``."""
    if not values:
        return None
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    named: dict[str, str] = {}
    for value in values:
        name, equals, shape = value.rpartition("=")
        if not equals:
            raise EyeshotError(f"--input {value}: with several inputs write NAME={value}")
        if name in named:
            raise EyeshotError(f"--input {value}: {name!r} is given twice")
        named[name] = shape
    return named


def parsed_axes(values: tuple[str, ...]) -> Any:
    """``2,3``, or several ``name=2,3``."""
    named: dict[str, tuple[int, ...]] = {}
    for value in values:
        name, equals, dims = value.rpartition("=")
        if not re.fullmatch(r"-?\d{1,9}(,-?\d{1,9})*", dims.strip()):
            raise EyeshotError(f"--axes {value}: expected dims of the input, such as 2,3")
        numbers = tuple(int(n) for n in dims.split(","))
        if not equals:
            if len(values) > 1:
                raise EyeshotError(f"--axes {value}: with several inputs write NAME={value}")
            return numbers
        if name in named:
            raise EyeshotError(f"--axes {value}: {name!r} is given twice")
        named[name] = numbers
    return named or None


def parsed_index(text: str) -> tuple[int | slice, ...]:
    """``3,3``, or ``0:4,2``, a box of units."""
    out: list[int | slice] = []
    if not text.strip():
        return ()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,15})?(?:(:)(\d{1,15})?)?\s*", part)
        if match is None or (match[1] is None and match[2] is None):
            raise EyeshotError(f"--at {text}: expected an index such as 3,3")
        low, colon, high = match.groups()
        if colon is None:
            out.append(int(low))
        else:
            out.append(slice(int(low or 0), None if high is None else int(high)))
    return tuple(out)


def parsed_unit(text: str) -> tuple[int, ...]:
    """``3,3``: one unit."""
    index = parsed_index(text)
    if any(isinstance(i, slice) for i in index):
        raise EyeshotError(f"--at {text}: expected one unit, such as 3,3")
    return tuple(i for i in index if isinstance(i, int))


def as_json(content: Any) -> str:
    """JSON text to read, without what a terminal would take for an order."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(
        r"[^ -~\n]+", lambda found: found[0] if found[0].isprintable() else escaped(found[0]), text
    )


def write(text: str, output: str | None = None) -> None:
    """To stdout, or to a file that is either whole or not there."""
    if not text.endswith("\n"):
        text += "\n"
    if output is None:
        _print(text)
        return
    replace(output, text.encode("utf-8", errors="replace"))


def write_array(array: NDArray[Any], output: str) -> None:
    """To an ``.npy`` file that is either whole or not there."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array)
    replace(output, buffer.getvalue())


def _print(text: str) -> None:
    stream = sys.stdout
    if stream is None:  # closed by the caller
        return
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The reader (`head`, a closed pager) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise EyeshotError(f"stdout: {error.strerror or error}") from None


def escaped(text: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)

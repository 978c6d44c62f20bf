"""The command line. Exit codes: 0 done, 1 ``--strict`` found a bound, 2 the input is unusable."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import eyeshot
from eyeshot.errors import EyeshotError, StrictError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["main"]

FORMATS = ("table", "json", "csv", "markdown")


class _Commands(click.Group):
    """Turns errors into one line on stderr and the documented exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            return super().main(*args, **kwargs)
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except click.Abort:
            _fail("interrupted", 130)
        except click.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(2)
        except click.UsageError as error:
            where = f"{error.ctx.command_path}: " if error.ctx else ""
            _fail(f"{where}{error.format_message()}", 2)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except StrictError as error:
            _fail(str(error), 1)
        except EyeshotError as error:
            _fail(str(error), 2)
        except BrokenPipeError:
            # The reader (`head`, a closed pager) has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    line = " ".join(message.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if len(line) > 500:
        line = f"{line[:497]}..."
    click.echo(f"eyeshot: {line}", err=True)
    sys.exit(code)


class _Source(click.ParamType):
    name = "source"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from eyeshot.examples import names

        # A shell splits words at colons, and then completes what follows the last one.
        bundled = [f"example:{name}" for name in names()]
        items = [CompletionItem(name) for name in bundled if name.startswith(incomplete)]
        return [*items, CompletionItem(incomplete, type="file")]


class _Example(click.ParamType):
    name = "name"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from eyeshot.examples import names

        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


def _inputs(values: tuple[str, ...]) -> Any:
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


def _write(text: str, output: str | None) -> None:
    """To stdout, or to a file that is either whole or not there."""
    if not text.endswith("\n"):
        text += "\n"
    if output is None:
        stream = sys.stdout
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
        stream.write(text)
        stream.flush()
        return
    target = Path(output)
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")  # a device or a pipe
            return
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise EyeshotError(f"{output}: {error.strerror or error}") from None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Shell completion: eyeshot completion bash|zsh|fish.",
)
@click.version_option(eyeshot.__version__, "-V", "--version", message="eyeshot %(version)s")
def main() -> None:
    """Which part of the input does each unit of a neural network read? Exactly."""


@main.command()
@click.argument("source", type=_Source())
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="SHAPE",
    help="Input size: 3x224x224 (channels, then axes), 227 for one axis, or NAME=SHAPE for each of "
    "several inputs. Default: the spec's own.",
)
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
    help="Fold layers whose names share their first N dotted parts into what comes out of them.",
)
@click.option("--of", metavar="LAYER", help="Fields relative to this layer's units, not the input.")
@click.option("--strict", is_flag=True, help="Exit with 1 where an operator can only be bounded.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write to FILE.")
def show(
    source: str,
    inputs: tuple[str, ...],
    form: str,
    layers: str | None,
    depth: int | None,
    of: str | None,
    strict: bool,
    output: str | None,
) -> None:
    """Print what every layer of SOURCE reads of the input.

    SOURCE is a spec (.yaml, .yml, .json, .toml) or example:NAME (see eyeshot examples).

    \b
    n        output size             jump     distance of neighbouring units, in input pixels
    size     receptive field         start    centre of the first unit (pixel k covers [k, k+1])
    padding  how far the first unit's field begins before the input

    \b
    eyeshot show example:alexnet
    eyeshot show net.yaml --input 3x512x512 --layers 'decoder.*'
    eyeshot show net.yaml --format json -o report.json
    """
    report = eyeshot.analyze(source, _inputs(inputs), of=of, strict=strict)
    from eyeshot.views import table

    chosen = list(table.select(report, layers, depth))
    if not chosen:
        raise EyeshotError(f"--layers {layers}: no layer has such a name")
    if form == "table" and output is None:
        _table(report, chosen, depth)
        return
    _write(_render(report, chosen, form, depth), output)


def _table(report: eyeshot.Report, chosen: list[eyeshot.Layer], depth: int | None) -> None:
    from rich.console import Console

    from eyeshot.views.terminal import NARROWEST, show

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # A pipe has no width: take what the longest names need, so that nothing is folded.
        longest = max(len(layer.name) + len(layer.op) for layer in chosen)
        console.width = max(NARROWEST, longest + 60)
    show(report, chosen, console, depth)


def _render(
    report: eyeshot.Report, chosen: list[eyeshot.Layer], form: str, depth: int | None
) -> str:
    from eyeshot.views import export

    if form == "json":
        import json

        content = report.to_dict()
        names = {layer.name for layer in chosen}
        content["layers"] = [layer for layer in content["layers"] if layer["name"] in names]
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    if form == "csv":
        return export.to_csv(report, chosen)
    if form == "markdown":
        return export.to_markdown(report, chosen, depth)
    from io import StringIO

    from rich.console import Console

    from eyeshot.views.terminal import NARROWEST
    from eyeshot.views.terminal import show as show_table

    out = StringIO()
    longest = max(len(layer.name) + len(layer.op) for layer in chosen)
    width = max(NARROWEST, longest + 60)
    show_table(report, chosen, Console(file=out, width=width, color_system=None), depth)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


@main.command()
@click.argument("name", required=False, type=_Example())
@click.option("--operators", is_flag=True, help="List the operators of the spec language instead.")
def examples(name: str | None, operators: bool) -> None:
    """List the bundled specs, or print the spec NAME."""
    from eyeshot import examples as bundled

    if operators:
        from eyeshot.frontends.spec.operators import names

        click.echo("\n".join(names()))
    elif name is not None:
        click.echo(
            bundled.path(name.removeprefix("example:")).read_text(encoding="utf-8"), nl=False
        )
    else:
        from eyeshot.frontends.spec import load

        width = max(map(len, bundled.names()))
        for each in bundled.names():
            click.echo(f"{each:{width}}  {load(bundled.path(each)).get('name', '')}".rstrip())


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: eval "$(eyeshot completion bash)"     in ~/.bashrc
    zsh:  eval "$(eyeshot completion zsh)"      in ~/.zshrc
    fish: eyeshot completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "eyeshot", "_EYESHOT_COMPLETE").source())


if __name__ == "__main__":
    main()

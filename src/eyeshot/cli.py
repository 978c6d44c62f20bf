"""The command line. Exit codes: 0 done, 1 ``--strict`` or ``verify`` found something, 2 the input is no use."""

from __future__ import annotations

import json
import os
import re
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
        if "_EYESHOT_COMPLETE" in os.environ:
            _complete_colons()
        try:
            return super().main(*args, **kwargs)
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except click.Abort:
            _fail("interrupted", 130)
        except click.UsageError as error:
            command = error.ctx.info_name if error.ctx and error.ctx.parent else None
            where = f"{command}: " if command else ""
            _fail(f"{where}{error.format_message()}", 2)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except StrictError as error:
            _fail(str(error), 1)
        except EyeshotError as error:
            _fail(str(error), 2)
        except MemoryError:
            _fail("not enough memory", 2)


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

        # The zoos' own names would take seconds to load.
        bundled = [*(f"example:{name}" for name in names()), "torchvision:", "timm:", "hf:"]
        items = [CompletionItem(name) for name in bundled if name.startswith(incomplete)]
        # A shell completes either words or files.
        return items if incomplete and items else [CompletionItem(incomplete, type="file")]


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


def _axes(values: tuple[str, ...]) -> Any:
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


def _write(text: str, output: str | None = None) -> None:
    """To stdout, or to a file that is either whole or not there."""
    if not text.endswith("\n"):
        text += "\n"
    if output is None:
        _print(text)
        return
    if not output:
        raise EyeshotError("--output: no file name")
    target = Path(output)
    try:
        if target.exists() and not target.is_file():
            with target.open("w", encoding="utf-8", errors="replace") as file:  # a device, a pipe
                file.write(text)
            return
        target = target.resolve()  # a link stays one
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
        try:
            with open(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            mask = os.umask(0)
            os.umask(mask)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~mask
            os.chmod(name, mode)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise EyeshotError(f"{output}: {error.strerror or error}") from None


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


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Shell completion: eyeshot completion bash|zsh|fish.",
    invoke_without_command=True,
)
@click.version_option(eyeshot.__version__, "-V", "--version", message="eyeshot %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Which part of the input does each unit of a neural network read? Exactly."""
    if ctx.invoked_subcommand is None:
        _write(ctx.get_help())


_axes_option = click.option(
    "-a",
    "--axes",
    "axes",
    multiple=True,
    metavar="DIMS",
    help="Dims of a module's or ONNX model's input that fields run along: 2,3, or NAME=DIMS for each of "
    "several inputs. Default: all but batch and channel, for integers all but batch.",
)


@main.command()
@click.argument("source", type=_Source())
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="SHAPE",
    help="Input size: 3x224x224 (channels, then axes), 227 for every axis, or NAME=SHAPE for each of "
    "several inputs; for an ONNX file also DIM=SIZE for each dim that it only names, and ? for a size that it "
    "has. Default: the spec's or the model's own.",
)
@_axes_option
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
@click.option("--train", is_flag=True, help="Run a PyTorch module in training mode.")
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
        source, _inputs(inputs), axes=_axes(axes), training=train, of=of, strict=strict
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
    _write(text, output)


def _json(report: eyeshot.Report, chosen: list[eyeshot.Layer]) -> str:
    content = report.to_dict()
    if [layer.name for layer in chosen] != [layer.name for layer in report]:
        content["layers"] = [layer.to_dict() for layer in chosen]
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    # What JSON may hold as it is, and a terminal would take for an order.
    return re.sub(
        r"[^ -~\n]+", lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text
    )


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


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


@main.command()
@click.argument("source", type=_Source())
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="SHAPE",
    help="Input size: 3x224x224 (channels, then axes), or NAME=SHAPE for each of several inputs. "
    "Default: the model's own.",
)
@_axes_option
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
    call: dict[str, Any] = {"axes": _axes(axes), "training": train, "layers": layers}
    shape = _inputs(inputs)
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
        _write(json.dumps(result.to_dict(), indent=1))
    else:
        lines = str(result).splitlines()
        _write("\n".join(_escaped(line) for line in lines))
    if not result.ok:
        sys.exit(1)


@main.command()
@click.argument("name", required=False, type=_Example())
@click.option("--operators", is_flag=True, help="List the operators of the spec language instead.")
def examples(name: str | None, operators: bool) -> None:
    """List the bundled specs, or print the spec NAME."""
    from eyeshot import examples as bundled

    if operators and name is not None:
        raise click.UsageError("give either NAME or --operators")
    if operators:
        from eyeshot.frontends.spec.operators import names

        _write("\n".join(names()))
    elif name is not None:
        _write(bundled.path(name.removeprefix("example:")).read_text(encoding="utf-8"))
    else:
        from eyeshot.frontends.spec import load

        width = max(map(len, bundled.names()))
        titles = {each: load(bundled.path(each)).get("name", "") for each in bundled.names()}
        _write("\n".join(f"{each:{width}}  {title}" for each, title in titles.items()))


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

    _complete_colons()
    kind = get_completion_class(shell)
    assert kind is not None
    _write(kind(main, {}, "eyeshot", "_EYESHOT_COMPLETE").source())


def _complete_colons() -> None:
    """Teach click that bash splits words at colons, and wants what follows the last one."""
    from click.shell_completion import BashComplete, add_completion_class

    class Bash(BashComplete):
        cut = 0

        def get_completion_args(self) -> tuple[list[str], str]:
            args, incomplete = super().get_completion_args()
            words = [*args, incomplete]
            while len(words) > 1 and (words[-1].startswith(":") or words[-2].endswith(":")):
                last = words.pop()
                words[-1] += last
                self.cut = words[-1].rfind(":") + 1
            return words[:-1], words[-1]

        def format_completion(self, item: CompletionItem) -> str:
            if item.type == "plain":
                item.value = item.value[self.cut :]
            return super().format_completion(item)

    add_completion_class(Bash)


if __name__ == "__main__":
    main()

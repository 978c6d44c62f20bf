"""The commands. Exit codes: 0 done, 1 found something (``check``, ``verify``, ``--strict``), 2 bad input."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

import eyeshot
from eyeshot.cli.check import check
from eyeshot.cli.completion import complete_colons, completion
from eyeshot.cli.design import design
from eyeshot.cli.draw import draw
from eyeshot.cli.erf import erf
from eyeshot.cli.examples import examples
from eyeshot.cli.explore import explore
from eyeshot.cli.report import report
from eyeshot.cli.shared import write
from eyeshot.cli.show import show
from eyeshot.cli.stream import stream
from eyeshot.cli.tile import tile
from eyeshot.cli.unit import unit
from eyeshot.cli.verify import verify
from eyeshot.errors import EyeshotError, StrictError

__all__ = ["main"]


class Commands(click.Group):
    """Turns errors into one line on stderr and the documented exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        if "_EYESHOT_COMPLETE" in os.environ:
            complete_colons()
        try:
            return super().main(*args, **kwargs)
        except click.exceptions.Exit as done:
            sys.exit(done.exit_code)
        except click.Abort:
            fail("interrupted", 130)
        except click.UsageError as error:
            command = error.ctx.info_name if error.ctx and error.ctx.parent else None
            where = f"{command}: " if command else ""
            fail(f"{where}{error.format_message()}", 2)
        except click.ClickException as error:
            fail(error.format_message(), 2)
        except StrictError as error:
            fail(str(error), 1)
        except EyeshotError as error:
            fail(str(error), 2)
        except MemoryError:
            fail("not enough memory", 2)


def fail(message: str, code: int) -> NoReturn:
    line = " ".join(message.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    if len(line) > 500:
        line = f"{line[:497]}..."
    click.echo(f"eyeshot: {line}", err=True)
    sys.exit(code)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Shell completion: eyeshot completion bash|zsh|fish.",
    invoke_without_command=True,
)
@click.version_option(eyeshot.__version__, "-V", "--version", message="eyeshot %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Which part of the input does each unit of a neural network read? Exactly."""
    if ctx.invoked_subcommand is None:
        write(ctx.get_help())


for command in (
    show, report, explore, check, unit, erf, draw, design, tile, stream, verify, examples, completion
):  # fmt: skip
    main.add_command(command)

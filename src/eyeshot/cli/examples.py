"""``examples``: the bundled specs and the operators of the spec language."""

from __future__ import annotations

import click

from eyeshot.cli.shared import Example, write

__all__ = ["examples"]


@click.command()
@click.argument("name", required=False, type=Example())
@click.option("--operators", is_flag=True, help="List the operators of the spec language instead.")
def examples(name: str | None, operators: bool) -> None:
    """List the bundled specs, or print the spec NAME."""
    from eyeshot import examples as bundled

    if operators and name is not None:
        raise click.UsageError("give either NAME or --operators")
    if operators:
        from eyeshot.frontends.spec.operators import names

        write("\n".join(names()))
    elif name is not None:
        write(bundled.path(name.removeprefix("example:")).read_text(encoding="utf-8"))
    else:
        from eyeshot.frontends.spec import load

        width = max(map(len, bundled.names()))
        titles = {each: load(bundled.path(each)).get("name", "") for each in bundled.names()}
        write("\n".join(f"{each:{width}}  {title}" for each, title in titles.items()))

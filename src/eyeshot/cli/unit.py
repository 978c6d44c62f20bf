"""``unit``: what one unit reads, in numbers and as a picture; and which units read a part of the input."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
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
    parsed_index,
    parsed_input,
    theme_option,
    train_option,
    write,
    write_array,
)
from eyeshot.errors import EyeshotError
from eyeshot.views.pictures.save import SUFFIXES as PICTURES

if TYPE_CHECKING:
    from eyeshot.analysis.report import Layer, Report
    from eyeshot.analysis.unit import Unit

__all__ = ["unit"]

SUFFIXES = (*PICTURES, ".npy", ".json", ".txt")
SHOWN = ("box", "mask", "mass")


@click.command()
@click.argument("source", type=Source())
@input_option(
    "Input size: 3x224x224 (channels, then axes), or NAME=SHAPE for each of several inputs. "
    "Default: the spec's or the model's own."
)
@axes_option
@click.option("-l", "--layer", metavar="LAYER", help="The unit's layer.")
@click.option(
    "--at",
    metavar="INDEX",
    help="The unit, 3,3, or a box of units, 0:4,2. Default: the one in the middle.",
)
@click.option("--of", metavar="LAYER", help="What it reads of this layer, not of the input.")
@click.option(
    "--through",
    multiple=True,
    metavar="LAYERS",
    help="Also what it reads of these layers on its way, from its own on: layer3,layer2.",
)
@click.option(
    "--touched",
    multiple=True,
    metavar="BOX",
    help="The inverse: the units of every layer that read any of this part of the input, 10:20,30:40, or "
    "NAME=BOX.",
)
@click.option("--layers", metavar="GLOB", help="With --touched: only layers with such names.")
@click.option("--image", metavar="FILE", help="Draw it on this image.")
@click.option(
    "--stretch", is_flag=True, help="Stretch the image to the input, in place of a centre crop."
)
@click.option(
    "--show",
    metavar="LIST",
    default=",".join(SHOWN),
    show_default=True,
    help="What is drawn of the field.",
)
@click.option(
    "--zoom/--whole",
    default=None,
    help="Draw the field's surroundings, or all of the input. Default: all of it, except for a small field "
    "without an image.",
)
@theme_option
@dpi_option
@train_option
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the numbers.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    help="Write a picture (.png, .svg, .pdf), the mass of every pixel (.npy) or the numbers (.json, .txt).",
)
def unit(
    source: str,
    inputs: tuple[str, ...],
    axes: tuple[str, ...],
    layer: str | None,
    at: str | None,
    of: str | None,
    through: tuple[str, ...],
    touched: tuple[str, ...],
    layers: str | None,
    image: str | None,
    stretch: bool,
    show: str,
    zoom: bool | None,
    theme: str,
    dpi: float,
    train: bool,
    form: str,
    output: str | None,
) -> None:
    """Print or draw what one unit of SOURCE reads, exactly.

    SOURCE is what eyeshot show takes.

    \b
    box     [begin, end) per axis, padding included     mass   1 at the unit, spread evenly over what
    inside  the part of it inside the input                    each element reads; what falls into
    reads   elements read; holes in it are not                 padding is lost

    \b
    eyeshot unit example:resnet50 --layer layer3.5.add --at 3,3
    eyeshot unit example:resnet50 --layer layer3.5.add --image cat.jpg -o unit.png
    eyeshot unit example:unet --layer head --through dec2.up,mid.conv2 -o way.svg
    eyeshot unit example:alexnet --touched 100:120,40:60
    """
    suffix = _suffix(output)
    names = [name for each in through for name in each.split(",") if name]
    drawn = _shown(show)
    _fitting(layer, at, of, names, touched, layers, image, suffix)
    index = None if at is None else parsed_index(at)
    parts = _parts(touched)
    report = eyeshot.analyze(source, parsed_input(inputs), axes=parsed_axes(axes), training=train)
    if parts is not None:
        _inverse(report, parts, layers, form, output, suffix)
        return
    assert layer is not None
    found = report[layer]
    middle = index is None
    _inside(found, index, at)
    index = found.middle if index is None else index
    try:
        one = report.unit(layer, index, of=of)
        way = [report.unit(layer, index, of=name) for name in names]
    except IndexError as error:
        raise EyeshotError(f"--at {at}: {error}") from None
    if suffix in PICTURES:
        assert output is not None
        from eyeshot.views import pictures

        look: dict[str, Any] = {**drawn, "theme": theme, "stretch": stretch, "zoom": zoom}
        if names:
            result: Any = pictures.draw_path(report, layer, index, names, image, **look)
        else:
            result = pictures.draw_unit(one, image, **look)
        pictures.save(result[0] if isinstance(result, list) else result, output, dpi)
    elif suffix == ".npy":
        assert output is not None
        if len(one.parts) > 1:
            several = ", ".join(part.name for part in one.parts)
            raise EyeshotError(f"--output {output}: takes the mass of one input, of {several}")
        write_array(one.mass, output)
    elif suffix == ".json" or (form == "json" and not suffix):
        write(_json(one, way), output)
    else:
        write(_text(found, one, way, middle), output)


# --- what was asked for


def _suffix(output: str | None) -> str:
    if output is None:
        return ""
    suffix = Path(output).suffix.lower()
    if suffix not in SUFFIXES:
        raise EyeshotError(f"--output {output}: expected a name that ends in {', '.join(SUFFIXES)}")
    return suffix


def _fitting(
    layer: str | None,
    at: str | None,
    of: str | None,
    through: list[str],
    touched: tuple[str, ...],
    layers: str | None,
    image: str | None,
    suffix: str,
) -> None:
    """Refuses options that say nothing together."""
    if touched:
        for name, value in (("--layer", layer), ("--at", at), ("--of", of), ("--image", image)):
            if value is not None:
                raise EyeshotError(f"{name}: not with --touched, which is about every layer")
        if through:
            raise EyeshotError("--through: not with --touched, which is about every layer")
        if suffix not in ("", ".json", ".txt"):
            raise EyeshotError("--touched gives numbers: write them to a .json or .txt file")
        return
    if layer is None:
        raise EyeshotError("unit: --layer is missing, or --touched for the units of all layers")
    if layers is not None:
        raise EyeshotError("--layers: only with --touched; one unit's layer is --layer")
    if image is not None and suffix not in PICTURES:
        raise EyeshotError("--image: name the picture to write, such as -o unit.png")
    if of is not None and through:
        raise EyeshotError("--through: not with --of")
    if of is not None and image is not None:
        raise EyeshotError("--image: not with --of, where the input is not drawn")


def _shown(text: str) -> dict[str, bool]:
    names = text.split(",")
    if not set(names) <= set(SHOWN):
        raise EyeshotError(f"--show {text}: expected some of {','.join(SHOWN)}")
    return {name: name in names for name in SHOWN}


def _parts(values: tuple[str, ...]) -> Any:
    """``10:20,30:40``, or several ``name=10:20,30:40``."""
    if not values:
        return None
    named: dict[str, list[Any]] = {}
    for value in values:
        name, equals, box = value.rpartition("=")
        pairs: list[Any] = []
        for part in box.split(","):
            match = re.fullmatch(r"\s*(\d{1,15})(?::(\d{1,15}))?\s*", part)
            if match is None:
                raise EyeshotError(f"--touched {value}: expected a part such as 10:20,30:40")
            low = int(match[1])
            pairs.append((low, low + 1 if match[2] is None else int(match[2])))
        if not equals:
            if len(values) > 1:
                raise EyeshotError(f"--touched {value}: with several inputs write NAME={value}")
            return pairs
        if name in named:
            raise EyeshotError(f"--touched {value}: {name!r} is given twice")
        named[name] = pairs
    return named


def _inside(layer: Layer, index: tuple[int | slice, ...] | None, at: str | None) -> None:
    """Refuses a box of units that is empty or leaves the map."""
    for i, dim in zip(index or (), layer.unit_dims, strict=False):
        n = layer.shape[dim]
        if isinstance(i, slice) and not i.start < (n if i.stop is None else i.stop) <= n:
            raise EyeshotError(f"--at {at}: {layer.name} has units 0 to {n - 1} along dim {dim}")


# --- one unit's numbers


def _json(one: Unit, way: list[Unit]) -> str:
    content = _content(one)
    if way:
        content["through"] = [_content(each) for each in way]
    return json.dumps(content, indent=1, allow_nan=False)


def _content(one: Unit) -> dict[str, Any]:
    """The unit's own, and size, jump and centre per axis of every input."""

    content = one.to_dict()
    for entry, part in zip(content["inputs"], one.parts, strict=True):
        fields = [field for field in one._layer.fields if field.input == part.name]
        entry["size"] = [None if None in pair else pair[1] - pair[0] for pair in entry["box"]]
        entry["jump"] = [None if field.jump is None else float(field.jump) for field in fields]
        entry["centre"] = list(part.centre)
    return content


def _text(layer: Layer, one: Unit, way: list[Unit], middle: bool) -> str:
    from eyeshot.views import table

    lines = [table.header(one._report), _asked(layer, one, middle)]
    for part in one.parts:
        if len(one.parts) > 1:
            lines += ["", escaped(part.name)]
        lines += _axes(one, part)
    lines.append(f"padding  {one.share_in_padding:.4g} of the mass falls into it")
    if one.of is not None:
        lines.append(f"around   {one.elsewhere:.4g} of the mass goes around {one.of}")
    for each in way:
        inside = each.parts[0]
        extents = "×".join(str(end - begin) for begin, end in inside.clipped)
        of = "×".join(map(str, inside.shape))
        around = f", {each.elsewhere:.4g} of the mass around it" if each.elsewhere > 1e-9 else ""
        lines.append(f"through  {each.of}: {extents} of {of}, {_reads(inside)}{around}")
    if any(field.is_global for field in one._layer.fields):
        lines.append("global: the unit reads whole axes; its box is the local field's")
    if one.status == "bound":
        lines.append("bound: the field is an upper bound; eyeshot show says why")
    return "\n".join(escaped(line) for line in lines)


def _asked(layer: Layer, one: Unit, middle: bool) -> str:
    from eyeshot.views.pictures.panels import at

    extents = "×".join(str(layer.shape[dim]) for dim in layer.unit_dims)
    if not layer.unit_dims:
        return f"{layer.name}: its only unit"
    which = ", the one in the middle" if middle else ""
    return f"{layer.name} {at(one.index)} of {extents}{which}"


def _axes(one: Unit, part: Any) -> list[str]:
    """A column for each axis."""
    from eyeshot.views.table import number

    fields = [field for field in one._layer.fields if field.input == part.name]
    rows: list[tuple[str, Sequence[str]]] = [
        ("", [f"axis {axis}" for axis in part.axes]),
        ("box", [_pair(pair, number) for pair in part.box]),
        ("inside", [_pair(pair, number) for pair in part.clipped]),
        ("size", [number(end - begin) for begin, end in part.box]),
        ("jump", [number(field.jump) for field in fields]),
        ("centre", [f"{place:g}" for place in part.centre]),
    ]
    widths = [max(len(cells[k]) for _, cells in rows) for k in range(len(part.axes))]
    lines = []
    for label, cells in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append(f"{label:7}  {'   '.join(padded)}".rstrip())
    lines.insert(1, "─" * (9 + sum(widths) + 3 * (len(widths) - 1)))
    lines.append(f"reads    {_reads(part)}")
    lines.append(f"mass     {part.total:.4g}")
    return lines


def _pair(pair: tuple[Any, Any], number: Any) -> str:
    if pair[0] >= pair[1]:
        return "–"
    low, high = ("-∞" if end == -float("inf") else number(end) for end in pair)
    return f"[{low}, {high})"


def _reads(part: Any) -> str:
    inside = part.mask_in_box
    count = int(inside.sum())
    holes = inside.size - count
    missing = "no holes" if not holes else f"{holes} hole{'s' * (holes != 1)}"
    return f"{count} element{'s' * (count != 1)}, {missing}"


# --- the inverse


def _inverse(
    report: Report, parts: Any, layers: str | None, form: str, output: str | None, suffix: str
) -> None:
    from eyeshot.views import table

    found = report.touched(parts)
    names = [layer.name for layer in table.select(report, layers, None)]
    if not names:
        raise EyeshotError(f"--layers {layers}: no layer has such a name")
    rows = [found[name] for name in names if name in found]
    if suffix == ".json" or (form == "json" and not suffix):
        named = parts if isinstance(parts, dict) else {report.inputs[0]["name"]: parts}
        content = {
            "touched": {name: [list(pair) for pair in pairs] for name, pairs in named.items()},
            "layers": [
                {
                    "name": row.layer,
                    "dims": list(row.dims),
                    "shape": list(row.shape),
                    "box": [list(pair) for pair in row.box],
                    "units": len(row),
                }
                for row in rows
            ],
        }
        write(json.dumps(content, indent=1), output)
        return
    cells = [("layer", "units that read it", "of", "count")]
    for row in rows:
        units = " × ".join(f"[{begin}, {end})" for begin, end in row.box) or "the only one"
        of = "×".join(map(str, row.shape)) or "1"
        cells.append((escaped(row.layer), units, of, str(len(row))))
    widths = [max(len(row[k]) for row in cells) for k in range(4)]
    lines = [escaped(table.header(report))]
    for one in cells:
        padded = [one[k].ljust(widths[k]) for k in range(2)] + [
            one[k].rjust(widths[k]) for k in (2, 3)
        ]
        lines.append("   ".join(padded))
    lines.insert(2, "─" * (sum(widths) + 9))
    if not rows:
        lines.append("no unit reads it")
    write("\n".join(lines), output)

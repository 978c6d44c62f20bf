"""The pictures, by their artists: what is drawn stands where it is, counted and placed by hand."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from matplotlib.text import Text

import eyeshot
from eyeshot.cli import main
from eyeshot.views import pictures
from eyeshot.views.pictures import style
from eyeshot.views.pictures.centres import MAX_DOTS

FUZZ = int(os.environ.get("EYESHOT_FUZZ", "1"))
THEMES = ("light", "dark")
RESNET = {
    "input": [3, 32, 48],
    "layers": {
        "stem": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1},
        "a": {"op": "conv", "kernel": 3, "padding": 1},
        "b": {"op": "conv", "kernel": 1, "inputs": "stem"},
        "sum": {"op": "add", "inputs": ["a", "b"]},
        "c": {"op": "conv", "kernel": [9, 25], "padding": [4, 12]},
        "pool": "global_avg_pool",
    },
}


def artist(ax: Any, gid: str) -> Any:
    """The one artist of that name."""
    found = [a for a in ax.get_children() if a.get_gid() == gid]
    assert len(found) == 1, (gid, sorted({str(a.get_gid()) for a in ax.get_children()}))
    return found[0]


def has(ax: Any, gid: str) -> bool:
    return any(a.get_gid() == gid for a in ax.get_children())


def polygons(ax: Any, gid: str) -> np.ndarray:
    """The corners of the cells drawn under a name: [cells, 4, x and y]; none where there is no such artist."""
    if not has(ax, gid):
        return np.zeros((0, 4, 2))
    path = artist(ax, gid).get_path()
    assert list(path.codes[:5]) == [Outline.MOVETO, *[Outline.LINETO] * 3, Outline.CLOSEPOLY]
    return path.vertices.reshape(-1, 5, 2)[:, :4]


def middles(ax: Any, gid: str) -> set[tuple[float, float]]:
    return {(round(x, 6), round(y, 6)) for x, y in polygons(ax, gid).mean(axis=1)}


# --- the article's pictures


def windows(n: int, k: int, s: int, p: int, d: int, i: int) -> list[int]:
    """Where the window of unit ``i`` stands, padding included; what a loop over a kernel says."""
    return [i * s - p + t * d for t in range(k)]


def check_step(ax: Any, at: tuple[int, int], rows: list[int], columns: list[int], n: Any) -> None:
    name = f"step-{at[0]}-{at[1]}"
    everywhere = np.concatenate([polygons(ax, f"{name}-input"), polygons(ax, f"{name}-read")])
    x, y = everywhere[..., 0].min(), everywhere[..., 1].min()
    assert len(everywhere) == n[0] * n[1]
    stood = set(product(rows, columns))
    inside = {(i, j) for i, j in stood if 0 <= i < n[0] and 0 <= j < n[1]}
    drawn = {(my - y - 0.5, mx - x - 0.5) for mx, my in middles(ax, f"{name}-read")}
    assert {(round(i), round(j)) for i, j in drawn} == inside
    assert all(abs(a - round(a)) < 1e-6 for pair in drawn for a in pair)
    beside = {(my - y - 0.5, mx - x - 0.5) for mx, my in middles(ax, f"{name}-read-padding")}
    assert {(round(i), round(j)) for i, j in beside} == stood - inside
    (box,) = polygons(ax, f"{name}-box")
    corners = {(round(cx - x, 6), round(cy - y, 6)) for cx, cy in box}
    assert corners == set(product((min(columns), max(columns) + 1), (min(rows), max(rows) + 1)))


@pytest.mark.parametrize("theme", THEMES)
def test_walk_of_the_article(theme: str) -> None:
    ax = pictures.walk(theme=theme)
    for at in product(range(3), range(3)):
        i, j = (windows(5, 3, 2, 1, 1, k) for k in at)
        check_step(ax, at, i, j, (5, 5))
        done = at[0] * 3 + at[1]
        name = f"step-{at[0]}-{at[1]}"
        kinds = [len(polygons(ax, f"{name}-{kind}")) for kind in ("done", "unit", "later")]
        assert kinds == [done, 1, 8 - done]
        map_x = min(
            polygons(ax, f"{name}-{k}")[..., 0].min()
            for k in ("done", "unit", "later")
            if has(ax, f"{name}-{k}")
        )
        assert polygons(ax, f"{name}-unit")[..., 0].min() - map_x == pytest.approx(at[1])


@settings(max_examples=15 * FUZZ)
@given(st.data())
def test_walks(data: st.DataObject) -> None:
    """Windows with strides, dilation and unequal axes; the padding small enough that one unit lies inside."""
    axes = []
    for _ in range(2):
        k, d, s = (data.draw(st.integers(1, top)) for top in (4, 2, 3))
        span = d * (k - 1) + 1
        p = data.draw(st.integers(0, span // 2))
        n = data.draw(st.integers(span + 2 * s * (p + 2), span + 2 * s * (p + 2) + 4))
        axes.append((n, k, s, p, d, (n + 2 * p - span) // s + 1))
    spec = {
        "input": [1, *(a[0] for a in axes)],
        "layers": {
            "conv": {
                "op": "conv",
                **{
                    name: [a[m] for a in axes]
                    for m, name in enumerate(("kernel", "stride", "padding", "dilation"), 1)
                },
            }
        },
    }
    at = tuple(data.draw(st.integers(0, a[5] - 1)) for a in axes)
    ax = pictures.walk(eyeshot.analyze(spec), "conv", [at])
    rows, columns = (windows(*a[:5], i) for a, i in zip(axes, at, strict=True))
    check_step(ax, (at[0], at[1]), rows, columns, [a[0] for a in axes])


def test_walk_over_a_layer() -> None:
    ax = pictures.walk(layer="layer2", of="layer1")
    for at in product(range(2), range(2)):
        check_step(ax, at, *(windows(3, 3, 2, 1, 1, k) for k in at), (3, 3))


def test_steps() -> None:
    ax = pictures.walk(steps=[(2, 1)])
    assert has(ax, "step-2-1-read") and not has(ax, "step-0-0-read")
    report = eyeshot.analyze({"a": [3, 1, 1]}, (1, 1, 9, 9))
    ax = pictures.walk(report)
    assert {
        f"step-{i}-{j}-unit" for i in range(9) for j in range(9) if has(ax, f"step-{i}-{j}-unit")
    } == {f"step-{i}-{j}-unit" for i in range(3) for j in range(3)}


def test_walk_of_units_that_read_nothing() -> None:
    """A transposed window smaller than its stride leaves gaps."""
    spec = {
        "input": [1, 3, 3],
        "layers": {"up": {"op": "conv_transpose", "kernel": 1, "stride": 2}},
    }
    ax = pictures.walk(eyeshot.analyze(spec), "up", [(0, 0), (1, 1)])
    assert len(polygons(ax, "step-0-0-read")) == 1 and has(ax, "step-0-0-box")
    assert not has(ax, "step-1-1-read") and not has(ax, "step-1-1-box")


def decode(ax: Any, plane: int, hull: tuple[float, float, float, float]) -> Any:
    """From the page to the plane: the corners of its ground are top, bottom, left and right of the map."""
    ((a, b, _, d),) = polygons(ax, f"plane-{plane}-ground")
    top, bottom, left, right = hull
    across, down = (b - a) / (right - left), (d - a) / (bottom - top)
    back = np.linalg.inv(np.array([across, down]))
    return lambda points: (np.asarray(points) - a) @ back + (left, top)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("at", list(product(range(2), range(2))))
def test_field_of_the_article(at: tuple[int, int], theme: str) -> None:
    """layer2 reads layer1 at 2i-1 … 2i+1, and that the input at 2i-1 … 2i+1: 4i-3 … 4i+3."""
    ax = pictures.field(at=at, theme=theme)
    for plane, n, jump, reach in ((0, 5, 1, 3), (1, 3, 2, 1)):
        step = {0: 4, 1: 2}[plane]
        stood = [range(step * i - reach, step * i + reach + 1) for i in at]
        centre = 0.5
        hull = (centre - 0.5, centre + (n - 1) * jump + 0.5) * 2
        place = decode(ax, plane, hull)
        for gid, wanted in (("read", True), ("read-padding", False)):
            drawn = place(polygons(ax, f"plane-{plane}-{gid}").mean(axis=1))
            units = {
                (round((y - centre) / jump, 6), round((x - centre) / jump, 6)) for x, y in drawn
            }
            assert units == {
                (i, j) for i, j in product(*stood) if (0 <= i < n and 0 <= j < n) == wanted
            }
        assert len(polygons(ax, f"plane-{plane}-map")) == n * n - len(
            polygons(ax, f"plane-{plane}-read")
        )
        (box,) = place(polygons(ax, f"plane-{plane}-box")[0])[None]
        low, high = box.min(axis=0), box.max(axis=0)
        for k, axis in ((1, 0), (0, 1)):  # x is the column
            assert low[axis] == pytest.approx(centre + jump * stood[k][0] - 0.5)
            assert high[axis] == pytest.approx(centre + jump * stood[k][-1] + 0.5)
    (unit,) = decode(ax, 2, (0, 5, 0, 5))(polygons(ax, "plane-2-unit").mean(axis=1))
    assert unit == pytest.approx((0.5 + 4 * at[1], 0.5 + 4 * at[0]))


def test_the_cone_joins_the_boxes() -> None:
    ax = pictures.field()
    for k, above in ((1, "plane-1-box"), (2, "plane-2-unit")):
        lines = [a.get_xydata() for a in ax.lines if a.get_gid() == f"cone-{k}"]
        assert len(lines) == 4
        for end, gid in ((0, above), (1, f"plane-{k - 1}-box")):
            ends = {tuple(np.round(line[end], 6)) for line in lines}
            assert ends == {tuple(np.round(corner, 6)) for corner in polygons(ax, gid)[0]}


def test_field_says_what_it_counts() -> None:
    texts = "\n".join(text.get_text() for text in pictures.field(at=(0, 0)).texts)
    for part in (
        "unit (0, 0) of 2×2",
        "reads 4 of 3×3",
        "5 in padding",
        "reads 16 of 5×5",
        "box 7×7",
    ):
        assert part in texts


def test_field_through_chosen_layers() -> None:
    report = eyeshot.analyze({name: [3, 1, 1] for name in "abcdef"}, (1, 1, 9, 9))
    ax = pictures.field(report, "e", (4, 4), ["b"])
    assert [len(polygons(ax, f"plane-{k}-read")) for k in (0, 1)] == [81, 49]
    assert has(ax, "plane-2-unit") and not has(ax, "plane-3-ground")
    ax = pictures.field(report)  # a page holds three layers between
    assert has(ax, "plane-4-unit") and not has(ax, "plane-5-ground")


@pytest.mark.parametrize("theme", THEMES)
def test_maps_of_the_article(theme: str) -> None:
    axes = pictures.maps(theme=theme)
    assert axes.shape == (3, 2)
    places = {1: (0.5, 2.5, 4.5), 2: (0.5, 4.5)}
    for k, n in enumerate((5, 3, 2)):
        packed = polygons(axes[k, 0], f"packed-{k}")
        assert len(packed) == n * n
        assert np.ptp(packed.reshape(-1, 2), axis=0) == pytest.approx((n, n))
    for k, at in places.items():
        x, y = artist(axes[k, 1], f"centres-{k}").get_data()
        assert {(b, a) for a, b in zip(x, y, strict=True)} == set(product(at, at))
        assert middles(axes[k, 1], f"placed-{k}") == set(product(at, at))
    for k, box, inside in ((1, (-1, 2), (0, 2)), (2, (-3, 4), (0, 4))):
        edges = artist(axes[k, 1], f"field-{k}-edges").get_path().vertices
        assert (edges.min(), edges.max()) == box
        (clipped,) = polygons(axes[k, 1], f"clipped-{k}")
        assert (clipped.min(), clipped.max()) == inside


def test_maps_at_another_pace() -> None:
    """k4 s3 p0 on 11x8: unit i reads 3i … 3i+3, its centre is 2 + 3i."""
    report = eyeshot.analyze(
        {"input": [1, 11, 8], "layers": {"a": {"op": "conv", "kernel": 4, "stride": 3}}}
    )
    axes = pictures.maps(report)
    x, y = artist(axes[1, 1], "centres-1").get_data()
    assert set(zip(y, x, strict=True)) == set(product((2, 5, 8), (2, 5)))


def test_maps_larger_than_the_input_are_not_cut_off() -> None:
    spec = {
        "input": [1, 4, 4],
        "layers": {"up": {"op": "conv_transpose", "kernel": 4, "stride": 3}},
    }
    axes = pictures.maps(eyeshot.analyze(spec))
    for k, gid in ((0, "packed-1"), (1, "placed-1")):
        points = polygons(axes[1, k], gid).reshape(-1, 2)
        for axis, (low, high) in enumerate((axes[1, k].get_xlim(), axes[1, k].get_ylim()[::-1])):
            assert low <= points[:, axis].min() and points[:, axis].max() <= high


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("example:alexnet", "227x227"),
        ("example:wavenet", "2 axes"),
        (
            {
                "inputs": {"a": [1, 8, 8], "b": [1, 8, 8]},
                "layers": {"s": {"op": "add", "inputs": ["a", "b"]}},
            },
            "several inputs",
        ),
        ({"input": [1, 8, 8], "layers": {"p": "global_avg_pool"}}, "no layer has a map"),
    ],
)
@pytest.mark.parametrize("draw", [pictures.walk, pictures.field, pictures.maps])
def test_what_is_no_grid(draw: Any, source: Any, text: str) -> None:
    with pytest.raises(eyeshot.EyeshotError) as error:
        draw(eyeshot.analyze(source))
    message = str(error.value)
    assert "\n" not in message
    assert text in message or "no layer has a map" in message


def test_wrong_arguments() -> None:
    with pytest.raises(eyeshot.EyeshotError, match=r"no unit \(3, 0\)"):
        pictures.walk(steps=[(3, 0)])
    with pytest.raises(IndexError):
        pictures.field(at=(0, 2))
    with pytest.raises(eyeshot.UnknownLayerError, match="layer1"):
        pictures.maps(layers=["layer_1"])
    with pytest.raises(eyeshot.EyeshotError, match="3 rows of 2"):
        pictures.maps(axes=[Figure().add_subplot()])
    with pytest.raises(eyeshot.EyeshotError, match="light or dark"):
        pictures.walk(theme="pink")


# --- growth


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_growth_of_alexnet(scale: str) -> None:
    ax = pictures.growth(eyeshot.analyze("example:alexnet"), scale=scale)
    x, y = artist(ax, "growth-0").get_data()
    assert list(x) == list(range(1, 11))
    assert list(y) == [11, 19, 51, 67, 99, 131, 163, 195, 355, 355]
    assert set(artist(ax, "input-227").get_ydata()) == {227}
    assert artist(ax, "name-0").get_text() == "fc6-conv"
    (x,), (y,) = artist(ax, "first-0").get_data()
    assert (x, y) == (9, 355)
    assert ax.get_yscale() == scale
    low, high = ax.get_ylim()
    assert low < 11 and high > 355
    assert not has(ax, "layers-0") and not has(ax, "global-0")


def test_branches_context_and_unequal_axes() -> None:
    """stem 3, a 7, b 3, sum 7, c 7+8·2 = 23 high and 7+24·2 = 55 wide; the pool reads all."""
    ax = pictures.growth(eyeshot.analyze(RESNET))
    x, y = artist(ax, "growth-0").get_data()
    assert (list(x), list(y)) == ([1, 2, 3, 4, 5], [3, 7, 7, 7, 55])
    assert list(artist(ax, "layers-0").get_ydata()) == [3, 7, 3, 7, 55]
    shade = artist(ax, "range-0").get_paths()[0].vertices
    assert shade[:, 1].min() == 3 and {tuple(v) for v in shade} >= {(3.0, 3.0), (3.0, 7.0)}
    assert list(artist(ax, "global-0").get_xdata()) == [6]
    assert has(ax, "input-48") and artist(ax, "name-0").get_text() == "c"

    ax = pictures.growth(eyeshot.analyze(RESNET), axis="each")
    assert list(artist(ax, "growth-0").get_ydata()) == [3, 7, 7, 7, 23]
    assert list(artist(ax, "growth-1").get_ydata()) == [3, 7, 7, 7, 55]
    assert has(ax, "input-32") and has(ax, "input-48")
    assert not has(ax, "name-0") and artist(ax, "name-1").get_text() == "c"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "spec, axis 2", "spec, axis 3", "reads the whole input",
    ]  # fmt: skip


def test_a_past_without_end() -> None:
    spec = {
        "input": [4, 64],
        "layers": {"conv": {"op": "conv", "kernel": 5, "padding": 2}, "rnn": "rnn", "d": [3, 1, 1]},
    }
    spec["layers"]["d"] = {"op": "conv", "kernel": 3, "padding": 1}
    report = eyeshot.analyze(spec)
    assert report["rnn"].size == (float("inf"),)
    ax = pictures.growth(report)
    assert list(artist(ax, "growth-0").get_xdata()) == [1]
    assert list(artist(ax, "endless-0").get_xdata()) == [2, 3]


def test_stars_are_inside_the_picture() -> None:
    """A far input too, where something stands on its line."""
    spec = {
        "input": [1, 100],
        "layers": {"conv": {"op": "conv", "kernel": 3}, "mean": "global_avg_pool"},
    }
    ax = pictures.growth(eyeshot.analyze(spec))
    assert list(artist(ax, "global-0").get_ydata()) == [100] and has(ax, "input-100")
    assert ax.get_ylim()[0] < 100 < ax.get_ylim()[1]


def test_a_far_input_is_named_above() -> None:
    ax = pictures.growth(eyeshot.analyze("example:wavenet"))
    assert max(artist(ax, "growth-0").get_ydata()) == 1024
    assert ax.get_ylim()[1] < 2000 and not has(ax, "input-16000")
    assert any("16,000 ↑" in text.get_text() for text in ax.texts)
    assert has(pictures.growth(eyeshot.analyze("example:wavenet"), scale="log"), "input-16000")


def test_several_networks() -> None:
    reports = [eyeshot.analyze(f"example:{name}") for name in ("alexnet", "vgg16", "resnet50")]
    figure = style.figure(style.theme("light"), (6.3, 3.4))
    ax = figure.add_subplot()
    assert pictures.growth(*reports, labels=["a", "b", "c"], ax=ax) is ax
    for k, report in enumerate(reports):
        sizes = [max(layer.size) for layer in report if not layer.is_global]
        assert artist(ax, f"growth-{k}").get_ydata()[-1] == max(sizes)
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown[:3] == ["a", "b", "c"]
    lines = [artist(ax, f"growth-{k}") for k in range(3)]
    assert len({(line.get_marker(), line.get_color()) for line in lines}) == 3
    figure.draw_without_rendering()
    names = [text for text in ax.texts if (text.get_gid() or "").startswith("name-")]
    assert len(names) >= 2
    for one, other in combinations(names, 2):
        assert not Text.get_window_extent(one).overlaps(Text.get_window_extent(other))


def test_names_at_the_same_place_do_not_cover_each_other() -> None:
    alexnet = eyeshot.analyze("example:alexnet")
    ax = pictures.growth(alexnet, alexnet, alexnet)
    ax.get_figure(root=True).draw_without_rendering()
    names = [artist(ax, f"name-{k}") for k in range(3)]
    assert [name.get_text() for name in names] == ["fc6-conv"] * 3
    for one, other in combinations(names, 2):
        assert not Text.get_window_extent(one).overlaps(Text.get_window_extent(other))


def test_chosen_layers_of_growth() -> None:
    report = eyeshot.analyze("example:alexnet")
    ax = pictures.growth(report, layers=[report[:2]])
    assert list(artist(ax, "growth-0").get_ydata()) == [11, 19]
    for wrong in ({"labels": ["a", "b"]}, {"axis": "both"}, {"scale": "square"}, {"layers": [[]]}):
        with pytest.raises(eyeshot.EyeshotError):
            pictures.growth(report, **wrong)
    with pytest.raises(eyeshot.EyeshotError):
        pictures.growth()


# --- centres


@pytest.mark.parametrize("theme", THEMES)
def test_centres_of_alexnet(theme: str) -> None:
    ax = pictures.centres(eyeshot.analyze("example:alexnet"), "conv5", theme=theme)
    x, y = artist(ax, "centres").get_data()
    at = [17.5 + 16 * i for i in range(13)]
    assert sorted(zip(y, x, strict=True)) == sorted(product(at, at))
    assert artist(ax, "box").get_bbox().extents.tolist() == [-64, -64, 99, 99]
    assert artist(ax, "clipped").get_bbox().extents.tolist() == [0, 0, 99, 99]
    assert artist(ax, "frame").get_bbox().extents.tolist() == [0, 0, 227, 227]
    assert artist(ax, "first").get_xydata().tolist() == [[17.5, 17.5]]
    assert ax.yaxis_inverted() and ax.get_xlim()[0] < -64 and ax.get_xlim()[1] > 227


def test_centres_of_unequal_axes_on_an_image() -> None:
    """kernel 4, stride 2 by 5, no padding on 20x45: centres 2 + 2i, 2 + 5j."""
    spec = {"input": [1, 20, 45], "layers": {"a": {"op": "conv", "kernel": 4, "stride": [2, 5]}}}
    image = np.arange(40 * 90 * 3, dtype=np.uint8).reshape(40, 90, 3)
    ax = pictures.centres(eyeshot.analyze(spec), "a", image)
    x, y = artist(ax, "centres").get_data()
    assert set(zip(y, x, strict=True)) == set(product(range(2, 20, 2), range(2, 45, 5)))
    assert len(x) == 9 * 9
    shown = artist(ax, "image")
    assert tuple(shown.get_extent()) == (0, 45, 20, 0)
    assert artist(ax, "box").get_bbox().extents.tolist() == [0, 0, 4, 4]


def test_too_many_centres_are_thinned_out() -> None:
    report = eyeshot.analyze({"a": [3, 2, 1]}, (1, 1, 224, 448))
    ax = pictures.centres(report, "a")
    x, y = artist(ax, "centres").get_data()
    assert len(x) <= MAX_DOTS
    step = int(re.search(r"every (\d+)", ax.get_title(loc="left"))[1])
    at = [[0.5 + 2 * i for i in range(0, n, step)] for n in (112, 224)]
    assert sorted(zip(y, x, strict=True)) == sorted(product(*at))
    assert len(range(0, 112, step - 1)) * len(range(0, 224, step - 1)) > MAX_DOTS


def test_centres_of_a_decoder_and_of_one_axis() -> None:
    """Each phase has its own centre: a window 2 after an upsampling by 2 reads 1 or 2 elements."""
    spec = {
        "input": [1, 8],
        "layers": {
            "up": {"op": "upsample", "scale": 2},
            "conv": {"op": "conv", "kernel": 2},
        },
    }
    ax = pictures.centres(eyeshot.analyze(spec), "conv")
    x, y = artist(ax, "centres").get_data()
    assert sorted(x) == sorted([i + 0.5 for i in range(8)] + [i + 1 for i in range(7)])
    assert set(y) == {0}


def test_the_first_unit_may_read_nothing() -> None:
    """As the class token of a transformer; the box is then that of the first one that reads."""
    spec = {
        "input": [1, 6],
        "layers": {
            "up": {"op": "conv_transpose", "kernel": 1, "stride": 2, "padding": 0},
            "cut": {"op": "slice", "dim": 2, "start": 1},
        },
    }
    report = eyeshot.analyze(spec)
    assert report["cut"].box((0,)) == ((0, 0),)
    ax = pictures.centres(report, "cut")
    x, _ = artist(ax, "centres").get_data()
    assert list(x) == [1.5, 2.5, 3.5, 4.5, 5.5]
    assert artist(ax, "box").get_bbox().intervalx.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("spec", "layer", "text"),
    [
        ({"input": [1, 8, 8, 8], "layers": {"a": {"op": "conv", "kernel": 3}}}, "a", "it has 3"),
        (RESNET, "pool", "no centres"),
        (RESNET, "sun", "did you mean 'sum'"),
    ],
)
def test_no_centres(spec: Any, layer: str, text: str) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=text):
        pictures.centres(eyeshot.analyze(spec), layer)
    with pytest.raises(eyeshot.EyeshotError, match="2 axes"):
        pictures.centres(eyeshot.analyze({"a": [3, 1, 1]}, 9), "a", image=np.zeros((3, 3)))


# --- the style


def every_picture(theme: str) -> Iterator[Any]:
    """Axes of all pictures."""
    yield pictures.walk(theme=theme)
    yield pictures.field(theme=theme)
    yield pictures.maps(theme=theme)[0, 0]
    alexnet = eyeshot.analyze("example:alexnet")
    yield pictures.centres(alexnet, "conv5", theme=theme)
    yield pictures.growth(alexnet, eyeshot.analyze(RESNET), theme=theme)


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


#: Simulated deuteranopia and protanopia, Machado et al. 2009, severity 1.
SIGHT = {
    "all": np.eye(3),
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, white D65."""
    xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) @ rgb.clip(0, 1)
    t = xyz / (0.9505, 1, 1.089)
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """WCAG's ratio."""
    bright, dim = sorted(float(linear(c) @ (0.2126, 0.7152, 0.0722)) for c in (one, other))[::-1]
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_colours_can_be_told_apart(theme: str) -> None:
    look = style.theme(theme)
    for sight in SIGHT.values():
        for group in (
            look.series,
            look.levels[:4],
            (look.cell, look.level(0), look.read, look.unit),
        ):
            for one, other in combinations(group, 2):
                apart = np.linalg.norm(lab(sight @ linear(one)) - lab(sight @ linear(other)))
                assert apart > 14, (one, other, apart)
    # In grey print, what a picture says is in the lightness.
    light = [lab(linear(c))[0] for c in (look.level(0), look.read, look.unit)]
    assert min(abs(a - b) for a, b in combinations(light, 2)) > 15
    lines = {(str(look.line(k)["linestyle"]), look.line(k)["marker"]) for k in range(35)}
    assert len(lines) == 35


@pytest.mark.parametrize("theme", THEMES)
def test_contrast(theme: str) -> None:
    look = style.theme(theme)
    assert contrast(look.ink, look.ground) > 12
    assert contrast(look.quiet, look.ground) > 4.5
    for colour in (*look.series, look.unit):
        assert contrast(colour, look.ground) > 3


def test_the_heat_is_ordered_in_lightness() -> None:
    import matplotlib

    for theme in THEMES:
        colours = matplotlib.colormaps[style.theme(theme).heat](np.linspace(0, 1, 32))[:, :3]
        steps = np.diff(
            [lab(linear("#" + "".join(f"{round(255 * c):02x}" for c in rgb)))[0] for rgb in colours]
        )
        assert (steps > 0).all() or (steps < 0).all()


@pytest.mark.parametrize("theme", THEMES)
def test_type_is_large_enough_and_nothing_is_cut_off(theme: str) -> None:
    found = 0
    for ax in every_picture(theme):
        figure = ax.get_figure(root=True)
        figure.draw_without_rendering()
        assert figure.get_size_inches()[0] <= style.WIDTH + 1e-9
        page = figure.bbox.padded(1)
        for axes in figure.axes:
            texts = [*axes.texts, axes.title, axes._left_title]
            texts += [axes.xaxis.label, axes.yaxis.label] if axes.axison else []
            texts += axes.get_legend().get_texts() if axes.get_legend() else []
            for text in texts:
                if text.get_text():
                    found += 1
                    assert text.get_fontsize() >= 7
                    extent = Text.get_window_extent(text)
                    inside = page.contains(*extent.min) and page.contains(*extent.max)
                    assert inside, text.get_text()
            if axes.axison:
                assert all(text.get_fontsize() >= 7 for text in axes.get_xticklabels())
    assert found >= 25


ALONE = """
import sys
import eyeshot
from eyeshot.views import pictures
assert "matplotlib" not in sys.modules
from eyeshot.cli import main
assert "matplotlib" not in sys.modules
import matplotlib
matplotlib.rcParams["font.size"] = 31
before = {name: dict.__getitem__(matplotlib.rcParams, name) for name in matplotlib.rcParams}
alexnet = eyeshot.analyze("example:alexnet")
for theme in ("light", "dark"):
    for k, ax in enumerate([
        pictures.walk(theme=theme), pictures.field(theme=theme), pictures.maps(theme=theme)[0, 0],
        pictures.centres(alexnet, "conv5", theme=theme), pictures.growth(alexnet, theme=theme),
    ]):
        for suffix in ("png", "svg", "pdf"):
            pictures.save(ax, f"{theme}{k}.{suffix}", dpi=60)
after = {name: dict.__getitem__(matplotlib.rcParams, name) for name in matplotlib.rcParams}
assert before == after, [name for name in before if before[name] != after[name]]
assert "matplotlib.pyplot" not in sys.modules
"""


def test_no_global_state_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Two interpreters write the same files; matplotlib's settings and pyplot are left alone."""
    for k in range(2):
        folder = tmp_path / str(k)
        folder.mkdir()
        env = {**os.environ, "PYTHONHASHSEED": str(k), "SOURCE_DATE_EPOCH": str(10**9 * k)}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", ALONE],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    files = sorted(file.name for file in (tmp_path / "0").iterdir())
    assert len(files) == 30
    for name in files:
        one, other = ((tmp_path / k / name).read_bytes() for k in "01")
        assert one == other, name
        check_file(tmp_path / "0" / name)


def check_file(path: Path) -> tuple[int, int] | None:
    """A whole picture of its kind; the size of a PNG."""
    content = path.read_bytes()
    if path.suffix == ".png":
        assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
        width, height = struct.unpack(">II", content[16:24])
        return width, height
    if path.suffix == ".svg":
        assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
    else:
        assert content.startswith(b"%PDF-1.") and content.rstrip().endswith(b"%%EOF")
    return None


def test_without_matplotlib() -> None:
    code = (
        "import sys\nsys.modules['matplotlib'] = None\nimport eyeshot\n"
        "try:\n    eyeshot.pictures.walk\nexcept eyeshot.EyeshotError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "pictures need matplotlib: pip install 'eyeshot[plot]'", (
        done.stderr
    )


def test_functions_keep_their_names() -> None:
    """Modules of the same names do not take their place when they are loaded."""
    code = (
        "import eyeshot.views.pictures.save, eyeshot.views.pictures.growth, eyeshot.views.pictures.centres\n"
        "from eyeshot.views import pictures\n"
        "assert all(callable(getattr(pictures, name)) for name in pictures.__all__)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- files


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.txt", ".png"])
def test_other_suffixes(name: str, tmp_path: Path) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=r"written as \.png, \.svg, \.pdf"):
        pictures.save(pictures.maps()[0, 0], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ax = style.axes(None, style.theme("light"), (2, 1))
    file = tmp_path / "a.PNG"
    pictures.save(ax, file, dpi=50)
    assert check_file(file.rename(tmp_path / "a.png")) == (100, 50)
    file = tmp_path / "a.png"
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask()
    file.chmod(0o640)
    (tmp_path / "link.png").symlink_to("a.png")
    pictures.save(ax, tmp_path / "link.png", dpi=60)
    assert (tmp_path / "link.png").is_symlink() and file.stat().st_mode & 0o777 == 0o640
    before = file.read_bytes()

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(eyeshot.EyeshotError, match="No space left"):
        pictures.save(ax, file, dpi=70)
    assert file.read_bytes() == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.png", "link.png"]
    with pytest.raises(eyeshot.EyeshotError, match="No such file"):
        pictures.save(ax, tmp_path / "none" / "a.png")
    for dpi in (0, -1, float("nan"), 1e6):
        with pytest.raises(eyeshot.EyeshotError, match="dpi"):
            pictures.save(ax, file, dpi=dpi)


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_names_that_the_font_lacks_and_dollars(tmp_path: Path) -> None:
    """Neither mathematics nor warnings come of a layer's name."""
    spec = {
        "input": [1, 5, 5],
        "layers": {"$x^{$": {"op": "conv", "kernel": 3}, "層 ": {"op": "conv", "kernel": 3}},
    }
    report = eyeshot.analyze(spec)
    pictures.save(pictures.maps(report)[0, 0], tmp_path / "a.png", dpi=50)
    pictures.save(pictures.growth(report, labels=["$a_$"]), tmp_path / "b.svg")
    check_file(tmp_path / "a.png")


# --- the command line


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["draw", *args], catch_exceptions=False)


@pytest.mark.parametrize(
    "args",
    [
        ["walk", "--at", "0,0", "--at", "1,1"],
        ["walk", "example:five-by-five", "-l", "layer2", "--of", "layer1"],
        ["field", "--at", "0,1", "--through", "layer1", "--size", "4x3"],
        ["maps", "-l", "layer2"],
        ["centres", "example:alexnet", "--layer", "pool2"],
        [
            "growth",
            "example:alexnet",
            "example:five-by-five",
            "--log",
            "--label",
            "a",
            "--label",
            "b",
        ],
        ["growth", "example:resnet18", "-d", "1", "--each", "--layers", "layer*"],
    ],
)
def test_commands(args: list[str], tmp_path: Path) -> None:
    for suffix, theme in (("png", "light"), ("svg", "dark"), ("pdf", "light")):
        file = tmp_path / f"a.{suffix}"
        done = run(*args, "-o", str(file), "--theme", theme, "--dpi", "60")
        assert (done.exit_code, done.output) == (0, "")
        size = check_file(file)
        if suffix == "png" and "--size" in args:
            assert size == (240, 180)


def test_the_ground_is_the_themes(tmp_path: Path) -> None:
    from PIL import Image

    for theme in THEMES:
        run("maps", "-o", str(tmp_path / "a.png"), "--theme", theme, "--dpi", "50")
        with Image.open(tmp_path / "a.png") as image:
            corner = image.convert("RGB").getpixel((0, 0))
        assert "#{:02x}{:02x}{:02x}".format(*corner) == style.theme(theme).ground


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["walk", "-l", "layer3"], "there is no layer 'layer3'; did you mean"),
        (["walk", "--at", "3,0"], "layer1: there is no unit (3, 0), the map is 3x3"),
        (["walk", "--at", "x"], "--at x: expected an index such as 3,3"),
        (["field", "--at", "0,2"], "layer2: index 2 is outside 0 … 1"),
        (["field", "--at", "0"], "a unit has 2 indices"),
        (["walk", "example:alexnet"], "a grid of 227x227"),
        (["maps", "example:wavenet"], "it has 1"),
        (["maps", "--size", "4"], "--size 4: expected width x height"),
        (["maps", "--size", "0x4"], "--size 0x4"),
        (["maps", "--theme", "pink"], "'pink' is not one of"),
        (["maps", "--dpi", "0"], "--dpi"),
        (["centres", "example:alexnet"], "Missing option '-l'"),
        (["centres", "example:alexnet", "-l", "conv1", "--image", "none.png"], "none.png"),
        (["centres", "example:alexnet", "-l", "conv1", "--stretch"], "goes with --image"),
        (["growth", "example:alexnet", "--label", "a", "--label", "b"], "1 are wanted"),
        (["growth", "example:alexnet", "--layers", "x*"], "no layer of example:alexnet"),
        (["growth"], "Missing argument"),
    ],
)
def test_bad_input_leaves_no_file(args: list[str], text: str, tmp_path: Path) -> None:
    done = run(*args, "-o", str(tmp_path / "a.png"))
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and text in lines[0], done.stderr
    assert not list(tmp_path.iterdir())


def test_the_suffix_is_looked_at_first(tmp_path: Path) -> None:
    done = run("maps", "none.yaml", "-o", str(tmp_path / "a.bmp"))
    assert done.exit_code == 2 and "a picture is written as" in done.stderr
    assert run("maps").exit_code == 2


# --- the page that shows them

PAGE = Path(__file__).parents[1] / "docs" / "pictures.md"


def test_the_page_shows_what_its_commands_write() -> None:
    """tests/test_docs.py runs the commands; here: each one's file is in the repository, whole and small."""
    text = PAGE.read_text(encoding="utf-8")
    written = re.findall(r"^\$ eyeshot .* -o (\S+)$", text, re.MULTILINE)
    assert len(written) >= 7
    for name in written:
        file = PAGE.parent / "pictures" / name
        check_file(file)
        assert file.stat().st_size < 60_000, name
        assert f"](pictures/{name})" in text
    shown = {file.name for file in (PAGE.parent / "pictures").iterdir() if file.suffix == ".png"}
    assert shown == set(written)
    for kind in ("walk", "field", "maps", "centres", "growth"):
        assert f"$ eyeshot draw {kind} " in text

"""The corpus against enumeration, and facts about it that are written down here.

Each spec caught a change to the code once. Every number below was worked out by hand, and agrees with
``brute_force`` where that has a word in it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import inf
from typing import Any

import numpy as np
import pytest
from corpus import CORPUS, Layer, Spec, op, spec
from oracles import brute_force
from test_fuzz import (
    assert_box_contains,
    assert_boxes,
    assert_unit_dims,
    fields_of,
    input_axes,
    layers_of,
    upstream,
)

import eyeshot
from eyeshot.analysis.report import Canvas


@cache
def read_sets(name: str) -> dict[str, np.ndarray]:
    return brute_force.read_sets(CORPUS[name])


@pytest.mark.parametrize("name", CORPUS)
def test_boxes_are_what_every_unit_reads(name: str) -> None:
    net = CORPUS[name]
    report = eyeshot.analyze(net)
    sets = read_sets(name)
    for layer_name, array in sets.items():
        layer = report[layer_name]
        assert tuple(layer.shape) == array.shape, layer_name
        if all(each["op"] != "opaque" for each in upstream(net, layer_name)):
            assert layer.status == "exact", layer_name
        assert_unit_dims(net, layer, array)
        assert_boxes(layer, brute_force.hulls(net, layer_name, layer.unit_dims, sets=sets))


@pytest.mark.parametrize("name", CORPUS)
def test_box_of_a_unit_contains_what_it_reads(name: str) -> None:
    net = CORPUS[name]
    report = eyeshot.analyze(net)
    sets = read_sets(name)
    for layer_name, fields in fields_of(report, net).items():
        layer = report[layer_name]
        boxes = brute_force.hulls(net, layer_name, layer.unit_dims, sets=sets)
        assert_box_contains(layer, fields, boxes, input_axes(net))


# In these no layer has units to tell apart.
ONE_UNIT = {"rnn-tokens", "opaque-inputs"}


@pytest.mark.parametrize("name", [name for name in CORPUS if name not in ONE_UNIT])
def test_boxes_relative_to_the_first_layer(name: str) -> None:
    net = CORPUS[name]
    whole = eyeshot.analyze(net)
    of = next(name for name in layers_of(net) if whole[name].unit_dims)
    dims = list(whole[of].unit_dims)
    axes = [(of, dim, whole[of].shape[dim]) for dim in dims]
    report = eyeshot.analyze(net, of=of)
    fields = fields_of(report, net, axes)
    sets = brute_force.read_sets(net, of=of)
    for layer_name, array in sets.items():
        if layer_name != of and not any(array.flat):
            continue  # not downstream: it need not be reported
        layer = report[layer_name]
        expected = brute_force.hulls(net, layer_name, layer.unit_dims, of=of, sets=sets, axes=dims)
        assert_boxes(layer, expected)
        assert_box_contains(layer, fields[layer_name], expected, axes)


# Facts -------------------------------------------------------------------------------------------


def analyze(inputs: list[int] | dict[str, list[int]], /, **layers: Layer) -> eyeshot.Report:
    return eyeshot.analyze(spec(inputs, **layers))


def canvases(layer: eyeshot.Layer) -> list[Canvas | None]:
    return [field.canvas for field in layer.fields]


def test_a_window_over_a_mirrored_axis() -> None:
    conv = analyze([1, 9], f="flip", c=op("conv", kernel=3, dilation=2))["c"]
    assert conv.size == (5,)
    assert conv.jump == (-1,)
    assert canvases(conv) == [Canvas(1, -1, (4,), (9,))]


def test_a_join_that_widens_one_side_of_a_phase() -> None:
    """Element 2r + c also reads 2r + 1: for c = 0 two elements, for c = 1 one."""
    joined = analyze(
        [1, 8],
        pairs=op("reshape", shape=[1, 1, 4, 2]),
        second=op("slice", dim=3, start=1),
        sum=op("add", inputs=["pairs", "second"]),
        flat=op("reshape", shape=[1, 1, 8]),
    )["flat"]
    assert canvases(joined) == [Canvas(2, 2, (0, 1), (2, 2))]


def test_a_past_of_mirrored_pairs() -> None:
    """Order 1 0 3 2 5 4: the first of a pair reads the later element, so both end alike."""
    report = analyze(
        [1, 6],
        pairs=op("reshape", shape=[1, 1, 3, 2]),
        mirrored=op("flip", dims=[3]),
        flat=op("reshape", shape=[1, 1, 6]),
        past="cumsum",
    )
    assert canvases(report["flat"]) == [Canvas(2, 2, (1, 0), (2, 1))]
    assert canvases(report["past"]) == [Canvas(2, 2, (-inf, -inf), (2, 2))]
    # Inside the input the first unit reads element 1 alone.
    hulls = [[1, 2], [0, 2], [0, 4], [0, 4], [0, 6], [0, 6]]
    assert report["past"].boxes()[:, 0].tolist() == hulls


def test_a_past_of_scrambled_units_has_no_closed_form() -> None:
    report = analyze([1, 4], i=op("index", dim=2, index=[2, 0, 3, 1]), past="cumsum")
    past = report["past"]
    assert past.size == (4,)
    assert canvases(past) == [None]
    assert past.boxes()[:, 0].tolist() == [[2, 3], [0, 3], [0, 4], [0, 4]]


def test_circular_padding_covers_where_it_wraps_to() -> None:
    report = analyze(
        [1, 6],
        end=op("pad", padding=[[0, 2]], mode="circular"),
        begin=op("pad", padding=[[2, 0]], mode="circular", inputs="input"),
    )
    # Unit 7 lies at 7 of the unbounded axis and reads element 1; unit 0 at -2 reads element 4.
    assert [report["end"].box((i,)) for i in (0, 6, 7)] == [((0, 1),), ((0, 7),), ((1, 8),)]
    assert [report["begin"].box((i,)) for i in (7, 1, 0)] == [((5, 6),), ((-1, 6),), ((-2, 5),)]


def test_parts_of_an_axis_side_by_side() -> None:
    report = eyeshot.analyze(CORPUS["concat-parts"])
    assert canvases(report["k"]) == [Canvas(1, 1, (0,), (1,))]  # in order: the axis again
    assert canvases(report["sw"]) == [None]  # swapped
    assert report["sw"].size == (1,)
    assert canvases(report["c"]) == [Canvas(1, 1, (-1,), (2,))]
    assert canvases(report["ch"]) == [Canvas(1, 1, (0,), (3,))]  # in channels: units 0 and 2


LOCAL_BESIDE_GLOBAL: list[tuple[Layer, tuple, bool, tuple[int, ...]]] = [
    # layer, size, global, unit dims; it reads a convolution of 3 over 6 positions
    ("layer_norm", (3,), True, (2,)),
    (op("layer_norm", dims=[1]), (3,), False, (2,)),
    (op("group_norm", groups=2), (3,), True, (2,)),
    ("instance_norm", (3,), True, (2,)),
    ("softmax", (3,), False, (2,)),  # over channels
    (op("softmax", dim=2), (3,), True, (2,)),
    ("attention", (3,), True, (2,)),  # the query's own position
    (op("attention", kind="causal"), (inf,), False, (2,)),
    (op("attention", kind="sliding", window=3), (5,), False, (2,)),
    (op("attention", kind="window", window=3), (5,), False, (2,)),
    (op("attention", kind="window", window=6), (3,), True, (2,)),
    (op("attention", kind="window", window=6, shift=2), (3,), True, (2,)),
    ("mean", (6,), True, ()),
    (op("mean", keepdim=True), (6,), True, ()),
    ("global_avg_pool", (6,), True, ()),
]


@pytest.mark.parametrize(("layer", "size", "is_global", "unit_dims"), LOCAL_BESIDE_GLOBAL)
def test_local_field_beside_the_global_one(
    layer: Layer, size: tuple, is_global: bool, unit_dims: tuple[int, ...]
) -> None:
    found = analyze([4, 6], c=op("conv", kernel=3, padding=1), x=layer)["x"]
    assert (found.size, found.is_global, found.unit_dims) == (size, is_global, unit_dims)
    if is_global:
        assert (found.boxes()[..., 0, :] == [0, 6]).all()


def test_gates_keep_the_local_field() -> None:
    report = eyeshot.analyze(CORPUS["join-gate"])
    assert {layer.name: (layer.size, layer.unit_dims) for layer in report} == {
        "r": ((6, 1), (3,)),
        "j": ((1, 1), (2, 3)),
        "m": ((1, 4), (2,)),
        "c": ((3, 3), (2, 3)),
        "rr": ((6, 4), ()),
        "b": ((1, 1), (2, 3)),
    }
    assert all(layer.is_global for layer in report)


@pytest.mark.parametrize("width", [4, 8])
def test_an_axis_of_one_unit_keeps_its_place(width: int) -> None:
    conv = analyze(
        [1, 2, width],
        u=op("pixel_unshuffle", factor=[2, width]),
        c=op("conv", kernel=[3, 1], padding=[1, 0]),
    )["c"]
    assert conv.unit_dims == (2, 3)
    assert conv.size == (6, width)  # three cells of two along the first axis


def test_one_unit_spread_to_the_axes_again() -> None:
    report = analyze([1, 2, 2], u=op("pixel_unshuffle", factor=2), s=op("pixel_shuffle", factor=2))
    assert (report["u"].size, report["u"].unit_dims) == ((2, 2), (2, 3))
    assert (report["s"].size, report["s"].unit_dims) == ((1, 1), (2, 3))


def test_unit_dims_of_permuted_maps() -> None:
    report = eyeshot.analyze(CORPUS["permuted-joined"])
    dims = {name: report[name].unit_dims for name in ("ra", "pa", "rb", "j", "k")}
    assert dims == {"ra": (2,), "pa": (3,), "rb": (2,), "j": (2, 3), "k": (2, 3)}
    # Rows of 6 of one input, moved to the columns; rows of 4 of the other.
    assert canvases(report["j"]) == [Canvas(1, 6, (0,), (6,)), Canvas(1, 4, (0,), (4,))]
    square = eyeshot.analyze(CORPUS["permuted-square"])  # all three dims are 3 here
    assert square["q"].unit_dims == (1, 3)
    assert square["r"].unit_dims == (1, 2)


def test_a_map_of_one_row_grown_again() -> None:
    report = eyeshot.analyze(CORPUS["ones-grown"])
    assert report["q"].unit_dims == (2, 3)
    assert report["up"].jump == (Fraction(1, 3), 1)
    assert canvases(report["up"])[0] == Canvas(3, 1, (-1, -1, -1), (2, 2, 2))
    assert canvases(report["d"])[0] == Canvas(3, 1, (-2, -1, -1), (2, 2, 3))
    assert (report["d"].size, report["f"].size) == ((4, 5), (4, 5))
    assert report["f"].jump == (Fraction(1, 15), 0)


def test_rates_that_meet() -> None:
    """Pools of 2 and of 3, resized back and joined: cells of 2 and 3 repeat after 6."""
    report = eyeshot.analyze(CORPUS["rates-pooled"])
    assert canvases(report["e"]) == [Canvas(6, 6, (0, 0, 0, 2, 3, 3), (3, 3, 4, 6, 6, 6))]
    assert canvases(report["f"]) == [Canvas(3, 12, (-3, 2, 6), (3, 6, 12))]
    assert canvases(report["h"]) == [Canvas(2, -2, (22, 22), (24, 24))]
    assert (report["i"].size, canvases(report["i"])) == ((24,), [None])  # with its mirror image
    assert report["k"].jump == (Fraction(2, 3),)


def test_a_flat_map_beside_an_axis() -> None:
    report = eyeshot.analyze(CORPUS["concat-flat"])
    own, rows = Canvas(1, 1, (0,), (1,)), Canvas(3, 1, (0, 0, 0), (1, 1, 1))
    columns = Canvas(3, 0, (0, 1, 2), (1, 2, 3))
    assert canvases(report["fb"]) == [None, rows, columns]
    assert report["fb"].size == (0, 1, 1)  # nothing of the other input
    for name in ("k", "k2", "j"):
        assert canvases(report[name]) == [own, rows, columns]
    assert (report["r"].unit_dims, report["r"].size) == ((2, 3), (3, 1, 1))
    assert (report["r3"].unit_dims, report["r3"].size) == ((2,), (2, 2, 3))


EXTENTS: dict[str, tuple[int, Spec]] = {
    # What the mean of a map reads of 20 elements, where the units leave some out.
    "stride": (19, spec([1, 20], x=op("conv", kernel=1, stride=3), m="mean")),  # 0 … 18
    "remainder": (18, spec([1, 20], x=op("max_pool", kernel=3), m="mean")),  # 6 pools
    "dilated": (18, spec([1, 20], x=op("conv", kernel=2, dilation=5, stride=6), m="mean")),
    "step": (
        12,  # the second and fourth of five pools: [4, 8) and [12, 16)
        spec([1, 20], x=op("max_pool", kernel=4), s=op("slice", dim=2, start=1, step=2), m="mean"),
    ),
    "parts": (
        16,  # 2 3 4 and 9 13 17
        spec(
            [1, 20],
            a=op("slice", dim=2, start=2, stop=5),
            b=op("slice", dim=2, start=9, step=4, inputs="input"),
            x=op("concat", dim=2, inputs=["a", "b"]),
            m="mean",
        ),
    ),
    "join": (
        16,  # [1, 5) and [13, 17)
        spec(
            [1, 20],
            a=op("slice", dim=2, start=1, stop=5),
            b=op("slice", dim=2, start=13, stop=17, inputs="input"),
            x=op("add", inputs=["a", "b"]),
            m="mean",
        ),
    ),
    "transposed": (17, spec([1, 20], x=op("conv_transpose", kernel=1, padding=[[2, 1]]), m="mean")),
    "mirrored": (19, spec([1, 20], f="flip", x=op("conv", kernel=1, stride=3), m="mean")),
}


@pytest.mark.parametrize("name", EXTENTS)
def test_a_mean_reads_from_the_first_to_the_last(name: str) -> None:
    size, net = EXTENTS[name]
    ((begin, end),) = brute_force.hulls(net, "m", []).tolist()
    assert end - begin == size
    mean: Any = eyeshot.analyze(net)["m"]
    assert (mean.size, mean.is_global, mean.unit_dims) == ((size,), True, ())
    assert mean.boxes().tolist() == [[begin, end]]
    assert mean.box() == ((begin, end),)

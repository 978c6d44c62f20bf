"""Random specs: what the library reports against enumeration from the definitions.

The number of examples over the whole file is ``EYESHOT_FUZZ`` (300; nightly runs use 5000). A
failing spec is printed as a dict to paste into ``eyeshot.analyze``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracles import brute_force
from strategies import Spec, plain_specs, specs

import eyeshot

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "300"))


def fuzz(share: float) -> Callable:
    """Settings for a test that gets this share of the examples."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# What the page says of a spec --------------------------------------------------------------------


def layers_of(spec: Spec) -> dict[str, dict]:
    """The spec's layers, with their inputs written out."""
    return brute_force.layers(spec, brute_force.input_shapes(spec))


def upstream(spec: Spec, name: str) -> Iterator[dict]:
    """A layer and every layer that it depends on."""
    todo = layers_of(spec)
    waiting, seen = [name], set()
    while waiting:
        name = waiting.pop()
        if name in todo and name not in seen:
            seen.add(name)
            yield todo[name]
            waiting += todo[name]["inputs"]


def folds(layer: Mapping[str, Any]) -> bool:
    """Whether a layer's border reads elsewhere than an unbounded input would."""
    op = layer["op"]
    if op == "conv":
        return layer.get("padding_mode", "zeros") != "zeros"
    if op == "pad":
        return layer.get("mode", "constant") != "constant"
    if op == "attention":
        return bool(np.any(layer.get("shift", 0)))
    if op == "upsample":
        return layer.get("mode", "nearest") in ("linear", "cubic")
    return op == "roll"


# Comparing ---------------------------------------------------------------------------------------


def assert_boxes(layer: Any, expected: np.ndarray) -> None:
    """The exact boxes where the layer says so; a bound contains them. All empty boxes are equal."""
    found = np.asarray(layer.boxes())
    assert found.dtype.kind == "i"
    assert found.shape == expected.shape, layer.name
    begin, end = found[..., 0], found[..., 1]
    want_begin, want_end = expected[..., 0], expected[..., 1]
    nothing = want_begin == want_end
    if layer.status == "exact":
        same = np.where(nothing, begin == end, (begin == want_begin) & (end == want_end))
    else:
        assert layer.status == "bound"
        same = nothing | ((begin <= want_begin) & (end >= want_end))
    wrong = np.argwhere(~same)
    if len(wrong):
        at = tuple(wrong[0])
        raise AssertionError(
            f"{layer.name} ({layer.status}), [*unit, field] {[int(i) for i in at]}: "
            f"{found[at].tolist()}, but by enumeration {expected[at].tolist()}; "
            f"{len(wrong)} of {same.size} differ"
        )


def assert_contains(outer: tuple[float, float], inner: np.ndarray, size: int, place: str) -> None:
    """An outer interval, clipped to an axis, contains an inner one; nothing contains nothing."""
    begin, end = (int(i) for i in inner)
    if begin == end:
        return
    low, high = max(outer[0], 0), min(outer[1], size)
    assert low <= begin and end <= high, f"{place}: {outer} clipped, but reads [{begin}, {end})"


# After these a dim of a tensor may no longer be the same axis.
REARRANGING = frozenset(
    "permute reshape flatten select squeeze unsqueeze mean sum amax amin opaque".split()
)


def assert_unit_dims(spec: Spec, layer: Any, sets: np.ndarray) -> None:
    """Unit dims are dims of the tensor, in order, and no axis along which fields differ is lost."""
    dims = list(layer.unit_dims)
    assert dims == sorted(set(dims))
    assert all(0 <= dim < sets.ndim for dim in dims)
    ranks = {len(shape) for shape in brute_force.input_shapes(spec).values()}
    before = list(upstream(spec, layer.name))
    ops = {each["op"] for each in before}
    if len(ranks) > 1 or ops & REARRANGING:
        return
    factors = {str(each["factor"]) for each in before if each["op"].startswith("pixel_")}
    if ops >= {"pixel_shuffle", "pixel_unshuffle"} and len(factors) > 1:
        return  # a part of one axis may come to lie in another; units are told apart by its major part
    for dim in range(2, sets.ndim):
        if dim not in dims:
            hulls = brute_force.hulls(spec, layer.name, [dim], sets={layer.name: sets})
            # Where a mixed axis is spread out again (a transposed convolution of a pooled map) some
            # units may read nothing; that alone does not tell them apart.
            for field in np.moveaxis(hulls, 1, 0):
                read = {(int(begin), int(end)) for begin, end in field if begin != end}
                assert len(read) <= 1, f"fields of {layer.name} differ along dim {dim}"


Axes = list[tuple[str, int, int]]


def input_axes(spec: Spec) -> Axes:
    """Input, axis and size for every field, in order."""
    return [
        (source.name, axis, source.shape[axis])
        for source in brute_force.sources(spec)
        for axis in source.axes
    ]


def fields_of(report: Any, spec: Spec, axes: Axes | None = None) -> dict[str, list[dict]]:
    """The JSON fields of every layer, one for every axis of every input, in order."""
    expected = [(name, axis) for name, axis, _ in axes or input_axes(spec)]
    found = {}
    for layer in report.to_dict()["layers"]:
        if layer["name"] in layers_of(spec):
            assert [(f["input"], f["axis"]) for f in layer["fields"]] == expected, layer["name"]
            found[layer["name"]] = layer["fields"]
    return found


def assert_box_contains(layer: Any, fields: list[dict], boxes: np.ndarray, axes: Axes) -> None:
    """``box()`` of every unit, clipped to the input, contains what the unit reads locally."""
    for unit in np.ndindex(boxes.shape[:-2]):
        box = layer.box(unit)
        assert len(box) == len(axes)
        for at, (source, axis, size) in enumerate(axes):
            if not fields[at]["global"]:
                place = f"{layer.name}, unit {unit}, axis {axis} of {source}"
                assert_contains(box[at], boxes[(*unit, at)], size, place)


def assert_canvas_contains(layer: Any, fields: list[dict], boxes: np.ndarray, axes: Axes) -> None:
    """A canvas, clipped to the input, contains what units read at each position of its dim."""
    dims = layer.unit_dims
    for at, (field, (source, axis, size)) in enumerate(zip(fields, axes, strict=True)):
        if field["canvas"] is None or field["global"] or field["dim"] not in dims:
            continue
        for i, hull in enumerate(hull_along(boxes, dims, field["dim"], at)):
            place = f"{layer.name}, position {i} of dim {field['dim']}, axis {axis} of {source}"
            assert_contains(canvas_hull(field["canvas"], i), hull, size, place)


def canvas_hull(canvas: Mapping[str, Any], i: int) -> tuple[float, float]:
    """A canvas at position i. An unbounded side may be written as null."""
    lap, phase = divmod(i, canvas["period"])
    begin, end = canvas["begin"][phase], canvas["end"][phase]
    low = -math.inf if begin is None else canvas["advance"] * lap + begin
    high = math.inf if end is None else canvas["advance"] * lap + end
    return low, high


def hull_along(boxes: np.ndarray, unit_dims: tuple[int, ...], dim: int, field: int) -> np.ndarray:
    """Hulls of one field along one unit dim, united over the others: ``[positions, 2]``."""
    place = list(unit_dims).index(dim)
    each = np.moveaxis(boxes[..., field, :], place, 0)
    each = each.reshape(each.shape[0], -1, 2)
    hulls = np.zeros((len(each), 2), dtype=np.int64)
    for i, units in enumerate(each):
        read = units[units[:, 0] < units[:, 1]]
        if len(read):
            hulls[i] = read[:, 0].min(), read[:, 1].max()
    return hulls


# The tests ---------------------------------------------------------------------------------------


@fuzz(0.35)
@given(specs())
def test_boxes_are_what_every_unit_reads(spec: Spec) -> None:
    report = eyeshot.analyze(spec)
    sets = brute_force.read_sets(spec)
    for name, array in sets.items():
        layer = report[name]
        assert tuple(layer.shape) == array.shape, name
        assert_unit_dims(spec, layer, array)
        assert_boxes(layer, brute_force.hulls(spec, name, layer.unit_dims, sets=sets))


@fuzz(0.1)
@given(specs(without=("opaque",)))
def test_only_an_unknown_operator_makes_a_bound(spec: Spec) -> None:
    report = eyeshot.analyze(spec)
    assert {name: report[name].status for name in layers_of(spec)} == dict.fromkeys(
        layers_of(spec), "exact"
    )


@fuzz(0.1)
@given(specs())
def test_box_of_a_unit_contains_what_it_reads(spec: Spec) -> None:
    report = eyeshot.analyze(spec)
    sets = brute_force.read_sets(spec)
    for name, fields in fields_of(report, spec).items():
        boxes = brute_force.hulls(spec, name, report[name].unit_dims, sets=sets)
        assert_box_contains(report[name], fields, boxes, input_axes(spec))


@fuzz(0.1)
@given(specs())
def test_canvas_contains_what_is_read(spec: Spec) -> None:
    report = eyeshot.analyze(spec)
    sets = brute_force.read_sets(spec)
    for name, fields in fields_of(report, spec).items():
        if any(folds(layer) for layer in upstream(spec, name)):
            continue
        boxes = brute_force.hulls(spec, name, report[name].unit_dims, sets=sets)
        assert_canvas_contains(report[name], fields, boxes, input_axes(spec))


def same(found: tuple[float, float], expected: tuple[int, int]) -> bool:
    """Whether a hull is what is read; an unbounded past (or future) only has its other end."""
    return all(math.isinf(f) or f == e for f, e in zip(found, expected, strict=True))


@fuzz(0.15)
@given(plain_specs())
def test_closed_forms_are_what_is_read_where_nothing_is_outside(spec: Spec) -> None:
    report = eyeshot.analyze(spec)
    sets = brute_force.read_sets(spec)
    for name, fields in fields_of(report, spec).items():
        layer = report[name]
        boxes = brute_force.hulls(spec, name, layer.unit_dims, sets=sets)
        local = [at for at, field in enumerate(fields) if not field["global"]]
        for unit in np.ndindex(boxes.shape[:-2]):
            box = layer.box(unit)
            for at in local:
                expected = tuple(boxes[(*unit, at)].tolist())
                assert same(box[at], expected), (name, unit, fields[at], box[at], expected)
        for at in local:
            field = fields[at]
            if field["canvas"] is None:
                continue
            assert field["dim"] in layer.unit_dims, name
            for i, hull in enumerate(hull_along(boxes, layer.unit_dims, field["dim"], at).tolist()):
                found = canvas_hull(field["canvas"], i)
                assert same(found, tuple(hull)), (name, field, i, found, hull)


@fuzz(0.1)
@given(specs())
def test_shapes_are_pytorch_s(spec: Spec) -> None:
    pytest.importorskip("torch")
    from oracles import torch_model

    try:
        expected = torch_model.sizes(spec)
    except NotImplementedError:
        assume(False)
    report = eyeshot.analyze(spec)
    assert {name: tuple(report[name].shape) for name in expected} == expected


@fuzz(0.1)
@given(st.data())
def test_boxes_relative_to_a_layer(data: st.DataObject) -> None:
    spec = data.draw(specs(), label="spec")
    whole = eyeshot.analyze(spec)
    starts = [name for name in layers_of(spec) if whole[name].unit_dims]
    assume(starts)
    of = data.draw(st.sampled_from(starts), label="of")
    report = eyeshot.analyze(spec, of=of)
    # The unit dims of the layer take the place of an input's axes.
    dims = list(whole[of].unit_dims)
    assert [(each["name"], each["axes"]) for each in report.to_dict()["inputs"]] == [(of, dims)]
    axes = [(of, dim, whole[of].shape[dim]) for dim in dims]
    fields = fields_of(report, spec, axes)
    sets = brute_force.read_sets(spec, of=of)
    for name, array in sets.items():
        if name != of and not any(array.flat):
            continue  # not downstream: it need not be reported
        layer = report[name]
        assert tuple(layer.shape) == array.shape, name
        expected = brute_force.hulls(spec, name, layer.unit_dims, of=of, sets=sets, axes=dims)
        assert_boxes(layer, expected)
        assert_box_contains(layer, fields[name], expected, axes)
        if not any(folds(each) for each in upstream(spec, name)):
            assert_canvas_contains(layer, fields[name], expected, axes)

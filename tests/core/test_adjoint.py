"""Single units: the exact set that each reads, how much each element counts, and the way back.

Sets are compared with enumeration (:mod:`oracles.brute_force`), masses with averages that are worked out
forwards (:mod:`oracles.mass`). ``EYESHOT_FUZZ`` is the number of random specs; nightly runs use thousands.
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracles import brute_force, mass
from strategies import Spec, specs

import eyeshot
from eyeshot.analysis.report import Report
from eyeshot.core import families
from eyeshot.core.canvas import Source
from eyeshot.core.graph import Graph
from eyeshot.core.primitives import Input
from eyeshot.errors import EyeshotError, UnknownLayerError

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "100"))
#: What sums of shares may be off by.
CLOSE = 1e-9


def fuzz(share: float) -> Callable:
    """Settings for a test that gets this share of the examples."""
    return settings(
        max_examples=max(1, round(EXAMPLES * share)),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


class Truth:
    """What enumeration says of one layer's units, per input: sets and masses over the input's axes."""

    def __init__(self, layer: Any, sources: Any, sets: np.ndarray, state: mass.State) -> None:
        dims = layer.unit_dims
        total = max(source.offset + source.size for source in sources)
        self.extents = tuple(layer.shape[d] for d in dims)
        united = brute_force.members(brute_force.unite(sets, dims), total)
        rest = tuple(d for d in range(len(layer.shape)) if d not in dims)
        held = np.where(state.alive[..., None], state.mass, 0).sum(axis=rest)
        # A unit's mass starts on those of its elements that read anything.
        alive = state.alive.sum(axis=rest)
        self.alive = alive > 0
        amounts = held / np.maximum(alive, 1)[..., None]
        self.lost = np.where(self.alive, 1 - amounts.sum(axis=-1), 0)
        self.masks, self.masses = {}, {}
        for source in sources:
            here = slice(source.offset, source.offset + source.size)
            shape = (*self.extents, *source.shape)
            lead = len(self.extents)
            others = tuple(lead + d for d in range(len(source.shape)) if d not in source.axes)
            self.masks[source.name] = united[..., here].reshape(shape).any(axis=others)
            self.masses[source.name] = amounts[..., here].reshape(shape).sum(axis=others)


def truths(spec: Spec, report: Any) -> dict[str, Truth]:
    sources, sets = brute_force.sources(spec), brute_force.read_sets(spec)
    states = mass.masses(spec)
    return {
        layer.name: Truth(layer, sources, sets[layer.name], states[layer.name]) for layer in report
    }


def hull(mask: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Per axis the least and the greatest position plus one; zeros for nothing."""
    if not mask.any() or not mask.ndim:
        return ((0, 0),) * mask.ndim
    return tuple((int(at.min()), int(at.max()) + 1) for at in np.nonzero(mask))


def check_part(part: Any, mask: np.ndarray, amount: np.ndarray, what: Any) -> None:
    """One input of a unit."""
    np.testing.assert_array_equal(part.mask, mask, err_msg=str(what))
    np.testing.assert_allclose(part.mass, amount, rtol=0, atol=CLOSE, err_msg=str(what))
    assert not part.mass[~mask].any(), what
    assert part.clipped == hull(mask), what
    box = tuple(slice(begin, end) for begin, end in part.clipped)
    inside = np.zeros_like(mask)
    inside[box] = True
    np.testing.assert_array_equal(part.holes, inside & ~mask, err_msg=str(what))
    np.testing.assert_array_equal(part.mask_in_box, mask[box])
    np.testing.assert_allclose(part.mass_in_box, amount[box], rtol=0, atol=CLOSE)
    assert abs(part.total - amount.sum()) < CLOSE


@fuzz(1)
@given(specs())
def test_units_of_random_specs(spec: Spec) -> None:
    """Every unit of every layer: its set, hull, holes and masses in every input, and what it lost."""
    report = eyeshot.analyze(spec)
    for name, truth in truths(spec, report).items():
        for at in np.ndindex(truth.extents):
            unit = report.unit(name, at)
            for part in unit.parts:
                mask, amount = truth.masks[part.name][at], truth.masses[part.name][at]
                check_part(part, mask, amount, (name, at, part.name))
            assert abs(unit.share_in_padding - truth.lost[at]) < CLOSE, (name, at)
            total = sum(part.total for part in unit.parts)
            assert abs(total + unit.share_in_padding - bool(truth.alive[at])) < CLOSE, (name, at)


@fuzz(0.5)
@given(specs(), st.integers(0, 1 << 30))
def test_several_units(spec: Spec, seed: int) -> None:
    """A box of units is their union and their mean; with weights a weighted sum."""
    report = eyeshot.analyze(spec)
    rng = np.random.default_rng(seed)
    layer = report[int(rng.integers(len(report)))]
    truth = truths(spec, report)[layer.name]
    n = truth.extents
    begin = [int(rng.integers(size)) for size in n]
    end = [int(rng.integers(b, size)) + 1 for b, size in zip(begin, n, strict=True)]
    box = tuple(map(slice, begin, end))
    unit = report.unit(layer.name, box if n else None)
    shares = np.zeros(n)
    shares[box] = truth.alive[box]
    shares = shares / max(shares.sum(), 1)
    for part in unit.parts:
        masks, amounts = truth.masks[part.name], truth.masses[part.name]
        mask = masks[box].any(axis=tuple(range(len(n))))
        check_part(part, mask, np.tensordot(shares, amounts, len(n)), (layer.name, box, part.name))
    weights = rng.random(n) * (rng.random(n) < 0.7)
    unit = report.unit(layer.name, weights=weights)
    for part in unit.parts:
        masks, amounts = truth.masks[part.name], truth.masses[part.name]
        mask = masks[weights > 0].any(axis=0)
        check_part(part, mask, np.tensordot(weights, amounts, len(n)), (layer.name, part.name))


@fuzz(0.5)
@given(specs(max_inputs=1), st.integers(0, 1 << 30))
def test_touched(spec: Spec, seed: int) -> None:
    """The units that read any of a box of the input: the transpose of their sets."""
    report = eyeshot.analyze(spec)
    (source,) = brute_force.sources(spec)
    sets = brute_force.read_sets(spec)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        begin = [int(rng.integers(source.shape[d])) for d in source.axes]
        end = [int(rng.integers(b, source.shape[d])) + 1
               for b, d in zip(begin, source.axes, strict=True)]  # fmt: skip
        found = report.touched(list(zip(begin, end, strict=True)))
        wanted = 0
        for bits in source.bits()[(..., *map(slice, begin, end))].flat:
            wanted |= bits
        for layer in report:
            units = brute_force.unite(sets[layer.name], layer.unit_dims)
            want = np.array([bool(bits & wanted) for bits in units.flat]).reshape(units.shape)
            assert (layer.name in found) == want.any(), layer.name
            if layer.name in found:
                got = found[layer.name]
                np.testing.assert_array_equal(got.mask, want, err_msg=layer.name)
                np.testing.assert_array_equal(got.indices, np.argwhere(want))
                assert len(got) == want.sum()
                assert got.box == hull(want)


@fuzz(0.5)
@given(specs(), st.integers(0, 1 << 30))
def test_relative_to_a_layer(spec: Spec, seed: int) -> None:
    """``of=``: a layer in the place of the input; what avoids it is told."""
    report = eyeshot.analyze(spec)
    rng = np.random.default_rng(seed)
    inner = report[int(rng.integers(len(report)))]
    assume(inner.unit_dims)
    relative = eyeshot.analyze(spec, of=inner.name)
    sets, states = brute_force.read_sets(spec, of=inner.name), mass.masses(spec, inner.name)
    total = sum(source.size for source in brute_force.sources(spec))
    for layer in relative:
        truth_ = States(layer, inner, sets[layer.name], states[layer.name], total)
        for at in np.ndindex(truth_.extents):
            unit = report.unit(layer.name, at, of=inner.name)
            assert unit.of == inner.name
            (part,) = unit.parts
            check_part(part, truth_.masks[at], truth_.masses[at], (layer.name, at))
            assert abs(unit.elsewhere - truth_.elsewhere[at]) < CLOSE, (layer.name, at)


def test_what_reads_nothing_counts_nothing_as_a_layer_either() -> None:
    """Every second unit of the inner layer reads nothing: it is in the set, and has no mass."""
    layers = {
        "wide": {"op": "conv_transpose", "kernel": 1, "stride": 2},
        "pool": {"op": "avg_pool", "kernel": 2},
    }
    unit = eyeshot.analyze({"input": [1, 3], "layers": layers}).unit("pool", 1, of="wide")
    np.testing.assert_array_equal(unit.mask, [False, False, True, True, False])
    np.testing.assert_allclose(unit.mass, [0, 0, 0.5, 0, 0])


class States:
    """What enumeration says of one layer's units relative to another layer."""

    def __init__(self, layer: Any, inner: Any, sets: Any, state: mass.State, total: int) -> None:
        dims = layer.unit_dims
        self.extents = tuple(layer.shape[d] for d in dims)
        rest = tuple(d for d in range(len(layer.shape)) if d not in dims)
        alive = state.alive.sum(axis=rest)
        held = np.where(state.alive[..., None], state.mass, 0).sum(axis=rest)
        amounts = held / np.maximum(alive, 1)[..., None]
        size = amounts.shape[-1] - total
        shape = (*self.extents, *inner.shape)
        axes = inner.unit_dims
        others = tuple(len(self.extents) + d for d in range(len(inner.shape)) if d not in axes)
        read = brute_force.members(brute_force.unite(sets, dims), size)
        self.masks = read.reshape(shape).any(axis=others)
        self.masses = amounts[..., total:].reshape(shape).sum(axis=others)
        self.elsewhere = amounts[..., :total].sum(axis=-1)


# Known networks ----------------------------------------------------------------------------------


@fuzz(0.5)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)), max_size=6))
def test_the_spread_of_plain_stacks(windows: list[tuple[int, int, int]]) -> None:
    """A layer of k taps, d apart, adds d²·(k²-1)/12·jump² to the variance (Luo et al. 2016)."""
    layers, variance, size, jump = {}, 0.0, 1, 1
    for at, (k, s, d) in enumerate(windows):
        layers[f"conv{at}"] = {"op": "conv", "kernel": k, "stride": s, "dilation": d}
        variance += d**2 * (k**2 - 1) / 12 * jump**2
        size += d * (k - 1) * jump
        jump *= s
    layers["last"] = {"op": "relu"}
    unit = eyeshot.analyze({"layers": layers}, input=size + 5 * jump)["last"]
    assert unit.size == (size,)
    found = eyeshot.analyze({"layers": layers}, input=size + 5 * jump).unit("last", 2)
    at = np.arange(*found.clipped[0]) + 0.5
    amount = found.mass_in_box
    mean = (at * amount).sum()
    assert found.share_in_padding == 0
    assert abs(amount.sum() - 1) < CLOSE
    assert abs(mean - (size / 2 + 2 * jump)) < 1e-6
    assert abs((amount * (at - mean) ** 2).sum() - variance) < 1e-6 * max(variance, 1)


#: Size, jump and padding of each layer, published: the article's table, and Dumoulin & Visin's arithmetic.
ALEXNET = {
    "conv1": (11, 4, 0), "pool1": (19, 8, 0), "conv2": (51, 8, 16), "pool2": (67, 16, 16),
    "conv3": (99, 16, 32), "conv4": (131, 16, 48), "conv5": (163, 16, 64), "pool5": (195, 32, 64),
}  # fmt: skip


def test_alexnet() -> None:
    """Boxes by hand; windows without gaps read all of them, as far as they lie in the image."""
    report = eyeshot.analyze("example:alexnet")
    for name, (size, jump, padding) in ALEXNET.items():
        n = report[name].shape[2]
        for at in {(0, 0), (n // 2, n - 1), (n - 1, 1)}:
            unit = report.unit(name, at)
            box = tuple((jump * i - padding, jump * i - padding + size) for i in at)
            assert unit.box == box
            assert unit.clipped == tuple((max(b, 0), min(e, 227)) for b, e in box)
            assert unit.mask_in_box.all()
            assert unit.mask.sum() == unit.mask_in_box.sum()
            assert (unit.share_in_padding > 0) == (unit.clipped != box)
            assert abs(unit.mass.sum() + unit.share_in_padding - 1) < CLOSE


def test_unet() -> None:
    """Phases have fields of two sizes; where a field lies in the image nothing is lost."""
    report = eyeshot.analyze("example:unet")
    boxes = report["head"].boxes()
    for at in ((0, 0), (7, 250), (101, 128), (127, 128), (120, 130)):
        unit = report.unit("head", at)
        assert all(end - begin in (188, 204) for begin, end in unit.box)
        assert unit.clipped == tuple(map(tuple, boxes[at].tolist()))
        assert unit.clipped == tuple((max(b, 0), min(e, 256)) for b, e in unit.box)
        assert (unit.share_in_padding == 0) == (unit.clipped == unit.box)
        assert abs(unit.mass.sum() + unit.share_in_padding - 1) < CLOSE
        assert unit.mask_in_box.all()
    assert unit.share_in_padding == 0


def test_gridding() -> None:
    """Three windows of equal dilation read every other pixel (Wang et al. 2018, arXiv 1702.08502)."""
    layers = {f"conv{k}": {"op": "conv", "kernel": 3, "dilation": 2} for k in range(3)}
    unit = eyeshot.analyze({"layers": layers}, input=20).unit("conv2", 4)
    assert unit.clipped == ((4, 17),)
    assert np.flatnonzero(unit.mask).tolist() == [4, 6, 8, 10, 12, 14, 16]
    assert np.flatnonzero(unit.holes).tolist() == [5, 7, 9, 11, 13, 15]
    # Three times three paths: 1, 3, 6, 7, 6, 3, 1 of 27.
    np.testing.assert_allclose(unit.mass[4:17:2] * 27, [1, 3, 6, 7, 6, 3, 1], rtol=1e-12)


def test_a_unit_of_padding_alone_reads_nothing() -> None:
    report = eyeshot.analyze({"three": [3, 1, 1], "one": [1, 1, 1]}, input=4)
    unit = report.unit("one", 0)
    assert not unit.mask.any()
    assert unit.clipped == ((0, 0),)
    assert unit.share_in_padding == 1
    assert unit.to_dict()["share_in_padding"] == 1


def test_units_that_read_nothing() -> None:
    """Gaps of a transposed window: no set, no mass, nothing lost; a mean over them leaves them out."""
    layers: dict[str, Any] = {
        "gaps": {"op": "conv_transpose", "kernel": 1, "stride": 3},
        "mean": {"op": "mean", "dims": [2]},
        "sum": {"op": "add", "inputs": ["gaps", "gaps"]},
    }
    report = eyeshot.analyze({"layers": layers}, input=4)
    for name in ("gaps", "sum"):
        unit = report.unit(name, 1)
        assert not unit.mask.any()
        assert (unit["input"].total, unit.share_in_padding) == (0, 0)
    np.testing.assert_allclose(report.unit("mean").mass, 1 / 4)
    np.testing.assert_allclose(report.unit("gaps", slice(0, 10)).mass, 1 / 4)
    # The set relative to the gaps has all of them, their mass is where any reaches the input.
    unit = report.unit("mean", of="gaps")
    assert unit.mask.all()
    np.testing.assert_allclose(unit.mass * 4, [1, 0, 0, 1, 0, 0, 1, 0, 0, 1])


def test_what_lies_beyond_is_nothing_or_padding() -> None:
    """Padding takes part in a join and loses its half; where nothing is read the other has all of it."""
    for padded in (False, True):
        graph = Graph()
        x = graph.add(Input((1, 1, 4), "x", (2,)))
        y = families.pad(graph, x, ((1, -1),)) if padded else families.placed(graph, x, 2, 1, 4)
        graph.mark("y", "y", families.join(graph, x, y))
        unit = Report(graph, [Source(x, "x", (1, 1, 4), (2,))], graph.layers).unit("y", 0)
        assert unit.mass.tolist() == [0.5 if padded else 1, 0, 0, 0]
        assert unit.share_in_padding == (0.5 if padded else 0)
        assert np.flatnonzero(unit.mask).tolist() == [0]


def test_several_inputs() -> None:
    """Each has its own part; what joins them gives both half."""
    spec = {
        "inputs": {"image": [1, 8, 8], "flow": [2, 8, 8]},
        "layers": {
            "a": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "image"},
            "b": {"op": "conv", "kernel": 1, "channels": 1, "inputs": "flow"},
            "both": {"op": "add", "inputs": ["a", "b"]},
        },
    }
    report = eyeshot.analyze(spec)
    unit = report.unit("both", (3, 4))
    assert unit.box == ((2, 5), (3, 6), (3, 4), (4, 5))
    assert unit["image"].clipped == ((2, 5), (3, 6))
    assert unit["flow"].mask.sum() == 1
    assert abs(unit["image"].total - 0.5) < CLOSE
    assert abs(unit["flow"].total - 0.5) < CLOSE
    for ask in (lambda: unit.mask, lambda: unit.mass, lambda: unit.holes):
        with pytest.raises(EyeshotError, match=r"several inputs; choose one: .*'image', 'flow'"):
            ask()
    with pytest.raises(EyeshotError, match="no input 'depth'; the inputs are image, flow"):
        unit["depth"]
    touched = report.touched({"flow": [(3, 4), (0, 8)]})
    assert set(touched) == {"b", "both"}
    assert touched["both"].mask.sum() == 8
    for box in ([(3, 4), (0, 8)], {"depth": [(0, 1), (0, 1)]}):
        with pytest.raises(EyeshotError, match=r"several inputs|no input 'depth'"):
            report.touched(box)


def test_a_huge_input() -> None:
    """A unit costs what it reads: of an image of 10^12 pixels only the field is ever written down."""
    layers: dict[str, Any] = {
        "stem": {"op": "conv", "kernel": 7, "stride": 2, "padding": 3},
        "pool": {"op": "max_pool", "kernel": 3, "stride": 2, "padding": 1},
        "conv": {"op": "conv", "kernel": 3, "padding": 1},
        "add": {"op": "add", "inputs": ["conv", "pool"]},
        "up": {"op": "upsample", "scale": 2},
    }
    small = eyeshot.analyze({"input": [3, 1024, 1024], "layers": layers})
    huge = eyeshot.analyze({"input": [3, 10**6, 10**6], "layers": layers})
    tracemalloc.start()
    try:
        unit = huge.unit("up", (250_001, 100_000))
        mask, amount = unit.mask_in_box, unit.mass_in_box
        touched = huge.touched([(500_000, 500_003), (7, 9)])["up"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 22
    near = small.unit("up", (251, 250))
    np.testing.assert_array_equal(mask, near.mask_in_box)
    np.testing.assert_allclose(amount, near.mass_in_box, rtol=1e-12)
    assert unit.clipped[0] == tuple(n + 2 * 249_750 for n in near.clipped[0])
    assert len(touched) == len(small.touched([(500, 503), (7, 9)])["up"])
    for ask in (lambda: unit.mask, lambda: unit.mass, lambda: unit.holes):
        with pytest.raises(EyeshotError, match="an array of 1000000000000 elements") as error:
            ask()
        assert "\n" not in str(error.value)


# Interpolation -----------------------------------------------------------------------------------

SCALES: list[dict[str, float]] = [
    {"scale": 2}, {"scale": 1.5}, {"scale": 0.4}, {"scale": 1.3},
    {"size": 12}, {"size": 3}, {"size": 1}, {"size": 7},
]  # fmt: skip
MODES = {"nearest": "nearest", "nearest-exact": "nearest-exact", "linear": "bilinear",
         "cubic": "bicubic", "area": "area"}  # fmt: skip


@pytest.mark.parametrize("align", [None, False, True])
@pytest.mark.parametrize("mode", MODES)
def test_interpolation(mode: str, align: bool | None) -> None:
    """PyTorch's response to one element alone is that element's mass, in float64."""
    torch = pytest.importorskip("torch")
    if (align is None) == (mode in ("linear", "cubic")):
        return
    n = 7
    for ((word, number),) in map(dict.items, SCALES):
        layer = {"op": "upsample", "mode": mode, word: [number, 1], "align_corners": bool(align)}
        report = eyeshot.analyze({"input": [1, n, 1], "layers": {"up": layer}})
        response = torch.nn.functional.interpolate(
            torch.eye(n, dtype=torch.float64).reshape(n, 1, n, 1),
            mode=MODES[mode],
            align_corners=align,
            **{"scale_factor" if word == "scale" else "size": (number, 1)},
        )
        want = response.reshape(n, -1).numpy()
        assert report["up"].shape[2] == want.shape[1]
        for i in range(want.shape[1]):
            unit = report.unit("up", (i, 0)[: len(report["up"].unit_dims)])
            np.testing.assert_allclose(unit.mass[:, 0], want[:, i], rtol=0, atol=1e-10)
            assert unit.share_in_padding == 0


# Asking wrongly ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask, error, message",
    [
        (lambda r: r.unit("pol5", (0, 0)), UnknownLayerError, "no layer 'pol5'; did you mean 'pool5'"),
        (lambda r: r.unit("pool5", (6, 0)), IndexError, "pool5"),
        (lambda r: r.unit("pool5", 0), EyeshotError, "pool5: a unit has 2 indices"),
        (lambda r: r.unit("pool5", (slice(0, 6, 2), 0)), EyeshotError, "no box of units"),
        (lambda r: r.unit("pool5", (slice(4, 2), 0)), EyeshotError, "no box of units"),
        (lambda r: r.unit("pool5", weights=np.ones(6)), EyeshotError, r"weights for units of 6x6 wanted"),
        (lambda r: r.unit("pool5", (0, 0), weights=np.ones((6, 6))), EyeshotError, "index or weights"),
        (lambda r: r.unit("pool5", weights=np.full((6, 6), np.nan)), EyeshotError, "not finite"),
        (lambda r: r.unit("pool5", weights=np.ones((6, 6), complex)), EyeshotError, "are numbers"),
        (lambda r: r.unit("pool5", weights="x"), EyeshotError, "are numbers"),
        (lambda r: r.unit("pool5", (0, 0), of="conv0"), UnknownLayerError, "no layer 'conv0'"),
        (lambda r: r.unit("conv1", (0, 0), of="pool5"), EyeshotError, "conv1 reads nothing of pool5"),
        (lambda r: r.touched([(0, 3)]), EyeshotError, "2 axes"),
        (lambda r: r.touched([(0, 3), (4, 4)]), EyeshotError, "no part of an axis of 227"),
        (lambda r: r.touched([(0, 228), (4, 5)]), EyeshotError, "no part of an axis of 227"),
    ],
)  # fmt: skip
def test_what_does_not_fit(ask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        ask(eyeshot.analyze("example:alexnet"))
    assert "\n" not in str(raised.value)

"""Coordinates for arrays of units and positions: against single boxes, unit by unit, and published numbers."""

from __future__ import annotations

import math
import os
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from oracles import brute_force
from strategies import Spec, specs
from test_fuzz import folds, upstream

import eyeshot

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "300"))

Report = eyeshot.Report
NETS: dict[str, Any] = {
    "plain": {
        "input": [3, 23, 30],
        "layers": {
            "a": {"op": "conv", "kernel": [3, 5], "stride": [2, 3], "padding": [1, 2]},
            "b": {"op": "max_pool", "kernel": 3, "stride": 2},
        },
    },
    "decoder": {
        "input": [1, 20, 24],
        "layers": {
            "down": {"op": "conv", "kernel": 4, "stride": 4},
            "up": {"op": "upsample", "scale": 4},
            "fuse": {"op": "conv", "kernel": 3, "padding": 1},
        },
    },
    "many phases": {
        "input": [1, 60],
        "layers": {
            "down": {"op": "conv", "kernel": 6, "stride": 6},
            "up": {"op": "upsample", "scale": 6},
            "fuse": {"op": "conv", "kernel": 3, "padding": 1, "dilation": 2},
        },
    },
    "holes": {
        "input": [1, 7, 7],
        "layers": {"up": {"op": "conv_transpose", "kernel": 2, "stride": 3}},
    },
    "empty": {
        "input": [1, 5],
        "layers": {
            "up": {"op": "conv_transpose", "kernel": 1, "stride": 2},
            "none": {"op": "slice", "dim": 2, "start": 1, "step": 2},
        },
    },
    "flipped": {
        "input": [1, 17, 12],
        "layers": {
            "flip": {"op": "flip", "dims": [2]},
            "conv": {"op": "conv", "kernel": 3, "stride": 2},
            "up": {"op": "upsample", "scale": 3},
        },
    },
    "reflect": {
        "input": [1, 9, 9],
        "layers": {"conv": {"op": "conv", "kernel": 5, "padding": 2, "padding_mode": "reflect"}},
    },
    "circular": {
        "input": [1, 9],
        "layers": {"conv": {"op": "conv", "kernel": 3, "padding": 1, "padding_mode": "circular"}},
    },
    "folded where nothing is": {
        "input": [1, 4],
        "layers": {
            "up": {"op": "conv_transpose", "kernel": 1, "stride": 3},
            "conv": {"op": "conv", "kernel": 1, "padding": [[1, 0]], "padding_mode": "replicate"},
        },
    },
    "bilinear": {
        "input": [1, 7, 9],
        "layers": {
            "up": {"op": "upsample", "size": [18, 20], "mode": "linear"},
            "conv": {"op": "conv", "kernel": 3, "padding": 1},
        },
    },
    "tokens": {
        "input": [3, 24, 40],
        "layers": {
            "patch": {"op": "conv", "kernel": 8, "stride": 8, "channels": 4},
            "flat": {"op": "flatten", "start": 2},
            "tokens": {"op": "permute", "order": [0, 2, 1]},
            "attention": {"op": "attention", "dims": 1},
            "add": {"inputs": ["tokens", "attention"], "op": "add"},
        },
    },
    "recurrent": {
        "input": [4, 20],
        "layers": {"lstm": "lstm", "conv": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1}},
    },
    "both ways": {"input": [4, 20], "layers": {"gru": {"op": "gru", "bidirectional": True}}},
    "gate": {
        "input": [8, 12, 12],
        "layers": {
            "conv": {"op": "conv", "kernel": 3, "stride": 2},
            "pool": "global_avg_pool",
            "out": {"op": "mul", "inputs": ["conv", "pool"]},
        },
    },
    "two inputs": {
        "inputs": {"left": [3, 12, 10], "right": [3, 6, 5]},
        "layers": {
            "a": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1, "inputs": "left"},
            "b": {"op": "conv", "kernel": 5, "padding": 2, "inputs": "right"},
            "sum": {"op": "add", "inputs": ["a", "b"]},
        },
    },
    "joined maps": {
        "input": [3, 8, 7],
        "layers": {
            "conv": {"op": "conv", "kernel": 3, "padding": 1},
            "cat": {"op": "concat", "dim": 2, "inputs": ["conv", "input"]},
            "up": {"op": "upsample", "scale": 2},
            "other": {"op": "concat", "dim": 2, "inputs": ["input", "conv"]},
        },
    },
    "diagonal": {
        "input": [1, 6, 6],
        "layers": {
            "rows": {"op": "mean", "dims": [3], "inputs": "input"},
            "columns": {"op": "mean", "dims": [2], "inputs": "input"},
            "add": {"op": "add", "inputs": ["rows", "columns"]},
        },
    },
    "opaque": {
        "input": [3, 6, 6],
        "layers": {"mystery": {"op": "opaque", "function": "foo.bar"}, "after": "relu"},
    },
    "three axes": {
        "input": [1, 5, 6, 7],
        "layers": {"conv": {"op": "conv", "kernel": [1, 2, 3], "stride": [1, 2, 1]}},
    },
    "unequal": {
        "input": [1, 12],
        "layers": {
            "slow": {"op": "slice", "dim": 2, "start": 0, "stop": 6},
            "fast": {"op": "slice", "dim": 2, "step": 2, "inputs": "input"},
            "add": {"op": "add", "inputs": ["slow", "fast"]},
        },
    },
}
#: Borders that read what is inside.
BENT = ("reflect", "circular", "bilinear", "folded where nothing is")


# Oracles: one unit, one position at a time ---------------------------------------------------------


def extents(layer: Any) -> tuple[int, ...]:
    return tuple(layer.shape[dim] for dim in layer.unit_dims)


def cut(box: tuple[tuple[float, float], ...], lengths: list[int]) -> list[list[int]]:
    """A box whose infinite ends are cut off where the axis ends."""
    out = []
    for (begin, end), n in zip(box, lengths, strict=True):
        if begin == -math.inf:
            begin = min(0, end)
        if end == math.inf:
            end = max(n, begin)
        out.append([int(begin), int(end)] if begin < end else [0, 0])
    return out


def middle(begin: float, end: float, n: int) -> float:
    if begin >= end:
        return math.nan
    if begin == -math.inf and end == math.inf:
        return n / 2
    if begin == -math.inf:
        return end - 0.5
    if end == math.inf:
        return begin + 0.5
    return float(Fraction(int(begin) + int(end), 2))


def expected_center(layer: Any, at: tuple[int, ...], k: int, n: int, bent: bool) -> float | None:
    """The centre along one axis, from single boxes; None where these don't tell it."""
    field = layer.fields[k]
    if field.canvas is None:
        if field.is_global:
            return None
        begin, end = layer.boxes()[(*at, k)]
        return middle(int(begin), int(end), n)
    if bent:  # the box then has what is folded back, too
        return None
    return middle(*layer.box(at)[k], n)


def check(report: Report, bent: bool = False, seed: int = 0) -> None:
    """Every layer's answers, against its boxes unit by unit."""
    rng = np.random.default_rng(seed)
    axes = [(i["name"], axis, i["shape"][axis]) for i in report.inputs for axis in i["axes"]]
    lengths = [n for _, _, n in axes]
    for layer in report:
        shape = extents(layer)
        units = list(np.ndindex(shape))
        boxes, centres = layer.boxes_at(), layer.centres()
        assert boxes.dtype == np.int64 and centres.dtype == np.float64
        assert boxes.shape == (*shape, len(axes), 2) and centres.shape == (*shape, len(axes))
        assert (layer.boxes_at(clipped=True) == layer.boxes()).all(), layer.name
        assert (layer.centres(convention="pixel-index") == centres - 0.5)[~np.isnan(centres)].all()
        for at in units:
            assert boxes[at].tolist() == cut(layer.box(at), lengths), (layer.name, at)
            for k, n in enumerate(lengths):
                want = expected_center(layer, at, k, n, bent)
                got = centres[(*at, k)]
                if layer.box(at)[k][0] >= layer.box(at)[k][1]:
                    assert math.isnan(got), (layer.name, at, k, got)
                elif want is not None:
                    assert got == want, (layer.name, at, k, got, want)
        if units and shape:
            chosen = np.array([units[i] for i in rng.integers(len(units), size=6)]).reshape(
                2, 3, -1
            )
            for asked in (chosen, chosen.tolist(), chosen.astype(np.uint8)):
                where = tuple(np.moveaxis(chosen, -1, 0))
                np.testing.assert_array_equal(layer.centres(asked), centres[where])
                np.testing.assert_array_equal(layer.boxes_at(asked), boxes[where])
                clipped = layer.boxes_at(asked, clipped=True)
                np.testing.assert_array_equal(clipped, layer.boxes()[where])
        for source in report.inputs:
            mine = [k for k, (name, _, _) in enumerate(axes) if name == source["name"]]
            sizes = [lengths[k] for k in mine]
            check_ways_back(report, layer, source["name"], mine, sizes, rng)


def check_ways_back(
    report: Report, layer: Any, name: str, mine: list[int], sizes: list[int], rng: Any
) -> None:
    shape = extents(layer)
    positions = rng.integers(-3 * 4, (np.array(sizes) + 3) * 4, (7, len(sizes))) / 4
    centres = layer.centres(input=name)
    assert centres.shape[-1] == len(mine)
    np.testing.assert_array_equal(centres, layer.centres()[..., mine])
    flat = centres.reshape(-1, len(mine))
    squared = ((positions[:, None] - flat) ** 2).sum(-1)
    squared[np.isnan(squared)] = np.inf
    if np.isinf(squared).all():
        with pytest.raises(eyeshot.EyeshotError, match="no unit reads anything"):
            layer.nearest(positions, input=name)
    else:
        want = np.stack(np.unravel_index(squared.argmin(-1), shape or (1,)), -1)
        got = layer.nearest(positions, input=name)
        assert got.dtype == np.int64
        assert got.tolist() == want[:, : len(shape)].tolist(), (layer.name, name, positions)
    for clipped in (False, True):
        boxes = layer.boxes_at(clipped=clipped, input=name).reshape(-1, len(mine), 2)
        if not clipped:  # with infinite ends
            boxes = np.array(
                [[layer.box(at)[k] for k in mine] for at in np.ndindex(shape)], float
            ).reshape(-1, len(mine), 2)
        found = layer.seeing(positions, clipped=clipped, input=name)
        assert found.shape == (7, len(shape), 2) and found.dtype == np.int64
        for position, ranges in zip(positions, found, strict=True):
            inside = (boxes[..., 0] <= position) & (position < boxes[..., 1])
            seen = np.argwhere(inside.all(-1).reshape(shape))
            want_ranges = [[0, 0]] * len(shape)
            if len(seen):
                want_ranges = np.stack([seen.min(0), seen.max(0) + 1], -1).tolist()
            assert ranges.tolist() == want_ranges, (layer.name, name, position, clipped)
    inside = np.floor(rng.random(len(sizes)) * sizes)
    mask = layer.seeing_mask(inside + 0.25, input=name)
    touched = report.touched({name: [int(p) for p in inside]}).get(layer.name)
    assert mask.shape == shape and mask.dtype == bool
    assert (mask == (False if touched is None else touched.mask)).all()
    if shape:
        for dim, (begin, end) in enumerate(layer.seeing(inside, clipped=True, input=name)):
            along = np.argwhere(mask)[:, dim]
            assert ((begin <= along) & (along < end)).all()


# Unit by unit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_networks(name: str) -> None:
    check(eyeshot.analyze(NETS[name]), bent=name in BENT)


@given(spec=specs(max_layers=6))
@settings(
    max_examples=max(1, EXAMPLES // 3),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks(spec: Spec) -> None:
    report = eyeshot.analyze(spec)
    names = [layer.name for layer in report]
    bent = any(folds(each) for name in names for each in upstream(spec, name))
    check(report, bent)


@given(spec=specs(max_layers=5, max_inputs=1))
@settings(
    max_examples=max(1, EXAMPLES // 10),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_what_sees_a_position_by_enumeration(spec: Spec) -> None:
    """From the definitions alone, without any of the library's boxes."""
    report = eyeshot.analyze(spec)
    (source,) = brute_force.sources(spec)
    reads = brute_force.read_sets(spec)
    for layer in report:
        if layer.status != "exact":
            continue
        united = brute_force.unite(reads[layer.name], layer.unit_dims)
        flat = brute_force.members(united, source.size)
        flat = flat.reshape(*united.shape, *source.shape)
        others = tuple(united.ndim + d for d in range(len(source.shape)) if d not in source.axes)
        which = flat.any(axis=others)
        lengths = [source.shape[axis] for axis in source.axes]
        for pixel in ([0] * len(lengths), [n - 1 for n in lengths], [n // 2 for n in lengths]):
            assert (layer.seeing_mask(pixel) == which[(..., *pixel)]).all(), (layer.name, pixel)


@pytest.mark.parametrize("name", ["alexnet", "resnet50", "unet", "fpn", "wavenet", "patchgan"])
def test_examples(name: str) -> None:
    """A sample of the units of every layer of a real network."""
    report = eyeshot.analyze(f"example:{name}")
    rng = np.random.default_rng(0)
    lengths = [i["shape"][axis] for i in report.inputs for axis in i["axes"]]
    for layer in list(report)[::3]:
        shape = extents(layer)
        index = rng.integers(0, shape or 1, (5, len(shape)))
        boxes, centres = layer.boxes_at(index), layer.centres(index)
        inside = layer.boxes_at(index, clipped=True)
        for at, box, center, exact in zip(index, boxes, centres, inside, strict=True):
            want = layer.box(at)
            assert box.tolist() == cut(want, lengths)
            assert (exact == layer.boxes()[tuple(at)]).all()
            if shape and not layer.is_global:
                assert center.tolist() == [
                    middle(*ends, n) for ends, n in zip(want, lengths, strict=True)
                ]
            for k, field in enumerate(layer.fields):
                if field.canvas is not None and field.canvas.period == 1 and field.start:
                    i = at[layer.unit_dims.index(field.dim)]
                    assert center[k] == float(field.start + int(i) * field.jump)


# Published values, and what follows from them -----------------------------------------------------


def test_alexnet() -> None:
    """Where the units of AlexNet's maps are centred, as worked out by hand in the article."""
    report = eyeshot.analyze("example:alexnet")
    centres = report.centres(["conv1", "pool1", "pool5"])
    assert centres["conv1"][0, :3].tolist() == [[5.5, 5.5], [5.5, 9.5], [5.5, 13.5]]
    assert centres["pool1"][2, 1].tolist() == [9.5 + 2 * 8, 9.5 + 8]
    assert centres["pool5"][:, 0, 0].tolist() == [33.5 + 32 * i for i in range(6)]


def test_the_convention_of_araujo_et_al() -> None:
    """``center = -padding + i * jump + (size - 1) / 2`` (Distill 2019), in pixel indices."""
    report = eyeshot.analyze("example:resnet50")
    for layer in report:
        if len(layer.unit_dims) != 2:
            continue
        n = extents(layer)[0]
        i = np.arange(n)
        want = -layer.padding[0] + i * layer.jump[0] + (layer.size[0] - 1) / 2
        assert (layer.centres(convention="pixel-index")[:, 0, 0] == want).all(), layer.name


def test_there_and_back() -> None:
    """In a plain network every unit is nearest to its own centre, and sees it."""
    for name in ("alexnet", "vgg16", "resnet18", "patchgan"):
        for layer in eyeshot.analyze(f"example:{name}"):
            if len(layer.unit_dims) != 2:
                continue
            units = np.stack(np.meshgrid(*map(np.arange, extents(layer)), indexing="ij"), -1)
            for convention in ("half-pixel", "pixel-index"):
                places = layer.centres(convention=convention)
                assert (layer.nearest(places, convention=convention) == units).all(), layer.name
                seen = layer.seeing(places, convention=convention)
                assert ((seen[..., 0] <= units) & (units < seen[..., 1])).all()


def test_conventions_name_the_same_pixel() -> None:
    layer = eyeshot.analyze({"a": [3, 2, 1], "b": [3, 2, 1]}, input=21)["b"]
    pixels = np.arange(21)[:, None]
    index = layer.seeing(pixels, convention="pixel-index")
    for p in (0, 0.25, 0.5, 0.75):
        assert (layer.seeing(pixels + p) == index).all()
    half = layer.nearest(pixels + 0.5)
    assert (layer.nearest(pixels, convention="pixel-index") == half).all()


def test_borders_that_fold_do_not_move_centres() -> None:
    for name, want in (("reflect", 9), ("circular", 9)):
        layer = eyeshot.analyze(NETS[name])["conv"]
        along = layer.centres()[..., -1].reshape(-1, want)[0]
        assert along.tolist() == [i + 0.5 for i in range(want)]
    # The unit at the border reads the other end of the axis, too.
    assert eyeshot.analyze(NETS["circular"])["conv"].seeing([[8]], clipped=True).tolist() == [
        [[0, 9]]
    ]
    mask = eyeshot.analyze(NETS["circular"])["conv"].seeing_mask([8])
    assert np.flatnonzero(mask).tolist() == [0, 7, 8]


def test_what_only_a_border_reads() -> None:
    """On the canvas the unit reads one of the gaps of a transposed convolution."""
    layer = eyeshot.analyze(NETS["folded where nothing is"])["conv"]
    assert layer.centres()[:3, 0].tolist()[:2] == [0.5, 0.5] and math.isnan(layer.centres()[2, 0])
    assert layer.nearest([[0.5], [1.4]]).tolist() == [[0], [4]]
    assert layer.seeing([0]).tolist() == [[0, 2]]


def test_phases_have_their_own_centres() -> None:
    layer = eyeshot.analyze(NETS["decoder"])["fuse"]
    assert layer.centres()[4:8, 4, 0].tolist() == [4.0, 6.0, 6.0, 8.0]
    assert layer.nearest([[6.0, 6.0]]).tolist() == [[5, 5]]  # of two alike the first


def test_ends_without_end() -> None:
    report = eyeshot.analyze(NETS["recurrent"])
    lstm = report["lstm"]
    assert lstm.centres()[:, 0].tolist() == [t + 0.5 for t in range(20)]
    assert lstm.boxes_at([[0], [7]]).tolist() == [[[0, 1]], [[0, 8]]]
    assert lstm.nearest([[7.5]]).tolist() == [[7]]
    assert lstm.seeing([[7.5]]).tolist() == [[[7, 20]]]
    assert eyeshot.analyze(NETS["both ways"])["gru"].centres([[3]]).tolist() == [[10.0]]


def test_what_is_pooled_away() -> None:
    report = eyeshot.analyze(NETS["gate"])
    pool = report["pool"]
    assert pool.unit_dims == () and pool.centres().tolist() == [
        5.5,
        5.5,
    ]  # the last row is not read
    assert pool.nearest([[1.0, 2.0], [3.0, 4.0]]).shape == (2, 0)
    assert pool.boxes_at(np.zeros((4, 0))).shape == (4, 2, 2)
    assert pool.slices() == (slice(0, 11), slice(0, 11))
    # A gate does not hide where the local field is.
    assert report["out"].centres([[1, 2]]).tolist() == [[3.5, 5.5]]
    assert set(report.centres()) == {"conv", "out"}


def test_tokens_after_attention_keep_their_places() -> None:
    """With a class token there is no closed form, and attention makes every field global."""
    pytest.importorskip("torchvision")
    report = eyeshot.analyze("torchvision:vit_b_16", input=(1, 3, 224, 224))
    layer = report["encoder.layers.encoder_layer_0.add"]
    assert layer.is_global and extents(layer) == (197,)
    at = layer.centres()
    assert at[0].tolist() == [112, 112]
    want = np.stack(np.meshgrid(*[np.arange(14) * 16 + 8.0] * 2, indexing="ij"), -1)
    assert (at[1:].reshape(14, 14, 2) == want).all()
    assert layer.nearest([[30.0, 60.0]]).tolist() == [[1 + 1 * 14 + 3]]


def test_far_out() -> None:
    """Integers stay exact on an axis of a million million elements."""
    n = 10**12 + 1
    report = eyeshot.analyze({"a": [3, 2, 1], "b": [3, 2, 1], "c": [5, 3, 0]}, input=n)
    layer = report["c"]
    last = layer.shape[2] - 1
    for i in (0, 1, last // 2, last - 1, last):
        begin, end = layer.box(i)[0]
        assert layer.boxes_at([i]).tolist() == [[begin, end]]
        assert layer.centres([i]).tolist() == [(begin + end) / 2]
        assert layer.nearest(layer.centres([i])).tolist() == [i]
        # The first element of its box is also read by the units before whose boxes reach as far.
        first = next(k for k in range(max(0, i - 9), i + 1) if layer.box(k)[0][1] > begin)
        assert layer.seeing([begin]).tolist() == [[first, i + 1]]
    with pytest.raises(eyeshot.EyeshotError, match="c: 83333333333 numbers, for all units"):
        layer.centres()


def test_slices_cut_an_image() -> None:
    layer = eyeshot.analyze("example:alexnet")["conv2"]
    image = np.arange(227 * 227).reshape(1, 227, 227)
    crop = image[:, *layer.slices((0, 3))]
    (top, bottom), (left, right) = layer.boxes()[0, 3].tolist()
    assert (crop == image[:, top:bottom, left:right]).all() and crop.size


def test_from_layer_to_layer() -> None:
    report = eyeshot.analyze("example:resnet50")
    names = [layer.name for layer in report if extents(layer) == (7, 7)]
    deep = names[-1]
    shallow = next(layer.name for layer in report if extents(layer) == (56, 56))
    units = np.stack(np.meshgrid(range(7), range(7), indexing="ij"), -1)
    found = report.transfer(units, deep, shallow)
    assert (found == units * 8).all()
    assert (report.transfer(found, shallow, deep) == units).all()


def test_several_layers() -> None:
    report = eyeshot.analyze("example:alexnet")
    position = [[100.0, 30.5], [3.25, 226]]
    near, seen = report.nearest(position), report.seeing(position, clipped=True)
    boxes = report.boxes_at({"conv1": [[3, 4]], "pool5": None}, clipped=True)
    assert list(boxes) == ["conv1", "pool5"]
    assert (boxes["pool5"] == report["pool5"].boxes()).all()
    assert boxes["conv1"].tolist() == [[[12, 23], [16, 27]]]
    for layer in report:
        if layer.unit_dims:
            assert (near[layer.name] == layer.nearest(position)).all()
            assert (seen[layer.name] == layer.seeing(position, clipped=True)).all()
    assert list(report.nearest(position, "conv3")) == ["conv3"]
    assert list(report.centres(["conv3", "conv1"])) == ["conv3", "conv1"]
    assert list(report.centres(0)) == ["conv1"]


def test_none_at_all() -> None:
    for name in ("plain", "joined maps", "tokens", "gate"):
        for layer in eyeshot.analyze(NETS[name]):
            dims = len(layer.unit_dims)
            assert layer.nearest(np.zeros((0, 2))).shape == (0, dims)
            assert layer.seeing(np.zeros((3, 0, 2))).shape == (3, 0, dims, 2)
            assert layer.centres(np.zeros((0, dims))).shape == (0, 2)
            assert layer.boxes_at(np.zeros((0, dims)), clipped=True).shape == (0, 2, 2)


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    layer = eyeshot.analyze("example:alexnet")["conv2"]
    index = torch.tensor([[1, 2], [3, 4]])
    assert (layer.centres(index) == layer.centres(index.tolist())).all()
    assert layer.nearest(torch.tensor([9.0, 30.0])).tolist() == [0, 3]
    with pytest.raises(eyeshot.EyeshotError, match="conv2: position: not an array"):
        layer.nearest(torch.tensor([9.0, 30.0], requires_grad=True))


# Bad input ---------------------------------------------------------------------------------------

ALEXNET = eyeshot.analyze("example:alexnet")
TWO = eyeshot.analyze(NETS["two inputs"])


@pytest.mark.parametrize(
    ("index", "words"),
    [([[0, 55]], "conv1: index 55 is outside 0 … 54"), ([-1, 0], "index -1 is outside 0 … 54")],
)
def test_units_that_do_not_exist(index: Any, words: str) -> None:
    for work in (ALEXNET["conv1"].centres, ALEXNET["conv1"].boxes_at, ALEXNET["conv1"].slices):
        with pytest.raises(IndexError, match=re.escape(words)):
            work(index)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda a: a.centres([[1, 2, 3]]), "conv1: a unit has 2 indices"),
        (lambda a: a.centres(3), "got an array of shape ()"),
        (lambda a: a.boxes_at([0.5, 1]), "conv1: index: whole numbers are wanted, not float64"),
        (lambda a: a.boxes_at([[True, False]]), "numbers are wanted, not an array of bool"),
        (lambda a: a.boxes_at([[1], [1, 2]]), "conv1: index: not an array"),
        (lambda a: a.boxes_at("a"), "numbers are wanted"),
        (lambda a: a.centres(convention="opencv"), "'half-pixel' or 'pixel-index'"),
        (lambda a: a.nearest([1.0, 2.0], "half"), "there is no convention 'half'"),
        (lambda a: a.nearest([math.nan, 2.0]), "conv1: a position that is not finite"),
        (lambda a: a.nearest([math.inf, 2.0]), "conv1: a position that is not finite"),
        (lambda a: a.nearest([1.0]), "conv1: a position has 2 coordinates"),
        (lambda a: a.seeing([[1.0, 2.0, 3.0]]), "got an array of shape (1, 3)"),
        (lambda a: a.seeing([1.0, 2.0], input="x"), "there is no input 'x'; the inputs are input"),
        (lambda a: a.seeing_mask([[1.0, 2.0]]), "a mask is of one position"),
        (lambda a: a.seeing_mask([1.0, 227]), "position 227 is outside 0 … 226"),
        (lambda a: a.slices([[1, 2]]), "slices are of one unit"),
    ],
)
def test_one_clear_line(work: Any, words: str) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=re.escape(words)) as caught:
        work(ALEXNET["conv1"])
    assert "\n" not in str(caught.value)


def test_several_inputs() -> None:
    layer = TWO["sum"]
    assert layer.centres([1, 1]).tolist() == [2.5, 2.5, 1.5, 1.5]
    assert layer.centres([1, 1], input="right").tolist() == [1.5, 1.5]
    assert layer.nearest([[2.0, 2.0]], input="left").tolist() == [[1, 1]]
    assert layer.slices([0, 0], input="right") == (slice(0, 3), slice(0, 3))
    for work in (layer.nearest, layer.seeing, layer.seeing_mask):
        with pytest.raises(eyeshot.EyeshotError, match="several inputs; choose one: input=, of l"):
            work([1, 1])
    # What reads nothing of an input is nowhere on it.
    assert np.isnan(TWO["a"].centres(input="right")).all()
    with pytest.raises(eyeshot.EyeshotError, match="a: no unit reads anything of the input"):
        TWO["a"].nearest([1, 1], input="right")
    with pytest.raises(eyeshot.EyeshotError, match="has no place"):
        TWO.transfer([1, 1], "a", "sum", input="right")
    assert not TWO["a"].seeing_mask([1, 1], input="right").any()


def test_unknown_layers() -> None:
    with pytest.raises(eyeshot.UnknownLayerError, match="did you mean 'conv3'"):
        ALEXNET.nearest([1, 1], ["conv33"])
    with pytest.raises(eyeshot.UnknownLayerError):
        ALEXNET.transfer([1, 1], "conv1", "convx")


def test_too_much_is_refused() -> None:
    """Positions by units that have no closed form, one by one."""
    from eyeshot.analysis.search import brute_nearest

    many = np.broadcast_to(np.zeros(()), (1 << 19,))
    wide = np.broadcast_to(np.zeros(()), (1 << 10, 1 << 10))
    with pytest.raises(eyeshot.EyeshotError, match="too many; ask for fewer at once"):
        brute_nearest([wide, wide], [many, many])


def test_a_unit_knows_its_centre() -> None:
    report = eyeshot.analyze("example:alexnet")
    assert report.unit("conv5", (3, 6)).centre == (17.5 + 3 * 16, 17.5 + 6 * 16)
    assert report.unit("conv5", (slice(0, 3), 6)).centre == (17.5 + 16, 17.5 + 6 * 16)
    inside = report.unit("conv5", weights=np.eye(13))
    assert inside.centre == (227 / 2, 227 / 2)
    dead = {"input": [1, 8], "layers": {"up": {"op": "conv_transpose", "kernel": 1, "stride": 2}}}
    up = eyeshot.analyze(dead)
    assert up.unit("up", 2).centre == (1.5,)
    assert up.unit("up", 1).centre == (4.0,)  # it reads nothing

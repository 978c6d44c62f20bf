"""Effective receptive fields: figures against direct counts, the spread against its closed form."""

from __future__ import annotations

import json
import math
import os
from fractions import Fraction
from importlib.resources import files
from itertools import product
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import Spec, specs

import eyeshot
from eyeshot.analysis.erf import Erf
from eyeshot.analysis.gaussian import fit_gaussian

EXAMPLES = max(1, int(os.environ.get("EYESHOT_FUZZ", "300")) // 3)
SCHEMA = json.loads((files("eyeshot") / "schema" / "erf-1.json").read_text("utf-8"))


def made(array: Any, centre: Any = None, clipped: Any = None, **more: Any) -> Erf:
    """An Erf of a map made by hand, by default of the whole input's middle."""
    array = np.asarray(array, dtype=float)
    inside = clipped or tuple((0, n) for n in array.shape)
    values: dict[str, Any] = {
        "title": "net",
        "layer": "conv",
        "index": (0,) * array.ndim,
        "input": "input",
        "axes": range(2, 2 + array.ndim),
        "centre": centre or tuple(n / 2 for n in array.shape),
        "box": inside,
        "clipped": inside,
        "protocol": "mass",
    }
    return Erf(array, **{**values, **more})


def stack(*layers: dict[str, Any], axes: int = 1, size: int = 0) -> dict[str, Any]:
    """A spec of these layers in a row, on an input of one channel."""
    return {
        "input": [1, *[size] * axes],
        "layers": {f"l{k}": layer for k, layer in enumerate(layers)},
    }


def conv(kernel: int, **more: int) -> dict[str, Any]:
    return {"op": "conv", "kernel": kernel, **more}


# --- squares


def counted(array: NDArray[Any], centre: tuple[float, ...], share: float) -> tuple[int, int]:
    """The side and area of the smallest square, pixel by pixel: squares of one parity, side by side."""
    centre = tuple(math.floor(2 * c + 0.5) / 2 for c in centre)
    if any(c % 1 for c in centre):
        centre = tuple(math.floor(c) + 0.5 for c in centre)
    total = math.fsum(array.ravel().tolist())
    side = 1 if centre[0] % 1 else 0
    while True:
        inside = [
            at
            for at in product(*map(range, array.shape))
            if all(abs(k + 0.5 - c) < side / 2 for k, c in zip(at, centre, strict=True))
        ]
        if math.fsum(float(array[at]) for at in inside) >= share * total - 1e-9 * total:
            return side, len(inside)
        side += 2


@st.composite
def maps(draw: st.DrawFn) -> tuple[NDArray[Any], tuple[float, ...]]:
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    array = rng.random(shape) * (rng.random(shape) < draw(st.sampled_from([0.3, 1.0])))
    array.flat[0] += 0.1
    centre = tuple(draw(st.integers(-4, 4 * n + 4)) / 4 for n in shape)
    return array, centre


@settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
@given(maps(), st.sampled_from([0.01, 0.2, 0.3, 0.5, 0.99, 1.0]))
def test_squares_equal_a_direct_count(
    case: tuple[NDArray[Any], tuple[float, ...]], share: float
) -> None:
    array, centre = case
    square = made(array, centre).square(share)
    side, area = counted(array, centre, share)
    assert square.side == side
    assert square.area_ratio == area / array.size
    inside = array[tuple(map(slice, square.begin, square.end))]
    assert inside.size == area
    assert inside.sum() >= share * array.sum() * (1 - 1e-9)


def test_squares_of_maps_made_by_hand() -> None:
    # About the middle of a pixel: sides 1, 3, 5.
    flat = made(np.ones((5, 5)))
    assert [flat.square(share).side for share in (0.04, 0.05, 0.36, 0.37, 1)] == [1, 3, 3, 5, 5]
    assert flat.square(0.3) == (0.3, 3, (1, 1), (4, 4), 9 / 25, 9 / 25)
    # About an edge: sides 2, 4.
    even = made(np.ones((4, 4)))
    assert [even.square(share).side for share in (0.01, 0.25, 0.26)] == [2, 2, 4]
    # Cut off at the border: the square at a corner.
    corner = made(np.ones((4, 4)), centre=(0.5, 0.5))
    assert corner.square(0.2) == (0.2, 3, (0, 0), (2, 2), 4 / 16, 4 / 16)
    # Between edge and middle: about the pixel after the edge.
    assert made(np.ones((4, 5))).square(0.01) == (0.01, 1, (2, 2), (3, 3), 1 / 20, 1 / 20)
    # One axis and three.
    assert made([0, 1, 2, 1, 0]).square(0.6).begin == (1,)
    assert made(np.ones((3, 3, 3))).square(0.5) == (0.5, 3, (0, 0, 0), (3, 3, 3), 1.0, 1.0)
    # Of the field: its part inside the input.
    part = made(np.ones((6, 6)), centre=(2.5, 2.5), clipped=((0, 5), (1, 5)))
    assert part.square(0.2).of_field == 9 / 20
    assert [square.share for square in part.squares] == [0.2, 0.3, 0.5, 0.99]


def replknet(data: NDArray[Any], share: float) -> tuple[int, float]:
    """What the script of Ding et al. prints, written anew: first radius above the share, and its area ratio."""
    h, w = data.shape
    for i in range(1, h // 2):
        region = data[h // 2 - i : h // 2 + 1 + i, w // 2 - i : w // 2 + 1 + i]
        if region.sum() / data.sum() > share:
            return 2 * i + 1, (2 * i + 1) ** 2 / (h * w)
    raise AssertionError


def test_squares_are_those_of_the_published_script() -> None:
    y, x = np.mgrid[:101, :101]
    rng = np.random.default_rng(0)
    data = np.exp(-((y - 50) ** 2 + (x - 50) ** 2) / 800) * rng.random((101, 101))
    for square in made(data, (50.5, 50.5)).squares:
        assert (square.side, square.area_ratio) == replknet(data, square.share)


# --- fit, width, spread


def gaussian(shape: tuple[int, ...], centre: Any, sigma: Any) -> NDArray[np.float64]:
    grid = np.indices(shape) + 0.5
    exponent = sum((g - c) ** 2 / (2 * s**2) for g, c, s in zip(grid, centre, sigma, strict=True))
    return np.asarray(np.exp(-exponent))


@pytest.mark.parametrize(
    ("shape", "centre", "sigma"),
    [
        ((80, 80), (40, 40), (9, 9)),
        ((64, 90), (20.3, 61.7), (5, 14)),
        ((200,), (31.5,), (12,)),
        ((30, 25, 20), (14, 12.5, 8.2), (4, 3, 5)),
        ((50, 50), (25, 25), (0.7, 30)),
    ],
)
@pytest.mark.parametrize("noise", [0, 0.05, 0.3])
def test_the_fit_recovers_gaussians(
    shape: tuple[int, ...], centre: tuple[float, ...], sigma: tuple[float, ...], noise: float
) -> None:
    rng = np.random.default_rng(1)
    array = 3 * (gaussian(shape, centre, sigma) + noise * rng.standard_normal(shape))
    fit = made(array).fit
    assert fit is not None
    if not noise:
        assert np.allclose(fit.centre, centre) and np.allclose(fit.sigma, sigma)
        assert fit.peak == pytest.approx(3) and fit.error < 1e-9 and fit.r2 > 1 - 1e-12
        return
    # The deviation that noise of this size brings (Hagen & Dereniak 2008, to an order).
    held = math.prod(2 * s for s in sigma) ** 0.5
    for found, true, width in zip(fit.centre, centre, sigma, strict=True):
        assert abs(found - true) < 6 * noise * width / held
    for found, true in zip(fit.sigma, sigma, strict=True):
        assert abs(found - true) < 8 * noise * true / held
    assert fit.error == pytest.approx(noise, rel=0.15)


def test_no_step_away_from_the_fit_is_better() -> None:
    """Of a map that is no Gaussian."""
    y, x = np.mgrid[:60, :60]
    array = np.exp(-np.abs(y - 30) / 6 - np.abs(x - 28) / 9)
    fit = fit_gaussian(array)
    assert fit is not None

    def error(centre: Any, sigma: Any, peak: float) -> float:
        return float(((array - peak * gaussian(array.shape, centre, sigma)) ** 2).sum())

    least = error(fit.centre, fit.sigma, fit.peak)
    assert fit.error == pytest.approx(math.sqrt(least / array.size) / fit.peak)
    assert fit.r2 == pytest.approx(1 - least / ((array - array.mean()) ** 2).sum())
    for k, sign in product(range(5), (-1, 1)):
        values = [*fit.centre, *fit.sigma, fit.peak]
        values[k] *= 1 + sign * 1e-3
        assert error(values[:2], values[2:4], values[4]) > least


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((9, 9)),
        np.ones((9, 9)),
        np.eye(9)[4],
        np.ones((1, 9)),
        np.arange(30.0),
        np.exp(np.arange(30.0) / 3),
        np.linspace(-1, 1, 40) ** 2,
    ],
)
def test_what_is_no_gaussian_has_no_fit(array: NDArray[Any]) -> None:
    assert fit_gaussian(array) is None


def test_the_width_of_a_gaussian() -> None:
    erf = made(gaussian((120, 100), (60, 47.3), (11, 6)))
    assert erf.fwhm == pytest.approx((2.354820 * 11, 2.354820 * 6), rel=2e-3)
    assert erf.spread == pytest.approx((11, 6), rel=1e-4)


def test_widths_made_by_hand() -> None:
    assert made([0, 1, 2, 1, 0]).fwhm == (2.0,)
    assert made([0, 0, 4, 0, 0]).fwhm == (1.0,)
    # The outermost crossings count, and the border ends what is above half there.
    assert made([0, 4, 0, 4, 0]).fwhm == (3.0,)
    assert made([2, 2, 2, 0]).fwhm == (3.0,)
    assert made([3, 3]).fwhm == (2.0,)
    assert made(np.outer([0, 1, 2, 1, 0], [2, 2, 2, 0])).fwhm == (2.0, 3.0)


def test_spread_made_by_hand() -> None:
    assert made([1, 0, 1]).spread == (1.0,)
    assert made(np.ones((1, 5))).spread == pytest.approx((0, math.sqrt(2)))


def test_share_of_field_made_by_hand() -> None:
    erf = made([0, 0.1, 1, 2, 0.2, 0.05, 0], clipped=((1, 6),))
    assert erf.share_of_field == 4 / 5  # 0.1 is above 4.55 % of 2, and 0.05 is not


# --- the closed form


@st.composite
def plain_stacks(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.integers(1, 2))
    layers = []
    size, jump, variance = [1] * axes, [1] * axes, [Fraction(0)] * axes
    for _ in range(draw(st.integers(1, 5))):
        kernel = [draw(st.integers(1, 5)) for _ in range(axes)]
        dilation = [draw(st.integers(1, 3)) for _ in range(axes)]
        stride = [draw(st.integers(1, 2)) for _ in range(axes)]
        for a in range(axes):
            size[a] += (kernel[a] - 1) * dilation[a] * jump[a]
            variance[a] += Fraction((jump[a] * dilation[a]) ** 2 * (kernel[a] ** 2 - 1), 12)
            jump[a] *= stride[a]
        op = draw(st.sampled_from(["conv", "max_pool", "avg_pool"]))
        layer = {"op": op, "kernel": kernel, "stride": stride, "dilation": dilation}
        if op == "avg_pool" and max(dilation) == 1:
            del layer["dilation"]
        elif op == "avg_pool":
            layer["op"] = "conv"
        layers.append(layer)
    extents = [size[a] + 2 * jump[a] + draw(st.integers(0, 3)) for a in range(axes)]
    return {
        "spec": {
            "input": [1, *extents],
            "layers": {f"l{k}": layer for k, layer in enumerate(layers)},
        },
        "variance": variance,
    }


@settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
@given(plain_stacks())
def test_the_spread_is_the_closed_form_on_plain_stacks(case: dict[str, Any]) -> None:
    report = eyeshot.analyze(case["spec"])
    erf = eyeshot.erf(report, layer=-1)
    expected = [math.sqrt(v) for v in case["variance"]]
    assert erf.closed_form == pytest.approx(expected, abs=1e-9)
    assert erf.spread == pytest.approx(expected, abs=1e-6)


def test_the_closed_form_where_it_holds_beyond_plain_stacks() -> None:
    def of(layers: dict[str, Any], size: list[int]) -> Erf:
        return eyeshot.erf({"input": size, "layers": layers}, layer=-1)

    # Branches that read alike, beside a constant; axes that change places; interpolation weights.
    joined = of(
        {
            "a": {"op": "conv", "kernel": 3},
            "b": {"op": "max_pool", "kernel": 3, "stride": 1, "inputs": "input"},
            "sum": {"op": "add", "inputs": ["a", "b"]},
            "cat": {"op": "concat", "dim": 1, "inputs": ["a", "b"]},
            "both": {"op": "conv", "kernel": 5, "inputs": "cat"},
        },
        [2, 30],
    )
    assert joined.closed_form == pytest.approx([math.sqrt((9 - 1 + 25 - 1) / 12)])
    assert joined.spread == pytest.approx(joined.closed_form)
    turned = of(
        {
            "a": {"op": "conv", "kernel": [3, 7]},
            "t": {"op": "permute", "order": [0, 1, 3, 2]},
            "b": {"op": "conv", "kernel": [1, 5]},
        },
        [1, 20, 30],
    )
    assert turned.closed_form == pytest.approx([math.sqrt(32 / 12), math.sqrt(48 / 12)])
    assert turned.spread == pytest.approx(turned.closed_form)


@pytest.mark.parametrize(
    "last",
    [
        {"op": "add", "inputs": ["a", "input"]},
        {"op": "conv_transpose", "kernel": 3, "stride": 2, "inputs": "a"},
        {"op": "upsample", "scale": 2, "inputs": "a"},
        {"op": "global_avg_pool", "inputs": "a"},
        {"op": "concat", "dim": 2, "inputs": ["a", "a"]},
    ],
)
def test_no_closed_form_where_units_read_in_several_ways(last: dict[str, Any]) -> None:
    spec = {
        "input": [1, 20],
        "layers": {"a": {"op": "conv", "kernel": 3, "padding": 1}, "last": last},
    }
    assert eyeshot.erf(spec, layer="last").closed_form is None
    assert eyeshot.erf(spec, layer="a").closed_form == pytest.approx([math.sqrt(8 / 12)])


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(specs())
def test_where_there_is_a_closed_form_it_holds(spec: Spec) -> None:
    """On random graphs, for units inside the input that lose nothing to padding."""
    report = eyeshot.analyze(spec)
    for layer in report:
        index = tuple(layer.shape[d] // 2 for d in layer.unit_dims)
        erf = eyeshot.erf(report, layer=layer.name, at=index)
        if erf.closed_form is None or erf.box != erf.clipped:
            continue
        if report.unit(layer.name, index).share_in_padding > 0:
            continue
        assert erf.spread == pytest.approx(erf.closed_form, abs=1e-6), (layer.name, index)


def test_the_spread_grows_like_the_root_of_the_depth() -> None:
    """Luo et al. 2016: n layers spread like sqrt(n), so that the field's share shrinks like 1 / sqrt(n)."""
    shares = []
    for depth in (10, 40, 90):
        spec = stack(*[conv(3)] * depth, axes=2, size=2 * depth + 1)
        erf = eyeshot.erf(spec)
        assert erf.map.shape == (2 * depth + 1,) * 2
        assert erf.spread == pytest.approx([math.sqrt(depth * 8 / 12)] * 2)
        assert erf.fit is not None
        assert erf.fit.sigma == pytest.approx(erf.spread, rel=0.3 / depth)
        shares.append(math.sqrt(erf.share_of_field * depth))
    # A Gaussian exceeds 4.55 % of its maximum within 2.486 deviations; the field's side is 2n + 1.
    limit = math.sqrt(math.pi * 2.486**2 * (8 / 12) / 4)
    assert shares == pytest.approx([limit] * 3, rel=0.1)
    assert abs(shares[2] - limit) < abs(shares[0] - limit)


# --- the architecture's own


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "unet", "five-by-five"])
def test_the_map_is_the_mass(name: str) -> None:
    report = eyeshot.analyze(f"example:{name}", 64 if name in ("resnet18", "unet") else None)
    erf = eyeshot.erf(report)
    unit = report.unit(erf.layer, erf.index)
    assert (erf.map == unit.mass).all()
    assert erf.box == unit.box and erf.clipped == unit.clipped
    assert (erf.protocol, erf.samples, erf.interrupted) == ("mass", 0, False)
    assert eyeshot.erf(f"example:{name}", [*report.inputs[0]["shape"]]).to_dict() == erf.to_dict()


def test_the_layer_and_unit_that_are_taken() -> None:
    odd = eyeshot.erf(stack(conv(3), size=9))
    assert (odd.layer, odd.index, odd.centre, odd.notes) == ("l0", (3,), (4.5,), ())
    even = eyeshot.erf(stack(conv(3), size=10))
    assert even.index == (4,)
    assert "position 4 of 8" in even.notes[0]
    plane = eyeshot.erf(stack(conv(3), axes=2, size=10))
    assert "row 4 of 8, column 4 of 8" in plane.notes[0]
    # A classifier: its last map, and neither its logits nor the flattened map.
    vgg = eyeshot.erf("example:vgg16")
    assert (vgg.layer, vgg.index, vgg.centre) == ("avgpool", (3, 3), (112, 112))
    assert "fc8" in vgg.notes[0] and "avgpool" in vgg.notes[0]
    # What is asked for is taken without a word.
    asked = eyeshot.erf("example:vgg16", layer="conv1_1", at=(0, 223))
    assert (asked.layer, asked.index, asked.centre) == ("conv1_1", (0, 223), (0.5, 223.5))
    assert all("padding" in note for note in asked.notes)
    first = eyeshot.erf("example:fpn")
    assert any("outputs the first" in note for note in first.notes)


def test_tokens_are_units() -> None:
    erf = eyeshot.erf(
        {
            "input": [1, 8, 8],
            "layers": {
                "patches": {"op": "conv", "kernel": 4, "stride": 4, "channels": 6},
                "tokens": {"op": "reshape", "shape": [1, 6, 4]},
            },
        }
    )
    assert (erf.layer, erf.index, erf.centre) == ("tokens", (2,), (6, 2))
    assert erf.map.sum() == pytest.approx(1)


def test_a_global_field_and_a_bound_say_so() -> None:
    gate = {
        "input": [4, 16, 16],
        "layers": {
            "a": {"op": "conv", "kernel": 3, "padding": 1},
            "pool": {"op": "global_avg_pool"},
            "out": {"op": "mul", "inputs": ["a", "pool"]},
        },
    }
    erf = eyeshot.erf(gate)
    assert any("whole input" in note for note in erf.notes)
    assert (erf.map > 0).all() and erf.clipped == ((0, 16), (0, 16))
    bound = stack(conv(3), {"op": "opaque", "function": "my.magic"}, size=9)
    assert any("upper bound" in note for note in eyeshot.erf(bound, layer="l1").notes)


def test_of_several_inputs_one_is_taken() -> None:
    spec = {
        "inputs": {"left": [1, 16], "right": [1, 16]},
        "layers": {
            "a": {"op": "conv", "kernel": 3, "inputs": "left"},
            "b": {"op": "conv", "kernel": 5, "padding": 1, "inputs": "right"},
            "sum": {"op": "add", "inputs": ["a", "b"]},
        },
    }
    both = eyeshot.erf(spec)
    assert both.input == "left" and both.map.sum() == pytest.approx(0.5)
    assert any("left, right" in note for note in both.notes)
    assert both.closed_form == pytest.approx([math.sqrt(8 / 12)])
    assert eyeshot.erf(spec, layer="b").input == "right"


def test_a_unit_that_reads_nothing() -> None:
    erf = eyeshot.erf(stack(conv(1, padding=3), size=8), at=0)
    assert erf.map.sum() == 0
    assert (erf.squares, erf.fit, erf.fwhm, erf.spread, erf.share_of_field) == (
        (),
        None,
        None,
        None,
        0,
    )
    assert "gets nothing" in str(erf)
    jsonschema.Draft202012Validator(SCHEMA).validate(erf.to_dict())
    with pytest.raises(eyeshot.EyeshotError, match="gets nothing"):
        erf.square(0.5)


# --- the result


def test_json_follows_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name in ("alexnet", "wavenet", "five-by-five"):
        erf = eyeshot.erf(f"example:{name}", 4000 if name == "wavenet" else None)
        content = json.loads(erf.to_json())
        assert content == erf.to_dict()
        jsonschema.Draft202012Validator(SCHEMA).validate(content)
    endless = {"input": [4, 12], "layers": {"rnn": {"op": "rnn", "channels": 4}}}
    content = eyeshot.erf(endless).to_dict()
    assert content["box"][0][0] is None
    jsonschema.Draft202012Validator(SCHEMA).validate(content)


def test_the_result_is_frozen() -> None:
    erf = eyeshot.erf("example:five-by-five")
    with pytest.raises(AttributeError, match="frozen"):
        erf.layer = "other"
    with pytest.raises(AttributeError, match="frozen"):
        del erf.layer
    with pytest.raises(ValueError, match="read-only"):
        erf.map[0, 0] = 1
    assert repr(erf) == "<eyeshot.Erf of layer2 at (1,1), input 5x5, mass>"


def test_a_map_is_copied_and_looked_at() -> None:
    array = np.ones(5)
    erf = made(array)
    array[:] = 0
    assert erf.map.sum() == 5
    with pytest.raises(eyeshot.EyeshotError, match="not finite"):
        made([1, math.nan])
    with pytest.raises(eyeshot.EyeshotError, match="centre"):
        made([1, 2], centre=(1, 2))
    for share in (0, 1.5, math.nan):
        with pytest.raises(eyeshot.EyeshotError, match="share"):
            erf.square(share)


# --- bad input


@pytest.mark.parametrize(
    ("call", "match"),
    [
        ({"layer": "layer3"}, "did you mean 'layer"),
        ({"layer": 7}, "no layer 7; the network has 2"),
        ({"at": (5, 5)}, "layer2: index 5 is outside 0 … 1"),
        ({"at": (0,)}, "a unit has 2 indices"),
        ({"at": "x"}, "at: expected whole numbers"),
        ({"protocol": "max"}, "protocol: expected mass, mean-abs, positive"),
        ({"protocol": "mass", "data": "random"}, "data: the protocol mass"),
        ({"samples": 5}, "samples: the protocol mass"),
        ({"resize": True}, "resize: the protocol mass"),
        ({"crop": False}, "crop: the protocol mass"),
        ({"mean": [0.0]}, "mean: the protocol mass"),
        ({"data": "random"}, "takes gradients of a PyTorch module"),
        ({"protocol": "positive"}, "takes gradients of a PyTorch module"),
    ],
)
def test_what_can_not_be_used_is_one_line(call: dict[str, Any], match: str) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=match) as found:
        eyeshot.erf("example:five-by-five", **call)
    assert "\n" not in str(found.value)


def test_gradients_need_a_module() -> None:
    report = eyeshot.analyze("example:five-by-five")
    for source in (report, {"a": [3, 1, 0]}, "net.yaml", "model.onnx", b"\x08"):
        with pytest.raises(eyeshot.EyeshotError, match="takes gradients of a PyTorch module"):
            eyeshot.erf(source, data="random")
    with pytest.raises(eyeshot.EyeshotError, match="input: the report already has it"):
        eyeshot.erf(report, 32)

"""Alignment findings: against enumerated centres, poisoned modules, masses and published numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import brute_force

import eyeshot
from eyeshot.analysis.findings import Finding

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "60"))
Layers = dict[str, Any]
CONV = {"op": "conv", "kernel": 3, "padding": 1}
STRIDED = {"op": "conv", "kernel": 3, "stride": 2, "padding": 1}
HALVED = {"op": "max_pool", "kernel": 2}
DOUBLED = {"op": "upsample", "scale": 2}


def op(name: str, *inputs: str, **fields: Any) -> dict[str, Any]:
    return {"op": name, **fields, **({"inputs": list(inputs)} if inputs else {})}


def of(layer: dict[str, Any], *inputs: str) -> dict[str, Any]:
    return {**layer, "inputs": list(inputs)}


def look(layers: Layers, n: int | Sequence[int], code: str = "alignment", **options: Any) -> Any:
    sizes = [1, n] if isinstance(n, int) else [1, *n]
    return eyeshot.check({"input": sizes, "layers": layers}, select=code, **options)


def codes(check: eyeshot.Check) -> list[str]:
    return [finding.code for finding in check]


def only(check: eyeshot.Check, code: str) -> Finding:
    (found,) = check[code]
    return found


# --- the oracle: lines through the centres of enumerated fields


def lines(layers: Layers, n: int, name: str, period: int) -> tuple[float, float]:
    """Rate and drift of a layer on a 1-D input: from units whose enumerated fields meet no border."""
    spec = {"input": [1, n], "layers": layers}
    hulls = brute_force.hulls(spec, name, (2,))[:, 0]
    inner = [i for i, (begin, end) in enumerate(hulls.tolist()) if 0 < begin < end < n]
    first = inner[0]
    assert inner[: 2 * period] == list(range(first, first + 2 * period))
    middles = hulls.mean(axis=1)
    rate = (middles[first + period] - middles[first]) / period
    at = first + (period - 1) / 2
    line = middles[first : first + period].mean() - rate * at
    return rate, line + rate * (len(hulls) - 1) / 2 - n / 2


def shift(layers: Layers, n: int, one: str, other: str, period: int) -> float:
    return lines(layers, n, one, period)[1] - lines(layers, n, other, period)[1]


# --- misaligned-branches


def unet(depth: int, down: dict[str, Any] = HALVED, up: dict[str, Any] = DOUBLED) -> Layers:
    """Encoder c0 … cN, decoder u(N-1) … u0, joined by m(N-1) … m0; each level a convolution."""
    layers: Layers = {"c0": CONV}
    for k in range(depth):
        layers[f"d{k}"] = of(down, f"c{k}")
        layers[f"c{k + 1}"] = CONV
    last = f"c{depth}"
    for k in reversed(range(depth)):
        layers[f"u{k}"] = of(up, last)
        layers[f"m{k}"] = op("concat", f"u{k}", f"c{k}")
        layers[f"o{k}"] = CONV
        last = f"o{k}"
    return layers


def fpn(depth: int) -> Layers:
    """A backbone c1 … cN of strided convolutions, laterals, and sums p(N-1) … p1 on the way down."""
    layers: Layers = {}
    last = "input"
    for k in range(1, depth + 1):
        layers[f"c{k}"] = of(STRIDED, last)
        last = f"c{k}"
    layers[f"p{depth}"] = op("conv", last, kernel=1)
    for k in reversed(range(1, depth)):
        layers[f"l{k}"] = op("conv", f"c{k}", kernel=1)
        layers[f"u{k}"] = of(DOUBLED, f"p{k + 1}")
        layers[f"p{k}"] = op("add", f"l{k}", f"u{k}")
    return layers


def test_a_pyramid_over_strided_convolutions() -> None:
    """P1 gets P2 shifted by half its unit; deeper levels add theirs."""
    layers = fpn(4)
    found = only(look(layers, 128), "misaligned-branches")
    assert found.severity == "warning" and found.exact
    joins = {each["layer"]: each for each in found.evidence["joins"]}
    assert {name: each["shift"] for name, each in joins.items()} == {"p1": -7, "p2": -6, "p3": -4}
    for k, each in ((1, joins["p1"]), (2, joins["p2"]), (3, joins["p3"])):
        assert (each["shifted"], each["against"], each["unit"]) == (f"u{k}", f"l{k}", 2**k)
        assert each["shift"] == shift(layers, 128, f"u{k}", f"l{k}", 2 ** (4 - k))
    assert found.evidence["shift"] == -7 and found.evidence["units"] == 3.5
    assert found.evidence["moves"] == [
        {"layer": "c4", "shift": -4.0}, {"layer": "c3", "shift": -2.0}, {"layer": "c2", "shift": -1.0}
    ]  # fmt: skip
    assert found.layers == ("c4", "c3", "c2", "p1", "p2", "p3")
    assert "7 input positions before" in found.message and "2 more joins" in found.message


def test_the_remedy_of_the_pyramid_holds() -> None:
    found = only(look(fpn(4), 128), "misaligned-branches")
    assert "kernel of 4 with padding 1" in found.remedy
    layers = fpn(4)
    for k in range(1, 5):
        layers[f"c{k}"] = {**layers[f"c{k}"], "kernel": 4}
    assert codes(look(layers, 128)) == []


def test_both_axes_are_one_finding_and_unlike_axes_are_two() -> None:
    found = only(look(fpn(3), (64, 64)), "misaligned-branches")
    assert found.evidence["axes"] == [2, 3]
    layers = fpn(3)
    layers["c3"] = {**layers["c3"], "kernel": [3, 4]}
    by_axis = {tuple(f.evidence["axes"]): f for f in look(layers, (64, 64))["misaligned-branches"]}
    assert {axes: f.evidence["shift"] for axes, f in by_axis.items()} == {(2,): -3, (3,): -1}


def test_a_unet_with_pooling_is_aligned() -> None:
    for up in (*UPS, {**DOUBLED, "mode": "cubic"}):
        assert codes(look(unet(3, up=up), 64)) == [], up


def test_odd_factors_of_linear_resizing_are_aligned() -> None:
    """One phase lies on an element and reads its neighbour too, which counts nothing."""
    down = {"op": "avg_pool", "kernel": 3}
    for mode in ("nearest", "linear", "cubic"):
        assert codes(look(unet(2, down, {"op": "upsample", "scale": 3, "mode": mode}), 81)) == []


def test_a_shortcut_by_pooling_is_a_note() -> None:
    """ResNet-D: the body strides by a kernel of 3, the shortcut pools by 2."""
    layers = {
        "body": of(STRIDED, "input"),
        "pool": op("avg_pool", "input", kernel=2),
        "short": op("conv", kernel=1),
        "sum": op("add", "body", "short"),
    }
    found = only(look(layers, 64), "misaligned-branches")
    assert found.severity == "note"
    assert found.evidence["shift"] == -0.5 == shift(layers, 64, "body", "short", 1)
    assert found.evidence["units"] == 0.25 and found.layers == ("body", "sum")


def test_published_test_networks() -> None:
    """Google's: 1x1 s4 beside 3x3 s2 and 1x1 s2, aligned with a padding of 1 before, else not."""
    for padding, wanted in (([1, 0], None), (0, 1.0)):
        layers = {
            "a": op("conv", "input", kernel=1, stride=4),
            "pad": op("pad", "input", padding=[padding] if padding else 0),
            "b": op("conv", kernel=3, stride=2),
            "c": op("conv", kernel=1, stride=2),
            "crop": op("slice", dim=2, start=0, stop=7),
            "cut": op("slice", "a", dim=2, start=0, stop=7),
            "sum": op("add", "cut", "crop"),
        }
        check = look(layers, 32)
        if wanted is None:
            assert not check["misaligned-branches"]
            rate, _ = lines(layers, 32, "crop", 1)
            report = eyeshot.analyze({"input": [1, 32], "layers": layers})["sum"]
            assert (report.size, report.jump, report.padding) == ((3,), (4,), (1,)) and rate == 4
        else:
            found = only(check, "misaligned-branches")
            assert found.evidence["shift"] == wanted and found.evidence["units"] == 0.25


def test_the_remedy_for_a_deconvolution_that_is_cut() -> None:
    """A 3-wide one of stride 2 makes 2n + 1 positions, the last of which is cut off; a 4-wide one 2n."""

    def layers(how: dict[str, Any]) -> Layers:
        out: Layers = {"e0": of(CONV, "input"), "e1": of(HALVED, "e0"), "e2": of(HALVED, "e1")}
        for k, (below, beside) in enumerate((("e2", "e1"), ("sum0", "e0"))):
            out[f"up{k}"] = op("conv_transpose", below, stride=2, **how)
            out[f"cut{k}"] = op("slice", f"up{k}", dim=2, start=0, stop=16 << k)
            out[f"sum{k}"] = op("add", f"cut{k}", beside)
        return out

    found = only(look(layers({"kernel": 3}), 32), "misaligned-branches")
    assert found.evidence["shift"] == -1.5 and found.layers[:2] == ("cut0", "cut1")
    assert found.remedy == (
        "Cut alike at both ends at cut0, or nothing (a transposed convolution of kernel 4, stride 2 and "
        "padding 1 needs no cut), and so on for cut1."
    )
    assert not look(layers({"kernel": 4, "padding": 1}), 32).findings


def test_an_enlargement_that_rounds() -> None:
    """By 3/2, nearest takes the lower element and nearest-exact the upper one where it lies between."""
    for mode, wanted in (("nearest", [-0.5]), ("nearest-exact", [0.5]), ("linear", [])):
        layers = {
            "fine": op("max_pool", "input", kernel=2),
            "coarse": op("max_pool", "input", kernel=3),
            "up": op("upsample", "coarse", scale=1.5, mode=mode),
            "sum": op("add", "up", "fine"),
        }
        check = look(layers, 96, "misaligned-branches")
        assert [f.evidence["shift"] for f in check] == wanted
        if wanted:
            assert wanted[0] == shift(layers, 96, "up", "fine", 3)
            assert "or linearly" in only(check, "misaligned-branches").remedy


def test_transposed_convolutions_of_odd_kernels() -> None:
    up = op("conv_transpose", kernel=3, stride=2, padding=1, output_padding=1)
    layers = unet(1, up=up)
    found = only(look(layers, 32), "misaligned-branches")
    assert found.evidence["shift"] == shift(layers, 32, "u0", "c0", 2) == 0.5
    assert found.layers == ("u0", "m0")
    assert (
        found.remedy
        == "Give u0 a kernel of 4 and a padding of 1 at both ends, without output_padding."
    )
    mended = unet(1, up=op("conv_transpose", kernel=4, stride=2, padding=1))
    assert not look(mended, 32).findings


def test_causal_branches_meet_at_their_ends() -> None:
    layers = {
        "a": op("conv", "input", kernel=3, padding="causal"),
        "b": op("conv", kernel=3, dilation=4, padding="causal"),
        "sum": op("add", "b", "input"),
    }
    assert codes(look(layers, 64)) == []
    assert codes(look(layers, 64, causal=True)) == []
    layers["b"]["padding"] = 4
    assert codes(look(layers, 64, "misaligned-branches")) == ["misaligned-branches"]


def test_parts_of_one_tensor_are_meant_to_differ() -> None:
    """Space to depth, differences of neighbours, two grids of one map side by side."""
    even, odd = op("slice", "input", dim=2, step=2), op("slice", "input", dim=2, start=1, step=2)
    parts = {"a": even, "b": odd}
    for join in (op("concat", "a", "b"), op("sub", "a", "b")):
        assert not look({**parts, "j": join}, 32)["misaligned-branches"]
    mixed = {
        **parts,
        "c": op("conv", "a", kernel=1, channels=2),
        "d": op("conv", "b", kernel=1, channels=2),
    }
    assert not look({**mixed, "j": op("concat", "c", "d")}, 32)["misaligned-branches"]
    assert look({**mixed, "j": op("add", "c", "d")}, 32)["misaligned-branches"]


def test_gates_constants_and_windows_have_no_place() -> None:
    layers = {
        "c": CONV,
        "g": op("global_avg_pool"),
        "s": op("mul", "c", "g"),
        "w": op("attention", "s", kind="window", window=7, shift=3),
        "r": op("add", "w", "s"),
        "w2": op("attention", "r", kind="window", window=7),
        "r2": op("add", "w2", "r"),
        "f": op("attention", "r2"),
        "r3": op("add", "f", "r2"),
    }
    assert codes(look(layers, 42)) == []
    # A patch mixed with its channels is a unit with a place.
    patches = {
        "x": op("conv", kernel=1, channels=3),
        "p": op("pixel_unshuffle", factor=4),
        "c": op("conv", kernel=1, channels=3),
        "q": op("conv", "x", kernel=4, stride=4, padding=[[1, 0]]),
        "s": op("add", "c", "q"),
    }
    found = only(look(patches, 64), "misaligned-branches")
    assert abs(found.evidence["shift"]) == 1 and found.layers == ("q", "s")


def test_an_even_kernel_in_a_module() -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.even = torch.nn.Conv1d(4, 4, 2)
            self.conv = torch.nn.Conv1d(4, 4, 1)

        def forward(self, x: Any) -> Any:
            return self.conv(self.even(torch.nn.functional.pad(x, (0, 1))) + x)

    found = only(
        eyeshot.check(Net(), (1, 4, 32), select="misaligned-branches"), "misaligned-branches"
    )
    assert found.evidence["shift"] == 0.5 and found.exact
    assert found.layers == ("constant_pad_nd", "add")
    assert "1/2" not in found.message and "0.5 input positions after those of x" in found.message


# --- unequal-rates


def test_resizing_an_odd_map() -> None:
    """15 positions pooled to 7 and resized to 15: the shift grows to about one unit."""
    layers = {
        "pool": op("max_pool", "input", kernel=2),
        "up": op("upsample", size=15, mode="nearest-exact"),
        "sum": op("add", "up", "input"),
    }
    check = look(layers, 15)
    found = only(check, "unequal-rates")
    (join,) = found.evidence["joins"]
    # Units of `up` lie, on average, at 2 * ((i + 1/2) * 7/15) of the input.
    wanted = [
        float(2 * Fraction(7, 15) * (i + Fraction(1, 2)) - i - Fraction(1, 2)) for i in (0, 14)
    ]
    assert [join["shift_first"], join["shift_last"]] == pytest.approx(wanted)
    assert join["rates"] == pytest.approx([14 / 15, 1]) and found.layers == ("up", "sum")
    assert not check["misaligned-branches"]
    hulls = brute_force.hulls({"input": [1, 15], "layers": layers}, "up", (2,))[:, 0].mean(axis=1)
    assert abs(hulls[-1] - 14.5 - wanted[1]) <= 1  # within the wobble of one coarse unit


def test_resizing_back_less_than_half_a_unit_off_is_no_finding() -> None:
    """29 positions strided to 15 by a padded kernel of 3, and resized to 29."""
    layers = {
        "down": of(STRIDED, "input"),
        "up": op("upsample", size=29, mode="linear"),
        "sum": op("add", "up", "input"),
    }
    assert not look(layers, 29)["unequal-rates"]
    assert look({**layers, "up": op("upsample", "down", size=29)}, 29)["unequal-rates"]


def test_even_maps_have_equal_rates() -> None:
    assert not look(unet(3), 64, "unequal-rates")


# --- align-corners


@pytest.mark.parametrize("n", [4, 7, 10])
def test_aligned_corners(n: int) -> None:
    layers = {
        "down": op("max_pool", "input", kernel=4),
        "up": op("upsample", scale=4, mode="linear", align_corners=True),
        "sum": op("add", "up", "input"),
    }
    check = look(layers, 4 * n)
    assert codes(check) == ["align-corners"]
    found = only(check, "align-corners")
    (resize,) = found.evidence["resizes"]
    assert (resize["from"], resize["to"]) == (n, 4 * n) and found.layers == ("up",)
    # The first unit lies on the first coarse one, at 2 of the input, and would belong at 0.5.
    assert resize["shift"] == 1.5 and resize["units"] == 1.5
    assert f"{4 * n - 1}/{n - 1} instead of 4" in found.message


def test_half_pixels_and_grids_with_corners_are_fine() -> None:
    down = {"down": op("max_pool", "input", kernel=4)}
    for fields in ({"mode": "linear"}, {"mode": "cubic"}, {"mode": "nearest"}):
        assert not look({**down, "up": op("upsample", scale=4, **fields)}, 32, "align-corners")
    # 33 positions strided to 17 and 9 by padded kernels of 3, and back: corners lie on corners.
    grid = {
        "a": of(STRIDED, "input"),
        "b": STRIDED,
        "up": op("upsample", size=33, mode="linear", align_corners=True),
        "sum": op("add", "up", "input"),
    }
    assert codes(look(grid, 33)) == []


def test_aligned_corners_in_modules() -> None:
    torch = pytest.importorskip("torch")
    for mode, align, wanted in (
        ("bilinear", True, 1),
        ("bicubic", True, 1),
        ("bilinear", False, 0),
    ):
        net = torch.nn.Sequential(
            torch.nn.MaxPool2d(4), torch.nn.Upsample(scale_factor=4, mode=mode, align_corners=align)
        )
        found = eyeshot.check(net, (1, 3, 40, 24), select="align-corners")["align-corners"]
        # The shift is one number at both axes, the factors are two.
        assert len(found) == 2 * wanted
        assert all(f.evidence["resizes"][0]["shift"] == 1.5 for f in found)


def test_every_aligned_resize_of_a_decoder_is_listed() -> None:
    """Behind the first join their places have no closed form any more; how they resize has."""
    up = {**DOUBLED, "mode": "linear", "align_corners": True}
    check = look(unet(3, up=up), (64, 64))
    assert codes(check) == ["align-corners"]
    found = only(check, "align-corners")
    assert found.layers == ("u2", "u1", "u0") and found.evidence["axes"] == [2, 3]
    resizes = [
        (each["from"], each["to"], each["units"], each["shift"])
        for each in found.evidence["resizes"]
    ]
    assert resizes == [(8, 16, 0.5, 2.0), (16, 32, 0.5, None), (32, 64, 0.5, None)]


# --- shifted-map


def test_published_drift_of_resnet50() -> None:
    """Alsallakh et al. (2021): at 224 every stride pads unevenly, at 225 none; the centre is 96.5, not 112."""
    pytest.importorskip("torchvision")
    check = eyeshot.check("torchvision:resnet50", (1, 3, 224, 224), select="alignment")
    assert codes(check) == ["shifted-map"]
    found = only(check, "shifted-map")
    assert found.severity == "note" and found.exact and found.evidence["drift"] == 96.5 - 112
    assert [each["shift"] for each in found.evidence["moves"]] == [-0.5, -1, -2, -4, -8]
    assert found.layers[:5] == (
        "conv1",
        "maxpool",
        "layer2.0.conv2",
        "layer3.0.conv2",
        "layer4.0.conv2",
    )
    assert found.evidence["better_size"] == 225 and found.evidence["axes"] == [2, 3]
    assert "225" in found.remedy
    assert codes(eyeshot.check("torchvision:resnet50", (1, 3, 225, 225), select="alignment")) == []


def test_a_dense_output_that_is_displaced_is_a_warning() -> None:
    """Shown on the module itself: which inputs its output reads, on average, at every place."""
    torch = pytest.importorskip("torch")
    from oracles.poison import hulls, reads

    nn = torch.nn
    net = nn.Sequential(
        nn.Conv1d(1, 1, 3, 2, 1),
        nn.Conv1d(1, 1, 3, 2, 1),
        nn.Upsample(scale_factor=4, mode="nearest"),
    ).double()
    found = only(eyeshot.check(net, (1, 1, 64)), "shifted-map")
    assert found.severity == "warning" and found.evidence["drift"] == -1.5
    assert [(m["layer"], m["shift"]) for m in found.evidence["moves"]] == [("0", -0.5), ("1", -1.0)]
    read = reads(net, [torch.randn(1, 1, 64, dtype=torch.float64)], 0, 2)
    middles = hulls(read, (2,)).mean(axis=1)[8:56]
    assert (middles - (np.arange(8, 56) + 0.5)).mean() == -1.5


def test_a_size_that_leaves_both_ends_off_is_not_offered() -> None:
    """Resized to the input's size, the middle lies right at 65, but both ends are off as before."""
    layers = {"c0": op("conv", kernel=3, stride=2, padding=1)}
    layers["c1"] = op("conv", kernel=3, stride=2, padding=1)
    enlarged = {**layers, "up": op("upsample", scale=4, mode="linear")}
    found = only(look(enlarged, 64), "shifted-map")
    assert found.severity == "warning" and found.evidence["better_size"] is None
    assert "Use inputs" not in found.remedy
    centres = eyeshot.analyze({"input": [1, 65], "layers": enlarged})["up"].centres()[:, 0]
    assert len(centres) == 68 and centres[1] != 1.5
    # Of the coarse map it is the better one.
    assert only(look(layers, 64), "shifted-map").evidence["better_size"] == 65


def test_a_skip_in_its_place_makes_it_a_note() -> None:
    layers = fpn(4)
    layers["u0"] = of(DOUBLED, "p1")
    layers["out"] = op("add", "u0", "input")
    found = only(look(layers, 128), "shifted-map")
    assert found.severity == "note" and found.evidence["drift"] == -7.5


def test_ways_to_either_side_make_it_a_note() -> None:
    layers = {
        "near": op("conv", "input", kernel=3, padding=[[0, 2]]),
        "far": op("conv", "input", kernel=9, padding=[[6, 2]]),
        "sum": op("add", "near", "far"),
    }
    found = only(look(layers, 64), "shifted-map")
    assert found.severity == "note" and found.evidence["drift"] == -2
    assert not look(layers, 256, "shifted-map")  # less than a hundredth of the input


def test_even_kernels_are_named() -> None:
    layers = {f"c{k}": op("conv", kernel=4, padding=[[1, 2]]) for k in range(3)}
    found = only(look(layers, 64), "shifted-map")
    assert (
        found.severity == "warning"
        and found.evidence["drift"] == 1.5 == lines(layers, 64, "c2", 1)[1]
    )
    assert found.layers == ("c0", "c1", "c2")
    layers = {f"c{k}": op("conv", kernel=4, padding=[[1 + k % 2, 2 - k % 2]]) for k in range(4)}
    assert not look(layers, 64, "shifted-map")


def test_an_odd_size_is_to_blame_for_its_remainder() -> None:
    found = only(look({"a": HALVED, "b": HALVED}, 67), "shifted-map")
    assert found.evidence["drift"] == -1.5
    assert (
        found.remedy.startswith("Use inputs of 68 positions")
        and "multiple of its stride 2" in found.remedy
    )


def test_time_drifts_on_purpose() -> None:
    layers = {f"c{k}": op("conv", kernel=3, dilation=2**k, padding="causal") for k in range(4)}
    assert codes(look(layers, 64)) == []
    assert codes(look(layers, 64, causal=True)) == []
    wide = {f"c{k}": op("conv", kernel=3, padding=[[2, 0], [1, 1]]) for k in range(3)}
    assert codes(look(wide, (64, 32))) == ["shifted-map"]
    assert codes(look(wide, (64, 32), causal=True, time=2)) == []


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_better_size_is_better(data: st.DataObject) -> None:
    """Windows of any kind: the drift is that of enumerated fields, and at the better size what it says."""
    layers: Layers = {}
    for k in range(data.draw(st.integers(1, 3))):
        kernel = data.draw(st.sampled_from([3, 2, 5, 7]))
        stride = data.draw(st.integers(1, 3))
        padding = data.draw(st.integers(0, kernel // 2))
        layers[f"c{k}"] = op("conv", kernel=kernel, stride=stride, padding=padding)
    n = data.draw(st.integers(120, 200))
    last = list(layers)[-1]
    wanted = lines(layers, n, last, 1)[1]
    found = look(layers, n, "shifted-map")["shifted-map"]
    if abs(wanted) < max(0.5, 0.01 * n):
        assert all(f.severity == "warning" for f in found)
        return
    (finding,) = found
    assert finding.evidence["drift"] == wanted
    assert sum(each["shift"] for each in finding.evidence["moves"]) == wanted
    size = finding.evidence["better_size"]
    if size is not None:
        drift = finding.evidence["drift_there"]
        assert abs(drift) < abs(wanted) and lines(layers, size, last, 1)[1] == drift


# --- asymmetric-field


def lopsided() -> Layers:
    """A narrow branch, and beside it a wide one that looks to one side."""
    return {
        "near": of(CONV, "input"),
        "far": op("conv", "input", kernel=21, padding=[[18, 2]]),
        "also": op("conv", "input", kernel=5, padding=2),
        "sum": op("add", "near", "far", "also"),
        "out": op("conv", kernel=1),
    }


def test_a_wide_branch_to_one_side() -> None:
    layers = lopsided()
    found = only(look(layers, 101, "asymmetric-field"), "asymmetric-field")
    unit = eyeshot.analyze({"input": [1, 101], "layers": layers}).unit("out", 50)
    mass = unit.mass
    centre = float((mass * (np.arange(101) + 0.5)).sum() / mass.sum())
    ((begin, end),) = unit.clipped
    (each,) = found.evidence["maps"]
    assert each["before"] == pytest.approx(centre - begin) and each["after"] == pytest.approx(
        end - centre
    )
    assert each["size"] == end - begin == 21 and found.layers[0] == "far"
    assert found.evidence["moves"] == [{"layer": "far", "shift": -8.0}]
    before, after = (f"{each[side]:.3g}" for side in ("before", "after"))
    assert f"reaches {before} input positions before and {after} after" in found.message


def test_shares_of_a_concatenation_go_by_channels() -> None:
    layers = lopsided()
    del layers["also"]
    layers["near"] = {**layers["near"], "channels": 3}
    layers["far"] = {**layers["far"], "channels": 2}
    layers["sum"] = op("concat", "near", "far")
    found = only(look(layers, 101, "asymmetric-field"), "asymmetric-field")
    mass = eyeshot.analyze({"input": [1, 101], "layers": layers}).unit("out", 50).mass
    centre = float((mass * (np.arange(101) + 0.5)).sum() / mass.sum())
    assert found.evidence["maps"][0]["before"] == pytest.approx(centre - (50 - 18))


def test_symmetric_and_causal_fields() -> None:
    layers = lopsided()
    layers["far"]["padding"] = 10
    assert not look(layers, 101, "asymmetric-field")
    assert not look(unet(3), 64, "asymmetric-field")
    past = lopsided()
    past["near"]["padding"] = past["also"]["padding"] = past["far"]["padding"] = "causal"
    assert not look(past, 101, "asymmetric-field")
    # Drifting as a whole is another finding.
    assert not look({"c": op("conv", kernel=21, padding=[[18, 2]])}, 101, "asymmetric-field")


# --- drawn networks


SYMMETRIC = [CONV, op("conv", kernel=5, padding=2), op("conv", kernel=3, padding=2, dilation=2), op("relu"),
             op("max_pool", kernel=3, stride=1, padding=1)]  # fmt: skip
UPS = [DOUBLED, {**DOUBLED, "mode": "linear"}, op("conv_transpose", kernel=2, stride=2),
       op("conv_transpose", kernel=4, stride=2, padding=1)]  # fmt: skip
DOWNS = [HALVED, op("conv", kernel=4, stride=2, padding=1), op("avg_pool", kernel=2)]


def drawn(data: st.DataObject) -> tuple[Layers, int]:
    """An aligned U-Net with residual blocks, and its depth."""
    depth = data.draw(st.integers(1, 3))
    layers: Layers = {}

    def block(name: str, *inputs: str) -> None:
        for k in range(data.draw(st.integers(1, 2))):
            body = data.draw(st.sampled_from(SYMMETRIC))
            layers[f"{name}-{k}"] = of(body, *inputs) if not k else body
        if data.draw(st.booleans()):
            layers[name] = op("add", f"{name}-0", list(layers)[-1])
        else:
            layers[name] = op("relu")

    block("c0", "input")
    for k in range(depth):
        layers[f"d{k}"] = of(data.draw(st.sampled_from(DOWNS)), f"c{k}")
        block(f"c{k + 1}", f"d{k}")
    last = f"c{depth}"
    for k in reversed(range(depth)):
        layers[f"u{k}"] = of(data.draw(st.sampled_from(UPS)), last)
        layers[f"s{k}"] = op("relu", f"c{k}")
        layers[f"m{k}"] = op(data.draw(st.sampled_from(["add", "concat"])), f"u{k}", f"s{k}")
        block(f"o{k}", f"m{k}")
        last = f"o{k}"
    return layers, depth


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_aligned_networks_have_no_finding(data: st.DataObject) -> None:
    layers, _ = drawn(data)
    assert codes(look(layers, data.draw(st.sampled_from([32, 64, 72])))) == []


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_planted_shift_is_found_with_its_number(data: st.DataObject) -> None:
    """Of one level: a shifted crop or an even kernel on the skip, or a strided odd kernel on the way down."""
    layers, depth = drawn(data)
    level = data.draw(st.integers(0, depth - 1))
    jump = 2**level
    kind = data.draw(st.sampled_from(["pad", "even", "odd"]))
    if kind == "pad":
        moved = data.draw(st.sampled_from([-2, -1, 1, 2]))
        layers[f"s{level}"] = op("pad", f"c{level}-0", padding=[[moved, -moved]])
        amount, blamed = moved * jump, f"s{level}"
    elif kind == "even":
        layers[f"s{level}"] = op("conv", f"c{level}", kernel=4, padding=[[2, 1]])
        amount, blamed = jump / 2, f"s{level}"
    else:
        layers[f"d{level}"] = of(STRIDED, f"c{level}")
        amount, blamed = -jump / 2, f"d{level}"
    found = look(layers, 64)["misaligned-branches"]
    joins = [each for f in found for each in f.evidence["joins"] if each["layer"] == f"m{level}"]
    (join,) = joins
    assert abs(join["shift"]) == abs(amount)
    sign = 1 if join["shifted"] == f"u{level}" else -1
    assert sign * join["shift"] == amount
    assert any(f.layers[0] == blamed for f in found)
    if depth < 3:
        wanted = enumerated(layers, 96, f"u{level}", f"s{level}", 2 ** (depth - level))
        assert wanted in (None, amount)


def enumerated(layers: Layers, n: int, one: str, other: str, period: int) -> float | None:
    """The shift from enumerated fields; None where too few units keep clear of the borders."""
    try:
        return shift(layers, n, one, other, period)
    except (AssertionError, IndexError):
        return None

"""Holes and checkerboards: against enumeration, real modules with a poisoned input, and published cases."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

import eyeshot
from eyeshot.analysis.findings import Finding
from tests.oracles.brute_force import members, read_sets
from tests.oracles.poison import reads

Spec = dict[str, Any]


def look(source: Any, code: str, input: Any = None) -> tuple[Finding, ...]:
    check = eyeshot.check(source, input, select=code)
    assert not check.skipped
    return check.findings


def dilated(*dilations: int, kernel: int = 3) -> Spec:
    """Convolutions that keep the size; causal ones where the kernel is even."""
    pads = [d * (kernel - 1) for d in dilations]
    return {
        "layers": {
            f"c{k}": {
                "op": "conv",
                "kernel": kernel,
                "dilation": d,
                "padding": [[pad, 0]] if kernel % 2 == 0 else pad // 2,
            }
            for k, (d, pad) in enumerate(zip(dilations, pads, strict=True))
        }
    }


def hollow(spec: Spec, n: int) -> tuple[int, int]:
    """By enumeration: how many positions in its box the last layer's middle unit doesn't read, and the box."""
    last = list(spec["layers"])[-1]
    units = members(read_sets({"input": [1, n], **spec})[last][0, 0], n)
    read = np.flatnonzero(units[len(units) // 2])
    box = int(read[-1] - read[0] + 1)
    return box - len(read), box


# --- holes


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from([2, 3]))
def test_holes_are_those_of_the_middle_unit(dilations: list[int], kernel: int) -> None:
    spec, n = dilated(*dilations, kernel=kernel), 64
    unread, box = hollow(spec, n)
    found = look(spec, "holes", n)
    assert bool(found) == bool(unread)
    for finding in found:
        assert (finding.evidence["unread"], finding.evidence["box"]) == (unread, box)
        assert finding.evidence["share"] == pytest.approx(unread / box)
        assert finding.exact and finding.severity == "warning"
        for name, new in finding.evidence["largest_without"].items():
            assert (
                f"{name} {new[0]} instead of {spec['layers'][name]['dilation']}" in finding.remedy
            )
            dilations[int(name[1:])] = new[0]
        mended = dilated(*dilations, kernel=kernel)
        assert hollow(mended, n)[0] == 0
        assert not look(mended, "holes", n)


@given(st.integers(2, 4), st.lists(st.integers(1, 3), min_size=2, max_size=3))
def test_dilations_with_a_common_factor_always_leave_holes(
    factor: int, multiples: list[int]
) -> None:
    """Wang et al. 2018, section 3.3: every unit reads one of ``factor`` interleaved grids."""
    spec = dilated(*(factor * m for m in multiples))
    (finding,) = look(spec, "holes", 96)
    assert finding.layers[0] == "c0"
    assert finding.evidence["share"] > 0.4


@given(st.integers(1, 5), st.sampled_from([2, 3]))
def test_dilations_that_grow_with_the_kernel_leave_none(depth: int, kernel: int) -> None:
    """WaveNet's 1, 2, 4, … with kernel 2; 1, 3, 9, … with kernel 3."""
    assume(kernel**depth < 200)
    spec = dilated(*(kernel**k for k in range(depth)), kernel=kernel)
    assert not look(spec, "holes", 400)
    wider = dilated(*(kernel**k for k in range(depth)), kernel**depth + 1, kernel=kernel)
    (finding,) = look(wider, "holes", 600)
    assert finding.layers == (f"c{depth}",)
    assert finding.evidence["largest_without"] == {f"c{depth}": [kernel**depth]}


@pytest.mark.parametrize(
    ("dilations", "blamed", "remedy"),
    [
        ((1, 2, 9), {"c2": [9]}, {"c2": [7]}),
        (
            (2, 1, 1, 20),
            {"c3": [20]},
            {"c3": [9]},
        ),  # the first one's holes are filled by the second
        ((2, 8), {"c0": [2], "c1": [8]}, {"c0": [1], "c1": [3]}),
        ((4, 8), {"c0": [4], "c1": [8]}, {"c0": [1], "c1": [3]}),
        ((4, 6, 1), {"c1": [6]}, {"c1": [3]}),  # closing the first makes the second worse
    ],
)
def test_the_layers_to_blame(dilations: Any, blamed: Spec, remedy: Spec) -> None:
    (finding,) = look(dilated(*dilations), "holes", 128)
    assert finding.evidence["dilation"] == blamed
    assert finding.layers[: len(blamed)] == tuple(blamed)
    assert finding.evidence["largest_without"] == remedy


@pytest.mark.parametrize("dilations", [(1, 2, 5), (1, 2, 3), (1, 2, 5, 9), (2, 1), (1, 1)])
def test_hybrid_dilations_leave_none(dilations: Any) -> None:
    """Wang et al. 2018: hybrid dilated convolution; (2, 1) fills its holes later."""
    assert not look(dilated(*dilations), "holes", 128)


def test_holes_of_a_real_module() -> None:
    model = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=2, dilation=2) for _ in range(2))).double()
    x = torch.rand(1, 1, 13, 15, dtype=torch.float64)
    (finding,) = look(model, "holes", (1, 1, 13, 15))
    row, column = finding.evidence["unit"]
    rows = np.flatnonzero(reads(model, [x], 0, 2)[:, 0, 0, row, column])
    columns = np.flatnonzero(reads(model, [x], 0, 3)[:, 0, 0, row, column])
    box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    assert finding.evidence["box"] == box
    assert finding.evidence["unread"] == box - len(rows) * len(columns)  # a product of windows


def test_what_nothing_reads_is_no_hole() -> None:
    """That is ``unread-input``: said once."""
    spec = {"layers": {"a": {"op": "conv", "kernel": 1, "stride": 2}, "b": [3, 1, 1]}}
    assert not look(spec, "holes", 24)
    assert look(spec, "unread-input", 24)
    spec["layers"]["b"] = {"op": "conv", "kernel": 3, "dilation": 4, "padding": 4}
    (finding,) = look(spec, "holes", 48)
    # 0, 8 and 16 of 0 … 16, of which the stride leaves 9.
    assert (finding.evidence["unread"], finding.evidence["box"]) == (6, 17)
    assert finding.evidence["largest_without"] == {"b": [1]}


def test_global_context_fills_holes() -> None:
    spec = dilated(2, 2)
    spec["layers"] |= {
        "pool": {"op": "global_avg_pool", "inputs": "c1"},
        "gate": {"op": "mul", "inputs": ["c1", "pool"]},
    }
    assert not look(spec, "holes", 24)


def test_a_mirrored_map_has_the_same_holes() -> None:
    conv = {"op": "conv", "kernel": 5, "stride": 3, "dilation": 2, "padding": 4}
    plain, mirrored = (
        look({"layers": {**first, "c": conv}}, "holes", "1x33") for first in ({}, {"f": "flip"})
    )
    assert [f.evidence for f in plain] == [f.evidence for f in mirrored] != []


def test_a_map_of_which_only_padding_is_read() -> None:
    holes = {"op": "conv", "kernel": 3, "dilation": 4, "padding": 4}
    lost = {"op": "conv", "kernel": 1, "stride": 99, "padding": [[5, 0]]}
    assert not look({"layers": {"c": holes, "lost": lost}}, "holes", "1x33")


def residual(dilation: int, apart: bool) -> Spec:
    """A causal window beside its own input, padded by itself or by a layer before it."""
    pad = [[dilation * 4, 0]]
    conv = {"op": "conv", "kernel": 5, "dilation": dilation}
    layers = (
        {"p": {"op": "pad", "padding": pad}, "c": conv} if apart else {"c": conv | {"padding": pad}}
    )
    return {"layers": {**layers, "a": {"op": "add", "inputs": ["input", "c"]}}}


@pytest.mark.parametrize("dilation", [2, 3, 7])
def test_padding_by_a_layer_of_its_own_is_the_same(dilation: int) -> None:
    within, apart = (look(residual(dilation, each), "holes", "1x64") for each in (False, True))
    assert [f.evidence["largest_without"] for f in within] == [{"c": [1]}]
    assert [f.evidence["largest_without"] for f in apart] == [{"c": [1]}]
    assert [f.evidence["unread"] for f in apart] == [f.evidence["unread"] for f in within]


# --- uneven-reading


def taps_of(kernel: int, stride: int, dilation: int) -> set[int]:
    """By enumeration: how many pairs of a position and a tap fall on the units far from any border."""
    fallen = Counter(j * stride + t * dilation for j in range(60) for t in range(kernel))
    return {fallen[p] for p in range(20 * stride, 40 * stride)}


@given(st.integers(1, 9), st.integers(2, 4), st.integers(1, 3), st.integers(0, 1))
def test_checkerboards(kernel: int, stride: int, dilation: int, padding: int) -> None:
    layer = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    spec = {"layers": {"up": {"op": "conv_transpose", **layer}, "head": [3, 1, 1]}}
    counts = taps_of(kernel, stride, dilation)
    found = look(spec, "uneven-reading", 16)
    assert bool(found) == (len(counts) > 1 and 0 not in counts)  # else they are dead
    for finding in found:
        assert finding.layers == ("up",)
        assert (finding.evidence["least"], finding.evidence["most"]) == (min(counts), max(counts))
        assert finding.evidence["ratio"] == max(counts) / min(counts)
        assert set(finding.evidence["counts"][0]) == counts


@given(st.integers(2, 4), st.integers(1, 3))
def test_kernels_that_are_multiples_of_the_stride_are_even(stride: int, times: int) -> None:
    layer = {"op": "conv_transpose", "kernel": stride * times, "stride": stride}
    assert not look({"layers": {"up": layer}}, "uneven-reading", 12)


@given(st.integers(3, 9), st.integers(2, 4), st.integers(0, 1), st.integers(0, 1))
def test_the_remedy_keeps_the_size(kernel: int, stride: int, padding: int, extra: int) -> None:
    assume(kernel % stride and kernel > stride)
    layer = {"kernel": kernel, "stride": stride, "padding": padding, "output_padding": extra}
    spec = {"layers": {"up": {"op": "conv_transpose", **layer}}}
    (finding,) = look(spec, "uneven-reading", 8)
    words = finding.remedy.replace(",", "").split()
    if "padding" not in words:
        return
    told = {
        name: int(words[words.index(name) + 1]) for name in ("kernel", "padding", "output_padding")
    }
    mended = {"layers": {"up": {"op": "conv_transpose", "stride": stride, **told}}}
    assert not look(mended, "uneven-reading", 8)
    assert eyeshot.analyze(mended, 8)[-1].shape == eyeshot.analyze(spec, 8)[-1].shape


def test_the_published_case() -> None:
    """Odena et al. 2016: kernel 3, stride 2: in two dims the unevenness of each is multiplied."""
    up = {"op": "conv_transpose", "kernel": 3, "stride": 2, "padding": 1, "output_padding": 1}
    (finding,) = look({"layers": {"up": up}}, "uneven-reading", "1x8x8")
    assert finding.evidence["counts"] == [[1, 2], [1, 2]]
    assert (finding.evidence["least"], finding.evidence["most"]) == (1, 4)
    assert "kernel 4 with padding 1, output_padding 0" in finding.remedy


@pytest.mark.parametrize(
    "layer",
    [
        {"op": "adaptive_avg_pool", "size": 5},
        {"op": "adaptive_avg_pool", "size": 11},
        {"op": "conv", "kernel": 3, "stride": 2},
        {"op": "upsample", "scale": 1.5, "mode": "nearest"},
        {"op": "upsample", "scale": 2, "mode": "linear"},
    ],
)
def test_averages_are_no_checkerboards(layer: Spec) -> None:
    assert not look({"layers": {"x": layer}}, "uneven-reading", 7)


def test_a_pattern_that_is_pooled_away() -> None:
    up = {"op": "conv_transpose", "kernel": 3, "stride": 2, "padding": 1, "output_padding": 1}
    for stride, stays in ((2, False), (4, False), (3, True), (1, True)):
        pool = {"op": "conv", "kernel": 3, "stride": stride, "padding": 1}
        found = look({"layers": {"up": up, "down": pool}}, "uneven-reading", 12)
        assert bool(found) == stays


class Generator(nn.Module):
    """From a vector, which has no axes; and the same layer twice."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.start = nn.Linear(5, 16)
        self.first = nn.ConvTranspose2d(1, 1, kernel, stride=2)
        self.second = nn.ConvTranspose2d(1, 1, kernel, stride=2)

    def forward(self, z: Tensor) -> Tensor:
        return self.second(self.first(self.start(z).view(-1, 1, 4, 4)))


def test_a_generator() -> None:
    (finding,) = look(Generator(5), "uneven-reading", (1, 5))
    assert finding.layers == ("first", "second")
    assert finding.evidence["ratio"] == 9 / 4
    assert not look(Generator(4), "uneven-reading", (1, 5))


class Columns(nn.Module):
    """Patches added up where they overlap, divided by how many do or not."""

    def __init__(self, divided: bool) -> None:
        super().__init__()
        self.divided = divided

    def forward(self, x: Tensor) -> Tensor:
        fold = nn.Fold((9, 9), 3, stride=2)
        columns = nn.functional.unfold(x, 3, stride=2)
        whole = fold(columns)
        return whole / fold(torch.ones_like(columns)) if self.divided else whole


def test_overlapping_patches() -> None:
    (finding,) = look(Columns(False), "uneven-reading", (1, 1, 9, 9))
    assert finding.evidence["ratio"] == 4
    assert not look(Columns(True), "uneven-reading", (1, 1, 9, 9))

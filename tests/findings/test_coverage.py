"""What is never read: against enumeration and against real modules with a poisoned input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

import eyeshot
from eyeshot.analysis.findings import Finding
from eyeshot.analysis.findings.lines import Gaps, gaps, phrase
from tests.oracles.brute_force import members, read_sets
from tests.oracles.poison import reads

Spec = dict[str, Any]


def look(source: Any, code: str, input: Any = None, **options: Any) -> tuple[Finding, ...]:
    check = eyeshot.check(source, input, select=code, **options)
    assert not check.skipped
    return check.findings


def chain(*layers: Spec) -> Spec:
    return {"layers": {f"c{k}": {"op": "conv", **layer} for k, layer in enumerate(layers)}}


def enumerated(spec: Spec, n: int, layer: str) -> np.ndarray:
    """Bool array [units, n]: what each unit of a layer over one axis and one channel reads."""
    return members(read_sets({"input": [1, n], **spec})[layer][0, 0], n)


def positions(pattern: dict[str, Any]) -> set[int]:
    """The positions that a pattern names."""
    size, period = pattern["size"], pattern["period"]
    found = {i for i in range(size) if period and i % period in pattern["phases"]}
    return found | set(range(pattern["begin"])) | set(range(size - pattern["end"], size))


# --- patterns


@given(st.lists(st.booleans(), min_size=1, max_size=24))
def test_a_pattern_names_what_is_missing(marks: list[bool]) -> None:
    lines = np.array(marks)
    found = gaps(lines)
    missing = set(np.flatnonzero(lines).tolist())
    if found is None:
        assert not missing
    else:
        assert found.lost == len(missing)
        if found.other:
            assert len(positions(found.to_dict())) + found.other == found.lost
        else:
            assert positions(found.to_dict()) == missing


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (Gaps(9, 4, 2, (1,), 0, 0, 0), "1 of every 2 positions"),
        (Gaps(9, 1, None, (), 0, 1, 0), "the last position"),
        (Gaps(9, 3, None, (), 1, 2, 0), "the first position and the last 2"),
        (Gaps(9, 6, 4, (2, 3), 0, 3, 0), "2 of every 4 positions and the last 3"),
        (Gaps(9, 1, None, (), 0, 0, 1), "1 position in between"),
    ],
)
def test_a_pattern_in_words(pattern: Gaps, words: str) -> None:
    assert phrase(pattern) == words


# --- unread-input


@st.composite
def strided(draw: Any) -> tuple[Spec, int]:
    """A chain of windows over one axis, with strides that may exceed the kernels."""
    n, layers = draw(st.integers(8, 40)), []
    left = n
    for _ in range(draw(st.integers(1, 3))):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
        padding = min(padding, dilation * (kernel - 1))
        span = dilation * (kernel - 1) + 1
        if left + 2 * padding < span:
            break
        left = (left + 2 * padding - span) // stride + 1
        layers.append(
            {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
        )
    assume(layers)
    return chain(*layers), n


@given(strided())
def test_unread_positions_are_those_that_no_unit_reads(drawn: tuple[Spec, int]) -> None:
    spec, n = drawn
    last = list(spec["layers"])[-1]
    unread = set(np.flatnonzero(~enumerated(spec, n, last).any(axis=0)).tolist())
    found = look(spec, "unread-input", n)
    assert bool(found) == bool(unread)
    for finding in found:
        (pattern,) = finding.evidence["patterns"]
        assert pattern["lost"] == len(unread)
        assert finding.evidence["share"] == pytest.approx(len(unread) / n)
        assert finding.layers and finding.exact
        if not pattern["other"]:
            assert positions(pattern) == unread


@given(st.integers(2, 5), st.integers(0, 4), st.integers(20, 60))
def test_kernels_that_cover_the_stride_leave_a_remainder_at_most(
    stride: int, more: int, n: int
) -> None:
    found = look(chain({"kernel": stride + more, "stride": stride}), "unread-input", n)
    rest = (n - stride - more) % stride
    assert bool(found) == bool(rest)
    if rest:
        (finding,) = found
        (pattern,) = finding.evidence["patterns"]
        assert (pattern["end"], pattern["lost"], finding.severity) == (rest, rest, "note")
        assert finding.remedy.startswith(f"Crop the input to {n - rest},")
        assert f"give it {n - rest + stride}:" in finding.remedy
        for size, units in ((n - rest, 0), (n - rest + stride, 1)):
            spec = chain({"kernel": stride + more, "stride": stride})
            assert not look(spec, "unread-input", size)
            before, after = eyeshot.analyze(spec, n), eyeshot.analyze(spec, size)
            assert after[-1].shape[2] == before[-1].shape[2] + units


def test_gaps_are_a_warning_that_names_kernel_and_layer() -> None:
    spec = chain({"kernel": 2, "stride": 2}, {"kernel": 1, "stride": 2}, {"kernel": 3})
    (finding,) = look(spec, "unread-input", 24)
    assert finding.severity == "warning"
    assert finding.layers == ("c1",)
    assert positions(finding.evidence["patterns"][0]) == {i for i in range(24) if i % 4 > 1}
    assert finding.remedy.startswith("Give c1 a kernel of at least its stride 2 (it has 1)")
    spec["layers"]["c1"]["kernel"] = 2
    assert not look(spec, "unread-input", 24)


def test_axes_that_lose_the_same_are_one_finding() -> None:
    (finding,) = look(chain({"kernel": 1, "stride": 2}), "unread-input", "3x13x14")
    assert finding.evidence["axes"] == [2, 3]
    assert [each["lost"] for each in finding.evidence["patterns"]] == [6, 7]
    assert finding.evidence["share"] == pytest.approx(1 - 7 * 7 / (13 * 14))


def test_a_shortcut_that_skips_what_the_main_path_reads_is_none() -> None:
    layers = {
        "main": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1},
        "short": {"op": "conv", "kernel": 1, "stride": 2, "inputs": "input"},
        "sum": {"op": "add", "inputs": ["main", "short"]},
    }
    assert not look({"layers": layers, "input": [1, 16]}, "unread-input")
    (finding,) = look({"layers": layers, "input": [1, 16], "outputs": ["short"]}, "unread-input")
    assert finding.layers == ("short",)


def test_what_a_slice_leaves_out() -> None:
    spec = chain({"kernel": 3, "padding": [[2, 0]]})
    spec["layers"]["now"] = {"op": "slice", "dim": 2, "start": -1}
    (finding,) = look(spec, "unread-input", 20)
    assert (finding.layers, finding.severity) == (("now",), "warning")
    assert positions(finding.evidence["patterns"][0]) == set(range(17))


class Some(nn.Module):
    """Reads two of three channels, and every other row and column."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x[:, :2])


def test_unread_rows_and_channels_of_a_real_module() -> None:
    model, x = Some().double(), torch.rand(1, 3, 9, 8, dtype=torch.float64)
    found = {tuple(f.evidence["axes"]): f for f in look(model, "unread-input", (1, 3, 9, 8))}
    assert set(found) == {(1,), (2, 3)}
    for dims, finding in found.items():
        for dim, pattern in zip(dims, finding.evidence["patterns"], strict=True):
            read = reads(model, [x], 0, dim)
            unread = np.flatnonzero(~read.reshape(len(read), -1).any(axis=1))
            assert positions(pattern) == set(unread.tolist())
    # The slice has no name of its own: it is made on the way to the convolution.
    assert found[(1,)].layers == found[(2, 3)].layers == ("conv",)


def test_an_input_that_changes_nothing() -> None:
    spec = {
        "inputs": {"x": [1, 8], "y": [1, 8]},
        "layers": {
            "a": {"op": "conv", "kernel": 3, "inputs": "x"},
            "b": {"op": "conv", "kernel": 3, "inputs": "y"},
        },
        "outputs": ["a"],
    }
    (finding,) = look(spec, "unread-input")
    assert finding.layers == ("b",)
    assert finding.evidence == {"input": "y", "shape": [1, 1, 8], "read": 0, "share": 1.0}


# --- unused-layers


class Branches(nn.Module):
    """``kept`` leads to the result; ``head`` is computed and dropped; of a sort only the order is asked for."""

    def __init__(self, dropped: bool) -> None:
        super().__init__()
        self.dropped = dropped
        self.kept, self.head = nn.Conv1d(1, 1, 3), nn.Conv1d(1, 1, 3)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x: Tensor) -> Any:
        main = self.kept(x)
        aside = self.norm(self.head(main)).relu()
        order = main.sort(dim=-1)[1]
        return (main, order) if self.dropped else (main, order, aside)


def test_a_dropped_branch() -> None:
    (finding,) = look(Branches(True), "unused-layers", (1, 1, 12))
    assert finding.layers[:2] == ("head", "norm")
    assert finding.evidence["begins"] == ["head"]
    assert finding.evidence["unused"] == len(finding.layers) == 3
    # Its weights get no gradient: what it costs is true.
    model = Branches(True)
    model(torch.rand(2, 1, 12))[0].sum().backward()
    assert model.head.weight.grad is None and model.kept.weight.grad is not None
    assert not look(Branches(False), "unused-layers", (1, 1, 12))


class Twice(nn.Module):
    """A module of which one call is read, or two modules."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)
        self.other = self.conv if shared else nn.Conv1d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.other(x.relu())
        return self.conv(x)


def test_an_unused_call_of_a_module_that_learns_is_a_note() -> None:
    for shared in (True, False):
        model = Twice(shared)
        (finding,) = look(model, "unused-layers", (1, 1, 12))
        model(torch.rand(2, 1, 12)).sum().backward()
        learns = model.other.weight.grad is not None
        assert learns == shared
        assert finding.severity == ("note" if learns else "warning")
        assert ("get no gradient" in finding.cost) != learns


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.data())
def test_unused_layers_are_those_before_no_output(behind: list[int], data: Any) -> None:
    layers: Spec = {}
    for k, back in enumerate(behind):
        names = ["input", *layers]
        layers[f"c{k}"] = {"op": "conv", "kernel": 1, "inputs": names[max(0, k - back)]}
    out = data.draw(st.sampled_from(list(layers)))
    spec = {"input": [1, 8], "layers": layers, "outputs": [out]}
    needed, at = set(), out
    while at != "input":
        needed.add(at)
        at = layers[at]["inputs"]
    found = look(spec, "unused-layers")
    assert set(found[0].layers if found else ()) == set(layers) - needed


def test_a_layer_behind_padding_along_one_dim_is_unused() -> None:
    layers = {
        "stem": {"op": "conv", "kernel": 1},
        "norm": {"op": "batch_norm"},
        # Rows at -1 and 2 of two rows.
        "lost": {"op": "conv", "kernel": [2, 2], "dilation": 3, "padding": 1},
        "head": {"op": "conv", "kernel": 1, "inputs": "stem"},
    }
    net = {"input": [1, 2, 5], "layers": layers, "outputs": ["head", "lost"]}
    (finding,) = look(net, "unused-layers")
    assert finding.layers == ("norm",)


def test_what_is_read_as_a_constant_is_not_unused() -> None:
    """Only the places between those that are written are read: the outputs are dead, and read its bias."""
    layers = {
        "up": {"op": "conv_transpose", "kernel": 1, "stride": 3},
        "odd": {"op": "slice", "dim": 2, "start": 1, "step": 3},
        "aux": {"op": "conv", "kernel": 3, "inputs": "up"},
        "other": {"op": "conv", "kernel": 1, "inputs": "input"},
    }
    net = {"input": [1, 8], "layers": layers, "outputs": ["odd", "other"]}
    (finding,) = look(net, "unused-layers")
    assert finding.layers == ("aux",)
    (finding,) = look(net, "dead-outputs")
    assert finding.evidence["share"] == 1


# --- dead-outputs


@st.composite
def laid(draw: Any) -> tuple[Spec, int]:
    """A transposed convolution: kernels below the stride, paddings beyond, dilations with a common factor."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation, n = draw(st.integers(1, 2)), draw(st.integers(3, 6))
    layer = {
        "op": "conv_transpose",
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "output_padding": draw(st.integers(0, max(stride, dilation) - 1)),
        "padding": draw(st.integers(0, 1)),
    }
    size = (n - 1) * stride - 2 * layer["padding"] + dilation * (kernel - 1)
    assume(size + layer["output_padding"] + 1 > 0)
    return {"layers": {"up": layer}}, n


def check_dead(spec: Spec, n: int) -> tuple[Finding, ...]:
    last = list(spec["layers"])[-1]
    dead = ~enumerated(spec, n, last).any(axis=1)
    found = look(spec, "dead-outputs", n)
    assert bool(found) == bool(dead.any())
    for finding in found:
        assert finding.evidence["dead_units"] == dead.sum()
        assert finding.evidence["share"] == pytest.approx(dead.mean())
        for pattern in finding.evidence["patterns"]:
            if not pattern["other"]:
                assert positions(pattern) == set(np.flatnonzero(dead).tolist())
    return found


@given(laid())
def test_dead_phases(drawn: tuple[Spec, int]) -> None:
    for finding in check_dead(*drawn):
        assert finding.severity == "error"
        assert finding.layers == ("up",)


@given(st.integers(1, 4), st.integers(0, 5), st.integers(1, 3), st.integers(1, 2))
def test_windows_that_lie_in_padding(kernel: int, padding: int, stride: int, dilation: int) -> None:
    layer = {"kernel": kernel, "padding": padding, "stride": stride, "dilation": dilation}
    for finding in check_dead(chain(layer), 9):
        most = dilation * (kernel - 1)
        assert padding > most
        assert finding.severity == "error"
        assert f"Pad c0 by at most {most} " in finding.remedy
        assert not look(chain({**layer, "padding": most}), "dead-outputs", 9)


def test_dead_phases_are_blamed_where_they_arise() -> None:
    up = {"op": "conv_transpose", "kernel": 2, "stride": 3}
    layers = {"stem": {"op": "conv", "kernel": 3}, "up": up, "act": {"op": "relu"}}
    layers["head"] = {"op": "conv", "kernel": 1}
    (finding,) = look({"layers": layers}, "dead-outputs", 16)
    assert finding.layers == ("up", "head")
    assert finding.remedy == "Give up a kernel of at least its stride 3 (it has 2)."
    assert finding.evidence["patterns"][0]["phases"] == [2]
    layers["head"] = {"op": "conv", "kernel": 3}  # which fills them
    assert not look({"layers": layers}, "dead-outputs", 16)


class Outputs(nn.Module):
    """A map, and a table of positions that is a constant on purpose."""

    def __init__(self, pad: int = 0) -> None:
        super().__init__()
        self.conv, self.pad = nn.Conv1d(1, 1, 3), pad

    def forward(self, x: Tensor) -> Any:
        y = nn.functional.pad(self.conv(x), (0, self.pad))
        return y, torch.arange(y.shape[-1]).double()


def test_constants_on_purpose() -> None:
    assert not look(Outputs(), "dead-outputs", (1, 1, 12))
    (finding,) = look(Outputs(2), "dead-outputs", (1, 1, 12))
    assert finding.severity == "note"  # padded, by no window
    assert (finding.evidence["dead_units"], finding.evidence["units"]) == (2, 12)


def test_dead_units_of_a_real_module() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(1, 2, 2, stride=3), nn.ReLU()).double()
    x = torch.rand(1, 1, 4, 5, dtype=torch.float64)
    model[0].bias.data.fill_(1.0)
    # A row and a column that a unit reads are poisoned together: it reads where both change it.
    dead = ~reads(model[0], [x], 0, 2).any(axis=0)
    (finding,) = look(model, "dead-outputs", (1, 1, 4, 5))
    assert finding.evidence["dead_units"] == dead[0, 0].sum()
    assert finding.evidence["units"] == dead[0, 0].size

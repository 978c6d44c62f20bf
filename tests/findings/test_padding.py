"""Findings about padding: against enumeration, spoilt weights of real modules, and masses by enumeration."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import eyeshot
from eyeshot.analysis.findings import Finding
from tests.oracles import mass

KERNEL, MOSTLY = "kernel-exceeds-input", "mostly-padding"


def found(source: Any, code: str, input: Any = None) -> Finding | None:
    findings = eyeshot.check(source, input, select=code).findings
    assert len(findings) <= 2
    return findings[0] if findings else None


def spec(shape: list[int], *layers: dict[str, Any]) -> dict[str, Any]:
    return {
        "input": shape,
        "layers": [{"name": f"l{k}", **layer} for k, layer in enumerate(layers)],
    }


def conv(kernel: Any, **fields: Any) -> dict[str, Any]:
    return {"op": "conv", "kernel": kernel, **fields}


# --- kernels against enumeration


def landing(n: int, k: int, s: int, d: int, p: int) -> list[bool]:
    """Tap by tap, whether any output has it inside: all outputs and taps, one by one."""
    size = (n + 2 * p - d * (k - 1) - 1) // s + 1
    return [any(0 <= i * s - p + d * t < n for i in range(size)) for t in range(k)]


windows = st.tuples(
    st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(1, 6), st.integers(0, 12)
).filter(lambda w: w[0] + 2 * w[4] >= w[3] * (w[1] - 1) + 1)


@given(rows=windows, columns=windows)
def test_dead_taps_are_those_that_enumeration_finds(rows: Any, columns: Any) -> None:
    net = spec(
        [2, rows[0], columns[0]],
        conv(
            [rows[1], columns[1]],
            stride=[rows[2], columns[2]],
            dilation=[rows[3], columns[3]],
            padding=[rows[4], columns[4]],
            channels=3,
        ),
    )
    used = np.outer(landing(*rows), landing(*columns))
    finding = found(net, KERNEL)
    assert (finding is None) == used.all()
    if finding is not None:
        (kernel,) = finding.evidence["kernels"]
        assert kernel["dead_taps"] == used.size - used.sum()
        assert kernel["share"] == pytest.approx(1 - used.mean())
        assert finding.evidence["dead_weights"] == 6 * (used.size - used.sum())
        assert finding.evidence["weights"] == 6 * used.size
        assert finding.severity == "warning" and finding.exact


# --- kernels against real modules


def deaf(module: nn.Module, weight: Tensor, shape: tuple[int, ...]) -> int:
    """How many weights may be anything without any change of what comes out."""
    module = module.double().eval()
    torch.manual_seed(0)
    x = torch.rand(shape, dtype=torch.float64) + 0.5
    count = 0
    with torch.no_grad():
        clean = module(x)
        for at in itertools.product(*map(range, weight.shape)):
            old = weight[at].item()
            weight[at] = old + 1e6
            count += torch.equal(module(x), clean)
            weight[at] = old
    return count


class Padded(nn.Module):
    """Padding by a layer of its own, more of it at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 2)))


class Before(nn.Module):
    """Padding and cropping at the beginning, by layers of their own."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5, bias=False)
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(F.pad(x, (5, 0)), (-1, self.count)).relu())


class Moved(nn.Module):
    """Padding that is no zero any more when the kernel meets it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (5, 0)) + 1)


class Twice(nn.Module):
    """One convolution for two maps, of which the smaller has no use for all of its taps."""

    def __init__(self, small: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        self.small = small

    def forward(self, x: Tensor) -> Tensor:
        first = F.avg_pool2d(x, x.shape[-1]) if self.small else x
        return self.conv(first) + self.conv(F.avg_pool2d(x, x.shape[-1]))


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1x1": (lambda: nn.Conv2d(2, 3, 3, padding=1, bias=False), (1, 2, 1, 1)),
    "2x2, stride 2": (lambda: nn.Conv2d(2, 2, 3, 2, 1, bias=False), (1, 2, 2, 2)),
    "3x3, stride 2": (lambda: nn.Conv2d(2, 2, 3, 2, 1, bias=False), (1, 2, 3, 3)),
    "2x1": (lambda: nn.Conv2d(1, 1, 3, padding=1, bias=False), (1, 1, 2, 1)),
    "grouped": (lambda: nn.Conv1d(4, 4, 5, padding=2, groups=2, bias=False), (1, 4, 2)),
    "depthwise": (lambda: nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False), (1, 3, 2, 1)),
    "one row": (lambda: nn.Conv2d(2, 2, (1, 7), padding="same", bias=False), (1, 2, 3, 3)),
    "same": (lambda: nn.Conv1d(1, 2, 4, padding="same", bias=False), (1, 1, 2)),
    "dilated": (lambda: nn.Conv1d(1, 1, 3, padding=9, dilation=9, bias=False), (1, 1, 9)),
    "dilated, just": (lambda: nn.Conv1d(1, 1, 3, padding=8, dilation=8, bias=False), (1, 1, 9)),
    "volume": (lambda: nn.Conv3d(1, 1, 3, padding=1, bias=False), (1, 1, 1, 2, 1)),
    "no padding": (lambda: nn.Conv2d(1, 1, 2, bias=False), (1, 1, 2, 2)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 4, 2, 1, bias=False), (1, 2, 1, 1)),
    "transposed, large": (lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False), (1, 1, 2, 2)),
    "transposed, dilated": (
        lambda: nn.ConvTranspose1d(1, 1, 4, 2, 5, 1, dilation=3, bias=False),
        (1, 1, 2),
    ),
    "transposed, stride 1": (lambda: nn.ConvTranspose1d(1, 2, 5, 1, 2, bias=False), (1, 1, 2)),
    "padded before": (Padded, (1, 1, 1, 2)),
    "padded at the beginning": (lambda: Before(0), (1, 1, 2)),
    "padded on both sides": (lambda: Before(1), (1, 1, 2)),
    "padded, then moved": (Moved, (1, 1, 2)),
    "reflected": (
        lambda: nn.Conv1d(1, 1, 5, padding=2, padding_mode="reflect", bias=False),
        (1, 1, 3),
    ),
    "replicated": (
        lambda: nn.Conv1d(1, 1, 3, padding=1, padding_mode="replicate", bias=False),
        (1, 1, 1),
    ),
    "two small maps": (lambda: Twice(True), (1, 1, 4, 4)),
    "a small and a large map": (lambda: Twice(False), (1, 1, 4, 4)),
}


@pytest.mark.parametrize("name", MODULES)
def test_dead_weights_may_be_anything(name: str) -> None:
    """Each weight is moved by a million: dead ones change nothing, and no others."""
    make, shape = MODULES[name]
    module = make()
    (weight,) = module.parameters()
    finding = found(module, KERNEL, shape)
    expected = deaf(module, weight, shape)
    if expected:
        assert finding is not None and finding.exact
        assert finding.evidence["dead_weights"] == expected
        assert finding.evidence["weights"] == weight.numel()
    else:
        assert finding is None


def test_dead_weights_of_a_network_get_no_gradient() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for a, b, s in [(1, 3, 2), (3, 4, 2), (4, 4, 2), (4, 4, 1), (4, 2, 2)]:
        layers += [nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Conv2d(2, 2, 1, bias=False)).double().eval()
    finding = found(net, KERNEL, (1, 1, 8, 8))
    assert finding is not None
    out = net(torch.rand(1, 1, 8, 8, dtype=torch.float64))
    (out * torch.rand_like(out)).sum().backward()
    weights = {f"{k}": m.weight for k, m in enumerate(net) if isinstance(m, nn.Conv2d)}
    zero = {
        name: int(torch.eq(w.grad, 0).sum()) for name, w in weights.items() if w.grad is not None
    }
    assert set(finding.layers) == {name for name, count in zero.items() if count}
    assert finding.evidence["dead_weights"] == sum(zero.values())
    assert finding.evidence["weights"] == sum(w.numel() for w in weights.values())
    # The most dead weights come first.
    assert zero[finding.layers[0]] == max(zero.values())
    for kernel in finding.evidence["kernels"]:
        assert kernel["share"] == zero[kernel["layer"]] / weights[kernel["layer"]].numel()


def test_the_smaller_kernel_computes_the_same() -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(2, 2, 3, 2, 1).double()
    finding = found(net, KERNEL, (1, 2, 2, 2))
    assert finding is not None and "a kernel of 2×2 in conv2d computes the same" in finding.remedy
    x = torch.rand(1, 2, 2, 2, dtype=torch.float64)
    assert torch.allclose(net(x), F.conv2d(x, net.weight[:, :, 1:, 1:], net.bias, 2))


@pytest.mark.parametrize("channels", [1, 4])
def test_a_kernel_of_one_fills_its_padding_with_its_bias(channels: int) -> None:
    assert found(spec([1, 1], conv(1, padding=2, channels=channels), conv(5)), KERNEL) is None


def test_no_kernel_of_nothing_is_proposed() -> None:
    """Rows at -1 and 1 of a map of one row: a smaller kernel computes the same only where some tap is alive."""
    finding = found(spec([1, 1, 4], conv([2, 1], dilation=[2, 1], padding=[1, 0])), KERNEL)
    assert finding is not None and finding.evidence["kernels"][0]["share"] == 1
    assert "computes the same" not in finding.remedy


# --- the size at which every tap is used


@settings(deadline=None)
@given(
    n=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.sampled_from([1, 3, 5]), st.integers(1, 3)), min_size=1, max_size=4
    ),
    last=st.tuples(st.sampled_from([3, 5]), st.integers(1, 7)),
)
def test_every_tap_is_used_at_the_size_that_is_named(n: int, steps: Any, last: Any) -> None:
    chain = [conv(k, stride=s, padding=k // 2) for k, s in steps]
    chain.append(conv(last[0], dilation=last[1], padding=last[1] * (last[0] // 2)))
    finding = found(spec([1, n], *chain), KERNEL)
    if finding is not None:
        (needed,) = finding.evidence["needed_input"]
        assert needed["size"] > n and f"Inputs of {needed['size']}," in finding.remedy
        assert found(spec([1, needed["size"]], *chain), KERNEL) is None


FIXED: dict[str, dict[str, Any]] = {
    "linear": {"op": "upsample", "size": [4], "mode": "linear"},
    "nearest": {"op": "upsample", "size": [4], "mode": "nearest"},
    "pooled": {"op": "adaptive_avg_pool", "size": [4]},
    "sliced": {"op": "slice", "dim": 2, "stop": 1},
}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("n", [2, 8, 9])
def test_no_size_is_named_behind_what_has_a_size_of_its_own(name: str, n: int) -> None:
    finding = found(spec([1, n], FIXED[name], conv(3, dilation=5, padding=5)), KERNEL)
    assert finding is not None and finding.evidence["needed_input"] == []
    assert "Inputs" not in finding.remedy


def test_published_resnet18_on_cifar() -> None:
    """By hand: in layer4 three 3x3 kernels on 1x1 (8/9 dead) and one of stride 2 on 2x2 (5/9 dead)."""
    finding = found("torchvision:resnet18", KERNEL, (1, 3, 32, 32))
    assert finding is not None
    assert finding.evidence["dead_weights"] == 512 * 512 * 8 * 3 + 256 * 512 * 5
    assert [each["size"] for each in finding.evidence["needed_input"]] == [64, 64]
    assert found("torchvision:resnet18", KERNEL, (1, 3, 64, 64)) is None


def test_a_dilated_kernel_degenerates_to_a_single_tap() -> None:
    """Chen et al. 2017 (DeepLab v3), section 3.3: as the rate nears the map's size, only the centre is left."""
    net = spec([1, 28, 28], conv(3, dilation=36, padding=36))
    finding = found(net, KERNEL)
    assert finding is not None and finding.evidence["kernels"][0]["dead_taps"] == 8
    assert found(spec([1, 65, 65], conv(3, dilation=36, padding=36)), KERNEL) is None


# --- pools


def test_an_average_over_padding_is_a_note() -> None:
    finding = found(nn.AvgPool2d(3, 1, 1), KERNEL, (1, 1, 1, 2))
    assert finding is not None and finding.severity == "note"
    x = torch.rand(1, 1, 1, 2, dtype=torch.float64)
    left = 1 - finding.evidence["kernels"][0]["share"]
    assert left == pytest.approx(1 / 3) and F.avg_pool2d(x, 3, 1, 1)[0, 0, 0, 0] <= left * x.mean()
    assert found(nn.AvgPool2d(3, 1, 1, count_include_pad=False), KERNEL, (1, 1, 1, 2)) is None
    assert found(nn.MaxPool2d(3, 1, 1), KERNEL, (1, 1, 1, 2)) is None
    assert found(nn.AdaptiveAvgPool2d(3), KERNEL, (1, 1, 2, 2)) is None


# --- units made of padding


def expected(net: dict[str, Any]) -> tuple[float, np.ndarray]:
    """Of the last layer, by enumeration: the mean share in padding, and each unit's."""
    states = mass.masses(net)
    share = 1 - states[net["layers"][-1]["name"]].mass.sum(axis=-1)
    return float(share.mean()), share[0].mean(axis=0)


chains = st.lists(
    st.tuples(st.sampled_from([1, 3, 5]), st.integers(1, 2), st.integers(1, 2)),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 6)), chain=chains)
def test_shares_are_those_that_enumeration_finds(shape: tuple[int, int], chain: Any) -> None:
    layers = [conv(k, stride=s, dilation=d, padding=d * (k // 2)) for k, s, d in chain]
    net = spec([1, *shape], *layers)
    mean, units = expected(net)
    finding = found(net, MOSTLY)
    if abs(mean - 0.5) > 1e-9:
        assert (finding is not None) == (mean > 0.5)
    if finding is None:
        return
    (last,) = finding.evidence["maps"]
    rows, columns = units.shape
    assert last["mean"] == pytest.approx(mean)
    known = {"middle": units[rows // 2, columns // 2], "corner": units[0, 0]}
    known |= {"top": units[0, columns // 2], "bottom": units[-1, columns // 2]}
    known |= {"left": units[rows // 2, 0], "right": units[rows // 2, -1]}
    for name, share in last["units"].items():
        assert share == pytest.approx(known[name])
    lost = finding.evidence["lost_in"]
    assert sum(lost.values()) == pytest.approx(mean)
    least = min(last["units"].values())
    if abs(least - 0.95) > 1e-9:
        assert finding.severity == ("warning" if least > 0.95 else "note")


def test_it_is_what_single_units_lose() -> None:
    report = eyeshot.analyze("torchvision:resnet18", (1, 3, 32, 32))
    finding = found(report, MOSTLY)
    assert finding is not None and finding.severity == "warning"
    layer = report["layer4.1.relu_1"]
    assert finding.layers[0] == layer.name
    assert finding.evidence["maps"][0]["mean"] <= report.unit(layer.name, (0, 0)).share_in_padding
    # All but what is lost in the max pool, of which padding is no part.
    of = report.unit(layer.name, (0, 0), of="maxpool").share_in_padding
    assert finding.evidence["maps"][0]["mean"] == pytest.approx(of, abs=0.02)


@pytest.mark.parametrize(
    "net",
    [
        spec([1, 9, 9], conv(3), conv(3)),
        spec([1, 30, 30], *[conv(3, padding=1)] * 4),
        spec([1, 1, 1], {"op": "max_pool", "kernel": 5, "stride": 1, "padding": 2}),
        spec([1, 2, 2], conv(3, padding=1, padding_mode="reflect"), *[conv(1)] * 2),
        spec([1, 4, 4], {"op": "global_avg_pool"}),
    ],
    ids=["no padding", "large", "maximum", "reflected", "pooled"],
)
def test_nothing_is_said_of_others(net: Any) -> None:
    assert found(net, MOSTLY) is None


def test_places_that_nothing_is_written_to_are_no_padding() -> None:
    """A transposed convolution of kernel 1 and stride 5 writes to one place in five; nothing is padded."""
    wide = {"op": "conv_transpose", "kernel": 1, "stride": 5}
    net = spec([1, 6], wide, conv(5, stride=5))
    report = eyeshot.analyze(net)
    assert report.unit("l1", 1).share_in_padding == pytest.approx(0.8)
    assert found(report, MOSTLY) is None


def test_places_without_taps_are_told_from_padding() -> None:
    """Of seven places three are written to, two never, and two by taps beyond the input: 2/7 is padding."""
    wide = {"op": "conv_transpose", "kernel": 3, "stride": 5, "output_padding": 4}
    net = spec([1, 1], wide, conv(7))
    report = eyeshot.analyze(net)
    assert report.unit("l1", 0).share_in_padding == pytest.approx(4 / 7)
    assert found(report, MOSTLY) is None


def test_a_map_with_a_better_middle_is_a_note() -> None:
    net = spec([1, 6, 6], *[conv(5, padding=2)] * 4)
    mean, units = expected(net)
    assert mean > 0.75 and units[3, 3] < 0.95
    finding = found(net, MOSTLY)
    assert finding is not None and finding.severity == "note"


def test_the_map_before_it_is_pooled_is_looked_at() -> None:
    chain = [conv(3, padding=1)] * 4
    finding = found(spec([1, 2, 2], *chain, {"op": "global_avg_pool"}), MOSTLY)
    assert finding is not None and finding.layers[0] == "l3"
    mean, _ = expected(spec([1, 2, 2], *chain))
    assert finding.evidence["maps"][0]["mean"] == pytest.approx(mean)


def test_a_few_dead_weights_are_a_note() -> None:
    """A depthwise kernel on one position, beside many weights or alone."""
    for channels, severity in ((64, "note"), (1, "warning")):
        net = spec(
            [1, 1, 1],
            conv(1, channels=channels),
            conv(1, channels=64),
            conv(1, channels=1),
            conv(3, padding=1),
        )
        finding = found(net, KERNEL)
        assert finding is not None
        dead, weights = finding.evidence["dead_weights"], finding.evidence["weights"]
        assert (dead, weights) == (8, channels + 64 * channels + 64 + 9)
        assert finding.severity == severity == ("note" if dead < 0.01 * weights else "warning")


# --- behind a bound


class Dependent(nn.Module):
    """Python looks at a number before it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1)
        self.second = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x) if float(x.sum()) < 1e9 else x


def test_behind_a_bound_dead_taps_are_possible() -> None:
    finding = found(Dependent(), KERNEL, (1, 1, 1, 1))
    assert finding is not None and not finding.exact
    plain = found(nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1)] * 2), KERNEL, (1, 1, 1, 1))
    assert plain is not None and plain.exact


def test_what_an_upper_bound_counts_is_no_finding() -> None:
    assert found(Dependent(), MOSTLY, (1, 1, 1, 1)) is None
    plain = found(nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1)] * 2), MOSTLY, (1, 1, 1, 1))
    assert plain is not None and plain.exact


# --- the zoo at its own sizes


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "densenet121", "mobilenet_v2", "vit_b_16"])
def test_ordinary_classifiers_have_neither(name: str) -> None:
    check = eyeshot.check(f"torchvision:{name}", (1, 3, 224, 224), select="padding")
    assert not check.findings and not check.skipped


def test_a_walk_that_is_too_long_is_not_begun() -> None:
    net = spec([1, 1 << 16, 1 << 16], *[conv(3, stride=2, padding=1)] * 17)
    check = eyeshot.check(net, select=MOSTLY)
    assert not check.findings
    ((code, reason),) = check.skipped
    assert code == MOSTLY and "positions, more than" in reason

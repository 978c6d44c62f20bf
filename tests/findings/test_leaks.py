"""What reads the future, or another sample: against real modules whose input is poisoned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import eyeshot
from eyeshot.analysis.findings import Finding
from tests.oracles.poison import reads


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


class Do(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.inner = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.inner:
            x = module(x)
        return self.function(x)


def first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


# --- the future


def future(module: nn.Module, shape: Sequence[int], axis: int = 2, **options: Any) -> list[Finding]:
    found = eyeshot.check(
        module, tuple(shape), select="reads-future", axes=(axis,), causal=True, **options
    )
    assert not found.skipped
    return list(found)


def lookahead(module: nn.Module, shape: Sequence[int], axis: int, dim: int, jump: Fraction) -> int:
    """By poisoning: how far the worst unit along ``dim`` reads beyond its own hop."""
    module.eval()
    read = reads(module, [torch.randn(*shape)], 0, axis, first)
    per_unit = read.any(axis=tuple(d + 1 for d in range(read.ndim - 1) if d != dim))
    worst = 0
    for i in range(per_unit.shape[1]):
        if per_unit[:, i].any():
            end = int(np.flatnonzero(per_unit[:, i])[-1]) + 1
            worst = max(worst, end - -(-(i + 1) * jump.numerator // jump.denominator))
    return worst


def left(kernel: int, dilation: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.ConstantPad1d(((kernel - 1) * dilation, 0), 0.0),
        nn.Conv1d(2, 2, kernel, dilation=dilation),
    )


CAUSAL: dict[str, tuple[nn.Module, tuple[int, ...], int]] = {
    "left padding": (nn.Sequential(left(3), nn.ReLU(), left(2, 4)), (1, 2, 16), 2),
    "chomped": (
        Do(lambda x: x[..., :-4], nn.Conv1d(2, 2, 3, padding=4, dilation=2)),
        (1, 2, 16),
        2,
    ),
    "replicated border": (
        nn.Sequential(nn.ReplicationPad1d((2, 0)), nn.Conv1d(2, 2, 3)),
        (1, 2, 16),
        2,
    ),
    "batch norm": (nn.Sequential(left(3), nn.BatchNorm1d(2)), (1, 2, 16), 2),
    "channels' norm": (
        Do(lambda x: x.mT, Do(lambda x: x.mT), nn.LayerNorm(2)),
        (1, 2, 16),
        2,
    ),
    "gru": (nn.GRU(3, 4, batch_first=True), (1, 9, 3), 1),
    "running sum": (Do(lambda x: x.cumsum(-1)), (1, 2, 16), 2),
    "strides": (
        nn.Sequential(nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(2, 2, 4, stride=2)),
        (1, 2, 16),
        2,
    ),
    "repeated": (Do(lambda x: x.repeat_interleave(2, -1), left(2)), (1, 2, 16), 2),
    "one channel's window": (nn.Conv2d(1, 1, (3, 1), padding=(1, 0)), (1, 1, 6, 9), 3),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_networks_have_no_finding(name: str) -> None:
    module, shape, axis = CAUSAL[name]
    module = module.double()
    assert future(module, shape, axis) == []
    dim = axis
    jump = {"strides": Fraction(2), "repeated": Fraction(1, 2)}.get(name, Fraction(1))
    assert lookahead(module, shape, axis, dim, jump) == 0


LEAKS: dict[str, tuple[nn.Module, tuple[int, ...], int, int | None, str, str]] = {
    "centred": (
        nn.Sequential(left(3), nn.Conv1d(2, 2, 5, padding=2)),
        (1, 2, 16), 2, 2, "1", "Pad 4 on the left and nothing on the right",
    ),
    "padded on both sides": (
        nn.Sequential(nn.ConstantPad1d((2, 2), 0.0), nn.Conv1d(2, 2, 5)),
        (1, 2, 16), 2, 2, "0", "Pad 4 at the beginning and nothing at the end",
    ),
    "dilated": (nn.Conv1d(2, 2, 3, padding=3, dilation=3), (1, 2, 16), 2, 3, "0", "Pad 6 on the left"),
    "chomped at the wrong end": (
        Do(lambda x: x[..., 2:], nn.Conv1d(2, 2, 3, padding=2)),
        (1, 2, 16), 2, 2, "", "Pad 2 on the left",
    ),
    "reflected border": (
        nn.Sequential(nn.ReflectionPad1d((2, 0)), nn.Conv1d(2, 2, 3)),
        (1, 2, 16), 2, 2, "0", "zeros or by repetition",
    ),
    "hop": (
        nn.Sequential(nn.Conv1d(2, 2, 4, 4), nn.ConvTranspose1d(2, 2, 4, 4)),
        (1, 2, 16), 2, 3, "1", "delay them by 3",
    ),
    "interpolated": (
        nn.Sequential(nn.AvgPool1d(2), nn.Upsample(scale_factor=2, mode="linear")),
        (1, 2, 16), 2, 3, "1", "nearest",
    ),
    "shifted": (Do(lambda x: nn.functional.pad(x[..., 2:], (0, 2)), nn.Conv1d(2, 2, 1)),
                (1, 2, 16), 2, 2, "", "shift"),
    "group norm": (nn.Sequential(left(3), nn.GroupNorm(1, 2)), (1, 2, 16), 2, -1, "1", "layer norm"),
    "instance norm": (nn.Sequential(left(3), nn.InstanceNorm1d(2)), (1, 2, 16), 2, -1, "1", "layer norm"),
    "gate": (Do(lambda x: x * x.mean(-1, keepdim=True), left(2)), (1, 2, 16), 2, -1, "mean", "running mean"),
    "both ways": (nn.GRU(3, 4, batch_first=True, bidirectional=True), (1, 9, 3), 1, -1, "gru",
                  "bidirectional=False"),
    "circular": (nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"), (1, 2, 16), 2, -1, "0", "zeros"),
    "fourier": (Do(lambda x: torch.fft.irfft(torch.fft.rfft(x), n=16)), (1, 2, 16), 2, -1, "fft_r2c", ""),
    "spectrogram": (nn.Conv2d(1, 1, 3, padding=1), (1, 1, 6, 9), 3, 1, "0", "Pad 2 on the left"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAKS)
def test_what_reads_the_future(name: str) -> None:
    """``-1``: all of it."""
    module, shape, axis, expected, blamed, remedy = LEAKS[name]
    module = module.double()
    truth = lookahead(module, shape, axis, axis, Fraction(1))
    (finding,) = future(module, shape, axis)
    assert finding.severity == "error" and finding.exact
    assert truth == (shape[axis] - 1 if expected == -1 else expected)
    assert finding.evidence["lookahead"] == (None if expected == -1 else expected)
    assert finding.evidence["mask_may_hide"] is False
    if blamed and len(list(module.children())):
        assert finding.layers[0] == blamed
    assert remedy in finding.remedy
    unit, (low, high), due = (finding.evidence[key] for key in ("unit", "reads", "due"))
    assert high - due == truth and 0 <= low < high
    assert f"unit {unit} reads up to position {high - 1}, its own is {due - 1}" in finding.message


def test_a_cause_is_told_once_with_all_that_adds_to_it() -> None:
    net = nn.Sequential(left(2), *[nn.Conv1d(2, 2, 3, padding=1) for _ in range(3)], nn.ReLU())
    (finding,) = future(net, (1, 2, 20))
    assert finding.layers == ("1", "2", "3")
    assert finding.evidence["lookahead"] == 3 and finding.evidence["adds"] == ["2", "3"]


def test_two_causes_are_two_findings() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 5, padding=2)
            self.c = left(3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.a(x), self.b(x), self.c(x)

    found = future(Heads(), (1, 2, 20))
    assert [(f.layers, f.evidence["lookahead"]) for f in found] == [(("a",), 1), (("b",), 2)]


def test_only_units_that_are_used_count() -> None:
    """The last unit has no future; a mean over all units is of all of them."""
    conv = nn.Conv1d(2, 2, 3, padding=1)
    assert future(Do(lambda x: x[..., -1], conv), (1, 2, 20)) == []
    (finding,) = future(Do(lambda x: x.mean(-1), conv), (1, 2, 20))
    assert finding.layers == ("inner.0",) and finding.evidence["lookahead"] == 1


def test_unpadded_windows_end_at_their_own_time() -> None:
    """Without padding the first unit comes as late as it reads."""
    assert (
        future(nn.Sequential(nn.Conv1d(2, 2, 3), nn.Conv1d(2, 2, 4, dilation=2)), (1, 2, 20)) == []
    )
    assert future(nn.Conv1d(2, 2, 5, stride=2), (1, 2, 21)) == []


def attention(masked: bool, causal: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)

    def run(x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(6) if masked else None
        return layer(x, src_mask=mask, is_causal=causal)

    return Do(run, nn.Linear(8, 8))


def test_a_mask_may_hide_what_attention_reads() -> None:
    """The flag keeps later keys out; a mask of -inf multiplies them with zero, which a NaN survives."""
    assert future(attention(True, True), (1, 6, 8), 1) == []
    for masked in (True, False):
        (finding,) = future(attention(masked, False), (1, 6, 8), 1)
        assert finding.severity == "warning" and finding.evidence["mask_may_hide"]
        assert finding.evidence["lookahead"] is None
        assert "unless a mask of -inf hides that numerically" in finding.message
        assert "is_causal=True" in finding.remedy


def test_a_mask_written_by_hand() -> None:
    def run(x: Tensor) -> Tensor:
        scores = (x @ x.transpose(-1, -2)).masked_fill(~torch.ones(6, 6).tril().bool(), -torch.inf)
        return scores.softmax(-1) @ x

    module = Do(run, nn.Linear(8, 8))
    (finding,) = future(module, (1, 6, 8), 1)
    assert finding.severity == "warning" and finding.evidence["mask_may_hide"]
    assert lookahead(module, (1, 6, 8), 1, 1, Fraction(1)) == 5


def test_an_unknown_operator_makes_it_possible() -> None:
    @torch.library.custom_op("eyeshot_tests::leaky", mutates_args=())
    def leaky(x: Tensor) -> Tensor:
        return x.clone()

    leaky.register_fake(torch.empty_like)
    (finding,) = future(Do(leaky, nn.Conv1d(2, 2, 1)), (1, 2, 8))
    assert not finding.exact and finding.layers == ("leaky",)


def test_silent_unless_it_is_claimed() -> None:
    net = nn.Conv1d(2, 2, 3, padding=1)
    assert not len(eyeshot.check(net, (1, 2, 20), select="reads-future"))


def test_published_networks() -> None:
    """WaveNet (van den Oord et al. 2016) is causal; a U-Net's pools and centred windows are not."""
    assert not len(eyeshot.check("example:wavenet", causal=True, select="reads-future"))
    unet = {
        "input": [1, 64],
        "layers": {
            "a": {"op": "conv", "kernel": 3, "padding": 1},
            "down": {"op": "max_pool", "kernel": 2, "stride": 2, "inputs": "a"},
            "b": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "down"},
            "up": {"op": "upsample", "scale": 2, "inputs": "b"},
            "cat": {"op": "concat", "inputs": ["a", "up"]},
        },
    }
    (finding,) = eyeshot.check(unet, causal=True, select="reads-future")
    # Position 2m of the output reads b[m], that down[m + 1], that a[2m + 3], that the input up to 2m + 4.
    assert finding.evidence["lookahead"] == 4 and finding.layers[0] == "a"


@st.composite
def stacks(draw: Any) -> list[tuple[int, int, int, str]]:
    """(kernel, dilation, stride, way of padding on the left) of some layers."""
    count = draw(st.integers(1, 4))
    return [
        (
            draw(st.integers(1, 4)),
            draw(st.integers(1, 3)),
            draw(st.sampled_from([1, 1, 1, 2])),
            draw(st.sampled_from(["pad", "chomp"])),
        )
        for _ in range(count)
    ]


def built(stack: Sequence[tuple[int, int, int, str]], centred: int | None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k, (kernel, dilation, stride, way) in enumerate(stack):
        span = (kernel - 1) * dilation
        if k == centred:
            layers.append(nn.Conv1d(2, 2, kernel, stride, span // 2, dilation))
        elif way == "pad":
            layers.append(
                nn.Sequential(
                    nn.ConstantPad1d((span, 0), 0.0), nn.Conv1d(2, 2, kernel, stride, 0, dilation)
                )
            )
        else:
            cut = -(-span // stride)
            conv = nn.Conv1d(2, 2, kernel, stride, span, dilation)
            layers.append(Do(lambda x, cut=cut: x[..., : x.shape[-1] - cut], conv))
    return nn.Sequential(*layers)


@settings(max_examples=40)
@given(stacks())
def test_drawn_causal_stacks_never_report(stack: list[tuple[int, int, int, str]]) -> None:
    assert future(built(stack, None).double(), (1, 2, 26)) == []


@settings(max_examples=25)
@given(stacks(), st.data())
def test_one_centred_layer_always_reports(
    stack: list[tuple[int, int, int, str]], data: st.DataObject
) -> None:
    planted = data.draw(st.integers(0, len(stack) - 1))
    kernel = data.draw(st.sampled_from([3, 5]))
    stack[planted] = (kernel, *stack[planted][1:2], 1, "")
    # Later strides may take the units whose time has come: those keep to 1.
    stack = [(k, d, s if n < planted else 1, way) for n, (k, d, s, way) in enumerate(stack)]
    net = built(stack, planted).double()
    jump = int(np.prod([s for _, _, s, _ in stack]))
    truth = lookahead(net, (1, 2, 30), 2, 2, Fraction(jump))
    (finding,) = future(net, (1, 2, 30))
    assert finding.evidence["lookahead"] == truth > 0
    assert finding.layers[0].startswith(f"{planted}")


# --- other samples


def mixed(module: nn.Module, shape: Sequence[int], **options: Any) -> list[Finding]:
    found = eyeshot.check(module, tuple(shape), select="mixes-samples", **options)
    assert not found.skipped
    return list(found)


def poisoned(module: nn.Module, shape: Sequence[int], training: bool = False) -> bool:
    """Whether a NaN in sample 1 shows in what sample 0 alone is to give: the first half of the output."""
    module.train(training)
    x = torch.randn(2, *shape[1:])
    with torch.no_grad():
        clean = first(module(x.clone()))
        x[1] = torch.nan
        out = first(module(x))
    half = len(out) // 2
    return bool((out[:half].isnan() & ~clean[:half].isnan()).any())


CONV = nn.Conv2d(3, 4, 3, padding=1)
APART: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda y: y,
    "rows": lambda y: y.permute(0, 2, 3, 1).reshape(-1, 4),
    "windows": lambda y: y.unflatten(2, (2, 4)).unflatten(4, (2, 4)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2),
    "there and back": lambda y: y.reshape(1, -1, 8, 8).reshape(y.shape),
    "grouped": lambda y: nn.functional.conv2d(
        y.reshape(1, -1, 8, 8), torch.ones(4 * len(y), 4, 1, 1), groups=len(y)
    ).reshape(y.shape),
    "instance norm": nn.functional.instance_norm,
    "attention": lambda y: nn.functional.scaled_dot_product_attention(y, y, y),
    "flat": lambda y: y.flatten(1),
    "one by one": lambda y: torch.stack([sample * 2 for sample in y]),
}  # fmt: skip
TOGETHER: dict[str, Callable[[Tensor], Tensor]] = {
    "centred": lambda y: y - y.mean(0, keepdim=True),
    "softmax over the batch": lambda y: y.softmax(0),
    "rolled": lambda y: y + y.roll(1, 0),
    "reversed": lambda y: y.flip(0),
    "the first for all": lambda y: y + y.flip(0)[:1],
    "view in the wrong order": lambda y: nn.functional.avg_pool3d(
        y.reshape(4, len(y), 8, 8).transpose(0, 1), (4, 1, 1)
    ),
    "attention over samples": lambda y: nn.functional.scaled_dot_product_attention(
        *[y.flatten(1)[None]] * 3
    )[0],
}


@pytest.mark.parametrize("name", APART)
def test_samples_that_stay_apart(name: str) -> None:
    module = Do(APART[name], CONV.double())
    assert not poisoned(module, (1, 3, 8, 8))
    assert mixed(module, (1, 3, 8, 8)) == [] == mixed(module, (2, 3, 8, 8))


@pytest.mark.parametrize("name", TOGETHER)
def test_samples_that_meet(name: str) -> None:
    module = Do(TOGETHER[name], CONV.double())
    assert poisoned(module, (1, 3, 8, 8))
    for samples in (1, 2):
        (finding,) = mixed(module, (samples, 3, 8, 8))
        assert finding.severity == "error" and finding.exact
        assert finding.evidence["samples"] == 2 and not finding.evidence["by_design"]


def test_batch_norm_in_training_mixes_by_design() -> None:
    net = nn.Sequential(CONV, nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)).double()
    assert poisoned(net, (1, 3, 8, 8), training=True) and not poisoned(net, (1, 3, 8, 8))
    (finding,) = mixed(net, (1, 3, 8, 8), training=True)
    assert finding.severity == "warning" and finding.layers == ("1", "3")
    assert finding.evidence["by_design"] and "eval mode" in finding.remedy
    assert mixed(net, (1, 3, 8, 8)) == []


def test_what_is_given_for_all_samples() -> None:
    """A loss is; a map that has lost its samples is worth a word."""
    assert mixed(Do(lambda y: y.pow(2).mean(), CONV), (1, 3, 8, 8)) == []
    (finding,) = mixed(Do(lambda y: y.mean(0), CONV), (1, 3, 8, 8))
    assert finding.severity == "warning" and "no dim that tells the 2 samples" in finding.message


def test_what_can_not_be_told_is_not_told() -> None:
    """Dim 0 of an image without a batch is its channels; of a sequence that comes time first it is an axis."""
    assert mixed(nn.Conv2d(3, 4, 3), (3, 8, 8)) == []
    assert mixed(nn.LSTM(3, 4), (9, 1, 3), axes=(0,)) == []
    assert list(eyeshot.check("example:unet", select="mixes-samples")) == []


@settings(max_examples=30)
@given(st.data())
def test_drawn_networks(data: st.DataObject) -> None:
    """A step that mixes is always found, wherever it stands; without one nothing is."""
    steps: list[tuple[str, Callable[[Tensor], Tensor]]] = [
        ("apart", APART[data.draw(st.sampled_from(["nothing", "there and back", "instance norm"]))])
        for _ in range(data.draw(st.integers(0, 3)))
    ]
    planted = data.draw(st.booleans())
    if planted:
        name = data.draw(st.sampled_from(["centred", "softmax over the batch", "rolled"]))
        steps.insert(data.draw(st.integers(0, len(steps))), ("together", TOGETHER[name]))
    net = nn.Sequential(CONV, *(Do(step, nn.ReLU()) for _, step in steps)).double()
    assert poisoned(net, (1, 3, 8, 8)) == planted == bool(mixed(net, (1, 3, 8, 8)))

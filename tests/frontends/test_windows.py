"""Convolutions, pools, padding and patches by the PyTorch frontend against poisoning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import eyeshot
from eyeshot.core.primitives import Stencil
from eyeshot.frontends.torch.build import build
from tests.frontends.agree import assert_agrees


def _positive(module: nn.Module) -> nn.Module:
    """Weights that cancel nothing."""
    with torch.no_grad():
        for p in module.parameters():
            p.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(0))
    return module


def _made(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(*shape, dtype=torch.float64, generator=generator) + 0.5


CONVOLUTIONS = [
    (nn.Conv1d(2, 4, 3, 2, 1, 2, groups=2), (1, 2, 13)),
    (nn.Conv1d(2, 3, 4, padding="same"), (1, 2, 9)),
    (nn.Conv1d(2, 3, 4, padding="same", dilation=3), (2, 7)),
    (nn.Conv1d(2, 2, 5, 3, 4, padding_mode="reflect"), (1, 2, 8)),
    (nn.Conv2d(2, 3, (3, 2), (1, 3), (2, 0), (2, 1)), (1, 2, 7, 8)),
    (nn.Conv2d(2, 3, (4, 3), padding="same"), (1, 2, 6, 5)),
    (nn.Conv2d(2, 2, 3, padding="valid", groups=2), (2, 6, 5)),
    (nn.Conv2d(1, 2, 3, 2, 2, padding_mode="circular"), (1, 1, 6, 7)),
    (nn.Conv2d(1, 2, (4, 3), padding="same", padding_mode="replicate"), (1, 1, 6, 5)),
    (nn.Conv2d(2, 4, 1, 2), (1, 2, 5, 6)),
    (nn.Conv3d(2, 2, (1, 3, 2), (2, 1, 2), (0, 1, 1), groups=2), (1, 2, 3, 4, 5)),
    (nn.Conv3d(1, 2, 2, padding="same"), (1, 3, 4, 3)),
    (nn.ConvTranspose1d(2, 4, 3, 2, 1, 1, groups=2), (1, 2, 5)),
    (nn.ConvTranspose1d(2, 3, 2, 3, dilation=4), (2, 4)),
    (nn.ConvTranspose1d(1, 1, 4, 6, 1, 5, dilation=3), (1, 1, 5)),
    (nn.ConvTranspose2d(2, 3, (3, 2), (2, 3), (1, 0), (1, 2), dilation=(2, 1)), (1, 2, 3, 4)),
    (nn.ConvTranspose2d(2, 2, 4, 2, 3, groups=2), (2, 5, 4)),
    (nn.ConvTranspose3d(1, 2, (2, 3, 1), (3, 2, 1), (0, 1, 0), (1, 0, 0)), (1, 1, 2, 3, 3)),
    (nn.LazyConv2d(3, 3), (1, 2, 5, 5)),
]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("module", "shape"), CONVOLUTIONS, ids=lambda a: str(a))
def test_convolution(module: nn.Module, shape: tuple[int, ...]) -> None:
    module.double()
    module(torch.zeros(shape, dtype=torch.float64))
    axes = tuple(range(len(shape)))[-(module.weight.ndim - 2) :]
    assert_agrees(_positive(module), shape, axes=axes)


POOLS = [
    (nn.MaxPool1d(3, 2, 1, ceil_mode=True), (1, 2, 8)),
    (nn.MaxPool1d(2, dilation=3), (2, 9)),
    (nn.MaxPool2d((3, 2), (2, 3), (1, 0), (2, 1), ceil_mode=True), (1, 2, 9, 8)),
    (nn.MaxPool2d(3, return_indices=True), (2, 7, 8)),
    (nn.MaxPool3d((1, 2, 3), 2, ceil_mode=True), (1, 2, 3, 4, 5)),
    (nn.AvgPool1d(4, 3, 2, ceil_mode=True), (1, 2, 9)),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (1, 2, 8, 7)),
    (nn.AvgPool2d(3, 2, divisor_override=2), (2, 8, 7)),
    (nn.AvgPool3d(2, 1, 1), (1, 1, 2, 3, 4)),
    (nn.LPPool1d(2.0, 3, 2, ceil_mode=True), (1, 2, 8)),
    (nn.LPPool2d(3.0, (2, 3)), (1, 2, 7, 8)),
    (nn.LPPool3d(2.0, 2), (1, 1, 4, 3, 5)),
    (nn.AdaptiveAvgPool1d(5), (1, 2, 7)),
    (nn.AdaptiveAvgPool2d((3, None)), (1, 2, 7, 5)),
    (nn.AdaptiveAvgPool2d((1, 4)), (2, 7, 9)),
    (nn.AdaptiveAvgPool2d(1), (1, 2, 5, 6)),
    (nn.AdaptiveAvgPool2d(9), (1, 1, 5, 4)),
    (nn.AdaptiveAvgPool3d((2, 3, 1)), (1, 1, 3, 4, 5)),
    (nn.AdaptiveMaxPool1d(3), (1, 2, 8)),
    (nn.AdaptiveMaxPool2d((4, 5)), (1, 2, 7, 5)),
    (nn.AdaptiveMaxPool3d(2), (2, 3, 4, 5)),
    (nn.LocalResponseNorm(3), (1, 5, 3, 4)),
]


@pytest.mark.parametrize(("module", "shape"), POOLS, ids=lambda a: str(a))
def test_pool(module: nn.Module, shape: tuple[int, ...]) -> None:
    name = type(module).__name__
    axes = next((int(digit) for digit in name if digit.isdigit()), 2)
    inputs = [_made(*shape)]  # positive: the signed power of LPPool is then never stuck at zero
    assert_agrees(module, inputs=inputs, axes=tuple(range(len(shape)))[-axes:])


PADS = [
    (nn.ConstantPad1d((2, -1), 1.0), (1, 2, 6)),
    (nn.ZeroPad2d((-1, 3, 2, -2)), (1, 2, 6, 5)),
    (nn.ConstantPad3d((1, 0, -1, 2, 0, 3), 0.5), (1, 1, 3, 4, 2)),
    (nn.ReflectionPad1d((3, 2)), (1, 2, 5)),
    (nn.ReflectionPad2d((1, 3, 4, 0)), (2, 5, 4)),
    (nn.ReflectionPad3d((1, 2, 0, 1, 2, 1)), (1, 1, 3, 3, 4)),
    (nn.ReplicationPad1d((7, 1)), (1, 2, 3)),
    (nn.ReplicationPad2d((0, 5, 2, 1)), (1, 1, 4, 3)),
    (nn.ReplicationPad3d(2), (1, 2, 2, 3)),
    (nn.CircularPad1d((5, 3)), (1, 2, 5)),
    (nn.CircularPad2d((1, 4, 0, 2)), (1, 2, 5, 4)),
    (nn.CircularPad2d((1, -1, -2, 2)), (1, 1, 5, 4)),
    (nn.CircularPad3d((1, 0, 2, 1, 0, 3)), (1, 1, 3, 4, 2)),
]


@pytest.mark.parametrize(("module", "shape"), PADS, ids=lambda a: str(a))
def test_pad(module: nn.Module, shape: tuple[int, ...]) -> None:
    axes = next(int(digit) for digit in type(module).__name__ if digit.isdigit())
    assert_agrees(module, shape, axes=tuple(range(len(shape)))[-axes:])


def test_circular_padding_is_one_wrapping_window_per_axis() -> None:
    graph = build(nn.CircularPad2d((1, 2, 3, 0)), (1, 2, 6, 5)).graph
    borders = [prim.taps.border for prim in graph.prims if isinstance(prim, Stencil)]
    assert borders == ["wrap", "wrap"]
    report = eyeshot.analyze(lambda x: F.pad(x, (1, 1, 1, 1), "circular"), input=(1, 2, 6, 5))
    assert [layer.op for layer in report.layers] == ["pad"]


def test_circular_padding_of_data() -> None:
    """A trace that runs on data pads that data."""

    def padded(x: Tensor) -> Tensor:
        y = F.pad(x, (1, 2), mode="circular")
        return y if float(y.sum()) > 0 else y * 0

    report = eyeshot.analyze(padded, args=(_made(1, 1, 5),))
    assert report.outputs[0].shape == (1, 1, 8)


PATCHES = [
    (nn.Unfold(3, 1, 1, 1), (1, 2, 4, 5)),
    (nn.Unfold((2, 3), (2, 1), (1, 2), (1, 2)), (1, 1, 5, 6)),
    (nn.Unfold(2, 1, 0, 3), (2, 7, 6)),
    (nn.PixelShuffle(2), (1, 8, 2, 3)),
    (nn.PixelShuffle(3), (2, 9, 2, 1)),
    (nn.PixelUnshuffle(2), (1, 2, 4, 6)),
    (nn.ChannelShuffle(3), (1, 6, 2, 3)),
]


@pytest.mark.parametrize(("module", "shape"), PATCHES, ids=lambda a: str(a))
def test_patches(module: nn.Module, shape: tuple[int, ...]) -> None:
    axes = (len(shape) - 2, len(shape) - 1)
    assert_agrees(module, shape, axes=(len(shape) - 3, *axes))


@pytest.mark.parametrize(
    ("sizes", "kernel", "stride", "padding", "dilation"),
    [
        ((5, 6), 2, 1, 0, 1),
        ((6, 7), (3, 2), (2, 3), (1, 0), (1, 2)),
        ((8, 5), (2, 3), (4, 1), 1, (3, 1)),
        ((9, 9), (4, 1), (6, 5), 0, (2, 1)),
        ((10, 4), (5, 2), (2, 2), (2, 0), (2, 1)),
    ],
)
@pytest.mark.parametrize("batch", ((1,), ()))
def test_fold(
    sizes: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, batch: tuple[int, ...]
) -> None:
    fold = nn.Fold(sizes, kernel, dilation, padding, stride)
    unfold = nn.Unfold(kernel, dilation, padding, stride)
    columns = unfold(torch.zeros(*batch, 2, *sizes)).shape
    rank = len(columns)
    assert_agrees(fold, columns, axes=(rank - 2, rank - 1))
    shape = (*batch, 1, *sizes)
    rank = len(shape)
    through: Callable[..., Any] = lambda x: fold(unfold(x) * 2)  # noqa: E731
    assert_agrees(through, shape, axes=(rank - 2, rank - 1))


def test_fold_and_unfold_have_a_closed_form() -> None:
    """Whatever the size of the input, as a convolution by the same window has."""
    net = nn.Sequential(nn.Unfold(3, 1, 1, 2), nn.Fold((8, 10), 3, 1, 1, 2))
    graph = build(net, (1, 2, 8, 10)).graph
    assert max(prim.taps.period for prim in graph.prims if isinstance(prim, Stencil)) == 3


BOUNDS = [
    (nn.FractionalMaxPool2d(2, output_size=(4, 3)), (1, 2, 9, 8)),
    (nn.FractionalMaxPool2d((3, 2), output_ratio=(0.5, 0.7)), (1, 1, 9, 7)),
    (nn.FractionalMaxPool2d(2, output_size=(1, 5)), (1, 1, 9, 9)),
    (nn.FractionalMaxPool3d(2, output_size=(2, 3, 2)), (1, 1, 4, 5, 6)),
]


@pytest.mark.parametrize(("module", "shape"), BOUNDS, ids=lambda a: str(a))
@pytest.mark.parametrize("sample", (0.0, 0.37, 0.999))
def test_fractional_pool(module: Any, shape: tuple[int, ...], sample: float) -> None:
    axes = len(shape) - 2
    module._random_samples = torch.full((1, shape[1], axes), sample, dtype=torch.float64)
    report = assert_agrees(module, shape, status="bound")
    boxes = report.outputs[0].boxes()
    assert (boxes[..., 1] - boxes[..., 0]).max() <= 5  # the window and two places more
    del module._random_samples


@pytest.mark.parametrize("axes", (1, 2, 3))
def test_max_unpool(axes: int) -> None:
    pool = getattr(F, f"max_pool{axes}d")
    unpool = getattr(F, f"max_unpool{axes}d")
    report = assert_agrees(
        lambda x: unpool(*pool(x, 2, return_indices=True), 2),
        (1, 2, *(6, 4, 4)[:axes]),
        status="bound",
    )
    assert "data-dependent" in {found.code for found in report.diagnostics}


def test_conv_tbc() -> None:
    w, b = _made(3, 2, 4), _made(4)
    assert_agrees(lambda x: torch.conv_tbc(x, w, b, 1), (7, 1, 2), axes=(0, 2))


@pytest.mark.parametrize("stride", (1, 2))
def test_backends_own_names(stride: int) -> None:
    aten = torch.ops.aten
    w = _made(3, 2, 3, 2)
    s = [stride, 1]
    assert_agrees(lambda x: aten._slow_conv2d_forward(x, w, [3, 2], None, s, [1, 0]), (1, 2, 7, 5))
    assert_agrees(
        lambda x: aten.slow_conv_dilated2d(x, w, [3, 2], None, s, [1, 0], [2, 1]), (1, 2, 7, 5)
    )
    assert_agrees(lambda x: aten.thnn_conv2d(x, w, [3, 2], None, s, [1, 0]), (1, 2, 7, 5))
    t = _made(2, 3, 3, 2)
    assert_agrees(
        lambda x: aten.slow_conv_transpose2d(x, t, [3, 2], None, [2, stride], [1, 0], [1, 0]),
        (1, 2, 4, 3),
    )
    v = _made(3, 2, 1, 3, 2)
    assert_agrees(
        lambda x: aten.slow_conv3d_forward(x, v, [1, 3, 2], None, [1, *s], [0, 1, 0]),
        (1, 2, 2, 5, 4),
    )


# --- weights that the input makes


def test_weights_as_an_input() -> None:
    """A unit reads its output channel's weights."""
    x = _made(1, 4, 5, 6)
    assert_agrees(
        lambda w: F.conv2d(x, w, stride=2, padding=1, groups=2), (6, 2, 3, 2), axes=(0, 1, 2, 3)
    )
    assert_agrees(lambda b: F.conv2d(x, _made(3, 4, 1, 1), b), (3,), axes=(0,))


@pytest.mark.parametrize(
    ("stride", "padding", "extra", "dilation"),
    [(1, 0, 0, 1), (2, 1, 1, 1), (3, 2, 0, 2), (5, 0, 3, 1)],
)
def test_transposed_weights_as_an_input(
    stride: int, padding: int, extra: int, dilation: int
) -> None:
    """Of these the taps that meet the input."""
    x = _made(1, 4, 3, 2)
    assert_agrees(
        lambda w: F.conv_transpose2d(x, w, None, stride, padding, extra, 2, dilation),
        (4, 3, 3, 4),
        axes=(0, 1, 2, 3),
    )


def test_dynamic_convolution() -> None:
    """One kernel to a sample, by as many groups as samples (CondConv's way)."""
    make = nn.Linear(2, 6 * 2 * 9).double()

    def dynamic(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        w = make(x.mean((2, 3))).view(batch * 6, channels, 3, 3)
        y = F.conv2d(x.reshape(1, -1, height, width), w, padding=1, groups=batch)
        return y.view(batch, 6, height, width)

    assert_agrees(dynamic, (2, 2, 4, 5), axes=(0, 2, 3))


def test_involution() -> None:
    """Patches weighted by what their own position says (Li et al. 2021, arXiv 2103.06255)."""
    make = nn.Conv2d(2, 9, 1).double()

    def involution(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        patches = F.unfold(x, 3, padding=1).view(batch, channels, 9, height, width)
        return (patches * make(x)[:, None]).sum(2)

    assert_agrees(involution, (1, 2, 5, 6))

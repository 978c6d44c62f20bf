"""The mass of units of PyTorch modules against autograd with every weight the uniform average."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import eyeshot
from tests.frontends.modules import STEPS, Draw, Program
from tests.oracles.autograd import masses

EXACT = 1e-10
EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "80"))


def assert_mass(
    function: Callable[..., Any],
    *shapes: Sequence[int],
    layer: str | None = None,
    units: Sequence[Sequence[int]] | None = None,
    bound: bool = False,
) -> eyeshot.Report:
    """Every unit's mass (or that of some) is the gradient, and with what is lost it adds up to 1."""
    if isinstance(function, nn.Module):
        function = function.double().eval()
    given = tuple(torch.zeros(*s, dtype=torch.float64) for s in shapes)
    report = eyeshot.analyze(function, args=given)
    found = report.outputs[0] if layer is None else report[layer]
    assert bound or found.status == "exact"
    extents = [found.shape[d] for d in found.unit_dims]
    if units is None:
        units = list(np.ndindex(*extents))
    axes = [source["axes"] for source in report.inputs]
    wanted = masses(function, shapes, layer, found.unit_dims, units, axes)
    for at, each in zip(units, wanted, strict=True):
        unit = report.unit(found.name, at)
        total = 0.0
        for part, want in zip(unit.parts, each, strict=True):
            np.testing.assert_allclose(part.mass, want, 0, EXACT, err_msg=f"{at} of {part.name}")
            assert part.mask[part.mass != 0].all()
            total += part.total
        if any(part.mask.any() for part in unit.parts):
            assert abs(total + unit.share_in_padding - 1) < EXACT
    return report


def conv(axes: int = 2) -> Any:
    return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]


CONVS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "plain": (nn.Conv2d(2, 3, 3), (1, 2, 5, 6)),
    "padded": (nn.Conv2d(2, 3, 3, padding=1), (2, 2, 4, 5)),
    "strided, uneven": (nn.Conv2d(2, 3, (3, 4), (2, 3), (1, 2)), (1, 2, 7, 8)),
    "dilated, with holes": (nn.Conv2d(2, 3, 3, 2, 4, 3), (1, 2, 9, 8)),
    "groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 4, 4)),
    "depthwise": (nn.Conv2d(4, 8, 3, padding="same", groups=4), (1, 4, 4, 4)),
    "even kernel, same": (nn.Conv2d(2, 2, 4, padding="same"), (1, 2, 5, 5)),
    "one axis": (nn.Conv1d(2, 3, 5, 2, 2), (1, 2, 12)),
    "three axes": (nn.Conv3d(2, 2, 3, 2, 1), (1, 2, 4, 5, 3)),
    "wider than its input": (nn.Conv1d(1, 1, 70, 1, 60), (1, 1, 9)),
    "gaps between windows": (nn.Conv1d(1, 1, 2, 5), (1, 1, 13)),
    "reflect": (nn.Conv2d(1, 1, 3, padding=2, padding_mode="reflect"), (1, 1, 4, 5)),
    "replicate": (nn.Conv2d(1, 1, 5, 2, 2, padding_mode="replicate"), (1, 1, 4, 5)),
    "circular": (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), (1, 1, 4, 5)),
    "circular, all round": (nn.Conv1d(1, 1, 5, padding=4, padding_mode="circular"), (1, 1, 4)),
    "transposed": (nn.ConvTranspose2d(2, 3, 4, 2, 1), (1, 2, 3, 4)),
    "transposed, uneven phases": (nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), (1, 2, 3, 4)),
    "transposed, with holes": (nn.ConvTranspose2d(2, 3, 2, 3), (1, 2, 3, 3)),
    "transposed, dilated": (nn.ConvTranspose2d(2, 3, 3, 2, 2, 1, dilation=2), (1, 2, 4, 4)),
    "transposed, dilated by 3": (nn.ConvTranspose1d(1, 1, 4, 2, 1, dilation=3), (1, 1, 7)),
    "transposed, groups": (nn.ConvTranspose2d(4, 4, 3, 2, groups=2), (1, 4, 3, 3)),
    "transposed, three axes": (nn.ConvTranspose3d(1, 2, 3, 2, 1, 1), (1, 1, 2, 3, 2)),
}

POOLS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "max, padded": (nn.MaxPool2d(3, 2, 1), (1, 2, 6, 7)),
    "max, dilated": (nn.MaxPool2d(3, 2, 1, 2), (1, 2, 9, 8)),
    "max, ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), (1, 2, 6, 8)),
    "max, ceil and padded": (nn.MaxPool2d(3, 2, 1, ceil_mode=True), (1, 2, 6, 8)),
    "max, ceil, padded, dilated": (nn.MaxPool2d(3, 3, 1, 2, ceil_mode=True), (1, 2, 8, 11)),
    "average": (nn.AvgPool2d(3, 2, 1), (1, 2, 6, 7)),
    "average, padding left out": (nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 2, 6, 7)),
    "average, ceil": (nn.AvgPool2d(3, 2, ceil_mode=True), (1, 2, 6, 8)),
    "average, ceil and padded": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (1, 2, 6, 8)),
    "average, ceil, padding left out": (
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        (1, 2, 6, 8),
    ),
    "average, one axis": (nn.AvgPool1d(4, 3, 2, ceil_mode=True), (1, 2, 11)),
    "average, three axes": (nn.AvgPool3d(2, 2, 1, count_include_pad=False), (1, 1, 3, 4, 5)),
    "adaptive average": (nn.AdaptiveAvgPool2d((3, 4)), (1, 2, 7, 5)),
    "adaptive max, larger": (nn.AdaptiveMaxPool2d(7), (1, 2, 5, 5)),
    "adaptive, to one": (nn.AdaptiveAvgPool2d(1), (1, 2, 5, 4)),
}


@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name: str) -> None:
    module, shape = CONVS[name]
    assert_mass(module, shape)


@pytest.mark.parametrize("name", POOLS)
def test_pools(name: str) -> None:
    module, shape = POOLS[name]
    assert_mass(module, shape)


def test_a_divisor_counts_padding() -> None:
    """Scaled by 4 of 9 elements; the share in padding is that of a window of 9."""
    pool = nn.AvgPool2d(3, 2, 1, divisor_override=4).double()
    report = eyeshot.analyze(pool, args=(torch.zeros(1, 1, 6, 6, dtype=torch.float64),))
    (want,) = masses(pool, [(1, 1, 6, 6)], None, (2, 3), [(0, 1)])
    np.testing.assert_allclose(report.unit(0, (0, 1)).mass, want[0] * 4 / 9, 0, EXACT)


# --- resampling

SCALES: dict[str, dict[str, Any]] = {
    "2": {"scale_factor": 2},
    "3": {"scale_factor": 3},
    "1.5": {"scale_factor": 1.5},
    "0.4": {"scale_factor": 0.4},
    "0.7, recomputed": {"scale_factor": 0.7, "recompute_scale_factor": True},
    "1.7, 0.6": {"scale_factor": (1.7, 0.6)},
    "to 9, 4": {"size": (9, 4)},
    "to 1, 3": {"size": (1, 3)},
    "as it is": {"size": (5, 7)},
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("mode", "corners"),
    [("nearest", None), ("nearest-exact", None), ("area", None), ("bilinear", False), ("bilinear", True),
     ("bicubic", False), ("bicubic", True)],
)  # fmt: skip
def test_interpolation(mode: str, scale: str, corners: bool | None) -> None:
    given = dict(SCALES[scale], mode=mode, align_corners=corners)
    assert_mass(lambda x: F.interpolate(x, **given), (1, 2, 5, 7))


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("scale", [2, 0.5, 1.3, 2.718281828, 3.99999])
def test_interpolation_of_one_and_three_axes(scale: float, corners: bool) -> None:
    """Scales that are no simple fraction are tables, output by output."""
    for mode, shape in (("linear", (1, 1, 31)), ("trilinear", (1, 1, 2, 3, 2))):
        assert_mass(
            lambda x, mode=mode: F.interpolate(
                x, scale_factor=scale, mode=mode, align_corners=corners
            ),
            shape,
        )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("scale", SCALES)
def test_antialiased(mode: str, scale: str, corners: bool) -> None:
    given = dict(SCALES[scale], mode=mode, align_corners=corners, antialias=True)
    assert_mass(lambda x: F.interpolate(x, **given), (1, 1, 5, 7))


def test_lanczos() -> None:
    """PyTorch's own kernel has no gradient in all versions: its matrix is read column by column."""
    kernel = getattr(torch.ops.aten, "_upsample_lanczos2d_aa", None)
    if kernel is None:
        pytest.skip("this PyTorch has no Lanczos kernel")
    for size in ((4, 12), (9, 5)):

        def run(x: Tensor, size: tuple[int, int] = size) -> Tensor:
            return kernel(x, size, False, None, None)

        report = eyeshot.analyze(run, args=(torch.zeros(1, 1, 7, 7, dtype=torch.float64),))
        basis = torch.eye(49, dtype=torch.float64).reshape(49, 1, 7, 7)
        matrix = run(basis).reshape(49, *size).numpy()
        for at in np.ndindex(*size):
            want = matrix[(slice(None), *at)].reshape(7, 7)
            np.testing.assert_allclose(report.unit(0, at).mass, want, 0, EXACT)


@pytest.mark.parametrize(
    ("mode", "padding"),
    [("bilinear", "zeros"), ("bilinear", "border"), ("bilinear", "reflection"), ("nearest", "zeros"),
     ("nearest", "border"), ("nearest", "reflection"), ("bicubic", "zeros"), ("bicubic", "border")],
)  # fmt: skip
@pytest.mark.parametrize("corners", [False, True])
def test_known_grids(mode: str, padding: str, corners: bool) -> None:
    """Where rounding decides between neighbours both are read, the one of them with weight 0."""
    rows = torch.tensor([-1.3, -0.61, 0.07, 0.93, 1.27], dtype=torch.float64)
    columns = torch.tensor([0.81, -0.42, 0.3], dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)[None]
    assert_mass(
        lambda x: F.grid_sample(x, grid, mode, padding, align_corners=corners), (1, 2, 6, 5)
    )


@pytest.mark.parametrize("corners", [False, True])
def test_a_grid_of_whole_elements(corners: bool) -> None:
    n = 5
    line = torch.arange(n, dtype=torch.float64)
    line = 2 * line / (n - 1) - 1 if corners else (2 * line + 1) / n - 1
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij")[::-1], -1)[None]
    assert_mass(
        lambda x: F.grid_sample(x, grid, "bilinear", "border", align_corners=corners),
        (1, 1, n, n),
        bound=True,
    )


# --- everything else that moves, mixes and joins

ONES: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "reflection": (lambda x: F.pad(x, (2, 1, 0, 3), "reflect"), [(1, 1, 5, 4)]),
    "replication": (lambda x: F.pad(x, (2, 1, 0, 3), "replicate"), [(1, 1, 5, 4)]),
    "circular": (lambda x: F.pad(x, (2, 1, 0, 3), "circular"), [(1, 1, 5, 4)]),
    "padded and cropped": (lambda x: F.pad(x, (2, -1, -1, 3)), [(1, 1, 5, 4)]),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), [(1, 8, 3, 2)]),
    "pixel unshuffle": (lambda x: F.pixel_unshuffle(x, 2), [(1, 2, 4, 6)]),
    "channel shuffle": (lambda x: F.channel_shuffle(x[:, :4], 2), [(1, 6, 3, 2)]),
    "columns": (lambda x: F.unfold(x, 3, padding=1, stride=2), [(1, 2, 5, 5)]),
    "columns laid back": (
        lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), (5, 5), 3, padding=1, stride=2),
        [(1, 2, 5, 5)],
    ),
    "columns laid back, fewer at the border": (
        lambda x: F.fold(F.unfold(x, 3, 2), (9, 8), 3, 2, 1),
        [(1, 2, 11, 10)],
    ),
    "layer norm": (lambda x: F.layer_norm(x, x.shape[-2:]), [(1, 2, 3, 4)]),
    "group norm": (lambda x: F.group_norm(x, 2), [(1, 4, 3, 4)]),
    "softmax": (lambda x: F.softmax(x, -1), [(1, 2, 3, 4)]),
    "local response": (lambda x: F.local_response_norm(x, 3), [(1, 6, 2, 3)]),
    "running sum": (lambda x: x.cumsum(-1), [(1, 2, 5)]),
    "mean of rows": (lambda x: x.mean(2), [(1, 2, 3, 4)]),
    "gated by its mean": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), [(1, 2, 3, 4)]),
    "two inputs": (lambda x, y: x[..., :4] + y * x[..., 1:], [(1, 2, 5), (1, 2, 4)]),
    "concatenated": (lambda x: torch.cat([x, x.roll(1, -1), x.flip(-1)], 1), [(1, 2, 5)]),
    "gate of halves": (lambda x: F.glu(x, 1), [(1, 4, 5)]),
    "products of tokens": (lambda x: x @ x.mT, [(1, 4, 5)]),
    "attention": (
        lambda x: F.scaled_dot_product_attention(x.mT, x.flip(-1).mT, x.roll(1, -1).mT).mT,
        [(1, 3, 5)],
    ),
    "causal attention": (
        lambda x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT, is_causal=True).mT,
        [(1, 3, 5)],
    ),
    "bags": (
        lambda x: F.embedding_bag(
            torch.tensor([0, 2, 2, 4, 1, 3]), x[0].T, torch.tensor([0, 1, 4]), mode="mean"
        ),
        [(1, 2, 5)],
    ),
}


class Attending(nn.Module):
    """The same attention: by one function, or by products and a softmax."""

    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, 2, padding=1)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mT
        found: Tensor = self.attention(x, x, x, need_weights=self.weights)[0]
        return found


def test_attention_counts_alike_however_it_is_computed() -> None:
    one, other = (eyeshot.analyze(Attending(w).eval(), (1, 4, 9)).outputs[0] for w in (True, False))
    assert one.unit_dims == other.unit_dims == (1,)
    for k in range(5):
        want = one._report.unit(one.name, k)
        unit = other._report.unit(other.name, k)
        np.testing.assert_array_equal(unit.mask, want.mask)
        np.testing.assert_allclose(unit.mass, want.mass, 0, EXACT)


@pytest.mark.parametrize("name", ONES)
def test_functions(name: str) -> None:
    function, shapes = ONES[name]
    assert_mass(function, *shapes)


# --- networks


class Net(nn.Module):
    """Blocks by name, and how they are put together."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **blocks: nn.Module) -> None:
        super().__init__()
        for name, block in blocks.items():
            self.add_module(name, block)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def block(c: int, d: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(c, d, kernel, stride, kernel // 2), nn.BatchNorm2d(d), nn.ReLU(inplace=True)
    )


UPS: dict[str, nn.Module] = {
    "nearest": nn.Upsample(scale_factor=2),
    "linear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "corners": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "cubic": nn.Upsample(scale_factor=2, mode="bicubic"),
    "transposed": nn.ConvTranspose2d(4, 4, 2, 2),
    "transposed, overlapping": nn.ConvTranspose2d(4, 4, 3, 2, 1, 1),
    "shuffled": nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2)),
}


def unet(up: nn.Module) -> Net:
    def run(m: Any, x: Tensor) -> Tensor:
        a = m.a(x)
        b = m.b(m.pool(a))
        y = m.c(torch.cat([m.up(m.middle(m.pool(b))), b], 1))
        return m.d(torch.cat([m.up(y), a], 1))

    return Net(
        run, a=block(1, 4), b=block(4, 4), middle=block(4, 4), c=block(8, 4), d=block(8, 2),
        pool=nn.MaxPool2d(2), up=up,
    )  # fmt: skip


def run_dense(m: Any, x: Tensor) -> Tensor:
    for k in range(3):
        x = torch.cat([x, m.get_submodule(f"b{k}")(x)], 1)
    return m.out(x)


def run_shuffle(m: Any, x: Tensor) -> Tensor:
    for _ in range(2):
        kept, changed = m.stem(x).chunk(2, 1)
        x = F.channel_shuffle(torch.cat([kept, m.branch(changed)], 1), 2)
    return x


def run_residual(m: Any, x: Tensor) -> Tensor:
    x = m.stem(x)
    y = m.a(x)
    gate = m.gate(F.adaptive_avg_pool2d(y, 1)).sigmoid()
    y = y * gate
    y += x
    return m.b(F.relu(y)) + m.short(y)


NETS: dict[str, Callable[[], Net]] = {
    **{f"U-Net, {name}": (lambda up=up: unet(up)) for name, up in UPS.items()},
    "inception": lambda: Net(
        lambda m, x: m.out(torch.cat([m.a(x), m.b(x), m.c(x), m.pool(x)], 1)),
        a=block(2, 3, 1), b=block(2, 2, 3), c=block(2, 4, 5), pool=nn.MaxPool2d(3, 1, 1),
        out=block(11, 2, 3, 2),
    ),
    "dense": lambda: Net(run_dense, b0=block(2, 3), b1=block(5, 3), b2=block(8, 3), out=block(11, 1)),
    "split and shuffled": lambda: Net(
        run_shuffle, stem=block(4, 4, 1),
        branch=nn.Sequential(block(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1, groups=2)),
    ),
    "residual, gated": lambda: Net(
        run_residual, stem=block(2, 4), a=block(4, 4), gate=nn.Conv2d(4, 4, 1), b=block(4, 3, 3, 2),
        short=nn.Conv2d(4, 3, 1, 2),
    ),
}  # fmt: skip
CHANNELS = {"inception": 2, "dense": 2, "split and shuffled": 4, "residual, gated": 2}


@pytest.mark.parametrize("name", NETS)
def test_networks(name: str) -> None:
    units = [(0, 0), (3, 1), (5, 5)]
    assert_mass(NETS[name](), (1, CHANNELS.get(name, 1), 12, 12), units=units)


MODELS = {
    "resnet18": 64, "resnet50": 64, "densenet121": 64, "googlenet": 64, "inception_v3": 96,
    "mobilenet_v3_small": 64, "shufflenet_v2_x0_5": 64, "convnext_tiny": 64, "fcn_resnet50": 32,
    "deeplabv3_mobilenet_v3_large": 32, "vgg11": 64,
}  # fmt: skip


def model_of(name: str) -> nn.Module:
    """Without weights to download; VGG without its hundred million numbers behind the last map."""
    torchvision = pytest.importorskip("torchvision")
    if name.startswith("vgg"):
        return torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"])
    given: dict[str, Any] = {"weights": None}
    if name.startswith(("fcn", "deeplab")):
        given["weights_backbone"] = None
    elif name.startswith(("goog", "inception")):
        given["init_weights"] = False
    return torchvision.models.get_model(name, **given)


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """The last convolution of a map, its first unit and one in the middle."""
    model = model_of(name).double().eval()
    shape = (1, 3, MODELS[name], MODELS[name])
    report = eyeshot.analyze(model, shape)
    convs = {path for path, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    layer = [
        found for found in report
        if found.name in convs and found.unit_dims == (2, 3) and found.shape[2] > 1
    ][-1]  # fmt: skip
    middle = (layer.shape[2] // 2, layer.shape[3] // 2)
    wanted = masses(model, [shape], layer.name, (2, 3), [(0, 0), middle])
    for at, (want,) in zip([(0, 0), middle], wanted, strict=True):
        unit = report.unit(layer.name, at)
        np.testing.assert_allclose(unit.mass, want, 0, EXACT)
        assert abs(unit.mass.sum() + unit.share_in_padding - 1) < EXACT


RECURRENT: dict[str, nn.Module] = {
    "plain": nn.RNN(2, 3),
    "backwards too": nn.LSTM(2, 3, bidirectional=True),
    "two layers, batch first": nn.GRU(2, 3, 2, batch_first=True),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrences(name: str) -> None:
    cell = RECURRENT[name]
    order = (0, 2, 1) if cell.batch_first else (2, 0, 1)
    back = tuple(order.index(d) for d in range(3))
    net = Net(lambda m, x: m.cell(x.permute(order))[0].permute(back), cell=cell)
    assert_mass(net, (1, 2, 6))


# --- several units, and layers on the way


def test_weighted_is_the_sum_and_a_box_the_mean() -> None:
    net = unet(UPS["linear"]).double().eval()
    report = eyeshot.analyze(net, (1, 1, 12, 12))
    name = report.outputs[0].name
    weights = np.random.default_rng(0).normal(size=(12, 12))
    ((want,),) = masses(net, [(1, 1, 12, 12)], None, (2, 3), weights)
    np.testing.assert_allclose(report.unit(name, weights=weights).mass, want, 0, EXACT)
    each = masses(net, [(1, 1, 12, 12)], None, (2, 3), list(np.ndindex(12, 12)))
    total = sum(w * m for w, (m,) in zip(weights.reshape(-1), each, strict=True))
    np.testing.assert_allclose(total, want, 0, EXACT)
    box = report.unit(name, (slice(2, 5), slice(0, 4)))
    some = [each[12 * i + j][0] for i in range(2, 5) for j in range(4)]
    np.testing.assert_allclose(box.mass, np.mean(some, axis=0), 0, EXACT)


@pytest.mark.parametrize("name", [*UPS, "dense", "inception", "residual, gated"])
def test_a_layer_in_the_place_of_the_input(name: str) -> None:
    """Its gradient, and what comes past it by other ways; nothing comes past a layer that all ways meet."""
    full, of = (
        (f"U-Net, {name}", "b")
        if name in UPS
        else (name, {"dense": "b0", "inception": "b"}.get(name, "a"))
    )
    net = NETS[full]().double().eval()
    shape = (1, CHANNELS.get(full, 1), 12, 12)
    report = eyeshot.analyze(net, args=(torch.zeros(shape, dtype=torch.float64),))
    out = report.outputs[0]
    last = f"{of}.2"
    for at in ((0, 0), (3, 2)):
        ((want, past),) = masses(net, [shape], None, (2, 3), [at], of=last)
        unit = report.unit(out.name, at, of=last)
        np.testing.assert_allclose(unit.mass, want, 0, EXACT)
        assert abs(unit.elsewhere - past.sum()) < EXACT
        lost = unit.mass.sum() + unit.elsewhere + unit.share_in_padding
        assert past.sum() > 0
        assert lost == pytest.approx(1, abs=EXACT)


# --- random programs


#: Steps whose functions the oracle knows. Places that nothing reads (holes of a transposed convolution) have
#: no part in an average, which autograd doesn't tell: they are left out, and so are writes in place.
CHOSEN = ("pointwise", "slice", "flip", "view", "reduce", "repeat", "channel", "norm", "gate", "window",
          "windows", "tokens", "conv", "conv_transpose", "pool", "upsample", "pad", "join", "meet")  # fmt: skip
LEFT_OUT = re.compile(
    r"_\(|\] *[+*]?=|out=|empty_like|zeros|batch_norm.*training|lp_pool|einsum|where|lerp|detach"
)


def holes(line: str) -> bool:
    """Whether a transposed convolution has more distance than taps."""
    found = re.search(r"conv_transpose.*W\(([^)]*)\), stride=(\d)", line)
    return found is not None and min(map(int, found[1].split(",")[2:])) < int(found[2])


@st.composite
def averages(draw: Any) -> Program:
    """A program of functions that have a uniform average."""
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    sizes = [draw(st.integers(2, (13, 9, 5)[axes - 1])) for _ in range(axes)]
    program = Program([(1, draw(st.integers(1, 4)), *sizes)])
    d = Draw(draw, program)
    for _ in range(draw(st.integers(1, 6))):
        line = STEPS[draw(st.sampled_from(CHOSEN))](d)
        if line is not None and not LEFT_OUT.search(line) and not holes(line):
            program.extend(line)
    return program.finish()


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch says some things once only
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
@given(averages())
def test_programs(program: Program) -> None:
    assume(program.lines)
    report = eyeshot.analyze(program, args=tuple(program.inputs))
    (shape,) = program.shapes
    for name in program.names[1:]:
        layer = report[name]
        if layer.status != "exact":
            continue
        extents = [layer.shape[d] for d in layer.unit_dims]
        units = sorted(
            {tuple(k * n // 3 for n in extents) for k in range(3)} | {tuple(n - 1 for n in extents)}
        )
        wanted = masses(program, [shape], name, layer.unit_dims, units)
        for at, (want,) in zip(units, wanted, strict=True):
            unit = report.unit(name, at)
            np.testing.assert_allclose(
                unit.mass, want, 0, EXACT, err_msg=f"{name} at {at}:\n{program}"
            )
            if unit.mask.any():
                assert abs(unit.mass.sum() + unit.share_in_padding - 1) < EXACT

"""Published values on real modules; every number here is someone else's."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import eyeshot
from tests.test_ground_truth import ALEXNET

torchvision = pytest.importorskip("torchvision")


def bare(name: str) -> nn.Module:
    """A torchvision network without weights, on the meta device."""
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


# --- the article


class Article(nn.Module):
    """AlexNet as the article writes it, its fully connected layers as convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 11, 4)
        self.pool1 = nn.MaxPool2d(3, 2)
        self.conv2 = nn.Conv2d(4, 4, 5, 1, 2)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(4, 4, 3, 1, 1)
        self.conv4 = nn.Conv2d(4, 4, 3, 1, 1)
        self.conv5 = nn.Conv2d(4, 4, 3, 1, 1)
        self.pool5 = nn.MaxPool2d(3, 2)
        self.fc6 = nn.Conv2d(4, 8, 6)
        self.fc7 = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool2(F.relu(self.conv2(self.pool1(F.relu(self.conv1(x), inplace=True)))))
        x = F.relu(self.conv5(F.relu(self.conv4(F.relu(self.conv3(x))))))
        return self.fc7(F.relu(self.fc6(self.pool5(x))))


def test_article() -> None:
    report = eyeshot.analyze(Article(), "3x227x227")
    for name, (n, size, jump, start) in ALEXNET.items():
        layer = report[name.removesuffix("-conv")]
        assert layer.shape[2:] == (n, n)
        assert (layer.size, layer.jump) == ((size,) * 2, (jump,) * 2)
        assert layer.start == (Fraction(start),) * 2


def test_article_five_by_five() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1))
    report = eyeshot.analyze(net, (1, 1, 5, 5))
    found = [(layer.shape[2], layer.size[0], layer.jump[0], layer.start[0]) for layer in report]
    assert found == [(3, 3, 2, Fraction(1, 2)), (2, 7, 4, Fraction(1, 2))]


def test_article_errata() -> None:
    """The code of the article re-centres the padding, and says 1.5."""
    report = eyeshot.analyze(nn.Conv2d(3, 1, 7, 2, 3), "3x224x224")
    assert report[-1].start == (Fraction(1, 2),) * 2


# --- torchvision; vgg11 and vgg16 are Distill's vgg_a and vgg_16


@pytest.mark.parametrize(
    ("name", "layer", "size", "jump", "padding"),
    [
        ("resnet18", "layer3", 211, 16, 105),
        ("resnet18", "layer4", 435, 32, 217),
        ("resnet50", "layer3", 267, 16, 133),
        ("resnet50", "layer4", 427, 32, 213),
        ("resnet50", "layer4.2.conv3", 427, 32, 213),
        ("vgg11", "features", 150, 32, 59),
        ("vgg16", "features", 212, 32, 90),
    ],
)
def test_torchvision(name: str, layer: str, size: int, jump: int, padding: int) -> None:
    report = eyeshot.analyze(bare(name), "3x224x224")
    found = report[layer]
    assert (found.size, found.jump, found.padding) == ((size,) * 2, (jump,) * 2, (padding,) * 2)
    assert (found.status, report.status) == ("exact", "exact")
    assert not found.is_global


def test_the_classifier_reads_all() -> None:
    report = eyeshot.analyze(bare("resnet18"), "3x224x224")
    (layer,) = report.outputs
    assert (layer.name, layer.unit_dims, layer.is_global) == ("fc", (), True)
    assert layer.boxes().tolist() == [[0, 224], [0, 224]]


# --- Distill's test networks


class Branches(nn.Module):
    def __init__(self, pad: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 1, 1, 4)
        self.pad = nn.ZeroPad2d((pad, 0, pad, 0))
        self.three = nn.Conv2d(1, 1, 3, 2)
        self.two = nn.Conv2d(1, 1, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.two(self.three(self.pad(x)))


def test_distill_aligned() -> None:
    report = eyeshot.analyze(Branches(1), (1, 1, 32, 32))
    assert report["one"].start == report["two"].start
    (total,) = report.outputs
    assert (total.size, total.jump, total.padding) == ((3, 3), (4, 4), (1, 1))


def test_distill_misaligned() -> None:
    report = eyeshot.analyze(Branches(0), (1, 1, 32, 32))
    assert report["one"].start == (Fraction(1, 2),) * 2
    assert report["two"].start == (Fraction(3, 2),) * 2


def test_distill_rectangular() -> None:
    """5 (x) by 7 (y), jump 4; height comes first here."""
    net = nn.Sequential(nn.Conv2d(1, 1, (3, 5), 2), nn.Conv2d(1, 1, (3, 1), 2))
    layer = eyeshot.analyze(net, (1, 1, 64, 64))[-1]
    assert (layer.size, layer.jump) == ((7, 5), (4, 4))


# --- PatchGAN, U-Net


def patchgan(layers: int) -> nn.Module:
    parts: list[nn.Module] = [nn.Conv2d(3, 2, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for _ in range(layers - 1):
        parts += [nn.Conv2d(2, 2, 4, 2, 1, bias=False), nn.BatchNorm2d(2), nn.LeakyReLU(0.2, True)]
    parts += [nn.Conv2d(2, 2, 4, 1, 1, bias=False), nn.BatchNorm2d(2), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*parts, nn.Conv2d(2, 1, 4, 1, 1))


@pytest.mark.parametrize(("layers", "size"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_patchgan(layers: int, size: int) -> None:
    layer = eyeshot.analyze(patchgan(layers), "3x512x512")[-1]
    assert (layer.size, layer.jump) == ((size,) * 2, (2**layers,) * 2)


class Twice(nn.Sequential):
    """Two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv1d(inputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv1d(outputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """One axis: the other is the same."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(Twice(1 if k == 0 else 2, 2) for k in range(depth))
        self.middle = Twice(2, 2)
        self.up = nn.ModuleList(Twice(4, 2) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for part in self.down:
            x = part(x)
            skips.append(x)
            x = F.max_pool1d(x, 2)
        x = self.middle(x)
        for part, skip in zip(self.up, reversed(skips), strict=True):
            x = part(torch.cat([skip, F.interpolate(x, scale_factor=2, mode="nearest")], 1))
        return x


UNET = [(1, 9, 8), (2, 23, 22), (3, 51, 46), (4, 107, 94), (5, 219, 190)]


@pytest.mark.parametrize(("depth", "extent", "halo"), UNET)
def test_unet(depth: int, extent: int, halo: int) -> None:
    grid = 2**depth
    report = eyeshot.analyze(UNet(depth), (1, 1, 64 * grid))
    (layer,) = report.outputs
    assert report.status == "exact"
    units = range(16 * grid, 48 * grid)
    boxes = {i: layer.box((i,))[0] for i in units}
    assert max(max(i - begin, end - (i + 1)) for i, (begin, end) in boxes.items()) == extent
    edge = 32 * grid
    before = max(edge - boxes[i][0] for i in units if i >= edge)
    behind = max(boxes[i][1] - edge for i in units if i < edge)
    assert (before, behind) == (halo, halo)
    hulls = layer.boxes()[:, 0]
    assert {i: tuple(hulls[i].tolist()) for i in units} == boxes


# --- one axis


class Causal(nn.Module):
    """A dilated convolution of the past: padded on both sides, the end cut off."""

    def __init__(self, kernel: int, dilation: int) -> None:
        super().__init__()
        self.cut = (kernel - 1) * dilation
        self.conv = nn.Conv1d(2, 2, kernel, padding=self.cut, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., : -self.cut].contiguous()


class WaveNet(nn.Module):
    """Gated units with residual and skip connections, kernel 2, dilations 1 … 512."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 2, 1)
        self.filters = nn.ModuleList(Causal(2, 2**k) for k in range(10))
        self.gates = nn.ModuleList(Causal(2, 2**k) for k in range(10))
        self.skips = nn.ModuleList(nn.Conv1d(2, 2, 1) for _ in range(10))
        self.residuals = nn.ModuleList(nn.Conv1d(2, 2, 1) for _ in range(10))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(2, 2, 1), nn.ReLU(), nn.Conv1d(2, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        total = 0
        parts = zip(self.filters, self.gates, self.skips, self.residuals, strict=True)
        for filter, gate, skip, residual in parts:
            y = torch.tanh(filter(x)) * torch.sigmoid(gate(x))
            total = total + skip(y)
            x = x + residual(y)
        return self.last(total)


def test_wavenet() -> None:
    (layer,) = eyeshot.analyze(WaveNet(), (1, 1, 6000)).outputs
    assert layer.size == (1024,)
    assert layer.box((5000,)) == ((5000 - 1023, 5001),)


class Block(nn.Module):
    """A residual block of the TCN of Bai et al.: two causal convolutions."""

    def __init__(self, kernel: int, dilation: int) -> None:
        super().__init__()
        wrap = nn.utils.parametrizations.weight_norm
        self.net = nn.Sequential(
            *[
                part
                for _ in range(2)
                for part in (Causal(kernel, dilation), nn.ReLU(), nn.Dropout(0.2))
            ]
        )
        for k in (0, 3):
            wrap(self.net[k].conv)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.net(x) + x)


def test_tcn() -> None:
    net = nn.Sequential(*[Block(4, 2**k) for k in range(7)])
    report = eyeshot.analyze(net, (1, 2, 4000))
    assert report.outputs[0].size == (763,)
    assert report.outputs[0].box((3000,)) == ((3000 - 762, 3001),)
    assert report.status == "exact"


class SincNet(nn.Module):
    """pyannote's: band-pass filters that are computed from their edges, then two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Parameter(torch.linspace(30, 3000, 8)[:, None])
        self.band = nn.Parameter(torch.full((8, 1), 100.0))
        self.register_buffer("time", torch.arange(-125, 126)[None] / 16000)
        self.norm = nn.InstanceNorm1d(1, affine=True)
        self.convs = nn.ModuleList([nn.Conv1d(8, 6, 5), nn.Conv1d(6, 6, 5)])

    def forward(self, x: Tensor) -> Tensor:
        high = self.low + self.band.abs()
        filters = torch.sin(high * self.time) - torch.sin(self.low * self.time)
        filters = filters / (self.time.abs() + 1e-3) * torch.hamming_window(251, periodic=False)
        x = F.max_pool1d(F.conv1d(x, filters[:, None], stride=10).abs(), 3, 3)
        for conv in self.convs:
            x = F.leaky_relu(F.max_pool1d(conv(x), 3, 3))
        return x


def test_sincnet() -> None:
    (layer,) = eyeshot.analyze(SincNet(), (1, 1, 80_000)).outputs
    assert (layer.size, layer.jump, layer.status) == ((991,), (270,), "exact")
    assert not layer.is_global


def test_sincnet_with_its_norms() -> None:
    """Instance normalisation makes every field global; the local one is the same."""

    class Normed(SincNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.norm(x))

    (layer,) = eyeshot.analyze(Normed(), (1, 1, 80_000)).outputs
    assert (layer.size, layer.jump, layer.is_global) == ((991,), (270,), True)

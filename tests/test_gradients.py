"""The effective receptive field by gradients: against scripts that know nothing of eyeshot."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import eyeshot
from eyeshot.gradients import Measured, measure

WHOLE = "run on the whole input"
PART = "run on the part"


def net(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    """In float64, in eval mode, with weights that depend on the seed alone."""
    made = nn.Sequential(*layers).double().eval()
    return given(made, seed)


def given(module: Any, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data = (
            torch.randn(p.shape, generator=generator, dtype=p.dtype) / max(1, p[0].numel()) ** 0.5
        )
    return module


def images(count: int, *shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *shape))


def by_hand(
    forward: Callable[[Tensor], Tensor],
    data: np.ndarray,
    protocol: str,
    axes: tuple[int, ...] = (2, 3),
) -> np.ndarray:
    """Autograd one image at a time; ``forward`` gives the unit's channels."""
    total = 0.0
    for image in torch.from_numpy(data).split(1):
        x = image.clone().requires_grad_()
        values = forward(x)
        if protocol == "positive":
            values = torch.where(values > 0, values, torch.zeros_like(values))
        values.sum().backward()
        assert x.grad is not None
        grad = x.grad.numpy().astype(np.float64)
        grad = np.maximum(grad, 0) if protocol == "positive" else np.abs(grad)
        total = total + grad.sum(tuple(d for d in range(grad.ndim) if d not in axes))
    return np.asarray(total / len(data))


def run(module: Any, layer: str, index: Any, shape: tuple[int, ...], **options: Any) -> Measured:
    report = eyeshot.analyze(module, shape, training=options.get("training", False))
    options.setdefault("samples", 3)
    return measure(module, report, layer, index, input=shape, **options)


# --- the protocols


@pytest.mark.parametrize("protocol", ["mean-abs", "positive"])
@pytest.mark.parametrize("crop", [True, False])
def test_a_stack_by_hand(protocol: str, crop: bool) -> None:
    module = net(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU())
    data = images(4, 3, 31, 29)
    got = run(
        module, "2", (8, 7), (1, 3, 31, 29), data=data, protocol=protocol, crop=crop, samples=None
    )
    want = by_hand(lambda x: module[2](module[1](module[0](x)))[:, :, 8, 7], data, protocol)
    assert got.samples == 4 and not got.interrupted and got.map.dtype == np.float64
    assert want.any()
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-10)
    assert any(note.startswith(PART) for note in got.notes) == crop


@pytest.mark.parametrize("protocol", ["mean-abs", "positive"])
def test_chosen_channels(protocol: str) -> None:
    module = net(nn.Conv2d(2, 6, 5, padding=2), nn.Tanh())
    data = images(3, 2, 16, 16)
    got = run(module, "1", (8, 3), (1, 2, 16, 16), data=data, protocol=protocol, channels=[4, 1])
    want = by_hand(lambda x: module(x)[:, [1, 4], 8, 3], data, protocol)
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)


def test_linear_and_uniform_is_the_mass() -> None:
    """A stack of averages: what counts is the architecture's own mass."""
    module = net(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.Conv2d(4, 2, 5, padding=2, bias=False))
    for p in module.parameters():
        p.data = torch.full_like(p, 1 / p[0].numel())
    report = eyeshot.analyze(module, (1, 3, 33, 33))
    for index in [(8, 8), (0, 3), (16, 16)]:
        got = run(module, "1", index, (1, 3, 33, 33), protocol="mean-abs", channels=[1])
        np.testing.assert_allclose(got.map, report.unit("1", index).mass, rtol=0, atol=1e-12)


@pytest.fixture(scope="module")
def resnet() -> Any:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    module = torchvision.models.resnet18(num_classes=10).double().eval()
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.uniform_(-0.1, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    return module


def resnet_prefix(module: Any, x: Tensor, name: str) -> Tensor:
    """The rows of a ResNet-18 that the tests ask for, written out."""
    x = module.maxpool(torch.relu(module.bn1(module.conv1(x))))
    for stage in ("layer1", "layer2"):
        for k, block in enumerate(getattr(module, stage)):
            y = torch.relu(block.bn1(block.conv1(x)))
            y = block.bn2(block.conv2(y))
            y = y + (x if block.downsample is None else block.downsample(x))
            if name == f"{stage}.{k}.add":
                return y
            x = torch.relu(y)
            if name == f"{stage}.{k}.relu_1":
                return x
        if name == stage:
            return x
    raise AssertionError(name)


@pytest.mark.parametrize("protocol", ["mean-abs", "positive"])
@pytest.mark.parametrize("name", ["layer1.0.add", "layer1.1.relu_1", "layer2", "layer2.0.add"])
def test_rows_of_a_resnet(resnet: Any, name: str, protocol: str) -> None:
    """Modules, the second call of a module, whole stages and operators inside ``forward``."""
    data = images(2, 3, 128, 112)
    stride = 8 if name.startswith("layer2") else 4
    at = (64 // stride, 56 // stride)
    want = by_hand(lambda x: resnet_prefix(resnet, x, name)[:, :, at[0], at[1]], data, protocol)
    for crop in (True, False):
        got = run(resnet, name, at, (1, 3, 128, 112), data=data, protocol=protocol, crop=crop)
        np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-10 * want.max())
        assert any(note.startswith(PART) for note in got.notes) == crop


def test_the_end_of_a_resnet(resnet: Any) -> None:
    data = images(2, 3, 64, 64)
    got = run(resnet, "fc", (), (1, 3, 64, 64), data=data, protocol="mean-abs", channels=[3])
    want = by_hand(lambda x: resnet(x)[:, 3], data, "mean-abs")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-10 * want.max())


# --- cropped is uncropped


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.mid = nn.Conv2d(6, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)
        self.out = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.a(x))
        b = torch.relu(self.b(nn.functional.max_pool2d(a, 2)))
        up = self.up(nn.functional.silu(self.mid(b)))
        return self.out(torch.cat([a, up], 1))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 7, 4, 3)
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.stem(x))
        y = self.one(x)
        y += x
        return y + torch.tanh(self.two(y))


class Signal(nn.Module):
    """Dilated and causal, on one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(2, 2, 2, dilation=2**k) for k in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for k, conv in enumerate(self.convs):
            x = x + torch.tanh(conv(nn.functional.pad(x, (2**k, 0))))
        return x


CROPPED: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...], tuple[int, ...]]] = {
    "strided, odd sizes": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 5, 3, 1), nn.GELU(), nn.Conv2d(3, 3, 3, 2, 1)),
        "2",
        (1, 2, 67, 71),
        (5, 6),
    ),
    "dilated": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=4, dilation=4), nn.Tanh(), nn.Conv2d(3, 2, 3)
        ),
        "2",
        (1, 2, 40, 44),
        (20, 18),
    ),
    "transposed": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 4, 4), nn.GELU(), nn.ConvTranspose2d(3, 2, 5, 3, 1, 1), nn.Tanh()
        ),
        "3",
        (1, 2, 60, 48),
        (22, 19),
    ),
    "depthwise": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 4, 7, padding=3, groups=4),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 2, 1),
            nn.GELU(),
        ),
        "3",
        (1, 4, 33, 35),
        (16, 15),
    ),
    "average pools and nearest": (
        lambda: nn.Sequential(
            nn.AvgPool2d(3, 2, 1),
            nn.Conv2d(2, 3, 3, padding=1),
            nn.Upsample(scale_factor=2),
            nn.Tanh(),
        ),
        "3",
        (1, 2, 32, 40),
        (15, 20),
    ),
    "a decoder": (UNet, "out", (1, 2, 40, 48), (21, 22)),
    "operators that write in place": (Residual, "add_1", (1, 2, 64, 64), (8, 8)),
    "one axis, causal": (Signal, "add_3", (1, 2, 80), (60,)),
    "three axes": (
        lambda: nn.Sequential(nn.Conv3d(1, 2, 3, 2, 1), nn.GELU(), nn.Conv3d(2, 2, 3)),
        "2",
        (1, 1, 20, 24, 28),
        (4, 5, 6),
    ),
    "a border, kept": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 5, 2, 2), nn.GELU(), nn.Conv2d(3, 3, 3, 2, 1)),
        "2",
        (1, 2, 61, 70),
        (0, 8),
    ),
    "a corner, kept": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 5, 2, 2), nn.GELU(), nn.MaxPool2d(3, 2, 1)),
        "2",
        (1, 2, 61, 70),
        (15, 17),
    ),
}


@pytest.mark.parametrize("protocol", ["mean-abs", "positive"])
@pytest.mark.parametrize("name", CROPPED)
def test_cropped_is_uncropped(name: str, protocol: str) -> None:
    make, layer, shape, index = CROPPED[name]
    module = given(make().double().eval(), 3)
    both = [
        run(module, layer, index, shape, protocol=protocol, crop=crop) for crop in (True, False)
    ]
    assert any(note.startswith(PART) for note in both[0].notes), both[0].notes
    assert not any(note.startswith((PART, WHOLE)) for note in both[1].notes)
    assert both[1].map.any()
    np.testing.assert_allclose(both[0].map, both[1].map, rtol=0, atol=1e-10)
    box = eyeshot.analyze(module, shape).unit(layer, index).clipped
    inside = np.zeros(both[0].map.shape, bool)
    inside[tuple(slice(b, e) for b, e in box)] = True
    assert not both[1].map[~inside].any()


class Excited(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last(x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True))))


class Coordinates(nn.Module):
    """CoordConv: the graph can't tell a crop from the whole, but the numbers can."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype).expand(len(x), 1, *x.shape[-2:])
        return self.last(torch.tanh(self.first(torch.cat([x, ramp], 1))))


class Sized(nn.Module):
    """The size itself is a number."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(x) / x.shape[-1])


class Threshold(nn.Module):
    """The size is a threshold, which nothing reaches on a dark image."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(2, 4, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(x)
        return y + torch.relu(y - (1.0 if x.shape[-1] > 16 else 0.2))


class Table(nn.Module):
    """A table of positions fits one size only."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, 2, 32, 32))
        self.last = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.table)


REFUSED: dict[str, Callable[[], nn.Module]] = {
    "squeeze and excitation": Excited,
    "global pooling": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2, 1)
    ),
    "group norm": lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 3)),
    "instance norm": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.Conv2d(4, 2, 3)
    ),
    "adaptive pooling": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.AdaptiveAvgPool2d(6), nn.Conv2d(3, 2, 1)
    ),
    "circular padding": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 5, padding=2, padding_mode="circular"), nn.Conv2d(3, 2, 3, padding=1)
    ),
    "coordinates": Coordinates,
    "a size as a number": Sized,
    "a table of positions": Table,
    "bilinear to a fixed size": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, 2, 1),
        nn.Upsample((33, 33), mode="bilinear", align_corners=True),
        nn.Conv2d(3, 2, 1),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_crop_is_refused(name: str) -> None:
    module = given(REFUSED[name]().double().eval(), 3)
    report = eyeshot.analyze(module, (1, 2, 32, 32))
    layer = report[-1]
    # Circular padding: a unit at the border, which reads the other side too.
    index = tuple(0 if "circular" in name else layer.shape[d] // 2 for d in layer.unit_dims)
    data = images(3, 2, 32, 32)
    got = run(module, layer.name, index, (1, 2, 32, 32), data=data, protocol="mean-abs")
    want = by_hand(lambda x: module(x)[(..., *(index or (0, 0)))], data, "mean-abs")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-10)
    assert any(note.startswith(WHOLE) for note in got.notes), got.notes


def test_a_transformer() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model("test_vit", num_classes=5).double().eval()
    n = module.patch_embed.img_size[0]
    report = eyeshot.analyze(module, (1, 3, n, n))
    data = images(2, 3, n, n)
    got = measure(module, report, "head", (), input=(1, 3, n, n), data=data, protocol="positive")
    want = by_hand(module, data, "positive")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-10 * want.max())
    assert any(note.startswith(WHOLE) for note in got.notes)


# --- samples


def test_batches_of_any_size() -> None:
    module = net(nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
    data = images(7, 2, 24, 24)
    found = [
        run(
            module, "2", (6, 6), (1, 2, 24, 24), data=data, samples=None, batch=batch, crop=crop
        ).map
        for batch in (None, 1, 2, 7, 50)
        for crop in (True, False)
    ]
    for one in found[1:]:
        np.testing.assert_allclose(one, found[0], rtol=0, atol=1e-12)


class Mixing(nn.Module):
    """Statistics of the batch, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def test_samples_that_mix_run_one_by_one() -> None:
    module = given(Mixing().double().eval(), 2)
    data = images(4, 2, 12, 12)
    got = run(
        module,
        "norm",
        (6, 6),
        (1, 2, 12, 12),
        data=data,
        samples=None,
        batch=4,
        protocol="mean-abs",
    )
    want = by_hand(lambda x: module(x)[:, :, 6, 6], data, "mean-abs")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)
    assert any("one sample a pass" in note for note in got.notes)


@pytest.mark.parametrize("protocol", ["mean-abs", "positive"])
def test_a_dark_first_image_proves_no_crop(protocol: str) -> None:
    module = given(Threshold().double().eval())
    data = images(4, 2, 32, 32)
    data[0] *= 0.01
    got = run(module, "add", (16, 16), (1, 2, 32, 32), data=data, protocol=protocol, samples=None)
    want = by_hand(lambda x: module(x)[:, :, 16, 16], data, protocol)
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)
    assert any(note.startswith(WHOLE) for note in got.notes)


class Counting(nn.Module):
    """Samples stay apart, but for how many they are, or for which is which."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        if self.how == "count":
            return y * (2 if len(x) > 2 else 1)
        which = slice(0, 1) if self.how == "first" else slice(1, None)
        y = y.clone()
        y[which] *= 3
        return y


@pytest.mark.parametrize("how", ["count", "first", "rest"])
@pytest.mark.parametrize("crop", [True, False])
def test_batches_in_which_samples_have_other_values_run_one_by_one(how: str, crop: bool) -> None:
    module = given(Counting(how).double().eval())
    data = images(5, 2, 20, 20)
    got = run(
        module, "first", (10, 9), (1, 2, 20, 20), data=data, batch=4, protocol="mean-abs", crop=crop
    )
    assert not any("one sample a pass" in note for note in got.notes)  # the layer before that
    report = eyeshot.analyze(module, (1, 2, 20, 20))
    options: Any = {"data": data, "batch": 4, "crop": crop, "protocol": "mean-abs"}
    got = measure(module, report, report[-1].name, (10, 9), input=(1, 2, 20, 20), **options)
    want = by_hand(lambda x: module(x)[:, :, 10, 9], data, "mean-abs")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)
    assert any("one sample a pass" in note for note in got.notes)


def test_training_mode_runs_one_by_one_and_keeps_statistics() -> None:
    module = net(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    before = copy.deepcopy(module.state_dict())
    data = images(3, 2, 12, 12)
    got = run(module, "1", (5, 5), (1, 2, 12, 12), data=data, training=True, protocol="mean-abs")
    twin = copy.deepcopy(module).train()
    want = by_hand(lambda x: twin[1](twin[0](x))[:, :, 5, 5], data, "mean-abs")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)
    assert not module.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


class LastChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1).permute(0, 2, 3, 1).tanh()


def test_channels_and_batches_are_found_in_other_layouts() -> None:
    module = net(nn.Conv2d(2, 3, 3), LastChannels())
    data = images(5, 2, 10, 10)
    got = run(
        module, "1.tanh", (4, 3), (1, 2, 10, 10), data=data, channels=[0], protocol="mean-abs"
    )
    want = by_hand(lambda x: module(x)[:, 4, 3, 0], data[:3], "mean-abs")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)


def test_kinds_of_data_agree(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    module = net(nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 3)).float()
    pixels = np.random.default_rng(3).integers(0, 256, (5, 20, 24, 3), np.uint8)
    (tmp_path / "images").mkdir()
    for k, one in enumerate(pixels):
        image.fromarray(one).save(tmp_path / "images" / f"{k}.png")
    whole = pixels.transpose(0, 3, 1, 2)
    np.save(tmp_path / "all.npy", whole)
    np.savez(tmp_path / "two.npz", first=whole, second=whole[:1])
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    floats = ((whole / 255 - mean[:, None, None]) / std[:, None, None]).astype(np.float32)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(floats), torch.arange(5))
    kinds: dict[str, Any] = {
        "folder": tmp_path / "images",
        "npy": str(tmp_path / "all.npy"),
        "npz": f"{tmp_path / 'two.npz'}:first",
        "array": floats,
        "tensor": torch.from_numpy(floats),
        "loader": torch.utils.data.DataLoader(tensors, batch_size=2),
        "dicts": [{"y": 1, "image": torch.from_numpy(floats[k])} for k in range(5)],
    }
    found = {
        kind: run(module, "2", (3, 4), (1, 3, 20, 24), data=data, samples=4)
        for kind, data in kinds.items()
    }
    for one in found.values():
        assert one.samples == 4
        np.testing.assert_allclose(one.map, found["array"].map, rtol=0, atol=1e-6)
    want = by_hand(lambda x: module[:3](x)[:, :, 3, 4], floats[:4], "positive")
    np.testing.assert_allclose(found["folder"].map, want, rtol=0, atol=1e-6)


def test_noise_depends_on_the_seed_alone() -> None:
    module = net(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3))
    one, same, other = (
        run(module, "2", (4, 4), (1, 1, 16, 16), seed=seed, batch=batch, protocol="mean-abs").map
        for seed, batch in ((0, 1), (0, 3), (1, 1))
    )
    np.testing.assert_allclose(one, same, rtol=0, atol=1e-12)
    assert not np.allclose(one, other)
    assert run(module, "2", (4, 4), (1, 1, 16, 16), samples=None).samples == 20


# --- the module stays as it is


def state(module: nn.Module) -> list[Any]:
    found: list[Any] = []
    for m in module.modules():
        found += [m.training, sorted(m.__dict__), len(m._forward_hooks), len(m._forward_pre_hooks)]
    for name, p in (*module.named_parameters(), *module.named_buffers()):
        found += [name, id(p), p.requires_grad, p.grad is None, p._version, p.dtype]
    return found


class Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "meta":
            raise RuntimeError("no luck\ntoday")
        return x * 2


def test_the_module_stays_as_it_is() -> None:
    module = net(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Conv2d(3, 1, 3)
    ).train()
    module[0].weight.requires_grad_(False)
    before, random = state(module), torch.get_rng_state()
    run(module, "3", (4, 4), (1, 2, 20, 20))
    run(module, "2", (4, 4), (1, 2, 20, 20), training=True)
    assert state(module) == before
    assert torch.equal(torch.get_rng_state(), random)
    broken = net(nn.Conv2d(2, 3, 3), Breaks(), nn.Conv2d(3, 3, 3)).train()
    before = state(broken)
    with pytest.raises(eyeshot.EyeshotError, match="raised RuntimeError: no luck today"):
        run(broken, "2", (4, 4), (1, 2, 20, 20))
    assert state(broken) == before


def test_ctrl_c_keeps_what_there_is() -> None:
    module = net(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3))
    before = state(module)
    data = images(9, 2, 20, 20)
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if done >= 4:
            raise KeyboardInterrupt

    got = run(module, "2", (7, 7), (1, 2, 20, 20), data=data, samples=None, batch=2, progress=stop)
    assert calls == [(2, 9), (4, 9)]
    assert got.interrupted and got.samples == 4
    want = run(module, "2", (7, 7), (1, 2, 20, 20), data=data[:4], samples=None)
    np.testing.assert_allclose(got.map, want.map, rtol=0, atol=1e-12)
    assert state(module) == before

    def never() -> Iterator[np.ndarray]:
        raise KeyboardInterrupt
        yield data

    with pytest.raises(KeyboardInterrupt):
        run(module, "2", (7, 7), (1, 2, 20, 20), data=never())
    assert state(module) == before


# --- what can't be measured


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach() * 2


def refused(words: str, module: Any, layer: str, index: Any, shape: Any, **options: Any) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=words) as caught:
        run(module, layer, index, shape, **options)
    assert "\n" not in str(caught.value)


def test_bad_gradients() -> None:
    shape = (1, 2, 12, 12)
    module = net(nn.Conv2d(2, 3, 3), nn.ReLU())
    with torch.no_grad():
        module[0].bias.fill_(-1e6)
    refused("1: every gradient is 0 on all 3 samples", module, "1", (4, 4), shape)
    root = net(nn.Conv2d(2, 3, 3), nn.ReLU())
    with torch.no_grad():
        root[0].weight[0, 0, 0, 0] = np.nan
    refused(
        "sample 0: the gradient of 0 is NaN",
        root,
        "0",
        (4, 4),
        shape,
        protocol="mean-abs",
        data=images(2, 2, 12, 12),
        batch=2,
    )
    refused("it has no gradient", net(nn.Conv2d(2, 3, 3), Detached()), "1", (4, 4), shape)


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def test_the_image_with_an_infinite_gradient_is_named() -> None:
    data = np.abs(images(3, 1, 6, 6)) + 1
    data[2, 0, 3, 3] = 0
    for protocol in ("mean-abs", "positive"):
        refused(
            "sample 2: the gradient",
            net(Root()),
            "0",
            (3, 3),
            (1, 1, 6, 6),
            data=data,
            batch=3,
            protocol=protocol,
            crop=False,
        )


def test_some_samples_without_gradient_are_noted() -> None:
    module = net(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        module[0].weight.fill_(1)
    data = np.ones((4, 1, 6, 6)) * np.array([1, -1, 1, 1])[:, None, None, None]
    got = run(module, "1", (3, 3), (1, 1, 6, 6), data=data, samples=None)
    assert got.map[3, 3] == 0.75 and got.map.sum() == 0.75
    assert "1 of 4 samples gave no gradient at all (ReLUs that are off)" in got.notes


def test_bad_options() -> None:
    module, shape = net(nn.Conv2d(2, 3, 3)), (1, 2, 12, 12)
    for words, options in {
        "protocol: 'grad' is none of": {"protocol": "grad"},
        "batch: expected a number": {"batch": 0},
        "samples: expected a number": {"samples": 0},
        "channels: 3 is outside 0 … 2": {"channels": [3]},
        "channels: none are chosen": {"channels": []},
        "device: 'gpu' is no device": {"device": "gpu"},
        "device: cuda:77 is not available": {"device": "cuda:77"},
        "weights: nowhere.pt: there is no such file": {"weights": "nowhere.pt"},
        "data: shape 4x3x12x12, but input is 2x12x12": {"data": images(4, 3, 12, 12)},
    }.items():
        refused(words, module, "0", (4, 4), shape, **options)
    with pytest.raises(IndexError):
        run(module, "0", (10, 0), shape)
    with pytest.raises(eyeshot.UnknownLayerError):
        run(module, "1", (0, 0), shape)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(x * y)


def test_inputs_that_are_not_one_of_numbers() -> None:
    two = net(Two())[0]
    report = eyeshot.analyze(two, [(1, 1, 6, 6), (1, 1, 6, 6)])
    with pytest.raises(eyeshot.EyeshotError, match="for one input, and there are x, y"):
        measure(two, report, "tanh", (2, 2), input=[(1, 1, 6, 6), (1, 1, 6, 6)])
    words = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)).eval()
    report = eyeshot.analyze(words, 12)
    with pytest.raises(eyeshot.EyeshotError, match="floating-point numbers"):
        measure(words, report, "1", (2,), input=12)


# --- weights


def test_weights_are_loaded_into_a_copy(tmp_path: Path) -> None:
    module = net(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 3))
    trained = given(copy.deepcopy(module), 9)
    shape = (1, 2, 14, 14)
    want = run(trained, "2", (4, 4), shape).map
    assert not np.allclose(run(module, "2", (4, 4), shape).map, want)
    before = state(module)
    weights = trained.state_dict()
    torch.save(weights, tmp_path / "plain.pt")
    wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "wrapped.pth")
    files = ["plain.pt", "wrapped.pth"]
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError:
        pass
    else:
        save_file(weights, tmp_path / "some.safetensors")
        files.append("some.safetensors")
    for file in files:
        got = run(module, "2", (4, 4), shape, weights=tmp_path / file).map
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    assert state(module) == before
    with torch.device("meta"):
        bare = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 3)).double()
    got = run(bare, "2", (4, 4), shape, weights=tmp_path / "plain.pt").map
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    refused("on the meta device", bare, "2", (4, 4), shape)


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def test_weights_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, shape = net(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 1, 3)), (1, 2, 14, 14)
    weights = module.state_dict()
    torch.save(
        {k: v for k, v in weights.items() if k != "1.bias"} | {"2.w": torch.ones(1)},
        tmp_path / "a.pt",
    )
    torch.save(weights | {"0.weight": torch.ones(2, 2)}, tmp_path / "b.pt")
    torch.save({"weights": Evil()}, tmp_path / "c.pt")
    torch.save({"epoch": 3}, tmp_path / "d.pt")
    (tmp_path / "e.pt").write_bytes(b"nothing of the kind")
    (tmp_path / "f.safetensors").write_bytes(b"nothing of the kind")
    (tmp_path / "g.h5").write_bytes(b"")
    for file, words in {
        "a.pt": "it lacks 1.bias and has 2.w, which the module has not",
        "b.pt": "0.weight is 2x2, but the module's is 3x2x3x3",
        "c.pt": "is not unpickled",
        "d.pt": "there is no state dict in it",
        "e.pt": "e.pt: ",
        "f.safetensors": "f.safetensors: ",
        "g.h5": "expected a .safetensors, .pt or .pth file",
    }.items():
        refused(words, module, "1", (4, 4), shape, weights=tmp_path / file)
    assert "unpickled" not in capsys.readouterr().out


# --- less and less


SEEN: list[tuple[int, ...]] = []


class Noted(nn.Module):
    """Writes down what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            SEEN.append(tuple(x.shape[2:]))
        return x


@pytest.mark.parametrize("size", [40, 11])
def test_layers_are_cut_to_what_the_unit_needs(size: int) -> None:
    """Also where the field, 17 wide, is larger than the input."""
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Conv2d(2, 2, 3, padding=1), nn.Tanh(), Noted()]
    module = net(*layers)
    shape = (1, 2, size, size)
    report = eyeshot.analyze(module, shape)
    name = report[-1].name
    data = images(5, *shape[1:])
    at = (size // 2, size // 2)
    SEEN.clear()
    got = run(module, name, at, shape, data=data, samples=None, protocol="mean-abs")
    sizes = SEEN[-8:]
    assert sizes[-1] == (1, 1) or sizes[-2] == (3, 3), sizes
    assert sizes == sorted(sizes, reverse=True)
    want = by_hand(lambda x: module(x)[:, :, at[0], at[1]], data, "mean-abs")
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-10)
    assert any(note.startswith(PART if size == 40 else WHOLE) for note in got.notes)


# --- other inputs


def test_inputs_without_a_batch() -> None:
    module = net(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 2, 3))
    data = images(3, 2, 14, 16)
    report = eyeshot.analyze(module, torch.zeros(2, 14, 16).double(), axes=(1, 2))
    for crop in (True, False):
        got = measure(
            module,
            report,
            "2",
            (5, 6),
            input=torch.zeros(2, 14, 16).double(),
            axes=(1, 2),
            data=data,
            protocol="mean-abs",
            crop=crop,
        )
        want = by_hand(lambda x: module(x)[:, :, 5, 6], data, "mean-abs")
        np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3)

    def forward(self, x: Tensor, scale: Tensor, *, shift: float = 0.0) -> Tensor:
        return torch.tanh(self.conv(x) * scale + shift)


def test_other_arguments_are_given_as_they_are() -> None:
    module = given(Scaled().double().eval(), 4)
    args, kwargs = [torch.zeros(1, 2, 20).double(), torch.tensor(0.3).double()], {"shift": 0.2}
    report = eyeshot.analyze(module, args=args, kwargs=kwargs)
    data = images(3, 2, 20)
    with pytest.raises(eyeshot.EyeshotError, match="channels: 5 is outside"):
        measure(module, report, "tanh", (7,), args=args, kwargs=kwargs, data=data, channels=[5])
    got = measure(
        module, report, "tanh", (7,), args=args, kwargs=kwargs, data=data, protocol="mean-abs"
    )
    want = by_hand(lambda x: module(x, args[1], **kwargs)[:, :, 7], data, "mean-abs", (2,))
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-12)


def test_a_function_and_half_precision() -> None:
    data = images(2, 1, 12)
    report = eyeshot.analyze(lambda x: torch.sin(x * 3), (1, 1, 12))
    got = measure(
        lambda x: torch.sin(x * 3),
        report,
        report[-1].name,
        (4,),
        input=(1, 1, 12),
        data=data,
        protocol="mean-abs",
    )
    want = np.zeros(12)
    want[4] = np.abs(3 * np.cos(3 * data[:, 0, 4])).mean()
    np.testing.assert_allclose(got.map, want, rtol=0, atol=1e-5)
    module = net(nn.Conv1d(1, 2, 3)).half()
    half = run(module, "0", (4,), (1, 1, 12), data=data, protocol="mean-abs")
    assert next(module.parameters()).dtype == torch.float16
    assert any("float32" in note for note in half.notes)
    weights = np.abs(module[0].weight.detach().double().numpy().sum((0, 1)))
    np.testing.assert_allclose(half.map[4:7], weights, rtol=0, atol=1e-6)

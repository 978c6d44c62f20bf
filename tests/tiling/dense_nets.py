"""Dense networks that people run on images too large for them, small enough for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["CASES", "REFUSED", "UNet", "halo_unet"]

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BACK = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def block(cin: int, cout: int, nd: int = 2, pad: int = 1) -> nn.Sequential:
    conv = CONV[nd]
    return nn.Sequential(
        conv(cin, cout, 3, padding=pad), nn.ReLU(), conv(cout, cout, 3, padding=pad), nn.ReLU()
    )


class UNet(nn.Module):
    """Two convolutions a level. ``up``: a mode of upsampling, "2/2", "3/2", "4/2", "shuffle" or "size".

    ``valid``: convolutions without padding, skips cropped to the middle, as in the original. ``fit``: what is
    upsampled is padded to its skip's size, so that any size of image goes through.
    """

    def __init__(
        self,
        depth: int = 2,
        up: str = "nearest",
        down: str = "max",
        nd: int = 2,
        base: int = 3,
        valid: bool = False,
        fit: bool = False,
        cin: int = 1,
    ) -> None:
        super().__init__()
        self.valid, self.fit, self.size = valid, fit, up == "size"
        c = [base + k for k in range(depth + 1)]
        pad = 0 if valid else 1
        self.encoders = nn.ModuleList(
            [block(cin if k == 0 else c[k - 1], c[k], nd, pad) for k in range(depth + 1)]
        )
        self.downs = nn.ModuleList([self._down(down, c[k], nd) for k in range(depth)])
        self.ups = nn.ModuleList([self._up(up, c[k + 1], c[k], nd) for k in range(depth)])
        self.decoders = nn.ModuleList([block(2 * c[k], c[k], nd, pad) for k in range(depth)])
        self.head = CONV[nd](c[0], 2, 1)

    def _down(self, how: str, c: int, nd: int) -> nn.Module:
        if how == "max":
            return MAX[nd](2)
        if how == "ceil":
            return MAX[nd](3, 2, ceil_mode=True)
        if how == "avg":
            return AVG[nd](3, 2, padding=1)
        return CONV[nd](c, c, 3, 2, padding=1)

    def _up(self, how: str, cin: int, cout: int, nd: int) -> nn.Module:
        if how == "2/2":
            return BACK[nd](cin, cout, 2, 2)
        if how == "3/2":
            return BACK[nd](cin, cout, 3, 2, padding=1, output_padding=1)
        if how == "4/2":
            return BACK[nd](cin, cout, 4, 2, padding=1)
        if how == "shuffle":
            return nn.Sequential(CONV[nd](cin, 4 * cout, 1), nn.PixelShuffle(2))
        if how == "size":
            return CONV[nd](cin, cout, 1)
        mode = LINEAR[nd] if how == "linear" else how
        return nn.Sequential(nn.Upsample(scale_factor=2, mode=mode), CONV[nd](cin, cout, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for encode, down in zip(self.encoders[:-1], self.downs, strict=True):
            x = encode(x)
            skips.append(x)
            x = down(x)
        x = self.encoders[-1](x)
        for up, decode, skip in reversed(list(zip(self.ups, self.decoders, skips, strict=True))):
            x = up(x)
            if self.size:
                x = F.interpolate(x, size=skip.shape[2:], mode="nearest")
            if self.valid:
                for dim in range(2, x.ndim):
                    skip = skip.narrow(dim, (skip.shape[dim] - x.shape[dim]) // 2, x.shape[dim])
            if self.fit:
                pad = []
                for dim in range(x.ndim - 1, 1, -1):
                    more = skip.shape[dim] - x.shape[dim]
                    pad += [more // 2, more - more // 2]
                x = F.pad(x, pad)
            x = decode(torch.cat([skip, x], 1))
        return self.head(x)


def halo_unet(depth: int) -> UNet:
    """The network of the published halo table."""
    return UNet(depth, "nearest", base=1)


class Seq(nn.Sequential):
    """A sequence whose layers may be plain functions."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.calls = list(layers)
        for k, layer in enumerate(layers):
            if isinstance(layer, nn.Module):
                self.add_module(str(k), layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.calls:
            x = layer(x)
        return x


class Multiple(nn.Module):
    """Pads to a multiple, runs, and crops to the size again."""

    def __init__(self, inner: nn.Module, multiple: int, mode: str = "constant") -> None:
        super().__init__()
        self.inner, self.multiple, self.mode = inner, multiple, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[2:]
        x = F.pad(x, (0, -w % self.multiple, 0, -h % self.multiple), mode=self.mode)
        return self.inner(x)[..., :h, :w]


class Odd(nn.Module):
    """Asks what its input's size is, as people do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, 2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] % 2:
            x = F.pad(x, (0, 0, 0, 1), mode="replicate")
        return self.conv(x)


class Shifted(nn.Module):
    """A branch that is cut short at one end, though its units read no more than the others."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        by = self.by
        return x + F.pad(F.pad(x, (by, -by)), (-by, by))


class Covered(nn.Module):
    """A strided branch whose units read no more than those of a large kernel beside it: the grid stays."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.ZeroPad2d((4, 3, 4, 3)), nn.Conv2d(1, 1, 8))
        self.down = nn.Conv2d(1, 1, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(x) + F.interpolate(self.down(x), scale_factor=2, mode="nearest")


class Aspp(nn.Module):
    """Dilated branches side by side, without the global one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.branches = nn.ModuleList(
            [nn.Conv2d(4, 3, 1), *(nn.Conv2d(4, 3, 3, padding=d, dilation=d) for d in (2, 3, 5))]
        )
        self.head = nn.Conv2d(12, 2, 1)
        nn.init.normal_(self.stem[1].running_mean)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.head(torch.cat([branch(x) for branch in self.branches], 1))
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class ConvNeXt(nn.Module):
    """A patch stem and two blocks: depthwise 7x7, norm over channels, pointwise layers, channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 4, 4)
        self.depthwise = nn.ModuleList([nn.Conv2d(6, 6, 7, padding=3, groups=6) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(6) for _ in range(2)])
        self.mlps = nn.ModuleList(
            [nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6)) for _ in range(2)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for conv, norm, mlp in zip(self.depthwise, self.norms, self.mlps, strict=True):
            x = x + mlp(norm(conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x


class Windows(nn.Module):
    """Attention within windows on the grid, between convolutions."""

    def __init__(self, window: int = 4) -> None:
        super().__init__()
        self.window = window
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        b, c, h, w = x.shape
        n = self.window
        t = x.view(b, c, h // n, n, w // n, n).permute(0, 2, 4, 3, 5, 1).reshape(-1, n * n, c)
        t = self.attend(t, t, t, need_weights=False)[0]
        t = t.view(b, h // n, w // n, n, n, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        return self.last(x + t)


class Pyramid(nn.Module):
    """Laterals added top down, as in feature pyramids."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [nn.Conv2d(1 if k == 0 else 3, 3, 3, 2, padding=1) for k in range(3)]
        )
        self.laterals = nn.ModuleList([nn.Conv2d(3, 2, 1) for _ in range(3)])
        self.smooth = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = []
        for stage in self.stages:
            x = F.relu(stage(x))
            maps.append(x)
        y = self.laterals[-1](maps[-1])
        for lateral, m in list(zip(self.laterals, maps, strict=True))[-2::-1]:
            y = lateral(m) + F.interpolate(y, scale_factor=2, mode="nearest")
        return self.smooth(y)


class Classic(nn.Module):
    """Super-resolution by interpolation first."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 9, padding=4), nn.ReLU(), nn.Conv2d(4, 1, 5, padding=2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=3, mode="bicubic", align_corners=False)
        return x + self.layers(x)


class Causal(nn.Module):
    """Dilated causal convolutions, padded on one side."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv1d(1 if k == 0 else 3, 3, 2, dilation=2**k) for k in range(5)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for k, layer in enumerate(self.layers):
            x = torch.tanh(layer(F.pad(x, (2**k, 0))))
        return x


def shuffled(by: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(4, by * by, 3, padding=1),
        nn.PixelShuffle(by),
        nn.Conv2d(1, 1, 3, padding=1),
    )


def unshuffled() -> nn.Module:
    return nn.Sequential(
        nn.PixelUnshuffle(2), nn.Conv2d(4, 8, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(2, 1, 3)
    )


def modes(nd: int) -> list[str]:
    some = ["nearest", "nearest-exact", "linear", "2/2", "3/2", "4/2"]
    return [*some, "bicubic", "shuffle", "size"] if nd == 2 else some


Case = tuple[Callable[[], nn.Module], tuple[int, ...], Any]

#: By name: what makes the network, the input's shape, and tiles to try, on the grid and off it.
CASES: dict[str, Case] = {
    **{
        f"unet {up}": (
            lambda up=up: UNet(2, up),
            (1, 1, 92, 104),
            [(24, 36) if up == "nearest" else (23, 35)],
        )
        for up in modes(2)
    },
    **{
        f"unet 1d {up}": (
            lambda up=up: UNet(3, up, nd=1),
            (2, 1, 264),
            [64 if up == "nearest" else 37],
        )
        for up in modes(1)
    },
    "unet 3d": (lambda: UNet(1, "linear", nd=3), (1, 1, 12, 26, 22), [(5, 7, 22)]),
    "unet 3d transposed": (lambda: UNet(1, "2/2", nd=3), (1, 1, 12, 26, 22), [(4, 12, 11)]),
    "unet strided": (lambda: UNet(2, "2/2", "conv"), (1, 1, 84, 76), [21]),
    "unet avg": (lambda: UNet(2, "linear", "avg"), (1, 1, 84, 96), [(13, 30)]),
    "unet ceil, fitted": (lambda: UNet(2, "nearest", "ceil", fit=True), (1, 1, 87, 77), [19]),
    "unet fitted, odd": (lambda: UNet(2, "2/2", fit=True), (1, 1, 101, 87), [(33, 29)]),
    "unet valid": (lambda: UNet(2, "2/2", valid=True), (1, 1, 108, 92), [(7, 30)]),
    "unet valid, resized": (lambda: UNet(1, "linear", valid=True), (1, 1, 72, 60), [(7, 30)]),
    "unet to a multiple": (lambda: Multiple(UNet(2, "2/2"), 4), (1, 1, 95, 61), [(17, 19)]),
    "reflected to a coarse multiple": (
        lambda: Multiple(nn.Conv2d(1, 1, 5, 1, 2), 16, "reflect"),
        (1, 1, 75, 61),
        [16, (20, 19)],
    ),
    "odd": (Odd, (1, 1, 35, 40), [8, 14]),
    "x2": (lambda: shuffled(2), (1, 1, 31, 37), [(9, 16)]),
    "x3": (lambda: shuffled(3), (1, 1, 31, 37), [(9, 16)]),
    "x4": (lambda: shuffled(4), (2, 1, 21, 27), [(5, 16)]),
    "bicubic x3": (Classic, (1, 1, 31, 27), [(9, 13)]),
    "unshuffle": (unshuffled, (1, 1, 38, 44), [(9, 16)]),
    "valid": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3), nn.Conv2d(2, 1, 3)
        ),
        (1, 1, 61, 50),
        [16, (14, 22)],
    ),
    "stride 8": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 2, 3, 2, 1)
        ),
        (1, 1, 101, 115),
        [(24, 40)],
    ),
    "dilated": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 1, 3, padding=d, dilation=d) for d in (1, 2, 4, 8)), nn.Conv2d(1, 1, 1)
        ),
        (1, 1, 60, 70),
        [(13, 20)],
    ),
    # Off the grid crops would be as long as on it, and nothing but the values would tell.
    "covered stride": (Covered, (1, 1, 44, 44), [9]),
    "aspp": (Aspp, (1, 1, 62, 50), [(14, 22)]),
    "pyramid": (Pyramid, (1, 1, 72, 88), [(18, 30)]),
    "causal": (Causal, (1, 1, 200), [50, 33]),
    "anisotropic": (
        lambda: nn.Sequential(
            nn.Conv3d(1, 2, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
            nn.ReLU(),
            nn.Conv3d(2, 2, (3, 3, 3), 1, (1, 1, 1)),
            nn.ConvTranspose3d(2, 1, (1, 2, 2), (1, 2, 2)),
        ),
        (1, 1, 9, 22, 18),
        [(2, 7, 18)],
    ),
    "uneven": (
        lambda: nn.Sequential(
            nn.ZeroPad2d((3, 0, 0, 2)),
            nn.Conv2d(1, 2, (3, 4), (1, 3)),
            nn.ReflectionPad2d((2, 1, 1, 3)),
            nn.Conv2d(2, 2, (5, 2)),
            nn.ReplicationPad2d(2),
            nn.Conv2d(2, 1, 3),
        ),
        (1, 1, 31, 52),
        [(7, 15)],
    ),
    "reflect and replicate": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 5, padding=2, padding_mode="reflect"),
            nn.ReLU(),
            nn.Conv2d(2, 2, 5, padding=4, dilation=2, padding_mode="replicate"),
            nn.Conv2d(2, 1, 3),
        ),
        (1, 1, 51, 47),
        [(20, 4)],
    ),
    "depthwise": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 1),
            nn.Conv2d(4, 4, 5, 1, 2, groups=4),
            nn.Hardswish(),
            nn.Conv2d(4, 1, 1),
        ),
        (3, 1, 30, 33),
        [8, (7, 33)],
    ),
    "convnext": (ConvNeXt, (1, 1, 84, 92), [(24, 20)]),
    "windows": (Windows, (1, 1, 40, 48), [(6, 10)]),
    "holes": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ConvTranspose2d(3, 3, 2, stride=4),
            nn.Conv2d(3, 1, 3, padding=6, dilation=6),
        ),
        (1, 1, 21, 27),
        [5, (1, 4)],
    ),
    "holes, strided": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, 2, 1),
            nn.ConvTranspose2d(3, 3, 1, stride=2, output_padding=1),
            nn.Conv2d(3, 1, 3, padding=3),
        ),
        (1, 1, 32, 46),
        [6, (5, 4)],
    ),
    "shifted": (lambda: Shifted(3), (1, 1, 20, 32), [8, (20, 5)]),
    "channels apart": (
        lambda: Seq(lambda x: torch.cat([x[..., 2:], x[..., :-2]], 1), nn.ReLU()),
        (1, 1, 20, 32),
        [8, 5],
    ),
    "one and a half": (
        lambda: Seq(
            nn.Conv2d(1, 2, 3, padding=1),
            nn.Upsample(scale_factor=1.5, mode="bilinear"),
            nn.Conv2d(2, 1, 3, padding=1),
        ),
        (1, 1, 36, 44),
        [8, (6, 14)],
    ),
    "lp and lrn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.LocalResponseNorm(3), nn.LPPool2d(2, 2), nn.Conv2d(4, 1, 3)
        ),
        (1, 1, 41, 38),
        [8, (6, 14)],
    ),
}


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return x * self.gate(x)


class Attention(nn.Module):
    """Every position attends to every other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 2, 2)
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        t = x.flatten(2).transpose(1, 2)
        t = self.attend(t, t, t, need_weights=False)[0]
        return t.transpose(1, 2).reshape(x.shape)


class Recurrent(nn.Module):
    """A state carried along time."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(1, 3, batch_first=True, bidirectional=both)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x.transpose(1, 2))[0].transpose(1, 2)


def after(layer: Any) -> Callable[[], nn.Module]:
    return lambda: Seq(nn.Conv2d(1, 4, 3, padding=1), layer)


#: By name: what makes the network, the input's shape, and words of the refusal, the layer's name among them.
REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...]]] = {
    "global pool": (
        lambda: Seq(nn.Conv2d(1, 4, 3, padding=1), lambda x: x - x.mean((2, 3), keepdim=True)),
        (1, 1, 32, 32),
        ("mean", "reduces"),
    ),
    "squeeze": (Gate, (1, 1, 32, 32), ("gate.0", "reduces")),
    "group norm": (after(nn.GroupNorm(2, 4)), (1, 1, 32, 32), ("1 (", "statistics")),
    "instance norm": (after(nn.InstanceNorm2d(4)), (1, 1, 32, 32), ("1 (", "statistics")),
    "layer norm": (after(nn.LayerNorm((4, 32, 32))), (1, 1, 32, 32), ("1 (", "statistics")),
    "attention": (Attention, (1, 1, 16, 16), ("attend", "attends")),
    "recurrence": (lambda: Recurrent(False), (1, 1, 64), ("rnn", "state")),
    "two-way recurrence": (lambda: Recurrent(True), (1, 1, 64), ("rnn", "both")),
    "running": (after(lambda x: x.cumsum(3)), (1, 1, 32, 32), ("cumsum", "accumulates")),
    "linear": (after(nn.Linear(32, 32)), (1, 1, 32, 32), ("1 (linear)", "weight")),
    "fourier": (
        after(lambda x: torch.fft.fft2(x).real),
        (1, 1, 32, 32),
        ("fft", "transforms"),
    ),
    "sort": (after(lambda x: x.sort(2).values), (1, 1, 32, 32), ("sort", "orders")),
    "rate": (
        after(nn.Upsample(size=(45, 45))),
        (1, 1, 32, 32),
        ("1 (", "rate"),
    ),
    "corners": (
        after(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
        (1, 1, 32, 32),
        ("1 (", "rate"),
    ),
    "circular": (
        after(nn.Conv2d(4, 1, 3, padding=1, padding_mode="circular")),
        (1, 1, 32, 32),
        ("1 (", "wraps"),
    ),
    "flip": (after(lambda x: x.flip(3)), (1, 1, 32, 32), ("flip", "reads fixed positions")),
    "roll": (after(lambda x: x.roll(2, 3)), (1, 1, 32, 32), ("roll", "wraps")),
    "two rates": (
        lambda: Seq(lambda x: x[..., :16] + x[..., ::2]),
        (1, 1, 32, 32),
        ("add", "no map"),
    ),
    "adaptive": (
        after(nn.AdaptiveAvgPool2d(7)),
        (1, 1, 32, 32),
        ("1 (", "rate"),
    ),
    "fixed piece": (
        lambda: Seq(nn.Conv2d(1, 2, 3), lambda x: x[..., :50]),
        (1, 1, 32, 200),
        ("output does not run", "12x18", "32x200"),
    ),
}

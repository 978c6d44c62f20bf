"""1-D networks to stream: some in the shape of published ones, and random ones of the same parts."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "blocks",
    "codec",
    "cut",
    "folded",
    "mirror",
    "random_net",
    "rests",
    "separator",
    "silent",
    "tail",
    "tcn",
    "unet",
    "wav2vec",
    "wavenet",
]


class Padded(nn.Module):
    """A convolution with its own padding on either side, brought to whole strides where ``whole``."""

    def __init__(
        self, conv: nn.Conv1d, left: int, right: int, mode: str = "constant", whole: bool = False
    ) -> None:
        super().__init__()
        self.conv, self.pad, self.mode, self.whole = conv, (left, right), mode, whole

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.pad
        if self.whole:
            right += -x.shape[-1] % self.conv.stride[0]
        return self.conv(F.pad(x, (left, right), mode=self.mode))


class Trimmed(nn.Module):
    """A module whose output loses so many positions at either end."""

    def __init__(self, inner: nn.Module, left: int, right: int) -> None:
        super().__init__()
        self.inner, self.left, self.right = inner, left, right

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return y[..., self.left : y.shape[-1] - self.right]


class Residual(nn.Module):
    """Branches of equal rate, cut to the shorter one, and added."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        made = [branch(x) for branch in self.branches]
        least = min(y.shape[-1] for y in made)
        return sum(y[..., :least] for y in made)  # type: ignore[return-value]


class Shuffle(nn.Module):
    """Channels become positions (``up``), or positions channels."""

    def __init__(self, r: int, up: bool) -> None:
        super().__init__()
        self.r, self.up = r, up

    def forward(self, x: Tensor) -> Tensor:
        n, c, t = x.shape
        r = self.r
        if self.up:
            return x.reshape(n, c // r, r, t).permute(0, 1, 3, 2).reshape(n, c // r, t * r)
        x = x[..., : t // r * r]
        return x.reshape(n, c, t // r, r).permute(0, 1, 3, 2).reshape(n, c * r, t // r)


class ChannelNorm(nn.Module):
    """A norm over channels alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Of two channels nothing but a sign would be left without a large eps.
        self.norm = nn.LayerNorm(channels, eps=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def causal(a: int, b: int, k: int, stride: int = 1, dilation: int = 1, **more: Any) -> Padded:
    conv = nn.Conv1d(a, b, k, stride, dilation=dilation, groups=more.pop("groups", 1))
    return Padded(conv, (k - 1) * dilation - (stride - 1), 0, **more)


def wavenet(layers: int = 5) -> nn.Module:
    class Block(nn.Module):
        def __init__(self, d: int) -> None:
            super().__init__()
            self.filter, self.gate = causal(4, 4, 2, dilation=d), causal(4, 4, 2, dilation=d)
            self.out = nn.Conv1d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.out(torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x)))

    return nn.Sequential(nn.Conv1d(1, 4, 1), *[Block(2**k) for k in range(layers)])


def tcn() -> nn.Module:
    """Residual blocks of dilated convolutions that look both ways."""

    def block(d: int) -> nn.Module:
        inner = nn.Sequential(
            nn.Conv1d(3, 3, 3, dilation=d, padding=d), nn.BatchNorm1d(3), nn.ELU()
        )
        return Residual(nn.Identity(), inner)

    return nn.Sequential(nn.Conv1d(2, 3, 1), *[block(2**k) for k in range(4)])


def codec(strides: tuple[int, ...] = (2, 4)) -> nn.Module:
    """Encoder and decoder as in EnCodec and SEANet, causal, with reflected padding to whole strides."""
    made: list[nn.Module] = [causal(1, 4, 5, mode="reflect")]
    for s in strides:
        made += [nn.ELU(), causal(4, 4, 2 * s, s, mode="reflect", whole=True)]
    for s in reversed(strides):
        made += [nn.ELU(), Trimmed(nn.ConvTranspose1d(4, 4, 2 * s, s), 0, s)]
    return nn.Sequential(*made, causal(4, 1, 5, mode="reflect"))


def separator() -> nn.Module:
    """A learned filter bank, masks from separable convolutions, and back (as in Conv-TasNet, without norms)."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Conv1d(1, 6, 8, 4)
            self.mask = nn.Sequential(
                *[
                    Residual(
                        nn.Identity(),
                        nn.Sequential(
                            nn.Conv1d(6, 6, 1),
                            nn.PReLU(),
                            ChannelNorm(6),
                            nn.Conv1d(6, 6, 3, padding=d, dilation=d, groups=6),
                            nn.Conv1d(6, 6, 1),
                        ),
                    )
                    for d in (1, 2, 4)
                ]
            )
            self.decode = nn.ConvTranspose1d(6, 2, 8, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.encode(x)
            return self.decode(y * torch.sigmoid(self.mask(y)))

    return Net()


def unet(levels: int = 2) -> nn.Module:
    """A 1-D U-Net that pads its input to what its strides divide, and cuts the output to the input's length."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(
                nn.Conv1d(2 if k else 1, 2, 3, padding=1) for k in range(levels)
            )
            self.bottom = nn.Conv1d(2, 2, 3, padding=1)
            self.up = nn.ModuleList(nn.Conv1d(4, 2, 3, padding=1) for _ in range(levels))

        def forward(self, x: Tensor) -> Tensor:
            n = x.shape[-1]
            x = F.pad(x, (0, -n % 2**levels))
            skips = []
            for conv in self.down:
                x = F.elu(conv(x))
                skips.append(x)
                x = F.avg_pool1d(x, 2)  # a maximum may hide what it reads
            x = self.bottom(x)
            for conv in self.up:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                x = F.elu(conv(torch.cat([x, skips.pop()], 1)))
            return x[..., :n]

    return Net()


def wav2vec() -> nn.Module:
    """A stack of convolutions without padding: 20 samples a step, of 38 that are read."""
    sizes = ((6, 5), (4, 2), (4, 2))
    made: list[nn.Module] = []
    for k, (kernel, stride) in enumerate(sizes):
        made += [nn.Conv1d(3 if k else 1, 3, kernel, stride), nn.GELU()]
    return nn.Sequential(*made)


def cut() -> nn.Module:
    """Outputs are cut off and padded again: the end changes some whose reads have all arrived."""
    first = Trimmed(causal(1, 2, 3), 0, 2)
    return nn.Sequential(first, nn.Conv1d(2, 1, 3, padding=1))


def mirror() -> nn.Module:
    """The first output reads, by reflection, what lies far behind its own place."""
    reflected = Padded(nn.Conv1d(1, 1, 8, 8), 7, 0, "reflect")
    return nn.Sequential(nn.Conv1d(1, 1, 9, padding=4), reflected)


def tail() -> nn.Module:
    """Takes no signal as short as what an output reads, for the reflection at its end."""
    return Padded(nn.Conv1d(1, 1, 1), 0, 6, "reflect")


def blocks() -> nn.Module:
    """Asks for whole blocks of 8 samples, though its strides come to 2, and reflects at both ends."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 4, 2)
            self.last = Padded(nn.Conv1d(2, 1, 3), 1, 1, "reflect")

        def forward(self, x: Tensor) -> Tensor:
            x = F.pad(x, (0, -x.shape[-1] % 8))
            return self.last(torch.tanh(self.conv(F.pad(x, (2, 2), mode="reflect"))))

    return Net()


def folded() -> nn.Module:
    """The first outputs read ahead, by reflection, what the end of a short signal has changed."""
    first = Trimmed(nn.Identity(), 0, 4)
    again = nn.ConstantPad1d((0, 4), 0.0)
    return nn.Sequential(first, again, Padded(nn.Conv1d(1, 1, 4), 3, 0, "reflect"))


def silent() -> nn.Module:
    """The first outputs read nothing, and are there only in signals that are as long."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(F.pad(x, (2, 0)))
            y[..., :5] = 0
            return y

    return Net()


def rests() -> nn.Module:
    """Of all ends only those after 32 to 34 of 40 samples change an output whose reads have arrived."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fives, self.eights = nn.Conv1d(1, 1, 4, 5), nn.Conv1d(1, 1, 8, 8)

        def forward(self, x: Tensor) -> Tensor:
            x = self.fives(F.pad(x[..., : x.shape[-1] // 5 * 5], (7, 0)))
            return self.eights(F.pad(x, (0, -x.shape[-1] % 8)))

    return Net()


def random_net(random: Random) -> nn.Module:
    """A few layers of any kind; it may be one that no signal fits, or that can't be streamed."""
    net = nn.Sequential(*[_layer(random) for _ in range(random.randint(1, 5))])
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.tensor([random.uniform(-1, 1) for _ in range(p.numel())]).view(p.shape))
    return net


C = 2


def _layer(random: Random) -> nn.Module:
    kind = random.choice(
        "conv conv conv pad pad down whole up up trim pool nearest linear residual shuffle norm skip".split()
    )
    k, d = random.randint(1, 5), random.choice((1, 1, 2, 3))
    reach = (k - 1) * d
    if kind == "conv":
        return nn.Sequential(nn.Conv1d(C, C, k, dilation=d), nn.Tanh())
    if kind == "pad":
        left = random.randint(0, reach + 1)
        mode = random.choice(("constant", "reflect", "replicate"))
        return Padded(nn.Conv1d(C, C, k, dilation=d), left, max(0, reach - left), mode)
    if kind == "down":
        stride = random.choice((1, 2, 2, 3))
        return nn.Conv1d(C, C, k, stride, padding=random.randint(0, k - 1))
    if kind == "whole":
        stride = random.choice((2, 3))
        mode = random.choice(("constant", "reflect", "replicate"))
        return Padded(nn.Conv1d(C, C, k, stride), random.randint(0, k), 0, mode, whole=True)
    if kind == "up":
        stride = random.choice((2, 2, 3))
        extra = random.randint(0, stride - 1)
        return nn.ConvTranspose1d(
            C, C, k, stride, padding=random.randint(0, k // 2), output_padding=extra
        )
    if kind == "trim":
        return Trimmed(nn.Identity(), random.randint(0, 2), random.randint(0, 2))
    if kind == "pool":
        stride = random.choice((1, 2, 3))
        size = random.randint(1, 4)
        padding = random.randint(0, size // 2)
        if random.random() < 0.5:
            return nn.MaxPool1d(size, stride, padding, ceil_mode=random.random() < 0.5)
        return nn.AvgPool1d(
            size,
            stride,
            padding,
            ceil_mode=random.random() < 0.5,
            count_include_pad=random.random() < 0.5,
        )
    if kind == "nearest":
        return nn.Upsample(scale_factor=random.choice((2, 3)), mode="nearest")
    if kind == "linear":
        return nn.Upsample(scale_factor=2, mode="linear", align_corners=False)
    if kind == "residual":
        same = Padded(nn.Conv1d(C, C, k, dilation=d), reach // 2, reach - reach // 2)
        return Residual(nn.Identity(), same)
    if kind == "skip":
        ahead = random.randint(0, 3)
        late = Padded(nn.Conv1d(C, C, 1), random.randint(0, 3), 0)
        return Residual(Trimmed(nn.Identity(), ahead, 0), late)
    if kind == "shuffle":
        if random.random() < 0.5:
            return nn.Sequential(nn.Conv1d(C, 2 * C, 1), Shuffle(2, up=True))
        return nn.Sequential(Shuffle(2, up=False), nn.Conv1d(2 * C, C, 1))
    return ChannelNorm(C)

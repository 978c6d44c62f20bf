"""The networks of the race against peers: each a module whose output is its last feature map."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

__all__ = ["NETS", "Net"]


class Net(NamedTuple):
    """``build(side)`` gives the module for square inputs of that side; ``period``: phases of its units.

    ``fixed`` networks take only the size that they were built for.
    """

    title: str
    build: Callable[[int], nn.Module]
    period: int = 1
    fixed: bool = False


def _torchvision(name: str, *parts: str) -> Callable[[int], nn.Module]:
    """The parts of a model that make its last feature map, one after the other."""

    def build(_: int) -> nn.Module:
        model = torchvision.models.get_model(name, weights=None)
        return nn.Sequential(*(getattr(model, part) for part in parts)) if parts else model.features

    return build


def _googlenet(_: int) -> nn.Module:
    """Everything up to the global pool; the two auxiliary heads hang off the side and are not run."""
    model = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False)
    children = dict(model.named_children())
    return nn.Sequential(
        *(m for name, m in children.items() if name not in ("avgpool", "dropout", "fc"))
    )


def _two(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(outside, outside, 3, padding=1),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Two 3x3 convolutions a level, 2x2 pooling, nearest upsampling, skips by concatenation."""

    def __init__(self, depth: int = 3, width: int = 8) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(depth + 1)]
        self.down = nn.ModuleList(
            _two(inside, outside) for inside, outside in zip([3, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.rise = nn.Upsample(scale_factor=2, mode="nearest")
        self.up = nn.ModuleList(_two(3 * w, w) for w in reversed(widths[:-1]))

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level in self.down[:-1]:
            kept.append(level(x))
            x = self.pool(kept[-1])
        x = self.down[-1](x)
        for level in self.up:
            x = level(torch.cat([self.rise(x), kept.pop()], dim=1))
        return x


def _patchgan(_: int) -> nn.Module:
    """The discriminator of 4x4 convolutions with three of stride 2: its field is 70."""
    layers: list[nn.Module] = []
    inside = 3
    for outside, stride in ((64, 2), (128, 2), (256, 2), (512, 1), (1, 1)):
        layers += [nn.Conv2d(inside, outside, 4, stride, 1), nn.LeakyReLU(0.2)]
        inside = outside
    return nn.Sequential(*layers[:-1])


def _dilated(_: int) -> nn.Module:
    """3x3 convolutions with dilations 1 to 32."""
    layers: list[nn.Module] = []
    inside = 3
    for dilation in (1, 2, 4, 8, 16, 32):
        layers += [nn.Conv2d(inside, 16, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        inside = 16
    return nn.Sequential(*layers)


class ViT(nn.Module):
    """A small vision transformer; its tokens are put back into a map [batch, 64, side/16, side/16]."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.vit = torchvision.models.VisionTransformer(side, 16, 4, 4, 64, 128)

    def forward(self, x: Tensor) -> Tensor:
        vit = self.vit
        tokens = vit._process_input(x)
        tokens = torch.cat([vit.class_token.expand(x.shape[0], -1, -1), tokens], dim=1)
        out: Tensor = vit.encoder(tokens)[:, 1:].transpose(1, 2)
        return out.reshape(x.shape[0], 64, x.shape[2] // 16, x.shape[3] // 16)


RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")

NETS: dict[str, Net] = {
    "alexnet": Net("AlexNet", _torchvision("alexnet")),
    "vgg16": Net("VGG-16", _torchvision("vgg16")),
    "resnet18": Net("ResNet-18", _torchvision("resnet18", *RESNET)),
    "resnet50": Net("ResNet-50", _torchvision("resnet50", *RESNET)),
    "googlenet": Net("GoogLeNet", _googlenet),
    "densenet121": Net("DenseNet-121", _torchvision("densenet121")),
    "mobilenet_v2": Net("MobileNet v2", _torchvision("mobilenet_v2")),
    "unet": Net("U-Net of depth 3", lambda _: UNet(), period=8),
    "patchgan": Net("PatchGAN", _patchgan),
    "dilated": Net("dilated 3×3 convolutions", _dilated),
    "vit": Net("ViT", ViT, fixed=True),
}

"""The effective receptive field over images against a plain script that runs them whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import eyeshot
from benchmarks.measure import Ratio, note

__all__ = ["erf_images"]

IMAGES = 50
#: Sums of float32 in another order.
EQUAL = 1e-5


class Case(NamedTuple):
    """A ResNet-18's ``layer`` on images of ``side`` pixels."""

    what: str
    layer: str
    side: int
    aim: float


# The centre unit of layer2 has a field of 99 x 99, that of layer3 211 x 211, that of layer4 435 x 435.
CASES = (
    Case("a field of a quarter of the image's side (99 of 396)", "layer2", 396, 0.25),
    Case("a field of a quarter of the image's area (211² of 422²)", "layer3", 422, 0.25),
    Case("a field larger than the image (435 of 224)", "layer4", 224, 1),
)


def plain(head: Any, images: Any) -> np.ndarray:
    """RepLKNet's protocol, image by image, each run whole up to the layer."""
    import torch

    total = 0.0
    for image in images.split(1):
        x = image.clone().requires_grad_()
        out = head(x)
        central = out[:, :, out.shape[2] // 2, out.shape[3] // 2]
        (grad,) = torch.autograd.grad(torch.relu(central).sum(), x)
        total = total + torch.relu(grad).sum((0, 1)).numpy().astype(np.float64)
    return np.asarray(total / len(images))


def erf_images(quick: bool) -> list[Ratio]:
    """CPU time of ``eyeshot.erf`` to that of the plain script, and how far the maps are apart."""
    import torch
    import torchvision

    torch.manual_seed(0)
    module = torchvision.models.resnet18().eval()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for case in CASES for row in _race(module, case, quick)]
    finally:
        torch.set_num_threads(threads)


def _race(module: Any, case: Case, quick: bool) -> list[Ratio]:
    import torch
    from torchvision.models.feature_extraction import create_feature_extractor

    head = create_feature_extractor(module, {case.layer: "out"})
    shape = (1, 3, case.side, case.side)
    images = np.random.default_rng(0).standard_normal((3 if quick else IMAGES, *shape[1:]))
    images = images.astype(np.float32)
    tensors = torch.from_numpy(images)

    def ours() -> np.ndarray:
        # The analysis is part of it.
        found = eyeshot.erf(
            module,
            shape,
            layer=case.layer,
            data=images,
            samples=len(images),
            protocol="positive",
        )
        return np.asarray(found.map)

    contenders: dict[str, Callable[[], np.ndarray]] = {
        "plain": lambda: plain(lambda x: head(x)["out"], tensors),
        "eyeshot": ours,
    }
    best: dict[str, float] = {}
    maps = {}
    for _ in range(1 if quick else 2):
        for name, run in contenders.items():
            begin = time.process_time()
            maps[name] = run()
            taken = time.process_time() - begin
            best[name] = min(taken, best.get(name, taken))
    for name, taken in best.items():
        note(f"{case.what}, {name}: {taken:.2f} s")
    apart = float(np.abs(maps["plain"] - maps["eyeshot"]).max() / maps["plain"].max())
    return [
        Ratio(f"{case.what}: eyeshot, to the script", best["eyeshot"] / best["plain"], case.aim),
        Ratio(f"{case.what}: largest difference, to the largest value", apart, EQUAL, ""),
    ]

"""The nine graphs that the onnx package ships: published values, and the tables against poisoning.

The runs here are few probes each, of all layers; ``python -m benchmarks.onnx_verify`` makes a complete one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx.backend.test
import pytest

import eyeshot

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = (
    "bvlc_alexnet densenet121 inception_v1 inception_v2 resnet50 shufflenet squeezenet vgg19 zfnet512"
).split()


def light(name: str) -> Path:
    return FOLDER / f"light_{name}.onnx"


def test_none_is_left_out() -> None:
    assert {path.name for path in FOLDER.glob("*.onnx")} == {light(name).name for name in NAMES}


def stack(*layers: tuple[int, int, int]) -> list[tuple[int, float, float]]:
    """Size, jump and centre of the first unit by the article's formulas, of (kernel, stride, padding)."""
    size, jump, start = 1, 1, 0.5
    out = []
    for kernel, stride, padding in layers:
        size += (kernel - 1) * jump
        start += ((kernel - 1) / 2 - padding) * jump
        jump *= stride
        out.append((size, jump, start))
    return out


#: The convolutions and pools of networks that are chains.
CHAINS: dict[str, list[tuple[int, int, int]]] = {
    "bvlc_alexnet": [
        (11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0),
    ],
    "zfnet512": [
        (7, 2, 0), (3, 2, 0), (5, 2, 0), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (2, 2, 0),
    ],
    "vgg19": [
        layer
        for convolutions in (2, 2, 4, 4, 4)
        for layer in [(3, 1, 1)] * convolutions + [(2, 2, 0)]
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_by_the_formulas(name: str) -> None:
    report = eyeshot.analyze(light(name))
    found = [x for x in report if x.op in ("Conv", "MaxPool")]
    for layer, expected in zip(found, stack(*CHAINS[name]), strict=True):
        n, jump, start = expected
        assert (layer.size, layer.jump, layer.start) == ((n, n), (jump, jump), (start, start)), (
            layer
        )


def test_alexnet_is_the_articles() -> None:
    """Sizes, jumps and centres; the file's image is 224 wide, not 227, which cuts one pixel of the maps."""
    report = eyeshot.analyze(light("bvlc_alexnet"))
    found = [x for x in report if x.op in ("Conv", "MaxPool")]
    assert [(x.size[0], x.jump[0], float(x.start[0])) for x in found] == [
        (11, 4, 5.5), (19, 8, 9.5), (51, 8, 9.5), (67, 16, 17.5),
        (99, 16, 17.5), (131, 16, 17.5), (163, 16, 17.5), (195, 32, 33.5),
    ]  # fmt: skip


def last(report: eyeshot.Report, size: int) -> Any:
    """The last layer of maps so wide."""
    return [x for x in report if len(x.shape) == 4 and x.shape[2] == size][-1]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # As published of torchvision's: this file too has the stride in the 3x3 convolutions.
        ("resnet50", {14: (267, 16, 133), 7: (427, 32, 213)}),
        # VGG-16 is published as 212, 32, 90; one more convolution at the jumps 4, 8 and 16.
        ("vgg19", {7: (212 + 2 * 28, 32, 90 + 28)}),
    ],
)
def test_published_values(name: str, values: dict[int, tuple[int, int, int]]) -> None:
    report = eyeshot.analyze(light(name))
    for width, expected in values.items():
        layer = last(report, width)
        assert (layer.size[0], layer.jump[0], layer.padding[0]) == expected


def test_densenet_is_torchvisions() -> None:
    """The same network in another framework: block by block the same fields."""
    ours = eyeshot.analyze(light("densenet121"))
    theirs = eyeshot.analyze("torchvision:densenet121", (1, 3, 224, 224))
    mine = [(x.size, x.jump, x.start, x.padding, x.shape) for x in ours if x.op == "Conv"]
    real = [(x.size, x.jump, x.start, x.padding, x.shape) for x in theirs if x.op == "conv2d"]
    # The file's classifier is a convolution too.
    assert mine[:-1] == real and len(real) == 120


#: Few, and more of the graphs that take little time.
PROBES = {"squeezenet": 16, "shufflenet": 16, "inception_v1": 12}


@pytest.mark.parametrize("name", NAMES)
def test_table_against_poisoning(name: str) -> None:
    report = eyeshot.analyze(light(name))
    assert report.status == "exact", report.diagnostics
    result = eyeshot.verify(light(name), probes=PROBES.get(name, 4), report=report)
    assert result.ok, str(result)
    assert len(result.layers) == min(len(report), 401)
    assert not result.bounds and not result.not_shown
    assert result.pinned >= 0.02 * result.ends


@pytest.mark.parametrize("name", ["squeezenet", "densenet121"])
def test_at_another_size(name: str) -> None:
    """Graphs that end in a global pool take any image: all positions of a small one."""
    sides = {"squeezenet": (1, 3, 35, 47), "densenet121": (1, 3, 33, 40)}[name]
    result = eyeshot.verify(light(name), sides, probes=40)
    assert result.ok, str(result)

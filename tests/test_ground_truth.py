"""Values that others have published; every number here is theirs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import networks
import pytest

import eyeshot

# --- the article

FIVE_BY_FIVE = {"layer1": (3, 3, 2, 0.5), "layer2": (2, 7, 4, 0.5)}
ALEXNET = {
    "conv1": (55, 11, 4, 5.5),
    "pool1": (27, 19, 8, 9.5),
    "conv2": (27, 51, 8, 9.5),
    "pool2": (13, 67, 16, 17.5),
    "conv3": (13, 99, 16, 17.5),
    "conv4": (13, 131, 16, 17.5),
    "conv5": (13, 163, 16, 17.5),
    "pool5": (6, 195, 32, 33.5),
    "fc6-conv": (1, 355, 32, 113.5),
    "fc7-conv": (1, 355, 32, 113.5),
}
FIVE_BY_FIVE_SPEC = {"layer1": [3, 2, 1], "layer2": [3, 2, 1]}
ALEXNET_SPEC = {
    "conv1": [11, 4, 0],
    "pool1": [3, 2, 0],
    "conv2": [5, 1, 2],
    "pool2": [3, 2, 0],
    "conv3": [3, 1, 1],
    "conv4": [3, 1, 1],
    "conv5": [3, 1, 1],
    "pool5": [3, 2, 0],
    "fc6-conv": [6, 1, 0],
    "fc7-conv": [1, 1, 0],
}


@pytest.mark.parametrize(
    ("source", "size", "axes", "expected"),
    [
        (FIVE_BY_FIVE_SPEC, 5, 1, FIVE_BY_FIVE),
        (FIVE_BY_FIVE_SPEC, (1, 1, 5, 5), 2, FIVE_BY_FIVE),
        ("example:five-by-five", None, 2, FIVE_BY_FIVE),
        (ALEXNET_SPEC, 227, 1, ALEXNET),
        (ALEXNET_SPEC, "227x227", 2, ALEXNET),
        ("example:alexnet", None, 2, ALEXNET),
        ("example:alexnet", (1, 3, 227, 227), 2, ALEXNET),
    ],
)
def test_article(source: Any, size: Any, axes: int, expected: dict[str, tuple]) -> None:
    report = eyeshot.analyze(source, input=size)
    assert [layer.name for layer in report] == list(expected)
    for layer in report:
        n, r, j, start = expected[layer.name]
        assert [field.n for field in layer.fields] == [n] * axes
        assert layer.size == (r,) * axes
        assert layer.jump == (j,) * axes
        assert layer.start == (Fraction(start),) * axes


def test_article_errata() -> None:
    """The code of the article re-centres the padding, and says 1.5."""
    (start,) = eyeshot.analyze({"conv1": [7, 2, 3]}, input=224)["conv1"].start
    assert start == Fraction(1, 2)


# --- Distill, "Computing Receptive Fields": size / jump / effective padding of the last layer at 224


@pytest.mark.parametrize(
    ("spec", "size", "jump", "padding"),
    [
        pytest.param(networks.alexnet_v2(224), 195, 32, 64, id="alexnet_v2"),
        pytest.param(networks.vgg(224, (1, 1, 2, 2, 2)), 150, 32, 59, id="vgg_a"),
        pytest.param(networks.vgg(224, (2, 2, 3, 3, 3)), 212, 32, 90, id="vgg_16"),
        pytest.param(networks.inception_v2(224), 699, 32, 318, id="inception_v2"),
        pytest.param(networks.inception_v3(224), 1311, 32, 618, id="inception_v3"),
        pytest.param(networks.inception_v4(224), 2071, 32, 998, id="inception_v4"),
        pytest.param(networks.inception_resnet_v2(224), 3039, 32, 1482, id="inception_resnet_v2"),
        pytest.param(networks.mobilenet_v1(224), 315, 32, 126, id="mobilenet_v1"),
        pytest.param(networks.resnet_v1(224, (3, 4, 6, 3)), 483, 32, 239, id="resnet_v1_50"),
        pytest.param(networks.resnet_v1(224, (3, 4, 23, 3)), 1027, 32, 511, id="resnet_v1_101"),
        pytest.param(networks.resnet_v1(224, (3, 8, 36, 3)), 1507, 32, 751, id="resnet_v1_152"),
        pytest.param(networks.resnet_v1(321, (3, 4, 6, 3)), 483, 32, 241, id="resnet_v1_50-321"),
    ],
)
def test_distill(spec: Any, size: int, jump: int, padding: int) -> None:
    report = eyeshot.analyze(spec)
    layer = report[-1]
    assert report.status == "exact"
    assert (layer.size, layer.jump, layer.padding) == ((size,) * 2, (jump,) * 2, (padding,) * 2)
    # Their convention counts from pixel indices: center = -padding + (size - 1) / 2.
    assert layer.start == (Fraction(size - 1, 2) - padding + Fraction(1, 2),) * 2


@pytest.mark.parametrize(
    ("example", "layer", "size", "jump", "padding"),
    [
        ("vgg16", "pool5", 212, 32, 90),
        ("inception-v3-mixed", "Mixed_7c", 1311, 32, 618),
        ("resnet18", "layer3.1.add", 211, 16, 105),  # torchvision
        ("resnet18", "layer4.1.add", 435, 32, 217),
        ("resnet50", "layer3.5.add", 267, 16, 133),
        ("resnet50", "layer4.2.add", 427, 32, 213),
        ("resnet50", "layer4.2.conv3", 427, 32, 213),
        ("fpn", "layer3.1.add", 211, 16, 105),
        ("fpn", "layer4.1.add", 435, 32, 217),
    ],
)
def test_examples(example: str, layer: str, size: int, jump: int, padding: int) -> None:
    found = eyeshot.analyze(f"example:{example}")[layer]
    assert (found.size, found.jump, found.padding) == ((size,) * 2, (jump,) * 2, (padding,) * 2)


def two_branches(pad: int) -> dict[str, Any]:
    return {
        "input": [1, 32, 32],
        "layers": {
            "one": {"op": "conv", "kernel": 1, "stride": 4, "padding": "valid"},
            "pad": {"op": "pad", "padding": [[pad, 0], [pad, 0]], "inputs": "input"},
            "three": {"op": "conv", "kernel": 3, "stride": 2, "padding": "valid"},
            "two": {"op": "conv", "kernel": 1, "stride": 2, "padding": "valid"},
            "sum": {"op": "add", "inputs": ["one", "two"]},
        },
    }


def test_distill_aligned() -> None:
    report = eyeshot.analyze(two_branches(pad=1))
    assert report["one"].start == report["two"].start
    total = report["sum"]
    assert (total.size, total.jump, total.padding) == ((3, 3), (4, 4), (1, 1))


def test_distill_misaligned() -> None:
    report = eyeshot.analyze(two_branches(pad=0))
    assert report["one"].start == (Fraction(1, 2),) * 2
    assert report["two"].start == (Fraction(3, 2),) * 2


def test_distill_rectangular() -> None:
    """5 (x) by 7 (y), jump 4; height comes first here."""
    net = networks.Net([1, 64, 64])
    net.conv(net.conv("input", [3, 5], 2, "valid"), [3, 1], 2, "valid")
    layer = eyeshot.analyze(net.spec)[-1]
    assert (layer.size, layer.jump) == ((7, 5), (4, 4))


# --- PatchGAN, U-Net


@pytest.mark.parametrize(("strided", "size"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_patchgan(strided: int, size: int) -> None:
    assert eyeshot.analyze(networks.patchgan(512, strided))[-1].size == (size, size)


def test_patchgan_example() -> None:
    assert eyeshot.analyze("example:patchgan")[-1].size == (70, 70)


UNET = [(1, 9, 8), (2, 23, 22), (3, 51, 46), (4, 107, 94), (5, 219, 190)]


@pytest.mark.parametrize(("depth", "extent", "halo"), UNET)
def test_unet(depth: int, extent: int, halo: int) -> None:
    grid = 2**depth
    layer = eyeshot.analyze(networks.unet(64 * grid, depth))[-1]
    units = range(16 * grid, 48 * grid)
    boxes = {i: layer.box((i,))[0] for i in units}
    assert max(max(i - begin, end - (i + 1)) for i, (begin, end) in boxes.items()) == extent

    edge = 32 * grid  # of a tile; other tiles are the same, the phases begin anew at each
    before = max(edge - boxes[i][0] for i in units if i >= edge)
    behind = max(boxes[i][1] - edge for i in units if i < edge)
    assert (before, behind) == (halo, halo)


@pytest.mark.parametrize(("depth", "extent", "halo"), UNET)
def test_unet_inside_the_image(depth: int, extent: int, halo: int) -> None:
    """The same from the exact hulls, away from the borders."""
    grid = 2**depth
    hulls = eyeshot.analyze(networks.unet(64 * grid, depth))[-1].boxes()[:, 0]
    units = range(16 * grid, 48 * grid)
    assert max(max(i - hulls[i, 0], hulls[i, 1] - (i + 1)) for i in units) == extent
    edge = 32 * grid
    assert edge - hulls[edge:, 0].min() == halo
    assert hulls[:edge, 1].max() - edge == halo


def test_unet_example() -> None:
    """Depth 4, both axes."""
    layer = eyeshot.analyze("example:unet")["head"]
    canvas = layer.fields[0].canvas
    assert canvas is not None
    assert (canvas.period, canvas.advance) == (16, 16)
    each = [max(i - canvas.at(i)[0], canvas.at(i)[1] - i - 1) for i in range(16)]
    assert max(each) == 107


# --- one axis


def test_wavenet() -> None:
    report = eyeshot.analyze("example:wavenet")
    assert report["out2"].size == (1024,)
    assert report["out2"].box((5000,)) == ((5000 - 1023, 5001),)


def test_tcn() -> None:
    assert eyeshot.analyze(networks.tcn(4000, kernel=4, blocks=7))[-1].size == (763,)


def test_sincnet() -> None:
    layer = eyeshot.analyze(networks.sincnet(80_000))[-1]
    assert (layer.size, layer.jump) == ((991,), (270,))

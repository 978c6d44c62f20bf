"""The boxes that the page shows are the library's, for any unit of any layer."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

import eyeshot
from eyeshot.examples import names
from eyeshot.views.web.page import page

ASK = """async ([content, asked]) => {
  const { Page } = await import("eyeshot/model.js");
  const page = new Page(JSON.parse(content));
  const text = (n) => (Number.isFinite(n) ? n : String(n));
  return asked.map(([layer, unit]) => {
    const at = page.layers[layer];
    const hulls = [at.box(unit), at.inside(unit)];
    return [...hulls.map((one) => one.map((hull) => hull.map(text))), at.centre(unit).map(text)];
  });
}"""

ONE_AXIS = {
    "input": [1, 99],
    "layers": {
        "a": {"op": "conv", "kernel": 5, "stride": 3, "dilation": 2, "padding": 1},
        "b": {"op": "conv_transpose", "kernel": 4, "stride": 2},
        "c": {"op": "max_pool", "kernel": 3, "stride": 2},
    },
}
RECURRENT = {
    "input": [1, 60],
    "layers": {
        "a": {"op": "conv", "kernel": 5, "stride": 2, "dilation": 2, "padding": 4},
        "b": {"op": "gru", "channels": 4},
        "c": {"op": "conv", "kernel": 3, "stride": 2},
        "d": {"op": "lstm", "channels": 4, "bidirectional": True},
    },
}
THREE_AXES = {
    "input": [1, 9, 20, 16],
    "layers": {
        "a": {"op": "conv", "kernel": [3, 5, 1], "stride": [1, 2, 2], "padding": [1, 2, 0]},
        "b": {"op": "upsample", "scale": 2, "mode": "linear"},
        "c": {"op": "conv", "kernel": 3, "padding": 1, "padding_mode": "reflect"},
    },
}
SEVERAL = {
    "inputs": {"a": [3, 32, 24], "b": [3, 16, 12]},
    "layers": {
        "one": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1, "inputs": "a"},
        "two": {"op": "conv", "kernel": 5, "padding": 2, "inputs": "b"},
        "both": {"op": "concat", "inputs": ["one", "two"]},
        "last": {"op": "conv", "kernel": 3, "inputs": "both"},
    },
}


def swin() -> Any:
    from torchvision.models import SwinTransformer

    return SwinTransformer([2, 2], 8, [2, 2], [1, 2], [4, 4])


def vit() -> Any:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, 2, 2, 32, 32)


def light() -> Path:
    """One of the graphs that onnx brings."""
    import onnx.backend.test

    folder = Path(onnx.backend.test.__file__).parent / "data" / "light"
    return folder / "light_inception_v1.onnx"


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        *((f"example:{name}", None) for name in names()),
        ("torchvision:resnet50", "3x224x224"),
        ("torchvision:densenet121", "3x224x224"),
        ("torchvision:efficientnet_b0", "3x224x224"),
        ("torchvision:deeplabv3_resnet50", "3x96x128"),
        (swin, "3x36x40"),
        (vit, "3x64x64"),
        (light, None),
        (ONE_AXIS, None),
        (RECURRENT, None),
        (THREE_AXES, None),
        (SEVERAL, None),
    ],
)
def test_boxes_are_the_reports(model: Any, analyzed: Any, source: Any, shape: str | None) -> None:
    if isinstance(source, str):
        report = analyzed(source, shape)
    else:
        report = eyeshot.analyze(source() if callable(source) else source, shape)
    units = asked(report, 150, seed=len(report))
    found = model.evaluate(ASK, [json.dumps(page(report)), units])
    for (k, at), (box, inside, centre) in zip(units, found, strict=True):
        layer = report[k]
        where = (layer.name, at)
        assert box == [[text(a), text(b)] for a, b in layer.box(at)], where
        exact = layer.boxes()[tuple(at)].tolist()
        assert [h if h[0] < h[1] else [0, 0] for h in inside] == exact, where
        assert centre == [text(c) for c in layer.centres(at)], where


def asked(report: eyeshot.Report, count: int, seed: int) -> list[tuple[int, list[int]]]:
    """Units of random layers, the last one and corners among them."""
    dice = random.Random(seed)
    out = []
    for each in range(count):
        k = dice.randrange(len(report)) if each else len(report) - 1
        sizes = [report[k].shape[d] for d in report[k].unit_dims]
        unit = [dice.choice((0, n - 1, dice.randrange(n), dice.randrange(n))) for n in sizes]
        out.append((k, unit))
    return out


def text(n: Any) -> Any:
    if math.isfinite(n):
        return float(n)
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(n, "NaN")

"""The way through: what the page says a unit reads of another layer, against the library's relative fields."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

import pytest

import eyeshot
from eyeshot.analysis.report import Layer
from eyeshot.api import relative
from eyeshot.core.graph import LayerMark
from eyeshot.views.web.page import page
from tests.web.test_web_boxes import swin

ASK = """async ([content, asked]) => {
  const { Page } = await import("eyeshot/model.js");
  const { way } = await import("eyeshot/way.js");
  const page = new Page(JSON.parse(content));
  return asked.map(([layer, other, unit]) => {
    const found = way(page, page.layers[layer], unit).get(other);
    return found ? [found.hulls, found.global, found.exact && found.known] : null;
  });
}"""

DILATED = {
    "input": [1, 30, 26],
    "layers": {
        "a": {"op": "conv", "kernel": 3, "dilation": 4, "padding": 4},
        "b": {"op": "conv", "kernel": 3, "padding": 1, "padding_mode": "reflect", "stride": 2},
        "c": {"op": "conv_transpose", "kernel": 2, "stride": 3},
        "d": {"op": "upsample", "scale": 2, "mode": "linear"},
        "e": {"op": "conv", "kernel": 3, "dilation": 3, "padding": 3, "stride": 2},
    },
}


@cache
def _relative(report: eyeshot.Report, other: int) -> eyeshot.Report:
    return relative(report._graph, report[other], report[other].name, "")


def truth(report: eyeshot.Report, number: int, other: int, unit: list[int]) -> Any:
    """Per unit dim of the other layer the exact local hull; None where nothing can be read."""
    rest = _relative(report, other)
    layer = report[number]
    if layer._value not in rest._states:
        return None
    found = Layer(rest, LayerMark(layer.name, layer.op, layer._value))
    # Boxes are united over dims that tell no units apart relative to the other layer.
    if found.is_global or set(found.unit_dims) != set(layer.unit_dims):
        return "global"
    at = tuple(unit[layer.unit_dims.index(d)] for d in found.unit_dims)
    return found.boxes()[at].tolist()


@pytest.mark.parametrize(
    ("source", "shape", "least"),
    [
        (DILATED, None, 1.0),
        ("example:unet", None, 1.0),
        ("example:inception-v3-mixed", None, 1.0),
        ("torchvision:deeplabv3_resnet50", "3x64x96", 0.95),
        (swin, "3x36x40", 0.4),
    ],
)
def test_the_way_is_exact(
    model: Any, analyzed: Any, source: Any, shape: str | None, least: float
) -> None:
    if isinstance(source, str):
        report = analyzed(source, shape)
    else:
        report = eyeshot.analyze(source() if callable(source) else source, shape)
    compare(model, report, least)


def compare(tab: Any, report: eyeshot.Report, least: float) -> None:
    dice = random.Random(8)
    others = dice.sample(range(len(report) - 1), min(8, len(report) - 1))
    asked = []
    for _ in range(80):
        other = dice.choice(others)
        number = dice.randrange(other + 1, len(report))
        sizes = [report[number].shape[d] for d in report[number].unit_dims]
        asked.append((number, other, [dice.choice((0, n - 1, dice.randrange(n))) for n in sizes]))
    told = exact = 0
    shown = tab.evaluate(ASK, [json.dumps(page(report)), asked])
    for (number, other, unit), got in zip(asked, shown, strict=True):
        want = truth(report, number, other, unit)
        where = (report[number].name, report[other].name, unit)
        if want == "global":
            continue
        if want is None or got is None:
            assert got is None and (want is None or all(a == b for a, b in want)), where
            continue
        told += 1
        exact += got[2]
        if got[2]:
            assert got[0] == want, where
        else:
            for (a, b), (low, high) in zip(want, got[0], strict=True):
                assert a == b or (low <= a and b <= high), where
    assert told > 20 and exact >= least * told

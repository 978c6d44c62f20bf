"""Three slices of a volume: boxes, numbers and places of any unit are the report's."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
import torch

import eyeshot

AXES = ((1, 2, 0), (1, 0, 2), (0, 2, 1))


def small() -> torch.nn.Sequential:
    """Strides that differ from axis to axis, and a step up again: two phases along each."""
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 2, (3, 5, 5), (1, 2, 2), padding=(1, 2, 2)),
        torch.nn.Conv3d(2, 2, 3, 2, padding=1),
        torch.nn.ConvTranspose3d(2, 2, 2, 2),
        torch.nn.Conv3d(2, 1, 3, padding=1),
    )


SHOWN = """async (asked) => {
  const { app } = await import("eyeshot/main.js");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const out = [];
  for (const [layer, unit] of asked) {
    app.store.choose(layer, unit);
    // Slices of another size are laid out first.
    for (let k = 0; k < 4; k += 1) await frame();
    const seen = (element) => element && element.getAttribute("visibility") !== "hidden";
    const slices = [...document.querySelectorAll("#field .volume-ground .volume-slice")].map((slice) => {
      const pane = slice.querySelector(".pane");
      const frame = slice.querySelector(".pane-frame");
      const rect = (element) => ["x", "y", "width", "height"].map((key) => Number(element.getAttribute(key)));
      const clipped = slice.querySelector(".mark-clipped");
      const box = slice.querySelector(".mark-box");
      return {
        axes: slice.dataset.axes, at: Number(pane.dataset.at),
        title: slice.querySelector(".volume-title").textContent,
        clipped: seen(clipped) ? [clipped.dataset.hull, rect(clipped)] : null,
        frame: rect(frame), box: seen(box) ? box.dataset.hull : null,
      };
    });
    const marks = [...document.querySelectorAll("#field .volume-map .mark-unit")];
    const said = document.querySelector("#field .readout").textContent;
    const box = document.querySelector("#field .sketch-box");
    const units = marks.map((mark) => mark.dataset.unit);
    out.push({ slices, units, said, sketch: seen(box) ? box.dataset.hull : null });
  }
  return out;
}"""


def flat(text: str) -> list[list[float]]:
    values = [float(n) for n in text.split(",")]
    return [values[k : k + 2] for k in range(0, len(values), 2)]


@pytest.mark.parametrize("name", ["small", "r3d_18"])
def test_slices_are_the_reports(opened: Any, name: str) -> None:
    if name == "small":
        report = eyeshot.analyze(small(), (1, 1, 12, 40, 32))
    else:
        report = eyeshot.analyze("torchvision:r3d_18", "3x16x112x112")
    tab = opened(report)
    dice = random.Random(name)
    maps = [k for k, layer in enumerate(report) if len(layer.unit_dims) == 3]
    asked = []
    for _ in range(6):
        k = dice.choice(maps)
        sizes = [report[k].shape[d] for d in report[k].unit_dims]
        asked.append((k, [dice.choice((0, n - 1, dice.randrange(n))) for n in sizes]))
    extent = [report.inputs[0]["shape"][axis] for axis in report.inputs[0]["axes"]]
    for (k, unit), shown in zip(asked, tab.evaluate(SHOWN, asked), strict=True):
        layer = report[k]
        where = json.dumps([layer.name, unit, shown])
        box = layer.box(unit)
        inside = layer.boxes()[tuple(unit)].tolist()
        centre = layer.centres(unit)
        assert flat(shown["sketch"]) == [list(map(float, hull)) for hull in box], where
        assert shown["units"] == [",".join(map(str, unit))] * 3, where
        for low, high in box:
            assert f"[{low:g}, {high:g})".replace("-", "−") in shown["said"], where
        for (down, right, fixed), slice in zip(AXES, shown["slices"], strict=True):
            at = min(extent[fixed] - 1, max(0, math.floor(centre[fixed])))
            assert (slice["at"], slice["axes"]) == (at, f"{down},{right},{fixed}"), where
            assert slice["title"].endswith(f"at {'zyx'[fixed]} = {at}"), where
            if not inside[fixed][0] <= at < inside[fixed][1]:
                assert slice["clipped"] is None and slice["box"] is None, where
                continue
            hulls, place = slice["clipped"]
            assert flat(hulls) == [inside[down], inside[right]], where
            # From pixels: the frame is the input, and all axes have one scale.
            x, y, width, height = slice["frame"]
            scale = width / extent[right]
            assert scale == pytest.approx(height / extent[down], rel=0.02), where
            expected = (
                x + inside[right][0] * scale,
                y + inside[down][0] * scale,
                (inside[right][1] - inside[right][0]) * scale,
                (inside[down][1] - inside[down][0]) * scale,
            )
            for found, wanted in zip(place, expected, strict=True):
                assert found == pytest.approx(wanted, abs=max(2.0 - 0.5 * scale, 0.1)), where


STATE = """async () => {
  const { app } = await import("eyeshot/main.js");
  const { unit, hover, layer, pinned } = app.store.state;
  return { unit, hover, layer, pinned: Boolean(pinned) };
}"""


def test_keys_and_pointer_in_slices(opened: Any) -> None:
    tab = opened(small(), (1, 1, 12, 40, 32))
    slices = tab.locator("#field .volume-map .pane.slice")
    assert slices.count() == 3
    slices.first.focus()
    z, y, x = tab.evaluate(STATE)["unit"]
    for key, unit in {
        "ArrowRight": [z, y, x + 1],
        "ArrowUp": [z, y - 1, x + 1],
        ".": [z + 1, y - 1, x + 1],
        "Home": [z + 1, y - 1, 0],
    }.items():
        tab.keyboard.press(key)
        assert tab.evaluate(STATE)["unit"] == unit, key
    assert "Unit 7, 9, 0: z" in tab.text_content("#say")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')").endswith(
        "y downwards, z to the right"
    )
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(STATE)["unit"] == [z + 2, y - 1, 0]
    slices.nth(2).scroll_into_view_if_needed()
    slices.nth(2).hover()
    hover = tab.evaluate(STATE)["hover"]
    assert hover is not None and hover[1] == y - 1
    tab.mouse.down()
    tab.mouse.up()
    state = tab.evaluate(STATE)
    assert (state["unit"], state["pinned"]) == (hover, True)

"""The field view: what is written and drawn of a unit is what the report says of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import eyeshot

Open = Callable[..., Any]

MAP = "#field .pane.map"
GROUND = "#field .pane.ground"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
STATE = """async () => {
  const { app } = await import("eyeshot/main.js");
  const { layer, unit, hover, pinned } = app.store.state;
  return { layer, unit, hover, pinned };
}"""
CHOOSE = """async ([layer, unit, more]) => {
  const { app } = await import("eyeshot/main.js");
  app.store.choose(layer, unit);
  app.store.set(more);
}"""
FRAME = """(pane) => {
  const box = pane.querySelector(".pane-frame").getBBox();
  const from = pane.getBoundingClientRect();
  return [from.x + box.x, from.y + box.y, box.width, box.height];
}"""
SHAPE = """(mark) => {
  const box = mark.getBBox();
  const from = mark.ownerSVGElement.getBoundingClientRect();
  return [from.x + box.x, from.y + box.y, from.x + box.x + box.width, from.y + box.y + box.height];
}"""
CELLS = """() => [...document.querySelectorAll("#field .readout tbody tr")].map(
  (row) => [...row.cells].map((cell) => cell.textContent))"""


def choose(tab: Any, layer: int, unit: list[int] | None = None, **more: Any) -> None:
    tab.evaluate(CHOOSE, [layer, unit, more])
    tab.evaluate(FRAMES)


def frame(tab: Any, pane: str) -> tuple[float, float, float, float]:
    """Left, top, width and height on the screen of what a pane shows: the whole input or map."""
    tab.locator(pane).scroll_into_view_if_needed()
    left, top, width, height = tab.locator(pane).evaluate(FRAME)
    return left, top, width, height


def at(tab: Any, pane: str, cell: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[float, float]:
    """Where on the screen the middle of a cell is."""
    left, top, width, height = frame(tab, pane)
    return left + (cell[1] + 0.5) * width / sizes[1], top + (cell[0] + 0.5) * height / sizes[0]


def point(tab: Any, pane: str, cell: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    tab.mouse.move(*at(tab, pane, cell, sizes))
    tab.evaluate(FRAMES)


def written(tab: Any) -> list[list[str]]:
    """The cells of the numbers' table, one list per axis."""
    rows: list[list[str]] = tab.evaluate(CELLS)
    return rows


def number(value: float) -> str:
    text = f"{abs(value):.3f}".rstrip("0").rstrip(".")
    return f"−{text}" if value < 0 else text


def hull(pair: Any) -> str:
    return f"[{number(pair[0])}, {number(pair[1])})" if pair[0] < pair[1] else "nothing"


def drawn(tab: Any, mark: str) -> list[list[float]] | None:
    """The hulls of a mark as it was last drawn; None where it is hidden."""
    found = tab.locator(f"#field .{mark}")
    if found.get_attribute("visibility") == "hidden":
        return None
    flat = [float(n) for n in found.get_attribute("data-hull").split(",")]
    return [flat[:2], flat[2:]]


def check(tab: Any, layer: Any, unit: tuple[int, ...]) -> None:
    """What stands in the table and in the drawing is what the library says."""
    box, inside = layer.box(unit), layer.boxes()[unit]
    rows = written(tab)
    assert [row[1] for row in rows] == [hull(b) for b in box], unit
    assert [row[2] for row in rows] == [hull(b) for b in inside], unit
    assert [row[4] for row in rows] == [number(c) for c in layer.centres(unit)], unit
    assert drawn(tab, "mark-box") == [[float(a), float(b)] for a, b in box], unit
    local = [(max(0, a), min(n, b)) for (a, b), n in zip(box, layer_extent(layer), strict=True)]
    if not layer.is_global:
        local = [tuple(b) for b in inside.tolist()]
    assert drawn(tab, "mark-clipped") == [list(map(float, b)) for b in local], unit


def layer_extent(layer: Any) -> list[int]:
    source = layer._report.to_dict()["inputs"][0]
    return [source["shape"][axis] for axis in source["axes"]]


def test_hover_and_keys_show_the_report(opened: Open) -> None:
    report = eyeshot.analyze("example:alexnet")
    tab = opened(report)
    k = next(k for k, layer in enumerate(report) if layer.name == "conv2")
    layer = report[k]
    sizes = (layer.shape[2], layer.shape[3])
    choose(tab, k)
    for unit in ((0, 0), (5, 17), (sizes[0] - 1, sizes[1] - 1)):
        point(tab, MAP, unit, sizes)
        check(tab, layer, unit)

    # A click pins; then pointing elsewhere changes nothing, until a second click.
    tab.mouse.click(*at(tab, MAP, (4, 6), sizes))
    point(tab, MAP, (9, 9), sizes)
    assert tab.evaluate(STATE) == {"layer": k, "unit": [4, 6], "hover": None, "pinned": True}
    check(tab, layer, (4, 6))
    tab.mouse.click(*at(tab, MAP, (4, 6), sizes))
    point(tab, MAP, (9, 9), sizes)
    check(tab, layer, (9, 9))
    tab.mouse.move(2, 2)
    tab.evaluate(FRAMES)
    check(tab, layer, (4, 6))

    # A finger: where it goes down, where it moves, where it is lifted.
    session = tab.context.new_cdp_session(tab)
    for kind, cell in (("touchStart", (1, 2)), ("touchMove", (3, 5)), ("touchEnd", None)):
        spot = at(tab, MAP, cell, sizes) if cell else None
        points = [{"x": spot[0], "y": spot[1]}] if spot else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        tab.evaluate(FRAMES)
        check(tab, layer, cell or (3, 5))
    assert tab.evaluate(STATE) == {"layer": k, "unit": [3, 5], "hover": None, "pinned": True}
    tab.evaluate(
        "async () => (await import('eyeshot/main.js')).app.store.set({ unit: [4, 6], pinned: false })"
    )

    # From there by keys, each with its step.
    tab.locator(MAP).focus()
    unit = (4, 6)
    last = sizes[1] - 1
    for key, unit in (
        ("ArrowRight", (4, 7)),
        ("ArrowDown", (5, 7)),
        ("Shift+ArrowDown", (15, 7)),
        ("Shift+ArrowUp", (5, 7)),
        ("Shift+ArrowUp", (0, 7)),
        ("End", (0, last)),
        ("ArrowRight", (0, last)),
        ("Home", (0, 0)),
        ("Control+End", (sizes[0] - 1, last)),
    ):
        tab.keyboard.press(key)
        tab.evaluate(FRAMES)
        check(tab, layer, unit)
    (top, bottom), (left, right) = layer.box(unit)
    said = tab.locator("#say").text_content()
    assert said.startswith(f"Unit {unit[0]}, {unit[1]}: rows {number(top)} to {number(bottom)} (")
    assert f"columns {number(left)} to {number(right)} (" in said
    tab.keyboard.press("PageDown")
    assert tab.evaluate(STATE)["layer"] == k + 1


def test_the_drawing_is_to_scale(opened: Open) -> None:
    from PIL import Image

    report = eyeshot.analyze("example:alexnet")
    tab = opened(report)
    layer = report["conv3"]
    k = [one.name for one in report].index("conv3")
    unit = (0, 6)
    choose(tab, k, list(unit))
    left, top, width, _ = frame(tab, GROUND)
    (r0, r1), (c0, c1) = layer.box(unit)
    n = layer_extent(layer)[0]
    scale = width / n
    want = [left + c0 * scale, top + r0 * scale, left + c1 * scale, top + r1 * scale]
    assert r0 < 0 < c0  # reaches outside at the top only
    assert tab.locator("#field .mark-box").evaluate(SHAPE) == pytest.approx(want, abs=0.1)
    inside = [want[0], top, want[2], want[3]]
    assert tab.locator("#field .mark-clipped").evaluate(SHAPE) == pytest.approx(inside, abs=0.1)

    # As the screen shows it: filled inside the input, paper beside it, an edge of the box in the padding.
    screen = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    filled = screen.getpixel((round(want[0]) + 6, round(want[3]) - 6))
    beside = screen.getpixel((round(want[0]) - 6, round(want[3]) - 6))
    below = screen.getpixel((round(want[0]) + 6, round(want[3]) + 6))
    assert beside == below == (255, 255, 255)
    assert filled[2] > filled[0] + 20
    edge = [screen.getpixel((x, round(want[1]))) for x in range(round(want[0]), round(want[2]))]
    assert any(r > g + 60 and r > b + 60 for r, g, b in edge)

    # Zoomed, the box is larger, and the same in the input's units.
    before = drawn(tab, "mark-box")
    choose(tab, 0, [20, 20], zoom=True)
    (a, b), (c, d) = json.loads(tab.locator(GROUND).get_attribute("data-region"))
    assert (b - a, d - c) == (20, 20)
    check(tab, report[0], (20, 20))
    assert before == [[float(r0), float(r1)], [float(c0), float(c1)]]
    box = tab.locator("#field .mark-box").evaluate(SHAPE)
    assert box[2] - box[0] > 150  # 11 of 227 pixels


def test_phases_centres_and_the_inverse(opened: Open) -> None:
    report = eyeshot.analyze("example:unet", 64)
    tab = opened(report)
    layer = report[-1]
    k = len(report) - 1
    sizes = (layer.shape[2], layer.shape[3])
    boxes = layer.boxes()
    period = layer.fields[0].canvas.period
    assert period == 16
    choose(tab, k, [0, 0])
    for unit in ((3, 12), (20, 37), (63, 8)):
        point(tab, MAP, unit, sizes)
        check(tab, layer, unit)
        assert [row[6] for row in written(tab)] == [f"{i % period} of {period}" for i in unit]

    # The units that read a pixel: their number, and which.
    for pixel in ((0, 0), (31, 7), (63, 63)):
        point(tab, GROUND, pixel, (64, 64))
        row, column = pixel
        reads = (
            (boxes[..., 0, 0] <= row)
            & (row < boxes[..., 0, 1])
            & (boxes[..., 1, 0] <= column)
            & (column < boxes[..., 1, 1])
        )
        note = tab.locator("#field .plane-ground .pane-note").text_content()
        assert (
            note
            == f"Row {row}, column {column}: in the field of {reads.sum()} of {reads.size} units"
        )
        shown = tab.locator("#field .mark-readers").evaluate(SHAPE)
        left, top, width, height = frame(tab, MAP)
        rows, columns = (np.flatnonzero(reads.any(axis=axis)) for axis in (1, 0))
        want = [
            left + columns[0] * width / 64,
            top + rows[0] * height / 64,
            left + (columns[-1] + 1) * width / 64,
            top + (rows[-1] + 1) * height / 64,
        ]
        assert shown == pytest.approx(want, abs=0.1)

    # A click on the input goes to the unit centred nearest; by keys the same.
    tab.mouse.click(*at(tab, GROUND, (40, 21), (64, 64)))
    tab.evaluate(FRAMES)
    centres = layer.centres()
    unit = tuple(tab.evaluate(STATE)["unit"])
    off = abs(centres - (40.5, 21.5)).sum(axis=-1)
    assert off[unit] == off.min()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Shift+ArrowRight")
    said = tab.locator("#say").text_content()
    assert said.startswith("Row 39, column 31: in the field of ")
    tab.keyboard.press("Enter")
    off = abs(centres - (39.5, 31.5)).sum(axis=-1)
    assert off[tuple(tab.evaluate(STATE)["unit"])] == off.min()

    # Dots: all of a small map, some of a large one.
    tab.locator("#field [data-mark=centres]").click()
    small = next(i for i, one in enumerate(report) if one.shape[2] == 8)
    for number_, most in ((small, 64), (k, 4000)):
        choose(tab, number_)
        dots = int(tab.locator("#field .pane-centres").get_attribute("data-count"))
        assert (dots == 64) if most == 64 else (500 < dots <= most)
    # Marks can be put away.
    tab.locator("#field [data-mark=box]").click()
    tab.evaluate(FRAMES)
    assert drawn(tab, "mark-box") is None
    assert drawn(tab, "mark-clipped") is not None


def test_the_way_is_that_of_the_library(opened: Open) -> None:
    report = eyeshot.analyze("example:alexnet")
    tab = opened(report)
    names = [one.name for one in report]
    k = names.index("conv5")
    choose(tab, k, [2, 11])
    steps = tab.locator("#field .plane-step")
    assert 2 <= steps.count() <= 3
    for step in steps.all():
        through = names[int(step.get_attribute("data-layer"))]
        unit = report.unit("conv5", (2, 11), of=through)
        assert json.loads(step.get_attribute("data-hulls")) == [list(b) for b in unit.clipped]
    # Others can be chosen, and taken away again.
    choose(tab, k, [2, 11], through=[names.index("conv3")])
    assert steps.count() == 1
    assert steps.get_attribute("data-layer") == str(names.index("conv3"))


def test_tokens_global_and_no_unit_dims(opened: Open) -> None:
    from torchvision.models.vision_transformer import VisionTransformer

    model = VisionTransformer(112, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
    report = eyeshot.analyze(model.eval(), "3x112x112")
    tab = opened(report)
    names = [one.name for one in report]
    k = names.index("encoder.ln")
    layer = report[k]
    choose(tab, k, [30])
    check(tab, layer, (30,))
    # 49 patches in rows of 7 after the class token, which has a row of its own.
    left, top, width, height = frame(tab, MAP)
    box = tab.locator("#field .mark-unit").evaluate(SHAPE)
    row, column = divmod(30 - 1, 7)
    middle = [left + (column + 0.5) * width / 7, top + (row + 1.5) * height / 8]
    assert [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] == pytest.approx(middle, abs=0.2)
    tab.locator(MAP).focus()
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate(STATE)["unit"] == [37]
    tab.keyboard.press("Control+Home")
    assert tab.evaluate(STATE)["unit"] == [0]
    assert tab.locator("#field .mark-global").get_attribute("visibility") is None
    # The head has no unit dims: one unit for all.
    choose(tab, len(report) - 1)
    check(tab, report[-1], ())
    assert tab.locator("#field .readout-unit").text_content() == "One unit for all of the input"
    tab.locator(MAP).focus()
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate(STATE)["unit"] == []


def test_a_global_field_keeps_its_local_one(opened: Open) -> None:
    report = eyeshot.analyze("torchvision:efficientnet_b0", "3x224x224")
    tab = opened(report)
    names = [one.name for one in report]
    k = names.index("features.3.0.block.1.0")
    layer = report[k]
    assert layer.is_global
    choose(tab, k, [9, 3])
    check(tab, layer, (9, 3))
    assert written(tab)[0][2] == "[0, 224)"
    assert tab.locator("#field .mark-global").get_attribute("visibility") is None
    assert "global" in tab.locator("#field .readout-badges").text_content()
    # A layer before the first gate is not.
    choose(tab, 0, [9, 3])
    assert not report[0].is_global
    assert tab.locator("#field .mark-global").get_attribute("visibility") == "hidden"
    assert tab.locator("#field .readout-badges").text_content() == ""
    # A box too large for what is shown is cut, and says where it ends.
    last = names.index("features.8.0")
    choose(tab, last, [3, 3])
    (top, bottom), _ = report[last].box((3, 3))
    words = tab.locator("#field .mark-word.box:not([visibility])").all_text_contents()
    assert f"▲ {number(top)}" in words
    assert f"▼ {number(bottom)}" in words


def test_an_own_image(opened: Open) -> None:
    from PIL import Image

    tab = opened("example:five-by-five")
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = (0, 200, 0)  # the middle square of it
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    drop = """async ([name, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], name));
      const target = document.querySelector("#field .pane.ground");
      for (const kind of ["dragover", "drop"]) {
        target.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
      }
    }"""
    tab.evaluate(drop, ["<img src=x onerror=alert(1)>.txt", list(b"not an image")])
    tab.wait_for_selector("#field .image-said:not([hidden])")
    assert "<img" in tab.locator("#field .image-said").text_content()
    tab.evaluate(drop, ["own.png", list(buffer.getvalue())])
    tab.wait_for_selector("#field .pane-image")
    tab.get_by_role("button", name="Dim the rest").click()
    tab.locator("#field [data-mark=clipped]").click()
    left, top, width, height = frame(tab, GROUND)
    shown = tab.locator("#field .pane-image").evaluate(
        "(e) => { const image = new Image(); image.src = e.getAttribute('href'); return image.decode(); }"
    )
    assert shown is None
    tab.evaluate(FRAMES)
    screen = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    # The shorter side fits, the rest is cut off: the middle square fills the input, to its corners.
    for x in (0.05, 0.97):
        for y in (0.05, 0.97):
            r, g, b = screen.getpixel((int(left + x * width), int(top + y * height)))
            assert g > r + 60 and g > b + 60
    tab.get_by_role("button", name="Remove image").click()
    tab.evaluate(FRAMES)
    assert tab.locator("#field .pane-image").count() == 0


def test_layers_are_found_by_name(opened: Open) -> None:
    hostile = "<img src=x onerror=alert(1)>" * 12
    layers = [
        {"name": "a", "op": "conv", "kernel": 3},
        {"name": hostile, "op": "conv", "kernel": 3, "stride": 2},
        {"name": "zz", "op": "conv", "kernel": 3},
    ]
    tab = opened({"axes": 2, "layers": layers}, 24)
    field = tab.locator("#field [role=combobox]").first
    field.click()
    assert tab.locator("#field [role=option]").count() == 3
    field.fill("onerror")
    assert tab.locator("#field [role=option]").count() == 1
    tab.keyboard.press("Enter")
    assert tab.evaluate(STATE)["layer"] == 1
    assert field.input_value() == hostile
    assert tab.locator("#field img").count() == 0
    wide = tab.locator("#field").evaluate("(e) => e.scrollWidth - e.clientWidth")
    assert wide <= 0
    tab.get_by_role("button", name="Next layer").click()
    assert tab.evaluate(STATE)["layer"] == 2
    # The entries of the unit take numbers, and refuse others.
    entry = tab.locator("#field .unit-entries input").first
    entry.fill("2")
    assert tab.evaluate(STATE)["unit"][0] == 2
    entry.fill("200")
    assert tab.evaluate(STATE)["unit"][0] == 2
    entry.blur()
    assert entry.input_value() == "2"


def test_mounted_twice(opened: Open) -> None:
    tab = opened("example:alexnet")
    tab.evaluate(
        """async () => {
          const { app } = await import("eyeshot/main.js");
          const { Store } = await import("eyeshot/store.js");
          const field = await import("eyeshot/field.js");
          const place = document.createElement("div");
          document.querySelector("main").append(place);
          const store = new Store({ ...app.store.state, layer: 0, unit: [7, 8] });
          field.mount(place, { ...app, store });
        }"""
    )
    tab.evaluate(FRAMES)
    heads = tab.locator(".readout-unit")
    assert heads.all_text_contents() == ["Unit (0, 0) of 1 × 1", "Unit (7, 8) of 55 × 55"]
    ids = tab.evaluate("() => [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_several_inputs(opened: Open) -> None:
    import torch

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = torch.nn.Conv2d(1, 4, 3, padding=1)
            self.heard = torch.nn.Conv1d(1, 4, 5)

        def forward(self, image: torch.Tensor, sound: torch.Tensor) -> torch.Tensor:
            return self.seen(image) * self.heard(sound).mean(2)[:, :, None, None]

    report = eyeshot.analyze(Two().eval(), {"image": "1x1x12x16", "sound": "1x1x200"})
    tab = opened(report)
    names = [one.name for one in report]
    shown = tab.locator("#field .field-view:not([hidden])")
    # A layer that reads one of them shows that one, whatever was shown before.
    for name, source, axes in (("seen", "0", "2"), ("heard", "1", "1"), ("seen", "0", "2")):
        choose(tab, names.index(name))
        assert tab.locator("#field select").input_value() == source
        assert shown.get_attribute("data-axes") == axes
    assert not tab.locator("#field .readout-badges").text_content()
    # The other can be asked for all the same; there it reads nothing.
    tab.locator("#field select").select_option("1")
    assert tab.locator("#field .readout-badges").text_content() == "reads nothing of this input"


def test_context_along_one_axis_or_of_some_units_alone(opened: Open) -> None:
    """Where not all of the input is read, the page does not say so: the drawn frame is the exact hull."""
    import torch

    class Rows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = torch.nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = x.mean(3, keepdim=True)
            return torch.cat([self.c(x) + mean, torch.zeros(1, 1, 2, 10)], 2)

    report = eyeshot.analyze(Rows().eval(), (1, 1, 12, 10))
    layer = report[-1]
    assert [field.is_global for field in layer.fields] == [False, True]
    tab = opened(report)
    badges = tab.locator("#field .readout-badges")
    for unit in ((5, 4), (0, 9)):
        choose(tab, len(report) - 1, list(unit))
        read = np.argwhere(report.unit(layer.name, unit).mask)
        (top, left), (bottom, right) = read.min(axis=0), read.max(axis=0) + 1
        assert drawn(tab, "mark-global") == [[top, bottom], [left, right]]
        far = f"{bottom - top} × {right - left}"
        assert badges.text_content() == f"global along columns: with context, its field is {far}"
    # A unit of that layer that is made from nothing.
    choose(tab, len(report) - 1, [13, 4])
    assert badges.text_content() == "reads nothing of this input"
    assert drawn(tab, "mark-global") is None
    # Whose field a pixel lies in, locally and in all.
    point(tab, GROUND, (3, 7), (12, 10))
    note = tab.locator("#field .plane-ground .pane-note").text_content()
    boxes = layer.boxes()
    whole = ((boxes[..., 0] <= (3, 7)) & (boxes[..., 1] > (3, 7))).all(axis=-1).sum()
    text = f"in the local field of 9 of 140 units, with global context of {whole}"
    assert note == f"Row 3, column 7: {text}"
    # The summary does not say that the whole input is read.
    summary = tab.locator("#facts .stats").inner_text()
    assert "Reads the whole input" not in summary and "axis 3 (columns)" in summary


def test_what_the_page_does_not_know_it_says(opened: Open) -> None:
    """Of a long input: a border that folds back, and which units read a pixel."""
    conv = {"op": "conv", "kernel": 5, "padding": 2}
    report = eyeshot.analyze(
        {"input": [1, 40_000, 4], "layers": {"a": conv, "b": {**conv, "padding_mode": "circular"}}}
    )
    assert report["b"].box((0, 0))[0] == (-4, 40_000)
    tab = opened(report)
    choose(tab, 0, [0, 0])
    assert [row[1:3] for row in written(tab)] == [["[−2, 3)", "not in this file"]] * 2
    point(tab, GROUND, (0, 0), (40_000, 4))
    note = tab.locator("#field .plane-ground .pane-note").text_content()
    assert note.endswith(": in whose field it lies is not in this file")
    choose(tab, 1, [0, 0])
    cells = {tuple(row[1:5]) for row in written(tab)}
    assert cells == {("not in this file", "not in this file", "–", "not in this file")}
    words = tab.locator("#field .step-word").all_text_contents()
    assert words and set(words) == {"not in this file"}

"""The growth of the field: the numbers and the layer named are the report's, by pointer and by keyboard."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch

import eyeshot


class Recurrent(torch.nn.Module):
    """A strided convolution, an LSTM whose past has no end, and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 4, 5, 2, padding=2)
        self.lstm = torch.nn.LSTM(4, 4, batch_first=True)
        self.head = torch.nn.Conv1d(4, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(self.conv(x).transpose(1, 2))
        out: torch.Tensor = self.head(y.transpose(1, 2))
        return out


#: The vertical scale, from what the ticks say, and what is drawn: the chosen layer's mark, the line.
DRAWN = """async () => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const all = (what) => [...document.querySelectorAll(`#growth .growth-picture ${what}`)];
  const number = (text) => Number(text.textContent.replaceAll(",", ""));
  const ticks = all(".growth-axes text[text-anchor=end]:not(.growth-title)");
  const mark = all(".chosen circle")[0];
  return {
    ticks: ticks.map((text) => [number(text), Number(text.getAttribute("y")) - 4]),
    chosen: mark && [Number(mark.getAttribute("cx")), Number(mark.getAttribute("cy"))],
    inputs: all(".growth-input line").map((line) => [line.dataset.length, line.getAttribute("y1")].map(Number)),
    lines: all(".growth-most").map((path) => path.getAttribute("d")),
    first: all(".growth-first").map((mark) => Number(mark.dataset.layer)),
    readout: document.querySelector("#growth .growth-readout").textContent,
    pressed: document.querySelector("#growth .segments [aria-pressed=true]").textContent,
  };
}"""
CHOOSE = (
    """async (k) => { const { app } = await import("eyeshot/main.js"); app.store.choose(k); }"""
)
STATE = """async () => {
  const { app } = await import("eyeshot/main.js");
  return [app.store.state.layer, app.store.state.pointed];
}"""


def sizes(report: eyeshot.Report) -> list[tuple[int, float, int]]:
    """``(layer, size, length of the axis)`` of all fields on the first axis of the input."""
    (axis, *_) = report.inputs[0]["axes"]
    length = report.inputs[0]["shape"][axis]
    return [(k, f.size, length) for k, x in enumerate(report) for f in x.fields if f.axis == axis]


@pytest.mark.parametrize("source", ["example:resnet50", "example:wavenet", "recurrent"])
def test_the_layer_named_is_the_first_past_the_input(opened: Any, source: str) -> None:
    given = (Recurrent(), (1, 1, 400)) if source == "recurrent" else (source,)
    report = eyeshot.analyze(*given)
    tab = opened(report)
    past = [k for k, size, length in sizes(report) if size > length]
    named = tab.locator("#growth .growth-crossing .growth-name").first
    if past:
        assert int(named.get_attribute("data-layer")) == past[0]
        assert named.text_content() == report[past[0]].name
        assert tab.evaluate(DRAWN)["first"] == [past[0]]
        named.click()
        assert tab.evaluate(STATE)[0] == past[0]
    else:
        assert "The field grows to" in tab.text_content("#growth .growth-crossing")
        largest = max(size for _, size, _ in sizes(report))
        assert f"{largest:,}" in tab.text_content("#growth .growth-crossing")
    assert report.inputs[0]["name"] and tab.locator("#growth svg[role=img]").get_attribute(
        "aria-label"
    )


@pytest.mark.parametrize("scale", ["Linear", "Log"])
def test_what_is_drawn_stands_at_its_number(opened: Any, scale: str) -> None:
    report = eyeshot.analyze("example:resnet50")
    tab = opened(report)
    tab.click(f"#growth .segments button:has-text('{scale}')")
    turn = math.log if scale == "Log" else float
    dice = random.Random(scale)
    seen = {}
    for k in dice.sample(range(len(report) - 8), 6):
        tab.evaluate(CHOOSE, k)
        drawn = tab.evaluate(DRAWN)
        assert drawn["pressed"] == scale
        ticks = [(turn(value), y) for value, y in drawn["ticks"] if scale == "Linear" or value]
        (a, ya), (b, yb) = ticks[0], ticks[-1]
        value = turn(report[k].fields[0].size)
        seen[k] = drawn["chosen"][0]
        assert drawn["chosen"][1] == pytest.approx(ya + (value - a) / (b - a) * (yb - ya), abs=0.05)
        for length, y in drawn["inputs"]:
            assert length == 224
            assert y == pytest.approx(ya + (turn(length) - a) / (b - a) * (yb - ya), abs=0.05)
        assert f"size {report[k].fields[0].size}" in drawn["readout"]
    order = sorted(seen)
    assert [seen[k] for k in order] == sorted(seen.values())


def test_pointer_and_keys_choose_layers(opened: Any) -> None:
    report = eyeshot.analyze("example:resnet50")
    tab = opened(report)
    cursor = tab.locator("#growth .growth-cursor")
    cursor.focus()
    start, _ = tab.evaluate(STATE)
    tab.keyboard.press("ArrowLeft")
    assert tab.evaluate(STATE) == [start, start - 1]
    tab.keyboard.press("Shift+ArrowLeft")
    assert tab.evaluate(STATE) == [start, start - 11]
    name = report[start - 11].name
    tab.wait_for_function(
        "(text) => document.querySelector('.growth-cursor').getAttribute('aria-valuetext').startsWith(text)",
        arg=f"{name}, layer {start - 10}: size {report[start - 11].fields[0].size}",
    )
    tab.keyboard.press("Enter")
    assert tab.evaluate(STATE)[0] == start - 11
    assert name in tab.text_content("#say")
    tab.keyboard.press("Home")
    assert tab.evaluate(STATE)[1] == 0
    place = cursor.bounding_box()
    cursor.click(position={"x": place["width"] - 9, "y": 40})
    assert tab.evaluate(STATE)[0] == len(report) - 1
    tab.mouse.move(2, 2)
    assert tab.evaluate(STATE)[1] is None


def test_another_network_is_a_second_line(opened: Any) -> None:
    tab = opened("example:resnet50")
    before = len(tab.evaluate(DRAWN)["lines"])
    tab.evaluate("""async () => {
      const { app } = await import("eyeshot/main.js");
      const { Page } = await import("eyeshot/model.js");
      const content = structuredClone(app.store.state.page.content);
      content.title = "<img src=x onerror=alert(1)> the other";
      app.store.set({ compare: new Page(content) });
    }""")
    assert (before, len(tab.evaluate(DRAWN)["lines"])) == (1, 2)
    legend = tab.text_content("#growth .growth-legend")
    assert "the other" in legend and "<img" in legend
    assert tab.locator("#growth img").count() == 0
    assert tab.locator("#growth .growth-crossing .other").count() == 1


def test_a_layer_without_a_rate_has_its_size_beside_its_context(opened: Any) -> None:
    import torch

    class Beside(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = torch.cat([x[:, :, 1:] + x[:, :, :-1], x[:, :, ::2]], 2)
            return both * both.mean(2, keepdim=True)

    report = eyeshot.analyze(Beside(), (1, 1, 10))
    field = report[-1].fields[0]
    assert field.is_global and field.jump is None and field.dim is not None
    tab = opened(report)
    mark = tab.locator("#growth .growth-hair .chosen")
    tab.evaluate(CHOOSE, len(report) - 1)
    tab.evaluate(DRAWN)
    assert mark.get_attribute("data-size") == str(field.size)

"""The time line: the numbers and the drawing of any unit are the report's, in samples and in ms."""

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


def codec() -> torch.nn.Sequential:
    """Strides of 2, 4 and 5 down and up again: fields differ from phase to phase."""
    down = [torch.nn.Conv1d(1, 1, 2 * k, k, padding=k // 2) for k in (2, 4, 5)]
    up = [torch.nn.ConvTranspose1d(1, 1, 2 * k, k, padding=k // 2) for k in (5, 4, 2)]
    return torch.nn.Sequential(*down, *up)


class Late(torch.nn.Module):
    """A causal convolution with a stride, as codecs have them."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.pad, self.conv = stride, torch.nn.Conv1d(1, 1, 2 * stride, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(torch.nn.functional.pad(x, (self.pad, 0)))
        return out


#: For each [layer, unit]: the table's cells, and what is drawn, from pixels back to samples.
SHOWN = """async (asked) => {
  const { app } = await import("eyeshot/main.js");
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const stage = document.querySelector("#field .time-stage");
  const out = [];
  for (const [layer, unit] of asked) {
    app.store.choose(layer, unit);
    await frame();
    await frame();
    const { from, to, left, width } = JSON.parse(stage.dataset.view);
    const samples = (x) => from + ((x - left) / width) * (to - from);
    const part = (name) => {
      const rect = stage.querySelector(`.time-marks [data-part=${name}]`);
      if (!rect) return null;
      const [x, wide] = ["x", "width"].map((key) => Number(rect.getAttribute(key)));
      return { hull: rect.dataset.hull, ends: [samples(x), samples(x + wide)], wide };
    };
    const table = [...document.querySelectorAll("#field .time-table td[data-key]")];
    const cells = Object.fromEntries(table.map((cell) => [cell.dataset.key, cell.textContent]));
    const centre = stage.querySelector("[data-part=centre]");
    out.push({
      cells, box: part("box"), clipped: part("clipped"), view: [from, to], pixel: (to - from) / width,
      centre: centre && samples(Number(/^M([-\\d.]+)/.exec(centre.getAttribute("d"))[1])),
      verdict: document.querySelector("#field .time-verdict").textContent,
    });
  }
  return out;
}"""


def number(n: float) -> str:
    if not math.isfinite(n):
        return "∞" if n > 0 else "−∞"
    text = f"{abs(n):.3f}".rstrip("0").rstrip(".")
    return f"−{text}" if n < 0 else text


def hull(pair: Any) -> str:
    low, high = pair
    return f"[{number(low)}, {number(high)})" if low < high else "nothing"


def ms(text: str) -> float:
    return float(text.removesuffix(" ms").replace(",", "").replace("−", "-"))


def check(report: eyeshot.Report, tab: Any, rate: float, count: int) -> None:
    dice = random.Random(count)
    asked = []
    for _ in range(count):
        k = dice.randrange(len(report))
        n = report[k].fields[0].n
        asked.append((k, [dice.choice((0, n - 1, dice.randrange(n)))]))
    for (k, (i,)), shown in zip(asked, tab.evaluate(SHOWN, asked), strict=True):
        layer, cells = report[k], shown["cells"]
        where = (layer.name, i, shown)
        ((low, high),) = layer.box((i,))
        (inside,) = layer.boxes()[i].tolist()
        (centre,) = layer.centres((i,))
        jump = layer.jump[0]
        assert cells["box"] == hull((low, high)), where
        assert cells["inside"] == hull(inside), where
        assert cells["size"] == number(high - low), where
        assert cells["centre"] == number(centre), where
        assert cells["past"] == number(i * jump - low), where
        assert cells["lookahead"] == number(high - (i + 1) * jump), where
        assert cells["latency"] == number(high - i * jump), where
        period = layer.fields[0].canvas.period
        assert cells["phase"] == (f"{i % period} of {period}" if period > 1 else "–"), where
        assert ms(cells["latency-time"]) == pytest.approx(1000 * (high - i * jump) / rate, rel=6e-4)
        drawn(shown, "box", (low, high), where)
        drawn(shown, "clipped", inside, where)
        assert shown["centre"] == pytest.approx(centre, abs=shown["pixel"] * 0.02), where


def drawn(shown: Any, part: str, pair: Any, where: Any) -> None:
    """The rectangle stands where its numbers say, but for what is not seen and a least width."""
    low, high = pair
    found = shown[part]
    if low >= high:
        assert found is None, where
        return
    assert [number(float(n)) for n in found["hull"].split(",")] == [number(low), number(high)], (
        where
    )
    if found["wide"] <= 3:
        assert sum(found["ends"]) / 2 == pytest.approx((low + high) / 2, abs=shown["pixel"]), where
        return
    for end, value in zip(found["ends"], (low, high), strict=True):
        if shown["view"][0] <= value <= shown["view"][1]:
            assert end == pytest.approx(value, abs=shown["pixel"] * 0.05), where
        else:
            assert not shown["view"][0] < end < shown["view"][1], where


def test_numbers_and_drawing_are_the_reports_wavenet(opened: Any) -> None:
    report = eyeshot.analyze("example:wavenet")
    tab = opened(report, rate=16000)
    check(report, tab, 16000, 12)
    plan = eyeshot.stream_plan("example:wavenet", rate=16000)
    (last,) = tab.evaluate(SHOWN, [(len(report) - 1, [9000])])
    assert last["cells"]["lookahead"] == str(plan.lookahead) == "0"
    assert last["cells"]["latency"] == str(plan.latency) == "1"
    assert last["cells"]["latency-time"] == "0.0625 ms"
    assert last["verdict"].startswith("Causal")


def test_numbers_and_drawing_are_the_reports_lstm(opened: Any) -> None:
    report = eyeshot.analyze(Recurrent(), (1, 1, 400))
    tab = opened(report, rate=44100)
    check(report, tab, 44100, 8)
    (last,) = tab.evaluate(SHOWN, [(len(report) - 1, [100])])
    assert last["cells"]["box"].startswith("[−∞,")
    assert tab.locator("#field .time-fade").count() == 3


def test_numbers_and_drawing_are_the_reports_codec(opened: Any) -> None:
    report = eyeshot.analyze(codec(), (1, 1, 800))
    check(report, opened(report, rate=22050), 22050, 14)


def test_latency_is_that_of_the_stream(opened: Any) -> None:
    encoder = torch.nn.Sequential(*[Late(stride) for stride in (2, 4, 5)])
    plan = eyeshot.stream_plan(encoder, (1, 1, 2000), rate=24000)
    report = eyeshot.analyze(encoder, (1, 1, 2000))
    tab = opened(report, rate=24000)
    (last,) = tab.evaluate(SHOWN, [(len(report) - 1, [9])])
    assert last["cells"]["latency"] == str(plan.latency) == "40"
    assert last["cells"]["lookahead"] == "0"
    assert ms(last["cells"]["latency-time"]) == pytest.approx(plan.latency_ms, rel=1e-3)


STATE = """async () => {
  const { app } = await import("eyeshot/main.js");
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const { unit, hover, layer, rate } = app.store.state;
  const { from, to } = JSON.parse(document.querySelector("#field .time-stage").dataset.view);
  return { unit, hover, layer, rate, wide: to - from, from };
}"""


def test_keys_pointer_zoom_and_rate(opened: Any) -> None:
    tab = opened("example:wavenet")
    tab.locator("#field .time-stage").scroll_into_view_if_needed()
    tab.focus("#field .time-stage")
    start = tab.evaluate(STATE)
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(STATE)["unit"] == [start["unit"][0] + 1]
    assert f"Unit {start['unit'][0] + 1}" in tab.text_content("#say")
    tab.keyboard.press("End")
    assert tab.evaluate(STATE)["unit"] == [15999]
    tab.keyboard.press("PageUp")
    assert tab.evaluate(STATE)["layer"] == start["layer"] - 1
    tab.keyboard.press("+")
    zoomed = tab.evaluate(STATE)
    assert zoomed["wide"] == pytest.approx(start["wide"] / 2, rel=0.01)
    place = tab.locator("#field .time-stage").bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + 30
    tab.mouse.move(x, y)
    assert tab.evaluate(STATE)["hover"] is not None
    tab.mouse.down()
    tab.mouse.move(x - 100, y, steps=3)
    tab.mouse.up()
    dragged = tab.evaluate(STATE)
    assert dragged["wide"] == pytest.approx(zoomed["wide"])
    assert dragged["from"] - zoomed["from"] == pytest.approx(
        100 * zoomed["wide"] / (place["width"] - 20), rel=0.02
    )
    tab.fill("#field .time-rate", "8000")
    tab.press("#field .time-rate", "Enter")
    assert tab.evaluate(STATE)["rate"] == 8000
    assert tab.text_content("#field td[data-key=size-time]").endswith(" ms")

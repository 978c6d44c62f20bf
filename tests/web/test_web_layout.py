"""The page at three widths, light and dark: nothing runs over, overlaps or jumps; on paper all is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import eyeshot

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS = {360: 740, 800: 900, 1440: 900}
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
#: What is wrong with the layout as it is: overflow, overlapping parts, small targets.
FAULTS = """() => {
  const faults = [];
  const wide = document.scrollingElement.scrollWidth - innerWidth;
  if (wide > 0) faults.push(`the page is ${wide} px too wide`);
  const seen = (one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (one) => `${one.tagName.toLowerCase()}.${one.className?.baseVal ?? one.className}`;
  const apart = (elements, where) => {
    const boxes = elements.filter(seen).map((one) => [one, one.getBoundingClientRect()])
      .filter(([, box]) => box.width && box.height);
    boxes.forEach(([one, a], k) => {
      for (const [other, b] of boxes.slice(k + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 1) faults.push(`${where}: ${name(one)} lies over ${name(other)}`);
      }
    });
  };
  scrollTo(0, 0);
  apart([...document.querySelectorAll("#head, main > section, #columns > section, #foot")], "parts");
  const head = [".product", "h1", ".about", ".actions > *", ".theme", ".acts > button", ".parts"];
  apart([...document.querySelectorAll(head.map((one) => `#head ${one}`).join())], "head");
  for (const panel of document.querySelectorAll(".panel-head")) apart([...panel.children], "panel head");
  for (const node of document.querySelectorAll(".graph-node:has(.graph-badge)")) {
    apart([...node.querySelectorAll(".graph-numbers, .graph-badge")], "graph");
  }
  for (const list of document.querySelectorAll(".stats, .finding dl")) apart([...list.children], "list");
  for (const one of document.querySelectorAll("button, select, input, summary, [role=button], #head a")) {
    if (!seen(one) || one.closest("svg")) continue;
    const target = ["checkbox", "radio"].includes(one.type) ? one.closest("label") ?? one : one;
    const box = target.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    if (box.width < 23.5 || box.height < 23.5) {
      faults.push(`${name(one)} ${one.textContent.slice(0, 30)} is ${box.width} × ${box.height}`);
    }
    const scrolls = [...ancestors(one)].some((up) => getComputedStyle(up).overflowX !== "visible");
    const out = box.left < -0.5 || box.right > innerWidth + 0.5;
    if (out && !scrolls) faults.push(`${name(one)} leaves the window`);
  }
  function* ancestors(one) {
    for (let up = one.parentElement; up; up = up.parentElement) yield up;
  }
  return faults;
}"""
WATCH = """() => {
  window.jumps = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const what = entry.sources.map((one) => {
        const [a, b] = [one.previousRect, one.currentRect];
        const element = one.node?.nodeType === 1 ? one.node : one.node?.parentElement;
        const from = element?.closest("section, header, footer")?.id;
        const name = element?.className?.baseVal ?? element?.className;
        return `${from}: ${name} ${[a.x, a.y, a.width, a.height]} > ${[b.x, b.y, b.width, b.height]}`;
      });
      window.jumps.push([entry.value, what]);
    }
  }).observe({ type: "layout-shift", buffered: true });
}"""
WANDER = """async (over) => {
  const { app } = await import("eyeshot/main.js");
  const frame = () => new Promise(requestAnimationFrame);
  const { layers, first } = app.store.state.page;
  if (over === "layers") {
    const step = Math.max(1, Math.floor(layers.length / 12));
    for (let k = 0; k < layers.length; k += step) {
      app.store.choose(k);
      await frame();
    }
    return;
  }
  app.store.choose(first);
  await frame();
  await frame();
  window.jumps.length = 0;
  const unit = (k) => layers[first].extent.map((n, d) => (k * (d ? 3 : 5)) % n);
  for (let k = 0; k < Math.min(12, layers.length); k += 1) {
    app.store.set({ hover: unit(k), pointed: k });
    await frame();
    app.store.set({ hover: null, unit: unit(k + 7) });
    await frame();
  }
}"""


@pytest.fixture(scope="module")
def reports() -> dict[str, eyeshot.Report]:
    return {
        "resnet152": eyeshot.analyze("torchvision:resnet152", "3x224x224"),
        "unet": eyeshot.analyze("example:unet"),
    }


def shift(tab: Page) -> tuple[float, list[Any]]:
    """How far things moved, and what. The graph is another drawing for every layer: it opens modules."""
    tab.evaluate(FRAMES)
    jumps = [
        (value, [one for one in what if "graph-svg" not in one])
        for value, what in tab.evaluate("window.jumps.splice(0)")
    ]
    return sum(value for value, what in jumps if what), jumps


@pytest.mark.parametrize("name", ["resnet152", "unet"])
def test_three_widths(opened: Any, reports: dict[str, eyeshot.Report], name: str) -> None:
    tab = opened(reports[name], check=name == "unet")
    for width, height in WIDTHS.items():
        tab.set_viewport_size({"width": width, "height": height})
        tab.evaluate(FRAMES)
        grounds = set()
        for theme in ("light", "dark"):
            tab.emulate_media(color_scheme=theme)
            grounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert tab.evaluate(FAULTS) == [], (width, theme)
        # At the end of the page the graph has stayed beside what it belongs to.
        tab.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        ends = """() => [document.getElementById("graph").getBoundingClientRect().bottom,
          document.getElementById("table").getBoundingClientRect().top]"""
        graph, table = tab.evaluate(ends)
        assert graph <= table, width
        assert len(grounds) == 2


VOLUME = {
    "input": [1, 16, 112, 112],
    "layers": {
        "a": {"op": "conv", "kernel": [13, 27, 27], "stride": 2, "padding": [6, 13, 13]},
        "b": {"op": "conv", "kernel": [9, 15, 15], "stride": 2, "padding": [4, 7, 7]},
        "c": {"op": "conv", "kernel": [21, 41, 41], "padding": [10, 20, 20]},
    },
}


@pytest.mark.parametrize(
    ("source", "width", "rate"),
    [("example:unet", 360, None), ("example:wavenet", 1100, 16000.0), (VOLUME, 1440, None)],
    ids=["unet", "wavenet", "volume"],
)
def test_nothing_jumps(opened: Any, tab: Page, source: Any, width: int, rate: float | None) -> None:
    # So high that what stands far below is seen, and its moves count.
    tab.set_viewport_size({"width": width, "height": 3600})
    opened(source, check=True, rate=rate)
    tab.evaluate(WATCH)
    moved, jumps = shift(tab)
    assert moved < 0.002, ("while it opens", jumps)
    tab.evaluate(WANDER, "layers")
    moved, jumps = shift(tab)
    assert moved < 0.002, ("from layer to layer", jumps)
    tab.evaluate(WANDER, "units")
    moved, jumps = shift(tab)
    assert moved < 0.001, ("from unit to unit", jumps)
    assert tab.evaluate(FAULTS) == []


def test_motion_is_reduced_where_asked(opened: Any, tab: Page) -> None:
    tab.emulate_media(reduced_motion="reduce")
    opened("example:five-by-five")
    slow = """() => [...document.querySelectorAll("*")].filter((one) => {
      const { transitionDuration, animationDuration } = getComputedStyle(one);
      return `${transitionDuration},${animationDuration}`.split(",").some((time) => parseFloat(time) > 0.01);
    }).map((one) => one.className)"""
    assert tab.evaluate(slow) == []


def test_paper(opened: Any, tab: Page) -> None:
    report = eyeshot.analyze("example:resnet18")
    opened(report, check=True)
    tab.emulate_media(media="print", color_scheme="dark")
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    tab.evaluate(FRAMES)
    assert tab.evaluate("getComputedStyle(document.body).colorScheme") in ("light", "light dark")
    assert tab.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    table = tab.locator("#table")
    for layer in report:
        assert table.get_by_text(layer.name, exact=True).first.is_visible(), layer.name
    # All of it at full height, nothing behind a scroll bar.
    hidden = """() => [...document.querySelectorAll("#table *, #findings *")].filter((one) => {
      const more = one.checkVisibility() && one.clientHeight > 60 && one.scrollHeight > one.clientHeight + 2;
      return more && getComputedStyle(one).overflowY !== "visible";
    }).map((one) => one.className)"""
    assert tab.evaluate(hidden) == []
    assert not tab.get_by_role("button", name="Keys", exact=True).is_visible()
    assert not tab.get_by_label("Theme").is_visible()

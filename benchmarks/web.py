"""The page in a real browser: from the pointer to what is painted, opening a report, its size, a live edit.

Debian's chromium, without a screen and without a GPU, driven by playwright. A *paint* is taken as done when a
message that was posted in the frame's own callback arrives, which is after the frame was drawn.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import eyeshot
from benchmarks.measure import Ratio, environment, note
from eyeshot.examples import path as example

__all__ = ["web"]

FRAME, WORST, OPEN, SIZE, EDIT = 16.0, 50.0, 1.0, 1.0, 100.0
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
NETWORKS = {"ResNet-152": "torchvision:resnet152", "AlexNet": "example:alexnet"}
#: The deepest map, with the longest way down, and one with many units.
LAYERS = {"ResNet-152": ("layer4.2.conv3", "layer1.2.conv3"), "AlexNet": ("conv5",)}

#: Called in the page: notes how long it takes from the first handler of an event to the paint after it.
WATCH = """(kind) => {
  const taken = (window.taken = []);
  document.addEventListener(kind, () => {
    const begin = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => taken.push(performance.now() - begin);
      channel.port2.postMessage(null);
    });
  }, { capture: true });
}"""
#: Before anything of the page: when it was ready and painted, and when its last long task ended.
OPENING = """
window.opening = { ready: null, busy: 0 };
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) opening.busy = Math.max(opening.busy, task.startTime + task.duration);
}).observe({ type: "longtask", buffered: true });
new MutationObserver(() => {
  if (opening.ready === null && document.documentElement?.dataset.ready === "true") {
    requestAnimationFrame(() => setTimeout(() => { opening.ready = performance.now(); }));
  }
}).observe(document, { subtree: true, attributes: true, childList: true });
"""
#: From a key typed into the text to the paint of the network that comes of it.
EDITED = """async () => {
  const { app } = await import("./main.js");
  window.taken = [];
  let begin = 0;
  document.addEventListener("input", () => { begin = performance.now(); }, { capture: true });
  app.store.on(["page"], () => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => window.taken.push(performance.now() - begin);
    channel.port2.postMessage(null);
  }));
}"""
#: A page that does next to nothing when pointed at: what chromium itself takes.
FLOOR = """<!doctype html><title>floor</title><div class="plane-map">
<svg class="pane-marks" width="600" height="600">
<rect width="20" height="20"></rect></svg></div><script>
const rect = document.querySelector("rect");
document.addEventListener("pointermove", (event) => rect.setAttribute("x", event.offsetX));
</script>"""


def web(quick: bool) -> list[Ratio]:
    """All of it, in one table."""
    with TemporaryDirectory(prefix="eyeshot-web-") as folder, _browser() as browser:
        return [*_reports(quick, Path(folder), browser), *_edits(quick, Path(folder), browser)]


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise SystemExit("web: this needs Debian's package chromium")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


# --- reports


def _reports(quick: bool, folder: Path, browser: Any) -> Iterator[Ratio]:
    names = ["AlexNet"] if quick else list(NETWORKS)
    for name in names:
        file = folder / f"{name}.html"
        shape = None if NETWORKS[name].startswith("example:") else "3x224x224"
        report = eyeshot.analyze(NETWORKS[name], shape)
        file.write_text(report.to_html(), encoding="utf-8")
        note(f"{name}: {len(report)} layers, {file.stat().st_size} bytes")
        yield Ratio(f"report of {name}: size of the file", file.stat().st_size / 1e6, SIZE, " MB")
        ready, busy = _opened(browser, file, 3 if quick else 9)
        yield Ratio(f"report of {name}: opened, to ready and painted", ready, OPEN, " s")
        yield Ratio(f"report of {name}: opened, to the end of the last long task", busy, OPEN, " s")
        for layer in LAYERS[name]:
            taken = _hovered(browser, file, 40 if quick else 300, layer)
            yield from _frames(f"report of {name}, {layer}: hover to paint", taken)
    floor = folder / "floor.html"
    floor.write_text(FLOOR, encoding="utf-8")
    taken = _hovered(browser, floor, 40 if quick else 300)
    note(f"a page that moves one rectangle: {_text(taken)}")
    yield Ratio(
        "a page that moves one rectangle: hover to paint, median",
        statistics.median(taken),
        None,
        " ms",
    )


def _frames(what: str, taken: list[float]) -> list[Ratio]:
    note(f"{what}: {_text(taken)}")
    return [
        Ratio(f"{what}, median of {len(taken)}", statistics.median(taken), FRAME, " ms"),
        Ratio(f"{what}, worst", max(taken), WORST, " ms"),
    ]


def _text(taken: list[float]) -> str:
    near = statistics.quantiles(taken, n=20)[-1]
    return f"median {statistics.median(taken):.1f}, 95 % {near:.1f}, worst {max(taken):.1f} ms"


def _opened(browser: Any, file: Path, times: int) -> tuple[float, float]:
    """Median seconds from the start of the navigation: until it is ready, and until it is idle."""
    found = []
    for _ in range(times):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        tab = context.new_page()
        tab.add_init_script(OPENING)
        tab.goto(file.as_uri())
        _until(tab, "opening.ready !== null")
        tab.wait_for_timeout(700)  # for long tasks that may still come
        found.append(tab.evaluate("[opening.ready, Math.max(opening.busy, opening.ready)]"))
        context.close()
    ready, busy = (statistics.median(one) / 1e3 for one in zip(*found, strict=True))
    return ready, busy


def _hovered(browser: Any, file: Path, moves: int, layer: str | None = None) -> list[float]:
    """Milliseconds from the pointer to the paint, for moves all over the map of a layer."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    tab.goto(file.as_uri() + (f"#layer={layer}" if layer else ""))
    tab.wait_for_selector(".plane-map .pane-marks")
    tab.wait_for_timeout(500)
    box = tab.locator(".plane-map .pane-marks").bounding_box()
    tab.evaluate(WATCH, "pointermove")
    shown = set()
    for k in range(moves):
        x = box["x"] + box["width"] * (0.15 + 0.7 * ((k * 7) % 31) / 31)
        y = box["y"] + box["height"] * (0.15 + 0.7 * ((k * 11) % 29) / 29)
        tab.mouse.move(x, y)
        _until(tab, f"taken.length > {k}")
        shown.add(tab.locator(".readout-unit").first.inner_text() if layer else k)
    taken: list[float] = tab.evaluate("taken")
    context.close()
    if len(shown) < moves / 10:
        raise SystemExit(f"web: {layer}: pointing showed {len(shown)} units only")
    return taken


def _until(tab: Any, script: str) -> None:
    for _ in range(4000):
        if tab.evaluate(script):
            return
        tab.wait_for_timeout(5)
    raise SystemExit(f"web: waited in vain for {script}")


# --- the live page


@contextmanager
def _server(source: Path) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "eyeshot",
        "explore",
        str(source),
        "--no-browser",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _edits(quick: bool, folder: Path, browser: Any) -> Iterator[Ratio]:
    """One digit of AlexNet's text typed over, again and again."""
    spec = folder / "alexnet.yaml"
    text = example("alexnet").read_text(encoding="utf-8")
    spec.write_text(text, encoding="utf-8")
    at = text.index("stride: 4") + len("stride: ")
    with _server(spec) as address:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        tab = context.new_page()
        tab.goto(address)
        tab.wait_for_selector(".slot[aria-busy=false]")
        tab.click("text=Edit")
        tab.wait_for_selector(".editor textarea")
        tab.wait_for_timeout(1000)
        tab.evaluate(EDITED)
        for k in range(8 if quick else 60):
            tab.evaluate(
                "(at) => { const area = document.querySelector('.editor textarea'); area.focus();"
                " area.setSelectionRange(at, at + 1); }",
                at,
            )
            tab.keyboard.type("234"[k % 3])
            _until(tab, f"taken.length > {k}")
        taken: list[float] = tab.evaluate("taken")
        context.close()
    note(f"edit: {_text(taken)}")
    middle = statistics.median(taken)
    yield Ratio(f"AlexNet edited live: key to paint, median of {len(taken)}", middle, EDIT, " ms")
    yield Ratio("AlexNet edited live: key to paint, worst", max(taken), None, " ms")

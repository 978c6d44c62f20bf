"""The live page in a real browser, served by the real server."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import eyeshot
from eyeshot.examples import path as example_path

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SPEC = """# kept
name: small
input: [1, 16, 16]
layers:
  a: {op: conv, kernel: 3, padding: 1}   # the first
  # between
  b: {op: conv, kernel: 3, stride: 2, padding: 1}
  c: [3, 1, 1]
"""
#: What the page shows, from its store.
STORE = "async () => { const { app } = await import('./main.js'); const s = app.store.state; "
HOSTILE = '<img src=x onerror="document.title=1">' + "x" * 300


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a server of its own."""
    command = [sys.executable, "-m", "eyeshot", "explore", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        yield address
        process.terminate()


def state(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schema": "eyeshot.state/1", "source": source, "input": "", "axes": "", **more}


def spec(text: str, **more: Any) -> dict[str, Any]:
    return state({"kind": "spec", "text": text, "format": "yaml"}, **more)


def packed(content: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.urlsafe_b64encode(pack.compress(data) + pack.flush()).decode().rstrip("=")


def unpacked(url: str) -> dict[str, Any]:
    text = url.partition("#s=")[2]
    found = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), -15)
    content: dict[str, Any] = json.loads(found)
    return content


@pytest.fixture
def live(tab: Page, server: str) -> Callable[..., Page]:
    """``live(state)``: the tab at a link that holds the state; the page has drawn its network."""

    def at(content: dict[str, Any]) -> Page:
        tab.goto(f"{server}#s={packed(content)}")
        tab.wait_for_selector(".slot[aria-busy=false]")
        return tab

    return at


def until(tab: Page, script: str, arg: Any = None, timeout: float = 10_000) -> None:
    """Waits until JavaScript says so; playwright's own wait needs ``eval``, which the page forbids."""
    end = time.monotonic() + timeout / 1000
    while not tab.evaluate(script, arg):
        assert time.monotonic() < end, f"still not: {script}"
        tab.wait_for_timeout(15)


def kept(tab: Page, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Waits until the address holds a state of that kind; it is written a little later than what it says."""
    end = time.monotonic() + 10
    while "#s=" not in tab.url or not wanted(unpacked(tab.url)):
        assert time.monotonic() < end, unpacked(tab.url)
        tab.wait_for_timeout(15)


def settled(tab: Page) -> None:
    """Waits until what was asked for last is answered."""
    until(tab, "!document.querySelector('.slot[aria-busy=true]')")


def title(tab: Page, text: str) -> None:
    until(tab, "t => document.querySelector('#head h1').textContent === t", arg=text)


def numbers(tab: Page) -> str:
    """The boxes and inner boxes that the field view shows."""
    return tab.inner_text("#field table")


def choose(tab: Page, name: str) -> None:
    tab.click(".slot-network")
    tab.click(f".source:has-text('{name}')")


def test_the_first_visit_begins_with_the_lesson(tab: Page, server: str) -> None:
    tab.goto(server)
    tab.wait_for_selector("dialog[open]")
    title(tab, "two layers on 5x5")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog[open]", state="detached")
    assert "example:five-by-five" in tab.inner_text(".slot-network")
    kept(tab, lambda found: found["source"] == {"kind": "example", "name": "five-by-five"})
    tab.reload()
    title(tab, "two layers on 5x5")
    assert not tab.query_selector("dialog[open]")


def test_edit_as_text_error_and_recovery(live: Callable[..., Page]) -> None:
    tab = live(spec(SPEC, layer="c", unit=[3, 3]))
    tab.click("text=Edit")
    area = tab.locator(".editor textarea")
    before = numbers(tab)
    area.fill(SPEC.replace("b: {op: conv, kernel: 3", "b: {op: conv, kernel: 7"))
    until(tab, "old => document.querySelector('#field table').innerText !== old", arg=before)
    box = eyeshot.analyze({"layers": {"a": [3, 1, 1], "b": [7, 2, 1], "c": [3, 1, 1]}}, "1x16x16")
    low, high = box["c"].box((3, 3))[0]
    assert f"[{int(low)}, {int(high)})".replace("-", "−") in numbers(tab)
    after = numbers(tab)
    # What is wrong is said at its place, and the picture stays.
    area.fill(SPEC.replace("stride: 2", "strode: 2"))
    until(tab, "document.querySelector('.editor-fault').textContent.includes('strode')")
    assert tab.inner_text(".editor-fault button").startswith("Line 7, column")
    assert tab.locator(".spec-band").is_visible()
    assert area.get_attribute("aria-invalid") == "true"
    assert numbers(tab) == after
    area.fill(SPEC + "  d: {op: conv, kernel: [1\n")
    until(tab, "document.querySelector('.editor-fault').textContent.includes('Line 10')")
    area.fill(SPEC)
    until(tab, "!document.querySelector('.editor-fault').textContent")
    until(tab, "old => document.querySelector('#field table').innerText === old", arg=before)
    assert not tab.locator(".spec-band").is_visible()
    # Tab indents, and Esc sets it free.
    area.focus()
    tab.keyboard.press("Control+End")
    tab.keyboard.press("Tab")
    assert area.input_value() == SPEC + "  "
    tab.keyboard.press("Escape")
    tab.keyboard.press("Tab")
    assert not tab.evaluate("document.activeElement.matches('textarea')")


def test_edit_by_form_keeps_comments(live: Callable[..., Page]) -> None:
    tab = live(spec(SPEC))
    tab.click("text=Edit")
    tab.click(".editor button:has-text('Form')")
    area = tab.locator(".editor textarea")

    def text(part: str) -> str:
        until(tab, "t => document.querySelector('.editor textarea').value.includes(t)", arg=part)
        return area.input_value()

    tab.click("[aria-label='More kernel of a']")
    tab.click("[aria-label='More kernel of a']")
    text("a: {op: conv, kernel: 5, padding: 1}   # the first")
    # Numbers act as they are typed, and what is typed stays where a new key makes the rows anew.
    dilation = tab.locator("[aria-label='dilation of b']")
    dilation.press_sequentially("12")
    text("b: {op: conv, kernel: 3, stride: 2, padding: 1, dilation: 12}")
    assert dilation.input_value() == "12"
    tab.keyboard.press("Backspace")
    tab.keyboard.press("Backspace")
    tab.keyboard.type("2")
    text("b: {op: conv, kernel: 3, stride: 2, padding: 1, dilation: 2}")
    tab.click("[aria-label='More stride of c']")
    text("c: [3, 2, 1]")
    tab.click("[aria-label='Add a layer after b']")
    text("conv: {op: conv, kernel: 3, stride: 1, padding: 1}\n  c: [3, 2, 1]")
    tab.fill("[aria-label='Name of layer 3']", "new one")
    tab.press("[aria-label='Name of layer 3']", "Enter")
    text('  "new one": {op: conv')
    tab.click("[aria-label='Move new one up']")
    text('# between\n  "new one": {op: conv, kernel: 3, stride: 1, padding: 1}\n  b: {')
    tab.click("[aria-label='Remove c']")
    until(tab, "!document.querySelector('.editor textarea').value.includes('c: [3')")
    final = area.input_value()
    assert [line for line in final.splitlines() if "#" in line] == [
        "# kept",
        "  a: {op: conv, kernel: 5, padding: 1}   # the first",
        "  # between",
    ]
    settled(tab)
    assert tab.evaluate("document.querySelector('.editor-fault').textContent") == ""


def test_undo_and_redo(live: Callable[..., Page]) -> None:
    tab = live(spec(SPEC))
    choose(tab, "example:alexnet")
    title(tab, "AlexNet")
    kept(tab, lambda found: found["source"]["kind"] == "example")
    tab.go_back()
    title(tab, "small")
    tab.go_forward()
    title(tab, "AlexNet")
    tab.fill(".slot-field input", "3x300x300")
    tab.press(".slot-field input", "Enter")
    until(tab, "document.querySelector('#head').textContent.includes('300 × 300')")
    tab.focus("#field")
    tab.keyboard.press("Control+z")
    until(tab, "document.querySelector('#head').textContent.includes('227 × 227')")
    tab.keyboard.press("Control+z")
    title(tab, "small")
    tab.click("[aria-label=Redo]")
    title(tab, "AlexNet")
    # A wrong size is told at its field.
    tab.fill(".slot-field input", "3x5")
    tab.press(".slot-field input", "Enter")
    tab.wait_for_selector(".slot-field [aria-invalid=true]")
    assert tab.inner_text(".slot-fault").strip()
    assert tab.inner_text("#head h1") == "AlexNet"


def test_exact_set_and_mass(live: Callable[..., Page]) -> None:
    text = (
        "input: [1, 12, 12]\nlayers:\n"
        "  a: {op: conv, kernel: 3, dilation: 2}\n  b: {op: conv, kernel: 2, dilation: 5}\n"
    )
    tab = live(spec(text, layer="b", unit=[1, 2]))
    tab.click("button:has-text('Exact set')")
    until(tab, "document.querySelector('.exact-legend').textContent.startsWith('Exact set:')")
    unit = eyeshot.analyze(
        {
            "input": [1, 12, 12],
            "layers": {
                "a": {"op": "conv", "kernel": 3, "dilation": 2},
                "b": {"op": "conv", "kernel": 2, "dilation": 5},
            },
        }
    ).unit("b", (1, 2))
    shown = tab.evaluate("""async () => {
      const { app } = await import('./main.js');
      const { overlay } = app.store.state;
      return { ...overlay, values: [...overlay.values] };
    }""")
    (top, bottom), (left, right) = shown["box"]
    mask = np.zeros((12, 12), bool)
    mask[top:bottom, left:right] = np.reshape(shown["values"], shown["shape"]).astype(bool)
    assert (mask == unit.mask).all()
    holes = int((~mask[top:bottom, left:right]).sum())
    assert f"; {holes} are holes" in tab.inner_text(".exact-legend")
    # Drawn as it is: one pixel of the picture for each element.
    drawn = tab.evaluate("""async () => {
      const image = new Image();
      image.src = document.querySelector('.exact-pixels').getAttribute('href');
      await image.decode();
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [image.width, image.height];
      const context = canvas.getContext('2d');
      context.drawImage(image, 0, 0);
      return [...context.getImageData(0, 0, image.width, image.height).data].filter((_, k) => k % 4 === 3);
    }""")
    assert (np.reshape(drawn, shown["shape"]) > 0).tolist() == mask[top:bottom, left:right].tolist()
    tab.click("button:has-text('Mass')")
    until(tab, "document.querySelector('.exact-legend').textContent.startsWith('Mass:')")
    values = tab.evaluate(
        "async () => [...(await import('./main.js')).app.store.state.overlay.values]"
    )
    np.testing.assert_allclose(
        np.reshape(values, shown["shape"]), unit.mass[top:bottom, left:right], rtol=1e-6
    )
    # It belongs to its unit.
    tab.fill("#field .unit-entries input", "2")
    until(tab, "document.querySelector('.exact-legend').textContent.startsWith('of the')")
    assert tab.evaluate("async () => (await import('./main.js')).app.store.state.overlay") is None


def test_compare_follows_and_comes_back(live: Callable[..., Page]) -> None:
    tab = live(spec(SPEC))
    tab.click("button:has-text('Compare')")
    tab.click(".source:has-text('example:five-by-five')")
    tab.wait_for_selector("main[data-compare] #field-b svg")
    assert tab.inner_text("#head h1") == "small and two layers on 5x5"
    b = tab.locator(".slot[aria-label='Network B']")
    b.get_by_role("button", name="Edit").click()
    b.locator("textarea").fill(SPEC.replace("kernel: 3", "kernel: 5").replace("small", "other"))
    title(tab, "small and other")
    both = STORE + "return [s.page.title, s.compare.title]; }"
    assert tab.evaluate(both) == ["small", "other"]
    tab.evaluate(STORE + "app.store.choose(s.page.byName.get('b').number, [2, 3]); }")
    # Its map has 6 × 6 units where this one has 8 × 8.
    until(tab, "document.querySelector('#field-b [data-unit]')?.dataset.unit === '1,2'")
    inputs = [tab.input_value(f"#{name} .field-layer input") for name in ("field", "field-b")]
    assert inputs == ["b", "b"]
    # Of which network is exported; the first, until one says so.
    saved = {}
    for letter in (None, "B", "A"):
        with tab.expect_download() as download:
            tab.click(".export > summary")
            if letter:
                tab.click(f".export [aria-label='Network {letter}']")
            tab.click("text=Table as CSV")
        saved[letter] = download.value.suggested_filename
    assert saved == {None: "small-layers.csv", "B": "other-layers.csv", "A": "small-layers.csv"}
    kept(tab, lambda found: (found.get("compare") or {}).get("unit") == [1, 2])
    tab.reload()
    title(tab, "small and other")
    tab.set_viewport_size({"width": 360, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.get_by_label("End comparison").click()
    title(tab, "small")
    assert not tab.locator("#field-b").is_visible()


def test_link_and_file_restore(live: Callable[..., Page], server: str, tmp_path: Path) -> None:
    name = "encoder " + HOSTILE
    hostile = SPEC.replace("  b:", f"  {json.dumps(name)}:").replace("small", json.dumps(HOSTILE))
    wished = spec(hostile, layer=name, unit=[2, 5], marks={"box": False}, input="1x20x24")
    tab = live(wished)
    assert tab.inner_text("#head h1") == HOSTILE
    assert tab.title() == f"{HOSTILE} · eyeshot"
    shown = (
        STORE
        + "return [s.page.layers[s.layer].name, s.unit, s.marks.box, s.page.inputs[0].shape]; }"
    )
    assert tab.evaluate(shown) == [name, [2, 5], False, [1, 1, 20, 24]]
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.fill("#field .unit-entries input", "3")
    kept(tab, lambda found: (found["layer"], found["unit"]) == (name, [3, 5]))
    tab.fill("#field .unit-entries input", "2")
    with tab.expect_download() as saved:
        tab.click("summary:has-text('Share')")
        tab.click("text=Save state")
    file = tmp_path / "kept.json"
    saved.value.save_as(file)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["source"]["text"] == hostile and content["unit"] == [2, 5]
    choose(tab, "example:alexnet")
    title(tab, "AlexNet")

    # What is wrong with a file or a link is said, and nothing is lost.
    def say(expected: str) -> None:
        tab.wait_for_selector(f".live-trouble:has-text('{expected}')")
        assert tab.inner_text("#head h1") == "AlexNet"
        tab.click(".live-trouble button:has-text('Close')")

    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"schema": "eyeshot.state/99"}')
    opening = tab.locator("[aria-label='Choose a saved state']")
    opening.set_input_files(wrong)
    say("not a saved state")
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(bomb.compress(b" " * (1 << 20)) for _ in range(40)) + bomb.flush()
    for hash, expected in (
        ("s=%%%", "damaged"),
        (f"s={packed(b'[1, 2')}", "damaged"),
        (f"s={packed({'schema': 'other/1'})}", "schema is not"),
        (f"s={packed(state({'kind': 'path', 'path': '/etc/passwd'}))}", "not known here"),
        (f"s={base64.urlsafe_b64encode(data).decode()}", "holds more"),
    ):
        tab.evaluate("hash => { location.hash = hash; }", hash)
        say(expected)
    opening.set_input_files(file)
    title(tab, HOSTILE)
    assert tab.evaluate(shown) == [name, [2, 5], False, [1, 1, 20, 24]]


def test_report_and_spec_are_saved(live: Callable[..., Page], tmp_path: Path) -> None:
    tab = live(state({"kind": "example", "name": "patchgan"}))
    with tab.expect_download() as saved:
        tab.click("summary:has-text('Export')")
        tab.click("text=Report (HTML)")
    file = tmp_path / "report.html"
    saved.value.save_as(file)
    assert saved.value.suggested_filename == "PatchGAN-70x70.html"
    with tab.expect_download() as plain:
        tab.click("summary:has-text('Export')")
        tab.click(".menu-list button:has-text('Spec')")
    plain.value.save_as(tmp_path / "spec.yaml")
    assert (tmp_path / "spec.yaml").read_text() == example_path("patchgan").read_text()
    tab.goto(file.as_uri())
    title(tab, "PatchGAN 70x70")
    page = json.loads(tab.inner_text("#page-data"))
    assert page["report"] == json.loads(eyeshot.analyze("example:patchgan").to_json())
    assert page["findings"] is not None


def test_files_and_models(live: Callable[..., Page], tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Conv", ["x", "w"], ["y"], name="only", strides=[2, 2])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 5, 5], np.zeros(25).tolist())
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in (("x", [1, 1, 17, 17]), ("y", [1, 1, 7, 7]))
    ]
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    file = tmp_path / f"{'<b>' * 5}net.onnx"
    onnx.save(model, file)
    tab = live(spec(SPEC))
    tab.click(".slot-network")
    tab.set_input_files("[aria-label='Choose a file']", file)
    until(tab, "document.querySelector('#head').textContent.includes('17 × 17')")
    assert file.name in tab.inner_text(".slot-network")
    assert "[6, 11)" in numbers(tab)
    tab.click("text=Edit")
    assert "can't be edited" in tab.inner_text(".editor-none")
    assert tab.get_attribute("body", "data-editing") is None, "no room is left for an editor"
    # Not an ONNX file: the picture stays.
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    tab.click(".slot-network")
    tab.set_input_files("[aria-label='Choose a file']", broken)
    tab.wait_for_selector(".slot-notice:visible, .live-trouble:visible")
    assert "17 × 17" in tab.inner_text("#head")
    # A link to a file that the server has no longer asks for it.
    lost = state({"kind": "upload", "id": "0" * 64, "name": "gone.onnx"})
    tab.evaluate("hash => { location.hash = hash; }", f"s={packed(lost)}")
    tab.wait_for_selector(".live-trouble:has-text('no longer has gone.onnx')")
    # A model of a library, found by a few letters.
    tab.click(".slot-network")
    tab.fill(".sources [role=combobox] >> nth=0", "squeezenet 1_1")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    until(tab, "document.querySelector('#head').textContent.includes('224 × 224')", timeout=40_000)
    assert tab.inner_text(".slot-network").endswith("torchvision:squeezenet1_1")


def test_cancel(live: Callable[..., Page]) -> None:
    tab = live(spec(SPEC))
    held: list[Any] = []
    failed: list[str] = []
    tab.on("requestfailed", lambda request: failed.append(request.url))
    tab.route("**/api/analyze", lambda route: held.append(route))
    choose(tab, "example:alexnet")
    tab.click(".slot-cancel.shown")
    tab.wait_for_selector(".slot-notice:has-text('Cancelled')")
    assert tab.inner_text("#head h1") == "small"
    assert any(url.endswith("api/analyze") for url in failed)
    tab.unroute("**/api/analyze")
    tab.click("text=Try again")
    title(tab, "AlexNet")
    assert not tab.locator(".slot-notice").is_visible()


def test_the_server_is_gone(browser: Browser, server: str) -> None:
    # Not the fixture's tab: chromium itself logs that a connection failed.
    context = browser.new_context()
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{server}#s={packed(spec(SPEC))}")
    title(tab, "small")
    context.set_offline(True)
    choose(tab, "example:alexnet")
    tab.wait_for_selector(".slot-notice:has-text('does not answer')")
    assert tab.inner_text("#head h1") == "small"
    context.set_offline(False)
    tab.click("text=Try again")
    title(tab, "AlexNet")
    context.close()
    assert not errors


BLOCKED = """() => new Promise((done) => setTimeout(async () => {
  window.ran = [];
  const found = new Set();
  document.addEventListener("securitypolicyviolation", (event) => found.add(event.effectiveDirective));
  for (const code of [() => eval("ran.push(1)"), () => new Function("ran.push(2)")()]) try { code(); } catch {}
  const add = (tag, values) => document.body.append(Object.assign(document.createElement(tag), values));
  add("script", { textContent: "ran.push(3)" });
  add("script", { src: "data:text/javascript,ran.push(4)" });
  add("div", { innerHTML: "<b style='color: red'></b><img src='data:,' onerror='ran.push(5)'>" });
  add("iframe", { src: "/" });
  add("img", { src: "http://other.example/" });
  await fetch("http://other.example/").catch(() => 0);
  // A busy machine tells of some later than of others.
  for (let k = 0; k < 3 || (k < 100 && found.size < 7); k += 1) await new Promise((on) => setTimeout(on, 20));
  done([ran, [...found].sort()]);
}, 0))"""


def test_the_policy_holds(browser: Browser, server: str) -> None:
    """Nor does the page itself need what it forbids."""
    page = browser.new_page()  # not the fixture's tab: the console tells what is blocked
    page.add_init_script(
        "window.own = []; addEventListener('securitypolicyviolation', (e) => own.push(e.blockedURI))"
    )
    page.goto(server)
    page.locator("svg, canvas").first.wait_for()
    assert page.evaluate("own") == []
    ran, found = page.evaluate(BLOCKED)
    page.close()
    assert ran == []
    assert found == [
        *("connect-src", "frame-src", "img-src", "script-src"),
        *("script-src-attr", "script-src-elem", "style-src-attr"),
    ]


def test_accessible(live: Callable[..., Page], axe: Callable[[Page], list[str]]) -> None:
    tab = live(spec(SPEC))
    tab.click("text=Edit")
    tab.click(".editor button:has-text('Form')")
    tab.wait_for_selector(".spec-row")
    assert axe(tab) == []
    tab.set_viewport_size({"width": 360, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.click(".slot-network")
    tab.fill(".sources [role=combobox] >> nth=0", "resnet")
    assert axe(tab) == []


def test_findings_are_never_those_of_another_version(live: Callable[..., Page]) -> None:
    """While a version is checked those before it say so; where it is never checked they go."""
    tab = live(spec(SPEC))
    until(tab, "document.querySelector('#findings .finding')")
    tab.route("**/api/check", lambda route: None)  # never answered
    tab.click("text=Edit")
    area = tab.locator(".editor textarea")
    area.fill(SPEC.replace("name: small", "name: other"))
    title(tab, "other")
    assert tab.inner_text("#findings h2") == "Findings of the version before"
    area.fill(SPEC.replace("stride: 2", "strode: 2"))
    until(tab, "document.querySelector('.editor-fault').textContent.includes('strode')")
    assert tab.inner_text("#findings h2") == "Findings"
    assert not tab.locator("#findings .finding").count()

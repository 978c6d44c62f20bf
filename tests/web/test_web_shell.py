"""The page around the views: head, summary, findings, the place in the address, and files that are damaged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eyeshot
from eyeshot.views.web.page import page as page_data
from eyeshot.views.web.single import single_file

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHOSEN = """async () => {
  const { app } = await import("eyeshot/main.js");
  const { page, layer, unit } = app.store.state;
  return [page.layers[layer].name, unit];
}"""
CHOOSE = """async ([name, unit]) => {
  const { app } = await import("eyeshot/main.js");
  app.store.choose(app.store.state.page.byName.get(name).number, unit);
}"""
SETTLED = """async (hash) => {
  const late = performance.now() + 10_000;
  while (decodeURIComponent(location.hash) !== hash) {
    if (performance.now() > late) throw new Error(`still at ${location.hash}`);
    await new Promise(requestAnimationFrame);
  }
}"""
GONE = """async (hash) => {
  const heard = new Promise((done) => window.addEventListener("hashchange", done, { once: true }));
  location.hash = hash;
  await heard;
}"""
EVIL = "<img src=x onerror=alert(1)>"
STEREO = {
    "name": EVIL + " " + "long " * 80,
    "inputs": {"left": [3, 64, 64], "right": [3, 48, 40]},
    "layers": {
        EVIL: {"op": "conv", "kernel": [3, 9], "stride": 2, "padding": 1, "inputs": "left"},
        "r": {"op": "conv", "kernel": 65, "padding": 32, "channels": 3, "inputs": "right"},
        "gap": {"op": "global_avg_pool", "inputs": "r"},
        "out": {"op": "mul", "inputs": [EVIL, "gap"]},
        "odd": {"op": "opaque", "function": EVIL + "mystery"},
        "after": {"op": "conv", "kernel": 3},
    },
}


def crossing(report: eyeshot.Report, axis: int) -> tuple[int, str] | None:
    """The first layer whose local field is larger than the input, by the report alone."""
    for k, layer in enumerate(report):
        for field in layer.fields:
            pooled = field.is_global and field.dim is None
            length = report.inputs[0]["shape"][axis]
            if field.axis == axis and not pooled and (field.size is None or field.size > length):
                return k, layer.name
    return None


def headlines(tab: Page) -> list[str]:
    return tab.locator(".headline").all_inner_texts()


def test_where_the_field_passes_the_input(opened: Any) -> None:
    report = eyeshot.analyze("torchvision:resnet50", "3x224x200")
    tab = opened(report)
    told = headlines(tab)
    for axis, line, word in zip((2, 3), told, ("axis 2 (rows)", "axis 3 (columns)"), strict=True):
        found = crossing(report, axis)
        assert found is not None
        k, name = found
        size = report.inputs[0]["shape"][axis]
        place = f"at {name}, layer {k + 1} of {len(report)}."
        text = f"Along {word}: the field passes the input’s size ({size}) {place}"
        assert re.sub(r"\s+", " ", line).replace(" ,", ",") == text
    tab.locator(".headline .name").first.click()
    assert tab.evaluate(CHOSEN)[0] == crossing(report, 2)[1]  # type: ignore[index]
    assert tab.locator(".headline .name").first.get_attribute("aria-current") == "true"
    # Where nothing is known of the page one finds it without scrolling, also on a phone.
    for width, height in ((360, 640), (1440, 800)):
        tab.set_viewport_size({"width": width, "height": height})
        box = tab.locator(".headline").last.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height


def test_a_field_that_never_passes(opened: Any) -> None:
    report = eyeshot.analyze("example:unet")
    tab = opened(report)
    largest = max(layer.size[0] for layer in report)
    length = report.inputs[0]["shape"][2]
    assert headlines(tab) == [
        f"The field never passes the input’s size: the largest is {largest} of {length}."
    ]
    assert "never" in tab.locator(".stats").inner_text()


def test_inputs_bounds_and_hostile_names(opened: Any) -> None:
    tab = opened(STEREO)
    told = [re.sub(r"\s+", " ", line).replace(" ,", ",") for line in headlines(tab)]
    assert told == [
        "Along axis 2 (rows): the local field never passes the input’s size: the largest is 3 of 64.",
        "Along axis 3 (columns): the local field never passes the input’s size: the largest is 9 of 64.",
        "Along axis 2 (rows): the field passes the input’s size (48) at r, layer 2 of 6.",
        "Along axis 3 (columns): the field passes the input’s size (40) at r, layer 2 of 6.",
    ]
    assert tab.locator("h1").inner_text().startswith(EVIL)
    assert tab.title().startswith(EVIL)
    assert tab.locator("main img, header img, footer img").count() == 0
    tab.get_by_title("About this network").click()
    about = tab.locator(".network")
    assert "2 layers are an upper bound" in re.sub(r"The fields of ", "", about.inner_text())
    assert "mystery" in about.locator(".diagnostics").inner_text()
    about.get_by_role("button", name="odd").click()
    assert tab.evaluate(CHOSEN)[0] == "odd"
    assert not about.is_visible()


def test_findings(opened: Any) -> None:
    report = eyeshot.analyze("example:fpn")
    check = eyeshot.check(report)
    assert len({finding.severity for finding in check}) > 1
    tab = opened(report, check=True)
    cards = tab.locator("li.finding")
    assert cards.count() == len(list(check))
    for card, finding in zip(cards.all(), check, strict=True):
        text = card.inner_text()
        assert finding.code in text
        assert finding.message in text
        assert finding.remedy in text
    most = max(range(len(list(check))), key=lambda k: len(list(check)[k].layers))
    finding, card = list(check)[most], cards.nth(most)
    rest = card.get_by_role("button", name=re.compile(r"^and \d+ more$"))
    assert card.locator(".name").count() < len(finding.layers)
    rest.click()
    assert card.locator(".name").all_inner_texts() == list(dict.fromkeys(finding.layers))
    card.locator(".name").first.click()
    assert tab.evaluate(CHOSEN)[0] == finding.layers[0]
    marked = [k for k, one in enumerate(check) if finding.layers[0] in one.layers]
    here = [k for k, one in enumerate(cards.all()) if "here" in (one.get_attribute("class") or "")]
    assert here == marked
    # Filters: all of one severity away, and back.
    first = next(iter(check)).severity
    button = tab.locator(f".findings .tools .{first}")
    button.click()
    assert cards.count() == sum(one.severity != first for one in check)
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert cards.count() == len(list(check))


def test_not_checked_is_not_nothing_found(opened: Any) -> None:
    tab = opened("example:five-by-five")
    assert "Not checked" in tab.locator("#findings").inner_text()
    later = """async () => {
      const { app } = await import("eyeshot/main.js");
      const { Page } = await import("eyeshot/model.js");
      const page = new Page(app.store.state.page.content);
      page.checking = true;
      app.store.show(page);
      const said = document.getElementById("findings").innerText;
      page.checking = false;
      app.store.set({ findings: undefined });
      return [said, document.getElementById("findings").innerText];
    }"""
    waiting, given_up = tab.evaluate(later)
    assert "Checking" in waiting and "Not checked" in given_up
    # The unit stays; the only unit of a map stands for its middle.
    moved = """async () => {
      const { START, Store } = await import("eyeshot/store.js");
      const layer = (n) => ({ number: 0, name: "a", extent: [n, n], middle: [n >> 1, n >> 1], bounded: (u) => u,
        on: () => [], fields: [] });
      const page = (n) => ({ layers: [layer(n)], byName: new Map([["a", layer(n)]]), first: 0 });
      const units = [];
      for (const [from, unit, to] of [[9, [2, 3], 7], [1, [0, 0], 7]]) {
        const store = new Store({ ...START, page: page(from), layer: 0, unit });
        store.show(page(to));
        units.push(store.state.unit);
      }
      return units;
    }"""
    assert tab.evaluate(moved) == [[2, 3], [3, 3]]
    found = eyeshot.check(eyeshot.analyze("example:alexnet"))
    assert not list(found)
    tab = opened("example:alexnet", check=True)
    assert "nothing found" in tab.locator("#findings").inner_text()


def test_a_link_restores_layer_and_unit(opened: Any) -> None:
    tab = opened("example:unet")
    tab.evaluate(CHOOSE, ["enc3.conv2", [5, 7]])
    tab.evaluate(SETTLED, "#layer=enc3.conv2&unit=5,7")
    tab.evaluate(CHOOSE, ["head", [0, 0]])
    tab.evaluate(SETTLED, "#layer=head&unit=0,0")
    tab.evaluate(GONE, "#layer=enc2.conv1&unit=3,4")
    assert tab.evaluate(CHOSEN) == ["enc2.conv1", [3, 4]]
    tab.reload()
    tab.wait_for_selector("html[data-ready=true]")
    assert tab.evaluate(CHOSEN) == ["enc2.conv1", [3, 4]]
    # What names nothing, or a unit that is not there, does no harm.
    tab.evaluate(GONE, "#layer=enc2.conv2&unit=3,4000")
    assert tab.evaluate(CHOSEN)[0] == "enc2.conv2"
    tab.evaluate(GONE, "#layer=nowhere&unit=NaN")
    assert tab.evaluate(CHOSEN)[0] == "enc2.conv2"
    # A link to a part of the page is no place in the network.
    tab.keyboard.press("Tab")
    tab.locator(".skip").press("Enter")
    assert tab.evaluate("document.activeElement.id") == "field"


def test_theme_and_keys(opened: Any) -> None:
    tab = opened("example:five-by-five")
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = {tab.evaluate(ground)}
    tab.get_by_label("Theme").select_option("Dark")
    seen.add(tab.evaluate(ground))
    assert len(seen) == 2
    tab.reload()
    tab.wait_for_selector("html[data-ready=true]")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert tab.get_by_label("Theme").input_value() == "dark"
    button = tab.get_by_role("button", name="Keys", exact=True)
    button.click()
    assert tab.get_by_role("dialog", name="Keys").locator("kbd").count() > 2
    tab.keyboard.press("Escape")
    tab.locator("dialog:has(kbd)").wait_for(state="detached")
    assert tab.evaluate("document.activeElement.textContent") == "Keys"


def test_damaged_files_say_so(browser: Any, tmp_path: Path) -> None:
    whole = single_file(page_data(eyeshot.analyze("example:five-by-five")))
    # Not the fixture's tab: of the fourth file the console tells what fails.
    context = browser.new_context()
    tab = context.new_page()
    for k, (old, new, says) in enumerate(
        (
            (r'<script type="application/json" id="page-data">.*?</script>', "", "no data"),
            (r'("schema":"eyeshot.page/1",.{200}).*?</script>', r"\1</script>", "cut off"),
            (r'"schema":"eyeshot.page/1"', '"schema":"eyeshot.page/9"', "not of the kind"),
            (r'"relations":', '"other":', None),
            (r'"outputs":.*?"layers":\[\{', '"layers":[7,{', "do not fit"),
        )
    ):
        damaged = re.sub(old, new, whole, count=1, flags=re.DOTALL)
        assert damaged != whole
        file = tmp_path / f"damaged-{k}.html"
        file.write_text(damaged, encoding="utf-8")
        tab.goto(file.as_uri())
        tab.wait_for_selector("html[data-ready]")
        if says is None:
            continue
        notice = tab.get_by_role("alert")
        assert says in notice.inner_text(), json.dumps(notice.inner_text())
        assert tab.evaluate("document.documentElement.dataset.ready") == "failed"
        assert notice.count() == 1
    context.close()

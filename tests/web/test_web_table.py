"""The table of the page: its cells, CSV and Markdown are the library's; sorting, searching and choosing."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import eyeshot
from eyeshot.analysis.report import Layer
from eyeshot.views import export, table
from eyeshot.views.web.page import page as page_data

SHOWN = """() => [...document.querySelectorAll("#table tbody tr")].map((row) =>
  [...row.cells].sort((a, b) => a.ariaColIndex - b.ariaColIndex)
    .map((cell, k) => k ? cell.textContent : cell.querySelector(".table-name").textContent))"""

# In the page of one network the texts of any number of others.
TEXTS = """async (pages) => {
  const { Page } = await import("eyeshot/model.js");
  const { cells, csv, markdown } = await import("eyeshot/table/texts.js");
  return pages.map((content) => {
    const page = new Page(content);
    return [csv(page.layers), markdown(page, page.layers), page.layers.map(cells)];
  });
}"""

HOSTILE = 'a|b*c_`d`[e]{f}<img src=x onerror=alert(1)>,"quoted"\nsecond\ttab\u00a0\u200b'


def names(tab: Any) -> list[str]:
    return [cells[0] for cells in tab.evaluate(SHOWN)]


@cache
def mobilenet() -> eyeshot.Report:
    return eyeshot.analyze("torchvision:mobilenet_v3_small", "3x224x224")


def networks() -> dict[str, eyeshot.Report]:
    """Fractions, unlike axes, global and unbounded fields, bounds, several inputs, hostile names."""
    up = {"up": {"op": "upsample", "scale": 3}, "again": {"op": "upsample", "scale": 2}}
    uneven: dict[str, Any] = {
        "conv": {"op": "conv", "kernel": [7, 5], "stride": [2, 1], "channels": 4},
        'a|b*c_`d`[e]{f}<img src=x onerror=alert(1)>,"quoted"': {"op": "conv", "kernel": 3},
    }
    unknown = {f"odd{k}": {"op": "opaque", "function": "some_*thing*"} for k in range(6)}
    opaque = {"layers": {"conv": [3, 1, 1], **unknown}}
    return {
        "up": eyeshot.analyze({"layers": {**up, "conv": [3, 1, 1]}}, input=4),
        "uneven": eyeshot.analyze({"input": [3, 64, 48], "name": "x|y", "layers": uneven}),
        "mobilenet": mobilenet(),
        "recurrent": eyeshot.analyze(_named("gru", "GRU", 4, 4, batch_first=True), (1, 16, 4)),
        "hostile": eyeshot.analyze(_named(HOSTILE, "Conv2d", 3, 2, 3), (1, 3, 16, 16)),
        "opaque": eyeshot.analyze(opaque, input=20),
        **{name: eyeshot.analyze(f"example:{name}") for name in ("unet", "fpn", "wavenet")},
    }


def _named(name: str, kind: str, *args: Any, **options: Any) -> Any:
    import torch

    net = torch.nn.Sequential()
    net.add_module(name, getattr(torch.nn, kind)(*args, **options))
    return net


def test_texts_are_the_librarys(opened: Callable[..., Any]) -> None:
    reports = networks()
    tab = opened("example:five-by-five")
    found = tab.evaluate(TEXTS, [page_data(report) for report in reports.values()])
    assert any("global" in report.to_markdown() for report in reports.values())
    assert "1/3" in reports["up"].to_markdown() and "≤" in reports["opaque"].to_markdown()
    for (name, report), (csv, markdown, cells) in zip(reports.items(), found, strict=True):
        assert csv == report.to_csv(), name
        assert markdown == report.to_markdown(), name
        assert [tuple(row) for row in cells] == [row.cells for row in table.rows(report)], name


def natural(name: str) -> list[Any]:
    return [int(p) if k % 2 else p for k, p in enumerate(re.split("([0-9]+)", name))]


def greatest(layer: Layer, column: str) -> float | None:
    values = [getattr(field, column) for field in layer.fields]
    numbers = [float(v) for v in values if v is not None]
    return max(numbers, default=None)


def ordered(report: eyeshot.Report, column: str, down: bool) -> list[str]:
    """Python's stable sort; layers without a number come last either way."""
    if column in ("layer", "op"):
        key = {"layer": lambda x: natural(x.name), "op": lambda x: x.op}[column]
        return [x.name for x in sorted(report, key=key, reverse=down)]
    have = [layer for layer in report if greatest(layer, column) is not None]
    lack = [layer for layer in report if greatest(layer, column) is None]
    have.sort(key=lambda x: greatest(x, column) or 0, reverse=down)
    return [layer.name for layer in (*have, *lack)]


# Every column, thrice: what the head says and which rows stand there.
SORTED = """(columns) => columns.flatMap((column) => Array.from({ length: 3 }, () => {
  const head = document.querySelector(`#table th[data-column=${column}]`);
  head.querySelector("button").click();
  return [column, head.ariaSort, (SHOWN)()];
}))"""


def test_sorting_is_pythons_and_comes_back(opened: Callable[..., Any]) -> None:
    report = eyeshot.analyze("example:fpn")
    tab = opened(report)
    original = [layer.name for layer in report]
    assert names(tab) == original
    found = iter(tab.evaluate(SORTED.replace("SHOWN", SHOWN), list(table.HEADINGS)))
    for column in table.HEADINGS:
        for state in ("ascending", "descending", "none"):
            assert (column, state) == tuple((now := next(found))[:2])
            down = state == "descending"
            expected = original if state == "none" else ordered(report, column, down)
            assert [cells[0] for cells in now[2]] == expected, (column, state)
    first = [
        int(n)
        for n in tab.evaluate(
            "[...document.querySelectorAll('#table tbody tr')].map((r) => r.ariaRowIndex)"
        )
    ]
    assert first == list(range(2, len(original) + 2))


def test_search_filters_and_copies_of_what_is_shown(opened: Callable[..., Any]) -> None:
    report = mobilenet()
    tab = opened(report, check=True)
    # A page opened from disk has the clipboard of a secure context or not: both ways are walked.
    tab.evaluate("navigator.clipboard.writeText = async (text) => { globalThis.copied = text; }")
    find = tab.locator("#table input[type=search]")
    for asked in (
        "features.1?.*",
        "*.avgpool",
        "[fc]*",
        "[!f]*",
        "FC2",
        "conv2d",
        "nothing like it",
    ):
        find.fill(asked)
        if re.search(r"[*?[]", asked):
            wanted = [x for x in report if fnmatchcase(x.name, asked) or fnmatchcase(x.op, asked)]
        else:
            part = asked.lower()
            wanted = [x for x in report if part in x.name.lower() or part in x.op.lower()]
        assert names(tab) == [layer.name for layer in wanted], asked
        assert tab.locator("#table .empty").is_visible() == (not wanted)
    find.fill("avgpool")
    tab.locator("#table th[data-column=layer] button").click(click_count=1)
    tab.locator("#table th[data-column=layer] button").click()
    shown = [report[name] for name in names(tab)]
    assert shown == sorted(shown, key=lambda x: natural(x.name), reverse=True) and len(shown) > 3
    for kind, text in (("CSV", export.to_csv), ("Markdown", export.to_markdown)):
        tab.locator("#table summary", has_text="Copy").click()
        tab.get_by_role("button", name=f"Copy as {kind}").click()
        tab.get_by_text(f"{len(shown)} rows copied as {kind}").wait_for()
        assert tab.evaluate("globalThis.copied") == text(report, shown)
    tab.evaluate(
        """() => {
          navigator.clipboard.writeText = async () => { throw new Error("refused"); };
          document.addEventListener("copy", () => { globalThis.copied = document.activeElement.value; });
        }"""
    )
    tab.locator("#table summary", has_text="Copy").click()
    tab.get_by_role("button", name="Copy as CSV").click()
    tab.get_by_text("rows copied as CSV").wait_for()
    assert tab.evaluate("globalThis.copied") == export.to_csv(report, shown)
    find.fill("")
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Download CSV").click()
    assert saved.value.suggested_filename.endswith("-layers.csv")
    wide = [x for x in report if any(f.size > 224 for f in x.fields)]
    whole = [x for x in report if any(f.is_global for f in x.fields)]
    for chip, wanted in (
        ("wider than the input", wide),
        ("global", [x for x in wide if x in whole]),
    ):
        tab.locator("#table .table-chips button", has_text=chip).click()
        assert sorted(names(tab)) == sorted(x.name for x in wanted)


def test_the_layer_that_passes_the_input_and_findings_are_marked(
    opened: Callable[..., Any],
) -> None:
    report = eyeshot.analyze("torchvision:resnet18", "3x224x224")
    check = eyeshot.check(report)
    assert check.findings
    tab = opened(report, check=True)
    first = next(x.name for x in report if any(f.size > 224 for f in x.fields))
    marked = tab.locator("#table tr", has_text="passes 224")
    assert marked.count() == 1 and first in (marked.text_content() or "")
    tab.locator("#table .table-chips button", has_text="with findings").click()
    named = {name for finding in check.findings for name in finding.layers}
    assert names(tab) == [x.name for x in report if x.name in named]


def test_rows_choose_by_click_and_keys(opened: Callable[..., Any]) -> None:
    tab = opened("example:alexnet")
    chosen = "import('eyeshot/main.js').then(({ app }) => app.store.state.layer)"
    row = "#table tr[data-number='{}']".format
    tab.locator(row(2)).click()
    assert tab.evaluate(chosen) == 2
    for key, layer in (
        ("ArrowDown", 3),
        ("End", 9),
        ("ArrowDown", 9),
        ("Home", 0),
        ("ArrowDown", 1),
    ):
        tab.keyboard.press(key)
        assert tab.evaluate(chosen) == layer
        assert tab.locator(row(layer)).get_attribute("aria-selected") == "true"
        assert tab.evaluate("Number(document.activeElement.dataset.number)") == layer
    assert tab.locator("#table tr[aria-selected=true]").count() == 1
    assert tab.locator("#table tr[tabindex='0']").count() == 1
    tab.locator(row(5)).hover()
    assert tab.evaluate("import('eyeshot/main.js').then(({ app }) => app.store.state.pointed)") == 5


LONG = """async (long) => {
  const { Page } = await import("eyeshot/model.js");
  const { START, Store } = await import("eyeshot/store.js");
  const { mount } = await import("eyeshot/table.js");
  const content = JSON.parse(document.getElementById("page-data").textContent);
  const times = (value, more = () => ({})) =>
    Array.from({ length: long }, (_, k) => ({ ...value, ...more(k) }));
  content.report.layers = times(content.report.layers[0], (k) => ({ name: `block${k >> 4}.conv${k}` }));
  content.layers = times(content.layers[0]);
  const store = new Store(START);
  const began = performance.now();
  store.show(new Page(content));
  document.querySelector("main").replaceChildren();
  const place = document.querySelector("main").appendChild(document.createElement("section"));
  mount(place, { store, live: null, keys: [], say() {} });
  const frame = place.querySelector(".table-frame");
  frame.getBoundingClientRect();
  const built = performance.now() - began;
  const far = long - 700;
  store.choose(far);
  await new Promise(requestAnimationFrame);
  const row = place.querySelector(`tr[data-number='${far}']`);
  const [inner, outer] = [row.getBoundingClientRect(), frame.getBoundingClientRect()];
  const sorting = performance.now();
  place.querySelector("th[data-column=layer] button").click();
  frame.getBoundingClientRect();
  return [built, performance.now() - sorting, inner.top >= outer.top && inner.bottom <= outer.bottom, scrollY];
}"""


def test_thousands_of_rows(opened: Callable[..., Any]) -> None:
    tab = opened("example:five-by-five")
    long = 3000
    built, took, seen, scrolled = tab.evaluate(LONG, long)
    # The row is brought into the table's own view, and the page stays where it is.
    assert seen and scrolled == 0
    # Far less where nothing else runs; a layout of every row takes seconds.
    assert built < 4000 and took < 2000, (built, took)
    tab.emulate_media(media="print")
    rows, high, frame = tab.evaluate(
        """() => { const rows = [...document.querySelectorAll("main tbody tr")];
          return [rows.length, rows.filter((row) => row.getBoundingClientRect().height > 8).length,
            document.querySelector("main .table-frame").clientHeight]; }"""
    )
    assert rows == high == long and frame > 8 * long

"""Pictures and data out of the page: files that stand alone, in the page's own colours and numbers."""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eyeshot

SHAPES = ("path", "rect", "circle", "line")
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<img src=x onerror=alert(1)>/..\\&"


def saved(tab: Any, name: str, folder: Path) -> tuple[str, bytes]:
    menu = tab.locator("details.export")
    if menu.get_attribute("open") is None:
        menu.locator("summary").click()
    with tab.expect_download() as download:
        menu.get_by_role("button", name=name, exact=True).click()
    file = folder / "saved"
    download.value.save_as(file)
    return download.value.suggested_filename, file.read_bytes()


def test_pictures_stand_alone(opened: Callable[..., Any], tmp_path: Path) -> None:
    net = {"name": HOSTILE, "input": [3, 32, 32], "layers": {HOSTILE: [3, 2, 1], "b": [3, 1, 1]}}
    tab = opened(net)
    tab.emulate_media(color_scheme="dark")
    tab.locator("#field svg .marks-box, #field svg [class*=box]").first.wait_for(state="attached")
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    for view, section in (("Field view", "field"), ("Network", "graph"), ("Growth", "growth")):
        name, content = saved(tab, f"{view} as SVG", tmp_path)
        assert re.fullmatch(r"[A-Za-z0-9._-]+\.svg", name) and ".." not in name, name
        text = content.decode("utf-8")
        root = ET.fromstring(text)
        # Nothing in it needs the page: no variables, classes, scripts, handlers or addresses.
        for one in root.iter():
            assert one.tag not in (f"{SVG}script", f"{SVG}foreignObject", f"{SVG}style")
            for key, value in one.attrib.items():
                assert not re.match("on|class|style|id=", key), (one.tag, key)
                assert not re.search(r"var\(|light-dark|blob:|file:|https?:", value), (key, value)
        (title,) = root.findall(f"{SVG}title")
        assert HOSTILE in (title.text or "")
        here = tab.locator(f"#{section} svg :is(path, rect, circle, line)").count()
        assert (
            len([e for e in root.iter() if e.tag[len(SVG) :] in ("path", "rect", "circle", "line")])
            >= here / 2
        )
        paper = root.find(f"{SVG}rect")
        assert paper is not None and paper.get("fill") != dark
        size, png = saved(tab, f"{view} as PNG", tmp_path)
        assert size.endswith(".png") and png[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", png[16:24])
        assert (width, height) == (
            2 * float(root.get("width", 0)),
            2 * float(root.get("height", 0)),
        )
    tab.get_by_label("In light colours").uncheck()
    _, content = saved(tab, "Growth as SVG", tmp_path)
    paper = ET.fromstring(content.decode("utf-8")).find(f"{SVG}rect")
    assert paper is not None and paper.get("fill") == tab.evaluate(
        "getComputedStyle(document.querySelector('#growth .panel')).backgroundColor"
    )
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_a_picture_looks_like_the_page(opened: Callable[..., Any], tmp_path: Path) -> None:
    """The box in the saved field view has the page's own place, size and colour, when it is opened alone."""
    tab = opened("example:alexnet")
    tab.evaluate(
        """import('eyeshot/main.js').then(({ app }) => new Promise((drawn) => {
          app.store.choose(4, [5, 6]);
          requestAnimationFrame(() => requestAnimationFrame(drawn));
        }))"""
    )
    look = """(colour) => [...document.querySelectorAll("path, rect")]
      .filter((one) => getComputedStyle(one).stroke === colour)
      .map((one) => one.getBoundingClientRect()).filter((r) => r.width > 40).map((r) => [r.width, r.height])"""
    colour = tab.evaluate(
        """() => { const probe = document.body.appendChild(document.createElement("i"));
          probe.style.color = "var(--box)";
          const { color } = getComputedStyle(probe);
          probe.remove();
          return color; }"""
    )
    inside = look.replace('"path, rect"', '"#field path, #field rect"')
    tab.wait_for_function(f"(colour) => ({inside})(colour).length > 0", arg=colour)
    before = tab.evaluate(inside, colour)
    _, content = saved(tab, "Field view as SVG", tmp_path)
    alone = tmp_path / "alone.svg"
    alone.write_bytes(content)
    tab.goto(alone.as_uri())
    after = tab.evaluate(look, colour)
    assert before and len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert one == pytest.approx(other, abs=0.6)


def test_data_and_tables(opened: Callable[..., Any], tmp_path: Path) -> None:
    report = eyeshot.analyze("example:unet")
    tab = opened(report)
    name, content = saved(tab, "Data (JSON)", tmp_path)
    assert name.endswith("-report.json") and json.loads(content) == report.to_dict()
    assert saved(tab, "Table as CSV", tmp_path)[1].decode("utf-8") == report.to_csv()
    assert saved(tab, "Table as Markdown", tmp_path)[1].decode("utf-8") == report.to_markdown()


def test_file_names(opened: Callable[..., Any]) -> None:
    tab = opened("example:alexnet")
    asked = [["../../etc/passwd"], [HOSTILE, "Ünï·cödé"], ["", None], ["x" * 300, "a b"], ["."]]
    found = tab.evaluate(
        """async (all) => { const { fileName } = await import("eyeshot/table/save.js");
          return all.map((one) => fileName(one, "svg")); }""",
        asked,
    )
    for name in found:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.svg", name) and len(name) < 200, name
    assert found[2] == "network.svg" and found[0] == "etc-passwd.svg"

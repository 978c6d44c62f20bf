"""The page as one file: hostile names stay text, nothing is asked of any network, and the command writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import eyeshot
from eyeshot.cli import main

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    'title" onclick="alert(3)',
    "x" * 300,
)


def test_names_are_text(tab: Any, tmp_path: Path) -> None:
    layers = {name: {"op": "conv", "kernel": 3, "padding": 1} for name in HOSTILE}
    report = eyeshot.analyze({"input": [1, 8, 8], "layers": layers})
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("dialog", lambda dialog: pytest.fail("a name ran as code"))
    file = tmp_path / "report.html"
    title = "a\u2028b</title><script>alert(4)</script> \"quoted\" & 'so'"
    file.write_text(report.to_html(title=title), encoding="utf-8")
    tab.goto(file.as_uri())
    tab.wait_for_selector("html[data-ready=true]")
    assert tab.title() == f"{title} · eyeshot"
    shown = tab.evaluate(
        """async () => {
          const { app } = await import("eyeshot/main.js");
          return app.store.state.page.layers.map((layer) => layer.name);
        }"""
    )
    assert tuple(shown) == HOSTILE
    text = tab.evaluate("document.body.textContent")
    assert all(name in text for name in HOSTILE[:3])
    assert tab.locator("img[src=x], [onerror], [onclick]").count() == 0
    assert asked and all(url.startswith(("file:", "data:", "blob:")) for url in asked)


def test_modules_come_out_as_they_went_in(tab: Any) -> None:
    """Of all modules, and of what a URL or a document may take for something else."""
    from eyeshot.views.web import single

    odd = (
        "".join(map(chr, range(160)))
        + "%41 ? # x  \u00d7\u2028\u2029\U0001f600 </script><!-- &amp; \\n\n"
    )
    icon = single.FRONT.joinpath("icon.svg").read_text("utf-8")
    texts = {**{f"eyeshot/{k}": v for k, v in single.modules().items()}, "odd": odd}
    page = single.single_file({"title": odd}, {"odd": odd})
    tab.goto("about:blank")
    urls = tab.evaluate(
        """(page) => {
          const found = new DOMParser().parseFromString(page, "text/html");
          const map = JSON.parse(found.querySelector("[type=importmap]").textContent).imports;
          const lesson = JSON.parse(found.getElementById("lesson-data").textContent);
          return [map, found.querySelector("[rel=icon]").getAttribute("href"), lesson.odd];
        }""",
        page,
    )
    assert urls[2] == odd
    asked = {**urls[0], "odd": single._data_url("text/javascript", odd), "icon": urls[1]}
    read = tab.evaluate(
        """async (urls) => Object.fromEntries(await Promise.all(
          Object.entries(urls).map(async ([name, url]) => [name, await (await fetch(url)).text()])))""",
        asked,
    )
    assert read == {**texts, "icon": icon}
    licence = single.FRONT.joinpath("vendor", "dagre.LICENSE").read_text("utf-8")
    assert licence.startswith("Copyright") and licence in read["eyeshot/vendor/dagre.js"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, arguments)


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    done = run("report", "example:wavenet", "--rate", "16000", "-o", str(file))
    assert (done.exit_code, done.output) == (0, "")
    text = file.read_text("utf-8")
    assert text.startswith("<!doctype html>") and '"rate":16000.0' in text
    assert '"findings":{' in text
    assert run("report", "example:wavenet", "--no-check", "-o", str(file)).exit_code == 0
    assert '"findings":null' in file.read_text("utf-8")


def test_settings_are_those_of_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = "layers:\n  a: {op: conv, kernel: 3, stride: 2}\n  b: {op: conv, kernel: 3, stride: 2}\n"
    Path("net.yaml").write_text(net, "utf-8")

    def codes(*more: str) -> set[str]:
        done = run("report", "net.yaml", *more, "-o", "page.html")
        assert (done.exit_code, done.output) == (0, "")
        data = (
            Path("page.html").read_text("utf-8").split('id="page-data">')[1].split("</script>")[0]
        )
        content = json.loads(data)
        assert content["report"]["inputs"][0]["shape"] == [1, 3, 40, 40]
        return {finding["code"] for finding in content["findings"]["findings"]}

    plain = codes("--input", "3x40x40")
    assert {"field-below-input", "shifted-map"} <= plain
    settings = 'ignore = ["shifted-map"]\nfail-on = "note"\ninput = "3x40x40"\nobject = 39\n'
    Path("pyproject.toml").write_text(f"[tool.eyeshot]\n{settings}", "utf-8")
    assert codes() == plain - {"shifted-map"} | {"field-below-object"}
    assert codes("--no-config", "--input", "3x40x40") == plain


def test_an_image_is_in_the_page(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    report = eyeshot.analyze("example:five-by-five")
    text = report.to_html(image=tmp_path / "red.png", check=False)
    assert '"image":{"url":"data:image/png;base64,' in text and '"name":"red.png"' in text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--rate", "0"), "rate: expected samples a second"),
        (("--image", "nowhere.png"), "nowhere.png: there is no such file"),
        (("--of", "nothing"), "there is no layer 'nothing'"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, more: tuple[str, ...], says: str) -> None:
    file = tmp_path / "page.html"
    done = run("report", "example:five-by-five", *more, "-o", str(file))
    assert done.exit_code == 2 and says in done.output and done.output.count("\n") == 1
    assert not file.exists()


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    done = run("report", "example:five-by-five", "-o", str(tmp_path / "page.pdf"))
    assert done.exit_code == 2 and "ends in .html" in done.output

"""A real browser for the tests of the page: Debian's chromium, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest

import eyeshot
from eyeshot.views.web.page import page as page_data
from eyeshot.views.web.single import single_file

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

SIZE: ViewportSize = {"width": 1280, "height": 900}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--renderer-process-limit=1",
]


def chromium() -> str:
    """The browser's executable; its absence is an error, not a reason to skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "the tests of the page need Debian's package chromium"
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser, for one file: its driver keeps a loop running in the thread, which others must not meet."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    """One tab for all tests of a file: a new one for each would cost more than most of them."""
    context = browser.new_context(viewport=SIZE)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an empty page on disk."""
    file = tmp_path_factory.mktemp("blank") / "blank.html"
    file.write_text("<!doctype html><title>blank</title>", encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def tab(window: Page, blank: str) -> Iterator[Page]:
    """An empty tab, 1280 wide. Anything that the console says as a warning or an error fails the test."""
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("warning", "error"):
            said.append(f"{message.type}: {message.text}")

    def uncaught(error: Any) -> None:
        said.append(f"uncaught: {error}")

    window.on("console", hear)
    window.on("pageerror", uncaught)
    yield window
    window.remove_listener("console", hear)
    window.remove_listener("pageerror", uncaught)
    window.unroute_all()
    window.evaluate("try { localStorage.clear(); sessionStorage.clear(); } catch {}")
    # Away from the page, but not from its site: that would start another process.
    window.goto(urljoin(window.url, "/icon.svg") if window.url.startswith("http") else blank)
    window.set_viewport_size(SIZE)
    window.emulate_media(
        media="null", color_scheme="null", reduced_motion="null", forced_colors="null"
    )
    assert not said, said


@cache
def _analyzed(source: str, input: str | None = None) -> eyeshot.Report:
    return eyeshot.analyze(source, input)


@pytest.fixture(scope="session")
def analyzed() -> Callable[..., eyeshot.Report]:
    """``analyzed(source, input)``: the report of a network by its name; many tests ask for the same ones."""
    return _analyzed


@cache
def _lesson() -> dict[str, Any]:
    return page_data(_analyzed("example:five-by-five"))


@pytest.fixture(scope="module")
def model(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab for all tests that ask the network's model and not the views: they bring their own data."""
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text))
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    file = tmp_path_factory.mktemp("model") / "report.html"
    file.write_text(single_file(_lesson(), _lesson()), encoding="utf-8")
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    yield page
    context.close()
    assert not said, said


@pytest.fixture
def opened(tab: Page, tmp_path: Path) -> Callable[..., Page]:
    """``opened(source, input, **analyze options)``: the tab, showing the report of a network from a file.

    ``check=True``: with what ``eyeshot check`` finds.
    """

    def at(
        source: Any,
        input: Any = None,
        *,
        rate: float | None = None,
        check: bool = False,
        **options: Any,
    ) -> Page:
        if isinstance(source, eyeshot.Report):
            report = source
        elif isinstance(source, str) and input is None and not options:
            report = _analyzed(source)
        else:
            report = eyeshot.analyze(source, input, **options)
        found = eyeshot.check(report) if check else None
        content = single_file(page_data(report, check=found, rate=rate), _lesson())
        # A name of its own, so that going there is never a step inside the page that is open.
        file = tmp_path / f"report-{len(list(tmp_path.iterdir()))}.html"
        file.write_text(content, encoding="utf-8")
        tab.goto(file.as_uri())
        tab.wait_for_selector("html[data-ready=true]")
        return tab

    return at


AXE = """async ([within, rules]) => {
  const only = rules && { runOnly: { type: "rule", values: rules } };
  const found = await axe.run(within ?? document, { resultTypes: ["violations"], ...only });
  return found.violations
    .filter((one) => one.impact === "serious" || one.impact === "critical")
    .map(({ id, help, nodes }) => {
      const where = nodes.slice(0, 5).map((node) => node.html.slice(0, 200));
      return `${id}: ${help}: ${where.join(" | ")}`;
    });
}"""


@pytest.fixture(scope="session")
def axe() -> Callable[..., list[str]]:
    """``axe(tab)``: what axe-core finds serious or critical in the tab as it is shown now.

    ``within``: a selector, to look only there; ``rules``: names of axe's rules, to look only for these.
    """
    import axe_playwright_python.base as packaged

    script = Path(packaged.__file__).with_name("axe.min.js").read_text(encoding="utf-8")

    def found(tab: Page, within: str | None = None, rules: list[str] | None = None) -> list[str]:
        # Evaluated by the driver, which no policy of the page forbids.
        if not tab.evaluate("'axe' in window"):
            tab.evaluate(script)
        violations: list[str] = tab.evaluate(AXE, [within, rules])
        return violations

    return found

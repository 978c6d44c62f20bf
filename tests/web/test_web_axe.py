"""axe-core finds nothing serious in a report: both themes, menus and dialogs open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

Axe = Callable[..., list[str]]


def test_report(opened: Any, axe: Axe) -> None:
    tab = opened("example:patchgan", check=True)
    tab.locator(".glossary > summary").click()
    assert axe(tab) == []
    tab.get_by_title("About this network").click()
    assert axe(tab, "header") == []
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="Keys", exact=True).click()
    assert axe(tab, "dialog") == []
    tab.keyboard.press("Escape")
    # The other theme differs in its colours only.
    tab.emulate_media(color_scheme="dark")
    assert axe(tab, rules=["color-contrast"]) == []


def test_narrow_and_time(opened: Any, axe: Axe) -> None:
    tab = opened({"a": [3, 2, 0], "b": [3, 2, 1]}, 64, rate=16000.0)
    tab.set_viewport_size({"width": 360, "height": 740})
    assert axe(tab) == []


def test_axe_does_look(tab: Page, axe: Axe) -> None:
    tab.set_content("<html><title>t</title><body><button></button></body></html>")
    assert any("button-name" in one for one in axe(tab))

"""The page as one file: HTML with the styles, the modules and the data inside. It asks no network for anything.

The modules are the same files that the live page is served; an import map names each as a ``data:`` URL. A
policy in the document itself forbids connections, so that a report can't tell anyone that it was opened.
"""

from __future__ import annotations

import json
import posixpath
import re
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

__all__ = ["FRONT", "modules", "single_file"]

FRONT: Traversable = files("eyeshot.views.web") / "front"
#: ``from "./x.js"`` in a module, also where only its effects are wanted.
IMPORT = re.compile(r'^((?:import|export)\b[^;"]*?|import )"(\.\.?/[\w./-]+\.js)";$', re.MULTILINE)
STYLE = re.compile(r'<link rel="stylesheet" href="([\w/-]+\.css)" />')
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
#: What a URL would take for something else, drop, or shorten: its own marks, line ends and other controls. And
#: ``<``, so that no text ends the element it stands in. A path like this one keeps spaces, quotes and all else.
ESCAPED = re.compile(r"[\x00-\x1f\x7f%#?<]")


def modules(first: str = "main.js") -> dict[str, str]:
    """The module ``first`` and all that it imports, by file name; imports by bare names, ``eyeshot/x.js``."""
    found: dict[str, str] = {}
    wanted = [first]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        folder = name.rpartition("/")[0]
        text = _read(name)

        def bare(match: re.Match[str], folder: str = folder) -> str:
            other = posixpath.normpath(posixpath.join(folder, match[2]))
            wanted.append(other)
            return f'{match[1]}"eyeshot/{other}";'

        found[name] = IMPORT.sub(bare, text) + _licence(name)
    return found


def _licence(name: str) -> str:
    """The notice of what is not our own, which lies beside it here and goes with every copy."""
    if not name.startswith("vendor/"):
        return ""
    return f"/*!\n{_read(name.removesuffix('.js') + '.LICENSE')}*/\n"


def single_file(page: dict[str, Any], lesson: dict[str, Any] | None = None) -> str:
    """The HTML text of a report: the data of :func:`~eyeshot.views.web.page.page`, and that of the lesson."""
    text = (FRONT / "index.html").read_text(encoding="utf-8")
    text = STYLE.sub(lambda link: f"<style>\n{_read(link[1])}</style>", text)
    icon = _data_url("image/svg+xml", (FRONT / "icon.svg").read_text(encoding="utf-8"))
    names = {
        f"eyeshot/{name}": _data_url("text/javascript", code) for name, code in modules().items()
    }
    parts = {
        'data-mode="live"': 'data-mode="report"',
        '<meta charset="utf-8" />': '<meta charset="utf-8" />\n    <meta http-equiv="Content-Security-Policy" '
        f'content="{POLICY}" />',
        "<title>eyeshot</title>": f"<title>{escape(page['title'] or 'network')} · eyeshot</title>",
        'href="icon.svg"': f'href="{escape(icon)}"',
        '<script type="module" src="main.js"></script>': "\n    ".join(
            (
                _json("page-data", page),
                _json("lesson-data", lesson),
                f'<script type="importmap">{_dumped({"imports": names})}</script>',
                '<script type="module">import "eyeshot/main.js";</script>',
            )
        ),
    }
    for old, new in parts.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def _read(name: str) -> str:
    return FRONT.joinpath(*name.split("/")).read_text(encoding="utf-8")


def _json(name: str, content: Any) -> str:
    """Data in the document; no character in it can end the element."""
    return f'<script type="application/json" id="{name}">{_dumped(content)}</script>'


def _dumped(content: Any) -> str:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data_url(kind: str, text: str) -> str:
    """The text as a URL, with the fewest escapes that are right: it ends in a line end, so in no space."""
    assert text.endswith("\n")
    body = ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", text)
    return f"data:{kind};charset=utf-8,{body}"

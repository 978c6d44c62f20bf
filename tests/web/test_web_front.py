"""The rules of the page's own files that need no browser: imports, texts, colours, lines."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import eyeshot.views.web

FRONT = Path(eyeshot.views.web.__file__).parent / "front"
TEXTS = {
    path.relative_to(FRONT).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(FRONT.rglob("*"))
    if path.suffix in {".js", ".css", ".html", ".svg"} and "vendor" not in path.parts
}
MODULES = {name: text for name, text in TEXTS.items() if name.endswith(".js")}
SHEETS = {name: text for name, text in TEXTS.items() if name.endswith(".css")}
IMPORT = re.compile(
    r'^import (?:\{ [\w, \n]+ \}|\* as \w+|\w+) from "(\.\.?/[\w./-]+\.js)";$', re.M
)
EXPORT = re.compile(r"^export (?:async )?(?:function|class|const|let) (\w+)", re.M)
#: Where a text would become markup, style or code.
FORBIDDEN = re.compile(
    r"(?:inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|"
    r"\beval\(|new Function|setAttribute\(\s*[\"'`](?:style|on)|\bstyle: [\"\'`]|cssText|javascript:"
)
COLOUR = re.compile(
    r"#[0-9a-f]{3,8}\b(?=[^{]*\})|\b(?:rgb|hsl|oklch|lab)a?\(|light-dark\(|"
    r"(?:color|background|fill|stroke|border[\w-]*): [^;]*\b(?:white|black|red|green|blue|gray|grey)\b",
    re.I,
)


def code(text: str) -> str:
    """Without comments."""
    return re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", "", text, flags=re.S)


def test_imports_have_the_form_that_the_bundler_sees() -> None:
    for name, text in MODULES.items():
        found = IMPORT.findall(text)
        stated = re.findall(r"\bimport\b(?! ?\()", code(text))
        assert len(found) == len(stated), name
        assert not re.search(r'^export\b.*\bfrom "', text, re.M), name
        late = re.findall(r"\bimport\(([^)]*)\)", code(text))
        assert late == (['"./live/main.js"'] if name == "main.js" else []), name
        for other in found:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), other))
            assert (FRONT / path).is_file(), f"{name} imports {other}"
            assert name.startswith("live/") or not path.startswith("live/"), name


def test_imported_names_are_exported_and_all_modules_are_used() -> None:
    used = {"main.js", "live/main.js"}
    for name, text in MODULES.items():
        for names, other in re.findall(r'^import \{ ([^}]*) \} from "([^"]+)";', text, re.M):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), other))
            wanted = {one.split(" as ")[0].strip() for one in names.split(",")}
            assert wanted <= set(EXPORT.findall(MODULES[path])), f"{name}: {other}"
        for other in IMPORT.findall(text):
            used.add(posixpath.normpath(posixpath.join(posixpath.dirname(name), other)))
    assert set(MODULES) <= used


def test_modules_keep_the_rules() -> None:
    for name, text in MODULES.items():
        assert re.match(r"// [A-Z]", text), f"{name}: no comment says what it is for"
        assert not FORBIDDEN.findall(code(text)), name
        assert not COLOUR.findall(code(text)), name


def test_nothing_is_fetched_from_elsewhere() -> None:
    for name, text in TEXTS.items():
        urls = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", code(text))
        assert set(urls) <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"@import|url\((?!#|\$)", code(text)) or name in MODULES, name


def test_colours_are_variables() -> None:
    for name, text in SHEETS.items():
        if name != "style/base.css":
            assert not COLOUR.findall(code(text)), name
    stated = set(re.findall(r"(--[\w-]+):", "".join(SHEETS.values())))
    stated |= set(re.findall(r'setProperty\("(--[\w-]+)"', "".join(MODULES.values())))
    wanted = set(re.findall(r"var\((--[\w-]+)", "".join(TEXTS.values())))
    assert wanted <= stated
    html = TEXTS["index.html"]
    assert set(re.findall(r'<link rel="stylesheet" href="([^"]+)"', html)) == set(SHEETS)
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?! type=\"module\" src=)", html)


def test_styles_are_of_classes_that_exist() -> None:
    scripts = "".join(MODULES.values()) + TEXTS["index.html"]
    words = set(re.findall(r"[\w-]+", scripts))
    begun = tuple(re.findall(r"([a-z][\w-]*-|\bf)\$\{", scripts))
    for name, text in SHEETS.items():
        for selector in re.findall(r"([^{};]+)\{", code(text)):
            for one in re.findall(r"\.([A-Za-z][\w-]*)", selector):
                assert one in words or one.startswith(begun), f"{name}: .{one}"


def test_lines_are_short() -> None:
    long = [
        f"{name}:{number}"
        for name, text in TEXTS.items()
        if not name.endswith(".svg")
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > 112
    ]
    assert not long

"""What there is to open: the bundled examples, and the names of the installed zoos' models."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eyeshot.examples import names, path

__all__ = ["examples", "zoo"]

#: A builder that a zoo registers, under its own name or one that it gives; other decorators may follow.
REGISTERED = re.compile(
    r"^@register_model(?:\(([^)]*)\))?\n(?:@[\w.]+\n|@[\w.]+\((?:.|\n)*?\)\n)*?def (\w+)\(",
    re.MULTILINE,
)
NAME = re.compile(r"""["']([\w.]+)["']""")
TITLE = re.compile(r"^name:[ \t]*(.+?)[ \t]*$", re.MULTILINE)


def examples() -> list[dict[str, str]]:
    """Name, title and text of each bundled spec."""
    out = []
    for name in names():
        text = path(name).read_text(encoding="utf-8")
        title = TITLE.search(text)
        out.append({"name": name, "title": title[1].strip("\"'") if title else name, "text": text})
    return out


@cache
def zoo(package: str) -> list[str] | None:
    """The names of a zoo's models; None where it is not installed.

    They are read in its source: importing it takes seconds, and the page waits for this list. A worker asks the
    package itself before it builds one.
    """
    if not _there("torch") or not _there(package):
        return None
    spec = find_spec(package)
    found: set[str] = set()
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder, "models").rglob("*.py")):
            for match in REGISTERED.finditer(file.read_text(encoding="utf-8")):
                given = NAME.search(match[1] or "")
                found.add(given[1] if given else match[2])
    return sorted(found)


def _there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def given_spec(source: str, limit: int) -> dict[str, Any]:
    """The text of a spec that the command line named, so that it can be edited; nothing for other sources."""
    scheme, _, rest = source.partition(":")
    file = path(rest) if scheme == "example" else Path(source)
    form = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}.get(
        file.suffix.lower()
    )
    if form is None:
        return {}
    try:
        data = file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, ValueError):
        return {}
    return {"spec": text, "format": form} if len(data) <= limit else {}

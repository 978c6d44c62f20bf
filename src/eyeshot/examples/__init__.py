"""The bundled specs; ``example:NAME`` is a source everywhere."""

from __future__ import annotations

import difflib
from pathlib import Path

from eyeshot.errors import EyeshotError

__all__ = ["names", "path"]

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of the bundled specs."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def path(name: str) -> Path:
    """The file of the bundled spec ``name``."""
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        raise EyeshotError(f"there is no example {name!r}; {hint}")
    return FOLDER / f"{name}.yaml"

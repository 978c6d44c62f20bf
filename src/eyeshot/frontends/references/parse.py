"""The text of a reference: scheme, name and arguments."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from eyeshot.errors import EyeshotError

__all__ = ["SCHEMES", "Reference", "is_reference", "near", "parse"]

SCHEMES = ("torchvision", "timm", "hf")
FACTORY = re.compile(r"[^\W\d]\w*(\.\w+)*:[^\W\d]\w*(\.\w+)*(\?.*)?", re.DOTALL)
JSON = {"true": True, "false": False, "null": None}


class Reference(NamedTuple):
    """``scheme`` is one of SCHEMES, or the module that a factory is imported from."""

    text: str
    scheme: str
    name: str
    arguments: dict[str, Any]

    @property
    def title(self) -> str:
        """What follows the scheme."""
        return self.text.partition(":")[2]


def is_reference(text: str) -> bool:
    """``timm:resnet18`` and ``net:Model(.py)``, but neither ``example:alexnet`` nor a path."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme == "example":
        return False
    if not rest or len(scheme) == 1:  # C: is a drive
        return False
    return scheme in SCHEMES or bool(FACTORY.fullmatch(text))


def parse(text: str) -> Reference:
    """``timm:resnet18?num_classes=10`` in its parts; values are Python or JSON literals, else text."""
    scheme, _, rest = text.partition(":")
    name, _, query = rest.partition("?")
    if not name:
        raise EyeshotError(f"{text}: a name is missing after {scheme}:")
    arguments: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        key = unquote(key)
        if not equals or not key.isidentifier():
            raise EyeshotError(
                f"{text}: expected arguments as in {scheme}:{name}?key=value&key=value, got {part!r}"
            )
        if key in arguments:
            raise EyeshotError(f"{text}: {key} is given twice")
        arguments[key] = _value(unquote(value))
    return Reference(text, scheme, name, arguments)


def _value(text: str) -> Any:
    if text in JSON:
        return JSON[text]
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def near(name: str, known: Iterable[str]) -> str:
    """``; did you mean …?`` for the closest known names, or nothing."""
    found = difflib.get_close_matches(name, list(known), 3, 0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""

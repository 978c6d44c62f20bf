"""What a project says once for all its checks: the table ``[tool.eyeshot]`` of its ``pyproject.toml``."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from eyeshot.analysis.findings import SEVERITIES, chosen
from eyeshot.errors import EyeshotError

__all__ = ["FAIL_ON", "KEYS", "find", "size", "sizes"]

FAIL_ON = (*SEVERITIES, "never")
FILE = "pyproject.toml"
MAX_BYTES = 4 << 20


def find(source: str | None, config: str | None = None) -> dict[str, Any]:
    """The settings for a source: keys are those of ``KEYS``, values as :func:`eyeshot.check` takes them.

    ``config``: the file; by default the nearest ``pyproject.toml`` with such a table, from the current
    directory upwards. The tables ``sources."GLOB"`` whose glob matches the source (a file by its path from
    where the settings are, others as they are given) come after the common keys: each overrides what is there,
    but ``ignore`` adds to it.

    Raises :class:`~eyeshot.errors.EyeshotError` with the file and the key for what can't be read.
    """
    if config is not None:
        path = Path(config)
        content = _table(path)
        if content is None:
            raise EyeshotError(f"{config}: there is no table [tool.eyeshot]")
        return _merged(path, content, source)
    for folder in (here := Path.cwd(), *here.parents):
        path = folder / FILE
        if path.is_file() and (content := _table(path)) is not None:
            return _merged(path, content, source)
    return {}


def _table(path: Path) -> Any:
    """The table as the file has it; None where there is none."""
    name = _shown(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise EyeshotError(f"{name}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise EyeshotError(f"{name}: larger than {MAX_BYTES >> 20} MiB")
    try:
        content = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise EyeshotError(f"{name}: not a text file (byte {error.start} is not UTF-8)") from None
    except (ValueError, RecursionError) as error:
        raise EyeshotError(f"{name}: not TOML: {error}") from None
    tool = content.get("tool")
    return tool.get("eyeshot") if isinstance(tool, dict) else None


def _shown(path: Path) -> str:
    try:
        return os.path.relpath(path)
    except ValueError:  # on another drive
        return str(path)


def _merged(path: Path, content: Any, source: str | None) -> dict[str, Any]:
    """The common keys, and over them those of the tables for this source; all of them are checked."""
    place = f"{_shown(path)}: tool.eyeshot"
    if not isinstance(content, dict):
        raise EyeshotError(f"{place}: expected a table")
    own = {key: value for key, value in content.items() if key != "sources"}
    found = _read(own, place, [*KEYS, "sources"])
    tables = content.get("sources", {})
    if not isinstance(tables, dict):
        raise EyeshotError(f"{place}.sources: expected a table of sources")
    for pattern, values in tables.items():
        there = f'{place}.sources."{pattern}"'
        if not isinstance(values, dict):
            raise EyeshotError(f"{there}: expected a table")
        read = _read(values, there, KEYS)
        if source is not None and _matches(source, pattern, path.parent):
            ignored = [*found.get("ignore", ()), *read.get("ignore", ())]
            found.update(read)
            if ignored:
                found["ignore"] = ignored
    return found


def _matches(source: str, pattern: str, folder: Path) -> bool:
    name = source
    with suppress(OSError, ValueError, RuntimeError):  # it lies elsewhere, or is no path at all
        path = Path(source).resolve()
        if path.is_file():
            name = path.relative_to(folder.resolve()).as_posix()
    return fnmatchcase(name, pattern)


def _read(values: Mapping[str, Any], place: str, known: Iterable[str]) -> dict[str, Any]:
    out = {}
    for key, value in values.items():
        if key not in KEYS:
            close = difflib.get_close_matches(key, list(known), 1, 0.6)
            hint = f"did you mean {close[0]}?" if close else f"keys are {', '.join(known)}"
            raise EyeshotError(f"{place}.{key}: unknown key; {hint}")
        try:
            out[key] = KEYS[key](value)
        except EyeshotError as error:
            # `chosen` begins with the option's name, which is the key here.
            why = str(error).removeprefix(f"{key}: ")
            raise EyeshotError(f"{place}.{key}: {why}") from None
    return out


# --- values


def size(value: Any) -> int | tuple[int, ...]:
    """The size of an object: ``96``, ``"96x64"``, ``[96, 64]``; one number for all axes, or one per axis."""
    numbers: list[Any]
    if isinstance(value, str):
        parts = re.split(r"[x×]", value.strip())
        if not all(re.fullmatch(r"\d{1,9}", part) for part in parts):
            raise EyeshotError(f"expected a size such as 96 or 96x64, got {value!r}")
        numbers = [int(part) for part in parts]
    else:
        numbers = value if isinstance(value, list) else [value]
        if not numbers or not all(type(n) is int for n in numbers):
            raise EyeshotError(f'expected a size such as 96 or "96x64", got {value!r}')
    if any(n < 1 for n in numbers):
        raise EyeshotError(f"a size is at least 1, got {min(numbers)}")
    return tuple(numbers) if len(numbers) > 1 else numbers[0]


def sizes(value: Any) -> list[int | tuple[int, ...]]:
    """One or several sizes: ``32``, ``"32,64x48"``, ``[32, "64x48"]``."""
    if isinstance(value, str):
        value = value.split(",")
    each = list(map(size, value if isinstance(value, list) else [value]))
    if not each:
        raise EyeshotError("expected a size, got none")
    return each


def _codes(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise EyeshotError(f"expected a list of codes or topics, got {value!r}")
    return names


def _select(value: Any) -> list[str]:
    names = _codes(value)
    chosen(names)
    return names


def _ignore(value: Any) -> list[str]:
    names = _codes(value)
    chosen((), names)
    return names


def _fail_on(value: Any) -> str:
    if value not in FAIL_ON:
        raise EyeshotError(f"expected one of {', '.join(FAIL_ON)}, got {value!r}")
    return str(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise EyeshotError(f"expected true or false, got {value!r}")
    return value


def _dim(value: Any) -> int:
    if type(value) is not int:
        raise EyeshotError(f"expected a dim of the input, got {value!r}")
    return value


def _anchors(value: Any) -> dict[str, list[int | tuple[int, ...]]]:
    if not isinstance(value, dict):
        raise EyeshotError(f"expected a table from layers to sizes, got {value!r}")
    out = {}
    for name, given in value.items():
        try:
            out[name] = sizes(given)
        except EyeshotError as error:
            raise EyeshotError(f"{name}: {error}") from None
    return out


def _input(value: Any) -> Any:
    """As :func:`eyeshot.check` takes it: a text, a number, a list of them, or these by name."""
    for each in value.values() if isinstance(value, dict) else [value]:
        numbers = each if isinstance(each, list) and each else [each]
        if not isinstance(each, str) and not all(type(n) is int for n in numbers):
            raise EyeshotError(f'expected a shape such as "3x224x224", got {each!r}')
    return value


def _axes(value: Any) -> Any:
    for each in value.values() if isinstance(value, dict) else [value]:
        if not isinstance(each, list) or not each or not all(type(n) is int for n in each):
            raise EyeshotError(f"expected dims of the input, such as [2, 3], got {each!r}")
    return value


#: What a table may hold, and how it is read.
KEYS: dict[str, Callable[[Any], Any]] = {
    "select": _select,
    "ignore": _ignore,
    "fail-on": _fail_on,
    "input": _input,
    "axes": _axes,
    "train": _truth,
    "object": size,
    "anchors": _anchors,
    "causal": _truth,
    "time": _dim,
    "tileable": _truth,
    "streamable": _truth,
}

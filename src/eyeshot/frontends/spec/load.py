"""Files to plain Python values, without trusting the file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from eyeshot.errors import SpecError

__all__ = ["SUFFIXES", "load"]

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
MAX_BYTES = 16 << 20
MAX_NODES = 1_000_000
MAX_DEPTH = 64


def load(path: str | Path) -> Any:
    """The content of a spec file; raises :class:`SpecError` with one line that says what is wrong."""
    path = Path(path)
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{name}: {error.strerror or error}") from None
    except ValueError:
        raise SpecError(f"{name!r} is no path") from None
    if len(data) > MAX_BYTES:
        raise SpecError(f"{name}: larger than {MAX_BYTES >> 20} MiB, the most for a spec")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name}: not a text file (byte {error.start} is not UTF-8)") from None
    try:
        return parse(text, path.suffix.lower())
    except _Malformed as error:
        raise SpecError(f"{name}: {error}") from None


class _Malformed(Exception):
    pass


def parse(text: str, suffix: str) -> Any:
    """The value that ``text`` writes in the format of ``suffix``."""
    try:
        if suffix == ".json":
            return json.loads(text, object_pairs_hook=_unique)
        if suffix == ".toml":
            return tomllib.loads(text)
        return _yaml(text)
    except RecursionError:
        raise _Malformed(f"nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        raise _Malformed(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except tomllib.TOMLDecodeError as error:
        raise _Malformed(str(error)) from None
    except ValueError as error:  # an integer of too many digits
        raise _Malformed(str(error).partition(";")[0]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Malformed(f"{key!r} is there twice")
            seen.add(key)
    return out


def _yaml(text: str) -> Any:
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """Safe, and with errors for repeated keys, where YAML keeps the last one silently."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, Hashable):
                    raise yaml.constructor.ConstructorError(
                        None, None, "a key must be a plain value", key_node.start_mark
                    )
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key!r} is there twice", key_node.start_mark
                    )
                seen.add(key)
            mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return mapping

    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _weigh(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _Malformed(f"{at}{problem}") from None
    except OverflowError as error:
        raise _Malformed(str(error)) from None
    finally:
        loader.dispose()


def _weigh(root: Any) -> None:
    """Count nodes with aliases written out, and their depth; aliases can blow a small file up."""
    weights: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        key = id(node)
        if key in weights:
            continue
        children: list[Any] = []
        if isinstance(node.value, list):
            for child in node.value:
                children += child if isinstance(child, tuple) else [child]
        if done:
            open_.discard(key)
            total = 1 + sum(weights[id(child)][0] for child in children)
            depth = 1 + max((weights[id(child)][1] for child in children), default=0)
            if total > MAX_NODES:
                raise _Malformed(f"more than {MAX_NODES} values once its aliases are written out")
            if depth > MAX_DEPTH:
                raise _Malformed(f"nested more than {MAX_DEPTH} levels deep")
            weights[key] = (total, depth)
            continue
        if key in open_:
            raise _Malformed("an alias contains itself")
        open_.add(key)
        stack.append((node, True))
        for child in children:
            if id(child) in open_:
                raise _Malformed("an alias contains itself")
            stack.append((child, False))

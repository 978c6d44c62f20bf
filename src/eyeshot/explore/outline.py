"""Where the layers and parameters of a spec stand in its text, so that a form edits it in place.

The text is read twice: by the parser of spec files, which says what it means and stops at its limits, and for
the places alone, from the parser's events. Offsets count UTF-16 units, as JavaScript's strings do. What has no
place of its own (a merged key, all of a TOML text) has ``at`` None.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eyeshot.frontends.spec import loads

__all__ = ["located", "outline"]

Span = tuple[int, int]
WINDOW = ("kernel", "stride", "padding")
TOP = ("name", "description", "axes", "input", "inputs", "outputs")


@dataclass
class Node:
    """A value's place. ``pairs``: of a mapping, by key. ``items``: of a list."""

    start: int
    end: int
    text: str | None = None
    flow: bool = True
    mapping: bool = False
    pairs: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: Node | None = None
    anchor: str | None = None

    def put(self, node: Node) -> None:
        """The next key, value or item."""
        if not self.mapping:
            self.items.append(node)
        elif self.key is None:
            self.key = node
        else:
            if self.key.text is not None:
                self.pairs[self.key.text] = (self.key, node)
            self.key = None
        if not self.flow:
            self.end = max(self.end, node.end)


def outline(text: str, form: str) -> dict[str, Any]:
    """The layers of a spec with their places, and those of its own fields.

    ``layers``: per layer ``name``, ``op``, ``form`` (``word``, ``window`` for the short form, ``fields``),
    ``at`` (the whole entry), ``name_at``, ``value_at`` and ``keys``, from parameter to ``{value, at}``.
    ``layers_at``: all of them. Fields of the spec, such as ``input``, are ``{value, at}`` if they are there.
    ``full``: whether the spec has a key ``layers``. Raises SpecError where the text has no meaning.
    """
    content = loads(text, form)
    places = _Places(text, form)
    if not isinstance(content, Mapping):
        return {"full": False, "layers_at": None, "layers": []}
    full = isinstance(content.get("layers"), Mapping | list) and not _is_window(content["layers"])
    out: dict[str, Any] = {"full": full}
    root = places.root
    layers, node = content, root
    if full:
        layers, node = content["layers"], _under(root, "layers")
        for key in TOP:
            if key in content:
                out[key] = {
                    "value": _plain(content[key]),
                    "at": places.span(_under(root, key)),
                }
    out["layers_at"] = places.span(node)
    out["layers"] = [
        _layer(str(name), value, key, entry, places)
        for name, value, key, entry in _entries(layers, node)
    ]
    return out


def _entries(layers: Any, node: Node | None) -> list[tuple[Any, Any, Node | None, Node | None]]:
    """Name, value, and the nodes of both."""
    if isinstance(layers, Mapping):
        pairs = node.pairs if node else {}
        return [
            (name, value, *pairs.get(str(name), (None, None))) for name, value in layers.items()
        ]
    if not isinstance(layers, list):
        return []
    items = node.items if node else []
    out: list[tuple[Any, Any, Node | None, Node | None]] = []
    for k, value in enumerate(layers):
        entry = items[k] if k < len(items) else None
        name = value.get("name", f"[{k}]") if isinstance(value, Mapping) else f"[{k}]"
        out.append((name, value, _under(entry, "name"), entry))
    return out


def _layer(
    name: str, value: Any, key: Node | None, entry: Node | None, places: _Places
) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    op: Any = None
    form = "fields"
    if isinstance(value, str):
        op, form = value, "word"
    elif isinstance(value, list):
        op = form = "window"
        nodes = entry.items if entry else []
        for k, (parameter, number) in enumerate(zip(WINDOW, value, strict=False)):
            at = places.span(nodes[k]) if k < len(nodes) else None
            keys[parameter] = {"value": _plain(number), "at": at}
    elif isinstance(value, Mapping):
        op = value.get("op")
        for parameter, content in value.items():
            at = places.span(_under(entry, str(parameter)))
            keys[str(parameter)] = {"value": _plain(content), "at": at}
    start = min((n.start for n in (key, entry) if n), default=0)
    whole = Node(start, max(n.end for n in (key, entry) if n)) if key or entry else None
    return {
        "name": name,
        "op": op if isinstance(op, str) else None,
        "form": form,
        "at": places.span(whole),
        "name_at": places.span(key),
        "value_at": places.span(entry),
        "keys": keys,
    }


def located(message: str, text: str, form: str) -> dict[str, Any]:
    """``line``, ``column``, ``at`` and ``layer`` of what a message begins with, as far as known."""
    try:
        content, places = loads(text, form), _Places(text, form)
    except ValueError:
        return {}
    if not isinstance(content, Mapping):
        return {}
    full = "layers" in content and not _is_window(content["layers"])
    node: Node | None = None
    where: dict[str, Any] = {}
    if (full and message.startswith("layers")) or not full:
        layers = content["layers"] if full else content
        parent = _under(places.root, "layers") if full else places.root
        best, listed = -1, isinstance(layers, list)
        for k, (name, _, key, entry) in enumerate(_entries(layers, parent)):
            for begin in (f"layers.{name}" if full else str(name), f"layers[{k}]"):
                rest = message[len(begin) :]
                if len(begin) > best and message.startswith(begin) and rest[:1] in (":", ".", "["):
                    best, where = len(begin), {"layer": str(name)}
                    parameter = re.match(r"\.(\w+)", rest)
                    inner = parameter and _under(entry, parameter[1])
                    if parameter and entry and not inner and parameter[1] in WINDOW and not listed:
                        position = WINDOW.index(parameter[1])
                        inner = entry.items[position] if position < len(entry.items) else None
                    node = _unknown(rest, entry) or inner or key or entry
    if node is None:
        first = re.match(r"(\w+)", message)
        named = first[1] if first and first[1] in (*TOP, "layers") else ""
        node = _unknown(f": {message}", places.root) or _under(places.root, named)
    if node is not None:
        line, column = places.line(node.start)
        where |= {"line": line, "column": column, "at": places.span(node)}
    return where


def _unknown(message: str, node: Node | None) -> Node | None:
    """The key that a message says to be unknown."""
    found = re.match(r": unknown field '(.*?)'", message)
    pair = node.pairs.get(found[1]) if found and node else None
    return pair[0] if pair else None


def _under(node: Node | None, key: str) -> Node | None:
    """The value at a key."""
    found = node.pairs.get(key) if node else None
    return found[1] if found else None


def _is_window(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(n, int) for n in value)


def _plain(value: Any) -> Any:
    """A value that JSON has; numbers that it has not are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | None) else str(value)


# --- places


class _Places:
    """The tree of places of a text that ``loads`` has accepted."""

    def __init__(self, text: str, form: str) -> None:
        self.text = text
        # A parser of bytes does not count a byte order mark.
        self.shift = int(text.startswith("\ufeff"))
        self.wide = [k for k, c in enumerate(text) if ord(c) > 0xFFFF]
        self.root: Node | None = None
        if form == "json":
            self.root = _of_json(text[self.shift :])
        elif form == "yaml":
            self.root = _of_yaml(text[self.shift :])

    def span(self, node: Node | None) -> list[int] | None:
        return None if node is None else [self.unit(node.start), self.unit(node.end)]

    def unit(self, at: int) -> int:
        """The offset in UTF-16 units."""
        at += self.shift
        return at + bisect.bisect_left(self.wide, at)

    def line(self, at: int) -> tuple[int, int]:
        """Line and column, from 1."""
        before = self.text[self.shift : at + self.shift]
        lines = re.split(r"\r\n|\r|\n", before)
        return len(lines), len(lines[-1]) + 1


def _of_yaml(text: str) -> Node | None:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[Node] = []
    anchors: dict[str, Node] = {}
    root: Node | None = None
    for event in yaml.parse(text, Loader=loader):
        assert event.start_mark is not None and event.end_mark is not None
        start, end = event.start_mark.index, event.end_mark.index
        node: Node | None = None
        if isinstance(event, yaml.CollectionStartEvent):
            mapping = isinstance(event, yaml.MappingStartEvent)
            flow = bool(event.flow_style)
            stack.append(Node(start, end if flow else start, None, flow, mapping))
            stack[-1].anchor = event.anchor
        elif isinstance(event, yaml.CollectionEndEvent):
            node = stack.pop()
            # A block ends with its last entry; the parser says so only at the next one.
            node.end = end if node.flow else node.end
        elif isinstance(event, yaml.ScalarEvent):
            node = Node(start, end, event.value, anchor=event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            known = anchors.get(event.anchor or "")
            node = Node(start, end, known.text if known else None)
        if node is not None:
            if node.anchor is not None:
                anchors[node.anchor] = node
            if stack:
                stack[-1].put(node)
            else:
                root = node
    return root


TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([\[\]{},:])|([^\s\[\]{},:"]+))', re.DOTALL)


def _of_json(text: str) -> Node | None:
    import json

    stack: list[Node] = []
    root: Node | None = None
    for token in TOKEN.finditer(text):
        kind = token.lastindex or 0
        start, end = token.span(kind)
        sign = token[2]
        node: Node | None = None
        if sign in ("[", "{"):
            stack.append(Node(start, end, mapping=sign == "{"))
        elif sign in ("]", "}"):
            node = stack.pop()
            node.end = end
        elif sign is None:
            value = json.loads(token[1]) if token[1] else None
            node = Node(start, end, value)
        if node is not None:
            if stack:
                stack[-1].put(node)
            else:
                root = node
    return root

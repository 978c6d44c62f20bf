"""Files to plain Python values, without trusting the file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from eyeshot.errors import SpecError

__all__ = ["SUFFIXES", "load", "loads"]

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
MAX_BYTES = 16 << 20
MAX_NODES = 3_000_000
MAX_ALIASED = 1_000_000
MAX_DEPTH = 64
MAX_DIGITS = 400

TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
#: tomllib takes quadratic time for keys of very many parts.
LONG_TOML_KEY = re.compile(rf"""(?<![\w"'.-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}""")


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
    return loads(text, path.suffix.lower().removeprefix("."), name)


def loads(text: str, form: str, name: str = "spec") -> Any:
    """The content of a spec's text; ``form`` is ``yaml``, ``json`` or ``toml``, ``name`` for messages."""
    try:
        return parse(text, f".{form}")
    except _Malformed as error:
        raise SpecError(f"{name}: {error}") from None


class _Malformed(Exception):
    pass


def parse(text: str, suffix: str) -> Any:
    """The value that ``text`` writes in the format of ``suffix``."""
    if not text.strip():
        raise _Malformed("is empty")
    try:
        if suffix == ".json":
            return json.loads(text, object_pairs_hook=_unique)
        if suffix == ".toml":
            if LONG_TOML_KEY.search(text):
                raise _Malformed(TOO_DEEP)
            return tomllib.loads(text)
        return _yaml(text)
    except RecursionError:
        raise _Malformed(TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise _Malformed(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except tomllib.TOMLDecodeError as error:
        raise _Malformed(str(error)) from None
    except (ValueError, OverflowError) as error:  # an integer of too many digits, for one
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


# --- YAML
#
# Built from the parser's events instead of PyYAML's nodes: that takes a tenth of the time, stops at a
# limit before the memory is spent, and never recurses (libyaml's own composer overflows the C stack).

CORE = "tag:yaml.org,2002:"


def _yaml(text: str) -> Any:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Document(yaml.parse(text, Loader=loader)).value
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _Malformed(f"{at}{problem}") from None


class _Open:
    """A list or mapping that is being read."""

    def __init__(self, mapping: bool, anchor: str | None) -> None:
        self.mapping = mapping
        self.anchor = anchor
        self.items: list[Any] = []
        self.pairs: dict[Any, Any] = {}
        self.merges: list[dict[Any, Any]] = []
        self.key: Any = None
        self.at_value = False
        self.weight = 1
        self.height = 0


class _Merge:
    """The key ``<<``."""


class _Document:
    """The value of the one document in a stream of events."""

    def __init__(self, events: Iterable[Any]) -> None:
        import yaml

        self.yaml = yaml
        self.value: Any = None
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int, int] | None] = {}
        self.plain: dict[str, Any] = {}
        self.nodes = self.aliased = 0
        self.number = yaml.constructor.SafeConstructor()
        documents = 0
        scalar, alias = yaml.ScalarEvent, yaml.AliasEvent
        opens = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
        closes = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        for event in events:
            kind = type(event)
            if kind is scalar:
                value = self.scalar(event)
                if event.anchor is not None:
                    self.anchor(event, (value, 1, 0))
                self.put(event, value, 1, 0)
            elif kind is alias:
                self.alias(event)
            elif kind in opens:
                self.open(event, kind is yaml.MappingStartEvent)
            elif kind in closes:
                self.close(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self.fail(event, "a second document; a file holds one spec")

    def fail(self, event: Any, why: str) -> NoReturn:
        mark = event.start_mark
        raise _Malformed(f"line {mark.line + 1}, column {mark.column + 1}: {why}")

    def anchor(self, event: Any, known: tuple[Any, int, int] | None) -> None:
        if event.anchor in self.anchors:
            self.fail(event, f"the anchor {event.anchor!r} is there twice")
        self.anchors[event.anchor] = known

    def alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            self.fail(event, f"there is no anchor {event.anchor!r}")
        known = self.anchors[event.anchor]
        if known is None:
            self.fail(event, f"the alias {event.anchor!r} contains itself")
        value, weight, height = known
        self.aliased += weight
        if self.aliased > MAX_ALIASED:
            self.fail(event, f"more than {MAX_ALIASED} values once aliases are written out")
        self.put(event, value, weight, height)

    def open(self, event: Any, mapping: bool) -> None:
        if event.tag not in (None, "!", f"{CORE}{'map' if mapping else 'seq'}"):
            self.fail(event, f"the tag {event.tag} has no meaning here")
        if len(self.stack) >= MAX_DEPTH:
            self.fail(event, TOO_DEEP)
        if event.anchor is not None:
            self.anchor(event, None)
        self.stack.append(_Open(mapping, event.anchor))

    def close(self, event: Any) -> None:
        done = self.stack.pop()
        value: Any = done.items
        if done.mapping:
            value = done.pairs
            if done.merges:
                value = {}
                for merged in done.merges:
                    value = {**value, **{k: v for k, v in merged.items() if k not in value}}
                value.update(done.pairs)
        if done.anchor is not None:
            self.anchors[done.anchor] = (value, done.weight, done.height)
        self.put(event, value, done.weight, done.height)

    def put(self, event: Any, value: Any, weight: int, height: int) -> None:
        """Into the innermost open list or mapping."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.fail(event, f"more than {MAX_NODES} values, the most for a spec")
        top = self.stack[-1] if self.stack else None
        if value is _Merge and (top is None or not top.mapping or top.at_value):
            value = "<<"
        if top is None:
            self.value = value
            return
        top.weight += weight
        if height >= top.height:
            top.height = height + 1
            if len(self.stack) + height > MAX_DEPTH:
                self.fail(event, TOO_DEEP)
        if not top.mapping:
            top.items.append(value)
        elif not top.at_value:
            if isinstance(value, list | dict):
                self.fail(event, "a key must be a plain value")
            if value is not _Merge and value in top.pairs:
                self.fail(event, f"{value!r} is there twice")
            top.key, top.at_value = value, True
        else:
            top.at_value = False
            if top.key is _Merge:
                for merged in value if isinstance(value, list) else [value]:
                    if not isinstance(merged, dict):
                        self.fail(event, "<< takes a mapping or a list of mappings")
                    top.merges.append(merged)
            else:
                top.pairs[top.key] = value

    def scalar(self, event: Any) -> Any:
        """A text as YAML 1.1 reads it, numbers and truth values; a date stays a text."""
        text, tag = event.value, event.tag
        if tag is None and event.implicit[0]:
            if text in self.plain:
                return self.plain[text]
            resolvers = self.yaml.SafeLoader.yaml_implicit_resolvers
            for kind, pattern in [*resolvers.get(text[:1], ()), *resolvers.get(None, ())]:
                if pattern.match(text):
                    value = self.typed(event, kind)
                    break
            else:
                value = text
            if len(self.plain) < 10_000:
                self.plain[text] = value
            return value
        if tag is None or tag == "!":
            return text
        return self.typed(event, tag)

    def typed(self, event: Any, tag: str) -> Any:
        text = event.value
        match tag.removeprefix(CORE):
            case "merge":
                return _Merge
            case "str" | "timestamp" | "value":
                return text
            case "null":
                return None
            case "bool" | "int" | "float" as kind:
                if len(text) > MAX_DIGITS:
                    self.fail(event, f"a number of {len(text)} characters")
                node = self.yaml.ScalarNode(tag, text, event.start_mark, event.end_mark)
                try:
                    return getattr(self.number, f"construct_yaml_{kind}")(node)
                except (ValueError, OverflowError, LookupError):
                    self.fail(event, f"{text!r} is not a value of its kind, {kind}")
        self.fail(event, f"the tag {tag} has no meaning here")

"""Findings as a SARIF 2.1.0 log, the format of code scanning.

Static Analysis Results Interchange Format (SARIF) Version 2.1.0, OASIS Standard, 2020.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import eyeshot
from eyeshot.analysis.findings.finding import RULES
from eyeshot.errors import EyeshotError
from eyeshot.frontends.references.parse import SCHEMES
from eyeshot.views import table
from eyeshot.views.pages import page
from eyeshot.views.terminal import _plain

if TYPE_CHECKING:
    from eyeshot.analysis.findings import Check, Finding

__all__ = ["SCHEMA", "VERSION", "to_sarif"]

VERSION = "2.1.0"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class Place(NamedTuple):
    """Where something stands in a file: line and column from 1 on, in characters."""

    line: int
    column: int
    end: int


def to_sarif(check: Check, source: str | None = None) -> dict[str, Any]:
    """The log of one check as JSON values; see :meth:`Check.to_sarif`."""
    codes = [
        code
        for code in RULES
        if code in check.looked or any(code == f.code for f in check) or code in dict(check.skipped)
    ]
    index = {code: k for k, code in enumerate(codes)}
    uri, places, start = _located(source, check)
    seen: Counter[str] = Counter()
    results = []
    for finding in check:
        place = next((places[name] for name in finding.layers if name in places), start)
        results.append(
            {
                "ruleId": finding.code,
                "ruleIndex": index[finding.code],
                "level": finding.severity or "note",
                "message": {"text": _message(finding)},
                "locations": [_location(uri, place, finding.layers[:1])],
                "partialFingerprints": _fingerprints(finding, source or check.report.title, seen),
                "properties": {
                    "status": "exact" if finding.exact else "possible",
                    "layers": [_plain(name) for name in finding.layers],
                    "cost": finding.cost,
                    "remedy": finding.remedy,
                    "evidence": finding.evidence,
                },
            }
        )
    skipped = [
        {
            "level": "note",
            "message": {"text": _plain(reason)},
            "associatedRule": {"id": code, "index": index[code]},
        }
        for code, reason in check.skipped
    ]
    driver = {
        "name": "eyeshot",
        "version": eyeshot.__version__,
        "semanticVersion": eyeshot.__version__,
        "rules": [_rule(code) for code in codes],
    }
    invocation: dict[str, Any] = {"executionSuccessful": True}
    if skipped:
        invocation["toolExecutionNotifications"] = skipped
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {
            "network": _plain(table.header(check.report)),
            "status": check.report.status,
            "inputRange": [each.to_dict() for each in check.input_range],
        },
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    rule = RULES[code]
    out: dict[str, Any] = {
        "id": code,
        "name": "".join(word.capitalize() for word in code.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": [rule.topic]},
    }
    try:
        # Links to other pages lead nowhere from there.
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", page(code))
    except EyeshotError:
        return out  # what the page says is not needed to read the findings
    paragraphs = [part.strip() for part in text.split("\n\n")]
    if len(paragraphs) > 1 and paragraphs[0].startswith("# "):
        out["fullDescription"] = {"text": " ".join(paragraphs[1].split())}
    out["help"] = {"text": text, "markdown": text}
    return out


def _message(finding: Finding) -> str:
    """What is the case and what to change; GitHub shows nothing else beside the line."""
    parts = (finding.message, finding.cost, finding.remedy)
    text = " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)
    text = _plain(text if finding.exact else f"Possible: {text}")
    # Brackets are links there, and braces stand for arguments.
    for mark in "\\[]":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("{", "{{").replace("}", "}}")


def _location(uri: str, place: Place | None, names: tuple[str, ...]) -> dict[str, Any]:
    # GitHub wants a line, the first where none is known.
    region = {"startLine": 1}
    if place is not None:
        region = {"startLine": place.line, "startColumn": place.column, "endColumn": place.end}
    physical = {"artifactLocation": {"uri": uri}, "region": region}
    out: dict[str, Any] = {"physicalLocation": physical}
    if names:
        name = _plain(names[0])
        out["logicalLocations"] = [
            {"name": name, "fullyQualifiedName": name, "kind": "module"},
        ]
    return out


def _fingerprints(finding: Finding, source: str, seen: Counter[str]) -> dict[str, str]:
    """The same finding at another time: its code, the network, the layer to blame and the axes.

    GitHub reads the second name only, and would else take all findings on one line for one.
    """
    parts = [source, finding.code, *finding.layers[:1], finding.evidence.get("axes")]
    text = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:32]
    seen[text] += 1
    value = f"{text}:{seen[text]}"
    return {"eyeshotFinding/v1": value, "primaryLocationLineHash": value}


# --- files


def _located(source: str | None, check: Check) -> tuple[str, dict[str, Place], Place | None]:
    """The file that a source is written in, as a URI, its layers' places, and where the network begins.

    A library's network is in no file of the user's. Code scanning wants one for every finding: it gets the
    reference's own text, which is no path that exists.
    """
    if source is None:
        return _uri(check.report.title or "network"), {}, None
    configuration = source.startswith("hf:")
    path = Path(source[3:].partition("?")[0] if configuration else source)
    try:
        if configuration and path.is_dir():
            path = path / "config.json"
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if there:
        return _uri_of(path), {} if configuration else _places(path), None
    found = _factory(source)
    if found is not None:
        return _uri_of(found[0]), {}, found[1]
    return _uri(source), {}, None


def _uri_of(path: Path) -> str:
    """Relative to the current directory where the file is inside it."""
    whole = path.resolve()
    try:
        return _uri(whole.relative_to(Path.cwd().resolve()).as_posix())
    except ValueError:
        return whole.as_uri()


def _uri(text: str) -> str:
    return quote(text, safe="/", errors="replace")


def _places(path: Path) -> dict[str, Place]:
    """Where the layers of a YAML or JSON spec are named; by the parser's own marks, or not at all."""
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        return {}
    import yaml

    try:
        text = path.read_bytes().decode("utf-8-sig")
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}  # JSON may hold what YAML does not read
    layers = _child(root, "layers") or root
    if isinstance(layers, yaml.MappingNode):
        nodes = [key for key, _ in layers.value]
    elif isinstance(layers, yaml.SequenceNode):
        nodes = [name for item in layers.value if (name := _child(item, "name")) is not None]
    else:
        return {}
    out: dict[str, Place] = {}
    for node in nodes:
        if isinstance(node, yaml.ScalarNode):
            start, end = node.start_mark, node.end_mark
            last = end.column if end.line == start.line else start.column + 1
            out[node.value] = Place(start.line + 1, start.column + 1, last + 1)
    return out


def _child(node: Any, name: str) -> Any:
    """The value of a key in a YAML mapping; None where there is none."""
    pairs = node.value if getattr(node, "id", None) == "mapping" else []
    return next((value for key, value in pairs if key.value == name), None)


def _factory(source: str) -> tuple[Path, Place | None] | None:
    """The user's file and line of ``package.module:factory``, which has been imported by now."""
    name, _, rest = source.partition(":")
    module = None if name in SCHEMES else sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        return None
    if not Path(file).resolve().is_relative_to(Path.cwd().resolve()):
        return None  # an installed package
    thing: Any = module
    for part in rest.partition("?")[0].split("."):
        thing = getattr(thing, part, None)
    try:
        code = inspect.unwrap(thing)
        lines, number = inspect.getsourcelines(code)
        if Path(inspect.getsourcefile(code) or "").resolve() != Path(file).resolve():
            return Path(file), None
    except (OSError, TypeError, ValueError):
        return Path(file), None  # a module that stands there as a value
    return Path(file), Place(number, 1, len(lines[0].rstrip()) + 1)

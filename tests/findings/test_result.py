"""The result of a check and its views: text, HTML, JSON, Markdown, SARIF, on findings made by hand."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import eyeshot
from eyeshot.analysis.findings import RULES, SEVERITIES, TOPICS, Check, Finding, chosen, rule
from eyeshot.analysis.findings.inputrange import InputRange
from eyeshot.analysis.findings.result import Skipped
from eyeshot.examples import names
from eyeshot.views import pages
from eyeshot.views.findings import MAX_ROWS, WIDEST, ranges, render, to_text
from eyeshot.views.terminal import painter

ROOT = Path(__file__).parents[2]
#: As they are registered, before the fixture puts others in their place.
REAL = dict(RULES)
SCHEMA = json.loads((files("eyeshot") / "schema" / "check-1.json").read_text("utf-8"))


def thing(properties: dict[str, Any], *optional: str, closed: bool = True) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [key for key in properties if key not in optional],
        "additionalProperties": not closed,
        "properties": properties,
    }


TEXTS = thing({"text": {"type": "string", "minLength": 1}})
LEVELS = {"enum": ["error", "warning", "note"]}
NUMBER = {"type": "integer", "minimum": 1}
#: The parts of SARIF 2.1.0 that are written, with what GitHub's code scanning asks of them.
SARIF = thing(
    {
        "$schema": {"type": "string"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": thing(
                {
                    "tool": thing(
                        {
                            "driver": thing(
                                {
                                    "name": {"const": "eyeshot"},
                                    "version": {"type": "string"},
                                    "semanticVersion": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "items": thing(
                                            {
                                                "id": {"type": "string"},
                                                "name": {"type": "string"},
                                                "shortDescription": TEXTS,
                                                "fullDescription": TEXTS,
                                                "help": thing({"text": {}, "markdown": {}}),
                                                "defaultConfiguration": thing({"level": LEVELS}),
                                                "properties": thing({"tags": {"type": "array"}}),
                                            },
                                            "help",
                                        ),
                                    },
                                }
                            )
                        }
                    ),
                    "invocations": {
                        "type": "array",
                        "items": thing({"executionSuccessful": {"const": True}}, closed=False),
                    },
                    "columnKind": {"const": "unicodeCodePoints"},
                    "properties": {"type": "object"},
                    "results": {
                        "type": "array",
                        "items": thing(
                            {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": LEVELS,
                                "message": TEXTS,
                                "properties": {"type": "object"},
                                "partialFingerprints": {
                                    "type": "object",
                                    "required": ["primaryLocationLineHash"],
                                    "additionalProperties": {"type": "string"},
                                },
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 1,
                                    "items": thing(
                                        {
                                            "physicalLocation": thing(
                                                {
                                                    "artifactLocation": thing(
                                                        {
                                                            "uri": {
                                                                "type": "string",
                                                                "pattern": r"^(file:///)?[\w%./~-]+$",
                                                            }
                                                        }
                                                    ),
                                                    "region": thing(
                                                        {
                                                            "startLine": NUMBER,
                                                            "startColumn": NUMBER,
                                                            "endColumn": NUMBER,
                                                        },
                                                        "startColumn",
                                                        "endColumn",
                                                    ),
                                                }
                                            ),
                                            "logicalLocations": {"type": "array", "minItems": 1},
                                        },
                                        "logicalLocations",
                                    ),
                                },
                            }
                        ),
                    },
                }
            ),
        },
    }
)

SPEC = {
    "name": "two convs",
    "input": [3, 32, 32],
    "layers": {"stem": {"op": "conv", "kernel": 3}, "head": {"op": "conv", "kernel": 5}},
}
REPORT = eyeshot.analyze(SPEC)
WARNING = Finding(
    ("head", "stem"),
    "2 of 32 positions along axes 2 and 3 are read by no unit",
    "6.2 % of the input changes no result.",
    "Crop the input to 30, or give stem a padding of 1.",
    {
        "axes": [2, 3],
        "levels": [
            {"layer": "stem", "taps": 12345, "share": 0.0625, "sized": None, "map": [8, 8]},
            {"layer": "head", "taps": 7, "share": 0.5, "sized": 3, "map": [8, 9]},
            {"layer": "neck", "taps": -1.5, "share": 0.1234, "sized": 3, "map": []},
        ],
    },
    True,
    "warning",
    "thin-layers",
)
ERROR = Finding(
    ("head",),
    "Units of head are constants",
    "Nothing is learnt.",
    "Remove head.",
    {},
    False,
    "error",
    "stuck-units",
)
NOTE = Finding(("stem",), "True", "Little.", "Nothing.", {}, True, "note", "odd-map")
RANGE = (InputRange("input", 2, 32, 7, 427), InputRange("input", 3, 32, 7, 427))
SKIPPED = (
    Skipped("odd-map", "an array of 9 GiB is too large"),
    Skipped("thin-layers", "an array of 9 GiB is too large"),
)


@pytest.fixture(autouse=True)
def rules() -> Iterator[None]:
    """Three rules in the place of the real ones, which find nothing by themselves."""
    kept = dict(RULES)
    RULES.clear()
    rule("stuck-units", "coverage", "error", "Units are constants.")(lambda net: iter(()))
    rule("thin-layers", "context", "warning", "Layers are thin.")(lambda net: iter(()))
    rule("odd-map", "alignment", "note", "A map is odd.")(lambda net: iter(()))
    yield
    RULES.clear()
    RULES.update(kept)


def made(*findings: Finding, **more: Any) -> Check:
    return Check(REPORT, findings, looked=tuple(RULES), **more)


# --- the object


def test_most_serious_first() -> None:
    check = made(NOTE, WARNING._replace(exact=False), WARNING, ERROR)
    assert [f.severity for f in check] == ["error", "warning", "warning", "note"]
    assert [f.exact for f in check] == [False, True, False, True]
    assert check.counts == {"error": 1, "warning": 2, "note": 1}
    assert len(check) == 4
    assert check["odd-map"] == (NOTE,)
    assert [len(check.at_least(severity)) for severity in SEVERITIES] == [1, 3, 4]
    with pytest.raises(eyeshot.EyeshotError, match="did you mean 'odd-map'"):
        check["odd-maps"]


def test_frozen() -> None:
    check = made()
    with pytest.raises(AttributeError, match="frozen"):
        check.findings = ()
    with pytest.raises(AttributeError, match="frozen"):
        del check.findings
    assert repr(made(NOTE)) == "<eyeshot.Check of two convs: 1 finding>"
    assert repr(check).endswith("0 findings>")


def test_chosen() -> None:
    def codes(*args: Any) -> list[str]:
        return [one.code for one in chosen(*args)]

    assert codes() == codes(["all"]) == list(RULES)
    assert codes(["thin-layers"]) == ["thin-layers"]
    assert codes(["context", "stuck-*"]) == ["stuck-units", "thin-layers"]
    assert codes([], ["*-units"]) == ["thin-layers", "odd-map"]
    assert codes(["context"], ["all"]) == []
    with pytest.raises(
        eyeshot.EyeshotError, match=r"select: .* 'thin-layer'; did you mean thin-lay"
    ):
        chosen(["thin-layer"])
    with pytest.raises(eyeshot.EyeshotError, match=r"ignore: .* topics are context, "):
        chosen([], ["zzz"])


def test_a_rule_that_can_not_look_is_skipped() -> None:
    def fails(net: object) -> Iterator[Finding]:
        raise eyeshot.EyeshotError("too large")

    rule("large", "bounds", "error", "Never.")(fails)
    rule("asked", "bounds", "error", "If asked.", wants="object")(lambda net: iter([NOTE]))
    check = eyeshot.check(SPEC)
    assert check.skipped == (("large", "too large"),)
    assert check.looked == ("stuck-units", "thin-layers", "odd-map")
    check = eyeshot.check(SPEC, object=9, select="asked")
    assert check.looked == ("asked",)
    assert [(f.code, f.severity) for f in check] == [("asked", "note")]


# --- text

TEXT = """\
two convs · input 1x3x32x32 · exact

possible error  stuck-units  head
  Units of head are constants
  cost    Nothing is learnt.
  remedy  Remove head.

warning  thin-layers  head and stem
  2 of 32 positions along axes 2 and 3 are read by no unit
  cost    6.2 % of the input changes no result.
  remedy  Crop the input to 30, or give stem a padding of 1.
  layer    taps  share  sized  map
  stem   12,345  6.2 %      –  8
  head        7   50 %      3  8, 9
  neck     -1.5   12 %      3

note  odd-map  stem
  True
  cost    Little.
  remedy  Nothing.

1 error, 1 warning, 1 note, 1 of them only possible
every layer is productive at input sizes from 7 on; some unit sees the whole
  input up to size 427 (axes 2 and 3; here 32)
possible: a layer concerned is known only as an upper bound
not looked for: odd-map, thin-layers (an array of 9 GiB is too large)
"""


def test_text() -> None:
    check = made(NOTE, ERROR, WARNING, skipped=SKIPPED, input_range=RANGE)
    assert str(check) == to_text(check) == TEXT.rstrip("\n")
    assert render(check, 1000) == render(check)


def test_nothing_found() -> None:
    text = "two convs · input 1x3x32x32 · exact\nnothing found: 3 rules looked at 2 layers"
    assert str(made()) == text
    assert str(Check(REPORT, [], looked=["odd-map"])).endswith("1 rule looked at 2 layers")


def test_the_same_words_are_not_said_twice() -> None:
    other = WARNING._replace(layers=("head",), message="Another", evidence={})
    text = str(made(WARNING, other))
    assert text.count("cost ") == text.count("remedy ") == 1
    text = str(made(WARNING, other._replace(cost="More.")))
    assert text.count("cost ") == 2 and text.count("remedy ") == 1
    assert str(made(WARNING, other._replace(code="odd-map"))).count("remedy ") == 2


def test_long_tables_are_cut() -> None:
    rows = [{"layer": f"layer{k}", "size": k} for k in range(100)]
    text = str(made(WARNING._replace(evidence={"rows": rows})))
    assert f"layer{MAX_ROWS - 1} " in text and f"layer{MAX_ROWS} " not in text
    assert f"\n  and {100 - MAX_ROWS} more\n" in text
    # One row takes no more room than the line that would say so.
    text = str(made(WARNING._replace(evidence={"rows": rows[: MAX_ROWS + 1]})))
    assert f"layer{MAX_ROWS} " in text and " more\n" not in text


@pytest.mark.parametrize(
    "evidence",
    [
        {"rows": []},
        {"rows": [{"layer": "a", "size": 1}] * 2},
        {"rows": [{"axis": 2}] * 3},
        {"rows": [{"layer": name, "size": 1} for name in "abcd"]},
        {"rows": [1, 2, 3]},
        {"layers": 3, "sizes": {"a": 1}},
    ],
)
def test_evidence_that_is_no_table(evidence: dict[str, Any]) -> None:
    text = str(made(WARNING._replace(evidence=evidence)))
    assert text == str(made(WARNING._replace(evidence={})))


def cells_wide(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def nasty(seed: int) -> Check:
    """Hundreds of findings with words and names of any kind."""
    draw = random.Random(seed)
    names = [
        "encoder.block.with.a.name.that.goes.on.and.on.and.never.comes.to.an.end.layer" * 3,
        "日本語のとても長い名前のレイヤーであって折り返す必要がある",
        *("a|b", "`c`", "<script>alert(1)</script>", "\x1b[31mred", "new\nline\r\t", "\\|", "&lt;"),
        *("*bold*_x_", "</details>", "```", "@someone", "[a](b)", "{0}", "\u202egnp", "x", "`"),
    ]

    def words() -> str:
        parts = [*names, "and", "17", "a"]
        return " ".join(draw.choice(parts) for _ in range(draw.randrange(1, 30)))

    out = []
    for _ in range(300):
        rows = [
            {"layer": draw.choice(names), draw.choice(names): draw.random() * 10**9, "x": [1, 2]}
            for _ in range(draw.randrange(9))
        ]
        out.append(
            Finding(
                tuple(draw.sample(names, draw.randrange(1, 9))),
                words(),
                words(),
                words(),
                {"rows": rows, "axes": [2], draw.choice(names): draw.choice(names)},
                draw.random() < 0.8,
                draw.choice(SEVERITIES),
                draw.choice(list(RULES)),
            )
        )
    return made(*out, skipped=[Skipped("odd-map", words())], input_range=RANGE)


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_fits(width: int) -> None:
    text = to_text(nasty(width), width)
    lines = text.splitlines()
    assert max(map(cells_wide, lines)) <= min(width, WIDEST)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert not any(line != line.rstrip() for line in lines)
    assert len(lines) == text.count("\n") + 1


def test_every_finding_has_its_line() -> None:
    text = render(nasty(0))
    found = re.findall(r"^(?:possible )?(?:error|warning|note)  [a-z-]+", text, re.MULTILINE)
    assert len(found) == 300


def test_colours() -> None:
    from rich.console import Console

    console = Console(force_terminal=True, color_system="standard", legacy_windows=False)
    check = made(ERROR, WARNING, NOTE)
    text = render(check, 80, painter(console))
    assert "\x1b[1;31mpossible error\x1b[0m  \x1b[1mstuck-units\x1b[0m  head" in text
    assert "\x1b[1;33mwarning\x1b[0m" in text and "\x1b[1;36mnote\x1b[0m" in text
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == render(check, 80)


def test_ranges() -> None:
    def said(*each: InputRange) -> list[str]:
        return list(ranges(each))

    low = "every layer is productive at input sizes from 7 on"
    high = "some unit sees the whole input up to size 9"
    assert said(InputRange("x", 2, 32, 7, 9)) == [f"{low}; {high} (axis 2; here 32)"]
    assert said(InputRange("x", 2, 32, 7, None)) == [f"{low} (axis 2; here 32)"]
    assert said(InputRange("x", 2, 32, None, 9)) == [f"{high} (axis 2; here 32)"]
    assert said(InputRange("x", 2, 32, None, None)) == []
    two = said(InputRange("x", 2, 32, 7, None), InputRange("y", 2, 32, 7, None))
    assert two == [f"{low} (x, axis 2; here 32)", f"{low} (y, axis 2; here 32)"]
    assert len(said(InputRange("x", 2, 32, 7, None), InputRange("x", 3, 64, 7, None))) == 2


# --- HTML, JSON


def test_html() -> None:
    text = made(ERROR, WARNING, input_range=RANGE)._repr_html_()
    assert text.startswith("<table><caption>two convs") and text.count("<tr>") == 3
    assert "nothing found" in made()._repr_html_()
    for seed in range(3):
        text = nasty(seed)._repr_html_()
        assert "<script" not in text and "</details" not in text and "\x1b" not in text
        assert text.count("<tr>") == text.count("</tr>") == 301


def test_json() -> None:
    check = made(ERROR, WARNING, skipped=SKIPPED, input_range=RANGE)
    content = json.loads(check.to_json())
    assert content == check.to_dict()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(content)
    assert content["schema"] == SCHEMA["properties"]["schema"]["const"] == "eyeshot.check/1"
    assert content["counts"] == {"error": 1, "warning": 1, "note": 0}
    assert content["findings"][0]["status"] == "possible"
    assert content["findings"][1]["evidence"] == WARNING.evidence
    axis = {"input": "input", "axis": 3, "size": 32, "smallest": 7, "largest": 427}
    assert content["input_range"][1] == axis
    assert content["skipped"][0] == {"code": "odd-map", "reason": "an array of 9 GiB is too large"}
    for seed in range(3):
        validator.validate(json.loads(nasty(seed).to_json()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["findings", 0, "severity"], "fatal"),
        (["findings", 0, "evidence"], []),
        (["findings", 0, "more"], 1),
        (["findings", 0, "cost"], ""),
        (["counts", "error"], -1),
        (["input_range", 0, "smallest"], 0),
        (["input_range", 0, "largest"], 2.5),
        (["schema"], "eyeshot.check/2"),
        (["skipped"], [{"code": "A", "reason": "x"}]),
    ],
)
def test_the_schema_refuses(path: list[Any], value: Any) -> None:
    content = json.loads(made(ERROR, input_range=RANGE).to_json())
    at = content
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(content)


def test_the_schema_has_what_is_written() -> None:
    finding = SCHEMA["$defs"]["finding"]
    assert set(finding["required"]) == set(finding["properties"]) == set(NOTE.to_dict())
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == set(made().to_dict())


# --- Markdown

MARKDOWN = """\
### eyeshot: 1 error, 1 warning, 1 of them only possible

two convs · input 1x3x32x32 · exact

| | finding | layers | what |
|---|---|---|---|
| possible error | `stuck-units` | `head` | Units of head are constants |
| warning | `thin-layers` | `head`, `stem` | 2 of 32 positions along axes 2 and 3 are read by no unit |

- every layer is productive at input sizes from 7 on; some unit sees the whole input up to size 427 \
(axes 2 and 3; here 32)
- possible: a layer concerned is known only as an upper bound

<details><summary><code>stuck-units</code> possible error: <code>head</code></summary>

Units of head are constants

**Cost.** Nothing is learnt.

**Remedy.** Remove head.

</details>

<details><summary><code>thin-layers</code> warning: <code>head</code></summary>

2 of 32 positions along axes 2 and 3 are read by no unit

**Cost.** 6.2 % of the input changes no result.

**Remedy.** Crop the input to 30, or give stem a padding of 1.

**Layers.** `head`, `stem`

```json
{"axes": [2, 3], "levels": [{"layer": "stem", "taps": 12345, "share": 0.0625, "sized": null, \
"map": [8, 8]}, {"layer": "head", "taps": 7, "share": 0.5, "sized": 3, "map": [8, 9]}, \
{"layer": "neck", "taps": -1.5, "share": 0.1234, "sized": 3, "map": []}]}
```

</details>
"""


def test_markdown() -> None:
    assert made(WARNING, ERROR, input_range=RANGE).to_markdown() == MARKDOWN
    text = "### eyeshot: nothing found\n\ntwo convs · input 1x3x32x32 · exact\n"
    assert made().to_markdown() == text


@pytest.mark.parametrize("seed", range(5))
def test_markdown_escapes(seed: int) -> None:
    check = nasty(seed)
    text = check.to_markdown()
    assert text == check.to_markdown()
    assert len(text) < 65_000
    lines = text.splitlines()
    assert all(c.isprintable() or c == "\n" for c in text)
    rows = [line for line in lines if line.startswith("| ")]
    assert rows and f"and {300 - len(rows) + 1} more" in lines
    for row in rows:
        # A row has four cells whatever is in it: a bar that is escaped ends none.
        assert re.sub(r"\\.", "", row).count("|") == 5, row
    assert lines.count("</details>") == sum(line.startswith("<details>") for line in lines) > 0
    # What is neither in a fence, nor in a code span, nor escaped, holds the tags written here and no others.
    rest = re.sub(r"^(`{3,})json\n.*\n\1$", "", text, flags=re.MULTILINE)
    rest = re.sub(r"(?<!\\)`[^`\n]+`", "", re.sub(r"\\[<>`@*_\[\]{}#|\\]", "", rest))
    tags = set(re.findall(r"<[^>]*>", rest))
    known = {f"<{end}{tag}>" for end in ("", "/") for tag in ("details", "summary", "code")}
    assert tags <= {*known, "<!-- -->"}
    assert not re.search(r"@(?!<!-- -->)", rest)
    assert "`" not in rest


# --- SARIF


def sarif(check: Check, source: str | None = None) -> dict[str, Any]:
    content = json.loads(json.dumps(check.to_sarif(source), allow_nan=False))
    jsonschema.Draft202012Validator(SARIF).validate(content)
    run: dict[str, Any] = content["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == [f.code for f in check]
    codes = [one["id"] for one in run["tool"]["driver"]["rules"]]
    assert all(codes[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    return run


def place(check: Check, source: str) -> dict[str, Any]:
    """Where the only finding is said to be."""
    (result,) = sarif(check, source)["results"]
    found: dict[str, Any] = result["locations"][0]["physicalLocation"]
    return found


def test_sarif() -> None:
    check = made(ERROR, WARNING, skipped=SKIPPED[:1], input_range=RANGE)
    run = sarif(check, "torchvision:resnet50")
    assert run["tool"]["driver"]["version"] == eyeshot.__version__
    assert run["tool"]["driver"]["rules"][2] | {"help": None} == {
        "id": "odd-map",
        "name": "OddMap",
        "shortDescription": {"text": "A map is odd."},
        "fullDescription": {"text": "A map is odd."},
        "defaultConfiguration": {"level": "note"},
        "properties": {"tags": ["alignment"]},
        "help": None,
    }
    error, warning = run["results"]
    assert error["level"] == "error" and error["properties"]["status"] == "possible"
    said = "Possible: Units of head are constants. Nothing is learnt. Remove head."
    assert error["message"] == {"text": said}
    assert warning["properties"]["evidence"] == WARNING.evidence
    assert warning["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "torchvision%3Aresnet50"},
                "region": {"startLine": 1},
            },
            "logicalLocations": [{"name": "head", "fullyQualifiedName": "head", "kind": "module"}],
        }
    ]
    (invocation,) = run["invocations"]
    assert invocation["toolExecutionNotifications"] == [
        {
            "level": "note",
            "message": {"text": "an array of 9 GiB is too large"},
            "associatedRule": {"id": "odd-map", "index": 2},
        }
    ]
    assert sarif(made())["results"] == []


def test_sarif_has_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Stuck\n\nUnits that\nnever move.\n\nMore.\n"
    linked = text.replace("never", "[never](other.md#never)")
    (tmp_path / "stuck-units.md").write_text(linked, encoding="utf-8")
    monkeypatch.setattr(pages, "PLACES", (tmp_path,))
    first, second, _ = sarif(made(ERROR))["tool"]["driver"]["rules"]
    assert first["fullDescription"] == {"text": "Units that never move."}
    assert first["help"] == {"text": text, "markdown": text}
    assert "help" not in second


def test_sarif_of_anything() -> None:
    for seed in range(3):
        run = sarif(nasty(seed), "package.module:factory?x=[1, 2]&y='a b'")
        prints = [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]]
        assert len(set(prints)) == len(prints)
        for result in run["results"]:
            text = result["message"]["text"]
            assert text.isprintable()
            # No link, and no place for an argument, is left.
            assert "[" not in re.sub(r"\\.", "", text)
            assert not re.search(r"(?<!\{)\{\d+\}", text)


YAML = """\
# a comment
name: two
input: [3, 32, 32]
layers:
  stem: {op: conv, kernel: 3, channels: 3}
  # another
  "head":
    op: conv
    kernel: 5
"""
LIST = """\
input: [3, 32, 32]
layers:
  - {name: stem, op: conv, kernel: 3, channels: 3}
  - op: conv
    kernel: 5
    name: head
"""
SHORT = '{"stem": [3, 1, 1],\n "head": [5, 1, 0]}\n'
ALIAS = "é: 1\nlayers:\n  ü: {op: relu}\n  é: &a\n  head: *a"
TABS = json.dumps(SPEC, indent="\t")


@pytest.mark.parametrize(
    ("name", "text", "region"),
    [
        ("a.yaml", YAML, (7, 3, 9)),
        ("b.yml", LIST, (6, 11, 15)),
        ("c.json", SHORT, (2, 2, 8)),
        ("d.toml", "[layers]\nstem = [3, 1, 1]\nhead = [5, 1, 0]\n", (1,)),
        ("e.yaml", f"\ufeff{YAML}".replace("\n", "\r\n"), (7, 3, 9)),
        ("f.yaml", ALIAS, (5, 3, 7)),
        ("g.yaml", "layers: [", (1,)),
        ("h.yaml", "3", (1,)),
        ("i.yaml", "", (1,)),
        ("j.yaml", "layers:\n- 3\n- {name: [head]}\n- {[a]: 3}\n", (1,)),
        ("k.yaml", "? [head]\n: 3\n", (1,)),
    ],
)
def test_the_line_of_a_layer(
    name: str,
    text: str,
    region: tuple[int, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my nets" / name
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8"))
    wanted = dict(zip(("startLine", "startColumn", "endColumn"), region, strict=False))
    uri = {"uri": f"my%20nets/{name}"}
    check = made(ERROR)
    assert place(check, f"my nets/{name}") == {"artifactLocation": uri, "region": wanted}
    monkeypatch.chdir(path.parent)
    assert place(check, str(path)) == {"artifactLocation": {"uri": name}, "region": wanted}
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    uri = {"uri": path.as_uri()}
    assert place(check, str(path)) == {"artifactLocation": uri, "region": wanted}


def test_json_with_tabs_has_a_line_or_none(tmp_path: Path) -> None:
    """What the parser refuses, as YAML does some of JSON, has none."""
    path = tmp_path / "d.json"
    path.write_text(TABS, encoding="utf-8")
    line = place(made(ERROR), str(path))["region"]["startLine"]
    assert line in (1, 1 + TABS.splitlines().index('\t\t"head": {'))


def test_the_file_of_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text('{"head": 3}', encoding="utf-8")
    here = {"artifactLocation": {"uri": "config.json"}, "region": {"startLine": 1}}
    for source in ("hf:config.json", "hf:.", "hf:config.json?depth=3"):
        assert place(made(ERROR), source) == here
    gone = place(made(ERROR), "hf:gone.json")
    assert gone["artifactLocation"] == {"uri": "hf%3Agone.json"}


def test_fingerprints_stay_when_lines_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.yaml"
    path.write_text(YAML, encoding="utf-8")
    before = sarif(made(ERROR, WARNING, WARNING), "net.yaml")["results"]
    path.write_text(f"\n\n{YAML}", encoding="utf-8")
    other = WARNING._replace(message="3 of 33 positions", layers=("head", "more"))
    after = sarif(made(ERROR, other, other), "net.yaml")["results"]
    first, second = ([one["partialFingerprints"] for one in run] for run in (before, after))
    assert first == second
    assert len({one["primaryLocationLineHash"] for one in first}) == 3
    lines = [run[0]["locations"][0]["physicalLocation"]["region"] for run in (before, after)]
    assert [region["startLine"] for region in lines] == [7, 9]
    elsewhere = sarif(made(ERROR), "other.yaml")["results"]
    assert elsewhere[0]["partialFingerprints"] != first[0]


NETS = """\
import torch

# a comment
def small(width=3):
    return torch.nn.Sequential(torch.nn.Conv1d(1, 1, width))


class Net(torch.nn.Sequential):
    pass


ready = small()
far = torch.nn.ReLU
"""


def test_the_file_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "planted_nets.py").write_text(NETS, encoding="utf-8")
    uri = {"uri": "planted_nets.py"}
    small = {"startLine": 4, "startColumn": 1, "endColumn": 20}
    try:
        eyeshot.check("planted_nets:small", (1, 1, 32))
        for name, region in {
            "small": small,
            "small?width=5": small,
            "Net": {"startLine": 8, "startColumn": 1, "endColumn": 32},
            "ready": {"startLine": 1},
            "far": {"startLine": 1},
        }.items():
            found = place(made(ERROR), f"planted_nets:{name}")
            assert found == {"artifactLocation": uri, "region": region}, name
    finally:
        sys.modules.pop("planted_nets", None)


# --- the real rules


@pytest.fixture
def real(rules: None) -> None:
    RULES.clear()
    RULES.update(REAL)


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("name", names())
def test_real_findings_fit_every_view(name: str) -> None:
    source = f"example:{name}"
    check = eyeshot.check(source, object=3, tileable=True, streamable=True, time=2)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(check.to_json()))
    sarif(check, source)
    for width in (40, 80):
        assert max(map(cells_wide, to_text(check, width).splitlines())) <= width
    assert check.to_markdown().count("<details>") == len(check)
    assert not check.skipped


def test_every_rule_has_a_page_and_a_line_in_the_index() -> None:
    rules = {rule.code: [rule.topic, rule.severity, rule.summary] for rule in REAL.values()}
    folder = ROOT / "docs" / "findings"
    assert {path.stem for path in folder.glob("*.md")} - {"README"} == set(rules)
    sections = (folder / "README.md").read_text(encoding="utf-8").split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == list(TOPICS)
    listed = {}
    for section in sections:
        for line in section.splitlines():
            found = re.match(r"\| \[`([\w-]+)`\]\(([\w-]+)\.md\) \| (\w+) \| (.*) \|$", line)
            if found:
                assert found[1] == found[2]
                listed[found[1]] = [section.split("\n")[0], found[3], found[4]]
    assert listed == rules
    for code, (_, _, summary) in rules.items():
        page = (folder / f"{code}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {code}\n"), code
        for part in ("How it is proved", "Remedy", "Source"):
            assert f"\n## {part}\n" in page, f"{code}: {part}"
        assert ">>> " in page or "\n$ eyeshot" in page, code
        assert summary.endswith(".") and len(summary) < 130, code


def test_pages_are_found() -> None:
    assert pages.page("inexact-operator").startswith("# ")
    with pytest.raises(eyeshot.EyeshotError, match="the page of nothing is not installed"):
        pages.page("nothing")


def test_the_same_in_another_process() -> None:
    """Nothing depends on the order of sets."""
    code = (
        "import eyeshot, json; c = eyeshot.check('example:resnet18', '3x32x32'); "
        "print(c, c.to_markdown(), c.to_json(), json.dumps(c.to_sarif('example:resnet18')))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]

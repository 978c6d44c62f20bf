"""``eyeshot check``: options, settings, exit codes, files; with planted rules."""

from __future__ import annotations

import json
import os
import random
import re
import stat
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

import eyeshot
from eyeshot import EyeshotError, settings
from eyeshot.analysis.findings import RULES, Finding, Network, rule
from eyeshot.cli import main
from eyeshot.cli.check import FAIL_ON
from eyeshot.views import pages

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sysconfig.get_path("scripts")) / "eyeshot"
SCHEMA = json.loads((files("eyeshot") / "schema" / "check-1.json").read_text("utf-8"))
#: As they are registered, before the fixture puts others in their place.
REAL = dict(RULES)
SPEC = """\
name: two convs
input: [3, 32, 32]
layers:
  stem: {op: conv, kernel: 3, channels: 3}
  head: {op: conv, kernel: 5}
"""
TEXT = """\
two convs · input 1x3x32x32 · exact

warning  thin-layers  stem
  stem is thin
  cost    Much.
  remedy  Widen it.

note  odd-map  head
  head is odd
  cost    Little.
  remedy  Even it.

1 warning, 1 note
"""


def thin(net: Network) -> Iterator[Finding]:
    yield Finding(("stem",), "stem is thin", "Much.", "Widen it.", {})


def odd(net: Network) -> Iterator[Finding]:
    yield Finding(("head",), "head is odd", "Little.", "Even it.", {})


def big(net: Network) -> Iterator[Finding]:
    """Says what it was asked."""
    yield Finding(("head",), str(net.options), "c", "r", {})


@pytest.fixture(autouse=True)
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Four rules in the place of the real ones, and a folder with a network."""
    kept = dict(RULES)
    RULES.clear()
    rule("dead-units", "coverage", "error", "Units are dead.")(lambda net: iter(()))
    rule("thin-layers", "context", "warning", "Layers are thin.")(thin)
    rule("odd-map", "alignment", "note", "A map is odd.")(odd)
    rule("small-object", "context", "note", "An object is small.", wants="object")(big)
    (tmp_path / "net.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("eyeshot.analysis.findings.inputrange.input_range", lambda net: ())
    yield tmp_path
    RULES.clear()
    RULES.update(kept)


def invoke(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["check", *args], env=env)


def found(*args: str, code: int = 1, **env: str) -> str:
    result = invoke(*args, **env)
    assert (result.exit_code, result.stderr) == (code, ""), result.output
    return result.stdout


def codes(*args: str, code: int | None = None) -> list[str]:
    result = invoke(*args, "--format", "json")
    assert result.stderr == "" and result.exit_code in ((0, 1) if code is None else (code,))
    return [finding["code"] for finding in json.loads(result.stdout)["findings"]]


def asked(*args: str) -> str:
    """What the rule was asked."""
    (finding,) = json.loads(
        found("net.yaml", "--select", "small-object", "-f", "json", *args, code=0)
    )["findings"]
    return str(finding["message"])


def refused(*args: str) -> str:
    result = invoke(*args)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("eyeshot: ") and len(line) < 520
    return line.removeprefix("eyeshot: ")


def project(text: str, file: str = "pyproject.toml") -> None:
    Path(file).write_text(text, encoding="utf-8")


# --- formats


def test_text() -> None:
    assert found("net.yaml") == TEXT
    assert found("net.yaml", COLUMNS="80") == TEXT
    assert max(map(len, found("net.yaml", COLUMNS="30").splitlines())) <= 30
    assert found("net.yaml", "--select", "dead-units", code=0) == (
        "two convs · input 1x3x32x32 · exact\nnothing found: 1 rule looked at 2 layers\n"
    )


def test_json() -> None:
    content = json.loads(found("net.yaml", "--format", "json"))
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    assert content == eyeshot.check("net.yaml").to_dict()
    assert content["looked"] == ["dead-units", "thin-layers", "odd-map"]


def test_markdown() -> None:
    assert found("net.yaml", "-f", "markdown") == eyeshot.check("net.yaml").to_markdown()


def test_sarif() -> None:
    content = json.loads(found("net.yaml", "-f", "sarif"))
    assert content == eyeshot.check("net.yaml").to_sarif("net.yaml")
    first = content["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert first["artifactLocation"]["uri"] == "net.yaml" and first["region"]["startLine"] == 4


def test_names_do_not_steer_the_terminal() -> None:
    def steers(net: Network) -> Iterator[Finding]:
        yield Finding(("\x1b[31ma\n|`b`",), "\x1b]0;title\x07", "\r", "\x9b", {"\x1b": "\x1b"})

    RULES["odd-map"] = RULES["odd-map"]._replace(look=steers)  # the fixture puts the table back
    for form in ("text", "json", "markdown", "sarif"):
        text = found("net.yaml", "-f", form)
        assert all(c.isprintable() or c == "\n" for c in text)
    sent = json.loads(found("net.yaml", "-f", "json"))["findings"][1]
    assert sent["layers"] == ["\x1b[31ma\n|`b`"] and sent["evidence"] == {"\x1b": "\x1b"}


# --- options of the network


def test_input_axes_and_train(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "input 1x3x64x48 · " in found("net.yaml", "--input", "3x64x48")
    calls: list[Any] = []

    def check(source: str, input: Any, **more: Any) -> eyeshot.Check:
        calls.append((source, input, more))
        return kept("net.yaml")

    kept = eyeshot.check
    monkeypatch.setattr(eyeshot, "check", check)
    found("net.yaml", "-i", "x=3x9", "-a", "x=1", "--train")
    assert calls[0][:2] == ("net.yaml", {"x": "3x9"})
    assert calls[0][2] == {"training": True, "axes": {"x": (1,)}, "ignore": []}


def test_object_and_anchors() -> None:
    assert "object=(96, 96)" in asked("--object", "96")
    assert "object=(96, 64)" in asked("--object", "96x64")
    text = asked("--object", "9", "--anchors", "head=32,64x48", "--anchors", "stem=8")
    assert "anchors={'head': ((32, 32), (64, 48)), 'stem': ((8, 8),)}" in text


def test_what_the_network_is_meant_to_be() -> None:
    plain = asked("--object", "9")
    assert "causal=False, time=None, tileable=False, streamable=False" in plain
    text = asked("--object", "9", "--causal", "--time", "3", "--tileable", "--streamable")
    assert "causal=True, time=3, tileable=True, streamable=True" in text


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--object", "0"], "--object: a size is at least 1, got 0"),
        (["--object", "a"], "--object: expected a size such as 96 or 96x64, got 'a'"),
        (["--object", ""], "--object: expected a size such as 96 or 96x64, got ''"),
        (["--object", "1x2x3"], "object: 3 sizes for 2 axes"),
        (["--anchors", "head"], "--anchors head: expected LAYER=SIZES, such as p3=32,64"),
        (["--anchors", "=3"], "--anchors =3: expected LAYER=SIZES, such as p3=32,64"),
        (["--anchors", "head=3,"], "--anchors head=3,: expected a size such as"),
        (["--anchors", "head=1x2x3"], "anchors: head: 3 sizes for 2 axes"),
        (["--anchors", "hed=3"], "there is no layer 'hed'; did you mean 'head'?"),
        (["--anchors", "a=3", "--anchors", "a=4"], "--anchors a=4: 'a' is given twice"),
        (["--causal"], "causal: which of the input's axes [2, 3] is time? Say so (time=, --time)"),
        (["--streamable"], "streamable: which of the input's axes [2, 3] is time? Say so"),
        (["--causal", "--time", "1"], "time: 1 is no axis of the input; its axes are [2, 3]"),
        (["--time", "-1"], "check: Invalid value for '--time': -1 is not in the range x>=0."),
        (["--select", "thin-layer"], "did you mean thin-layers?"),
        (["--select", "odd-map,"], None),
        (["--select", ","], "--select: expected codes or topics; --list names them all"),
        (["--ignore", ""], "--ignore: expected codes or topics; --list names them all"),
        (["--ignore", "zzz"], "ignore: there is no finding or topic 'zzz'; topics are context, "),
        (["--fail-on", "fatal"], "check: Invalid value for '--fail-on': 'fatal' is not one of"),
        (["--format", "xml"], "check: Invalid value for '-f' / '--format': 'xml' is not one of"),
        (["--input", "a"], "input: expected a shape like 3x224x224, got 'a'"),
        (["--axes", "2"], "axes: only a PyTorch module takes it"),
        (["--config", "no.toml"], "no.toml: No such file or directory"),
        (["--config", ""], "Is a directory"),
        (["--config", "net.yaml", "--no-config"], "--config: there is --no-config as well"),
        (["--explain", "thin-layer"], "--explain: there is no finding 'thin-layer'; did you mean thin"),
        (["--explain", "zz"], "--explain: there is no finding 'zz'; --list names them all"),
        (["-o", "no/where"], "no/where: No such file or directory"),
        (["-o", ""], "--output: no file name"),
        (["more"], "check: Got unexpected extra argument (more)"),
    ],
)  # fmt: skip
def test_bad_options(args: list[str], why: str | None) -> None:
    if why is None:
        assert codes("net.yaml", *args) == ["odd-map"]
    else:
        assert why in refused("net.yaml", *args)


def test_bad_sources() -> None:
    assert refused() == "check: Missing argument 'SOURCE'."
    assert refused("nt.yaml").startswith("nt.yaml: No such file")
    assert refused("example:unt").startswith("there is no example 'unt'")
    assert refused("net.py").startswith("net.py: not a source")
    assert refused("") != ""


# --- select, ignore, exit codes


def test_select_and_ignore() -> None:
    assert codes("net.yaml") == ["thin-layers", "odd-map"]
    assert codes("net.yaml", "--select", "odd-map") == ["odd-map"]
    assert codes("net.yaml", "--select", "context, alignment") == ["thin-layers", "odd-map"]
    assert codes("net.yaml", "--select", "odd-map", "--select", "thin-*") == codes("net.yaml")
    assert codes("net.yaml", "--ignore", "context") == ["odd-map"]
    assert codes("net.yaml", "--select", "all", "--ignore", "*-*") == []


@pytest.mark.parametrize(
    ("level", "both", "note", "nothing"),
    [(None, 1, 0, 0), ("error", 0, 0, 0), ("warning", 1, 0, 0), ("note", 1, 1, 0), ("never", 0, 0, 0)],
)  # fmt: skip
def test_exit_codes(level: str | None, both: int, note: int, nothing: int) -> None:
    option = [] if level is None else ["--fail-on", level]
    assert invoke("net.yaml", *option).exit_code == both
    assert invoke("net.yaml", "--select", "odd-map", *option).exit_code == note
    assert invoke("net.yaml", "--select", "dead-units", *option).exit_code == nothing


# --- list, explain


def test_what_was_asked_for_and_not_looked_at_is_no_success() -> None:
    def large(net: Network) -> Iterator[Finding]:
        raise EyeshotError("it is too large")
        yield

    rule("reads-it", "leaks", "error", "It is read.", wants="causal")(large)
    rule("blocks-tiling", "tiling", "note", "It is tied.")(large)
    assert "blocks-tiling (it is too large)" in found("net.yaml", code=1)
    for asked_for, code in (
        (["--causal", "--time", "2"], "reads-it"),
        (["--tileable"], "blocks-tiling"),
    ):
        result = invoke("net.yaml", *asked_for)
        assert (result.exit_code, result.stderr) == (
            2,
            f"eyeshot: {code} could not look: it is too large\n",
        )
        assert f"not looked for: {code}" in result.stdout


def test_list() -> None:
    text = found("--list", code=0)
    assert text == (
        "thin-layers   context    warning  Layers are thin.\n"
        "small-object  context    note     An object is small. (--object)\n"
        "dead-units    coverage   error    Units are dead.\n"
        "odd-map       alignment  note     A map is odd.\n"
    )
    assert found("--list", "--select", "odd-map", code=0).split()[0] == "odd-map"
    assert found("--list", "--ignore", "*", code=0) == "\n"
    narrow = found("--list", code=0, COLUMNS="50").splitlines()
    assert max(map(len, narrow)) <= 55 and len(narrow) > 4


def test_explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Odd maps\n\nA map is `odd`.\n"
    (tmp_path / "odd-map.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(pages, "PLACES", (tmp_path,))
    assert found("--explain", "odd-map", code=0) == text
    assert found("--explain", "odd-map", "-o", "page.md", code=0) == ""
    assert Path("page.md").read_text(encoding="utf-8") == text
    assert refused("--explain", "thin-layers") == "the page of thin-layers is not installed"


def test_completion() -> None:
    env = {"_EYESHOT_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    done = CliRunner().invoke(
        main, [], prog_name="eyeshot", env={**env, "COMP_WORDS": "eyeshot check --select th"}
    )
    assert done.output == "plain,thin-layers\n"


# --- files


def test_output(tmp_path: Path) -> None:
    path = tmp_path / "findings.txt"
    path.write_text("old")
    path.chmod(0o640)
    assert found("net.yaml", "-o", str(path), COLUMNS="30") == ""
    assert path.read_text(encoding="utf-8") == TEXT
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["findings.txt", "net.yaml"]


def test_failing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "findings.txt"
    path.write_text("old")
    refused("nothing.yaml", "-o", str(path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert refused("net.yaml", "-o", str(path)) == f"{path}: No space left on device"
    assert path.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["findings.txt", "net.yaml"]


def test_a_closed_pipe_is_no_error() -> None:
    """The real command, with the real rules; the reader goes away at once."""
    line = f"{SCRIPT} check example:resnet18 --input 3x32x32 --format json; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({line}) | head -c 10"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == '{\n "schema"'[:10]
    assert done.stderr.strip() in ("0", "1")


# --- settings


def test_settings() -> None:
    project('[tool.eyeshot]\nignore = ["odd-map"]\nfail-on = "error"\ninput = "3x40x40"\n')
    assert "1x3x40x40" in found("net.yaml", code=0)
    assert codes("net.yaml") == ["thin-layers"]
    assert "1x3x50x50" in found("net.yaml", "--input", "3x50x50", code=0)
    found("net.yaml", "--fail-on", "warning", code=1)
    assert found("net.yaml", "--no-config") == TEXT
    # Who asks for findings by name gets them; who ignores more ignores those as well.
    assert codes("net.yaml", "--select", "odd-map") == ["odd-map"]
    assert codes("net.yaml", "--ignore", "thin-layers") == []


def test_settings_of_a_source() -> None:
    project(
        """
        [tool.eyeshot]
        ignore = "odd-map"
        object = 10
        [tool.eyeshot.sources."nets/*.yaml"]
        ignore = ["context"]
        [tool.eyeshot.sources."net.yaml"]
        object = "96x64"
        anchors = {head = 32, stem = [8, "9x10", [11, 12]]}
        causal = true
        time = 2
        tileable = true
        streamable = true
        """
    )
    text = asked()
    assert "object=(96, 64)" in text and "causal=True, time=2, tileable=True" in text
    assert "{'head': ((32, 32),), 'stem': ((8, 8), (9, 10), (11, 12))}" in text
    assert "object=(5, 5)" in asked("--object", "5")
    assert "anchors={'head': ((4, 4),)}" in asked("--anchors", "head=4")
    Path("nets").mkdir()
    Path("nets/net.yaml").write_text(SPEC, encoding="utf-8")
    assert codes("nets/net.yaml") == []
    assert codes(str(Path("nets/net.yaml").resolve())) == []
    assert codes("net.yaml") == ["thin-layers", "small-object"]
    os.chdir("nets")
    # From elsewhere the globs are still those of the settings' folder.
    assert codes("net.yaml") == []
    assert codes("../net.yaml") == ["thin-layers", "small-object"]


def test_later_tables_override_and_ignore_adds() -> None:
    project(
        """
        [tool.eyeshot]
        select = ["odd-map", "thin-layers"]
        [tool.eyeshot.sources."*"]
        object = 10
        ignore = ["odd-map"]
        [tool.eyeshot.sources."*.yaml"]
        object = 20
        select = ["all"]
        ignore = "thin-layers"
        """
    )
    (only,) = json.loads(found("net.yaml", "-f", "json", code=0))["findings"]
    assert "object=(20, 20)" in only["message"]


def test_the_nearest_file_with_the_table() -> None:
    project('[tool.eyeshot]\nselect = "odd-map"\n')
    Path("a/b").mkdir(parents=True)
    project("[tool.ruff]\n", "a/pyproject.toml")
    os.chdir("a/b")
    assert codes("../../net.yaml") == ["odd-map"]
    project('[tool.eyeshot]\nselect = "thin-layers"\n')
    assert codes("../../net.yaml") == ["thin-layers"]
    assert codes("../../net.yaml", "--config", "../../pyproject.toml") == ["odd-map"]
    assert refused("../../net.yaml", "--config", "../pyproject.toml") == (
        "../pyproject.toml: there is no table [tool.eyeshot]"
    )
    project("[tool.eyeshot]\n")
    assert codes("../../net.yaml") == ["thin-layers", "odd-map"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("fail_on = 'error'", "pyproject.toml: tool.eyeshot.fail_on: unknown key; did you mean fail-on?"),
        ("zzz = 1", "tool.eyeshot.zzz: unknown key; keys are select, ignore, fail-on, input, axes, "),
        ("source = 1", "tool.eyeshot.source: unknown key; did you mean sources?"),
        ("select = 3", "tool.eyeshot.select: expected a list of codes or topics, got 3"),
        ("select = ['odd-mop']", "tool.eyeshot.select: there is no finding or topic 'odd-mop'; did you"),
        ("ignore = [['odd-map']]", "tool.eyeshot.ignore: expected a list of codes or topics"),
        ("ignore = ['zzz']", "tool.eyeshot.ignore: there is no finding or topic 'zzz'; topics are"),
        ("fail-on = 'fatal'", "fail-on: expected one of error, warning, note, never, got 'fatal'"),
        ("fail-on = ['note']", "fail-on: expected one of error"),
        ("object = 1.5", "tool.eyeshot.object: expected a size such as 96 or \"96x64\", got 1.5"),
        ("object = true", "expected a size such as"),
        ("object = []", "expected a size such as"),
        ("object = -1", "a size is at least 1, got -1"),
        ("anchors = 3", "tool.eyeshot.anchors: expected a table from layers to sizes, got 3"),
        ("anchors = {p3 = []}", "tool.eyeshot.anchors: p3: expected a size, got none"),
        ("anchors = {p3 = 'a'}", "tool.eyeshot.anchors: p3: expected a size such as 96 or 96x64, got 'a'"),
        ("causal = 1", "tool.eyeshot.causal: expected true or false, got 1"),
        ("train = 'no'", "tool.eyeshot.train: expected true or false, got 'no'"),
        ("time = 'x'", "tool.eyeshot.time: expected a dim of the input, got 'x'"),
        ("time = true", "tool.eyeshot.time: expected a dim"),
        ("input = 1.5", "tool.eyeshot.input: expected a shape such as"),
        ("input = {x = true}", "tool.eyeshot.input: expected a shape such as"),
        ("axes = 2", "tool.eyeshot.axes: expected dims of the input, such as [2, 3], got 2"),
        ("sources = 3", "tool.eyeshot.sources: expected a table of sources"),
        ("sources = {'*.x' = 3}", "tool.eyeshot.sources.\"*.x\": expected a table"),
        ("sources = {'*.x' = {zzz = 3}}", "tool.eyeshot.sources.\"*.x\".zzz: unknown key"),
        ("sources = {'*.x' = {sources = {}}}", "tool.eyeshot.sources.\"*.x\".sources: unknown key"),
        ("sources = {'*.x' = {object = 'b'}}", "sources.\"*.x\".object: expected a size"),
        ("object =", "pyproject.toml: not TOML: Invalid value (at line 2, column"),
        ("a = 1\na = 2", "pyproject.toml: not TOML: Cannot overwrite a value"),
        ("a = " + "[" * 100_000, "pyproject.toml: not TOML: "),
        ("object = " + "9" * 5000, "pyproject.toml: not TOML: "),
    ],
)  # fmt: skip
def test_bad_settings(text: str, why: str) -> None:
    project(f"[tool.eyeshot]\n{text}\n")
    line = refused("net.yaml")
    assert why in line and line.startswith("pyproject.toml: ")
    assert invoke("net.yaml", "--no-config").exit_code == 1


def test_files_that_are_no_settings() -> None:
    for text in ("", "tool = 3", "[tool]\n", "[project]\n"):
        project(text)
        assert found("net.yaml") == TEXT
        assert refused("net.yaml", "--config", "pyproject.toml").endswith("table [tool.eyeshot]")
    project("[tool]\neyeshot = 3")
    assert refused("net.yaml") == "pyproject.toml: tool.eyeshot: expected a table"
    Path("pyproject.toml").write_bytes(b"\xff\xfe")
    assert refused("net.yaml") == "pyproject.toml: not a text file (byte 0 is not UTF-8)"
    Path("pyproject.toml").write_bytes(b"#" * ((4 << 20) + 1))
    assert refused("net.yaml") == "pyproject.toml: larger than 4 MiB"
    os.unlink("pyproject.toml")
    Path("pyproject.toml").mkdir()
    assert found("net.yaml") == TEXT


@pytest.mark.parametrize("seed", range(60))
def test_any_settings(seed: int) -> None:
    """Whatever a table holds, the answer is findings, or one line that names the file."""
    draw = random.Random(seed)
    values = [
        *("1", "-1", "0", "1.5", "nan", "true", "'a'", "''", "'96x64'", "[]", "[1, 2]", "['x']"),
        *(
            "{}",
            "{a = 1}",
            "{head = 3}",
            "2026-01-01",
            "'odd-map'",
            "'error'",
            "'\\u001b'",
            "[[1]]",
        ),
        *("{head = [1, [2, 3]]}", "9223372036854775807", "'1x1x1'", "{head = {a = 1}}"),
    ]
    keys = [*settings.KEYS, "sources", "zzz", "'\\u001b'", "''", '"*"', "sources.'*'.object"]
    chosen = draw.sample(keys, draw.randrange(1, 5))
    lines = "\n".join(f"{key} = {draw.choice(values)}" for key in chosen)
    project(f"[tool.eyeshot]\n{lines}\n")
    result = invoke("net.yaml")
    if result.exit_code == 2:
        (line,) = result.stderr.splitlines()
        assert line.startswith("eyeshot: ") and line.isprintable()
    else:
        assert result.exit_code in (0, 1) and result.stderr == "", (lines, result.exception)


def test_find_from_python() -> None:
    assert settings.find("net.yaml") == {}
    project('[tool.eyeshot]\nobject = [96, 64]\nsources."n*".ignore = "odd-map"\n')
    assert settings.find("net.yaml") == {"object": (96, 64), "ignore": ["odd-map"]}
    assert settings.find(None) == {"object": (96, 64)}
    assert FAIL_ON == settings.FAIL_ON


def test_the_settings_in_the_docs() -> None:
    """Every TOML block of the page is read, with the real rules, and every key has a row."""
    text = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    RULES.update(REAL)
    for block in blocks:
        project(block)
        assert settings.find("nets/detector.yaml")
    rows = "".join(re.findall(r"^\| (`.*?) \|", text.split("## Settings")[1], re.MULTILINE))
    assert set(settings.KEYS) <= set(re.findall(r"`([\w-]+)`", rows))

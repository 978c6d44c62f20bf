"""The documentation runs, and covers every command, option and operator."""

from __future__ import annotations

import ast
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import eyeshot
from eyeshot.cli import main
from eyeshot.examples import names, path
from eyeshot.frontends.spec import load
from eyeshot.frontends.spec.operators import OPERATORS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """(line, text) of the fenced blocks in this language."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start()) + 2, match[1]) for match in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bundled examples as files, where sessions run."""
    for name in names():
        shutil.copy(path(name), tmp_path)
    (tmp_path / "model.onnx").write_bytes(_model())
    shutil.copy(ROOT / "docs" / "pictures" / "cat.jpg", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _model() -> bytes:
    """A model that leaves sizes open, as exporters write it."""
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float[N, 3, height, width] image, float[16, 3, 3, 3] w) '
        "=> (float[N, 16, h, w2] out) { out = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(image, w) }"
    )
    model.graph.initializer.append(
        onnx.TensorProto(name="w", data_type=1, dims=[16, 3, 3, 3], raw_data=bytes(4 * 16 * 27))
    )
    return model.SerializeToString()


# --- sessions


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_sessions(page: Path, folder: Path) -> None:
    """All sessions of a page, one after the other."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    scope: dict[str, object] = {}
    report: list[str] = []
    for line, text in blocks(page, "python"):
        if ">>>" not in text:
            ast.parse(text)
            continue
        test = parser.get_doctest(text, {}, page.name, str(page), line - 1)
        test.globs = scope
        runner.run(test, out=report.append, clear_globs=False)
    assert not runner.summarize(verbose=False).failed, "".join(report)


def sessions(page: Path) -> Iterator[tuple[int, str, str]]:
    """(line, command, expected output) of console blocks."""
    for line, text in blocks(page, "console"):
        assert text.startswith("$ "), f"{page.name}:{line}"
        for match in re.finditer(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            yield line + text.count("\n", 0, match.start()), match[1], match[2]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_console_sessions(page: Path, folder: Path) -> None:
    """``cat FILE`` writes the file that it shows unless it is there already."""
    scripts = sysconfig.get_path("scripts")
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    for line, command, expected in sessions(page):
        words = shlex.split(command)
        if words[0] == "cat" and not (folder / words[1]).exists():
            (folder / words[1]).write_text(expected, encoding="utf-8")
        assert words[0] in ("eyeshot", "cat", "head"), f"{page.name}:{line}: {command}"
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        assert done.stdout == expected, f"{page.name}:{line}: {command}"
        # A check that found what the page shows exits with 1.
        found = words[:2] == ["eyeshot", "check"]
        assert done.returncode in ((0, 1) if found else (0,)), f"{page.name}:{line}: {command}"


def test_sessions_are_found() -> None:
    """The two tests above are not empty."""
    assert sum(len(list(sessions(page))) for page in PAGES) >= 15
    assert sum(">>>" in text for page in PAGES for _, text in blocks(page, "python")) >= 5


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_specs_in_the_docs(page: Path, tmp_path: Path) -> None:
    """Every YAML block that is a spec can be analysed."""
    for line, text in blocks(page, "yaml"):
        file = tmp_path / "net.yaml"
        file.write_text(text, encoding="utf-8")
        content = load(file)
        if isinstance(content, dict) and "layers" in content:
            assert len(eyeshot.analyze(file)), f"{page.name}:{line}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_files_named_in_the_docs_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:src|tests|docs)/[\w./-]+)`", page.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


# --- coverage


def commands() -> Iterator[tuple[str, click.Command]]:
    yield "eyeshot", main
    for name, command in main.commands.items():
        yield f"eyeshot {name}", command
        if isinstance(command, click.Group):
            for each, inner in command.commands.items():
                yield f"eyeshot {name} {each}", inner


CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "command"), list(commands()), ids=[name for name, _ in commands()]
)
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    if name != "eyeshot":
        assert f"\n## {name.split()[1]}\n" in CLI
        assert f"`{name}" in CLI
    section = CLI
    if name != "eyeshot":
        section = CLI.split(f"\n## {name.split()[1]}\n")[1].split("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", section), f"{name} {option}"
            assert parameter.help or option in ("--version", "--help")
        else:
            assert (parameter.metavar or str(parameter.name).upper()) in section
    assert command.help


def test_no_option_that_does_not_exist() -> None:
    known = {"--help", "-h"}
    for _, command in commands():
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for page in PAGES:
        for _, line, _ in sessions(page):
            if line.startswith("eyeshot"):
                used = {w.partition("=")[0] for w in shlex.split(line) if re.match(r"--?[a-z]", w)}
                assert used <= known, (page.name, line)
    assert set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", CLI)) <= known


SPECS = (ROOT / "docs" / "specs.md").read_text(encoding="utf-8")


def table_of_operators() -> list[list[str]]:
    """The rows of the operators' table: operators, fields, what is read."""
    section = SPECS.split("\n## Operators\n")[1].split("\n## ")[0]
    lines = section[section.index("| op |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_operator_is_documented_and_every_documented_one_exists() -> None:
    documented: set[str] = set()
    for row in table_of_operators():
        found = re.findall(r"`([\w-]+)`", row[0])
        assert found and not documented & set(found), row[0]
        assert set(found) <= set(OPERATORS), row[0]
        documented |= set(found)
    generic = {"add", "relu"}  # their rows stand for all pointwise operators, and say so
    rest = set(OPERATORS) - documented
    assert {OPERATORS[name] for name in rest} <= {OPERATORS[name] for name in generic}
    assert "…" in next(row[0] for row in table_of_operators() if "`relu`" in row[0])


def test_every_field_is_documented() -> None:
    for row in table_of_operators():
        for op in re.findall(r"`([\w-]+)`", row[0]):
            struct = OPERATORS[op]
            described = set(re.findall(r"`([\w-]+)`", row[1]))
            assert set(struct.__struct_fields__) <= described, op


def test_the_changelog_has_every_example() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name in names():
        assert f"`{name}`" in text

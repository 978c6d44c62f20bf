"""The benchmarks run; what they measure is no business of a test."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_imports_and_the_page_has_a_place_for_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    parts = importlib.import_module("benchmarks.parts").PARTS
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for name in parts:
        assert page.count(f"<!-- {name}: begin -->\n") == 1
        assert page.count(f"<!-- {name}: end -->") == 1


def test_the_plain_loop_knows_the_published_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    plain = importlib.import_module("benchmarks.plain")
    rows = plain.fields(plain.ALEXNET, 227)
    assert rows[0] == ("conv1", 55, 11, 4, 5.5)
    assert rows[7] == ("pool5", 6, 195, 32, 33.5)
    assert rows[-1] == ("fc7-conv", 1, 355, 32, 113.5)


def test_one_part_runs_quickly() -> None:
    done = run("--quick", "loop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("## Against the article's plain loop\n")
    assert "| ReceptiveFieldCalculator, to the loop that prints |" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no part 'nothing'"),
        (["--quick", "--write", "docs/benchmarks.md"], "--write takes a full run"),
        (["--write", "docs/no-such-page.md"], "there is no such page"),
    ],
)
def test_a_wrong_command_is_refused(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr

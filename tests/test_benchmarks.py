"""The benchmarks run; what they measure is no business of a test."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def run(*arguments: str, module: str = "benchmarks") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
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


# --- the zoo's runner

WORK = """
import os, time

def work(task):
    if task == "crash":
        os._exit(3)
    if task == "hang":
        time.sleep(60)
    if task == "greedy":
        bytearray(1 << 40)
    if task == "raise":
        raise ValueError("no\\nluck")
    return {"status": "exact", "by": task}
"""


def test_a_crash_or_a_hang_does_not_end_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_work.py").write_text(WORK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.syspath_prepend(str(tmp_path))
    tasks = importlib.import_module("benchmarks.tasks")
    limits = tasks.Limits(2, 1.5, 4 << 30)
    names = ["a", "crash", "hang", "raise", "greedy", "b"]
    found = dict(tasks.run(names, "some_work:work", limits))
    assert sorted(found) == sorted(names)
    assert found["a"] == {"status": "exact", "by": "a"}
    assert found["b"] == {"status": "exact", "by": "b"}
    assert found["crash"] == {"status": "failed", "error": "the process ended with exit code 3"}
    assert found["hang"] == {"status": "failed", "error": "not done after 1.5 s"}
    assert found["raise"] == {"status": "failed", "error": "ValueError: no luck"}
    assert found["greedy"]["error"].startswith("MemoryError")


def test_results_are_kept_and_made_again_for_other_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    tasks = importlib.import_module("benchmarks.tasks")
    file = tmp_path / "deep" / "results.jsonl"
    old, new = {"eyeshot": "1+a", "torch": "2"}, {"eyeshot": "1+b", "torch": "2"}
    store = tasks.Store(file)
    store.add({"task": "x", "status": "failed", "stamp": new})
    store.add({"task": "x", "status": "exact", "stamp": new})
    store.add({"task": "y", "status": "exact", "stamp": old})
    store.add({"task": "z", "status": "bound", "stamp": old})
    with file.open("a", encoding="utf-8") as out:
        out.write('{"task": "cut o')
    store = tasks.Store(file)
    assert store.records["x"]["status"] == "exact"
    every = ["x", "y", "z", "new"]
    assert store.pending(every, lambda task: new, keep=False) == ["y", "z", "new"]
    assert store.pending(every, lambda task: new, keep=True) == ["z", "new"]
    other = {**new, "torch": "3"}
    assert store.pending(every, lambda task: other, keep=True) == every
    store.clear()
    assert tasks.Store(file).records == {}


RECORD = {
    "task": "timm:net",
    "stamp": {"eyeshot": "1+b", "torch": "2"},
    "status": "exact",
    "inputs": [[1, 3, 224, 224]],
    "first": 0.03,
    "analyze": 0.02,
    "forward": 0.01,
    "forward_on": "meta",
    "nodes": 9,
    "layers": 5,
    "bound_layers": 0,
    "blame": [],
    "map": {
        "layer": "last",
        "tokens": False,
        "n": [7, 7],
        "size": [427, 427],
        "jump": [32.0, 32.0],
        "global": True,
        "local": True,
        "status": "exact",
    },
    "built": "meta",
}


def test_the_tables_of_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    zoo = importlib.import_module("benchmarks.zoo")
    blame = [["unknown-op", "spin", 3], ["real-run", "", 1]]
    bound: dict[str, Any] = {**RECORD, "task": "timm:odd", "status": "bound", "blame": blame}
    bound["map"] = {**RECORD["map"], "status": "bound", "global": False, "size": [5, 9]}  # type: ignore[dict-item]
    failed = {"task": "timm:bad", "stamp": {}, "status": "failed", "error": "a | b"}
    records = [RECORD, bound, failed]
    rows = zoo.table(records).splitlines()
    assert rows[2] == "| net | 224 | 427/32 + G | 7 | exact | 5 | 9 | 20 | 2.00 |"
    assert rows[3] == "| odd | 224 | ≤ 5×9/32 | 7 | bound | 5 | 9 | 20 | 2.00 |"
    assert rows[4] == "| bad | | | | failed | | | | |"
    totals = zoo.totals(records)
    assert "| timm: 3 | 2 | 1 | 1 | 1 | 0 | 1 |" in totals
    assert "2.000×, missed" in totals
    assert "without a rule: `spin` (1 model)" in totals
    found = zoo.bounds(records)
    assert "| unknown-op | spin | 1 | `timm:odd` |" in found
    assert "| timm:bad | a \\| b |" in found


def test_the_pages_have_a_place_for_every_table() -> None:
    places = {
        "zoo.md": ("totals", "bounds", "torchvision", "timm", "verify"),
        "zoo-findings.md": ("findings", "models"),
        "peers.md": ("contenders", "answers", "time", "memory", "flat"),
    }
    for page, names in places.items():
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for name in names:
            assert text.count(f"<!-- {name}: begin -->\n") == 1
            assert text.count(f"<!-- {name}: end -->") == 1


def test_the_zoo_runs_on_one_model(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    file = tmp_path / "results.jsonl"
    chosen = ("--library", "torchvision", "--match", "resnet18", "--results", str(file))
    done = run(*chosen, module="benchmarks.zoo")
    assert done.returncode == 0, done.stderr
    assert "| torchvision: 1 | 1 | 1 | 0 | 0 | 0 | 0 |" in done.stdout
    (record,) = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert record["map"]["size"] == [435, 435]
    assert record["forward_on"] == "meta"
    again = run(*chosen, "--keep", module="benchmarks.zoo")
    assert "1 of 1 are there already" in again.stderr
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1


def finding(code: str, severity: str, *layers: str) -> dict[str, Any]:
    words = {"message": "It is.", "cost": "Much.", "remedy": "Less."}
    return {"code": code, "severity": severity, "layers": layers, **words}


def test_the_tables_of_the_checked_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    zoo_check = importlib.import_module("benchmarks.zoo_check")
    done = {"stamp": {}, "status": "exact", "whole": 1.0, "layers": 9, "input_range": []}
    found = [finding("holes", "warning", "c1", "c2"), finding("shifted-map", "note")]
    records = [
        {"task": "timm:a", "alone": 0.25, "findings": found, "skipped": [["holes", "no"]], **done},
        {"task": "timm:b", "alone": 2.0, "findings": found[1:], "skipped": [], **done},
        {"task": "timm:c", "stamp": {}, "status": "failed", "error": "a"},
    ]
    totals = zoo_check.totals(records)
    assert "2 models checked, 1 failed." in totals and "1 have notes at most" in totals
    assert "at most 1 s for 1 of 2" in totals
    assert "| `shifted-map` | note | 2 | `timm:a`, `timm:b` |" in totals
    assert totals.endswith("Could not be looked at: `holes` (1).\n")
    rows = zoo_check.table(records).splitlines()[2:]
    assert rows == [
        "| timm:a | 9 | 250 | `holes` at c1 | `shifted-map` |",
        "| timm:b | 9 | 2000 | – | `shifted-map` |",
        "| timm:c | | | failed: a | |",
    ]
    words = "\n".join(zoo_check.messages(records))
    assert "warning holes: c1, c2: It is." in words and "failed: a" in words


def test_the_zoo_is_checked_on_one_model(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    file = tmp_path / "results.jsonl"
    chosen = ("--match", "squeezenet1_1", "--jobs", "1", "--results", str(file))
    done = run(*chosen, "--read", module="benchmarks.zoo_check")
    assert done.returncode == 0, done.stderr
    assert "== torchvision:squeezenet1_1" in done.stdout
    assert "note    unread-input: features.0:" in done.stdout
    (record,) = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert record["status"] == "exact" and record["alone"] > 0
    again = run(*chosen, "--report", module="benchmarks.zoo_check")
    assert "1 models checked, 0 failed" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--write", "docs/zoo.md", "--limit", "1"], "--write takes a whole run"),
        (["--fresh", "--report"], "leave nothing to report"),
        (["--jobs", "0"], "--jobs: at least 1"),
    ],
)
def test_wrong_options_of_the_zoo_are_refused(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    zoo = importlib.import_module("benchmarks.zoo")
    with pytest.raises(SystemExit) as stopped:
        zoo.main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


# --- the race against peers


@pytest.mark.parametrize(("net", "height", "field"), [("patchgan", 128, 70), ("dilated", 160, 127)])
def test_the_poisoned_truth_is_the_published_one(
    net: str, height: int, field: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.syspath_prepend(str(ROOT))
    nets = importlib.import_module("benchmarks.nets").NETS
    contenders = importlib.import_module("benchmarks.contenders")
    module = nets[net].build(height).eval()
    assert contenders.truth(module, (1, 3, height, 64), nets[net].period) == field


def test_peers_and_networks_have_the_same_names_on_both_sides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.syspath_prepend(str(ROOT))
    peers = importlib.import_module("benchmarks.peers")
    assert list(peers.NETWORKS) == list(importlib.import_module("benchmarks.nets").NETS)
    known = importlib.import_module("benchmarks.contenders").CONTENDERS
    assert ["eyeshot", *peers.PEERS] == list(known)

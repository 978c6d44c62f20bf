"""``python -m benchmarks.peers``: eyeshot beside other tools for the same question, in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import eyeshot
from benchmarks.__main__ import renew
from benchmarks.measure import note
from benchmarks.tasks import FOLDER

__all__ = ["PEERS", "main"]

ROOT = Path(__file__).parents[1]
SIDES = (224, 1024)
FAR = 16384
FASTER = 10
FLAT = 1.2
TIMEOUT = 600
NARROW = 64
HEIGHTS: dict[str, int] = {"densenet121": 4160, "vit": 224}
"""Tall enough for the middle unit's whole field; others get 1,120. A ViT has one size, and reads all of it."""


class Peer(NamedTuple):
    """Another tool: what pip installs, and how it works in a few words."""

    title: str
    how: str
    distribution: str = ""
    requirements: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


PEERS: dict[str, Peer] = {
    "torchscan": Peer("torchscan", "forward hooks by module type", "torchscan", ("torchscan",)),
    "torchscan-0.1": Peer(
        "torchscan 0.1",
        "the same; its last release that adds up fields over the modules",
        "torchscan",
        ("torchscan<0.2",),
    ),
    "rfa_toolbox": Peer(
        "rfa_toolbox",
        "a TorchScript trace, layers known by name",
        "rfa_toolbox",
        ("rfa-toolbox",),
        ("attrs", "graphviz", "tqdm"),
        ("--ignore-requires-python",),
    ),
    "pytorch-receptive-field": Peer(
        "pytorch-receptive-field",
        "forward hooks on a plain stack",
        "",
        ("git+https://github.com/Fangyh09/pytorch-receptive-field",),
        ("matplotlib",),
    ),
    "gradient": Peer(
        "gradient probe",
        "one unit's gradient at the input; the weights as initialised (`benchmarks/contenders.py`)",
    ),
    "gradient-positive": Peer(
        "gradient probe, positive",
        "the same in double precision with positive weights, averages in place of maxima",
    ),
}

NETWORKS = {
    "alexnet": "AlexNet",
    "vgg16": "VGG-16",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "googlenet": "GoogLeNet",
    "densenet121": "DenseNet-121",
    "mobilenet_v2": "MobileNet v2",
    "unet": "U-Net, depth 3",
    "patchgan": "PatchGAN",
    "dilated": "dilated 3×3",
    "vit": "ViT",
}
"""By name in `benchmarks/nets.py`, which is not imported here since it needs torch."""

Result = dict[str, Any]


# --- installing


class House:
    """An environment for the peers, which sees the packages of this one (the same PyTorch for all)."""

    def __init__(self, folder: Path, clone: Path | None) -> None:
        self.folder = folder.resolve()
        self.clone = None if clone is None else clone.resolve()
        self.python = self.folder / "bin" / "python"
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def install(self, name: str) -> None:
        """Put one peer into a folder of its own; note why where that fails."""
        peer = PEERS[name]
        if not self.python.exists():
            venv.create(self.folder, with_pip=True)
            site = next((self.folder / "lib").glob("python*/site-packages"))
            line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
            (site / "zz_host.pth").write_text(line, encoding="utf-8")
        if not peer.requirements:
            return
        target = self.target(name)
        clone = self.clone if name == "pytorch-receptive-field" else None
        if clone is None and not target.exists():
            failed = self._pip(
                "--no-deps", "--target", str(target), *peer.options, *peer.requirements
            )
            if failed:
                self.missing[name] = failed
                return
        if peer.needs:
            self._pip(*peer.needs)
        if peer.distribution:
            folders = sorted(target.glob("*.dist-info"))
            self.versions[name] = folders[0].stem.split("-")[1] if folders else ""
        elif clone is not None:
            git = ["git", "-C", str(clone), "rev-parse", "--short", "HEAD"]
            done = subprocess.run(git, capture_output=True, text=True)
            self.versions[name] = (
                f"commit {done.stdout.strip()}" if not done.returncode else "a clone"
            )

    def target(self, name: str) -> Path:
        """Where a peer's own package lies."""
        if name == "pytorch-receptive-field" and self.clone is not None:
            return self.clone
        return self.folder / "peers" / name

    def _pip(self, *arguments: str) -> str:
        """The last line of an error, or nothing."""
        command = [str(self.python), "-m", "pip", "install", "--quiet", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if not done.returncode:
            return ""
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return (errors or done.stderr.splitlines() or ["pip failed"])[-1].removeprefix("ERROR: ")

    def run(self, name: str, net: str, *sizes: int) -> Result:
        """One contender in a fresh process: its cost on a square side, its answer on height and width."""
        if name in self.missing:
            return {"error": "not installed"}
        # eyeshot and the benchmarks from here, the peer from its folder.
        path = [str(ROOT), str(Path(eyeshot.__file__).parents[1])]
        if name in PEERS and PEERS[name].requirements:
            path.append(str(self.target(name)))
        threads = {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path),
        }
        command = [str(self.python), "-m", "benchmarks.contenders", name, net, *map(str, sizes)]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **threads},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {TIMEOUT} s"}
        try:
            found: Result = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            found = {"error": f"the process ended with exit code {done.returncode}"}
        note(f"{name} {net} {sizes}: {found}")
        return found


# --- tables


def answers(
    truths: Mapping[str, Result], found: Mapping[tuple[str, str], Result], house: House
) -> tuple[str, int]:
    """(right or wrong, as a table with notes; how many of eyeshot's are wrong)."""
    columns = ["eyeshot", *PEERS]
    notes: list[str] = []
    lines = ["| network | poisoned | " + " | ".join(_title(c) for c in columns) + " |"]
    lines.append("|---|---:|" + "---:|" * len(columns))
    right = dict.fromkeys(columns, 0)
    for net, truth in truths.items():
        cells = []
        for name in columns:
            result = found[name, net]
            text, good = _answer(result, truth.get("answer"))
            right[name] += good
            if "error" in result and name not in house.missing:
                text += f" [{_note(notes, result['error'])}]"
            elif result.get("says") not in (None, "", "exact"):
                text += f" [{_note(notes, result['says'])}]"
            cells.append(text)
        shown = truth.get("answer", truth.get("error"))
        lines.append(f"| {NETWORKS[net]} | {shown} | " + " | ".join(cells) + " |")
    counts = " | ".join(f"{right[name]} of {len(truths)}" for name in columns)
    lines.append(f"| right | | {counts} |")
    listed = [f"[{k}] {text.replace('|', '/')}" for k, text in enumerate(notes, 1)]
    text = "\n".join(lines) + "\n"
    if listed:
        text += "\n" + "  \n".join(listed) + "\n"
    return text, len(truths) - right["eyeshot"]


def _title(name: str) -> str:
    return PEERS[name].title if name in PEERS else name


def _note(notes: list[str], text: str) -> int:
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _answer(result: Result, truth: Any) -> tuple[str, bool]:
    """(the number and whether it is right, in a cell; whether it is)."""
    if "error" in result or result["answer"] is None:
        return "–", False
    number = result["answer"]
    if number == "inf":
        return "∞ wrong", False
    good = number == truth
    return f"{number:g} {'right' if good else 'wrong'}", good


def costs(found: Mapping[tuple[str, str, int], Result], nets: Sequence[str], what: str) -> str:
    """Times or memory of ours, and of the others as multiples (time) or in MiB (memory)."""
    sides = [side for side in SIDES if any(key[2] == side for key in found)]
    lines = ["| network | side | eyeshot | " + " | ".join(p.title for p in PEERS.values()) + " |"]
    lines.append("|---|---:|" + "---:|" * (1 + len(PEERS)))
    for net in nets:
        for side in sides:
            ours = found["eyeshot", net, side]
            cells = [_own(ours, what)]
            for name in PEERS:
                cells.append(_other(found[name, net, side], ours, what))
            lines.append(f"| {NETWORKS[net]} | {side:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _own(result: Result, what: str) -> str:
    if "error" in result:
        return "–"
    return f"{result['seconds'] * 1e3:.1f} ms" if what == "time" else _mebibytes(result)


def _mebibytes(result: Result) -> str:
    return f"{result['memory'] / 2**20:,.0f} MiB"


def _other(result: Result, ours: Result, what: str) -> str:
    if "error" in result or "error" in ours:
        return "–"
    if what == "memory":
        return _mebibytes(result)
    ratio = result["seconds"] / ours["seconds"]
    return f"{ratio:,.0f}×" if ratio >= 100 else f"{ratio:.3g}×"


def faster(found: Mapping[tuple[str, str, int], Result], nets: Sequence[str]) -> str:
    """The least advantage at the larger side over anyone who finished."""
    side = max(key[2] for key in found if key[0] != "eyeshot")
    least: dict[tuple[str, str], float] = {}
    for net in nets:
        for name in PEERS:
            ours, theirs = found["eyeshot", net, side], found[name, net, side]
            if "error" not in ours and "error" not in theirs:
                least[name, net] = theirs["seconds"] / ours["seconds"]
    if not least:
        return "No peer finished.\n"
    below = {key: ratio for key, ratio in least.items() if ratio < FASTER}
    (name, net), ratio = min(least.items(), key=lambda item: item[1])
    verdict = "met" if not below else f"missed by {len(below)} of {len(least)}"
    return (
        f"Aim at {side:,}: at least {FASTER}× faster than every peer that runs a real forward pass; {verdict} "
        f"(least {ratio:.3g}×: {PEERS[name].title} on {NETWORKS[net]}).\n"
    )


def flat(found: Mapping[tuple[str, str, int], Result], nets: Sequence[str]) -> str:
    """Ours from the smallest to the largest side."""
    sides = (*SIDES, FAR)
    lines = [
        "| network | " + " | ".join(f"{side:,}" for side in sides) + " | slowest to fastest | |"
    ]
    lines.append("|---|" + "---:|" * (len(sides) + 1) + "---|")
    for net in nets:
        results = [found["eyeshot", net, side] for side in sides]
        cells = [
            "–" if "error" in r else f"{r['seconds'] * 1e3:.1f} ms, {_mebibytes(r)}"
            for r in results
        ]
        times = [r["seconds"] for r in results if "error" not in r]
        ratio = max(times) / min(times) if len(times) == len(sides) else float("nan")
        verdict = "met" if ratio <= FLAT else "missed"
        lines.append(f"| {NETWORKS[net]} | " + " | ".join(cells) + f" | {ratio:.2f}× | {verdict} |")
    return "\n".join(lines) + f"\n\nAim: at most {FLAT}×.\n"


def contenders(house: House) -> str:
    """Who ran, in which version, and how it works."""
    lines = ["| tool | version | how it works |", "|---|---|---|"]
    for name, peer in PEERS.items():
        version = house.versions.get(name, "")
        if name in house.missing:
            version = f"not installed: {house.missing[name].replace('|', '/')}"
        lines.append(f"| {peer.title} | {version} | {peer.how} |")
    return "\n".join(lines) + "\n"


# --- the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, run and compare; 0 when it could be measured, whatever the result."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Right or wrong, time and memory of eyeshot and other tools. Takes about half an hour.",
    )
    parser.add_argument("--net", action="append", choices=list(NETWORKS), help="only this network")
    parser.add_argument("--quick", action="store_true", help="no side above 224: a smoke test")
    parser.add_argument(
        "--environment",
        type=Path,
        default=FOLDER / "peers",
        metavar="DIR",
        help="where peers are installed",
    )
    parser.add_argument(
        "--clone",
        type=Path,
        metavar="DIR",
        help="a clone of pytorch-receptive-field, which is on no package index",
    )
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="renew the tables of a page (docs/peers.md)"
    )
    options = parser.parse_args(arguments)
    if options.write and options.quick:
        parser.error("--write takes all sides, without --quick")
    if options.write and not options.write.is_file():
        parser.error(f"--write {options.write}: there is no such page")
    nets = options.net or list(NETWORKS)
    sides = SIDES[:1] if options.quick else SIDES
    house = House(options.environment, options.clone)
    for name in PEERS:
        house.install(name)
    truths: dict[str, Result] = {}
    asked: dict[tuple[str, str], Result] = {}
    measured: dict[tuple[str, str, int], Result] = {}
    for net in nets:
        tall = HEIGHTS.get(net, 1120)
        wide = tall if net == "vit" else NARROW
        truths[net] = house.run("truth", net, SIDES[0], tall, wide)
        for name in ("eyeshot", *PEERS):
            asked[name, net] = house.run(name, net, SIDES[0], tall, wide)
            measured[name, net, SIDES[0]] = asked[name, net]
            for side in sides[1:]:
                measured[name, net, side] = house.run(name, net, side)
        if not options.quick:
            measured["eyeshot", net, FAR] = house.run("eyeshot", net, FAR)
    right, wrong = answers(truths, asked, house)
    verdict = "met" if not wrong else f"missed by {wrong}"
    sections = {
        "contenders": contenders(house),
        "answers": f"{right}\nAim: eyeshot right on all; {verdict}.\n",
        "time": costs(measured, nets, "time") + "\n" + faster(measured, nets),
        "memory": costs(measured, nets, "memory"),
    }
    if not options.quick:
        sections["flat"] = flat(measured, nets)
    print("\n".join(sections.values()))
    if options.write:
        renew(options.write, sections)
    return 0


if __name__ == "__main__":
    sys.exit(main())

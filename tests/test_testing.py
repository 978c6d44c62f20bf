"""Assertions about networks: what passes, and the messages of what fails."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import eyeshot
from eyeshot import EyeshotError, testing

STACK = {"conv1": [3, 1, 1], "conv2": [3, 2, 1], "conv3": [3, 1, 1]}
CAUSAL = {
    "a": {"op": "conv", "kernel": 3, "padding": "causal"},
    "b": {"op": "conv", "kernel": 3, "padding": 1},
    "c": "relu",
}


def message(assertion: Callable[..., None], *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assertion(*args, **options)
    return str(caught.value)


# --- sizes


def test_sizes_that_hold() -> None:
    testing.assert_size(STACK, 9, input=32)
    testing.assert_size(STACK, 5, layer="conv2", input=32)
    testing.assert_size(STACK, (9,), layer=-1, input=32)
    testing.assert_size(STACK, at_least=9, at_most=9, input=32)
    testing.assert_size("example:alexnet", at_least=163, layer="conv5")
    testing.assert_size({"layers": {"sum": "cumsum"}}, math.inf, input=8)


def test_a_size_that_does_not_hold() -> None:
    assert message(testing.assert_size, STACK, 11, input=32) == (
        "spec: conv3 (window) has a receptive field of 9, wanted 11\n"
        "  layer   op        n   size   jump   start   padding\n"
        "  ───────────────────────────────────────────────────\n"
        "  conv1   window   32      3      1     0.5         1\n"
        "  conv2   window   16      5      2     0.5         2\n"
        "> conv3   window   16      9      2     0.5         4"
    )
    assert "wanted at least 6\n" in message(
        testing.assert_size, STACK, layer="conv2", at_least=6, input=32
    )
    assert "wanted at most 2\n" in message(testing.assert_size, STACK, at_most=2, input=32)


def test_sizes_per_axis() -> None:
    net = {"input": [1, 8, 9], "layers": {"a": {"op": "conv", "kernel": [3, 5]}}}
    testing.assert_size(net, (3, 5))
    assert "of 3×5, wanted 3\n" in message(testing.assert_size, net, 3)
    with pytest.raises(EyeshotError, match="3 sizes for 2 axes"):
        testing.assert_size(net, (3, 5, 7))


@torch.library.custom_op("eyeshot_testing::unknown", mutates_args=())
def unknown(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


unknown.register_fake(torch.empty_like)


def test_an_upper_bound_proves_no_size() -> None:
    bounded = eyeshot.analyze(lambda x: unknown(x), (1, 1, 9))
    testing.assert_size(bounded, layer=-1, at_most=9)
    assert "only an upper bound" in message(testing.assert_size, bounded, 9, layer=-1)


# --- promises


def test_causal() -> None:
    testing.assert_causal({"layers": {"a": CAUSAL["a"]}}, input=16)
    testing.assert_causal({"layers": CAUSAL}, input=16, lookahead=1)
    text = message(testing.assert_causal, {"layers": CAUSAL}, input=16)
    assert text.startswith(
        "spec: not causal\nerror reads-future: A unit of c reads 1 input position ahead"
    )
    assert text.endswith(
        "  remedy  Pad 2 on the left and nothing on the right "
        "((kernel - 1) * dilation = 2 for its kernel of 3).\n"
        "  layer   op      n   size   jump   start   padding\n"
        "  ─────────────────────────────────────────────────\n"
        "  a       conv   16      3      1    -0.5         2\n"
        "> b       conv   16      5      1    -0.5         3"
    )


def test_the_time_of_an_image() -> None:
    net = {"input": [1, 8, 9], "layers": {"a": {"op": "conv", "kernel": [3, 1], "padding": [1, 0]}}}
    testing.assert_causal(net, time=3)
    assert "reads 1 input position ahead" in message(testing.assert_causal, net, time=2)
    with pytest.raises(EyeshotError, match="is time"):
        testing.assert_causal(net)


def test_tileable() -> None:
    testing.assert_tileable("example:unet")
    gated = {
        "input": [2, 16, 16],
        "layers": {
            "a": {"op": "conv", "kernel": 3, "padding": 1},
            "pool": "global_avg_pool",
            "out": {"op": "mul", "inputs": ["a", "pool"]},
        },
    }
    text = message(testing.assert_tileable, gated)
    assert (
        "spec: not tileable\nerror blocks-tiling: pool (global_avg_pool) reduces the whole of"
        in text
    )
    assert text.splitlines()[-1].startswith("> pool ")


def test_aligned() -> None:
    shifted = {
        "input": [2, 16, 16],
        "layers": {
            "a": {"op": "conv", "kernel": 3, "padding": 1},
            "b": {"op": "conv", "kernel": 3, "padding": [[2, 0], [2, 0]], "inputs": "a"},
            "out": {"op": "add", "inputs": ["a", "b"]},
        },
    }
    testing.assert_aligned({"input": [2, 16, 16], "layers": {"a": shifted["layers"]["a"]}})
    testing.assert_aligned(shifted, tolerance=1)
    assert "spec: not aligned\nwarning misaligned-branches: " in message(
        testing.assert_aligned, shifted
    )


def test_no_findings() -> None:
    testing.assert_no_findings({"layers": CAUSAL}, input=16, select="leaks")
    options = {"input": 16, "select": "leaks", "causal": True}
    text = message(testing.assert_no_findings, {"layers": CAUSAL}, **options)
    assert text.startswith("spec: 1 finding\nerror reads-future: ")
    testing.assert_no_findings({"layers": CAUSAL}, **{**options, "select": ()}, ignore=["*"])
    net = {"layers": {"sum": "cumsum"}}
    testing.assert_no_findings(net, select="blocks-streaming", input=16)
    assert "note blocks-streaming" in message(
        testing.assert_no_findings, net, select="blocks-streaming", at_least="note", input=16
    )


# --- sources


def test_a_report_or_a_check_is_a_source() -> None:
    report = eyeshot.analyze({"layers": CAUSAL}, 16)
    testing.assert_size(report, 5, layer="b")
    assert "not causal" in message(testing.assert_causal, report)
    checked = eyeshot.check(report, causal=True, select="leaks")
    testing.assert_size(checked, 5, layer="b")
    assert "1 finding\n" in message(testing.assert_no_findings, checked)
    testing.assert_no_findings(checked, ignore="reads-future")
    testing.assert_causal(checked, lookahead=1)
    for source in (report, checked):
        with pytest.raises(EyeshotError, match="leave out input"):
            testing.assert_size(source, 5, input=16)


@pytest.mark.parametrize(
    "call",
    [
        lambda: testing.assert_size(STACK, input=32),
        lambda: testing.assert_size(STACK, 9, at_least=3, input=32),
        lambda: testing.assert_size(STACK, 9, layer="conv9", input=32),
        lambda: testing.assert_size(3, 9),
        lambda: testing.assert_size(STACK, "9", input=32),  # type: ignore[arg-type]
        lambda: testing.assert_causal(STACK, lookahead=-1, input=32),
        lambda: testing.assert_causal(STACK, lookahead="1", input=32),  # type: ignore[arg-type]
        lambda: testing.assert_aligned(STACK, tolerance=-1, input=32),
        lambda: testing.assert_aligned(STACK, tolerance=math.nan, input=32),
        lambda: testing.assert_aligned(STACK, tolerance="1", input=32),  # type: ignore[arg-type]
        lambda: eyeshot.check(STACK, 32, ignore=3),  # type: ignore[arg-type]
        lambda: testing.assert_causal("no-such.yaml"),
        lambda: testing.assert_no_findings(STACK, select="no-such", input=32),
        lambda: testing.assert_no_findings(STACK, at_least="bad", input=32),  # type: ignore[arg-type]
    ],
)
def test_what_can_not_be_asked_is_no_failure(call: Callable[[], None]) -> None:
    with pytest.raises(EyeshotError):
        call()


# --- in people's tests

PYTEST = """
from eyeshot.testing import assert_causal, assert_size

NET = {"a": [3, 1, 1], "b": [3, 1, 1]}

def test_good():
    assert_size(NET, 5, input=16)

def test_bad():
    assert_causal(NET, input=16)
"""


def test_in_pytest(tmp_path: Path) -> None:
    """The traceback ends at the assertion in the test, the message shows the layer."""
    (tmp_path / "test_net.py").write_text(PYTEST, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_net.py"],
        cwd=tmp_path, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "E       AssertionError: spec: not causal" in done.stdout
    assert re.search(r"^E +> a +window +16 +3 +1 +0.5 +1$", done.stdout, re.MULTILINE)
    assert "testing.py" not in done.stdout.split("short test summary")[0]


class InUnittest(unittest.TestCase):
    def test_it(self) -> None:
        testing.assert_size(STACK, 9, input=32)
        with self.assertRaisesRegex(AssertionError, "wanted 11"):
            testing.assert_size(STACK, 11, input=32)


def test_it_needs_no_pytest() -> None:
    code = "import sys, eyeshot.testing; assert not {'pytest', 'torch', 'onnx'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

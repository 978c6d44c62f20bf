"""Axes too long to look at unit by unit, and the allocator that runs settle."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from eyeshot.tiling import extents
from eyeshot.tiling.planning import Planner
from eyeshot.tiling.subject import Subject


def folding() -> nn.Module:
    """A network whose left border reads far into the signal: 16 positions are folded back inside."""
    return nn.Sequential(
        nn.Conv1d(1, 3, 9, padding=16, dilation=2, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv1d(3, 2, 3, stride=2, padding=1),
    )


def test_a_signal_of_ten_million_samples() -> None:
    plan = Planner(Subject(folding()), (1, 1, 10**7)).plan(10**6)
    assert len(plan) == 11  # the last of 8 outputs, which the padding makes
    assert plan.out_shape == (1, 2, 5 * 10**6 + 8)
    begins = [axis.read for axis in plan.axes[0].spans]
    assert begins[0][0] == 0 and begins[-1][1] == 10**7


@pytest.mark.parametrize("tile", [2, 6, 10, 64])
def test_closed_forms_do_where_borders_fold(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    """The same plan as for long axes, at a size that can be run: too short crops are seen and enlarged."""
    monkeypatch.setattr(extents, "LONG", 0)
    torch.manual_seed(0)
    net = folding().double()
    x = torch.randn(1, 1, 151, dtype=torch.float64)
    plan = Planner(Subject(net), tuple(x.shape)).plan(tile)
    with torch.no_grad():
        whole = net(x)
        out = torch.full_like(whole, float("nan"))
        for each in plan:
            out[each.write] = net(x[each.read])[each.crop]
    assert (out - whole).abs().max() <= 1e-10


SETTLED = """
import ctypes
from eyeshot.tiling.allocator import LIMIT, settle
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc.mallinfo2.restype = Info
assert settle()
size = LIMIT + (1 << 20)
libc.free(libc.malloc(2 * size - LIMIT))  # without a limit this raises the size from which blocks are mapped
before = libc.mallinfo2().hblks
block = libc.malloc(size)
assert libc.mallinfo2().hblks == before + 1, "cut from a heap"
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_large_blocks_are_mapped_by_themselves() -> None:
    # Settings of the allocator, such as distributed leaves in the environment, change what is to be seen.
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=plain
        )

    done = run(SETTLED)
    assert done.returncode == 0, done.stderr
    done = run(SETTLED.replace("assert settle()", ""))
    assert "cut from a heap" in done.stderr, "the limit made no difference"

"""Random PyTorch programs: the hulls of every variable against a poisoning of the whole program.

The number of examples is ``EYESHOT_FUZZ`` (150). A failing program is printed as code to paste.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.frontends.modules import Program, programs, wrong

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "150"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch says some things once only
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
@given(programs())
def test_programs(program: Program) -> None:
    assume(program.lines)
    found = wrong(program)
    assert not found, "\n".join([repr(program), *found])


#: Programs that singled something out.
FOUND: dict[str, tuple[list[tuple[int, ...]], list[str]]] = {
    "a known mask": ([(1, 2, 10)], ["v1 = v0.masked_fill(torch.arange(10) < 1, 0.0)"]),
    "a known choice": (
        [(1, 1, 7)],
        ["v1 = torch.where(torch.arange(7) % 2 == 0, v0, v0.flip(-1))"],
    ),
    "written over a known mask": ([(1, 2, 5)], ["v0[..., torch.arange(5) >= 2] = 0"]),
    "out= is not read": (
        [(1, 2, 5, 3)],
        ["v1 = v0.roll((1, -1), (3, 2))", "torch.add(v1, 1, out=v0)"],
    ),
    "a list as index, added to": ([(1, 2, 6)], ["v0[..., [0]] += v0[..., [-1]]"]),
    "a list as index, of one": (
        [(1, 3, 3)],
        ["v1 = v0.sum(2, keepdim=True)", "v1[..., [0]] += v1[..., [-1]]"],
    ),
    "a write through windows that overlap": (
        [(1, 2, 10)],
        ["v1 = v0.unfold(2, 3, 2)", "v1.diagonal(0, 2, 0).zero_()"],
    ),
    "nothing is left": ([(1, 1, 2, 8)], ["v0[:] = 0"]),
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    program = Program(*FOUND[name]).finish()
    found = wrong(program)
    assert not found, "\n".join([repr(program), *found])

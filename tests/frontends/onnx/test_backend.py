"""Every case of the onnx package's own backend suite, compared with poisoning in its reference evaluator.

What is left out is listed, with the reason, in ``left_out.yaml``; what is only bounded, in ``bounded.yaml``.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from tests.frontends.onnx import backend, sweep

ALL = backend.cases()
LEFT_OUT = sweep.listed("left_out")
BOUNDED = sweep.listed("bounded")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, sweep.Outcome]:
    return {one.name: one for one in sweep.outcomes()}


@pytest.mark.parametrize("name", [n for n in ALL if not sweep.is_listed(n, LEFT_OUT)])
def test_case(name: str, outcomes: dict[str, sweep.Outcome]) -> None:
    """Exact hulls are those that poisoning shows; bounds contain them, and are listed."""
    one = outcomes[name]
    assert one.result != "wrong", one.text
    assert one.result != "bound" or sweep.is_listed(name, BOUNDED), one.text
    assert one.result == "bound" or not sweep.is_listed(name, BOUNDED), f"{name} is exact by now"


@pytest.mark.parametrize("listed", [LEFT_OUT, BOUNDED], ids=["left out", "bounded"])
def test_every_line_of_the_lists_is_needed(listed: dict[str, list[str]]) -> None:
    for reason, globs in listed.items():
        for glob in globs:
            assert any(fnmatchcase(name, glob) for name in ALL), (reason, glob)


def test_the_list_is_short() -> None:
    left = [name for name in ALL if sweep.is_listed(name, LEFT_OUT)]
    assert len(left) < len(ALL) / 20, len(left)

"""Findings about what is not known exactly: counted by hand, and every code that a frontend gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import eyeshot
from eyeshot.analysis.findings import Finding
from eyeshot.analysis.findings.bounds import CODES

SOURCES = Path(eyeshot.__file__).parent


def findings(source: Any, input: Any = None) -> tuple[Finding, ...]:
    return eyeshot.check(source, input, select="inexact-operator").findings


def spec(*ops: str) -> dict[str, Any]:
    fields: dict[str, dict[str, Any]] = {"conv": {"kernel": 3}, "opaque": {"function": "mystery"}}
    layers = [{"name": f"l{k}", "op": op, **fields.get(op, {})} for k, op in enumerate(ops)]
    return {"input": [1, 64], "layers": layers}


def codes() -> Iterator[str]:
    """What the sources give as a diagnostic's code, or as ``code`` of a function that makes one."""
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("bound", "Diagnostic"):
                    given = (
                        node.args[1] if name == "bound" and len(node.args) > 1 else node.args[:1]
                    )
                    for each in given if isinstance(given, list) else [given]:
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield each.value
                for keyword in node.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        yield str(keyword.value.value)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    first, value = target, node.value
                    if isinstance(first, ast.Tuple) and isinstance(value, ast.Tuple):
                        first, value = first.elts[0], value.elts[0]
                    named = isinstance(first, ast.Name) and first.id in ("code", "DEPENDENT")
                    if named and isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.value


def test_every_code_has_its_words() -> None:
    given = set(codes())
    assert len(given) >= 12
    assert given == set(CODES)


# --- operators without a rule


@given(st.lists(st.sampled_from(["relu", "conv", "opaque"]), min_size=1, max_size=8))
def test_what_is_behind_an_unknown_operator_is_counted(ops: list[str]) -> None:
    found = findings(spec(*ops))
    if "opaque" not in ops:
        assert not found
        return
    (finding,) = found
    names = [f"l{k}" for k, op in enumerate(ops) if op == "opaque"]
    assert list(finding.layers) == names
    assert finding.evidence["ops"] == {"mystery": len(names)}
    assert finding.evidence["bounded_layers"] == len(ops) - ops.index("opaque")
    assert finding.evidence["first_bounded"] == names[0]
    assert finding.evidence["bounded_outputs"] == [f"l{len(ops) - 1}"]
    # All that the network gives is unknown.
    assert finding.severity == "warning" and finding.exact


def test_an_output_that_is_known_makes_it_a_note() -> None:
    net = {
        "input": [1, 8],
        "layers": {
            "a": {"op": "relu"},
            "b": {"op": "opaque", "function": "mystery", "inputs": "a"},
            "c": {"op": "conv", "kernel": 3, "inputs": "a"},
        },
    }
    (finding,) = findings(net)
    assert finding.severity == "note" and finding.layers == ("b",)
    assert (finding.evidence["bounded_layers"], finding.evidence["layers"]) == (1, 3)
    assert "1 of 3 layers are upper bounds" in finding.message
    assert finding.evidence["bounded_outputs"] == ["b"] and finding.evidence["outputs"] == 2


def test_what_is_joined_with_a_bound_is_behind_it() -> None:
    net = {
        "input": [1, 8],
        "layers": {
            "a": {"op": "relu"},
            "b": {"op": "opaque", "function": "mystery"},
            "c": {"op": "add", "inputs": ["a", "b"]},
        },
    }
    (finding,) = findings(net)
    assert finding.evidence["bounded_layers"] == 2 and finding.severity == "warning"


@torch.library.custom_op("eyeshot_tests::same", mutates_args=())
def same(x: Tensor) -> Tensor:
    return x.clone()


@same.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Hidden(nn.Module):
    """An operator that nobody knows, and that reads one element only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return same(self.conv(x))


def test_what_an_unknown_operator_hides() -> None:
    """The report takes all of the input for what three elements are; the real module shows it."""
    (finding,) = findings(Hidden(), (1, 1, 9))
    assert finding.evidence["diagnostics"] == ["unknown-op"] and "same" in finding.message
    report = eyeshot.analyze(Hidden(), (1, 1, 9))
    assert report[-1].boxes().reshape(-1, 2).tolist() == [[0, 9]]
    module = Hidden().double()
    x = torch.rand(1, 1, 9, dtype=torch.float64, requires_grad=True)
    (rows,) = torch.autograd.functional.jacobian(module.conv, (x,))
    assert (rows.reshape(7, 9) != 0).sum(1).tolist() == [3] * 7


# --- reads that depend on data


class Sampled(nn.Module):
    """The input says where it is read."""

    def forward(self, x: Tensor) -> Tensor:
        places = x.mean(1).argsort(-1)
        return x.gather(2, places[:, None].expand_as(x))


def test_reads_that_depend_on_data_are_a_note() -> None:
    (finding,) = findings(Sampled(), (1, 2, 6))
    assert finding.severity == "note" and "where its data tells it to" in finding.message
    assert finding.evidence["diagnostics"] == ["data-dependent"]
    # Another input, other places: none of them alone is what may be read.
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        x = torch.rand(1, 2, 6, dtype=torch.float64, requires_grad=True)
        Sampled()(x)[0, 0, 0].backward()
        assert x.grad is not None
        seen |= {tuple(x.grad[0].nonzero()[:, 1].tolist())}
    assert len(seen) > 1


class Both(nn.Module):
    """Two reasons, each for an output of its own."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return same(x).relu(), Sampled()(x)


def test_each_reason_has_what_is_behind_it() -> None:
    found = {f.evidence["diagnostics"][0]: f for f in findings(Both(), (1, 2, 6))}
    assert set(found) == {"unknown-op", "data-dependent"}
    for finding in found.values():
        assert len(finding.evidence["bounded_outputs"]) == 1 and finding.severity == "note"


class Dependent(nn.Module):
    """Python looks at a number before it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(1, 1, 1), nn.Conv1d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x).relu() if float(x.sum()) < 1e9 else x


def test_what_runs_after_python_has_read_a_number_is_one_cause() -> None:
    (finding,) = findings(Dependent(), (1, 1, 9))
    assert finding.severity == "note"
    assert finding.evidence["diagnostics"] == ["data-dependent", "real-run"]
    assert finding.evidence["bounded_layers"] == 3  # with the output
    assert finding.evidence["first_bounded"] == "second"


@pytest.mark.parametrize("name", ["resnet18", "swin_t", "vit_b_16"])
def test_networks_that_are_known_have_none(name: str) -> None:
    assert not findings(f"torchvision:{name}", (1, 3, 224, 224))

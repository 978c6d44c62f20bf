"""Findings about what is not known exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eyeshot.analysis.findings.finding import Finding, rule
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.text import listed
from eyeshot.analysis.report import Layer
from eyeshot.core.graph import Diagnostic

__all__ = ["CODES", "Case", "inexact_operator"]


class Case(NamedTuple):
    """What a diagnostic's code means: ``what`` its operators do, and what ``hides`` behind that.

    ``unknown``: nothing is known of what they read, so that everything is taken.
    """

    what: str
    hides: str
    unknown: bool = False


ALL = (
    "All of its inputs is taken as read by all of its output: size, shift, holes and causality of what is "
    "behind it are those of the whole input, whatever it really reads."
)
HIDDEN_MASK = (
    "The mask is taken to hide nothing: where it keeps a unit from the future, from padding or from "
    "another sample, what is behind it seems to read them."
)
#: By a diagnostic's code.
CODES: dict[str, Case] = {
    "unknown-op": Case("has no rule", ALL, unknown=True),
    "no-rule": Case("has no rule for this use", ALL, unknown=True),
    "unknown-case": Case("has no rule for this use", ALL, unknown=True),
    "rule-failed": Case("has a rule that failed", ALL, unknown=True),
    "unknown-origin": Case("was not seen while the network ran", ALL, unknown=True),
    "data-dependent": Case(
        "reads where its data tells it to",
        "Every place that it may read is taken as read. For one image it reads fewer, so that holes and "
        "leaks behind it are possible, not certain.",
    ),
    "large-mask": Case("has a mask too large to write down", HIDDEN_MASK),
    "unknown-mask": Case("has a mask whose numbers are not known", HIDDEN_MASK),
    "complex-parts": Case(
        "takes complex numbers apart",
        "Real and imaginary parts are taken as read both; one alone may be.",
    ),
    "overlapping-write": Case(
        "writes to memory that overlaps itself",
        "What was written before is taken as read too, whether it was overwritten or not.",
    ),
    "too-large": Case(
        "has more units than are looked at one by one",
        "Its size is that of the whole axis or less; where single units read is exact (report.unit).",
    ),
    "real-run": Case(
        "runs by what Python reads of its numbers",
        "The report is that of the path that one random input took, and what runs after such a number "
        "was read is taken to depend on all that the number depends on.",
    ),
    "empty-output": Case(
        "returned nothing",
        "Findings about outputs look at the layers that no other layer reads.",
    ),
}
#: Codes that say how the network was run.
RUNS = frozenset({"real-run", "empty-output"})


@rule(
    "inexact-operator",
    topic="bounds",
    severity="note",
    summary="An operator is not known exactly: what is read through it is an upper bound.",
)
def inexact_operator(net: Network) -> Iterator[Finding]:
    by_code: dict[str, list[Diagnostic]] = {}
    for diagnostic in net.report.diagnostics:
        by_code.setdefault(_code(diagnostic), []).append(diagnostic)
    for code, found in by_code.items():
        yield _finding(net, code, found)


def _code(diagnostic: Diagnostic) -> str:
    """Its code; one cause for all that runs after Python has read a number, whichever operator it is."""
    return "real-run" if "Python has read" in diagnostic.message else diagnostic.code


def _finding(net: Network, code: str, found: list[Diagnostic]) -> Finding:
    case = CODES.get(code, Case("is not known exactly", ALL))
    behind = [layer for layer in _behind(net, code, found) if layer.status == "bound"]
    hit = {layer._value for layer in behind}
    outputs = [layer.name for layer in net.outputs if layer._value in hit]
    ops = dict(Counter(d.op for d in found if d.op).most_common())
    who = listed(ops, 4)
    if code in RUNS or not ops:
        message = f"The network {case.what}"
    else:
        message = f"{who} {case.what}" if len(ops) == 1 else f"Each of {who} {case.what}"
    if len(found) == 1:
        message += f" ({found[0].message})"
    if behind or code not in RUNS:
        message += f"; {len(behind)} of {len(net.layers)} layers are upper bounds for it"
        message += f", {_some(len(outputs), len(net.outputs))}"
    remedy = "Compare the report with the real network (eyeshot verify)."
    if case.unknown:
        remedy = "Give the operator a rule (docs/adding-an-operator.md); until then eyeshot verify shows what "
        remedy += "it reads."
    elif code in RUNS:
        remedy = "Check the network at inputs that take its other paths."
    everything = case.unknown and bool(net.outputs) and len(outputs) == len(net.outputs)
    return Finding(
        layers=tuple(dict.fromkeys(d.layer for d in found if d.layer)),
        message=message,
        cost=case.hides,
        remedy=remedy,
        evidence={
            "diagnostics": sorted({d.code for d in found}),
            "ops": ops,
            "places": len(found),
            "why": list(dict.fromkeys(d.message for d in found)),
            "bounded_layers": len(behind),
            "layers": len(net.layers),
            "first_bounded": behind[0].name if behind else None,
            "bounded_outputs": outputs,
            "outputs": len(net.outputs),
        },
        severity="warning" if everything else None,
    )


def _some(count: int, total: int) -> str:
    if count == 0:
        return "no output is"
    if count == total:
        return "the output is too" if total == 1 else f"all {total} outputs are too"
    return f"{count} of {total} outputs are too"


def _behind(net: Network, code: str, found: Iterable[Diagnostic]) -> list[Layer]:
    """The layers that read any value of which a diagnostic of this code says that it is bounded."""
    graph = net.graph
    reads = [False] * len(graph.prims)
    wanted = {v for v, diagnostic in graph.bounds.items() if _code(diagnostic) == code}
    named: set[str] = {d.layer for d in found} if not wanted else set()
    wanted |= {layer._value for layer in net.layers if layer.name in named}
    for v, inputs in enumerate(graph.inputs):
        reads[v] = v in wanted or any(reads[i] for i in inputs)
    return [layer for layer in net.layers if reads[layer._value]]

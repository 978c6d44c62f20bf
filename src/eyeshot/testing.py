"""Assertions about networks, for people's own tests.

They are plain functions that raise AssertionError, so that they work in pytest, in unittest and in a script. A
message shows the layer to blame with its numbers, and the layers on the way to it. A ``source`` is what
:func:`eyeshot.analyze` takes, with its options, or a :class:`~eyeshot.Report`, or a :class:`~eyeshot.Check`.
What can't be proved (an operator that is only bounded) fails; a source that can't be read raises
:class:`~eyeshot.errors.EyeshotError`, which is no AssertionError: the test is wrong then, not the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from eyeshot.analysis.findings import Check, Finding, Network, chosen
from eyeshot.analysis.findings.finding import SEVERITIES, Severity
from eyeshot.analysis.findings.tiling import is_dense
from eyeshot.analysis.report import Layer, Report
from eyeshot.api import analyze
from eyeshot.diagnosis import check
from eyeshot.errors import EyeshotError
from eyeshot.views.table import number
from eyeshot.views.terminal import render

__all__ = [
    "assert_aligned",
    "assert_causal",
    "assert_no_findings",
    "assert_size",
    "assert_tileable",
]

#: How many layers a message shows before the one to blame.
BEFORE = 4

Size = float | Sequence[float]


def assert_size(
    source: Any,
    size: Size | None = None,
    *,
    layer: str | int | None = None,
    at_least: Size | None = None,
    at_most: Size | None = None,
    input: Any = None,
    **options: Any,
) -> None:
    """The receptive field has this size, in input elements: one number, or one per axis.

    ``layer``: its name or number; None for the last maps, all of them (a classifier's is the map that it
    pools). ``at_least`` and ``at_most``: bounds instead of ``size``, or both. Sizes are those of the report:
    the local field, beside which a gate may read everything. ``options``: those of :func:`eyeshot.analyze`.

    Raises AssertionError, and :class:`~eyeshot.errors.EyeshotError` for an unusable source, layer or size.
    """
    __tracebackhide__ = True
    if (size is None) == (at_least is None and at_most is None):
        raise EyeshotError("assert_size: give a size, or at_least and at_most, one of them or both")
    report = _report(source, input, options)
    net = Network(report)
    wanted: list[tuple[str, Size, Callable[[float, float], bool]]] = [
        (words, bound, holds)
        for words, bound, holds in (
            ("", size, lambda a, b: a == b),
            ("at least ", at_least, lambda a, b: a >= b),
            ("at most ", at_most, lambda a, b: a <= b),
        )
        if bound is not None
    ]
    for each in (net.maps or net.outputs) if layer is None else (report[layer],):
        for words, bound, holds in wanted:
            per_axis = _per_axis(bound, len(each.size))
            if not all(map(holds, each.size, per_axis)):
                _fail(net, f"{_sized(each)}, wanted {words}{_numbers(per_axis)}", [each])
            if each.status == "bound" and words != "at most ":
                _fail(net, f"{_sized(each)}, but that is only an upper bound", [each])


def assert_causal(
    source: Any,
    *,
    time: int | None = None,
    lookahead: int = 0,
    input: Any = None,
    **options: Any,
) -> None:
    """No unit reads more than ``lookahead`` input positions beyond its own time.

    ``time``: the dim of the input that is time, by default its only axis. Fails too where only the numbers of a
    mask may hide the future: tell attention that it is causal (``is_causal=True``).
    """
    __tracebackhide__ = True
    if not isinstance(lookahead, int) or lookahead < 0:
        raise EyeshotError(f"lookahead: expected a number of input positions, got {lookahead!r}")

    def beyond(finding: Finding) -> bool:
        ahead = finding.evidence["lookahead"]
        return ahead is None or ahead > lookahead

    found = _check(source, input, ["reads-future"], {**options, "causal": True, "time": time})
    _none_of(found, filter(beyond, found), "not causal")


def assert_tileable(source: Any, *, input: Any = None, **options: Any) -> None:
    """The network can run on tiles of its input that overlap, and give exactly what it gives on the whole."""
    __tracebackhide__ = True
    found = _check(source, input, ["blocks-tiling"], {**options, "tileable": True})
    _none_of(found, found, "not tileable")


def assert_aligned(source: Any, *, tolerance: float = 0, input: Any = None, **options: Any) -> None:
    """No branches are joined that lie more than ``tolerance`` input positions apart.

    And no output that is a map lies that far from the middle of the input.
    """
    __tracebackhide__ = True
    if not isinstance(tolerance, (int, float)) or not tolerance >= 0:
        raise EyeshotError(f"tolerance: expected a number of input positions, got {tolerance!r}")
    codes = ["misaligned-branches", "unequal-rates", "shifted-map"]
    found = _check(source, input, codes, options)
    dense = {layer.name for layer in Network(found.report).outputs if is_dense(layer)}
    _none_of(found, (f for f in found if _shift(f, dense) > tolerance), "not aligned")


def assert_no_findings(
    source: Any,
    *,
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    at_least: Severity = "warning",
    input: Any = None,
    **options: Any,
) -> None:
    """A check finds nothing that is as serious as ``at_least``: ``note``, ``warning`` or ``error``.

    ``select`` and ``ignore``: codes, topics or globs of codes. ``options``: those of :func:`eyeshot.check`.
    """
    __tracebackhide__ = True
    if at_least not in SEVERITIES:
        raise EyeshotError(f"at_least: {at_least!r} is none of {', '.join(SEVERITIES)}")
    names = [[names] if isinstance(names, str) else list(names) for names in (select, ignore)]
    codes = [rule.code for rule in chosen(*names)]
    if isinstance(source, Check):
        _unused(source, input, options)
        found = source
        _looked(found, codes)
    else:
        found = _check(source, input, codes, options)
    serious = [f for f in found.at_least(at_least) if f.code in codes]
    _none_of(found, serious, f"{len(serious)} finding{'s' * (len(serious) != 1)}")


# --- sources


def _report(source: Any, input: Any, options: dict[str, Any]) -> Report:
    if isinstance(source, Check):
        source = source.report
    if not isinstance(source, Report):
        return analyze(source, input, **options)
    _unused(source, input, options)
    return source


def _check(source: Any, input: Any, codes: Sequence[str], options: dict[str, Any]) -> Check:
    """The check by these rules, all of which could look."""
    if isinstance(source, Check):
        source = source.report
    found = check(source, input, select=codes, **options)
    _looked(found, codes)
    return found


def _looked(found: Check, codes: Sequence[str]) -> None:
    for skipped in found.skipped:
        if skipped.code in codes:
            raise EyeshotError(f"{skipped.code} could not look: {skipped.reason}")


def _unused(source: Any, input: Any, options: dict[str, Any]) -> None:
    if input is not None or options:
        kind = type(source).__name__.lower()
        given = ", ".join(["input"] * (input is not None) + list(options))
        raise EyeshotError(f"a {kind} has its inputs and options already; leave out {given}")


# --- sizes and shifts


def _per_axis(size: Size, count: int) -> tuple[float, ...]:
    each: tuple[Any, ...] = tuple(size) if isinstance(size, (list, tuple)) else (size,) * count
    if not all(isinstance(one, (int, float)) for one in each):
        raise EyeshotError(f"assert_size: expected a size in input elements, got {size!r}")
    if len(each) != count:
        raise EyeshotError(
            f"assert_size: {len(each)} sizes for {count} {'axis' if count == 1 else 'axes'}"
        )
    return each


def _numbers(sizes: Sequence[float]) -> str:
    shown = [number(size) for size in sizes]
    return shown[0] if len(set(shown)) == 1 else "×".join(shown)


def _sized(layer: Layer) -> str:
    return f"{layer.name} ({layer.op}) has a receptive field of {_numbers(layer.size)}"


def _shift(finding: Finding, dense: set[str]) -> float:
    """How many input positions a finding is about; 0 for maps that are no outputs."""
    evidence = finding.evidence
    if finding.code == "shifted-map":
        drifts = [abs(m["drift"]) for m in evidence["maps"] if m["layer"] in dense]
        return max(drifts, default=0)
    if finding.code == "unequal-rates":
        ends = ("shift_first", "shift_last")
        return max(abs(join[end]) for join in evidence["joins"] for end in ends)
    return abs(float(evidence["shift"]))


# --- messages


def _none_of(found: Check, findings: Iterable[Finding], what: str) -> None:
    """Fails with the findings, if there are any."""
    __tracebackhide__ = True
    findings = list(findings)
    if not findings:
        return
    net = Network(found.report)
    lines = [f"{found.report.title}: {what}"]
    for finding in findings:
        level = f"{'' if finding.exact else 'possible '}{finding.severity}"
        lines += [
            f"{level} {finding.code}: {finding.message}",
            f"  cost    {finding.cost}",
            f"  remedy  {finding.remedy}",
        ]
        first = next((name for name in finding.layers if name in found.report), None)
        if first is not None:
            lines.append(_way(net, found.report[first]))
    raise AssertionError("\n".join(lines))


def _fail(net: Network, message: str, layers: Sequence[Layer]) -> None:
    __tracebackhide__ = True
    ways = [_way(net, layer) for layer in layers]
    raise AssertionError("\n".join([f"{net.report.title}: {message}", *ways]))


def _way(net: Network, layer: Layer) -> str:
    """The table's rows up to a layer, which is marked, along those before it that see the most."""
    way = [layer]
    while len(way) <= BEFORE:
        before = net.parents(way[-1])
        if not before:
            break
        way.append(max(before, key=lambda parent: parent.size))
    lines = render(net.report, way[::-1]).splitlines()[1 : len(way) + 3]
    return "\n".join(
        f"{'>' if k == len(lines) - 1 else ' '} {line}" for k, line in enumerate(lines)
    )

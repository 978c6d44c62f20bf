"""``check``: from any source to findings."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eyeshot.analysis.findings import Check, Options, chosen, examine
from eyeshot.analysis.report import Report
from eyeshot.api import analyze
from eyeshot.core.canvas import Source
from eyeshot.errors import EyeshotError

__all__ = ["check", "check_report", "options_of"]


def check(
    source: Any,
    input: Any = None,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    axes: Any = None,
    training: bool | None = False,
    object: int | Sequence[int] | None = None,
    anchors: Mapping[str, int | Sequence[int | Sequence[int]]] | None = None,
    causal: bool = False,
    time: int | None = None,
    tileable: bool = False,
    streamable: bool = False,
    select: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
) -> Check:
    """Look for what is wrong with a network, as a linter does with code.

    ``source``: as for :func:`~eyeshot.analyze`, with the same ``input``, ``args``, ``kwargs``, ``axes`` and
    ``training``; or a :class:`~eyeshot.Report` instead of all these.

    What no graph tells: ``object``, the size in input elements of what the network is to see (one number, or
    one per axis); ``anchors``, by the name of a detection level's layer one such size or a list of them, each a
    number or one per axis: ``{"p3": 32, "p4": [64, (96, 48)]}``; ``causal``, that it must not read the future,
    along the dim ``time`` of the input (by default its only axis); ``tileable`` and ``streamable``, that it is
    to run on tiles, or piece by piece along ``time``, equal to the whole.

    ``select`` and ``ignore``: codes, topics or globs of codes (``docs/findings/README.md`` lists them).

    Raises :class:`~eyeshot.errors.EyeshotError` for an unusable source, input or option.
    """
    rules = chosen(_names("select", select), _names("ignore", ignore))
    call: dict[str, Any] = {"args": args, "kwargs": kwargs, "axes": axes, "training": training}
    if isinstance(source, Report):
        if input is not None or any(value is not None for value in (args, kwargs, axes)):
            raise EyeshotError("a report has its inputs; give the network to check it at others")
        report = source
        again = None
    else:
        report = analyze(source, input, **call)
        again = _again(source, report, call)
    options = options_of(
        report,
        object=object,
        anchors=anchors,
        causal=causal,
        time=time,
        tileable=tileable,
        streamable=streamable,
    )
    return examine(report, options, rules, lambda: _batched(report, again))


def check_report(
    source: Any,
    report: Report,
    *,
    axes: Any = None,
    training: bool | None = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    **options: Any,
) -> Check:
    """:func:`check` of a report that was made from ``source``, with ``axes`` and ``training``."""
    call = {"args": None, "kwargs": None, "axes": axes, "training": training}
    again = _again(source, report, call)
    rules = chosen(list(select), list(ignore))
    return examine(report, options_of(report, **options), rules, lambda: _batched(report, again))


def _names(option: str, value: str | Iterable[str]) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise EyeshotError(f"{option}: expected codes or topics, got {value!r}")
    return list(names)


def options_of(
    report: Report,
    *,
    object: int | Sequence[int] | None = None,
    anchors: Mapping[str, int | Sequence[int | Sequence[int]]] | None = None,
    causal: bool = False,
    time: int | None = None,
    tileable: bool = False,
    streamable: bool = False,
) -> Options:
    """The user's options, checked against a report."""
    count = len(report._axes)
    levels: dict[str, tuple[tuple[int, ...], ...]] = {}
    for name, given in (anchors or {}).items():
        several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        if not several:
            raise EyeshotError(f"anchors: {name} has no size")
        levels[report[name].name] = tuple(
            _per_axis(f"anchors: {name}", size, count) for size in several
        )
    known = sorted({axis for _, axis in report._axes})
    if (causal or streamable) and time is None:
        if len(known) != 1:
            promise = "causal" if causal else "streamable"
            raise EyeshotError(
                f"{promise}: which of the input's axes {known} is time? Say so (time=, --time)"
            )
        (time,) = known
    if time is not None and time not in known:
        raise EyeshotError(f"time: {time} is no axis of the input; its axes are {known}")
    return Options(
        None if object is None else _per_axis("object", object, count),
        levels,
        causal,
        time,
        tileable,
        streamable,
    )


def _per_axis(what: str, size: int | Sequence[int], count: int) -> tuple[int, ...]:
    """One size per (input, axis)."""
    try:
        each = tuple(map(operator.index, size if isinstance(size, Sequence) else [size]))
    except TypeError:
        raise EyeshotError(f"{what}: expected a size in input elements, got {size!r}") from None
    if len(each) == 1:
        each *= count
    if len(each) != count:
        raise EyeshotError(
            f"{what}: {len(each)} sizes for {count} {'axis' if count == 1 else 'axes'}"
        )
    if any(n < 1 for n in each):
        raise EyeshotError(f"{what}: a size is at least 1, got {min(each)}")
    return each


Again = Callable[[], "Report | None"]


def _again(source: Any, report: Report, call: Mapping[str, Any]) -> Again:
    """How to trace the network with two samples, fields along the batch dim."""

    def trace() -> Report | None:
        if len(report._sources) != 1 or report._sources[0].shape[:1] != (1,):
            return None
        (only,) = report._sources
        if any(diagnostic.code == "real-run" for diagnostic in report.diagnostics):
            return None  # bounds, which prove nothing here, and a run on data takes its time
        if call["args"] is not None or call["kwargs"] is not None or 0 in only.axes:
            return None
        try:
            return analyze(source, (2, *only.shape[1:]), **{**call, "axes": (0,)})
        except EyeshotError:
            return None  # it takes one sample only

    return trace


def _batched(report: Report, again: Again | None) -> Report | None:
    """Fields along the batch dim: of the same graph where it holds several samples, else of a new one."""
    if all(
        source.shape and source.shape[0] > 1 and 0 not in source.axes for source in report._sources
    ):
        sources = [Source(s.value, s.name, s.shape, (0,)) for s in report._sources]
        return Report(report._graph, sources, report._marks, report.title)
    return None if again is None else again()

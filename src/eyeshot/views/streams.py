"""The text of a stream's plan: what it needs, in words, and a row for each size of chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from eyeshot.views.terminal import _cells, _plain, _wrap

if TYPE_CHECKING:
    from eyeshot.streaming.plan import Chunk, StreamPlan

__all__ = ["render", "to_html", "to_text"]

GAPS = (3, 2)
#: Text is harder to read in longer lines than these, however wide the terminal.
WIDEST = 100
LABEL = 11
Paint = Callable[[str, str], str]


def render(
    plan: StreamPlan,
    width: int | None = None,
    paint: Paint = lambda text, style: text,
) -> str:
    """The plan as text, in lines of ``width`` cells; None: as wide as it takes. Numbers are never cut off."""
    prose = WIDEST if width is None else min(width, WIDEST)
    out = [paint(line, "bold") for line in _wrap(_plain(_head(plan)), width)]
    for label, text in _figures(plan):
        room = max(20, prose - LABEL)
        for k, line in enumerate(_wrap(_plain(text), room)):
            out.append((paint(f"{label:<{LABEL}}", "dim") if k == 0 else " " * LABEL) + line)
    out += ["", *_table(_rows(plan), width, paint)]
    return "\n".join(out) + "\n"


def to_text(plan: StreamPlan, width: int = 80) -> str:
    """The plan as plain text."""
    return render(plan, width).rstrip("\n")


def to_html(plan: StreamPlan) -> str:
    """The plan for a notebook."""
    headings, *body = _rows(plan)
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in body)
    said = "".join(f"<li>{escape(a)}: {escape(_plain(b))}</li>" for a, b in _figures(plan))
    return (
        f"<ul>{said}</ul><table><caption>{escape(_plain(_head(plan)))}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _head(plan: StreamPlan) -> str:
    rate = "" if plan.rate is None else f" · {plan.rate:,g} Hz"
    return f"{plan.title} · {plan.input} {'x'.join(map(str, plan.shape))} → {plan.output}{rate}"


def _figures(plan: StreamPlan) -> list[tuple[str, str]]:
    """What the numbers say, each with a label."""
    left, right = plan.halo
    outputs = _many(plan.outputs_per_hop, "output")
    rate = "" if plan.output_rate is None else f" ({plan.output_rate:,.6g} a second)"
    sum_ = "the hop" if not plan.lookahead else "the hop and the lookahead"
    if plan.latency < plan.hop:
        sum_ = "outputs don't read all of their own hop"
    most = f" (outputs read {left:,})" if left != plan.context else ""
    ahead = f" (outputs read {right:,})" if right != plan.lookahead else ""
    return [
        ("hop", f"{_long(plan, plan.hop)} for {outputs}{rate}"),
        ("latency", f"{_long(plan, plan.latency)}: {sum_}"),
        ("context", f"{_long(plan, plan.context)} before a hop{most}"),
        ("lookahead", f"{_long(plan, plan.lookahead)} after it{ahead}"),
        ("warm-up", f"{_long(plan, plan.warm_up)} until the first output"),
        ("chunks", _sizes(plan)),
        (
            "state",
            f"{_many(plan.kept, 'sample')} of the input at most, {_bytes(plan.state)} ({plan.dtype}), "
            "and nothing else",
        ),
        (
            "cached",
            f"{_bytes(plan.cache)} if every layer kept its own context; then nothing would be computed again",
        ),
    ]


def _sizes(plan: StreamPlan) -> str:
    if plan.hop == 1:
        return "any size gives the whole's outputs, as many for each chunk"
    return (
        f"any size gives the whole's outputs; multiples of {plan.hop:,} give as many for each chunk"
    )


def _rows(plan: StreamPlan) -> list[tuple[str, ...]]:
    """The table's cells, the headings first."""
    timed = plan.rate is not None
    head = ("chunk", *(["ms"] if timed else []), "outputs", "latency", *(["ms"] if timed else []))
    return [(*head, "run on", "again"), *(_row(plan, chunk) for chunk in plan.chunks)]


def _row(plan: StreamPlan, chunk: Chunk) -> tuple[str, ...]:
    size, latency = plan.ms(chunk.size), plan.ms(chunk.latency)
    return (
        f"{chunk.size:,}",
        *([] if size is None else [_short(size)]),
        f"{chunk.outputs:,}",
        f"{chunk.latency:,}",
        *([] if latency is None else [_short(latency)]),
        f"{chunk.run:,}",
        f"{100 * chunk.again:.1f} %",
    )


# --- numbers


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _long(plan: StreamPlan, samples: int) -> str:
    """``320 samples (13.33 ms)``."""
    ms = plan.ms(samples)
    return _many(samples, "sample") + ("" if ms is None or not samples else f" ({_short(ms)} ms)")


def _short(ms: float) -> str:
    return f"{ms:,.4g}" if ms < 1000 else f"{ms:,.0f}"


def _bytes(n: int) -> str:
    """``3.07 kB``."""
    value, units = float(n), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{n} {units[0]}" if value == n else f"{value:.3g} {units[0]}"


def _table(rows: Sequence[Sequence[str]], width: int | None, paint: Paint) -> list[str]:
    """Columns of numbers, the blanks between which give way in a narrow terminal."""
    sizes = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    gap = GAPS[0]
    if width is not None and sum(sizes) + gap * (len(sizes) - 1) > width:
        gap = GAPS[1]
    out = []
    for k, row in enumerate(rows):
        line = (" " * gap).join(f"{cell:>{size}}" for cell, size in zip(row, sizes, strict=True))
        out.append(paint(line, "bold") if k == 0 else line)
        if k == 0:
            out.append("─" * (sum(sizes) + gap * (len(sizes) - 1)))
    return out

"""The result of a design: the best edited specs, what changed in them, and whether anything is better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

from eyeshot.designs.request import Cost, Count, Mode

__all__ = ["SCHEMA", "Change", "Design", "Designs"]

SCHEMA = "eyeshot.design/1"
COSTS = {"params": "parameters", "macs": "multiply-adds"}
MODES = {"at-least": "at least", "at-most": "at most", "exactly": "exactly"}


class Change(NamedTuple):
    """One field of one layer: ``kernel``, ``stride``, ``dilation``, ``padding``, or ``copies``.

    ``copies`` is how often the layer stands there: 1 before; 0 after where it is removed.
    """

    layer: str
    field: str
    before: Any
    after: Any


class Design(NamedTuple):
    """One way to reach the field, as an edited spec in the form of the given one.

    ``size`` and ``jump`` per axis are those of the report of ``spec`` at layer ``layer``. ``params`` and
    ``macs``: weights of all convolutions, and how often one is multiplied for one input. ``cost`` and
    ``cost_before`` are those of the two that was asked for, of the whole network; ``added`` is what the layers
    that became dearer add to it.
    """

    spec: Any
    layer: str
    changes: tuple[Change, ...]
    size: tuple[int, ...]
    jump: tuple[Any, ...]
    size_before: tuple[int, ...]
    cost_of: Cost
    cost: int
    cost_before: int
    added: int
    params: int
    macs: int

    def to_dict(self) -> dict[str, Any]:
        """The design as JSON values."""
        return {
            **self._asdict(),
            "changes": [change._asdict() for change in self.changes],
            "size": list(self.size),
            "jump": [float(jump) for jump in self.jump],
            "size_before": list(self.size_before),
        }

    def to_yaml(self) -> str:
        """The edited spec as a YAML file."""
        spec = self.spec
        if not ("layers" in spec and isinstance(spec["layers"], dict)):
            return _yaml(spec)
        top = {key: value for key, value in spec.items() if key != "layers"}
        lines = [_yaml(top)] if top else []
        # A layer a line, as people write it.
        lines.append("layers:\n")
        for name, layer in spec["layers"].items():
            text = _yaml({name: layer}, default_flow_style=True, width=1 << 20)
            lines.append(f"  {text.strip()[1:-1]}\n")
        return "".join(lines)

    def __str__(self) -> str:
        return _table([self], self.cost_of)


class Designs(Sequence[Design]):
    """The best designs, best first; empty where the target can't be reached.

    ``counted``: whether the ``total`` cost orders them or what is ``added`` to it. ``proved``: nothing within
    the allowed values is better; False where time ran out first. ``rejected``: how many were better, but had
    findings that the given network has not: pairs of the finding's code and how often. ``nearest``: sizes that
    can be reached, where the target can't; ``stuck``: no size can, as the jump can't. ``mismatches``: how many
    candidates the exact report did not confirm; where there are any, nothing is proved.
    """

    def __init__(
        self,
        designs: Sequence[Design],
        *,
        title: str,
        layer: str,
        size_before: tuple[int, ...],
        jump_before: tuple[Any, ...],
        wanted: tuple[int, ...],
        jump: tuple[int, ...] | None,
        mode: Mode,
        cost: Cost,
        counted: Count,
        proved: bool,
        rejected: dict[str, int],
        nearest: Sequence[tuple[int, ...]] = (),
        stuck: bool = False,
        input_size: tuple[int, ...] = (),
        mismatches: int = 0,
    ) -> None:
        self._designs = tuple(designs)
        self.title = title
        self.layer = layer
        self.size_before = size_before
        self.jump_before = jump_before
        self.wanted = wanted
        self.jump = jump
        self.mode = mode
        self.cost = cost
        self.counted = counted
        self.proved = proved
        self.rejected = rejected
        self.nearest = tuple(nearest)
        self.stuck = stuck
        self.input_size = input_size
        self.mismatches = mismatches

    @overload
    def __getitem__(self, key: int) -> Design: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[Design, ...]: ...

    def __getitem__(self, key: int | slice) -> Design | tuple[Design, ...]:
        return self._designs[key]

    def __len__(self) -> int:
        return len(self._designs)

    def __iter__(self) -> Iterator[Design]:
        return iter(self._designs)

    def to_dict(self) -> dict[str, Any]:
        """The designs as JSON values."""
        return {
            "schema": SCHEMA,
            "title": self.title,
            "layer": self.layer,
            "size_before": list(self.size_before),
            "wanted": {
                "mode": self.mode,
                "size": list(self.wanted),
                "jump": None if self.jump is None else list(self.jump),
                "cost": self.cost,
                "count": self.counted,
            },
            "proved": self.proved,
            "rejected": self.rejected,
            "nearest": [list(size) for size in self.nearest],
            "designs": [design.to_dict() for design in self],
        }

    def to_json(self, indent: int | None = None) -> str:
        """JSON text of :meth:`to_dict`."""
        import json

        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def __repr__(self) -> str:
        return f"<eyeshot.Designs of {self.title}: {len(self)}>"

    def __str__(self) -> str:
        asked = f"{MODES[self.mode]} {_sizes(self.wanted)} wanted"
        if self.jump is not None:
            asked += f", jump {_sizes(self.jump)}"
        now = f"size {_sizes(self.size_before)}, jump {_sizes(self.jump_before)}"
        lines = [f"{self.title} · {self.layer}: {now} · {asked}"]
        if self and not self[0].changes:
            return "\n".join([*lines, "nothing to change: it is reached already", ""])
        if self:
            lines.append(_table(self, self.cost).rstrip("\n"))
        if self.rejected:
            count = sum(self.rejected.values())
            codes = ", ".join(f"{code} {n}" for code, n in self.rejected.items())
            lines.append(
                f"passed over for findings that the network does not have yet: {count} ({codes})"
            )
        if any(code == "unproductive-layers" for code in self.rejected) and any(
            goal > n for goal, n in zip(self.wanted, self.input_size, strict=True)
        ):
            lines.append(
                f"a field of {_sizes(self.wanted)} is larger than the input, {_sizes(self.input_size)}, "
                "whatever changes: give a larger one (--input), or pass --ignore unproductive-layers"
            )
        lines.append(self._verdict())
        return "\n".join([*lines, ""])

    def _verdict(self) -> str:
        if self and self.proved:
            less = "costs" if self.counted == "total" else "adds"
            return f"proved: nothing within the allowed values {less} less"
        if self:
            return "best found: time ran out before it was proved that nothing is better"
        if not self.proved:
            return "nothing found: time ran out (--time-limit)"
        if self.rejected:
            return "not reachable within the allowed values without new findings"
        if self.stuck:
            return "not reachable within the allowed values, whatever the size: the jump is not"
        near = " and ".join(dict.fromkeys(map(_sizes, self.nearest)))
        return "not reachable within the allowed values" + (f"; nearest: {near}" if near else "")


def _yaml(content: Any, **options: Any) -> str:
    import yaml

    style = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, **options}
    return str(yaml.dump(content, **style))


def _sizes(values: Sequence[Any]) -> str:
    shown = [str(value) for value in values]
    return shown[0] if len(set(shown)) == 1 else "×".join(shown)


def _value(value: Any) -> str:
    """A number for all axes, ``5×3``, or padding of two sides, ``2+3``."""
    if not isinstance(value, tuple):
        return str(value)
    each = []
    for part in value:
        if not isinstance(part, tuple):
            each.append(str(part))
        else:
            each.append(str(part[0]) if part[0] == part[1] else f"{part[0]}+{part[1]}")
    return each[0] if len(set(each)) == 1 else "×".join(each)


def _words(change: Change) -> str:
    if change.field == "copies":
        return "removed" if not change.after else f"{change.after} times in a row"
    return f"{change.field} {_value(change.before)} → {_value(change.after)}"


def _percent(before: int, after: int) -> str:
    share = 100 * (after - before) / before if before else 0.0
    return (
        "±0 %" if after == before else f"{share:+.2g} %" if abs(share) < 10 else f"{share:+.0f} %"
    )


def _table(designs: Sequence[Design], cost: Cost) -> str:
    rows = [("", "layer", "change", "size", "jump", COSTS[cost])]
    for k, design in enumerate(designs, 1):
        figures = (
            f"{_sizes(design.size_before)} → {_sizes(design.size)}",
            _sizes(design.jump),
            f"{design.cost_before:,} → {design.cost:,} ({_percent(design.cost_before, design.cost)})",
        )
        by_layer: dict[str, list[str]] = {}
        for change in design.changes:
            by_layer.setdefault(change.layer, []).append(_words(change))
        for line, (layer, words) in enumerate(by_layer.items() or [("–", ["nothing"])]):
            first = line == 0
            rows.append(
                (
                    str(k) if first else "",
                    layer,
                    ", ".join(words),
                    *(figures if first else ("", "", "")),
                )
            )
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = [
        "   ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows
    ]
    lines.insert(1, "─" * (sum(widths) + 3 * (len(widths) - 1)))
    return "\n".join(line.rstrip() for line in lines) + "\n"

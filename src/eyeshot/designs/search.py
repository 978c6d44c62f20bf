"""``design``: from a spec or a simple module and a target to the cheapest changes that reach it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eyeshot.analysis.findings import Check
from eyeshot.analysis.report import Layer, Report
from eyeshot.designs.network import Network, Option
from eyeshot.designs.request import Request, choices, request
from eyeshot.designs.result import Change, Design, Designs
from eyeshot.errors import EyeshotError
from eyeshot.frontends.spec.operators import AdaptivePool

if TYPE_CHECKING:
    from eyeshot.designs.model import Model

__all__ = ["design"]


def design(
    source: Any,
    size: int | Sequence[int],
    input: Any = None,
    *,
    mode: str = "at-least",
    jump: int | Sequence[int] | None = None,
    layer: str | None = None,
    cost: str = "params",
    count: str | None = None,
    change: str | Iterable[str] | None = None,
    kernels: int | Iterable[int] | None = None,
    dilations: int | Iterable[int] | None = None,
    strides: int | Iterable[int] | None = None,
    depth: int = 2,
    only: str | Iterable[str] = (),
    keep: str | Iterable[str] = (),
    most: int | None = None,
    ignore: str | Iterable[str] = (),
    best: int = 3,
    time_limit: float = 5.0,
) -> Designs:
    """Find the cheapest changes of a network after which a layer has a receptive field of ``size``.

    ``source``: a spec as a dict, its path, ``"example:NAME"``; or a PyTorch module that is an ``nn.Sequential``
    of windows and what goes with them, or ``"package.module:factory"`` that gives one. ``input`` as for
    :func:`~eyeshot.analyze`. ``size`` and ``jump``: input elements, one number or one per axis; by default the
    jump stays as it is. ``mode``: ``at-least``, ``at-most`` or ``exactly``. ``layer``: whose field; by default
    the last map.

    ``cost``: ``params``, weights of convolutions, or ``macs``, their multiply-adds at this input. ``count``:
    ``total``, the cost of the whole edited network; or ``added``, what the layers that become dearer add, where
    what others save is not set off. By default the whole, and what is added where the field is to shrink. Of
    equals, what changes fewer layers is better, then what changes their numbers less.

    ``change``: which of ``kernels``, ``dilations``, ``strides`` and ``depth`` may, by default all, and strides
    where ``jump`` or ``strides`` are given. ``kernels``, ``dilations`` and ``strides`` are the values that a
    layer may have beside its own (3, 5, 7, with ``at-least`` none smaller than its own; a quarter to four times
    its own; 1, 2), ``depth`` how many extra copies of a layer. ``only`` and ``keep``: names or globs of layers
    that may, and may not change; ``most``: how many layers may change at most.

    A change that brings a finding of :func:`~eyeshot.check`, a warning or an error, that the given network does
    not have is passed over; ``ignore`` names codes or topics that don't matter. ``best``: how many designs.
    They are proved to be best unless ``time_limit``, in seconds, is over before: see :class:`Designs`.

    Raises :class:`~eyeshot.errors.EyeshotError` for an unusable source, input or option, and for networks where
    what lies before the layer has no plain arithmetic. Needs ortools (``pip install 'eyeshot[design]'``).
    """
    if isinstance(best, bool) or not isinstance(best, int) or best < 1:
        raise EyeshotError(f"best: expected a whole number of at least 1, got {best!r}")
    if not time_limit > 0:
        raise EyeshotError(f"time_limit: expected seconds, got {time_limit!r}")
    _need_solver()
    deadline = time.monotonic() + time_limit
    spec, title, input = given(source, input)
    search = _Search(spec, title, input, layer, ignore)
    wanted = request(
        search.now,
        size,
        jump,
        mode,
        cost,
        count,
        change,
        kernels,
        dilations,
        strides,
        depth,
        only,
        keep,
        most,
    )
    return search.run(wanted, best, deadline)


def _need_solver() -> None:
    try:
        import ortools.sat.python.cp_model  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "ortools":
            raise
        raise EyeshotError(
            "design needs the ortools package: pip install 'eyeshot[design]'"
        ) from None


def given(source: Any, input: Any) -> tuple[Any, str, Any]:
    """The spec of a source, its title, and the input where the spec does not have it."""
    from eyeshot.frontends import spec as frontend
    from eyeshot.frontends.references import is_reference

    if isinstance(source, Mapping):
        return source, _title(source, "spec"), input
    if isinstance(source, str | PathLike) and not (
        isinstance(source, str) and is_reference(source)
    ):
        name = str(source)
        if name.startswith("example:"):
            from eyeshot.examples import path

            file = path(name.removeprefix("example:"))
            content = frontend.load(file)
            return content, _title(content, file.stem), input
        if Path(name).suffix.lower() not in frontend.SUFFIXES:
            raise EyeshotError(
                f"{name}: design takes a spec ({', '.join(frontend.SUFFIXES)}, example:NAME) or a reference "
                "to a simple PyTorch module (package.module:factory)"
            )
        content = frontend.load(name)
        # What is wrong with a file is said with its name.
        frontend.build(content, input, name)
        return content, _title(content, Path(name).name), input
    from eyeshot.designs.modules import spec_of

    return *spec_of(source, input), None


def _title(content: Any, fallback: str) -> str:
    name = content.get("name") if isinstance(content, Mapping) and "layers" in content else None
    return name if isinstance(name, str) else fallback


#: Findings that stay where fields only grow: once the field of every path covers the input, it always does.
GROWING = frozenset(["unproductive-layers"])


class _Made(NamedTuple):
    """A design, what counts of its cost, its options, and its findings that the given network has not."""

    design: Design
    counted: int
    changed: dict[str, Option]
    new: list[tuple[str, str]]


class _Run:
    """One walk through the candidates, from the cheapest on."""

    def __init__(
        self,
        search: _Search,
        wanted: Request,
        options: Mapping[str, list[Option]],
        known: dict[tuple[Option, ...], _Made | None],
        best: int,
    ) -> None:
        self.search, self.wanted, self.options, self.known = search, wanted, options, known
        self.best = best
        self.accepted: list[_Made] = []
        self.proved, self.learnt, self.mismatches = True, False, 0
        self.strided = any(len({o.stride for o in several}) > 1 for several in options.values())

    def fresh(self) -> Model:
        from eyeshot.designs.model import Model

        return Model(self.search.net, self.options, self.search.at.name, self.wanted)

    def go(self, deadline: float, learn: bool) -> None:
        """Until enough are accepted. ``learn``: what brought a finding is set aside in all its combinations."""
        from eyeshot.designs.model import OutOfTime

        model = self.fresh()
        model.target_met()
        level: int | None = None
        while len(self.accepted) < self.best:
            left = deadline - time.monotonic()
            try:
                solution = model.best(left, level) if left > 0 or not self.known else None
            except OutOfTime:
                solution = None
                left = 0
            if solution is None:
                self.proved = self.proved and left > 0
                break
            self.proved = self.proved and solution.proved
            level = solution.cost
            key = tuple(solution.picks.values())
            changed = {
                name: pick for name, pick in solution.picks.items() if pick != self.options[name][0]
            }
            if key not in self.known:
                self.known[key] = self.search.made(changed, self.wanted)
            made = self.known[key]
            if made is None:
                # Something else that the numbers don't say, as a reshape that no longer fits.
                model.without(solution.picks)
            elif (made.design.size, made.counted) != (solution.size, solution.cost):
                # The report has the last word; there may then be others that were not thought of.
                self.mismatches += 1
                self.proved = False
                model.without(solution.picks)
            elif made.new:
                self._reject(model, solution.picks, made, learn)
            else:
                self.accepted.append(made)
                if not changed:
                    break
                # What changes more than that changes too much.
                model.without(changed)

    def _reject(self, model: Model, picks: Mapping[str, Option], made: _Made, learn: bool) -> None:
        """Cut a candidate off, with whatever is certain to have the same finding."""
        codes = {code for code, _ in made.new}
        if codes & GROWING and not self.strided:
            model.not_beyond(picks)
        elif learn:
            if "holes" in codes and not self.learnt:
                model.dense()
            self.learnt = True
            blamed = {name for _, name in made.new} & set(made.changed) or set(made.changed)
            for name in blamed:
                for option in self.options[name]:
                    if option.copies >= 0 and _alike(option, picks[name], codes):
                        model.without({name: option})
        else:
            model.without(picks)


def _alike(option: Option, blamed: Option, codes: set[str]) -> bool:
    """Whether an option is likely to bring the same findings as another one of its layer."""
    if "holes" in codes:
        return all(a >= b for a, b in zip(option.dilation, blamed.dilation, strict=True))
    return option._replace(copies=0) == blamed._replace(copies=0)


def _merged(found: Iterable[_Made], best: int) -> list[_Made]:
    """The best of several walks, in order, each once."""
    once: dict[tuple[Change, ...], _Made] = {made.design.changes: made for made in found}
    ranked = sorted(once.values(), key=lambda made: (made.counted, len(made.changed)))
    return ranked[:best]


class _Search:
    """One network, at one input."""

    def __init__(
        self, spec: Any, title: str, input: Any, layer: str | None, ignore: str | Iterable[str]
    ) -> None:
        self.input = input
        self.ignore = ignore
        self.title = title
        checked = self._check(spec)
        self.report = checked.report
        self.net = Network(spec, checked.report)
        self.found = _findings(checked, {})
        self.at = _target(checked.report, self.net, layer)
        (self.source,) = {field.input for field in self.at.fields if field.size}
        self.now = self.sizes(self.at)

    def _check(self, spec: Any) -> Check:
        from eyeshot.diagnosis import check

        return check(spec, self.input, ignore=self.ignore)

    def run(self, wanted: Request, best: int, deadline: float) -> Designs:
        options = choices(self.net, wanted, self.at.name, self.now)
        known: dict[tuple[Option, ...], _Made | None] = {}
        runs = [_Run(self, wanted, options, known, best)]
        runs[0].go(deadline, learn=True)
        if runs[0].learnt:
            # Some were set aside unseen; look at them too, as far as time allows.
            runs.append(_Run(self, wanted, options, known, best))
            runs[1].go(deadline, learn=False)
        last = runs[-1]
        designs = last.accepted
        if not last.proved:
            designs = _merged([made for run in runs for made in run.accepted], best)
        nearest: list[tuple[int, ...]] = []
        stuck = False
        rejected: dict[str, int] = {}
        for each in known.values():
            if each is not None and each.new:
                code = each.new[0][0]
                rejected[code] = rejected.get(code, 0) + 1
        if not designs and not rejected and last.proved:
            free = last.fresh()
            left = max(1.0, deadline - time.monotonic())
            stuck = wanted.jump is not None and free.impossible(left)
            nearest = [] if stuck else free.nearest(left)
        return Designs(
            [made.design for made in designs],
            title=self.title,
            layer=self.at.name,
            size_before=self.now,
            jump_before=self.jumps(self.at),
            wanted=wanted.size,
            jump=wanted.jump,
            mode=wanted.mode,
            cost=wanted.cost,
            counted=wanted.counted,
            proved=last.proved,
            rejected=rejected,
            nearest=nearest,
            stuck=stuck,
            input_size=self.net.shapes[self.source][2:],
            mismatches=last.mismatches,
        )

    def sizes(self, layer: Layer) -> tuple[int, ...]:
        """Per axis of the input that the target reads."""
        return tuple(int(f.size) for f in layer.fields if f.input == self.source)

    def jumps(self, layer: Layer) -> tuple[Any, ...]:
        """Per axis of the input that the target reads."""
        return tuple(f.jump for f in layer.fields if f.input == self.source)

    def made(self, changed: Mapping[str, Option], wanted: Request) -> _Made | None:
        """The design with these changes, by the exact report; None where it is not what was asked for."""
        net = self.net
        spec, origin = net.edited(changed)
        try:
            checked = self._check(spec)
        except EyeshotError:
            return None
        after = Network(spec, checked.report)
        at = checked.report[self.at.name]
        jump = self.jumps(self.at) if wanted.jump is None else wanted.jump
        if not all(map(math.isfinite, at.size)) or self.jumps(at) != jump:
            return None
        costs = {"params": _params(after), "macs": _macs(after)}
        before = {"params": _params(net), "macs": _macs(net)}
        dearer: dict[str, int] = {}
        for name, number in costs[wanted.cost].items():
            own = origin.get(name, name)
            dearer[own] = dearer.get(own, 0) + number
        added = sum(max(0, n - before[wanted.cost][name]) for name, n in dearer.items())
        new = _findings(checked, origin) - self.found
        found = Design(
            spec,
            self.at.name,
            _changes(net, changed),
            self.sizes(at),
            self.jumps(at),
            self.now,
            wanted.cost,
            sum(costs[wanted.cost].values()),
            sum(before[wanted.cost].values()),
            added,
            sum(costs["params"].values()),
            sum(costs["macs"].values()),
        )
        counted = found.cost - found.cost_before if wanted.counted == "total" else added
        return _Made(found, counted, dict(changed), sorted(new))


def _target(report: Report, net: Network, name: str | None) -> Layer:
    """The layer whose field is designed."""
    if name is None:
        maps = _maps(report, net)
        if len(maps) != 1:
            several = f"several last maps ({', '.join(maps)})" if maps else "no map"
            raise EyeshotError(
                f"the network has {several}; name the layer whose field is meant (layer=, --layer)"
            )
        layer = report[maps[0]]
    else:
        layer = report[name]
        if layer.name not in net.entries:
            raise EyeshotError(f"{name} is no layer of the spec")
    if layer.status != "exact":
        raise EyeshotError(f"{layer.name}: its field is only bounded, and can't be designed for")
    read = {field.input for field in layer.fields if field.size}
    if len(read) > 1:
        raise EyeshotError(
            f"{layer.name} reads {len(read)} inputs ({', '.join(sorted(read))}); design takes one"
        )
    fields = [field for field in layer.fields if field.input in read]
    if not fields or any(f.canvas is None or not math.isfinite(f.size) for f in fields):
        raise EyeshotError(
            f"{layer.name}: its units have no field of their own along the axes of the input"
        )
    return layer


def _maps(report: Report, net: Network) -> list[str]:
    """The last layers that are maps with fields of their own: outputs, or what leads to them."""
    found: list[str] = []
    waiting, seen = list(net.outputs), set(net.inputs)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        # Pooling to a fixed size comes after the last map.
        pooled = isinstance(net.entries[name].struct, AdaptivePool)
        fields = report[name].fields
        if not pooled and all(f.canvas and f.dim == f.axis and f.n > 1 for f in fields):
            found.append(name)
        else:
            waiting += net.entries[name].reads
    return [name for name in net.order if name in found]


def _findings(checked: Check, origin: Mapping[str, str]) -> set[tuple[str, str]]:
    """What is found, warnings and errors: codes with their layers. Copies stand for what they are copies of."""
    return {
        (finding.code, origin.get(name, name))
        for finding in checked.at_least("warning")
        for name in finding.layers or ("",)
    }


def _params(net: Network) -> dict[str, int]:
    return {name: n for name in net.order if (n := net.weights(name))}


def _macs(net: Network) -> dict[str, int]:
    return {
        name: n * math.prod(net.shapes[net.positions(name)][2:]) for name, n in _params(net).items()
    }


def _changes(net: Network, picks: Mapping[str, Option]) -> tuple[Change, ...]:
    found = []
    for name in net.order:
        pick, own = picks.get(name), net.own(name) if name in picks else None
        if pick is None or own is None:
            continue
        for field in ("kernel", "stride", "dilation", "padding"):
            before, after = getattr(own, field), getattr(pick, field)
            if before != after and pick.copies >= 0:
                found.append(Change(name, field, before, after))
        if pick.copies:
            found.append(Change(name, "copies", 1, 1 + pick.copies))
    return tuple(found)

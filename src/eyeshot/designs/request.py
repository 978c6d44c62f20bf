"""What is asked of a design, and what each layer may then be."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, get_args

from eyeshot.designs.network import Network, Option, Pair, repadded
from eyeshot.errors import EyeshotError
from eyeshot.frontends.spec.operators import Pool

__all__ = ["KINDS", "MODES", "Cost", "Count", "Mode", "Request", "choices", "request"]

Mode = Literal["at-least", "at-most", "exactly"]
Cost = Literal["params", "macs"]
Count = Literal["total", "added"]
Kind = Literal["kernels", "dilations", "strides", "depth"]
MODES: tuple[Mode, ...] = get_args(Mode)
COSTS: tuple[Cost, ...] = get_args(Cost)
COUNTS: tuple[Count, ...] = get_args(Count)
KINDS: tuple[Kind, ...] = get_args(Kind)
KERNELS = (3, 5, 7)
STRIDES = (1, 2)
#: More ways to write one layer than this are not worth waiting for.
MAX_OPTIONS = 5000


class Request(NamedTuple):
    """The target, per axis, and what may change.

    ``jump`` None: as it is; ``kernels`` None: those of :data:`KERNELS`, but none smaller where the field is to
    grow; ``dilations`` None: multiples of a layer's own; ``most`` None: any number of layers.
    """

    size: tuple[int, ...]
    jump: tuple[int, ...] | None
    mode: Mode
    cost: Cost
    counted: Count
    change: frozenset[str]
    kernels: tuple[int, ...] | None
    dilations: tuple[int, ...] | None
    strides: tuple[int, ...]
    depth: int
    only: tuple[str, ...]
    keep: tuple[str, ...]
    most: int | None

    @property
    def square(self) -> bool:
        """Whether the same is asked of all axes."""
        return len(set(self.size)) == 1 and len(set(self.jump or (0,))) == 1


def request(
    now: Sequence[int],
    size: Any,
    jump: Any,
    mode: str,
    cost: str,
    count: str | None,
    change: str | Iterable[str] | None,
    kernels: Any,
    dilations: Any,
    strides: Any,
    depth: int,
    only: str | Iterable[str],
    keep: str | Iterable[str],
    most: int | None,
) -> Request:
    """The request in these words, checked; raises :class:`~eyeshot.errors.EyeshotError`.

    ``now``: the size per axis as it is. ``count`` None: the whole, unless the field is to shrink.
    """
    if mode not in MODES:
        raise EyeshotError(f"mode: expected one of {', '.join(MODES)}; got {mode!r}")
    if cost not in COSTS:
        raise EyeshotError(f"cost: expected one of {', '.join(COSTS)}; got {cost!r}")
    if count not in (None, *COUNTS):
        raise EyeshotError(f"count: expected one of {', '.join(COUNTS)}; got {count!r}")
    if change is None:
        kinds = {"kernels", "dilations", "depth"}
        if jump is not None or strides is not None:
            kinds.add("strides")
    else:
        kinds = set(_texts(change))
        for kind in kinds:
            if kind not in KINDS:
                raise EyeshotError(f"change: expected some of {', '.join(KINDS)}; got {kind!r}")
    for what, number in (("depth", depth), ("most", 0 if most is None else most)):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 1000:
            raise EyeshotError(f"{what}: expected a whole number from 0 to 1000, got {number!r}")
    goal = _per_axis("size", size, len(now))
    # The cheapest network with a smaller field would be one without layers.
    smaller = mode == "at-most" or shrinks(mode, goal, now)
    counted = count or ("added" if smaller else "total")
    return Request(
        goal,
        None if jump is None else _per_axis("jump", jump, len(now)),
        mode,
        cost,
        counted,
        frozenset(kinds),
        None if kernels is None else _values("kernels", kernels),
        None if dilations is None else _values("dilations", dilations),
        STRIDES if strides is None else _values("strides", strides),
        depth,
        tuple(_texts(only)),
        tuple(_texts(keep)),
        most,
    )


def shrinks(mode: Mode, goal: Sequence[int], now: Sequence[int]) -> bool:
    """Whether the field is to become smaller along some axis."""
    return mode != "at-least" and any(n < size for n, size in zip(goal, now, strict=True))


def _texts(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _values(what: str, given: Any) -> tuple[int, ...]:
    """Some whole numbers from 1, in order."""
    entries = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    try:
        found = sorted({operator.index(n) for n in entries})
    except TypeError:
        raise EyeshotError(f"{what}: expected whole numbers, got {given!r}") from None
    if not found or not 1 <= found[0] <= found[-1] <= 1 << 20:
        raise EyeshotError(f"{what}: expected whole numbers from 1 to 2^20, got {given!r}")
    return tuple(found)


def _per_axis(what: str, given: Any, axes: int) -> tuple[int, ...]:
    many = isinstance(given, Sequence) and not isinstance(given, str)
    try:
        each = tuple(operator.index(n) for n in (given if many else [given]))
    except TypeError:
        raise EyeshotError(
            f"{what}: expected a whole number, or one per axis; got {given!r}"
        ) from None
    if len(each) == 1:
        each *= axes
    if len(each) != axes:
        raise EyeshotError(f"{what}: {len(each)} numbers for {axes} axes")
    if not all(1 <= n <= 1 << 40 for n in each):
        raise EyeshotError(f"{what}: expected a whole number from 1 to 2^40, got {given!r}")
    return each


# --- what a layer may be


def choices(
    net: Network, wanted: Request, target: str, now: Sequence[int]
) -> dict[str, list[Option]]:
    """By name of the layers on the way to ``target`` that may change: what each may be, first what it is.

    ``now``: the target's size.
    A convolution keeps kernels of 1 (it mixes channels) unless ``only`` names it, and pooling keeps its kernel
    (which costs nothing, however large).
    """
    for pattern in (*wanted.only, *wanted.keep):
        if not any(fnmatchcase(name, pattern) for name in net.entries):
            raise EyeshotError(f"no layer has such a name: {pattern}")
    way = net.before(target)
    found: dict[str, list[Option]] = {}
    for name in net.order:
        if name not in way or len(net.entries[name].reads) != 1 or len(net.shapes[name]) < 3:
            continue
        named = any(fnmatchcase(name, pattern) for pattern in wanted.only)
        if any(fnmatchcase(name, pattern) for pattern in wanted.keep) or (
            wanted.only and not named
        ):
            continue
        own = net.own(name)
        if own is None:
            continue
        options = list(_options(net, wanted, name, own, named, target, now))
        if len(options) > 1:
            found[name] = options
    return found


def _options(
    net: Network,
    wanted: Request,
    name: str,
    own: Option,
    named: bool,
    target: str,
    now: Sequence[int],
) -> Iterable[Option]:
    yield own
    seen = {own}
    same_channels = net.shapes[net.entries[name].reads[0]][1] == net.shapes[name][1]
    pool = isinstance(net.entries[name].struct, Pool)
    deep = (
        "depth" in wanted.change
        and not pool
        and same_channels
        and (named or max(own.kernel) > 1)
        and set(own.stride) == {1}
    )
    sizes = net.shapes[net.entries[name].reads[0]][2:]
    # Otherwise a layer would go so that another's growth is free.
    smaller = shrinks(wanted.mode, wanted.size, now)
    if deep and smaller and _keeps_size(own, sizes) and _removable(net, name, target):
        yield own._replace(copies=-1)
    count = 0
    for kernel, stride, dilation in _numbers(wanted, own, named, pool):
        option = _with(own, kernel, stride, dilation)
        if option is None:
            continue
        copies = wanted.depth if deep and _keeps_size(option, sizes) else 0
        for copy in range(copies + 1):
            each = option._replace(copies=copy)
            if each not in seen:
                seen.add(each)
                count += 1
                if count > MAX_OPTIONS:
                    raise EyeshotError(
                        f"{name}: more than {MAX_OPTIONS} ways to write it; allow fewer kernels, dilations, "
                        "strides or copies"
                    )
                yield each


def _numbers(
    wanted: Request, own: Option, named: bool, pool: bool
) -> Iterable[tuple[tuple[int, ...], ...]]:
    """(kernel, stride, dilation) per axis, allowed together."""
    axes = range(len(own.kernel))
    each = []
    for k, s, d in zip(own.kernel, own.stride, own.dilation, strict=True):
        kernels, strides, dilations = {k}, {s}, {d}
        if "kernels" in wanted.change and not pool and (k > 1 or named):
            if wanted.kernels is not None:
                kernels.update(wanted.kernels)
            else:
                kernels.update(n for n in KERNELS if n > k or wanted.mode != "at-least")
        if "strides" in wanted.change:
            strides.update(wanted.strides)
        if "dilations" in wanted.change and not pool:
            if wanted.dilations is None:
                dilations.update((2 * d, 4 * d))
                dilations.update(d // part for part in (2, 4) if d % part == 0)
            else:
                dilations.update(wanted.dilations)
        triples = itertools.product(sorted(kernels), sorted(strides), sorted(dilations))
        # One tap has no distance to another.
        each.append([t for t in triples if t[0] > 1 or t[2] == d])
    if wanted.square and len(set(zip(own.kernel, own.stride, own.dilation, strict=True))) == 1:
        together: Iterable[Any] = ([triple for _ in axes] for triple in each[0])
    else:
        together = itertools.product(*each)
    for triples in together:
        kernel, stride, dilation = zip(*triples, strict=True)
        yield kernel, stride, dilation


def _with(
    own: Option, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Option | None:
    if isinstance(own.padding, str):
        return Option(kernel, stride, dilation, own.padding)
    pads: list[Pair] = []
    for axis, pad in enumerate(own.padding):
        before = own.dilation[axis] * (own.kernel[axis] - 1)
        found = repadded(pad, before, dilation[axis] * (kernel[axis] - 1))
        if found is None:
            return None
        pads.append(found)
    return Option(kernel, stride, dilation, tuple(pads))


def _keeps_size(option: Option, sizes: Sequence[int]) -> bool:
    """Whether the output is as large as the input, so that a copy fits before it."""
    reach = [d * (k - 1) for k, d in zip(option.kernel, option.dilation, strict=True)]
    return set(option.stride) == {1} and all(
        begin + end == r for (begin, end), r in zip(option.pads(sizes), reach, strict=True)
    )


def _removable(net: Network, name: str, target: str) -> bool:
    run = net.run(name)
    return target not in run and not set(run) & set(net.outputs)

"""``eyeshot.design``: against full enumeration, with arithmetic of the tests' own."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import eyeshot
from eyeshot.designs import search
from eyeshot.designs.model import Model
from eyeshot.designs.network import Network, repadded
from eyeshot.designs.request import choices, request
from eyeshot.examples import names
from tests.oracles import brute_force

ALL = ["all"]

# --- an oracle: one axis, everything enumerated


class Place(NamedTuple):
    """A map along one axis: its size, its jump, and the hull of its first unit, half-open."""

    n: int
    jump: int
    begin: int
    end: int


class Pick(NamedTuple):
    kernel: int
    stride: int
    dilation: int
    copies: int


def padded(layer: dict, pick: Pick, n: int) -> tuple[int, int]:
    """Padding of the same kind as the layer's own, from docs/design.md."""
    reach = pick.dilation * (pick.kernel - 1)
    own = layer.get("dilation", 1) * (layer["kernel"] - 1)
    given = layer.get("padding", 0)
    if given == "causal":
        return reach, 0
    if given == "same":
        total = max(0, (-(-n // pick.stride) - 1) * pick.stride + reach + 1 - n)
        return total // 2, total - total // 2
    if given == "valid":
        return 0, 0
    begin, end = (given, given) if isinstance(given, int) else given[0]
    if reach == own or (begin == end == 0 and own):
        return begin, end
    if end == 0 and begin == own:
        return reach, 0
    if begin == 0 and end == own and own > 1:
        return 0, reach
    total = begin + end + reach - own
    if abs(begin - end) <= 1:
        return (total // 2, total - total // 2) if total >= 0 else (-1, -1)
    begin += (reach - own) // 2
    return begin, total - begin


def window(layer: dict, pick: Pick, place: Place) -> Place | None:
    for _ in range(1 + pick.copies):
        begin, end = padded(layer, pick, place.n)
        reach = pick.dilation * (pick.kernel - 1)
        room = place.n + begin + end - reach - 1
        if min(begin, end, room) < 0:
            return None
        place = Place(
            room // pick.stride + 1,
            place.jump * pick.stride,
            place.begin - place.jump * begin,
            place.end + place.jump * (reach - begin),
        )
    return place


def placed(spec: dict, picks: dict[str, Pick]) -> dict[str, Place] | None:
    """Every map of a spec of convolutions and additions, in the order of the file."""
    found = {"input": Place(spec["input"][-1], 1, 0, 1)}
    previous = "input"
    for name, layer in spec["layers"].items():
        reads = layer.get("inputs", previous)
        if layer["op"] == "add":
            places = [found[read] for read in reads]
            if len({(p.n, p.jump) for p in places}) > 1:
                return None
            begin, end = min(p.begin for p in places), max(p.end for p in places)
            found[name] = places[0]._replace(begin=begin, end=end)
        else:
            made = window(layer, picks[name], found[reads])
            if made is None:
                return None
            found[name] = made
        previous = name
    return found


def channels(spec: dict) -> dict[str, tuple[int, int]]:
    """Channels in and out of every layer."""
    found, out, previous = {}, {"input": spec["input"][0]}, "input"
    for name, layer in spec["layers"].items():
        reads = layer.get("inputs", previous)
        reads = reads[0] if isinstance(reads, list) else reads
        out[name] = layer.get("channels", out[reads])
        found[name] = (out[reads], out[name])
        previous = name
    return found


def costs(spec: dict, picks: dict[str, Pick], kind: str) -> dict[str, int]:
    places = placed(spec, picks)
    assert places is not None
    found = {}
    for name, (inside, out) in channels(spec).items():
        if spec["layers"][name]["op"] == "conv":
            pick = picks[name]
            one = inside * out * pick.kernel // spec["layers"][name].get("groups", 1)
            found[name] = one * (1 + pick.copies) * (places[name].n if kind == "macs" else 1)
    return found


def own(layer: dict) -> Pick:
    return Pick(layer["kernel"], layer.get("stride", 1), layer.get("dilation", 1), 0)


def possible(spec: dict, name: str, allowed: dict, target: str, shrinks: bool) -> Iterator[Pick]:
    layer = spec["layers"][name]
    mine = own(layer)
    yield mine
    inside, out = channels(spec)[name]
    kernels = sorted({mine.kernel, *allowed["kernels"]})
    strides = sorted({mine.stride, *allowed["strides"]})
    dilations = sorted({mine.dilation, *allowed["dilations"]})
    if mine.kernel == 1:
        kernels = [1]

    def fits(pick: Pick) -> bool:
        begin, end = padded(layer, pick, 64)
        return (
            inside == out
            and mine.kernel > 1
            and mine.stride == pick.stride == 1
            and begin + end == pick.dilation * (pick.kernel - 1)
        )

    if shrinks and fits(mine) and name != target:
        yield mine._replace(copies=-1)
    for kernel, stride, dilation in itertools.product(kernels, strides, dilations):
        if kernel == 1 and dilation != mine.dilation:
            continue
        pick = Pick(kernel, stride, dilation, 0)
        if min(padded(layer, pick, 64)) < 0:
            continue
        for copies in range(allowed["depth"] + 1 if fits(pick) else 1):
            if (kernel, stride, dilation, copies) != mine:
                yield pick._replace(copies=copies)


def amount(pick: Pick, mine: Pick) -> int:
    moved = sum(abs(a - b) for a, b in zip(pick[:3], mine[:3], strict=True))
    return moved + abs(pick.copies) * mine.kernel


class Candidate(NamedTuple):
    key: tuple[int, int, int]
    size: int
    changed: dict[str, Pick]


def enumerated(
    spec: dict,
    target: str,
    allowed: dict,
    mode: str,
    goal: int,
    kind: str,
    jump: int | None,
    count: str,
) -> list[Candidate]:
    """Everything that reaches the goal, best first."""
    convs = [name for name, layer in spec["layers"].items() if layer["op"] == "conv"]
    base = {name: own(spec["layers"][name]) for name in convs}
    now = placed(spec, base)
    assert now is not None
    before = costs(spec, base, kind)
    shrinks = mode != "at-least" and goal < now[target].end - now[target].begin
    each = [list(possible(spec, name, allowed, target, shrinks)) for name in convs]
    found = []
    for combination in itertools.product(*each):
        picks = dict(zip(convs, combination, strict=True))
        places = placed(spec, picks)
        if places is None or places[target].jump != (jump or now[target].jump):
            continue
        size = places[target].end - places[target].begin
        if not {"at-least": size >= goal, "at-most": size <= goal, "exactly": size == goal}[mode]:
            continue
        after = costs(spec, picks, kind)
        changed = {name: pick for name, pick in picks.items() if pick != base[name]}
        more = [after[name] - before[name] for name in convs]
        spent = sum(more) if count == "total" else sum(n for n in more if n > 0)
        much = sum(amount(pick, base[name]) for name, pick in changed.items())
        found.append(Candidate((spent, len(changed), much), size, changed))
    return sorted(found, key=lambda candidate: candidate.key)


def picked(design: eyeshot.Design, spec: dict) -> dict[str, Pick]:
    """The changes of a design as picks."""
    found = {}
    for change in design.changes:
        if change.field == "padding":
            continue
        name = change.layer
        after = change.after - 1 if change.field == "copies" else change.after[0]
        pick = found.get(name, own(spec["layers"][name]))
        found[name] = pick._replace(**{change.field: after})
    return found


def compare(
    spec: dict,
    target: str,
    goal: int,
    mode: str,
    kind: str,
    allowed: dict,
    jump: int | None,
    count: str,
) -> None:
    result = eyeshot.design(
        spec,
        goal,
        mode=mode,
        cost=kind,
        count=count,
        layer=target,
        jump=jump,
        change=["kernels", "dilations", "strides", "depth"],
        ignore=ALL,
        best=4,
        time_limit=60,
        **allowed,
    )
    left = enumerated(spec, target, allowed, mode, goal, kind, jump, count)
    assert result.proved and not result.rejected and not result.mismatches
    for design in result:
        assert left, "a design that the enumeration has not"
        changed = picked(design, spec)
        spent = design.cost - design.cost_before if count == "total" else design.added
        assert (spent, len(changed), sum(
            amount(pick, own(spec["layers"][name])) for name, pick in changed.items()
        )) == left[0].key  # fmt: skip
        (match,) = [c for c in left if c.changed == changed]
        assert design.size == (match.size,)
        # The spec says the same as the numbers, by enumeration of what is read.
        again = Network(design.spec, eyeshot.analyze(design.spec))
        layer = eyeshot.analyze(design.spec)[target]
        assert layer.size == design.size and layer.jump == design.jump
        assert design.params == sum(again.weights(name) for name in again.order)
        left = [c for c in left if not changed.items() <= c.changed.items()] if changed else []
    if len(result) < 4:
        assert not left


@st.composite
def networks(draw: Any) -> tuple[dict, str]:
    """A chain of two or three convolutions, or a residual block of two with one before it."""
    residual = draw(st.booleans())
    count = 3 if residual else draw(st.integers(1, 3))
    spec: dict = {"input": [draw(st.integers(1, 2)), draw(st.integers(20, 40))], "layers": {}}
    before = spec["input"][0]
    for k in range(count):
        kernel, dilation = draw(st.sampled_from([3, 2, 1, 4, 5])), draw(st.sampled_from([1, 2]))
        reach = dilation * (kernel - 1)
        kinds = [
            reach // 2,
            0,
            "causal",
            "same",
            [[reach, 0]],
            [[reach // 2, reach - reach // 2]],
            1,
            [[0, 2]],
        ]
        padding = draw(st.sampled_from(kinds[2:6] if residual else kinds))
        out = before if residual and k else draw(st.sampled_from([before, 2, 3]))
        stride = 1 if residual and k else draw(st.sampled_from([1, 2]))
        layer = {"op": "conv", "kernel": kernel, "dilation": dilation, "padding": padding}
        spec["layers"][f"c{k}"] = {**layer, "stride": stride, "channels": out}
        before = out
    target = f"c{count - 1}"
    if residual:
        target = "sum"
        spec["layers"]["sum"] = {"op": "add", "inputs": ["c2", "c0"]}
    base = {name: own(layer) for name, layer in spec["layers"].items() if layer["op"] == "conv"}
    assume(placed(spec, base) is not None)
    return spec, target


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    networks(),
    st.sampled_from(["at-least", "at-most", "exactly"]),
    st.sampled_from(["params", "macs"]),
    st.sampled_from(["total", "added"]),
    st.data(),
)
def test_optimal_by_enumeration(
    net: tuple[dict, str], mode: str, kind: str, count: str, data: Any
) -> None:
    spec, target = net
    allowed = {
        "kernels": data.draw(st.sampled_from([[3], [3, 5], [2, 3]])),
        "dilations": data.draw(st.sampled_from([[1], [1, 2], [3]])),
        "strides": data.draw(st.sampled_from([[1], [1, 2]])),
        "depth": data.draw(st.integers(0, 1)),
    }
    base = {name: own(layer) for name, layer in spec["layers"].items() if layer["op"] == "conv"}
    places = placed(spec, base)
    assert places is not None
    size = places[target].end - places[target].begin
    goal = max(1, size + data.draw(st.integers(-6, 12)))
    jump = data.draw(st.sampled_from([None, None, 1, 2, 4]))
    compare(spec, target, goal, mode, kind, allowed, jump, count)


# --- the program against the report, where there are phases, joins and fixed layers of all kinds


def agrees(source: Any, layer: str | None, tries: int, **options: Any) -> None:
    """Random choices: what the program makes of them is what the report says."""
    spec, title, at = search.given(source, options.pop("input", None))
    found = search._Search(spec, title, at, layer, ALL)
    asked = {
        "kernels": None,
        "dilations": None,
        "strides": None,
        "depth": 2,
        "only": (),
        "keep": (),
    }
    change = options.pop("change", None)
    wanted = request(found.now, 1, None, "at-least", "macs", "added", change, *asked.values(), None)
    several = choices(found.net, wanted, found.at.name, found.now)
    assert several
    rng = random.Random(0)
    for _ in range(tries):
        few = rng.sample(sorted(several), min(4, len(several)))
        picks = {name: rng.choice(several[name]) for name in few}
        model = Model(found.net, several, found.at.name, wanted)
        for name, options_ in several.items():
            model.model.add(model.x[name][options_.index(picks.get(name, options_[0]))] == 1)
        solution = model.best(30, -1)
        made = found.made({n: p for n, p in picks.items() if p != several[n][0]}, wanted)
        if solution is None:
            assert made is None
        else:
            assert made is not None
            assert (made.design.size, made.counted) == (solution.size, solution.cost)
            for axes, grid in zip(model.groups, model.grids, strict=True):
                assert grid.has(solution.size[axes[0]])


DECODER = {
    "input": [2, 48],
    "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1, "channels": 4},
        "down": {"op": "avg_pool", "kernel": 2},
        "b": {"op": "conv", "kernel": 3, "padding": 1},
        "up": {"op": "upsample", "scale": 2, "mode": "linear"},
        "cat": {"op": "concat", "inputs": ["up", "a"]},
        "c": {"op": "conv", "kernel": 5, "stride": 2, "padding": 2, "channels": 4},
        "t": {"op": "conv_transpose", "kernel": 4, "stride": 2, "padding": 1},
        "d": {"op": "conv", "kernel": 3, "padding": "causal"},
        "pool": "global_avg_pool",
        "gate": {"op": "mul", "inputs": ["pool", "d"]},
        "e": {"op": "conv", "kernel": 4, "padding": "same"},
        "shuffled": {"op": "pixel_shuffle", "factor": 2},
    },
}


#: Joins a map of one phase with one of four, where the first layer may take strides.
FOURFOLD = {
    "input": [1, 64],
    "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1},
        "wide": {"op": "conv", "kernel": 9, "padding": 4},
        "down": {"op": "avg_pool", "kernel": 4, "inputs": "a"},
        "up": {"op": "upsample", "scale": 4},
        "cat": {"op": "concat", "inputs": ["wide", "up"]},
        "b": {"op": "conv", "kernel": 2, "padding": "same"},
        "c": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1},
    },
}


@pytest.mark.parametrize(
    ("source", "layer", "options"),
    [
        (FOURFOLD, None, {"change": ["strides"]}),
        (DECODER, None, {}),
        (DECODER, "t", {"change": ["kernels", "strides"]}),
        ("example:unet", None, {}),
        ("example:resnet18", "layer3.1.add", {}),
        ("example:resnet18", "layer2.1.add", {"change": ["strides", "kernels"]}),
        ("example:wavenet", None, {}),
        ("example:patchgan", None, {}),
        ("example:fpn", "p3", {}),
        ("example:inception-v3-mixed", "Mixed_5d", {"change": ["kernels"]}),
        ({"a": [7, 2, 3], "b": [3, 2, 0], "c": [3, 1, 1]}, None, {"input": "64x40"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_program_agrees_with_the_report(source: Any, layer: str | None, options: dict) -> None:
    agrees(source, layer, 6, **options)


def test_odd_sizes_are_out_of_reach_at_once() -> None:
    """Odd kernels, dilated or not, move a field by even numbers, which the solver alone does not see."""
    for source, layer, size, near in (
        ("example:vgg16", None, 301, (300, 302)),
        ("example:resnet18", "layer3.1.add", 250, (249, 251)),
    ):
        found = eyeshot.design(source, size, 512, layer=layer, mode="exactly", time_limit=20)
        assert not found and found.proved
        assert found.nearest == tuple((n, n) for n in near)


def test_stride_by_multiply_adds() -> None:
    """DeepLab's change in a ResNet; without care OR-tools calls this program infeasible."""
    by_macs, by_params = (
        eyeshot.design(
            "example:resnet18", 435, layer="layer4.1.add", jump=16, cost=cost, best=1, time_limit=60
        )
        for cost in ("macs", "params")
    )
    assert by_macs.proved and by_macs[0].changes == by_params[0].changes
    # The last stage has four times the positions.
    last = 7 * 7 * (9 * 512 * (256 + 3 * 512) + 256 * 512)
    assert by_macs[0].added == by_macs[0].macs - by_macs[0].cost_before == 3 * last


def test_strides_may_move_where_phases_join() -> None:
    now = eyeshot.analyze(FOURFOLD)["c"]
    found = eyeshot.design(FOURFOLD, int(now.size[0]) + 1, change="strides", ignore=ALL)
    assert found and found.proved and not found.mismatches
    for design in found:
        assert design.jump == now.jump
        assert {change.layer for change in design.changes} & {"a", "b"}


def test_by_brute_force() -> None:
    """A design of a small net, read by read."""
    spec = {"input": [1, 24], "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1, "stride": 2},
        "b": {"op": "conv", "kernel": 3, "padding": 1},
        "up": {"op": "upsample", "scale": 2},
        "c": {"op": "conv", "kernel": 3, "padding": 1},
    }}  # fmt: skip
    (design,) = eyeshot.design(spec, 15, mode="exactly", best=1, change="kernels", kernels=[3, 5])
    sets = brute_force.read_sets(design.spec)["c"]
    widths = [
        bits.bit_length() - (bits & -bits).bit_length() + 1 for bits in map(int, sets.ravel())
    ]
    assert max(widths) == 15 == design.size[0]


# --- what is asked


CHAIN = {
    "input": [3, 128, 128],
    "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1, "channels": 8, "stride": 2},
        "b": {"op": "conv", "kernel": 3, "padding": 1, "channels": 8},
        "r": "relu",
        "c": {"op": "conv", "kernel": 3, "padding": 1, "channels": 16},
        "pool": "global_avg_pool",
    },
}


def test_modes() -> None:
    assert eyeshot.analyze(CHAIN)["c"].size == (11, 11)
    assert eyeshot.design(CHAIN, 14, change="kernels")[0].size == (15, 15)
    assert eyeshot.design(CHAIN, 17, change="kernels", mode="exactly")[0].size == (17, 17)
    less = eyeshot.design(CHAIN, 8, mode="at-most")[0]
    assert less.size == (7, 7) and [change[:1] + change[1:2] for change in less.changes] == [
        ("b", "copies")
    ]
    assert list(less.spec["layers"]) == ["a", "c", "pool"]
    odd = eyeshot.design(CHAIN, 14, change="kernels", mode="exactly", kernels=[3, 5])
    assert len(odd) == 0 and odd.proved and odd.nearest == ((13, 13), (15, 15))
    assert "not reachable within the allowed values; nearest: 13 and 15" in str(odd)


def test_what_is_there_already() -> None:
    (only,) = eyeshot.design(CHAIN, 11)
    assert not only.changes and only.spec == CHAIN and only.added == 0
    assert "nothing to change" in str(eyeshot.design(CHAIN, 11))


def test_jump() -> None:
    found = eyeshot.design(CHAIN, 11, jump=4)[0]
    assert found.jump == (4, 4) and found.size[0] >= 11
    assert [change.field for change in found.changes] == ["stride"]
    coarse = eyeshot.design(CHAIN, 11, jump=3)
    assert not coarse and coarse.nearest == () and "the jump is not" in str(coarse)


def test_no_stride_fits_the_jump() -> None:
    spec = {"input": [1, 32], "layers": {
        "down": {"op": "avg_pool", "kernel": 2},
        "a": {"op": "conv", "kernel": 3, "padding_mode": "replicate", "padding": 1, "stride": 2},
    }}  # fmt: skip
    stuck = eyeshot.design(spec, 9, jump=1, strides=[2, 3])
    assert not stuck and stuck.proved and stuck.stuck and "the jump is not" in str(stuck)
    far = eyeshot.design(spec, 900, jump=4)
    assert not far and not far.stuck and "the jump is not" not in str(far)


def test_nearest_is_what_is_nearest() -> None:
    """By enumeration, and only where it was proved."""
    spec = {"input": [1, 64], "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1},
        "s": {"op": "conv", "kernel": 3, "padding": 1, "stride": 3},
        "b": {"op": "conv", "kernel": 3, "padding": 1},
    }}  # fmt: skip
    options: dict = {"change": "kernels", "kernels": [3, 7], "ignore": ALL}
    kernels = itertools.product([3, 7], repeat=3)
    sizes = {1 + (a - 1) + (s - 1) + 3 * (b - 1) for a, s, b in kernels}
    for goal in range(9, 35):
        found = eyeshot.design(spec, goal, mode="exactly", **options)
        assert bool(found) == (goal in sizes)
        near = [max((n for n in sizes if n < goal), default=0)]
        near.append(min((n for n in sizes if n > goal), default=0))
        if not found:
            assert found.nearest == tuple((n,) for n in near if n)
    assert eyeshot.design(spec, 36, **options).nearest == ((max(sizes),),)
    assert eyeshot.design(spec, 9, mode="at-most", **options).nearest == ((min(sizes),),)


def test_sizes_per_axis() -> None:
    found = eyeshot.design(CHAIN, (15, 11), mode="exactly", change="kernels", best=1)
    assert found[0].size == (15, 11)
    (layer,) = {change.layer for change in found[0].changes}
    assert found[0].spec["layers"][layer]["kernel"] == [7, 3]
    assert found[0].spec["layers"][layer]["padding"] == [3, 1]
    assert "11 → 15×11" in str(found)
    tall = {
        "input": [1, 64, 32],
        "layers": {"a": {"op": "conv", "kernel": [7, 1], "padding": [3, 0]}},
    }
    only = eyeshot.design(tall, (9, 1), change="dilations", ignore="holes", best=1)[0]
    assert only.size == (13, 1) and only.spec["layers"]["a"]["dilation"] == [2, 1]


def test_macs_and_params_differ() -> None:
    """A thin early layer has few weights and many positions."""
    spec = {"input": [4, 64], "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1},
        "s": {"op": "conv", "kernel": 2, "stride": 2},
        "b": {"op": "conv", "kernel": 3, "padding": 1, "channels": 6},
    }}  # fmt: skip
    options = {"mode": "at-least", "change": "kernels", "kernels": [3, 5], "best": 1, "keep": "s"}
    goal = 10
    by_params = eyeshot.design(spec, goal, cost="params", **options)[0]
    by_macs = eyeshot.design(spec, goal, cost="macs", **options)[0]
    assert {c.layer for c in by_params.changes} == {"a"}
    assert {c.layer for c in by_macs.changes} == {"b"}
    assert by_params.cost == by_params.params == 4 * 4 * 5 + 4 * 4 * 2 + 4 * 6 * 3
    assert by_macs.cost == by_macs.macs == (4 * 4 * 3) * 64 + (4 * 4 * 2) * 32 + (4 * 6 * 5) * 32


SAVING = {"input": [2, 64], "layers": {
    "a": {"op": "conv", "kernel": 5, "padding": 2},
    "b": {"op": "conv", "kernel": 3, "padding": 1, "channels": 8},
    "c": {"op": "conv", "kernel": 3, "padding": 1},
}}  # fmt: skip


def test_what_one_layer_saves_pays_for_another() -> None:
    """A narrower first layer and a dilation, or wide kernels where channels are few."""
    weights = {"a": 2 * 2, "b": 2 * 8, "c": 8 * 8}
    options: dict = {"change": ["kernels", "dilations"], "kernels": [3, 5], "dilations": [1, 2]}
    options |= {"ignore": ALL, "best": 1}
    (whole,) = eyeshot.design(SAVING, 11, **options)
    assert whole.cost == sum(3 * n for n in weights.values())  # the rest by dilation, which is free
    assert whole.cost - whole.cost_before == -2 * weights["a"] and whole.added == 0
    (added,) = eyeshot.design(SAVING, 11, count="added", **options)
    assert added.added == 0 and added.cost == added.cost_before and len(added.changes) == 2
    options["dilations"] = [1]
    found = eyeshot.design(SAVING, 13, **options | {"kernels": [1, 3, 5, 7]})
    # 13 = 1 + 6 + 6 + 0
    assert found[0].cost == 7 * weights["a"] + 7 * weights["b"] + 1 * weights["c"]
    assert found.counted == "total" and "nothing within the allowed values costs less" in str(found)


def test_what_is_counted_by_default() -> None:
    """The whole; what is added where the field is to shrink, or nothing would be left of the network."""
    for size, mode, counted in (
        (13, "at-least", "total"),
        (5, "at-least", "total"),
        (13, "exactly", "total"),
        (9, "exactly", "total"),
        (7, "exactly", "added"),
        (7, "at-most", "added"),
        (13, "at-most", "added"),
    ):
        found = eyeshot.design(SAVING, size, mode=mode, best=1)
        assert found.counted == counted, (size, mode)
        assert json.loads(found.to_json())["wanted"]["count"] == counted


def test_kernels_shrink_only_where_they_are_asked_to() -> None:
    (already,) = eyeshot.design(SAVING, 9)
    assert not already.changes
    (less,) = eyeshot.design(SAVING, 9, kernels=[3, 5], change=["kernels", "dilations"], best=1)
    assert less.cost < less.cost_before and less.size[0] >= 9
    grown = eyeshot.design(SAVING, 25, best=5)
    assert all(c.after >= c.before for d in grown for c in d.changes if c.field == "kernel")
    small = eyeshot.design(SAVING, 7, mode="exactly", change="kernels", best=1)[0]
    assert [c[:2] for c in small.changes] == [("a", "kernel"), ("a", "padding")]


def test_only_keep_most() -> None:
    for design in eyeshot.design(CHAIN, 20, only="c", change=["kernels", "dilations"]):
        assert {change.layer for change in design.changes} == {"c"}
    for design in eyeshot.design(CHAIN, 20, keep=["a", "b"]):
        assert {change.layer for change in design.changes} == {"c"}
    assert (
        len({change.layer for change in eyeshot.design(CHAIN, 40, most=1, best=1)[0].changes}) == 1
    )
    assert not eyeshot.design(CHAIN, 40, most=0)


def test_a_pointwise_convolution_stays_unless_it_is_named() -> None:
    spec = {
        "input": [2, 32],
        "layers": {
            "a": {"op": "conv", "kernel": 1},
            "b": {"op": "conv", "kernel": 3, "padding": 1},
        },
    }
    assert {c.layer for d in eyeshot.design(spec, 5) for c in d.changes} == {"b"}
    named = eyeshot.design(spec, 5, only="a", change="kernels")[0]
    assert named.spec["layers"]["a"] == {"op": "conv", "kernel": 3, "padding": 1}


def test_copies_take_what_follows_with_them_and_keep_names() -> None:
    (design,) = eyeshot.design(CHAIN, 15, change="depth", best=1, mode="exactly")
    layers = design.spec["layers"]
    assert list(layers) == ["a", "b.copy1", "r.copy1", "b", "r", "c", "pool"]
    assert layers["b.copy1"] == layers["b"] == CHAIN["layers"]["b"]
    assert design.changes == (("b", "copies", 1, 2),)


def test_copies_and_removal_keep_the_graph() -> None:
    spec = {"input": [4, 32], "layers": [
        {"name": "x", "op": "conv", "kernel": 3, "padding": 1},
        {"name": "far", "op": "conv", "kernel": 5, "padding": 2, "inputs": "x"},
        {"name": "near", "op": "conv", "kernel": 3, "padding": 1, "inputs": "x"},
        {"name": "sum", "op": "add", "inputs": ["near", "far"]},
    ]}  # fmt: skip
    deep = eyeshot.design(spec, 11, only="far", change="depth", mode="exactly", best=1)[0]
    added = next(layer for layer in deep.spec["layers"] if layer["name"] == "far.copy1")
    assert added["inputs"] == "x"
    shallow = eyeshot.design(spec, 3, only="f*", change="depth", mode="at-most", best=1)
    assert not shallow  # near still reads 5 through x
    gone = eyeshot.design(spec, 5, only="far", change="depth", mode="exactly", best=1)[0]
    assert [layer["name"] for layer in gone.spec["layers"]] == ["x", "near", "sum"]
    assert gone.spec["layers"][-1]["inputs"] == ["near", "x"]


def test_only_what_keeps_its_size_is_repeated_or_removed() -> None:
    def spec(**fields: Any) -> dict:
        layer = {"op": "conv", "kernel": 3, **fields}
        return {"input": [2, 32], "layers": {"a": layer, "b": {"op": "conv", "kernel": 1}}}

    assert eyeshot.design(spec(padding=1), 5, change="depth", best=1)[0].size == (5,)
    assert eyeshot.design(spec(padding=1), 1, change="depth", best=1, mode="at-most")[0].size == (
        1,
    )
    for fields in ({"padding": 0}, {"padding": 1, "stride": 2}, {"padding": 1, "channels": 4}):
        for size, mode in ((5, "at-least"), (1, "at-most")):
            stuck = eyeshot.design(spec(**fields), size, change="depth", mode=mode)
            assert not stuck and stuck.proved and stuck.nearest == ((3,),)


def test_the_short_form_stays_short_where_it_can() -> None:
    spec = {"a": [3, 1, 1], "b": [3, 2, 1]}
    (wide,) = eyeshot.design(spec, 7, 64, change="kernels", best=1)
    assert wide.spec in ({"a": [5, 1, 2], "b": [3, 2, 1]}, {"a": [3, 1, 1], "b": [5, 2, 2]})
    (dilated,) = eyeshot.design(spec, 7, 64, change="dilations", only="b", best=1)
    assert dilated.spec["b"] == {
        "op": "conv",
        "kernel": 3,
        "stride": 2,
        "padding": 2,
        "dilation": 2,
    }


@pytest.mark.parametrize(
    ("pads", "before", "after", "expected"),
    [
        ((1, 1), 2, 4, (2, 2)),  # half stays half
        ((1, 1), 2, 3, (1, 2)),  # the odd one at the end
        ((1, 2), 3, 4, (2, 2)),
        ((0, 0), 2, 6, (0, 0)),  # none stays none
        ((0, 0), 0, 2, (1, 1)),  # a kernel of 1 has neither kind: its map keeps its size
        ((2, 0), 2, 6, (6, 0)),  # all of it before: causal
        ((0, 2), 2, 6, (0, 6)),
        ((1, 1), 3, 5, (2, 2)),  # one less than half: the output's size stays
        ((3, 0), 2, 4, (4, 1)),
        ((1, 1), 4, 2, (0, 0)),
        ((1, 1), 6, 2, None),  # there is no such padding
    ],
)
def test_padding_of_the_same_kind(pads: Any, before: int, after: int, expected: Any) -> None:
    assert repadded(pads, before, after) == expected


# --- findings, time, and what can't be done


def test_no_new_findings() -> None:
    """Dilating the first layer is free and leaves holes; what has none is taken, and it is said."""
    spec = {"input": [1, 64], "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1},
        "b": {"op": "conv", "kernel": 3, "padding": 1},
    }}  # fmt: skip
    options: dict = {"dilations": [1, 4], "kernels": [3, 5], "depth": 0, "best": 1}
    careless = eyeshot.design(spec, 9, ignore="holes", **options)
    assert careless[0].added == 0 and careless[0].size == (11,)
    assert eyeshot.check(careless[0].spec)["holes"]
    careful = eyeshot.design(spec, 9, **options)
    assert careful.rejected["holes"] >= 1 and not careful.mismatches and careful.proved
    assert not eyeshot.check(careful[0].spec)["holes"]
    assert careful[0].size == (13,) and careful[0].added == 2
    assert "passed over" in str(careful)


def test_findings_that_are_there_already_do_not_matter() -> None:
    spec = {
        "input": [1, 64],
        "layers": {"a": {"op": "conv", "kernel": 3, "dilation": 4, "padding": 4}},
    }
    assert eyeshot.check(spec)["holes"]
    assert eyeshot.design(spec, 17, change="kernels", best=1)[0].size == (17,)


def test_the_time_limit_is_kept_and_told() -> None:
    result = eyeshot.design("example:wavenet", 2048, time_limit=0.2)
    assert not result.proved
    assert "time ran out" in str(result)


def test_the_same_answer_every_time() -> None:
    first, second = (
        eyeshot.design("example:resnet18", 250, layer="layer3.1.add") for _ in range(2)
    )
    assert [d.changes for d in first] == [d.changes for d in second]


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ({"a": {"op": "conv", "kernel": 3}, "f": "flip", "b": {"op": "conv", "kernel": 3}}, "f: what flip"),
        ({"a": {"op": "conv", "kernel": 3}, "o": "opaque"}, "o: its field is only bounded"),
        ({"a": {"op": "conv", "kernel": 3}, "l": "lstm"}, "l: its units have no field"),
        ({"p": "global_avg_pool"}, "no map"),
    ],
)  # fmt: skip
def test_what_has_no_plain_arithmetic_is_refused(layers: dict, why: str) -> None:
    layer = None if "p" in layers else list(layers)[-1]
    with pytest.raises(eyeshot.EyeshotError, match=why):
        eyeshot.design({"input": [2, 32], "layers": layers}, 9, layer=layer)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"size": 0}, "size: expected a whole number from 1"),
        ({"size": "20"}, "size: expected a whole number, or one per axis"),
        ({"size": (1, 2, 3)}, "size: 3 numbers for 2 axes"),
        ({"mode": "about"}, "mode: expected one of at-least"),
        ({"count": "twice"}, "count: expected one of total, added"),
        ({"cost": "euros"}, "cost: expected one of params"),
        ({"change": "padding"}, "change: expected some of kernels"),
        ({"kernels": [0]}, "kernels: expected whole numbers from 1"),
        ({"strides": "2"}, "strides: expected whole numbers"),
        ({"dilations": []}, "dilations: expected"),
        ({"depth": -1}, "depth: expected"),
        ({"most": -1}, "most: expected"),
        ({"best": 0}, "best: expected"),
        ({"time_limit": 0}, "time_limit: expected"),
        ({"layer": "d"}, "there is no layer 'd'"),
        ({"only": "x*"}, "no layer has such a name: x"),
        ({"ignore": "nothing"}, "ignore: there is no finding"),
        ({"jump": 1.5}, "jump: expected a whole number"),
    ],
)
def test_bad_options(options: dict, why: str) -> None:
    given = {"size": 20, **options}
    with pytest.raises(eyeshot.EyeshotError, match=why):
        eyeshot.design(CHAIN, **given)


@pytest.mark.parametrize(
    "source", [3, None, "net.onnx", "nothing.yaml", "example:none", {"layers": {"a": 1}}]
)
def test_bad_sources(source: Any) -> None:
    with pytest.raises(eyeshot.EyeshotError) as error:
        eyeshot.design(source, 20)
    assert "\n" not in str(error.value)


def test_several_maps_and_inputs() -> None:
    two = {
        "input": [1, 32],
        "layers": {
            "a": {"op": "conv", "kernel": 3},
            "b": {"op": "conv", "kernel": 3, "inputs": "input"},
        },
    }
    with pytest.raises(eyeshot.EyeshotError, match=r"several last maps \(a, b\)"):
        eyeshot.design(two, 9)
    pair = {"inputs": {"x": [1, 32], "y": [1, 32]}, "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "x"},
        "b": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "y"},
        "c": {"op": "add", "inputs": ["a", "b"]},
    }}  # fmt: skip
    with pytest.raises(eyeshot.EyeshotError, match="reads 2 inputs"):
        eyeshot.design(pair, 9)
    one = eyeshot.design(pair, 5, layer="b", change="kernels", best=1)
    assert one.size_before == (3,) and one[0].size == (5,) and one[0].changes[0].layer == "b"


def test_without_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("ortools")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ortools", None)
    with pytest.raises(eyeshot.EyeshotError, match=r"pip install 'eyeshot\[design\]'"):
        eyeshot.design(CHAIN, 20)


# --- results


def test_a_design_is_a_spec_again(tmp_path: Path) -> None:
    for name in names():
        if name in ("fpn", "inception-v3-mixed"):
            continue
        result = eyeshot.design(
            f"example:{name}", 6, mode="at-least", best=1, ignore=ALL, time_limit=20
        )
        file = tmp_path / f"{name}.yaml"
        file.write_text(result[0].to_yaml(), encoding="utf-8")
        assert (
            yaml.safe_load(file.read_text(encoding="utf-8"))["layers"] == result[0].spec["layers"]
        )
        assert eyeshot.analyze(file)[result.layer].size == result[0].size


def test_a_spec_shares_nothing() -> None:
    """What is edited by hand afterwards changes nothing else; and YAML has no anchors."""
    short = {"a": [3, 1, 1], "b": [3, 1, 1]}
    first, second = eyeshot.design(short, 9, 64, change="depth", best=2)
    assert first.to_yaml() == "a: [3, 1, 1]\nb.copy1: [3, 1, 1]\nb.copy2: [3, 1, 1]\nb: [3, 1, 1]\n"
    first.spec["b"][0] = 9
    assert first.spec["b.copy1"] == second.spec["b"] == short["b"] == [3, 1, 1]


def test_numbers_that_are_too_large_are_refused() -> None:
    deep = {"input": [4096, *[10**6] * 3], "layers": {"a": {"op": "conv", "kernel": 3}}}
    same = {
        "input": [4096, *[10**6] * 3],
        "layers": {"a": {"op": "conv", "kernel": 3, "padding": 1}},
    }
    for spec in (deep, same):
        with pytest.raises(eyeshot.EyeshotError, match=r"the cost \(macs\) may become larger"):
            eyeshot.design(spec, 5, cost="macs", change="kernels")
    wide = {"input": [1, 64], "layers": {n: {"op": "conv", "kernel": 3} for n in "abc"}}
    far: dict = {"strides": [1 << 20], "dilations": [1 << 20], "kernels": [1 << 20]}
    padded = {**wide, "layers": {n: {**layer, "padding": 1} for n, layer in wide["layers"].items()}}
    with pytest.raises(eyeshot.EyeshotError, match="its field may become larger"):
        eyeshot.design(padded, 9, jump=1 << 40, **far)


def test_dict() -> None:
    result = eyeshot.design(CHAIN, 15, best=2)
    content = json.loads(result.to_json())
    assert content["schema"] == "eyeshot.design/1" and content["proved"] is True
    assert [d["size"] for d in content["designs"]] == [list(d.size) for d in result]
    assert content["designs"][0]["changes"][0].keys() == {"layer", "field", "before", "after"}
    assert str(result[0]).splitlines()[2].startswith("1   ")
    assert result[0] in list(result) and len(result[:1]) == 1 and "Designs" in repr(result)


def test_jump_may_be_a_fraction() -> None:
    spec = {"input": [1, 32], "layers": {
        "a": {"op": "conv", "kernel": 3, "padding": 1},
        "up": {"op": "upsample", "scale": 2},
    }}  # fmt: skip
    design = eyeshot.design(spec, 5, best=1)[0]
    assert design.jump == (Fraction(1, 2),) and design.size == (5,)
    json.dumps(design.to_dict())


# --- modules


def module() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding="same", bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        nn.MaxPool2d(3, 2, 1),
        nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(8, 8, (3, 5), groups=4)),
        nn.Sequential(nn.GroupNorm(2, 8), nn.GELU()),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(8, 4, 4, 2, 1),
        nn.Conv2d(4, 4, 3, 2, 1, 2, padding_mode="reflect"),
        nn.Dropout2d(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )  # fmt: skip


def test_a_module_as_a_spec() -> None:
    """Fields and weights are those of the module itself."""
    net = module()
    from torch import nn

    spec, _, _ = search.given(net, (1, 3, 40, 48))
    ours, theirs = eyeshot.analyze(spec), eyeshot.analyze(net, (1, 3, 40, 48))
    for layer in theirs:
        same = ours[layer.name]
        assert same.shape == layer.shape and same.size == layer.size, layer.name
        assert same.jump == layer.jump and same.start == layer.start, layer.name
    made = Network(spec, ours)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert sum(made.weights(name) for name in made.order) == sum(m.weight.numel() for m in convs)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_modules_of_all_axes(axes: int) -> None:
    from torch import nn

    conv, pool = (getattr(nn, f"{kind}{axes}d") for kind in ("Conv", "AvgPool"))
    net = nn.Sequential(conv(1, 4, 3, padding=1), pool(2), nn.Identity(), conv(4, 4, 3, padding=1))
    result = eyeshot.design(net, 12, 32, change="kernels", best=1)
    design = result[0]
    assert design.size == (12,) * axes
    assert design.params == 4 * 7**axes + 16 * 3**axes
    assert result.layer == "3" and eyeshot.analyze(design.spec)["3"].size == design.size


def test_a_module_used_twice_counts_twice() -> None:
    from torch import nn

    conv = nn.Conv1d(2, 2, 3, padding=1)
    assert list(search.given(nn.Sequential(conv, conv), 32)[0]["layers"]) == ["0", "1"]


def test_other_modules_are_refused_by_name() -> None:
    from torch import nn

    class Mine(nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    class ReLU(nn.Module):  # not the one of torch
        def forward(self, x: Any) -> Any:
            return x.flip(-1)

    for odd, why in (
        (Mine(), r"1 \(Mine\) can't be written"),
        (ReLU(), r"1 \(ReLU\) can't"),
        (nn.LSTM(2, 2), r"1 \(LSTM\) can't"),
        (nn.MaxPool1d(2, return_indices=True), "return_indices"),
        (nn.AdaptiveAvgPool1d(None), "an output size that is the input's"),
    ):
        with pytest.raises(eyeshot.EyeshotError, match=why):
            eyeshot.design(nn.Sequential(nn.Conv1d(1, 2, 3), odd), 9, 32)
    with pytest.raises(eyeshot.EyeshotError, match="no convolution"):
        eyeshot.design(nn.Sequential(nn.ReLU()), 9, 32)
    with pytest.raises(eyeshot.EyeshotError, match="size of input is not known"):
        eyeshot.design(nn.Sequential(nn.Conv1d(1, 2, 3)), 9)


def test_the_module_stays_as_it_was() -> None:
    from torch import nn

    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)).train()
    eyeshot.design(net, 9, 32)
    assert net.training and net[0].kernel_size == (3,)

"""Findings about context, against paths and objects enumerated one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import brute_force

import eyeshot
from eyeshot.analysis.findings.inputrange import input_range
from eyeshot.analysis.findings.network import Network
from eyeshot.analysis.findings.paths import Paths
from eyeshot.core.narrowest import Narrowest, Ways, narrow
from eyeshot.core.terms import Term

Spec = dict[str, Any]


def found(spec: Any, code: str, **options: Any) -> tuple[eyeshot.analysis.findings.Finding, ...]:
    check = eyeshot.check(spec, select=code, **options)
    assert not check.skipped
    return check[code]


# --- single paths, one branch at every join


def paths(spec: Spec, name: str) -> Iterator[list[dict]]:
    """Every path from the input to a layer: its layers in order, one input taken at each."""
    if name == "input":
        yield []
        return
    layer = spec["layers"][name]
    for source in layer["inputs"]:
        for path in paths(spec, source):
            yield [*path, layer]


def width(path: list[dict]) -> int:
    """The field of a plain chain: r + (k - 1) d j, as every textbook has it, whatever is upsampled between.

    After upsampling neighbours may hold the same: hulls of a few units, far from borders, one by one.
    """
    hulls = {i: (i, i + 1) for i in range(-400, 401)}
    for layer in path:
        k, s, d = layer.get("kernel", 1), layer.get("stride", 1), layer.get("dilation", 1)
        if layer["op"] == "upsample":
            hulls = {i * 2 + p: hull for i, hull in hulls.items() for p in (0, 1)}
        elif layer["op"] in ("conv", "max_pool"):
            pad = layer["padding"]
            hulls = {
                i: (
                    min(hulls[i * s - pad + d * t][0] for t in range(k)),
                    max(hulls[i * s - pad + d * t][1] for t in range(k)),
                )
                for i in range(min(hulls) // s, max(hulls) // s + 1)
                if i * s - pad in hulls and i * s - pad + d * (k - 1) in hulls
            }
    # An even number of them, not too few: all phases of a decoder.
    middle = [hull for i, hull in hulls.items() if -9 < i < 9]
    return max(end - begin for begin, end in middle)


@st.composite
def dags(draw: st.DrawFn) -> Spec:
    """Branches of equal rate that are added, multiplied or concatenated, at several resolutions."""
    layers: dict[str, dict] = {}
    at = {1: ["input"]}  # by jump the tensors of one size
    jump = 1
    for _ in range(draw(st.integers(3, 9))):
        kind = draw(st.sampled_from(["conv", "conv", "down", "up", "join", "join", "concat"]))
        here = at[jump]
        x = draw(st.sampled_from(here[-3:]))
        name = f"{kind}{len(layers)}"
        if kind == "conv":
            k, d = draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 2))
            layers[name] = {"op": "conv", "kernel": k, "dilation": d, "padding": d * (k // 2)}
        elif kind == "down" and jump < 4:
            k = draw(st.sampled_from([2, 3, 4]))
            op = draw(st.sampled_from(["conv", "max_pool"]))
            layers[name] = {"op": op, "kernel": k, "stride": 2, "padding": (k - 1) // 2}
            jump *= 2
        elif kind == "up" and jump > 1:
            layers[name] = {"op": "upsample", "scale": 2}
            jump //= 2
        elif kind in ("join", "concat") and len(here) > 1:
            others = draw(st.lists(st.sampled_from(here), min_size=2, max_size=3, unique=True))
            op = draw(st.sampled_from(["add", "mul"])) if kind == "join" else "concat"
            layers[name] = {"op": op, "inputs": others}
            if op == "concat":  # back to as many channels as all have
                at.setdefault(jump, [])
                layers[f"{name}c"] = {"op": "conv", "kernel": 1, "padding": 0, "inputs": [name]}
                layers[f"{name}c"]["channels"] = 2
                name = f"{name}c"
        else:
            continue
        layers[name].setdefault("inputs", [x])
        at.setdefault(jump, []).append(name)
    return {"input": [2, 64], "layers": layers}


@given(dags())
@settings(max_examples=150, deadline=None)
def test_the_narrowest_path_is_the_narrowest_of_all(spec: Spec) -> None:
    if not spec["layers"]:
        return
    report = eyeshot.analyze(spec)
    values = {layer.name: layer._value for layer in report}
    widths = Paths(report, values.values())
    for name, value in values.items():
        expected = min(width(path) for path in paths(spec, name))
        assert widths.width(value, 0) == expected, (name, spec)
        # The union of all paths, too, is at least as wide as the widest.
        assert report[name].size[0] >= max(width(path) for path in paths(spec, name))


def test_constants_are_no_path_and_gates_give_way() -> None:
    """A gate reads everything, what it gates does not: also where one position is left to pool."""
    for n in (16, 4):
        spec = {
            "input": [2, n],
            "layers": {
                "stem": {"op": "conv", "kernel": 4, "stride": 4, "channels": 2},
                "pool": {"op": "mean", "dims": [2], "keepdim": True},
                "gate": {"op": "conv", "kernel": 1, "channels": 2},
                "scaled": {"op": "mul", "inputs": ["stem", "gate"]},
                "wide": {"op": "conv", "kernel": 3, "padding": 1},
            },
        }
        report = eyeshot.analyze(spec)
        widths = Paths(report, [layer._value for layer in report])
        width_of = {layer.name: widths.width(layer._value, 0) for layer in report}
        assert width_of == {
            "stem": 4,
            "pool": math.inf,
            "gate": math.inf,
            "scaled": 4,
            "wide": 12,
        }


def test_attention_leads_past_itself() -> None:
    """A query is a way that doesn't widen, through full attention and through windows."""
    for more in (
        {"kind": "full"},
        {"kind": "window", "window": 4},
        {"kind": "sliding", "window": 3},
    ):
        spec = {
            "input": [2, 32],
            "layers": {
                "patches": {"op": "conv", "kernel": 4, "stride": 4, "channels": 2},
                "attend": {"op": "attention", **more},
            },
        }
        report = eyeshot.analyze(spec)
        assert Paths(report, [report["attend"]._value]).width(report["attend"]._value, 0) == 4


def test_channels_keep_their_own_paths() -> None:
    """Halves of a concatenation that are split again don't get each other's paths."""
    spec = {
        "input": [2, 32],
        "layers": {
            "near": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "input"},
            "far": {"op": "conv", "kernel": 9, "padding": 4, "inputs": "input"},
            "both": {"op": "concat", "inputs": ["near", "far"]},
            "second": {"op": "slice", "dim": 1, "start": 2, "inputs": "both"},
            "mixed": {"op": "conv", "kernel": 1, "inputs": "second"},
            "all": {"op": "conv", "kernel": 1, "inputs": "both"},
        },
    }
    report = eyeshot.analyze(spec)
    widths = Paths(report, [layer._value for layer in report])
    assert widths.width(report["mixed"]._value, 0) == 9
    assert widths.width(report["all"]._value, 0) == 3


def test_what_is_not_known_is_not_told() -> None:
    spec = {
        "input": [2, 32],
        "layers": {
            "what": {"op": "opaque"},
            "conv": {"op": "conv", "kernel": 3, "padding": 1},
        },
    }
    report = eyeshot.analyze(spec)
    conv = report["conv"]
    assert Paths(report, [conv._value]).width(conv._value, 0) is None
    assert Paths(report, []).width(conv._value, 0) is None
    assert all(each.smallest is None for each in input_range(Network(report)))


def test_alternatives() -> None:
    """The narrower way stays; of two rates, and of hulls of which neither fits into the other, both."""
    near, far = Term(((0, 1, 4),), (-1,), (2,)), Term(((0, 1, 4),), (5,), (9,))
    assert narrow([far, near]) == (near,)
    fast = Term(((0, 1, 8),), (0,), (1,))
    assert set(narrow([near, fast])) == {near, fast}
    here = Term(((0, 2, 8),), (0, 4), (5, 6))
    there = Term(((0, 2, 8),), (0, 4), (2, 9))
    assert set(narrow([here, there])) == {here, there}
    whole = Term((), (0,), (2,), whole=True)
    assert narrow([whole, near]) == (near,)
    partly = near._replace(support=((1, 0, 2),))
    assert set(narrow([far, partly])) == {far, partly}
    assert narrow([partly, whole._replace(support=((1, 0, 2),))]) == (partly,)
    nothing = Term((), (math.inf,), (-math.inf,))
    assert narrow([nothing, Term((), (0,), (1,))]) == (nothing,)
    past = Term(((0, 1, 4),), (-math.inf,), (1,))
    assert narrow([past, near]) == (near,)


def test_states_are_ways() -> None:
    report = eyeshot.analyze("example:resnet18")
    states = Narrowest(report._graph, report._sources).run({layer._value for layer in report})
    assert all(type(field) is Ways for state in states.values() for field in state.fields)
    assert all(len(field.terms) == 1 for s in states.values() for field in s.fields if field.reads)


def test_every_element_covers_the_input() -> None:
    """Where each element of a map reads all, against enumeration."""
    for n, k in product((8, 9, 12), (3, 15, 23)):
        spec = {
            "input": [1, n],
            "layers": {
                "down": {"op": "conv", "kernel": 3, "stride": 2, "padding": 1, "channels": 1},
                "wide": {"op": "conv", "kernel": k, "padding": k // 2},
            },
        }
        report = eyeshot.analyze(spec)
        value = report["wide"]._value
        full = (1 << n) - 1
        expected = all(s == full for s in brute_force.read_sets(spec)["wide"].flat)
        assert Paths(report, [value]).covers(value, 0, n) is expected, (n, k)


# --- the input's range


@pytest.mark.parametrize("n", [32, 200, 224])
def test_the_published_range_of_resnet50(n: int) -> None:
    """(75, 427), as the authors' toolbox documents it, at any size of the input."""
    check = eyeshot.check("example:resnet50", (3, n, n), select="context")
    assert [(each.smallest, each.largest) for each in check.input_range] == [(75, 427)] * 2


def test_ranges_by_hand() -> None:
    """VGG-16: what conv5_3 reads (164) and gives (196); a gate leaves no upper end."""
    vgg = eyeshot.check("example:vgg16", (3, 224, 224), select="context")
    assert [(each.smallest, each.largest) for each in vgg.input_range] == [(164, 196)] * 2
    spec = {
        "conv": {"op": "conv", "kernel": 3, "padding": 1},
        "norm": {"op": "instance_norm"},
        "again": {"op": "conv", "kernel": 3, "padding": 1},
    }
    (one,) = eyeshot.check({"input": [2, 32], "layers": spec}, select="context").input_range
    assert (one.smallest, one.largest) == (3, None)
    assert one.to_dict() == {
        "input": "input",
        "axis": 2,
        "size": 32,
        "smallest": 3,
        "largest": None,
    }


# --- layers that add no context


def chain(n: int, kernels: list[int], strides: list[int]) -> Spec:
    layers = {
        f"conv{i}": {"op": "conv", "kernel": k, "stride": s, "padding": k // 2}
        for i, (k, s) in enumerate(zip(kernels, strides, strict=True))
    }
    return {"input": [1, n], "layers": layers}


@given(
    st.integers(2, 60),
    st.lists(st.tuples(st.sampled_from([1, 3, 5, 7]), st.integers(1, 2)), min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_unproductive_in_chains(n: int, steps: list[tuple[int, int]]) -> None:
    """Exactly the layers whose input's field is larger than the input, by the textbook, or whose map is one."""
    spec = chain(n, [k for k, _ in steps], [s for _, s in steps])
    r, j, size, idle = 1, 1, n, []
    for i, (k, s) in enumerate(steps):
        if k > 1 and (r > n or size == 1):
            idle.append(f"conv{i}")
        r, j, size = r + (k - 1) * j, j * s, (size - 1) // s + 1
    got = found(spec, "unproductive-layers")
    assert len(got) == bool(idle)
    for finding in got:
        assert sorted(finding.layers) == sorted(idle) and finding.exact
        assert finding.evidence["by_field"] + finding.evidence["by_map"] == len(idle)


@given(st.integers(9, 60), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_a_planted_layer_is_found(n: int, before: int, after: int) -> None:
    """Behind a kernel twice as wide as the input every window is idle; before it none is, were they small."""
    kernels = [*[3] * before, 2 * n + 1, *[3] * after]
    (finding,) = found(chain(n, kernels, [1] * len(kernels)), "unproductive-layers")
    names = [f"conv{i}" for i in range(before + 1, before + 1 + after)]
    assert list(finding.layers) == names and finding.evidence["border"] == names[0]
    assert finding.evidence["behind"] == after
    for each in finding.evidence["layers"]:
        assert each["smallest"][0] >= 2 * n + 1 and each["every_unit_reads_all"] is True
    small = n - 2 * (after - 1)
    assert not found(chain(max(n, small), [3] * 4, [1] * 4), "unproductive-layers")


def test_a_short_way_round_keeps_layers_productive() -> None:
    """The same convolutions with residual sums: what comes in past them is small."""
    layers: dict[str, dict] = {"stem": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "input"}}
    x = "stem"
    for i in range(6):
        layers[f"conv{i}"] = {"op": "conv", "kernel": 9, "padding": 4, "inputs": x}
        layers[f"sum{i}"] = {"op": "add", "inputs": [x, f"conv{i}"]}
        x = f"sum{i}"
    spec = {"input": [1, 20], "layers": layers}
    assert not found(spec, "unproductive-layers")
    for i in range(6):
        layers[f"sum{i}"]["op"], layers[f"sum{i}"]["inputs"] = "relu", f"conv{i}"
    (finding,) = found(spec, "unproductive-layers")
    assert finding.layers == ("conv3", "conv4", "conv5")  # 3, 11, 19, 27: larger than 20
    largest = [each["largest"][0] for each in finding.evidence["layers"]]
    assert largest == [27, 35, 43]


def test_resnets_on_small_images() -> None:
    """By hand: the second 3x3 of a block behind a jump of 16 or more, and all on a map of one position."""
    (finding,) = found("example:resnet18", "unproductive-layers", input=(3, 32, 32))
    assert set(finding.layers) == {
        "layer3.1.conv2",
        "layer4.0.conv2",
        "layer4.1.conv1",
        "layer4.1.conv2",
    }
    assert finding.layers[0] == finding.evidence["border"] == "layer4.0.conv2"
    by_layer = {each["layer"]: each for each in finding.evidence["layers"]}
    assert by_layer["layer3.1.conv2"]["smallest"] == [43, 43]
    assert by_layer["layer3.1.conv2"]["every_unit_reads_all"] is False
    (finding,) = found("example:resnet50", "unproductive-layers", input=(3, 32, 32))
    assert finding.layers == ("layer4.1.conv2", "layer4.2.conv2")
    for name in ("example:resnet18", "example:resnet50"):
        assert not found(name, "unproductive-layers", input=(3, 224, 224))


def test_the_remedy_works() -> None:
    """At the size that it names no layer is unproductive any more."""
    for name, n in (("example:vgg16", 40), ("example:resnet50", 32), ("example:resnet18", 32)):
        (finding,) = found(name, "unproductive-layers", input=(3, n, n))
        size = int(finding.remedy.removeprefix("Give it inputs of ").split()[0])
        assert not found(name, "unproductive-layers", input=(3, size, size))


def windows(n: Any, *kernels: Any, outputs: list[str]) -> Spec:
    """Plain convolutions c0, c1, … in a row."""
    layers = {f"c{k}": {"op": "conv", "kernel": kernel} for k, kernel in enumerate(kernels)}
    for layer in layers.values():
        side = layer["kernel"]
        layer["padding"] = [s // 2 for s in side] if isinstance(side, list) else side // 2
    return {"input": [1, *([n] if isinstance(n, int) else n)], "layers": layers, "outputs": outputs}


@pytest.mark.parametrize(
    ("spec", "severity"),
    [
        (windows(8, 9, 3, outputs=["c1"]), "warning"),
        (windows(8, 9, 3, outputs=["c0", "c1"]), "note"),  # a last map does without it
        (windows(18, *[3] * 10, outputs=["c9"]), "warning"),  # 1 of 10
        (windows(20, *[3] * 11, outputs=["c10"]), "note"),  # 1 of 11
    ],
)
def test_how_serious_it_is(spec: Spec, severity: str) -> None:
    (finding,) = found(spec, "unproductive-layers")
    assert finding.severity == severity
    assert len(finding.layers) == 1


def test_the_axis_is_named_where_it_is_not_all() -> None:
    spec = windows((8, 90), [9, 3], [3, 3], [3, 3], outputs=["c2"])
    assert not found(spec, "unproductive-layers")  # they widen the other axis
    (finding,) = found(windows((8, 90), [9, 3], [3, 1], outputs=["c1"]), "unproductive-layers")
    assert finding.message.startswith("At an input of 8 along axis 2, 1 of 2 layers")


def test_what_still_adds_context_behind_is_not_called_idle() -> None:
    """On one branch all is read, and a way round it leads into another window."""
    layers = {
        "wide": {"op": "conv", "kernel": 9, "padding": 4, "inputs": "input"},
        "idle": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "wide"},
        "join": {"op": "add", "inputs": ["idle", "input"]},
        "last": {"op": "conv", "kernel": 3, "padding": 1, "inputs": "join"},
    }
    (finding,) = found({"input": [1, 8], "layers": layers}, "unproductive-layers")
    assert finding.layers == ("idle",) and finding.evidence["border"] is None
    assert finding.evidence["behind"] == 1
    assert finding.cost.startswith("The windows of 1 of 3 layers with weights")


def test_weights_that_work_on_another_map_are_not_idle() -> None:
    torch = pytest.importorskip("torch")

    class Pyramid(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, shared: bool) -> None:
            super().__init__()
            self.wide = torch.nn.Conv1d(1, 1, 9, padding=4)
            self.head = torch.nn.Conv1d(1, 1, 3, padding=1)
            self.other = self.head if shared else torch.nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return self.head(x), self.other(self.wide(x))

    assert not found(Pyramid(True), "unproductive-layers", input=(1, 1, 8))
    (finding,) = found(Pyramid(False), "unproductive-layers", input=(1, 1, 8))
    assert finding.layers == ("other",)


def test_no_rule_looks_at_every_unit_of_a_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact hulls of all units take long where there is no closed form, and nothing here needs them."""
    timm = pytest.importorskip("timm")
    report = eyeshot.analyze(timm.create_model("mvitv2_small_cls", img_size=64), (1, 3, 64, 64))

    def refuse(self: Any, value: int) -> Any:
        raise AssertionError("the image engine was run")

    monkeypatch.setattr(type(report), "_spans", refuse)
    assert not eyeshot.check(report).skipped


def test_torchvision_resnet50_on_small_images() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.resnet50()
    check = eyeshot.check(model, (1, 3, 32, 32), select="context")
    (finding,) = check["unproductive-layers"]
    assert finding.layers == ("layer4.1.conv2", "layer4.2.conv2")
    assert [(each.smallest, each.largest) for each in check.input_range] == [(75, 427)] * 2


# --- smaller than the input, or than an object


def reads(spec: Spec, name: str, n: int) -> list[int]:
    """Of every unit the set of positions, from enumeration."""
    masks = brute_force.read_sets(spec)[name]
    return [int(m) for m in masks.reshape(-1, masks.shape[-1])[0]] if masks.ndim else [int(masks)]


@given(
    st.integers(4, 40),
    st.lists(st.tuples(st.sampled_from([1, 2, 3, 5]), st.integers(1, 3)), min_size=1, max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_the_output_sees_less_than_the_input(n: int, steps: list[tuple[int, int]]) -> None:
    spec = chain(n, [k for k, _ in steps], [s for _, s in steps])
    r, j = 1, 1
    for k, s in steps:
        r, j = r + (k - 1) * j, j * s
    got = found(spec, "field-below-input")
    assert len(got) == (r < n)
    for finding in got:
        assert finding.evidence["size"] == [r] and finding.evidence["length"] == [n]
        assert finding.severity == "note"


def test_the_remedy_of_a_mirrored_map() -> None:
    """A jump below 0 counts as far as one above; a mirrored map beside a plain one has none."""
    conv = {"op": "conv", "kernel": 3, "stride": 2}
    (finding,) = found({"input": [1, 17], "layers": {"f": "flip", "c": conv}}, "field-below-input")
    assert finding.remedy.startswith("A 3-wide layer after c (jump 2) widens the field by 4")
    layers = {
        "f": "flip",
        "b": {"op": "concat", "inputs": ["f", "input"]},
        "s": {"op": "slice", "dim": 1, "stop": 1},
        "c": {"op": "conv", "kernel": 3},
    }
    (finding,) = found({"input": [1, 17], "layers": layers}, "field-below-input")
    assert finding.remedy.startswith("A 3-wide layer after c (jump 1) widens the field by 2")


def test_outputs_that_see_everything_are_fine() -> None:
    spec = chain(32, [3, 3], [1, 1])
    assert found(spec, "field-below-input")
    spec["layers"]["pool"] = {"op": "mean", "dims": [2]}
    assert not found(spec, "field-below-input")
    # A norm over space: every unit reads all of it beside its local field.
    spec["layers"]["pool"] = {"op": "instance_norm"}
    assert not found(spec, "field-below-input")
    # One position of a map that does not: it has no dim of the input's any more.
    spec["layers"]["pool"] = {"op": "select", "dim": 2, "index": 9}
    (finding,) = found(spec, "field-below-input")
    assert finding.evidence["size"] == [5]


def test_the_remedy_for_a_small_field_is_enough() -> None:
    """As many windows of 3 as it says, at the layer that it names, and not one less."""
    spec = chain(100, [7, 3, 3], [2, 2, 1])
    (finding,) = found(spec, "field-below-input")
    assert "jump 4" in finding.remedy and "8·d: 11 of them" in finding.remedy  # 19 of 100
    for count in (10, 11):
        more = chain(100, [7, 3, 3, *[3] * count], [2, 2, 1, *[1] * count])
        assert bool(found(more, "field-below-input")) is (count == 10)


def share_seen(levels: list[list[int]], n: int, length: int) -> float:
    """Places of an object between whose ends, both included, some unit reads: hulls one by one."""
    hulls = [(m & -m).bit_length() - 1 for units in levels for m in units if m]
    ends = [m.bit_length() for units in levels for m in units if m]
    places = range(n - length + 1)
    held = [
        any(b <= p and p + length <= e for b, e in zip(hulls, ends, strict=True)) for p in places
    ]
    return sum(held) / len(held)


@given(
    st.integers(8, 40),
    st.lists(
        st.tuples(st.sampled_from([1, 2, 3, 5, 7]), st.integers(1, 3), st.integers(0, 2)),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_objects_one_by_one(n: int, steps: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """Chains with any padding, of which the last two layers are levels: every object at every place."""
    layers: dict[str, dict] = {}
    size = n
    for i, (k, s, p) in enumerate(steps):
        p = min(p, k // 2)
        if size + 2 * p < k:
            break
        layers[f"conv{i}"] = {"op": "conv", "kernel": k, "stride": s, "padding": p}
        size = (size + 2 * p - k) // s + 1
    if not layers:
        return
    names = list(layers)[-2:]
    spec = {"input": [1, n], "layers": layers, "outputs": names}
    length = data.draw(st.integers(1, n))
    expected = share_seen([reads(spec, name, n) for name in names], n, length)
    report = eyeshot.analyze(spec)
    judged = {layer.name for layer in report.outputs} or {names[-1]}
    if judged != set(names):
        expected = share_seen([reads(spec, name, n) for name in judged], n, length)
    check = eyeshot.check(report, object=length, select="field-below-object")
    assert not check.skipped
    assert len(check) == (expected < 1)
    for finding in check:
        assert finding.evidence["share"] == pytest.approx(expected)
        assert finding.severity == ("error" if expected == 0 else "warning")
        for level in finding.evidence["levels"]:
            units = reads(spec, level["output"], n)
            shares = [share_seen([units], n, size) for size in range(1, n + 1)]
            assert level["everywhere"] == [sum(s == 1 for s in shares)]
            assert level["somewhere"] == [sum(s > 0 for s in shares)]


def test_objects_in_two_axes_and_several_levels() -> None:
    """Places that one level or the other sees, counted in two axes at once by enumeration."""
    spec = {
        "input": [1, 24, 24],
        "layers": {
            "wide": {"op": "conv", "kernel": [9, 5], "stride": [6, 2], "inputs": "input"},
            "tall": {"op": "conv", "kernel": [5, 11], "stride": [2, 4], "inputs": "input"},
        },
    }
    report = eyeshot.analyze(spec)
    length = (5, 5)
    (finding,) = eyeshot.check(report, object=length, select="field-below-object")
    boxes = [box for name in ("wide", "tall") for box in report[name].boxes().reshape(-1, 2, 2)]
    held = [
        any(
            all(b[0] <= p and p + n <= b[1] for b, p, n in zip(box, at, length, strict=True))
            for box in boxes
        )
        for at in product(range(20), repeat=2)
    ]
    assert finding.evidence["share"] == pytest.approx(np.mean(held)) and 0 < np.mean(held) < 1
    assert finding.severity == "warning"


def test_inputs_are_told_apart() -> None:
    """3-wide on one input, 3-wide after a pooling on the other."""
    spec = {
        "inputs": {"image": [1, 40, 40], "depth": [1, 20, 20]},
        "layers": {
            "halved": {"op": "max_pool", "kernel": 2, "inputs": ["image"]},
            "sum": {"op": "add", "inputs": ["halved", "depth"]},
            "conv": {"op": "conv", "kernel": 3, "padding": 1},
        },
    }
    below = found(spec, "field-below-input")
    assert [f.message for f in below] == [
        "A unit of conv sees at most 6 of 40 positions along axes 2 and 3 of image",
        "A unit of conv sees at most 3 of 20 positions along axes 2 and 3 of depth",
    ]
    assert [f.evidence["size"] for f in below] == [[6, 6], [3, 3]]
    image, depth = found(spec, "field-below-object", object=8)
    assert "object of 8 in image whole" in image.message
    assert "object of 8 in depth whole" in depth.message


def test_objects_beyond_what_is_seen() -> None:
    spec = {"input": [1, 61], "layers": {"conv": {"op": "conv", "kernel": 9, "stride": 4}}}
    assert not found(spec, "field-below-object", object=6)  # 9 - 4 + 1
    (warned,) = found(spec, "field-below-object", object=7)
    assert warned.severity == "warning"
    (wrong,) = found(spec, "field-below-object", object=10)
    assert wrong.severity == "error" and "largest is 9" in wrong.message
    spec["layers"]["pool"] = {"op": "global_avg_pool"}
    assert not found(spec, "field-below-object", object=40)
    (skipped,) = eyeshot.check(spec, object=62, select="field-below-object").skipped
    assert "larger than the input" in skipped.reason


# --- anchors


def test_anchors() -> None:
    """A field of 19, a jump of 8: seen whole everywhere up to 12; below 8 there are gaps."""
    spec = chain(128, [3, 3, 3, 3], [2, 2, 2, 1])  # 3, 7, 15, 31; jump 8
    code = "anchor-mismatch"
    for size, severities in (
        (8, []),
        (24, []),
        (25, ["warning"]),
        (31, ["warning"]),
        (32, ["error"]),
    ):
        got = found(spec, code, anchors={"conv3": size})
        assert [f.severity for f in got] == severities, size
        assert all(f.layers == ("conv3",) for f in got)
    (gaps,) = found(spec, code, anchors={"conv3": 6})
    assert gaps.evidence["uncovered"] == pytest.approx(1 - 6 / 8)
    assert not found(spec, code, anchors={"conv3": [6, 8]})  # the larger one leaves none
    several = found(spec, code, anchors={"conv3": [8, 28, 40]})
    assert [f.evidence["concerned"] for f in several] == [[[40]], [[28]]]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 3, 5, 7]), st.integers(1, 2)), min_size=1, max_size=4),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_what_anchors_hold_everywhere(steps: list[tuple[int, int]], up: bool) -> None:
    """The largest size that no place away from the borders cuts off, enumerated; phases of a decoder too."""
    spec = chain(320, [k for k, _ in steps], [s for _, s in steps])
    name = f"conv{len(steps) - 1}"
    if up:
        spec["layers"]["up"] = {"op": "upsample", "scale": 2, "mode": "nearest"}
        spec["layers"]["last"] = {"op": "conv", "kernel": 3, "padding": 1}
        name = "last"
    units = [m for m in reads(spec, name, 320) if m]
    hulls = [((m & -m).bit_length() - 1, m.bit_length()) for m in units]
    middle = range(140, 180)
    best = [max((e - p for b, e in hulls if b <= p < e), default=0) for p in middle]
    everywhere = min(best)
    code = "anchor-mismatch"
    warned = [
        f.severity == "warning"
        for size in (max(everywhere, 1), everywhere + 1)
        for f in found(spec, code, anchors={name: size})
        if "uncovered" not in f.evidence
    ]
    r = eyeshot.analyze(spec)[name].size[0]
    if everywhere:
        assert len(warned) == 1 and warned[0] is (everywhere + 1 <= r)

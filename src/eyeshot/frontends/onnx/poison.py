"""NaN as a poison: the operators that lose it or smear it, and what puts it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from eyeshot.frontends.onnx.order import captures, within

__all__ = ["BLIND", "FLOATING", "attribute", "reads", "restore", "smears", "swallows"]

FLOATING = frozenset(
    [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16]
)
#: Maxima over something, which lose NaN, and the operator that finds where they read some.
MAXIMA = {
    "MaxPool": "MaxPool", "GlobalMaxPool": "GlobalMaxPool", "ReduceMax": "ReduceMax", "ReduceMin": "ReduceMax",
}  # fmt: skip
#: Pointwise operators that compare, and so lose NaN.
STEPS = frozenset(["Shrink", "ThresholdedRelu"])
#: Operators whose numbers are floating point like their inputs', and that lose some NaN in kernels.
LOSING = frozenset(
    "Hardmax MaxRoiPool RoiAlign GridSample DeformConv If Loop Scan SequenceMap MaxUnpool Unique TopK".split()
)
#: Attention that is causal only where a flag says so, and the input that leaves keys out: masks by number.
PLAIN_ATTENTION = {"Attention": 3, "MultiHeadAttention": 4}
#: Operators that need not look at what comes after their first input, such as slopes where nothing is negative.
LAZY = frozenset("PRelu Pow RNN GRU LSTM".split())
#: What these give has nothing to do with the numbers that they are given.
BLIND = frozenset("Shape Size ConstantOfShape RandomNormalLike RandomUniformLike EyeLike".split())


def attribute(node: NodeProto, name: str) -> Any:
    """An attribute's value; None where there is none."""
    for a in node.attribute:
        if a.name == name:
            return helper.get_attribute_value(a)
    return None


def reads(node: NodeProto) -> list[str]:
    """The tensors that a node reads, its subgraphs included."""
    return [*filter(None, node.input), *captures(node)]


# --- what loses it


def swallows(node: NodeProto, inputs: Sequence[str], shares: Mapping[str, float]) -> bool:
    """Whether an operator that was given poison does not pass all of it on."""
    given = [shares[name] for name in inputs if shares.get(name, -1.0) > 0]
    if node.op_type == "Dropout" and len(node.input) > 2:  # it may be in training
        return True
    if not given or node.op_type in BLIND:
        return False
    if node.op_type in LOSING or attribute(node, "reduction") in (b"max", b"min"):
        return True
    if node.op_type in LAZY and any(name in shares for name in node.input[1:]):
        return True
    whole = min(given) == 1 and all(name in shares for name in inputs)
    for name in node.output:
        share = shares.get(name)
        if share is not None and (share <= 0 or (whole and share < 1)):
            return True
    return False


def smears(node: NodeProto, units: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether NaN spreads in an operator's kernel to what does not read it."""
    op = node.op_type
    if op == "LRN":  # its sum over channels slides
        return 1 in units.get(node.output[0], ())
    if "Attention" not in op:
        return False
    # The score of a key that is left out is made all the same, and its value is multiplied by zero.
    flags = [a.i for a in node.attribute if a.name in ("is_causal", "unidirectional", "causal")]
    widths = [a.i for a in node.attribute if a.name.endswith("window_size")]
    if any(flags) or any(width >= 0 for width in widths) or op not in PLAIN_ATTENTION:
        return True
    lengths = 6 if node.domain in ("", "ai.onnx") else PLAIN_ATTENTION[op]
    return len(node.input) > lengths and bool(node.input[lengths])


# --- what puts it back


def restore(
    graph: GraphProto, target: int, opset: int, types: Mapping[str, int], count: dict[str, int]
) -> None:
    """Put NaN back behind operators that compare and so lose it."""
    for g in within(graph):
        nodes: list[NodeProto] = []
        changed = False
        for node in g.node:
            more = _passing_on(node, target, opset, types)
            if more:
                changed = True
                count[node.op_type] = count.get(node.op_type, 0) + 1
            nodes += more or [node]
        if changed:
            held = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
            del g.node[:]
            g.node.extend(held)


def _passing_on(
    node: NodeProto, target: int, opset: int, types: Mapping[str, int]
) -> list[NodeProto]:
    """The nodes that do what this one does, and pass NaN on; none if it does so itself."""
    op = node.op_type
    if node.domain not in ("", "ai.onnx") or opset < 7 or not node.input:
        return []
    if op not in MAXIMA and op not in STEPS and op != "LogSoftmax":
        return []
    x, y = node.input[0], node.output[0]
    if types.get(x) not in FLOATING:
        return []
    plain = NodeProto()
    plain.CopyFrom(node)
    lost = plain.output[0] = f"{y}/without NaN"

    def name(part: str) -> str:
        return f"{y}/{part}"

    def number(part: str, value: float) -> NodeProto:
        tensor = numpy_helper.from_array(np.asarray(value, helper.tensor_dtype_to_np_dtype(target)))
        return helper.make_node("Constant", [], [name(part)], value=tensor)

    make = helper.make_node
    if op in STEPS:
        found = [make("IsNaN", [x], [name("is NaN")])]
        return [plain, *found, make("Where", [name("is NaN"), x, lost], [y])]
    if op == "LogSoftmax":
        same = NodeProto()
        same.CopyFrom(node)
        same.op_type = "Softmax"
        same.output[0] = name("softmax")
        out = [
            plain,
            same,
            number("0", 0.0),
            make("Mul", [name("softmax"), name("0")], [name("no")]),
        ]
        return [*out, make("Add", [lost, name("no")], [y])]
    # 1 where there is NaN, else 0; then the same operator says which outputs read one.
    if opset >= 9:
        found = [make("IsNaN", [x], [name("is NaN")])]
    else:
        found = [
            number("1 or NaN", 1.0),
            make("Sub", [x, x], [name("0 or NaN")]),
            make("Less", [name("0 or NaN"), name("1 or NaN")], [name("is none")]),
            make("Not", [name("is none")], [name("is NaN")]),
        ]
    found.append(make("Cast", [name("is NaN")], [name("NaN is 1")], to=target))
    same = NodeProto()
    same.CopyFrom(node)
    same.op_type = MAXIMA[op]
    same.input[0] = name("NaN is 1")
    del same.output[1:]
    same.output[0] = name("read")
    return [
        plain,
        *found,
        same,
        number("0", 0.0),
        number("1", 1.0),
        make("Sub", [name("1"), name("read")], [name("0 for NaN")]),
        make("Div", [name("0"), name("0 for NaN")], [name("0 or 0/0")]),
        make("Add", [lost, name("0 or 0/0")], [y]),
    ]

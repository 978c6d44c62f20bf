"""Names: nodes' own or readable ones, modules by slashes and metadata, and other names for the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import pytest

import eyeshot
from eyeshot.errors import UnknownLayerError
from eyeshot.frontends.onnx.names import dotted
from eyeshot.views.table import rows, select

SCOPES = "pkg.torch.onnx.name_scopes"


def chain(nodes: Sequence[tuple[Any, ...]], outputs: Sequence[str] = ()) -> onnx.ModelProto:
    """Nodes of (name, operator, inputs, outputs, scopes), the input is x; pools are two wide."""
    h = onnx.helper
    made = []
    for name, op, reads, makes, *scopes in nodes:
        attributes = (
            {"kernel_shape": [2]}
            if op == "MaxPool"
            else {"axis": 2, "num_outputs": 2}
            if op == "Split"
            else {}
        )
        node = h.make_node(op, reads.split(), makes.split(), name, **attributes)
        if scopes:
            node.metadata_props.add(key=SCOPES, value=str(list(scopes)))
        made.append(node)
    infos = [h.make_tensor_value_info("x", 1, [1, 2, 16])]
    last = [onnx.ValueInfoProto(name=name) for name in outputs or [made[-1].output[0]]]
    graph = h.make_graph(made, "g", infos, last)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 18)])


def named(*nodes: tuple[Any, ...]) -> list[str]:
    return [layer.name for layer in eyeshot.analyze(chain(nodes))]


def test_nodes_names_made_unique() -> None:
    assert named(
        ("a", "Neg", "x", "p"),
        ("a", "Neg", "p", "q"),
        ("a_1", "Neg", "q", "r"),
        ("a", "Neg", "r", "s"),
    ) == [
        "a",
        "a_1",
        "a_1_1",
        "a_2",
    ]


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("features", "features"), ("conv1/out", "conv1/out"), ("123", "relu"), ("%45", "relu"), ("_7", "relu"),
        ("onnx::Conv_678", "relu"), ("tensor_9", "relu"), ("val_3", "relu"), ("T12", "relu"), ("t", "t"),
        ("Plus214_Output_0", "Plus214_Output_0"),
    ],
)  # fmt: skip
def test_names_where_there_are_none(output: str, name: str) -> None:
    assert named(("", "Relu", "x", output)) == [name]


def test_several_outputs() -> None:
    assert named(("s", "Split", "x", "p q"), ("n", "Neg", "q", "r")) == ["s", "s.1", "n"]
    assert named(("", "Split", "x", "p q"), ("", "Neg", "q", "r")) == ["p", "q", "r"]
    lstm = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 18]>
    g (float[5,1,3] x, float[1,8,3] w, float[1,8,2] r) => (float[5,1,1,2] y, float[1,1,2] h, float[1,1,2] c) {
      y, h, c = LSTM<hidden_size = 2>(x, w, r) }""")
    lstm.graph.node[0].name = "cell"
    assert [m.name for m in eyeshot.analyze(lstm, axes={"x": 0})] == [
        "cell",
        "cell.Y_h",
        "cell.Y_c",
    ]


TRACED = [
    ("/stem/conv/MaxPool", "MaxPool", "x", "a"),
    ("/stem/act/Relu", "Relu", "a", "b"),
    ("/layer1/layer1.0/conv/MaxPool", "MaxPool", "b", "c"),
    ("/layer1/layer1.0/Add", "Neg", "c", "d"),
    ("/layer1/layer1.1/conv/MaxPool", "MaxPool", "d", "e"),
    # Runs last in its module, and nothing outside reads it.
    ("/layer1/layer1.1/probe/MaxPool", "MaxPool", "e", "unread"),
    ("/Flatten", "Neg", "e", "f"),
]


def test_modules_of_traced_exports() -> None:
    report = eyeshot.analyze(chain(TRACED))
    assert report["/stem"].size == (2,) and report["/stem"].op == "Relu"
    assert report["/layer1/layer1.0"].size == (3,)
    assert report["/layer1"].size == report["/layer1/layer1.1"].size == (4,)
    assert report["/layer1/layer1.1/probe"].size == (5,)
    # By the path in the module, and by the tensor.
    assert report["layer1.0"].name == "/layer1/layer1.0"
    assert report["layer1.0.conv"].name == "/layer1/layer1.0/conv"
    assert report["c"].name == "/layer1/layer1.0/conv/MaxPool"
    assert "layer1" in report and "layer2" not in report
    with pytest.raises(UnknownLayerError, match="did you mean"):
        report["layer1.9"]
    assert [layer.name for layer in report] == [node[0] for node in TRACED]


def test_traced_exports_folded() -> None:
    report = eyeshot.analyze(chain(TRACED))
    folded = [(row.layer, row.size) for row in rows(select(report, None, 1), 1)]
    assert folded == [("/stem", "2"), ("/layer1", "4"), ("/Flatten", "4")]
    folded = [(row.layer, row.size) for row in rows(select(report, None, 2), 2)]
    assert folded == [
        ("/stem/conv", "2"), ("/stem/act", "2"), ("/layer1/layer1.0", "3"), ("/layer1/layer1.1", "4"),
        ("/Flatten", "4"),
    ]  # fmt: skip
    assert [layer.name for layer in select(report, "/layer1")] == ["/layer1"]
    assert [layer.name for layer in select(report, "layer1.?")] == [
        "/layer1/layer1.0",
        "/layer1/layer1.1",
    ]
    assert [layer.name for layer in select(report, "/stem/*")] == [
        "/stem/conv/MaxPool",
        "/stem/act/Relu",
    ]


def test_modules_of_metadata() -> None:
    """As PyTorch's exporter writes them: nodes are counted, scopes say where they come from."""
    nodes = [
        ("node_max_pool_1", "MaxPool", "x", "a", "", "stem", "max_pool_1"),
        ("node_relu", "Relu", "a", "b", "", "relu", "relu"),
        (
            "node_max_pool_2",
            "MaxPool",
            "b",
            "c",
            "",
            "layer1",
            "layer1.0",
            "layer1.0.pool",
            "max_pool_2",
        ),
        ("node_add", "Neg", "c", "d", "", "layer1", "layer1.0", "add"),
        ("node_relu_1", "Relu", "d", "e", "", "layer1", "layer1.0", "layer1.0.act", "relu_1"),
        (
            "node_max_pool_3",
            "MaxPool",
            "e",
            "f",
            "",
            "layer1",
            "layer1.1",
            "layer1.1.pool",
            "max_pool_3",
        ),
        ("node_relu_2", "Relu", "f", "h", "", "layer1", "layer1.1", "layer1.1.act", "relu_2"),
        ("node_relu_3", "Relu", "h", "i", "", "layer1", "layer1.1", "layer1.1.act", "relu_3"),
        ("node_mul", "Neg", "i", "j", "", "norm", "mul_4"),
        ("node_sub", "Neg", "j", "k", "", "norm", "sub_4"),
        ("head", "Neg", "k", "l", "", "view"),
    ]
    report = eyeshot.analyze(chain(nodes))
    assert [layer.name for layer in report] == [node[0] for node in nodes]
    assert report["layer1"].size == (4,) and report["layer1.0"].size == (3,)
    assert report["norm"].op == "Neg" and report["stem"].size == (2,)
    assert report["layer1.0.pool"].size == report["node_max_pool_2"].size
    assert report["f"].name == "node_max_pool_3"
    # Nameless nodes go by their modules.
    report = eyeshot.analyze(chain([("", *node[1:]) for node in nodes[:-1]]))
    assert [layer.name for layer in report] == [
        "stem", "relu", "layer1.0.pool", "layer1.0.add", "layer1.0.act", "layer1.1.pool", "layer1.1.act",
        "layer1.1.act_1", "norm.mul", "norm.sub",
    ]  # fmt: skip
    folded = [layer.name for layer in select(report, None, 1)]
    assert folded == ["stem", "relu", "layer1", "norm"]


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("/layer1/layer1.0/conv1", "layer1.0.conv1"),
        ("/features/features.0/features.0.0", "features.0.0"),
        ("/a/b", "a.b"),
        ("/blocks/blocks.1/mlp/mlp.0/fc", "blocks.1.mlp.0.fc"),
        ("model/conv", "model.conv"),
        ("/layer1/layer10", "layer1.layer10"),
    ],
)
def test_paths_of_modules(path: str, module: str) -> None:
    assert dotted(path) == module


def test_the_last_of_a_module_where_none_leaves() -> None:
    nodes = [
        ("/a/MaxPool", "MaxPool", "x", "p"),
        ("/a/b/Neg", "Neg", "p", "q"),
        ("/c/Neg", "Neg", "x", "r"),
    ]
    report = eyeshot.analyze(chain(nodes, ["r"]))
    assert report["/a"].size == (2,)
    assert report["/a"].op == "Neg"

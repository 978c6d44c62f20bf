"""Whole networks as onnxruntime's tools rewrite them: the fields stay those of the exported network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.analysis.report import Layer
from tests.frontends.onnx.agree import assert_agrees, reported
from tests.frontends.onnx.ort import session

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
pytest.importorskip("onnxscript")
ort = pytest.importorskip("onnxruntime")

nn = torch.nn
vision = torchvision.models

TOKENS, FEATURES, HEADS = 6, 16, 2


class Trunk(nn.Module):
    """A network of torchvision up to its head."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        parts = [
            m for name, m in whole.named_children() if name not in ("avgpool", "fc", "classifier")
        ]
        self.parts = nn.Sequential(*parts)

    def forward(self, x: Any) -> Any:
        return self.parts(x)


class Vision(nn.Module):
    """A small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, FEATURES, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 16, FEATURES))
        block = nn.TransformerEncoderLayer(FEATURES, HEADS, 32, activation="gelu", batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)

    def forward(self, x: Any) -> Any:
        return self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.places)


class Block(nn.Module):
    """A block of BERT, written as the tools know it."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(FEATURES, FEATURES) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(FEATURES), nn.LayerNorm(FEATURES)
        self.wide, self.narrow = nn.Linear(FEATURES, 32), nn.Linear(32, FEATURES)

    def heads(self, x: Any) -> Any:
        return x.view(*x.size()[:-1], HEADS, FEATURES // HEADS).permute(0, 2, 1, 3)

    def forward(self, x: Any, mask: Any) -> Any:
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(FEATURES // HEADS) + mask
        seen = torch.matmul(scores.softmax(-1), v).permute(0, 2, 1, 3).contiguous()
        x = self.norm1(self.o(seen.view(*seen.size()[:-2], FEATURES)) + x)
        return self.norm2(self.narrow(nn.functional.gelu(self.wide(x))) + x)


class Bert(nn.Module):
    """Words, a mask and segments."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.segments = (
            nn.Embedding(n, FEATURES) for n in (50, TOKENS, 2)
        )
        self.norm = nn.LayerNorm(FEATURES)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.register_buffer("ids", torch.arange(TOKENS)[None])

    def forward(self, ids: Any, mask: Any, segments: Any) -> Any:
        hidden = (1.0 - mask[:, None, None].to(torch.float32)) * -10000.0
        x = self.norm(self.words(ids) + self.segments(segments) + self.places(self.ids))
        for block in self.blocks:
            x = block(x, hidden)
        return x


def _convnext() -> Any:
    sizes = vision.convnext.CNBlockConfig
    return vision.ConvNeXt([sizes(16, 32, 1), sizes(32, None, 1)])


#: What makes a network, and its inputs.
NETS: dict[str, tuple[Callable[[], Any], list[tuple[int, ...]]]] = {
    "resnet18": (lambda: Trunk(vision.resnet18()), [(1, 3, 64, 64)]),
    "mobilenet_v3_small": (lambda: Trunk(vision.mobilenet_v3_small()), [(1, 3, 64, 64)]),
    "shufflenet_v2_x0_5": (lambda: Trunk(vision.shufflenet_v2_x0_5()), [(1, 3, 64, 64)]),
    "convnext": (lambda: Trunk(_convnext()), [(1, 3, 48, 48)]),
    "vision": (Vision, [(1, 3, 16, 16)]),
    "bert": (Bert, [(1, TOKENS)] * 3),
}


class Zoo:
    """Files of the networks, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fields: dict[str, tuple[Layer, np.ndarray]] = {}

    def file(self, name: str) -> Path:
        """``resnet18.QDQ.ALL``: the network, and what is done to it, step by step."""
        path = self.folder / f"{name}.onnx"
        if path.exists():
            return path
        before, _, step = name.rpartition(".")
        with warnings.catch_warnings(action="ignore"):
            if not before:
                _export(name, path)
            elif step in ("EXTENDED", "ALL"):
                _optimize(self.file(before), path, step)
            elif step in ("QDQ", "QOperator"):
                _quantize(self.file(f"{before}.ready"), path, step)
            elif step == "ready":
                from onnxruntime.quantization.shape_inference import quant_pre_process

                quant_pre_process(str(self.file(before)), str(path), skip_symbolic_shape=True)
            elif step == "dynamic":
                from onnxruntime.quantization import quantize_dynamic

                more = {"DefaultTensorType": onnx.TensorProto.FLOAT}
                quantize_dynamic(self.file(before), path, extra_options=more)
            elif step == "nbits":
                from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

                made = MatMulNBitsQuantizer(onnx.load(self.file(before)), block_size=16)
                made.process()
                onnx.save(made.model.model, path)
            else:
                from onnxruntime.transformers import optimizer

                optimizer.optimize_model(
                    str(self.file(before)), "bert", HEADS, FEATURES, opt_level=0
                ).save_model_to_file(str(path))
        return path

    def output(self, name: str) -> tuple[onnx.ModelProto, Layer, np.ndarray]:
        """The model, and its output's layer and boxes."""
        model = onnx.load(self.file(name))
        shapes = {
            i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim)
            for i in model.graph.input
        }
        axes = {k: (2, 3) if len(shape) == 4 else (1,) for k, shape in shapes.items()}
        report, rows = reported(model, shapes, axes)
        assert report.status == "exact", report.diagnostics
        layer = report[rows[model.graph.output[0].name]]
        return model, layer, layer.boxes()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp("zoo"))


def _export(name: str, path: Path) -> None:
    make, shapes = NETS[name]
    torch.manual_seed(0)
    network = make().eval()
    given = tuple(
        torch.ones(shape, dtype=torch.int64) if len(shape) == 2 else torch.randn(shape)
        for shape in shapes
    )
    torch.onnx.export(network, given, str(path), dynamo=False, opset_version=17)


def _optimize(source: Path, path: Path, level: str) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _quantize(source: Path, path: Path, form: str) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    (info,) = onnx.load(source).graph.input
    shape = [d.dim_value for d in info.type.tensor_type.shape.dim]

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter([{info.name: np.ones(shape, np.float32)}])

        def get_next(self) -> Any:
            return next(self.rest, None)

    quantize_static(
        source, path, Reader(), quant_format=getattr(QuantFormat, form), per_channel=form == "QDQ"
    )


#: Operators that each rewriting must bring in, so that it is known to have been one.
STEPS = {
    "resnet18": {"EXTENDED": "FusedConv", "ALL": "ReorderOutput", "QDQ": "DequantizeLinear",
                 "QDQ.EXTENDED": "QLinearConv", "QDQ.ALL": "DequantizeLinear",
                 "QOperator": "QLinearAdd", "QOperator.ALL": "NhwcMaxPool"},
    "mobilenet_v3_small": {"EXTENDED": "FusedConv", "ALL": "ReorderInput", "QOperator": "QLinearMul",
                           "QOperator.ALL": "QLinearGlobalAveragePool", "QDQ.ALL": "QLinearConv"},
    "shufflenet_v2_x0_5": {"EXTENDED": "FusedConv", "ALL": "ReorderInput", "QDQ": "DequantizeLinear",
                           "QDQ.EXTENDED": "QLinearConcat", "QOperator.ALL": "QLinearConcat"},
    "convnext": {"EXTENDED": "Gelu", "ALL": "ReorderOutput", "QDQ.EXTENDED": "QGemm", "QOperator.ALL": "QGemm"},
    "vision": {"EXTENDED": "SkipLayerNormalization", "ALL": "FusedMatMul"},
    "bert": {"EXTENDED": "SkipLayerNormalization", "ALL": "Gelu", "transformers": "Attention",
             "transformers.ALL": "BiasGelu", "transformers.dynamic": "QAttention",
             "transformers.dynamic.ALL": "DynamicQuantizeMatMul", "transformers.nbits": "MatMulNBits",
             "nbits.ALL": "MatMulNBits"},
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [f"{net}.{step}" for net, steps in STEPS.items() for step in steps]
)
def test_fields_stay(zoo: Zoo, name: str) -> None:
    net, _, step = name.partition(".")
    _, before, boxes = zoo.output(net)
    model, after, found = zoo.output(name)
    # Which of its operators onnxruntime fuses depends on the machine in part: this one it has everywhere.
    assert STEPS[net][step] in {node.op_type for node in model.graph.node}
    assert after.shape == before.shape
    assert after.unit_dims == before.unit_dims
    assert after.fields == before.fields
    np.testing.assert_array_equal(found, boxes)


@pytest.mark.parametrize("net", ["convnext", "mobilenet_v3_small", "vision"])
def test_dynamic_scales_read_everything(zoo: Zoo, net: str) -> None:
    """Beside the field of each unit, which stays."""
    _, before, _ = zoo.output(net)
    model, after, boxes = zoo.output(f"{net}.dynamic")
    assert {"DynamicQuantizeLinear", "ConvInteger"} <= {node.op_type for node in model.graph.node}
    assert after.is_global
    assert (after.size, after.jump, after.start) == (before.size, before.jump, before.start)
    (shape,) = NETS[net][1]
    np.testing.assert_array_equal(boxes, np.broadcast_to([[0, n] for n in shape[2:]], boxes.shape))


# --- small graphs in blocks of channels


def _graph(
    *lines: tuple[Any, ...], size: tuple[int, ...], weights: dict[str, tuple[int, ...]]
) -> Any:
    h = onnx.helper
    rng = np.random.default_rng(0)
    nodes = [h.make_node(op, given.split(" "), [made], **more) for op, given, made, more in lines]
    held = [
        onnx.numpy_helper.from_array(rng.uniform(0.1, 1, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    held.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    kind = onnx.TensorProto.FLOAT
    graph = h.make_graph(
        nodes, "graph", [h.make_tensor_value_info("x", kind, size)],
        [onnx.ValueInfoProto(name=lines[-1][2])], held,
    )  # fmt: skip
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=10)


BLOCKED = {
    "20 channels, by channels, sum": _graph(
        ("Conv", "x a", "1", {"pads": [1, 1, 1, 1]}),
        ("Conv", "1 b", "2", {"group": 20, "strides": [2, 2], "pads": [1, 0, 1, 1]}),
        ("Conv", "2 c", "3", {"pads": [1, 1, 1, 1], "dilations": [1, 1]}),
        ("Add", "2 3", "4", {}),
        ("Relu", "4", "y", {}),
        size=(1, 3, 8, 7),
        weights={"a": (20, 3, 3, 3), "b": (20, 1, 3, 2), "c": (20, 20, 3, 3)},
    ),
    "pools and a larger image": _graph(
        ("Conv", "x a", "1", {"strides": [2, 1]}),
        ("AveragePool", "1", "2", {"kernel_shape": [2, 2], "strides": [1, 2]}),
        ("Resize", "2  twice", "3",
         {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
        ("Conv", "3 b", "4", {"group": 2}),
        ("MaxPool", "4", "y", {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [2, 2]}),
        size=(1, 16, 8, 7),
        weights={"a": (16, 16, 2, 2), "b": (32, 8, 1, 2)},
    ),
    "linear, global": _graph(
        ("Conv", "x a", "1", {}),
        ("Resize", "1  twice", "2", {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
        ("Conv", "2 b", "3", {}),
        ("GlobalAveragePool", "2", "4", {}),
        ("Add", "3 4", "y", {}),
        size=(1, 3, 5, 4),
        weights={"a": (16, 3, 2, 2), "b": (16, 16, 1, 1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKED)
def test_blocked(tmp_path: Path, name: str) -> None:
    """The rewritten file against poisoning of itself."""
    source = tmp_path / "plain.onnx"
    onnx.save(BLOCKED[name], source)
    _optimize(source, tmp_path / "blocked.onnx", "ALL")
    model = onnx.load(tmp_path / "blocked.onnx")
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": np.random.default_rng(1).uniform(0, 1, shape).astype(np.float32)}
    assert_agrees(model, feeds, run=session(model, finite=True))

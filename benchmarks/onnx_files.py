"""The part on ONNX files: against loading and shape inference by the onnx package alone."""

from __future__ import annotations

import os
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import eyeshot
from benchmarks.measure import PEAK, Ratio, Task, best, child, note

__all__ = ["LIGHT", "light", "onnx_files"]

LIGHT = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
         "vgg19", "zfnet512")  # fmt: skip
"""The graphs that the onnx package ships."""
#: The aim that the project set itself.
AIM = 1.5

FLOOR = """
import sys
import onnx
onnx.shape_inference.infer_shapes(onnx.load(sys.argv[1]))
"""
OURS = """
import sys
import eyeshot
report = eyeshot.analyze(sys.argv[1], {"x": f"1x?x{sys.argv[2]}x{sys.argv[2]}"} if sys.argv[2:] else None)
fields = [layer.fields for layer in report]
"""


def light(name: str) -> Path:
    """The file of a graph that the onnx package ships."""
    import onnx

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return folder / f"light_{name}.onnx"


def chain(nodes: int, file: Path) -> Path:
    """Convolutions and ReLUs in turn, each with weights of its own."""
    import numpy as np
    import onnx
    from onnx import helper

    kernel = np.zeros((8, 8, 3, 3), dtype=np.float32)
    made, weights, last = [], [], "x"
    for k in range(nodes // 2):
        weights.append(onnx.numpy_helper.from_array(kernel, f"w{k}"))
        made.append(
            helper.make_node("Conv", [last, f"w{k}"], [f"c{k}"], f"conv{k}",
                             kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
        )  # fmt: skip
        made.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"], f"relu{k}"))
        last = f"r{k}"
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, 64, 64])
    y = helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "chain", [x], [y], weights)
    versions = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), file)
    return file


def exported(name: str, file: Path) -> Path:
    """A torchvision network with random weights, as PyTorch's exporter writes it, of any size."""
    import torch
    import torchvision

    model = torchvision.models.get_model(name, weights=None).eval()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(model, (torch.zeros(1, 3, 224, 224),), file, dynamo=False, input_names=["x"],
                          dynamic_axes={"x": {2: "height", 3: "width"}})  # fmt: skip
    return file


def _floor(file: str, _: Any) -> None:
    import onnx

    onnx.shape_inference.infer_shapes(onnx.load(file))


def _ours(file: str, input: Any, _: Any) -> None:
    report = eyeshot.analyze(file, input)
    for layer in report:
        layer.fields  # noqa: B018 - it is worked out when read


def onnx_files(quick: bool) -> list[Ratio]:
    """Ratios of time and of peak memory."""
    rounds = 3 if quick else 15
    with tempfile.TemporaryDirectory() as temporary:
        long = 2_000 if quick else 20_000
        files: dict[str, tuple[str, Any]] = {
            name: (str(light(name)), None) for name in (LIGHT[:2] if quick else LIGHT)
        }
        big = "resnet18" if quick else "resnet152"
        weights = exported(big, Path(temporary, "big.onnx"))
        size = {"x": "1x3x224x224"}
        files[f"an exported {big}, {os.path.getsize(weights) >> 20} MiB"] = (str(weights), size)
        links = chain(long, Path(temporary, "chain.onnx"))
        files[f"a chain of {long:,} nodes"] = (str(links), None)
        rows = []
        for title, (file, input) in files.items():
            note(title)
            least = best(
                {
                    "load and shape inference": Task(partial(_floor, file)),
                    "eyeshot, all fields": Task(partial(_ours, file, input)),
                },
                rounds,
                seconds=30,
            )
            floor, ours = least.values()
            rows.append(Ratio(title, ours / floor, AIM))
        at = {n: child(OURS + PEAK, str(weights), str(n)) for n in (224, 100_000)}
        alone = child(FLOOR + PEAK, str(weights))
        rows += [
            Ratio(f"peak memory for {big}, to load and shape inference", at[224] / alone, 1.0),
            Ratio(
                f"peak memory for {big} at 100,000 pixels a side, to 224",
                at[100_000] / at[224],
                1.1,
            ),
            Ratio(
                f"peak memory for the chain of {long:,} nodes, to load and shape inference",
                child(OURS + PEAK, str(links)) / child(FLOOR + PEAK, str(links)),
            ),
        ]
    return rows

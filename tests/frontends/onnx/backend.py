"""The cases of the onnx package's own backend suite, and what is known of their inputs."""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any, NamedTuple

import numpy as np
import onnx

from tests.frontends.onnx.agree import bake

__all__ = ["Case", "cases"]

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")

#: Inputs that decide about shapes and places, by operator: these are written into the model as constants.
PARAMETERS = {
    "AffineGrid": (1,), "ArrayFeatureExtractor": (1,), "Attention": (6,), "BlackmanWindow": (0,),
    "CenterCropPad": (1,), "Col2Im": (1, 2), "Compress": (1,), "ConstantOfShape": (0,), "CumProd": (1,),
    "CumSum": (1,), "DFT": (1, 2), "Expand": (1,), "Gather": (1,), "GatherElements": (1,), "GatherND": (1,),
    "GRU": (4,), "HammingWindow": (0,), "HannWindow": (0,), "If": (0,), "Loop": (0, 1), "LSTM": (4,),
    "MaxUnpool": (1, 2), "MelWeightMatrix": (0, 1, 2, 3, 4), "NegativeLogLikelihoodLoss": (1,),
    "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3),
    "ReverseSequence": (1,), "RNN": (4,), "RotaryEmbedding": (3,), "Scatter": (1,), "ScatterElements": (1,),
    "ScatterND": (1,), "SequenceAt": (1,), "SequenceErase": (1,), "SequenceInsert": (2,),
    "Slice": (1, 2, 3, 4), "SoftmaxCrossEntropyLoss": (1,), "Split": (1,), "SplitToSequence": (1,),
    "Squeeze": (1,), "STFT": (1, 3), "TensorScatter": (2,), "Tile": (1, 2), "TopK": (1,), "Trilu": (1,),
    "Unsqueeze": (1,), "Upsample": (1,),
}  # fmt: skip
PARAMETERS.update(
    {
        f"Reduce{name}": (1,)
        for name in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()
    }
)
#: The same where an operator is expanded into others.
NAMED = frozenset(["target", "nonpad_kv_seqlen", "position_ids", "size", "start", "limit", "delta"])


class Case(NamedTuple):
    """One case: ``feeds`` are what is left to feed, in the file's order."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, Any]


@functools.cache
def _listed() -> dict[str, Any]:
    with warnings.catch_warnings(action="ignore"):
        from onnx.backend.test.loader import load_model_tests

        return {f"{kind}/{t.name}": t for kind in KINDS for t in load_model_tests(kind=kind)}


def cases() -> list[str]:
    """All of their names: ``node/test_abs``."""
    return list(_listed())


def load(name: str) -> Case:
    """One case, with its parameters written into the model."""
    found = _listed()[name]
    model, inputs = found.model, []
    if model is None:
        model = onnx.load(os.path.join(found.model_dir, "model.onnx"))
        folder = os.path.join(found.model_dir, "test_data_set_0")
        for k, info in enumerate(i for i in model.graph.input):
            path = os.path.join(folder, f"input_{k}.pb")
            if not os.path.exists(path):
                break
            kind = info.type.WhichOneof("value")
            with open(path, "rb") as file:
                inputs.append(_read(file.read(), kind))
    else:
        inputs = list(found.data_sets[0][0])
    inputs = [_array(x) for x in inputs]
    feeds = dict(zip((i.name for i in model.graph.input), inputs, strict=False))
    fixed: dict[str, Any] = {k: v for k, v in feeds.items() if k in NAMED}
    for node in model.graph.node:
        for k in PARAMETERS.get(node.op_type, ()):
            if k < len(node.input) and node.input[k] in feeds:
                fixed[node.input[k]] = feeds[node.input[k]]
    return Case(
        name,
        bake(model, fixed) if fixed else model,
        {k: v for k, v in feeds.items() if k not in fixed},
    )


def _read(content: bytes, kind: str) -> Any:
    helper = onnx.numpy_helper
    if kind == "sequence_type":
        return helper.to_list(onnx.SequenceProto.FromString(content))
    if kind == "optional_type":
        return helper.to_optional(onnx.OptionalProto.FromString(content))
    return helper.to_array(onnx.TensorProto.FromString(content))


def _array(x: Any) -> Any:
    if isinstance(x, onnx.TensorProto):
        x = onnx.numpy_helper.to_array(x)
    if isinstance(x, (list, tuple)) or x is None:
        return x
    x = np.asarray(x)
    if x.dtype == object:  # texts
        texts = [t.decode() if isinstance(t, bytes) else t for t in x.reshape(-1)]
        return np.array(texts, dtype=object).reshape(x.shape)
    return x

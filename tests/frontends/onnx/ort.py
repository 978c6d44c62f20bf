"""Models in onnxruntime, to be poisoned there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from tests.oracles.onnx_poison import Run

__all__ = ["session"]


def session(model: onnx.ModelProto, finite: bool = False) -> Run:
    """The model as it stands, without optimization. ``finite``: others in place of NaN and infinities.

    Kernels add a mask of very low numbers to scores, so that these come through what is masked.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    made = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(feeds: Mapping[str, Any]) -> Any:
        given = {
            name: np.nan_to_num(x, nan=50, posinf=40, neginf=-40)
            if finite and x.dtype.kind == "f"
            else x
            for name, x in feeds.items()
        }
        return made.run(None, given)

    return run

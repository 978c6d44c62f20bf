"""Rules: what each ONNX operator reads, as chains of primitives.

A rule is a function of a :class:`~eyeshot.frontends.onnx.calls.Call` and the node's inputs, in the schema's
order and None where left out. It returns each output, one or a list of them: the graph's value (a number), an
array for a constant of known numbers, a Value or Sequence as it stands, or None for an output that is not
there. Shapes are those of the primitives. Registering a name twice raises.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["FOLDABLE", "RULES", "Rule", "load", "rule"]

Rule = Callable[..., Any]

#: Rules by name, ``Conv``; in other domains than ai.onnx ``com.microsoft::FusedConv``.
RULES: dict[str, Rule] = {}

#: Operators whose numbers are worked out where their inputs' are known: the arithmetic of shapes and positions.
#: Each costs a time in proportion to its output at most, and has nothing to do with files, images or patterns.
FOLDABLE = frozenset(
    """Abs Add AffineGrid And ArgMax ArgMin BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
    CastLike Ceil Clip Compress Concat Constant ConstantOfShape CumProd CumSum Div Equal Exp Expand EyeLike
    Flatten Floor Gather GatherElements GatherND Greater GreaterOrEqual Identity IsInf IsNaN Less
    LessOrEqual Log Max Mean Min Mod Mul Neg NonZero Not OneHot Or Pad Pow Range Reciprocal ReduceL1
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape ReverseSequence Round ScatterElements
    ScatterND Shape Sign Size Slice Split Sqrt Squeeze Sub Sum Tile TopK Transpose Trilu Unsqueeze Where
    Xor""".split()
)

MODULES = tuple(
    """attention constants control grids indexing matmul microsoft microsoft_attention microsoft_products
    microsoft_sequences microsoft_views ml nchwc norms pointwise positions quantized recurrent reductions
    resampling scatter sequences signal training views vision windows""".split()
)

_loaded: list[bool] = []


def rule(*names: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register a rule for operators of a domain."""

    def register(function: Rule) -> Rule:
        for name in names:
            full = f"{domain}::{name}" if domain else name
            if full in RULES:
                raise ValueError(f"two rules for {full}")
            RULES[full] = function
        return function

    return register


def load() -> dict[str, Rule]:
    """All rules."""
    if not _loaded:
        _loaded.append(True)
        for name in MODULES:
            importlib.import_module(f"{__name__}.{name}")
    return RULES

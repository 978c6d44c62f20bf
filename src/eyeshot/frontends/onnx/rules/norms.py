"""Normalisation: its own element, and statistics over some dims."""

from __future__ import annotations

from collections.abc import Sequence

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, Value
from eyeshot.frontends.onnx.rules import rule
from eyeshot.frontends.onnx.rules.views import axis_of

__all__ = []


def _per_channel(c: Call, parameters: Sequence[Value | None], shape: Sequence[int]) -> list[int]:
    """Parameters of one number a channel, or one of several channels that follow one another."""
    found = []
    for p in parameters:
        if p is None or (at := c.v(p)) is None:
            continue
        if not p.size or shape[1] % p.size:
            raise c.fail(f"{p.size} parameters for {shape[1]} channels")
        at = families.reshape(c.g, at, (1, p.size, *(1,) * (len(shape) - 2)))
        found.append(families.repeat(c.g, at, 1, shape[1] // p.size) if p.size > 1 else at)
    return found


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(c: Call, x: Value) -> int:
    """Until opset 12 over all dims from ``axis`` on, since then over one."""
    axis = c.attr("axis", -1 if c.opset >= 13 else 1)
    at = c.operand(x)
    if c.opset >= 13:
        return families.norm(c.g, at, (axis_of(c, axis, x.rank),))
    # The last axis may lie behind the last dim: each element is then alone.
    axis = axis_of(c, axis, x.rank + 1) if axis >= 0 else axis_of(c, axis, x.rank)
    return families.norm(c.g, at, tuple(range(axis, x.rank))) if axis < x.rank else at


@rule("LayerNormalization", "RMSNormalization")
def layer_norm(c: Call, x: Value, *parameters: Value | None) -> list[int | None]:
    """Over all dims from ``axis`` on; mean and deviation come out too."""
    dims = tuple(range(axis_of(c, c.attr("axis", -1), x.rank), x.rank))
    values: list[int] = []
    stats = None
    if (at := c.v(x)) is not None:
        stats = families.mix(c.g, at, dims, (1,) * len(dims))
        values = [at, stats]
    values += [at for p in parameters if (at := c.v(p)) is not None]
    y = c.join(values, x.shape)
    return [y, stats, stats]


@rule("GroupNormalization")
def group_norm(c: Call, x: Value, *parameters: Value) -> int:
    """Until opset 20 its parameters are of a group, since then of a channel."""
    groups = c.attr("num_groups")
    if x.rank < 2 or not groups or groups < 1:
        raise c.fail(f"{groups} groups of {list(x.shape)}")
    values = _per_channel(c, parameters, x.shape)
    if (at := c.v(x)) is not None:
        values.append(families.group_norm(c.g, at, groups))
    return c.join(values, x.shape)


@rule("InstanceNormalization")
def instance_norm(c: Call, x: Value, *parameters: Value) -> int:
    if x.rank < 2:
        raise c.fail(f"{list(x.shape)} has no channels")
    values = _per_channel(c, parameters, x.shape)
    if (at := c.v(x)) is not None:
        values.append(families.norm(c.g, at, tuple(range(2, x.rank))) if x.rank > 2 else at)
    return c.join(values, x.shape)


@rule("MeanVarianceNormalization")
def mean_variance(c: Call, x: Value) -> int:
    axes = {axis_of(c, a, x.rank) for a in c.attr("axes", (0, 2, 3))}
    return families.norm(c.g, c.operand(x), tuple(sorted(axes)))


@rule("LpNormalization")
def lp_norm(c: Call, x: Value) -> int:
    return families.norm(c.g, c.operand(x), (axis_of(c, c.attr("axis", -1), x.rank),))

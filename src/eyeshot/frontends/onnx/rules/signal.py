"""Signals: Fourier transforms, alone and of windows, and the constants that go with them."""

from __future__ import annotations

import math
from typing import Any

from onnx import TensorProto

from eyeshot.core import families
from eyeshot.core.primitives import Stencil
from eyeshot.frontends.onnx.calls import Call, NoRule, Value
from eyeshot.frontends.onnx.rules import rule

__all__ = []


@rule("DFT")
def dft(c: Call, x: Value, length: Value | None = None, axis: Value | None = None) -> int:
    """All positions along an axis, real and imaginary parts; a length of its own crops or pads it first.

    ``onesided``: half the frequencies say all of a real signal, of which the inverse makes the signal again.
    """
    if x.rank < 2 or x.shape[-1] not in (1, 2):
        raise c.fail(f"no real and imaginary parts in {list(x.shape)}")
    given = c.ints(axis)
    dim = c.attr("axis", 1) if c.opset < 20 else -2
    if given is not None:
        dim = given[0]
    dim += x.rank if dim < 0 else 0
    if not 0 <= dim < x.rank - 1:
        raise c.fail(f"axis {dim} of {list(x.shape)}")
    one, back = bool(c.attr("onesided", 0)), bool(c.attr("inverse", 0))
    n = x.shape[dim]
    asked = c.ints(length)
    size = asked[0] if asked else (2 * (n - 1) if one and back else n)
    c.shape_of((size,))
    if size < 1:
        raise NoRule("a tensor without elements")
    at = c.operand(x)
    taken = min(n, size // 2 + 1 if one and back else size)
    at = families.narrow(c.g, at, dim, 0, taken)
    kept = size // 2 + 1 if one and not back else size
    return families.mix(c.g, at, (dim, x.rank - 1), (kept, 1 if one and back else 2))


@rule("STFT")
def stft(
    c: Call, x: Value, step: Value, window: Value | None = None, length: Value | None = None
) -> int:
    """A Fourier transform of each window, weighted by a window of numbers.

    PyTorch's exporter leaves out the last dim of a real signal, which runtimes take.
    """
    if x.rank not in (2, 3) or x.shape[2:] not in ((), (1,), (2,)):
        raise c.fail(f"a signal of {list(x.shape)}")
    by, asked = c.ints(step), c.ints(length)
    width = window.shape[0] if window is not None and window.rank == 1 else x.shape[1]
    size = asked[0] if asked else width
    if not by or by[0] < 1 or not 0 < size <= x.shape[1]:
        raise c.fail(f"windows of {size} in steps of {by} on {x.shape[1]} positions")
    taken = min(size, width) if window is not None else size
    bins = size // 2 + 1 if c.attr("onesided", 1) else size
    frames = (x.shape[1] - size) // by[0] + 1
    out = (x.shape[0], frames, bins, 2)
    values = []
    if (at := c.v(x)) is not None:
        if x.rank == 2:
            at = families.unsqueeze(c.g, at, 2)
        taps = families.gathered(taken, by[0], 1, 0)
        at = c.g.add(Stencil(1, taps, frames * taken), at)
        split = (x.shape[0], frames, taken, c.g.shapes[at][2])
        at = families.rearrange(c.g, at, split, range(4), split, (1, 2, 1), (1,) * 4)
        values.append(families.mix(c.g, at, (2, 3), out[2:]))
    if window is not None and (at := c.v(window)) is not None:
        at = families.mix(c.g, at, (0,), (1,))
        values.append(families.reshape(c.g, at, (1,) * 4))
    return c.join(values, out)


# --- constants


@rule("HannWindow", "HammingWindow", "BlackmanWindow")
def window(c: Call, size: Value) -> Value:
    sizes = c.ints(size) or [0]
    return Value(None, c.shape_of((sizes[0],)), c.attr("output_datatype", TensorProto.FLOAT))


@rule("MelWeightMatrix")
def mel_weight_matrix(
    c: Call, bins: Value, length: Value, rate: Value, low: Value, high: Value
) -> Any:
    """Triangles over frequencies: each number is made of all that says where they lie."""
    many, size = c.ints(bins), c.ints(length)
    if not many or not size:
        raise c.fail("neither a number of bins nor a length")
    out = c.shape_of((size[0] // 2 + 1, many[0]))
    values = [at for x in (rate, low, high) if (at := c.v(x)) is not None]
    if not values or not math.prod(out):
        return Value(None, out, c.attr("output_datatype", TensorProto.FLOAT))
    c.dtype = c.attr("output_datatype", TensorProto.FLOAT)
    return c.join([families.reshape(c.g, at, (1, 1)) for at in values], out)

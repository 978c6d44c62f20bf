"""The floor: the receptive field formulas as the plainest of loops, which shares no code with eyeshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import TextIO

__all__ = ["ALEXNET", "fields", "report"]

ALEXNET: dict[str, list[int]] = {
    "conv1": [11, 4, 0],
    "pool1": [3, 2, 0],
    "conv2": [5, 1, 2],
    "pool2": [3, 2, 0],
    "conv3": [3, 1, 1],
    "conv4": [3, 1, 1],
    "conv5": [3, 1, 1],
    "pool5": [3, 2, 0],
    "fc6-conv": [6, 1, 0],
    "fc7-conv": [1, 1, 0],
}
"""AlexNet as [kernel, stride, padding]."""

Row = tuple[str, int, int, int, float]


def fields(layers: Mapping[str, Sequence[int]], n: int) -> list[Row]:
    """(name, size, field, jump, start) of every layer on an input of ``n`` elements."""
    jump, field, start = 1, 1, 0.5
    rows: list[Row] = []
    for name, (kernel, stride, padding) in layers.items():
        n = floor((n + 2 * padding - kernel) / stride) + 1
        start += ((kernel - 1) / 2 - padding) * jump
        field += (kernel - 1) * jump
        jump *= stride
        rows.append((name, n, field, jump, start))
    return rows


def report(layers: Mapping[str, Sequence[int]], n: int, out: TextIO) -> None:
    """The same, printed as one block a layer."""
    print("------", file=out)
    print(f"input_layer: n = {n}; r = 1; j = 1; start = 0.5", file=out)
    print("------", file=out)
    for name, size, field, jump, start in fields(layers, n):
        print("------", file=out)
        print(f"{name}: n = {size}; r = {field}; j = {jump}; start = {start}", file=out)
        print("------", file=out)

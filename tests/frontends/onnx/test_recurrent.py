"""Recurrences against poisoning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model
from tests.oracles import onnx_poison

STEPS, BATCH, FEATURES, HIDDEN = 3, 3, 2, 2
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
OUTPUTS = {"RNN": 2, "GRU": 2, "LSTM": 3}


def inputs(op: str, steps: int = STEPS, ways: int = 1, batched: bool = False) -> list[Any]:
    """Sequence, weights, biases, no lengths, first states and peepholes."""
    rng = np.random.default_rng(0)
    gates = GATES[op]
    shapes: list[tuple[int, ...]] = [
        (steps, BATCH, FEATURES),
        (ways, gates * HIDDEN, FEATURES),
        (ways, gates * HIDDEN, HIDDEN),
        (ways, 2 * gates * HIDDEN),
        (0,),
        (ways, BATCH, HIDDEN),
    ]
    if op == "LSTM":
        shapes += [(ways, BATCH, HIDDEN), (ways, 3 * HIDDEN)]
    arrays: list[Any] = [(rng.standard_normal(s) / 2).astype(np.float32) for s in shapes]
    arrays[4] = None
    if batched:
        for k in (0, 5, 6):
            if k < len(arrays):
                arrays[k] = np.ascontiguousarray(arrays[k].swapaxes(0, 1))
    return arrays


def model_of(op: str, arrays: list[Any], fixed: Any = (), **attributes: Any) -> Any:
    given = [x for k, x in enumerate(arrays) if k not in fixed]
    constants = {k: arrays[k] for k in fixed if k < len(arrays) and arrays[k] is not None}
    return node_model(
        op, *given, outputs=OUTPUTS[op], constants=constants, hidden_size=HIDDEN, **attributes
    )


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_all_inputs(op: str, direction: str, steps: int) -> None:
    """Weights and first states too."""
    arrays = inputs(op, steps, 1 + (direction == "bidirectional"))
    assert_agrees(*model_of(op, arrays, direction=direction))


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("fixed", [(1, 2, 3, 7), (0, 1, 2, 3, 7), (0, 2, 3, 5, 6, 7)])
def test_constants(op: str, fixed: tuple[int, ...]) -> None:
    assert_agrees(*model_of(op, inputs(op), fixed))


@pytest.mark.parametrize("op", GATES)
def test_sequence_alone(op: str) -> None:
    assert_agrees(*model_of(op, inputs(op, 4)[:3], (1, 2), direction="reverse"))


@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("linear", [0, 1])
def test_reset(steps: int, linear: int) -> None:
    """Where the reset gate comes before the product, a unit reads all of it."""
    assert_agrees(*model_of("GRU", inputs("GRU", steps), linear_before_reset=linear))


@pytest.mark.parametrize("op", GATES)
def test_batch_first(op: str) -> None:
    """The evaluator knows one direction."""
    assert_agrees(*model_of(op, inputs(op, batched=True), layout=1))


def ragged(op: str, lengths: list[int], **attributes: Any) -> Callable[[Any], list[Any]]:
    """The evaluator with each sequence by itself, as long as it is: it has no lengths of its own."""
    runs = {}
    for n in set(lengths):
        arrays = inputs(op, n, 1 + (attributes.get("direction") == "bidirectional"))
        one = [a if a is None or k not in (0, 5, 6) else a[:, :1] for k, a in enumerate(arrays)]
        runs[n] = onnx_poison.evaluator(model_of(op, one, **attributes)[0])

    def run(given: Any) -> list[Any]:
        found = []
        for b, n in enumerate(lengths):
            own = {
                k: v[:n, b : b + 1] if k == "x0" else v[:, b : b + 1] if k in ("x5", "x6") else v
                for k, v in given.items()
                if k != "x4"
            }
            y, *last = runs[n](own)
            found.append([np.pad(y, [(0, STEPS - n)] + [(0, 0)] * 3), *last])
        axes = (2, 1, 1)
        return [
            np.concatenate(x, axis) for x, axis in zip(zip(*found, strict=True), axes, strict=False)
        ]

    return run


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [[3, 2, 3], [1, 3, 2], [2, 2, 2]])
def test_lengths(op: str, direction: str, lengths: list[int]) -> None:
    """Behind its end a sequence is not read, and nothing comes out."""
    arrays = inputs(op, STEPS, 1 + (direction == "bidirectional"))
    arrays[4] = np.array(lengths, dtype=np.int32)
    model, feeds = model_of(op, arrays, (4,), direction=direction)
    assert_agrees(model, feeds, run=ragged(op, lengths, direction=direction))


@pytest.mark.parametrize("op", GATES)
def test_unknown_lengths(op: str) -> None:
    arrays = inputs(op)
    arrays[4] = np.array([3, 3, 3], dtype=np.int32)
    model, feeds = model_of(op, arrays, (1, 2, 3))

    def run(given: Any) -> list[Any]:
        lengths = [int(n) for n in np.clip(given["x4"], 1, STEPS)]
        held = {f"x{k}": arrays[k] for k in (1, 2, 3)}
        return ragged(op, lengths)({**held, **given})

    assert_agrees(model, feeds, status="bound", run=run)


def test_no_steps() -> None:
    """What the last state then is, the standard does not say."""
    arrays = inputs("LSTM")
    arrays[4] = np.array([0, 3, 3], dtype=np.int32)
    model, feeds = model_of("LSTM", arrays, (4,))

    def run(given: Any) -> list[Any]:
        second = {k: v[:, 1:] if k in ("x0", "x5", "x6") else v for k, v in given.items()}
        one = [
            a if a is None or k not in (0, 5, 6) else a[:, 1:] for k, a in enumerate(inputs("LSTM"))
        ]
        y, *last = onnx_poison.evaluator(model_of("LSTM", one)[0])(second)
        states = [given["x5"][:, :1], given["x6"][:, :1]]
        ends = [np.concatenate(pair, 1) for pair in zip(states, last, strict=True)]
        return [np.pad(y, [(0, 0), (0, 0), (1, 0), (0, 0)]), *ends]

    assert_agrees(model, feeds, status="bound", run=run)


@pytest.mark.parametrize(
    "place, shape, line",
    [
        (1, (1, 6, 2), "weights"),
        (5, (1, 4, 2), r"a first state \[1, 4, 2\], not \[1, 3, 2\]"),
        (0, (3, 2), "an input of 2 dims"),
    ],
)
def test_wrong(place: int, shape: tuple[int, ...], line: str) -> None:
    arrays = inputs("LSTM")
    arrays[place] = np.zeros(shape, dtype=np.float32)
    with pytest.raises(EyeshotError, match=line):
        assert_agrees(*model_of("LSTM", arrays))


def test_wrong_lengths() -> None:
    arrays = inputs("GRU")
    arrays[4] = np.array([4, 3, 3], dtype=np.int32)
    with pytest.raises(EyeshotError, match=r"lengths \[4, 3, 3\] of 3 sequences of 3 steps"):
        assert_agrees(*model_of("GRU", arrays, (4,)))


@pytest.mark.parametrize("op, linear", [("RNN", None), ("GRU", 0), ("GRU", 1), ("LSTM", None)])
@pytest.mark.parametrize("place", [1, 2, 3, 7])
def test_each_gate_of_one_step(op: str, linear: int | None, place: int) -> None:
    """Each gate's rows by themselves: hulls do not show which lie between others."""
    arrays = inputs(op, 1)
    if place >= len(arrays):
        return
    more = {} if linear is None else {"linear_before_reset": linear}
    model, _ = model_of(op, arrays, (0, 1, 2, 3, 5, 6, 7), **more)
    helper, held = onnx.helper, arrays[place]
    count = held.shape[1] // HIDDEN
    del model.graph.output[:]
    for j in range(count):
        one = onnx.ModelProto()
        one.CopyFrom(model)
        parts = np.split(held, count, 1)
        names = [f"p{i}" for i in range(count)]
        for i, (name, part) in enumerate(zip(names, parts, strict=True)):
            if i != j:
                one.graph.initializer.append(onnx.numpy_helper.from_array(part, name))
        one.graph.input.append(helper.make_tensor_value_info(names[j], 1, parts[j].shape))
        one.graph.node[0].input[place] = "whole"
        one.graph.node.insert(0, helper.make_node("Concat", names, ["whole"], axis=1))
        outputs = [onnx.ValueInfoProto(name=name) for name in one.graph.node[1].output]
        one.graph.output.extend(outputs)
        assert_agrees(one, {names[j]: parts[j]})

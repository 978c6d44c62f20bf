"""Closed forms against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import eyeshot
from eyeshot.analysis.report import Canvas


def spec(shape: list[int], **layers: Any) -> dict[str, Any]:
    return {"input": shape, "layers": layers}


def canvas(source: dict[str, Any], layer: str, axis: int = 0) -> Canvas | None:
    return eyeshot.analyze(source)[layer].fields[axis].canvas


def test_a_transposed_convolution_has_a_phase_per_stride() -> None:
    # Output i reads every p with 2p = i + 1 - t for t in 0, 1, 2: odd outputs one, even outputs two.
    up = {"op": "conv_transpose", "kernel": 3, "stride": 2, "padding": 1}
    assert canvas(spec([1, 9], up=up), "up") == Canvas(2, 1, (0, 0), (1, 2))


def test_a_kernel_shorter_than_its_stride_leaves_empty_phases() -> None:
    up = {"op": "conv_transpose", "kernel": 1, "stride": 3}
    report = eyeshot.analyze(spec([1, 4, 4], up=up))
    layer = report["up"]
    assert layer.fields[0].canvas == Canvas(3, 1, (0, 0, 0), (1, 0, 0))
    assert layer.size == (1, 1)
    # A unit that reads nothing along one axis reads nothing along the other.
    assert layer.box((3, 3)) == ((1, 2), (1, 2))
    assert layer.box((3, 4)) == ((0, 0), (0, 0))
    assert layer.boxes()[3, 4].tolist() == [[0, 0], [0, 0]]


def test_upsampling_by_eight_gives_eight_phases_that_differ() -> None:
    source = spec(
        [1, 64],
        down={"op": "avg_pool", "kernel": 8},
        up={"op": "upsample", "scale": 8},
        conv={"op": "conv", "kernel": 3, "padding": 1},
    )
    assert canvas(source, "up") == Canvas(8, 8, (0,) * 8, (8,) * 8)
    assert canvas(source, "conv") == Canvas(8, 8, (-8,) + (0,) * 7, (8,) * 7 + (16,))
    assert eyeshot.analyze(source)["conv"].jump == (1,)


def test_phases_fall_together_again_after_a_stride() -> None:
    source = spec(
        [1, 64], up={"op": "upsample", "scale": 6}, down={"op": "slice", "dim": 2, "step": 4}
    )
    # 6 phases read through a stride of 4 leave 6 / gcd(6, 4) = 3.
    assert canvas(source, "down") == Canvas(3, 2, (0, 0, 1), (1, 1, 2))
    assert eyeshot.analyze(source)["down"].jump[0] == pytest.approx(2 / 3)
    assert str(eyeshot.analyze(source)["down"].jump[0]) == "2/3"


def test_a_flip_runs_backwards() -> None:
    assert canvas(spec([1, 10], flip="flip"), "flip") == Canvas(1, -1, (9,), (10,))


def test_equal_rates_join_over_the_lcm_of_their_periods() -> None:
    source = spec(
        [1, 12],
        two={"op": "avg_pool", "kernel": 2},
        up2={"op": "upsample", "scale": 2},
        three={"op": "avg_pool", "kernel": 3, "inputs": "input"},
        up3={"op": "upsample", "scale": 3},
        sum={"op": "add", "inputs": ["up2", "up3"]},
    )
    assert canvas(source, "sum") == Canvas(6, 6, (0, 0, 0, 2, 3, 3), (3, 3, 4, 6, 6, 6))


def test_unequal_rates_have_no_canvas_but_exact_boxes() -> None:
    source = spec(
        [1, 16],
        half={"op": "avg_pool", "kernel": 2},
        head={"op": "slice", "dim": 2, "stop": 8, "inputs": "input"},
        sum={"op": "add", "inputs": ["half", "head"]},
    )
    layer = eyeshot.analyze(source)["sum"]
    (field,) = layer.fields
    assert (field.canvas, field.jump, field.status) == (None, None, "exact")
    assert layer.boxes()[:, 0].tolist() == [[i, 2 * i + 2] for i in range(8)]
    assert layer.box((7,)) == ((7, 16),)
    assert layer.size == (9,)


def test_a_running_sum_has_no_end_in_the_past() -> None:
    source = spec([1, 5], down={"op": "conv", "kernel": 3, "stride": 2, "padding": 1}, sum="cumsum")
    layer = eyeshot.analyze(source)["sum"]
    assert layer.fields[0].canvas == Canvas(1, 2, (-math.inf,), (2,))
    assert layer.size == (math.inf,)
    assert layer.box((1,)) == ((-math.inf, 4),)
    assert layer.boxes()[:, 0].tolist() == [[0, 2], [0, 4], [0, 5]]
    assert not layer.is_global


def test_a_gate_is_global_beside_the_local_field() -> None:
    source = spec(
        [4, 9, 9],
        conv={"op": "conv", "kernel": 3, "padding": 1},
        squeeze="global_avg_pool",
        excite={"op": "conv", "kernel": 1},
        scale={"op": "mul", "inputs": ["conv", "excite"]},
    )
    report = eyeshot.analyze(source)
    scale = report["scale"]
    assert (scale.size, scale.is_global, scale.unit_dims) == ((3, 3), True, (2, 3))
    assert scale.box((0, 4)) == ((-1, 2), (3, 6))
    assert (scale.boxes() == [[0, 9], [0, 9]]).all()
    assert (report["squeeze"].unit_dims, report["squeeze"].size) == ((), (9, 9))


def test_channels_keep_their_branches_apart() -> None:
    layers = {
        "near": {"op": "conv", "kernel": 1, "inputs": "input"},
        "far": {"op": "conv", "kernel": 5, "padding": 2, "inputs": "input"},
        "cat": {"op": "concat", "inputs": ["near", "far"]},
        "first": {"op": "slice", "dim": 1, "stop": 4},
        "grouped": {"op": "conv", "kernel": 3, "padding": 1, "groups": 2, "inputs": "cat"},
        "head": {"op": "slice", "dim": 1, "stop": 4},
        "tail": {"op": "slice", "dim": 1, "start": 4, "inputs": "grouped"},
        "shuffled": {"op": "channel_shuffle", "groups": 2, "inputs": "grouped"},
        "even": {"op": "index", "dim": 1, "index": [0, 2, 4, 6]},
        "odd": {"op": "index", "dim": 1, "index": [1, 3, 5, 7], "inputs": "shuffled"},
    }
    report = eyeshot.analyze({"input": [4, 16], "layers": layers})
    sizes = {name: report[name].size[0] for name in report._names}
    assert sizes["cat"] == 5
    assert sizes["first"] == 1
    assert (sizes["grouped"], sizes["head"], sizes["tail"]) == (7, 3, 7)
    assert (sizes["shuffled"], sizes["even"], sizes["odd"]) == (7, 3, 7)
    assert all(layer.fields[0].canvas is not None for layer in report)


@pytest.mark.parametrize("shift", [0, 3])
def test_shifted_windows_by_rearranging_are_window_attention(shift: int) -> None:
    """Cut into windows by reshapes and permutations, or said in one word: the same closed form."""
    by_hand = spec(
        [3, 56, 84],
        patch={"op": "conv", "kernel": 4, "stride": 4, "channels": 6},
        roll={"op": "roll", "shift": -shift},
        split={"op": "reshape", "shape": [1, 6, 2, 7, 3, 7]},
        order={"op": "permute", "order": [0, 2, 4, 3, 5, 1]},
        windows={"op": "reshape", "shape": [6, 49, 6]},
        attention={"op": "attention", "dims": [1]},
        open={"op": "reshape", "shape": [1, 2, 3, 7, 7, 6]},
        back={"op": "permute", "order": [0, 5, 1, 3, 2, 4]},
        join={"op": "reshape", "shape": [1, 6, 14, 21]},
        unroll={"op": "roll", "shift": shift},
        out={"op": "conv", "kernel": 3, "padding": 1},
    )
    in_a_word = spec(
        [3, 56, 84],
        patch={"op": "conv", "kernel": 4, "stride": 4, "channels": 6},
        attention={"op": "attention", "kind": "window", "window": 7, "shift": shift},
        out={"op": "conv", "kernel": 3, "padding": 1},
    )
    a, b = eyeshot.analyze(by_hand)["out"], eyeshot.analyze(in_a_word)["out"]
    assert a.fields == b.fields
    assert a.fields[0].canvas is not None and a.fields[0].canvas.period == 7
    assert np.array_equal(a.boxes(), b.boxes())


def test_tokens_keep_rows_and_columns() -> None:
    source = spec(
        [3, 32, 48],
        patch={"op": "conv", "kernel": 8, "stride": 8, "channels": 5},
        tokens={"op": "flatten", "start": 2},
        turned={"op": "permute", "order": [0, 2, 1]},
        mlp={"op": "linear", "features": 7},
        back={"op": "permute", "order": [0, 2, 1]},
        map={"op": "reshape", "shape": [1, 7, 4, 6]},
    )
    report = eyeshot.analyze(source)
    assert report["mlp"].unit_dims == (1,)
    assert report["mlp"].box((9,)) == ((8, 16), (24, 32))
    rows, columns = report["mlp"].fields
    assert rows.canvas == Canvas(6, 8, (0,) * 6, (8,) * 6)
    assert columns.canvas == Canvas(6, 0, (0, 8, 16, 24, 32, 40), (8, 16, 24, 32, 40, 48))
    assert report["map"].fields == tuple(
        field._replace(n=n, dim=dim)
        for field, n, dim in zip(report["patch"].fields, (4, 6), (2, 3), strict=True)
    )


def test_a_class_token_leaves_the_patches_a_closed_form() -> None:
    source = {
        "inputs": {"image": [3, 32], "token": [5, 1]},
        "layers": {
            "patch": {"op": "conv", "kernel": 8, "stride": 8, "channels": 5, "inputs": "image"},
            "cat": {"op": "concat", "dim": 2, "inputs": ["token", "patch"]},
            "mlp": {"op": "conv", "kernel": 1},
            "patches": {"op": "slice", "dim": 2, "start": 1},
        },
    }
    report = eyeshot.analyze(source)
    assert report["mlp"].boxes()[:, 0].tolist() == [[0, 0], [0, 8], [8, 16], [16, 24], [24, 32]]
    assert report["patches"].fields[0].canvas == Canvas(1, 8, (0,), (8,))
    assert report["patches"].size == (8, 0)


def test_pixel_shuffle_and_back_is_nothing() -> None:
    source = spec(
        [8, 6, 10],
        conv={"op": "conv", "kernel": 3, "stride": 2, "padding": 1},
        shuffle={"op": "pixel_shuffle", "factor": 2},
        back={"op": "pixel_unshuffle", "factor": 2},
    )
    report = eyeshot.analyze(source)
    assert report["shuffle"].jump == (1, 1)
    assert report["back"].fields == report["conv"].fields


def test_reflected_reads_are_covered_by_the_box() -> None:
    source = spec(
        [1, 8],
        pad={"op": "pad", "padding": 3, "mode": "reflect"},
        conv={"op": "conv", "kernel": 3},
    )
    layer = eyeshot.analyze(source)["conv"]
    assert layer.fields[0].canvas == Canvas(1, 1, (-3,), (0,))
    assert layer.boxes()[:2, 0].tolist() == [[1, 4], [0, 3]]
    assert layer.box((0,)) == ((-3, 4),)
    assert layer.box((5,)) == ((2, 5),)


def test_a_jump_that_can_not_be_counted_is_an_error() -> None:
    # A map of one unit can be strided for ever; its jump doubles each time.
    layers = {f"l{k}": [1, 2, 0] for k in range(60)}
    with pytest.raises(eyeshot.EyeshotError, match="l52: the jump passes"):
        eyeshot.analyze(layers, input=1)


def test_the_canvas_does_not_look_at_the_input_size() -> None:
    layers = {"a": [7, 2, 3], "b": [3, 2, 1]}
    small = eyeshot.analyze(layers, input=64)
    large = eyeshot.analyze(layers, input=10**12)
    for name in layers:
        one, other = small[name].fields[0], large[name].fields[0]
        assert one._replace(n=0) == other._replace(n=0)
    with pytest.raises(eyeshot.EyeshotError, match="ask for a smaller input"):
        large["a"].boxes()

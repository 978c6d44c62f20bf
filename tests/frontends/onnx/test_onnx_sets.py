"""Sets of single units of ONNX models: against poisoning, element by element.

``EYESHOT_FUZZ`` is the number of random graphs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

import eyeshot
from tests.frontends.onnx import backend
from tests.frontends.onnx.agree import reported
from tests.frontends.onnx.ort import session
from tests.frontends.onnx.test_light import light
from tests.frontends.onnx.test_onnx_fuzz import models, runner
from tests.oracles import onnx_poison

EXAMPLES = int(os.environ.get("EYESHOT_FUZZ", "40"))
RNG = np.random.default_rng(0)


def assert_sets(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], run: Any) -> None:
    """Every unit's set is what poisoning shows, element by element of every input."""
    axes = {name: tuple(range(x.ndim)) for name, x in feeds.items()}
    report, rows = reported(model, dict(feeds), axes)
    name = model.graph.output[0].name
    if name not in rows:
        return
    layer = report[rows[name]]
    dims = layer.unit_dims
    others = tuple(d for d in range(len(layer.shape)) if d not in dims)

    def flat(given: Mapping[str, Any]) -> Any:
        return run({key: given[key].reshape(x.shape) for key, x in feeds.items()})[:1]

    # A line of all elements: each is spoilt alone.
    poison = onnx_poison.Poison(flat, {key: x.reshape(-1) for key, x in feeds.items()})
    assert poison.outputs[0] is not None
    assert poison.outputs[0].shape == layer.shape
    extents = tuple(layer.shape[d] for d in dims)
    sets = {key: np.zeros((*extents, *x.shape), bool) for key, x in feeds.items()}
    for at in np.ndindex(extents):
        unit = report.unit(layer.name, at)
        for part in unit.parts:
            sets[part.name][at] = part.mask
            assert not part.mass[~part.mask].any()
    for k in range(64):
        poison.round()
        seen = {}
        for key, x in feeds.items():
            found = poison.found[key, 0][0]
            assert found is not None
            hit = np.moveaxis(found, 0, -1).any(axis=others)
            seen[key] = hit.reshape(*extents, *x.shape)
        if k >= 2 and all((seen[key] == sets[key]).all() for key in feeds):
            break
    for key in feeds:
        if layer.status == "exact":
            np.testing.assert_array_equal(sets[key], seen[key], err_msg=f"{key}: ours, then seen")
        else:
            assert (sets[key] | ~seen[key]).all(), key


@given(models())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_sets_of_random_graphs(made: tuple[onnx.ModelProto, dict[str, np.ndarray]]) -> None:
    model, feeds = made
    if not model.graph.node:
        return
    try:
        assert_sets(model, feeds, runner(model))
    except Exception as error:
        if re.search("no output of the model depends|larger than its input", str(error)):
            return
        error.add_note(onnx.printer.to_text(model))
        raise


def graph(text: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model in the notation of ``onnx.parser``, and numbers for its inputs."""
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 19]> {text}')
    feeds = {}
    for info in model.graph.input:
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        feeds[info.name] = RNG.standard_normal(shape).astype(np.float32)
    return model, feeds


HAND = {
    "borders": """g (float[1, 1, 7] x) => (y) {
        s = Constant <value = int64[6] {0, 0, 2, 0, 0, 3}> ()
        a = Pad <mode = "reflect"> (x, s)
        w = Constant <value = float[1, 1, 3] {1, 2, 3}> ()
        y = Conv <pads = [1, 1], strides = [2]> (a, w)
    }""",
    "around": """g (float[1, 1, 7] x) => (y) {
        s = Constant <value = int64[6] {0, 0, 2, 0, 0, 1}> ()
        a = Pad <mode = "wrap"> (x, s)
        w = Constant <value = float[1, 1, 2] {1, 2}> ()
        y = Conv <dilations = [3]> (a, w)
    }""",
    "holes": """g (float[1, 1, 9, 9] x) => (y) {
        w = Constant <value = float[1, 1, 2, 2] {1, 2, 3, 4}> ()
        a = Conv <dilations = [2, 3], pads = [1, 1, 1, 1]> (x, w)
        y = Conv <dilations = [3, 2]> (a, w)
    }""",
    "phases": """g (float[1, 1, 4, 3] x) => (y) {
        v = Constant <value = float[1, 1, 2, 2] {1, 2, 3, 4}> ()
        a = ConvTranspose <strides = [3, 2]> (x, v)
        w = Constant <value = float[1, 1, 3, 1] {1, 2, 3}> ()
        y = Conv <pads = [1, 0, 1, 0]> (a, w)
    }""",
    "windows": """g (float[1, 1, 4, 6] x) => (y) {
        s = Constant <value = int64[5] {2, 2, 2, 3, 1}> ()
        a = Reshape (x, s)
        b = Transpose <perm = [0, 2, 1, 3, 4]> (a)
        t = Constant <value = int64[2] {4, 6}> ()
        c = Reshape (b, t)
        d = Softmax <axis = 1> (c)
        u = Constant <value = int64[1] {1}> ()
        y = CumSum (d, u)
    }""",
    "two ways": """g (float[1, 2, 6] x, float[1, 1, 6] z) => (y) {
        v = Constant <value = float[2, 1, 3] {1, 2, 3, 4, 5, 6}> ()
        a = Conv <group = 2, pads = [1, 1]> (x, v)
        b = Mul (a, z)
        c = Concat <axis = 1> (b, x)
        r = Constant <value = int64[1] {2}> ()
        m = ReduceMean <keepdims = 1> (z, r)
        y = Add (c, m)
    }""",
}


@pytest.mark.parametrize("name", HAND)
def test_sets_of_graphs_by_hand(name: str) -> None:
    model, feeds = graph(HAND[name])
    assert_sets(model, feeds, session(model))


SEEN = (
    "maxpool_2d_precomputed_pads convtranspose_1d convtranspose_pad depthtospace_example spacetodepth_example "
    "resize_upsample_scales_cubic_asymmetric col2im_dilations "
    "gridsample_reflection_padding reflect_pad basic_conv_with_padding group_normalization_example "
    "scatter_elements_with_axis tril slice_neg_steps cumsum_2d_axis_0"
).split()


@pytest.mark.parametrize("name", SEEN)
def test_sets_of_cases_of_the_onnx_package(name: str) -> None:
    case = backend.load(f"node/test_{name}")
    # The reference evaluator leaves out what has no weight.
    exact = session(case.model) if "resize" in name else onnx_poison.evaluator(case.model)
    assert_sets(case.model, case.feeds, exact)


@pytest.mark.parametrize("name", ["bvlc_alexnet", "inception_v1", "shufflenet", "resnet50"])
def test_light_graphs(name: str) -> None:
    """The set's hull is the exact box that the image engine found from the other end, layer by layer."""
    report = eyeshot.analyze(light(name))
    rng = np.random.default_rng(0)
    maps = [layer for layer in report if len(layer.unit_dims) == 2]
    for layer in maps[:: max(1, len(maps) // 12)]:
        boxes = layer.boxes()
        for at in [(0, 0), tuple(int(rng.integers(n)) for n in boxes.shape[:2])]:
            unit = report.unit(layer.name, at)
            assert unit.clipped == tuple(map(tuple, boxes[at].tolist())), (layer.name, at)
            assert unit.mask_in_box[0].any()
            assert unit.mask_in_box[:, -1].any()

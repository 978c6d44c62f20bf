"""``eyeshot.tile`` on numpy, torch and dask arrays, against the network run on the whole."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eyeshot

torch = pytest.importorskip("torch")
dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
nn = torch.nn


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """Down by two and up again, joined to the input's own size: any size will do."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.low = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(7, 2, 1)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.first(x)).relu_()
        low = self.low(nn.functional.max_pool2d(x, 2, ceil_mode=True))
        low = low.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return self.last(torch.cat([x, low[:, :, : x.shape[2], : x.shape[3]]], 1))


def built(module: Any, dtype: Any = torch.float64) -> Any:
    """The module in training mode, with statistics that evaluation mode shows."""
    torch.manual_seed(1)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_()
            m.running_var.uniform_(0.5, 2)
    return module.to(dtype).train()


def whole(module: Any, array: Any) -> np.ndarray:
    """The module on all of it, in evaluation mode."""
    was = module.training
    with torch.no_grad():
        out = module.eval()(torch.as_tensor(np.asarray(array)))
    module.train(was)
    return np.asarray(out)


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def planned(module: Any, shape: tuple[int, ...], tile: Any, batch: int = 1) -> eyeshot.TilePlan:
    return eyeshot.tile_plan(module, shape, tile=tile, batch=batch, trial=False)


# --- numpy and torch


@pytest.mark.parametrize("kind", ["numpy", "torch", "dask"])
def test_a_batch_is_one_also_where_no_layer_tells_the_number_of_dims(kind: str) -> None:
    module = nn.Upsample(scale_factor=2, mode="nearest")
    x = image(3, 2, 20, 31)
    given = {"numpy": lambda: x, "torch": lambda: torch.tensor(x), "dask": lambda: da.from_array(x)}
    found = eyeshot.tile(module, given[kind](), tile=8, dtype="float64")
    assert tuple(found.shape) == (3, 2, 40, 62)
    assert np.array_equal(np.asarray(found), x.repeat(2, 2).repeat(2, 3))


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (3, 1), (4, 2), (1, 3)])
def test_numpy_equals_the_whole(batch: int, workers: int) -> None:
    net, x = built(Net()), image(2, 2, 39, 30)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    plan = planned(net, x.shape, (8, 12), batch)
    seen: list[tuple[int, int]] = []
    out = eyeshot.tile(net, x, plan=plan, workers=workers, progress=lambda *at: seen.append(at))
    assert isinstance(out, np.ndarray) and out.dtype == np.float64
    np.testing.assert_allclose(out, whole(net, x), rtol=0, atol=1e-12)
    assert net.training and all(m.training for m in net.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    done = [n for n, _ in seen]
    assert done == sorted(set(done)) and seen[-1] == (len(plan), len(plan))


def test_a_torch_tensor_stays_one() -> None:
    net = built(Net())
    x = torch.from_numpy(image(1, 2, 25, 26)).requires_grad_()
    threads = torch.get_num_threads()
    for workers in (1, 2):
        out = eyeshot.tile(net, x, plan=planned(net, tuple(x.shape), 8), workers=workers)
        assert isinstance(out, torch.Tensor) and out.device == x.device
        assert not out.requires_grad and out.dtype == torch.float64
        np.testing.assert_allclose(out.numpy(), whole(net, x.detach()), rtol=0, atol=1e-12)
    assert torch.get_num_threads() == threads
    assert net.training


class Shuffle(nn.Sequential):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.PReLU(),
            nn.Conv2d(4, 9, 3, padding=1),
            nn.PixelShuffle(3),
        )


def test_a_module_runs_on_tensors_without_a_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = built(Shuffle()), torch.from_numpy(image(1, 1, 20, 20))
    plan = planned(net, tuple(x.shape), 8)
    want = whole(net, x)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it became a numpy array")

    monkeypatch.setattr(torch.Tensor, "numpy", refuse)
    monkeypatch.setattr(torch.Tensor, "__array__", refuse)
    monkeypatch.setattr(torch, "from_numpy", refuse)
    out = eyeshot.tile(net, x, plan=plan)
    monkeypatch.undo()
    np.testing.assert_allclose(out.numpy(), want, rtol=0, atol=1e-12)


CASES = {
    "pixel shuffle": (Shuffle, (1, 1, 17, 14), 5),
    "valid": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 5), nn.ReLU(), nn.Conv2d(3, 2, 3)),
        (2, 1, 21, 30),
        7,
    ),
    "strided": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), (1, 2, 23, 22), 6),
    "1-D": (lambda: nn.Conv1d(2, 3, 5, padding=4, dilation=2), (3, 2, 47), 9),
    "3-D": (
        lambda: nn.Sequential(
            nn.Conv3d(1, 2, 3, padding=1), nn.MaxPool3d(2), nn.Conv3d(2, 1, 3, padding=1)
        ),
        (1, 1, 12, 11, 14),
        4,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_of_every_kind(name: str) -> None:
    build, shape, size = CASES[name]
    net, x = built(build()), image(*shape)
    plan = planned(net, shape, size, batch=2)
    assert len(plan) > 1
    want = whole(net, x)
    np.testing.assert_allclose(eyeshot.tile(net, x, plan=plan), want, rtol=0, atol=1e-12)
    lazy = eyeshot.tile(net, da.from_array(x, chunks=7), plan=plan)
    assert lazy.shape == want.shape
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), want, rtol=0, atol=1e-12)


def test_without_a_plan_one_is_made() -> None:
    net, x = built(Net(), torch.float32), image(1, 2, 24, 18).astype(np.float32)
    out = eyeshot.tile(net, x, tile=8)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, whole(net, x), rtol=1e-5, atol=1e-6)
    assert net.training


def test_crops_come_in_the_models_dtype() -> None:
    net = built(Net(), torch.float32)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 2, 20, 21), dtype=np.uint8)
    plan = planned(net, pixels.shape, 8)
    want = whole(net, pixels.astype(np.float32))
    out = eyeshot.tile(net, pixels, plan=plan)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-4)
    lazy = eyeshot.tile(net, da.from_array(pixels, chunks=10), plan=plan)
    assert lazy.dtype == np.float32 == lazy.compute(scheduler="sync").dtype
    double = eyeshot.tile(net, torch.from_numpy(pixels).double(), plan=plan)
    assert double.dtype == torch.float32


def test_the_users_array_is_not_written_to() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), built(Net()))
    x = image(1, 2, 20, 21)
    want = whole(net, x.copy())
    plan = planned(net, x.shape, 8)
    kept = x.copy()
    x.flags.writeable = False
    np.testing.assert_allclose(eyeshot.tile(net, x, plan=plan), want, rtol=0, atol=1e-12)
    tensor = torch.from_numpy(kept.copy())
    out = eyeshot.tile(net, tensor, plan=plan)
    np.testing.assert_allclose(out.numpy(), want, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(tensor.numpy(), kept)


def test_nans_pass_on_and_reach_what_they_reach_in_the_whole() -> None:
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(3)))
    built(net)
    x = image(1, 1, 30, 30)
    x[0, 0, 9, 17] = x[0, 0, 29, 0] = np.nan
    x[0, 0, 20, 5] = np.inf
    out, want = eyeshot.tile(net, x, plan=planned(net, x.shape, 8)), whole(net, x)
    assert 49 < np.isnan(want).sum() < 200
    np.testing.assert_array_equal(np.isnan(out), np.isnan(want))


# --- functions


def blurred(x: np.ndarray) -> np.ndarray:
    """The mean of three along the last axis and of two by two neighbours joined; nothing of PyTorch's."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 1)])
    mean = padded[..., :-2] + 2.0 * padded[..., 1:-1] + 4.0 * padded[..., 2:]
    return mean[..., 0 : mean.shape[-1] // 2 * 2 : 2] - mean[..., 1 : mean.shape[-1] // 2 * 2 : 2]


BLUR = {
    "input": [1, 64],
    "layers": {
        "blur": {"op": "conv", "kernel": 3, "padding": 1},
        "halve": {"op": "conv", "kernel": 2, "stride": 2},
    },
}


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_function_on_any_chunks(data: Any) -> None:
    n = data.draw(st.integers(4, 60))
    samples = data.draw(st.integers(1, 3))
    plan = eyeshot.tile_plan(
        BLUR,
        (samples, 1, n),
        tile=2 * data.draw(st.integers(1, 12)),
        batch=data.draw(st.integers(1, 4)),
        trial=False,
    )
    x = np.arange(samples * n, dtype=float).reshape(samples, 1, n) ** 2 % 17
    want = blurred(x)
    np.testing.assert_array_equal(eyeshot.tile(blurred, x, plan=plan), want)
    cuts = sorted(data.draw(st.sets(st.integers(1, n - 1), max_size=6)))
    chunks = tuple(b - a for a, b in itertools.pairwise([0, *cuts, n]))
    lazy = eyeshot.tile(blurred, da.from_array(x, chunks=((1,) * samples, (1,), chunks)), plan=plan)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), want)
    at = data.draw(st.integers(0, want.shape[-1] - 1))
    np.testing.assert_array_equal(lazy[..., at].compute(scheduler="sync"), want[..., at])


def test_a_function_gets_what_the_array_is_in_the_plans_batches() -> None:
    shape = (1, 1, 100)
    plan = eyeshot.tile_plan(BLUR, shape, tile=10, batch=4, trial=False)
    seen: list[Any] = []

    def spy(x: Any) -> Any:
        seen.append(x)
        return torch.from_numpy(blurred(x.numpy())) if isinstance(x, torch.Tensor) else blurred(x)

    x = image(*shape)
    eyeshot.tile(spy, x, plan=plan)
    assert all(type(s) is np.ndarray for s in seen)
    # Eight tiles have both neighbours; the first and the last crop are shorter.
    assert sorted(len(s) for s in seen) == sorted(map(len, plan.batches()))
    assert max(len(s) for s in seen) == 4 and sum(len(s) for s in seen) == 10
    seen.clear()
    out = eyeshot.tile(spy, torch.from_numpy(x), plan=plan)
    assert all(type(s) is torch.Tensor for s in seen)
    np.testing.assert_array_equal(out.numpy(), blurred(x))


def test_a_function_that_writes_to_what_it_is_given() -> None:
    plan = eyeshot.tile_plan(BLUR, (1, 1, 60), tile=8, trial=False)
    x = image(1, 1, 60)
    kept, want = x.copy(), blurred(x)

    def rough(a: Any) -> Any:
        out = torch.from_numpy(blurred(a.numpy())) if isinstance(a, torch.Tensor) else blurred(a)
        a[...] = 7
        return out

    tensor = torch.from_numpy(x.copy())
    np.testing.assert_array_equal(eyeshot.tile(rough, x, plan=plan), want)
    np.testing.assert_array_equal(eyeshot.tile(rough, tensor, plan=plan).numpy(), want)
    lazy = eyeshot.tile(rough, da.from_array(x, chunks=60), plan=plan)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), want)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(tensor.numpy(), kept)


def test_a_plan_in_a_loop_of_ones_own() -> None:
    net, x = built(Net()).eval(), image(1, 2, 33, 27)
    plan = planned(net, x.shape, 8)
    want = whole(net, x)
    tensor = torch.from_numpy(x)
    out = torch.full(plan.out_shape, torch.nan, dtype=torch.float64)
    with torch.no_grad():
        for tile in plan:
            out[tile.write] = net(tensor[tile.read])[tile.crop]
    np.testing.assert_allclose(out.numpy(), want, rtol=0, atol=1e-12)
    line = eyeshot.tile_plan(BLUR, (1, 1, 50), tile=8, trial=False)
    signal, found = image(1, 1, 50), np.full(line.out_shape, np.nan)
    for tile in line:
        found[tile.write] = blurred(signal[tile.read])[tile.crop]
    np.testing.assert_array_equal(found, blurred(signal))


def test_plans_and_tiles_show_themselves_in_one_line() -> None:
    plan = eyeshot.tile_plan(BLUR, (1, 1, 50), tile=8, trial=False)
    text = repr(plan)
    assert "7 tiles of 8" in text and "1x1x50 to 1x1x25" in text
    assert len(text) < 160 and "\n" not in text
    assert repr(plan[1]) == "Tile 1 at (1,): out[:, :, 4:8] = model(x[:, :, 6:18])[:, :, 1:5]"
    one = eyeshot.tile_plan(BLUR, (1, 1, 50), tile=0, trial=False)
    assert "1 tile " in repr(one)


# --- dask


def test_nothing_runs_before_it_is_asked_for() -> None:
    calls: list[tuple[int, ...]] = []

    def spy(x: Any) -> Any:
        calls.append(x.shape)
        return blurred(x)

    plan = eyeshot.tile_plan(BLUR, (1, 1, 1000), tile=100, trial=False)
    lazy = eyeshot.tile(spy, da.zeros((1, 1, 1000), chunks=90), plan=plan)
    # The dtype of a function's result takes one run on the smallest crop, of zeros.
    assert len(calls) <= 1 and max((s[-1] for s in calls), default=0) <= 110
    calls.clear()
    assert lazy.chunks == ((1,), (1,), (50,) * 10)
    lazy.blocks[0, 0, 3].compute(scheduler="sync")
    assert len(calls) == 1


def test_a_chunk_depends_on_the_chunks_under_its_crop_only() -> None:
    net, x = built(Net()), image(1, 2, 36, 40)
    read: list[tuple[int, ...]] = []

    def load(block: Any, block_info: Any = None) -> Any:
        read.append(block_info[0]["chunk-location"])
        return block

    cuts = ((1,), (1, 1), (5, 13, 2, 16), (17, 17, 6))
    source = da.from_array(x, chunks=cuts).map_blocks(load, dtype=x.dtype)
    read.clear()  # dask tries the function on nothing
    plan = planned(net, x.shape, (12, 10))
    lazy = eyeshot.tile(net, source, plan=plan)
    assert not read
    want = whole(net, x)
    edges = [[0, *itertools.accumulate(sizes)] for sizes in cuts[2:]]
    for tile in plan:
        read.clear()
        got = lazy.blocks[(0, 0, *tile.place)].compute(scheduler="sync")
        np.testing.assert_allclose(got, want[tile.write], rtol=0, atol=1e-12)
        under = [
            [k for k, (a, b) in enumerate(itertools.pairwise(line)) if a < s.stop and b > s.start]
            for line, s in zip(edges, tile.read[2:], strict=True)
        ]
        assert sorted(read) == sorted(
            (0, c, *at) for c in (0, 1) for at in itertools.product(*under)
        )
    assert net.training


def test_the_model_is_in_the_graph_once_and_knows_its_dtype_without_running() -> None:
    net = nn.Sequential(nn.Conv2d(1, 300, 3, padding=1), nn.Conv2d(300, 1, 3, padding=1))
    net.register_forward_pre_hook(lambda m, args: ran.append(args[0].is_meta) and None)
    ran: list[bool] = []
    plan = planned(net, (1, 1, 64, 64), 8)
    ran.clear()
    lazy = eyeshot.tile(net, da.zeros((1, 1, 64, 64), chunks=16, dtype="f4"), plan=plan)
    assert lazy.dtype == np.float32 and ran == [True]
    net._forward_pre_hooks.clear()
    lazy = eyeshot.tile(net, da.zeros((1, 1, 64, 64), chunks=16, dtype="f4"), plan=plan)
    weights = sum(p.numel() * 4 for p in net.parameters())
    # Tasks travel one by one.
    sizes = [len(pickle.dumps(task)) for task in dict(lazy.dask).values()]
    assert len(sizes) > 64 and sum(size > weights for size in sizes) == 1
    assert sum(sizes) < 64 * weights


def test_a_module_in_use_elsewhere_is_left_alone_by_lazy_runs() -> None:
    net, x = built(Net()), image(1, 2, 20, 20)
    want = whole(net, x)
    lazy = eyeshot.tile(net, da.from_array(x, chunks=9), plan=planned(net, x.shape, 8))
    modes: list[bool] = []
    net.register_forward_hook(lambda *_: modes.append(net.training))
    np.testing.assert_allclose(
        lazy.compute(scheduler="threads", num_workers=3), want, rtol=0, atol=1e-12
    )
    assert not modes and net.training


def test_through_a_distributed_scheduler() -> None:
    distributed = pytest.importorskip("distributed")
    net, x = built(Net()), image(1, 2, 20, 20)
    lazy = eyeshot.tile(net, da.from_array(x, chunks=9), plan=planned(net, x.shape, 8))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        out = client.gather(client.compute(lazy))
    np.testing.assert_allclose(out, whole(net, x), rtol=0, atol=1e-12)


def test_a_lazy_array_travels() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    net, x = built(Net()), image(1, 2, 20, 20)
    lazy = eyeshot.tile(net, da.from_array(x, chunks=9), plan=planned(net, x.shape, 8))
    there = cloudpickle.loads(cloudpickle.dumps(lazy))
    want = whole(net, x)
    np.testing.assert_allclose(there.compute(scheduler="sync"), want, rtol=0, atol=1e-12)


# --- networks by name, and those with several outputs


def graph(batch: Any) -> bytes:
    """Two convolutions, the second of which halves the axis, as an ONNX file's content."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    of, helper = onnx.TensorProto, onnx.helper
    rng = np.random.default_rng(5)
    weights = [
        onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in {"a": (3, 2, 3), "b": (2, 3, 2)}.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y"], pads=[1, 1]),
        helper.make_node("Relu", ["y"], ["r"]),
        helper.make_node("Conv", ["r", "b"], ["z"], strides=[2]),
    ]
    made = helper.make_graph(
        nodes,
        "halving",
        [helper.make_tensor_value_info("x", of.FLOAT, [batch, 2, "length"])],
        [helper.make_tensor_value_info("z", of.FLOAT, [batch, 2, "half"])],
        weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("batch", ["n", 2])
def test_an_onnx_graph_on_arrays_of_all_kinds(batch: Any) -> None:
    content = graph(batch)
    import onnxruntime

    x = image(2, 2, 61).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    plan = eyeshot.tile_plan(content, x.shape, tile=10, batch=3, trial=False)
    assert len(plan) == 6
    out = eyeshot.tile(content, x, plan=plan)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-6)
    tensor = eyeshot.tile(content, torch.from_numpy(x), plan=plan, workers=2)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor.numpy(), want, rtol=1e-5, atol=1e-6)
    lazy = eyeshot.tile(content, da.from_array(x, chunks=(1, 2, 13)), plan=plan)
    assert lazy.dtype == np.float32
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), want, rtol=1e-5, atol=1e-6)


def test_a_reference_with_weights_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import torch\n\ndef made():\n    return torch.nn.Conv2d(1, 2, 5, padding=2)\n"
    (tmp_path / "some_tiled_net.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    net = built(nn.Conv2d(1, 2, 5, padding=2), torch.float32)
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    x = image(1, 1, 30, 20).astype(np.float32)
    options = {"tile": 8, "weights": tmp_path / "weights.pt", "trial": False}
    out = eyeshot.tile("some_tiled_net:made", x, **options)
    np.testing.assert_allclose(out, whole(net, x), rtol=1e-5, atol=1e-6)


class Heads(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv1d(1, 2, 3, padding=1)
        self.far = nn.Conv1d(2, 1, 7, padding=3)

    def forward(self, x: Any) -> Any:
        near = self.near(x)
        return {"near": near, "far": self.far(near)}


def test_one_of_several_outputs() -> None:
    net, x = built(Heads()), image(1, 1, 50)
    with torch.no_grad():
        want = {name: out.numpy() for name, out in net(torch.from_numpy(x)).items()}
    for name in ("near", "far"):
        options = {"tile": 8, "output": name, "trial": False}
        for array in (x, torch.from_numpy(x), da.from_array(x, chunks=20)):
            out = eyeshot.tile(net, array, **options)
            assert out.shape == want[name].shape and type(out) is type(array)
            np.testing.assert_allclose(np.asarray(out), want[name], rtol=0, atol=1e-12)
    with pytest.raises(eyeshot.EyeshotError, match="2 outputs"):
        eyeshot.tile(net, x, tile=8, trial=False)


# --- what is refused


def test_what_cant_be_is_refused() -> None:
    net, x = built(Net()), image(1, 2, 20, 20)
    plan = planned(net, x.shape, 8)
    line = eyeshot.tile_plan(BLUR, (1, 1, 50), tile=8, trial=False)
    cases: list[tuple[str, Any, Any, dict[str, Any]]] = [
        (
            "plan: made for an input of 1x2x20x20, but the array is 1x2x20x24",
            net,
            image(1, 2, 20, 24),
            {"plan": plan},
        ),
        ("plan: made for .* 1x2x20x20, but the array is 1x1x20x20", net, x[:, :1], {"plan": plan}),
        ("plan: expected a TilePlan, got dict", net, x, {"plan": plan.to_dict()}),
        ("plan: what a plain function reads is not known", blurred, x, {}),
        (
            "array: expected a numpy, torch or dask array, got a value of type list",
            net,
            x.tolist(),
            {"plan": plan},
        ),
        ("workers: expected a number from 1, got 0", net, x, {"plan": plan, "workers": 0}),
        (
            "the model gave 1x1x3 for a crop of 1x1x10",
            lambda a: a[..., :3],
            image(1, 1, 50),
            {"plan": line},
        ),
        (
            "the model gave 1x2x5 for",
            lambda a: np.repeat(blurred(a), 2, 1),
            image(1, 1, 50),
            {"plan": line},
        ),
        ("the model gave a tuple, not an array", lambda a: (a, a), image(1, 1, 50), {"plan": line}),
    ]
    for words, model, array, options in cases:
        with pytest.raises(eyeshot.EyeshotError, match=words) as caught:
            eyeshot.tile(model, array, **options)
        assert "\n" not in str(caught.value)
    unknown = da.from_array(x, chunks=10)[:, :, da.from_array(x[0, 0, 0] > 0, chunks=10)]
    with pytest.raises(eyeshot.EyeshotError, match="unknown size"):
        eyeshot.tile(net, unknown, plan=plan)
    assert net.training


@pytest.mark.parametrize("workers", [1, 2])
def test_a_module_that_raises_keeps_its_mode(workers: int) -> None:
    net, x = built(Net(3)), image(1, 2, 20, 20)
    plan = planned(built(Net()), x.shape, 8)
    with pytest.raises(
        eyeshot.EyeshotError, match="takes 3 channels, and the input 1x2x12x12 has 2"
    ):
        eyeshot.tile(net, x, plan=plan, workers=workers)
    assert net.training


@pytest.mark.parametrize("workers", [1, 3])
def test_a_functions_own_error_comes_through(workers: int) -> None:
    plan = eyeshot.tile_plan(BLUR, (1, 1, 50), tile=8, trial=False)
    calls: list[int] = []

    def late(x: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise ZeroDivisionError("late")
        return blurred(x)

    with pytest.raises(ZeroDivisionError, match="late"):
        eyeshot.tile(late, image(1, 1, 50), plan=plan, workers=workers)
    assert len(calls) <= 2 + workers


@pytest.mark.parametrize("dtype", ["complex64", "object", "S3", "datetime64[s]"])
def test_what_are_no_real_numbers(dtype: str) -> None:
    """Nothing is cast with a part of it lost."""
    x = np.zeros((1, 1, 8, 8), dtype)
    with pytest.raises(eyeshot.EyeshotError, match=r"^array: holds .*, not real numbers"):
        eyeshot.tile(torch.nn.Conv2d(1, 1, 3), x)
    if dtype == "complex64":
        with pytest.raises(
            eyeshot.EyeshotError, match=r"^array: holds torch.complex64, not real numbers"
        ):
            eyeshot.tile(torch.nn.Conv2d(1, 1, 3), torch.from_numpy(x))


@pytest.mark.parametrize("size", [1.5, "x", {}])
def test_sizes_that_are_no_numbers(size: object) -> None:
    with pytest.raises(eyeshot.EyeshotError, match=r"^tile: "):
        eyeshot.tile_plan(torch.nn.Conv2d(1, 1, 3), (1, 8, 8), tile=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["numpy", "float64", "bfloat16", "dask"])
def test_an_approximation_is_tried_on_the_array(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lazy one is not computed for it: numbers are random then."""
    from eyeshot.tiling import approximate

    found = []
    real = approximate.estimate

    def estimate(model: Any, plan: Any, sampler: Any = None, **options: Any) -> Any:
        found.append(real(model, plan, sampler, **options))
        return found[-1]

    monkeypatch.setattr(approximate, "estimate", estimate)
    x = image(1, 2, 32, 24)
    x[..., 12:] = 0
    given = {"numpy": lambda: x, "dask": lambda: da.from_array(x)}
    array = given.get(kind, lambda: torch.tensor(x, dtype=getattr(torch, kind)))()
    module = built(Net(), getattr(torch, kind, torch.float64))
    eyeshot.tile(module, array, tile=8, approximate=0)
    assert [each.data for each in found] == ["random" if kind == "dask" else "image"]

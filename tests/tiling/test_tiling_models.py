"""Models that run: what they give, what they leave as it was, and what they say of themselves."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import threading
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

import eyeshot.tiling.models as models
from eyeshot import EyeshotError
from eyeshot.tiling.models import Model, load
from eyeshot.tiling.planning import Planner

RNG = np.random.default_rng(3)


def small(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)
    )
    net[1].running_mean.normal_()
    return net


def numbers(*shape):
    return RNG.standard_normal(shape)


def direct(net, x, dtype=torch.float32):
    """What PyTorch itself gives for a copy of the module in evaluation mode."""
    net = copy.deepcopy(net).eval().to(dtype)
    with torch.no_grad():
        return net(torch.tensor(x, dtype=dtype))


def state(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


# --- modules


def test_a_module_runs_in_evaluation_mode_and_stays_as_it_was():
    net = small()
    before, x = state(net), numbers(2, 3, 9, 8).astype("float32")
    kept = x.copy()
    model = load(net)
    found = model(x)
    assert np.array_equal(found, direct(net, x).numpy())
    assert found.dtype == np.float32 == model.dtype and model.title == "Sequential"
    assert model.fixed_batch is None and model.notes == () and model.device == "cpu"
    assert net.training and all(m.training for m in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert np.array_equal(x, kept)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


def test_an_input_is_never_written_to():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Conv1d(1, 1, 1))
    x = numbers(1, 1, 8).astype("float32")
    kept = x.copy()
    load(net)(x)
    x.flags.writeable = False  # PyTorch would warn of such an array
    load(net)(x[:, :, ::-2])
    assert np.array_equal(x, kept)


def test_parameters_are_shared_and_a_cast_is_a_copy():
    net = small()
    model = load(net)
    at = {p.data_ptr() for p in net.parameters()}
    assert {p.data_ptr() for p in model._network.module.parameters()} == at
    double = load(net, dtype="float64")
    assert not {p.data_ptr() for p in double._network.module.parameters()} & at
    x = numbers(1, 3, 9, 8)
    found = double(x)
    assert found.dtype == np.float64 == double.dtype
    assert np.array_equal(found, direct(net, x, torch.float64).numpy())
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert {p.data_ptr() for p in net.parameters()} == at


@pytest.mark.parametrize(
    ("dtype", "inputs", "bits"), [("float16", "float16", 11), (torch.bfloat16, "float32", 8)]
)
def test_half_precision(dtype, inputs, bits):
    net, x = small(), numbers(1, 3, 9, 8)
    model = load(net, dtype=dtype)
    found = model(x)
    assert model.dtype == inputs and found.dtype == inputs
    close = direct(net, x).numpy()
    assert 0 < np.abs(found - close).max() < 8 * 2.0**-bits * np.abs(close).max()


def test_a_module_without_weights_computes_in_the_dtype_asked_for():
    net = nn.Upsample(scale_factor=2, mode="bilinear")
    x = numbers(1, 3, 9, 8)
    double, single = load(net, dtype="float64"), load(net)
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    assert (double.compute, double.threaded(1).compute) == ("float64", "float64")
    assert np.array_equal(double(x), net(torch.tensor(x)).numpy())
    assert single(x).dtype == np.float32
    # Processes that get both keep them apart.
    arrived = [pickle.loads(pickle.dumps(model)) for model in (double, single)]
    assert [model.compute for model in arrived] == ["float64", "float32"]


def test_training_mode_is_kept_away_from_the_users_statistics():
    net = small()
    before, x = state(net), numbers(2, 3, 9, 8).astype("float32")
    found = load(net, training=True)(x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    with torch.no_grad():
        wanted = copy.deepcopy(net).train()(torch.tensor(x)).numpy()
    assert np.array_equal(found, wanted)
    assert np.abs(found - direct(net, x).numpy()).max() > 1e-3
    net.eval()
    assert np.array_equal(load(net, training=None)(x), direct(net, x).numpy())


def test_computed_weights_and_the_users_module_with_them():
    torch.manual_seed(0)
    made = nn.utils.parametrizations
    net = nn.Sequential(
        made.weight_norm(nn.Conv1d(3, 4, 3)), made.spectral_norm(nn.Conv1d(4, 2, 3))
    )
    net.eval()
    x = numbers(1, 3, 20).astype("float32")
    wanted = net(torch.tensor(x)).detach().numpy()
    model = load(net)
    assert np.allclose(model(x), wanted, rtol=1e-6, atol=1e-7)
    assert np.array_equal(pickle.loads(pickle.dumps(model))(x), model(x))
    assert np.array_equal(net(torch.tensor(x)).detach().numpy(), wanted)
    assert len(list(net.parameters())) == 5


def test_functions_and_tokens():
    model = load(lambda x: x * 2)
    assert np.array_equal(model(np.ones((1, 1, 3), "f4")), np.full((1, 1, 3), 2))
    net = nn.Sequential(nn.Embedding(11, 4))
    words = np.array([[1, 10, 3]])
    tokens = load(net)
    assert tokens.dtype == np.int64 and tokens.tokens == 11
    assert np.array_equal(tokens(words), net(torch.tensor(words)).detach().numpy())


def test_threads_are_those_asked_for_in_every_thread():
    seen, before = [], torch.get_num_threads()

    class Asks(nn.Module):
        def forward(self, x):
            barrier.wait(10)  # all forward passes run at once
            seen.append(torch.get_num_threads())
            return x + 1

    count = 3
    barrier = threading.Barrier(count)
    Asks.__deepcopy__ = lambda self, memo: self
    model = load(Asks(), threads=before + 1)
    workers = [threading.Thread(target=model, args=(np.zeros((1, 1, 4)),)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert seen == [before + 1] * count
    assert torch.get_num_threads() == before
    new: list[int] = []
    later = threading.Thread(target=lambda: new.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert new == [before]


def test_modules_that_keep_things_do_not_mix_up_threads():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = None

        def forward(self, x):
            self.kept = x
            barrier.wait(10)
            return self.kept + 1

    barrier = threading.Barrier(2)
    model = load(Keeps())
    found = {}

    def work(k):
        found[k] = float(model(np.full((1, 1, 1), k))[0, 0, 0])

    workers = [threading.Thread(target=work, args=(k,)) for k in (10, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {10: 11.0, 20: 21.0}


# --- outputs


@dataclass
class Both:
    mask: torch.Tensor
    edges: dict[str, torch.Tensor]


class Heads(nn.Module):
    def __init__(self, form):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.mask = nn.Conv2d(2, 1, 1)
        self.edge = nn.Conv2d(2, 3, 1)
        self.form = form

    def forward(self, x):
        x = self.stem(x)
        return self.form(self.mask(x), self.edge(x))


@pytest.mark.parametrize(
    "form",
    [
        lambda m, e: (m, e),
        lambda m, e: Both(m, {"edge": e}),
        lambda m, e: {"constant": torch.zeros(3), "m": m, "again": m, "e": [e]},
    ],
)
def test_the_output_is_found_among_nested_ones(form):
    net, x = Heads(form), numbers(2, 1, 8, 8).astype("float32")
    middle = net.stem(torch.tensor(x))
    for name, head in (("mask", net.mask), ("edge", net.edge)):
        model = load(net, output=name)
        assert np.array_equal(model(x), head(middle).detach().numpy())
        plan = Planner(model.subject, (1, 1, 32, 32)).plan(16)
        assert plan.output == name
    with pytest.raises(EyeshotError, match=r"2 outputs \(mask, edge\); say which with output="):
        load(net)(x)
    with pytest.raises(EyeshotError, match="stem is a layer inside the network, which returns"):
        load(net, output="stem")(x)
    assert load(net, output="mask").fingerprint != load(net, output="edge").fingerprint


# --- references and weights


def test_a_references_random_weights_are_the_same_each_time():
    source = "torchvision:squeezenet1_1"
    one = load(source)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    two = load(source)
    assert torch.equal(before, torch.random.get_rng_state())
    assert one.fingerprint == two.fingerprint and one.title == "squeezenet1_1"
    assert any("random" in note for note in one.notes)
    x = numbers(1, 3, 64, 64)
    assert np.array_equal(one(x), two(x)) and np.ptp(one(x)) > 0


FACTORY = """
import torch
from torch import nn

def net(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_nets_of_models.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_nets_of_models", None)


def trained(folder):
    torch.manual_seed(5)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    net[1].running_var.uniform_(0.5, 2)
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, "net.pt")
    save_file(net.state_dict(), "net.safetensors")
    return net


def test_weights_of_both_kinds(folder):
    net, x = trained(folder), numbers(1, 3, 9, 9)
    seeded = load("own_nets_of_models:net")
    assert seeded.fingerprint == load("own_nets_of_models:net").fingerprint
    wanted = direct(net, x).numpy()
    for name in ("net.pt", "net.safetensors"):
        model = load("own_nets_of_models:net", weights=name)
        assert np.array_equal(model(x), wanted) and model.notes == ()
        assert model.fingerprint != seeded.fingerprint
        held = small_factory()
        own = load(held, weights=folder / name)
        assert np.array_equal(own(x), wanted)
        assert not np.array_equal(direct(held, x).numpy(), wanted)  # the user's own is as it was


def small_factory():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


class Runs:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_that_would_run_code_is_refused(folder):
    torch.save({"state_dict": Runs(folder / "was here")}, "evil.pt")
    with pytest.raises(EyeshotError, match=r"evil\.pt: it holds more than tensors") as caught:
        load("own_nets_of_models:net", weights="evil.pt")
    assert "\n" not in str(caught.value)
    assert not (folder / "was here").exists()


@pytest.mark.parametrize(
    ("source", "weights", "said"),
    [
        (
            "own_nets_of_models:net?width=5",
            "net.pt",
            "0.weight is 4x3x3x3, but the module's is 5x3",
        ),
        ("torchvision:squeezenet1_1", "net.pt", "it lacks features.0.weight"),
        ("own_nets_of_models:net", "nowhere.pt", "there is no such file"),
        ("own_nets_of_models:net", 7, "expected a file's path"),
        ("own_nets_of_models:nothing", None, "has no 'nothing'"),
        ({"layers": []}, None, "a dict: a spec has no weights to run"),
        ("example:alexnet", None, "example:alexnet: a spec has no weights to run"),
        ("net.yaml", None, "net.yaml: a spec has no weights to run"),
        ("net.pt", None, "weights, but of which network"),
        ("nothing.onnx", None, "nothing.onnx: No such file"),
    ],
)
def test_what_can_not_be_loaded(folder, source, weights, said):
    trained(folder)
    with pytest.raises(EyeshotError) as caught:
        load(source, weights=weights)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads: expected"),
        ({"threads": True}, "threads: expected"),
        ({"dtype": "int8"}, "dtype: expected one of float64"),
        ({"dtype": 7}, "dtype: expected one of float64"),
        ({"device": "nonsense"}, "is no device"),
        ({"device": "meta"}, "meta computes nothing"),
        ({"device": "cuda:77"}, "is not available"),
        ({"output": 3}, "output: expected a layer's name"),
    ],
)
def test_options_that_are_none(options, said):
    with pytest.raises(EyeshotError, match=said):
        load(small(), **options)


def test_modules_without_data():
    with pytest.raises(EyeshotError, match="meta device"):
        load(nn.Conv2d(3, 2, 3, device="meta"))
    with pytest.raises(EyeshotError, match="lazy parameters"):
        load(nn.Sequential(nn.LazyConv2d(2, 3)))
    with pytest.raises(EyeshotError, match="the class Conv2d"):
        load(nn.Conv2d)


def test_what_fails_in_a_run_is_told_in_one_line():
    model = load(small())
    with pytest.raises(EyeshotError, match="takes 3 channels, and the input 1x4x9x9 has 4"):
        model(numbers(1, 4, 9, 9))
    with pytest.raises(EyeshotError, match="raised RuntimeError for 1x3x1x1: ") as caught:
        model(numbers(1, 3, 1, 1))
    assert "\n" not in str(caught.value)


# --- fingerprints


class Scaled(nn.Module):
    def __init__(self, by, weights=0.5):
        super().__init__()
        self.by = by
        self.register_buffer("add", torch.full((1,), weights))
        self.loose = torch.tensor([1.0, weights])

    def forward(self, x):
        return x * self.by + self.add


class Other(Scaled):
    def forward(self, x):
        return x * self.by - self.add


def test_fingerprints_tell_networks_apart():
    base = load(Scaled(2)).fingerprint
    assert len(base) == 64 and base == load(Scaled(2)).fingerprint
    loose = Scaled(2)
    loose.loose[0] = 3
    others = [Scaled(3), Scaled(2, 0.25), Other(2), loose, nn.Sequential(Scaled(2))]
    found = {base, *(load(net).fingerprint for net in others)}
    found.add(load(Scaled(2), dtype="float64").fingerprint)
    found.add(load(Scaled(2), training=True).fingerprint)
    assert len(found) == len(others) + 3
    one, two = small(), small()
    assert load(one).fingerprint == load(two).fingerprint
    with torch.no_grad():
        two[3].weight[1, 3, 2, 2] += 1e-6
    assert load(one).fingerprint != load(two).fingerprint
    two = small()
    two[3].dilation = (2, 2)
    assert load(one).fingerprint != load(two).fingerprint
    assert load(one).fingerprint == load(one.eval()).fingerprint


def test_running_does_not_change_the_fingerprint():
    net = small()
    first = load(net)
    first(numbers(1, 3, 9, 9))
    assert first.fingerprint == load(net).fingerprint


# --- ONNX


def graph(shape=(1, 3, 16, 16), *, outputs=1, extra=(), weights=None, kind=TensorProto.FLOAT):
    """A convolution, then doubling of the sides; a second output is its negative."""
    rng = np.random.default_rng(0)
    number = helper.tensor_dtype_to_np_dtype(kind)
    w = rng.standard_normal((2, 3, 3, 3)).astype(number) if weights is None else weights
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["made"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Resize", ["made", "", "scales"], ["up"], name="enlarge", mode="nearest"),
        helper.make_node("Neg", ["up"], ["down"], name="turn"),
    ]
    n, _, h, width = shape
    out = [
        n,
        2,
        h * 2 if isinstance(h, int) else "H2",
        width * 2 if isinstance(width, int) else "W2",
    ]
    made = helper.make_graph(
        [*nodes, *extra],
        "little",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, kind, out) for name in ("up", "down")[:outputs]],
        [
            numpy_helper.from_array(w, "w"),
            numpy_helper.from_array(np.array([1, 1, 2, 2], "float32"), "scales"),
        ],
        value_info=[helper.make_tensor_value_info("made", kind, [n, 2, h, width])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def convolved(model, x):
    """The first output by PyTorch."""
    w = torch.tensor(numpy_helper.to_array(model.graph.initializer[0]).copy(), dtype=torch.float64)
    y = nn.functional.conv2d(torch.tensor(x, dtype=torch.float64), w, padding=1)
    return y.repeat_interleave(2, 2).repeat_interleave(2, 3).numpy()


def test_an_onnx_graph_of_one_size_runs_at_others(tmp_path):
    proto = graph()
    before = proto.SerializeToString()
    onnx.save(proto, tmp_path / "net.onnx")
    prints = set()
    for source in (proto, before, str(tmp_path / "net.onnx"), tmp_path / "net.onnx"):
        model = load(source, threads=1)
        assert (model.dtype, model.fixed_batch) == (np.float32, 1)
        for shape in ((1, 3, 16, 16), (1, 3, 24, 10), (3, 3, 8, 8)):
            x = numbers(*shape).astype("float32")
            assert np.allclose(model(x), convolved(proto, x), rtol=1e-5, atol=1e-5)
        report = model.subject.report((1, 3, 40, 20))
        assert model.subject.output(report).shape == (1, 2, 80, 40)
        assert Planner(model.subject, (1, 3, 64, 48)).plan(16).axes[0].halo == (1, 1)
        prints.add(model.fingerprint)
    assert len(prints) == 1 and model.title == "net.onnx"
    assert proto.SerializeToString() == before
    weights = np.zeros((2, 3, 3, 3), "float32")
    assert load(graph(weights=weights)).fingerprint not in prints


def test_declared_batches_and_open_ones():
    x = numbers(5, 3, 8, 8).astype("float32")
    for shape, fixed in (((4, 3, 16, 16), 4), (("n", 3, "h", "w"), None)):
        proto = graph(shape)
        model = load(proto)
        assert model.fixed_batch == fixed
        assert np.allclose(model(x), convolved(proto, x), rtol=1e-5, atol=1e-5)


def test_an_onnx_graphs_dtype_is_its_own():
    kind = TensorProto.DOUBLE
    made = helper.make_graph(
        [helper.make_node("MatMul", ["w", "x"], ["y"])],
        "thirds",
        [helper.make_tensor_value_info("x", kind, [1, 2, "n"])],
        [helper.make_tensor_value_info("y", kind, [1, 2, "n"])],
        [numpy_helper.from_array(np.eye(2)[None] / 3, "w")],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    model = load(proto, dtype="float64")
    x = numbers(1, 2, 6)
    assert model(x).dtype == np.float64 == model.dtype
    assert np.allclose(model(x), x / 3, rtol=1e-15, atol=0)
    with pytest.raises(EyeshotError, match="takes float64, and an ONNX graph has no other"):
        load(proto, dtype="float32")
    with pytest.raises(EyeshotError, match=r"onnxruntime can't load it: .*Conv") as caught:
        load(graph(kind=kind))  # it has no kernel for that
    assert "\n" not in str(caught.value)


def test_an_onnx_graphs_outputs_by_either_name():
    proto = graph(outputs=2)
    x = numbers(1, 3, 8, 8).astype("float32")
    with pytest.raises(EyeshotError, match=r"2 outputs \(enlarge, turn\)"):
        load(proto)(x)
    for name, sign in (("up", 1), ("enlarge", 1), ("down", -1), ("turn", -1)):
        model = load(proto, output=name)
        assert np.allclose(model(x), sign * convolved(proto, x), rtol=1e-5, atol=1e-5)
        report = model.subject.report((1, 3, 8, 8))
        assert model.subject.output(report).name == ("enlarge" if sign > 0 else "turn")
    with pytest.raises(EyeshotError, match="first is a layer inside the network, which returns up"):
        load(proto, output="first")(x)


def test_a_graph_tied_to_its_size_fails_in_one_line():
    proto = graph()
    shape = numpy_helper.from_array(np.array([1, 2, 32, 32]), "shape")
    proto.graph.initializer.append(shape)
    proto.graph.node.append(helper.make_node("Reshape", ["up", "shape"], ["flat"], name="flatten"))
    proto.graph.output[0].name = "flat"
    model = load(proto)
    x = numbers(1, 3, 16, 16).astype("float32")
    assert np.allclose(model(x), convolved(proto, x), rtol=1e-5, atol=1e-5)
    said = "can't run it for 1x3x8x8 (it was exported for 1x3x16x16) at flatten (Reshape): "
    with pytest.raises(EyeshotError, match=re.escape(said)) as caught:
        model(x[:, :, :8, :8])
    assert "\n" not in str(caught.value)


def test_weights_in_a_file_beside_an_onnx_graph(tmp_path):
    proto, x = graph(), numbers(1, 3, 8, 8).astype("float32")
    path = tmp_path / "net.onnx"
    onnx.save(
        proto, path, save_as_external_data=True, location="net.data", size_threshold=100,
        convert_attribute=False,
    )  # fmt: skip
    model = load(path)
    wanted = convolved(graph(), x)
    assert np.allclose(model(x), wanted, rtol=1e-5, atol=1e-5)
    assert np.allclose(model.threaded(1)(x), wanted, rtol=1e-5, atol=1e-5)
    content = bytearray((tmp_path / "net.data").read_bytes())
    content[3] ^= 1
    (tmp_path / "net.data").write_bytes(content)
    assert load(path).fingerprint != model.fingerprint
    with pytest.raises(EyeshotError, match=r"another file \(net\.data\); give the path"):
        load(path.read_bytes())
    (tmp_path / "net.data").unlink()
    with pytest.raises(EyeshotError, match=r"net\.data: there is no such file"):
        load(path)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../net.data" if entry.key == "location" else entry.value
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(EyeshotError, match="outside the model's folder"):
        load(path)


def test_what_an_onnx_graph_does_not_take(tmp_path):
    with pytest.raises(EyeshotError, match="weights: an ONNX file has its own"):
        load(graph(), weights="net.pt")
    with pytest.raises(EyeshotError, match="training: an ONNX model runs in the mode"):
        load(graph(), training=True)
    with pytest.raises(EyeshotError, match="cuda is not available: this onnxruntime has no CUDA"):
        load(graph(), device="cuda")
    with pytest.raises(EyeshotError, match="is none that onnxruntime is used on"):
        load(graph(), device="mps")
    with pytest.raises(EyeshotError, match="takes 3 channels, and the input 1x2x8x8 has 2"):
        load(graph())(numbers(1, 2, 8, 8))
    (tmp_path / "cut.onnx").write_bytes(graph().SerializeToString()[:100])
    with pytest.raises(EyeshotError, match=r"cut\.onnx: not an ONNX model, or a truncated one"):
        load(tmp_path / "cut.onnx")
    two = graph()
    two.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    with pytest.raises(EyeshotError, match="one input is needed, and the network has x, y"):
        load(two)


# --- other processes

CHILD = """
import pickle, sys
import numpy as np
for name in sys.argv[1:]:
    model = pickle.load(open(f"{name}.pickle", "rb"))
    assert pickle.load(open(f"{name}.pickle", "rb")) is model  # loaded once
    np.save(f"{name}.out.npy", model(np.load(f"{name}.npy")))
    print(name, model.fingerprint, model.threads, model.title, model.compute)
"""


def test_models_travel_to_a_fresh_interpreter(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    net, x = trained(folder), numbers(1, 3, 9, 9).astype("float32")
    reference = load("own_nets_of_models:net", weights="net.pt", dtype="float64", threads=1)
    assert len(pickle.dumps(reference)) < 2000
    onnx.save(graph(), "net.onnx")
    sent = {
        "reference": (reference, direct(net, x, torch.float64).numpy(), 1e-12),
        "module": (load(small(), threads=1), direct(small(), x).numpy(), 1e-5),
        "file": (load("net.onnx", threads=1), convolved(graph(), x), 1e-5),
        "graph": (load(graph(outputs=2), output="down"), -convolved(graph(), x), 1e-5),
    }
    for name, (model, _, _) in sent.items():
        (elsewhere / f"{name}.pickle").write_bytes(pickle.dumps(model))
        np.save(elsewhere / f"{name}.npy", x)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *sent],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert not done.returncode, done.stderr
    said = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    for name, (model, wanted, near) in sent.items():
        found = np.load(elsewhere / f"{name}.out.npy")
        assert np.allclose(found, wanted, rtol=near, atol=near)
        assert said[name] == [model.fingerprint, str(model.threads), model.title, model.compute]


def test_a_recipe_whose_files_have_changed_is_refused(folder):
    net = trained(folder)
    content = pickle.dumps(load("own_nets_of_models:net", weights="net.pt"))
    net[0].weight.data[0] += 1
    torch.save(net.state_dict(), "net.pt")
    with pytest.raises(EyeshotError, match="another network or other weights"):
        pickle.loads(content)


def test_what_arrives_is_kept_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(models, "_kept", type(models._kept)())
    nets = [load(Scaled(k)) for k in range(4)]
    sent = [pickle.dumps(model) for model in nets]
    arrived = [pickle.loads(content) for content in sent]
    assert pickle.loads(sent[-1]) is arrived[-1]
    assert pickle.loads(sent[0]) is not arrived[0]
    assert len(models._kept) == models.KEPT


def test_a_loaded_model_and_copies_of_it():
    model = load(small())
    assert load(model) is model
    x = numbers(1, 3, 9, 9)
    again = model.threaded(1)
    assert isinstance(again, Model) and again.threads == 1 and model.threads is None
    assert again.fingerprint == model.fingerprint and np.allclose(again(x), model(x), atol=1e-6)
    assert model.cast("float64").fingerprint == load(small(), dtype="float64").fingerprint

"""The tracer: whatever runs in PyTorch is seen, nothing is changed, and what is unknown is said."""

from __future__ import annotations

import copy
import dataclasses
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

import eyeshot
from eyeshot.errors import EyeshotError, StrictError
from tests.frontends.agree import assert_agrees

SHAPE = (1, 2, 9, 8)


def ran(forward: Callable[..., Any], *parts: nn.Module) -> nn.Module:
    """A module with these submodules (``p0``, ``p1``, ...) that runs ``forward(self, *inputs)``."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for k, part in enumerate(parts):
                self.add_module(f"p{k}", part)

        def forward(self, *inputs: Any) -> Any:
            return forward(self, *inputs)

    return Net()


def codes(report: eyeshot.Report) -> set[str]:
    return {d.code for d in report.diagnostics}


# --- how operators are called


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.max_pool2d(x * x, 3, 1, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError


@torch.jit.ignore
def eager(x: Tensor) -> Tensor:
    return x


def conv() -> nn.Conv2d:
    return nn.Conv2d(2, 2, 3, padding=1)


def twice(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.relu(x), 3, 2, 1) * 2


CALLS: dict[str, Callable[[], Any]] = {
    "functional": lambda: twice,
    "module": conv,
    "sequential": lambda: nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(3, 2)),
    "ordered": lambda: nn.Sequential(OrderedDict(a=conv(), b=nn.Sequential(conv(), nn.Tanh()))),
    "autograd-function": lambda: lambda x: Squared.apply(x)[..., 1:],
    "checkpoint": lambda: ran(lambda m, x: checkpoint(m.p0, x, use_reentrant=False) + x, conv()),
    "checkpoint-reentrant": lambda: ran(
        lambda m, x: checkpoint(m.p0, x, use_reentrant=True) + x, conv()
    ),
    "vmap": lambda: lambda x: torch.func.vmap(lambda row: F.avg_pool1d(row, 3, 1, 1), 2, 2)(x),
    "vmap-batch": lambda: lambda x: torch.vmap(lambda one: one.flip(-1)[:, 1:])(x),
    "functional-call": lambda: ran(
        lambda m, x: torch.func.functional_call(
            m.p0, {"weight": torch.ones(2, 2, 3, 3, dtype=x.dtype)}, (x,)
        ),
        conv(),
    ),
    "data-parallel": lambda: nn.DataParallel(nn.Sequential(conv(), nn.ReLU())),
    "shared": lambda: ran(lambda m, x: m.p0(m.p0(x)) + x, conv()),
    "made-in-forward": lambda: lambda x: nn.AvgPool2d(3, 1)(x),
    "no-grad": lambda: torch.no_grad()(twice),
    "inference": lambda: torch.inference_mode()(twice),
    "enable-grad": lambda: torch.enable_grad()(twice),
    "weight-norm": lambda: nn.utils.parametrizations.weight_norm(conv()),
    "spectral-norm": lambda: nn.utils.parametrizations.spectral_norm(conv()),
    "pruned": lambda: prune.l1_unstructured(conv(), "weight", 3),
    "kwargs": lambda: ran(lambda m, x: m.p0(input=x), conv()),
}


@pytest.mark.filterwarnings("ignore:.*(CUDA|checkpoint|requires_grad|jit).*")
@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    assert_agrees(CALLS[name](), SHAPE)


SCRIPTED: dict[str, Callable[[], Any]] = {
    "scripted-function": lambda: torch.jit.script(twice),
    "scripted-module": lambda: torch.jit.script(nn.Sequential(conv(), nn.ReLU()).double()),
    "scripted-inside": lambda: ran(lambda m, x: m.p0(x) + x, torch.jit.script(conv().double())),
    "traced-module": lambda: torch.jit.trace(
        nn.Sequential(conv(), nn.ReLU()).double(), torch.randn(SHAPE).double()
    ),
    "traced-inside": lambda: ran(
        lambda m, x: m.p0(x)[..., 1:], torch.jit.trace(conv().double(), torch.randn(SHAPE).double())
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", SCRIPTED)
def test_torch_jit(name: str) -> None:
    assert_agrees(SCRIPTED[name](), SHAPE)


def test_compiled_modules_are_unwrapped() -> None:
    plain = nn.Sequential(conv(), nn.ReLU())
    compiled = torch.compile(plain, backend="eager")
    report = eyeshot.analyze(compiled, SHAPE)
    assert report.to_dict() == eyeshot.analyze(plain, SHAPE).to_dict()
    assert [layer.name for layer in report] == ["0", "1"]


@pytest.mark.filterwarnings("ignore:Using .torch.compile.module")
def test_a_compiled_module_inside() -> None:
    net = ran(lambda m, x: m.p0(x) + 1, torch.compile(conv(), backend="eager"))
    report = eyeshot.analyze(net, SHAPE)
    assert report.outputs[0].size == (3, 3)
    assert report.status == "exact"
    assert [layer.name for layer in report] == ["p0", "add"]


def test_a_compiled_function() -> None:
    report = eyeshot.analyze(torch.compile(twice, backend="eager"), SHAPE)
    assert report.outputs[0].size == (3, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_inside(dtype: torch.dtype) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype):
            return m.p1(m.p0(x)).float() + x.mean((2, 3), keepdim=True)

    report = eyeshot.analyze(ran(forward, conv(), nn.Conv2d(2, 2, 5)), (1, 2, 9, 9))
    assert report["p1"].size == (7, 7)
    assert (report.status, report.outputs[0].is_global) == ("exact", True)


def test_autocast_around() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        report = eyeshot.analyze(nn.Sequential(conv(), conv()), SHAPE)
    assert report[-1].size == (5, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    net = nn.Sequential(conv(), nn.BatchNorm2d(2), nn.GELU(), conv()).to(dtype)
    report = eyeshot.analyze(net, SHAPE)
    assert (report[-1].size, report.status) == ((5, 5), "exact")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.float().half()[..., 1:].double(),
        lambda x: x.to(torch.float32).to("cpu").type(torch.float64),
        lambda x: x.type_as(torch.zeros(1)).to(torch.zeros(1, dtype=torch.float64)),
        lambda x: torch.view_as_real(torch.complex(x, x.flip(-1)))[..., 0],
        lambda x: torch.complex(x, x.flip(-1)).abs(),
        lambda x: torch.polar(x, x.flip(-1)).angle(),
        lambda x: (x * 1j).imag + x,
        lambda x: torch.complex(x, x.flip(-1)).conj().resolve_conj().real,
    ],
)
def test_conversions(function: Callable[[Tensor], Tensor]) -> None:
    assert_agrees(function, (1, 2, 7), status=None)


# --- constants that the model makes


def grid(x: Tensor) -> Tensor:
    rows = torch.arange(x.shape[2], device=x.device, dtype=x.dtype)
    columns = torch.linspace(-1, 1, x.shape[3], device=x.device, dtype=x.dtype)
    at = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).unsqueeze(0)
    return torch.cat([x, at.expand(x.shape[0], -1, -1, -1)], 1)


def sinusoids(x: Tensor) -> Tensor:
    position = torch.arange(x.shape[-1], device=x.device).unsqueeze(1)
    rate = torch.exp(torch.arange(0, 4, 2, device=x.device) * -0.1)
    table = torch.zeros(x.shape[-1], 4, device=x.device, dtype=x.dtype)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return x.unsqueeze(-1) + table


CONSTANTS: dict[str, Callable[[Tensor], Any]] = {
    "grid": lambda x: F.avg_pool2d(grid(x), 2),
    "sinusoids": sinusoids,
    "new": lambda x: x.new_zeros(x.shape) + x[..., :1] + x.new_ones(1) * x.new_full((8,), 2.0),
    "like": lambda x: (
        torch.zeros_like(x) + torch.ones_like(x[:1]) * torch.full_like(x, 2) + x.flip(-1)
    ),
    "empty": lambda x: torch.empty_like(x).copy_(x.flip(-1)),
    "tensor": lambda x: (
        x * torch.tensor([1.0, 2.0], device=x.device, dtype=x.dtype).view(1, 2, 1, 1)
    ),
    "scalar": lambda x: x + torch.tensor(2.0) + torch.tensor(3).item() + float(torch.ones(3).sum()),
    "index": lambda x: x[..., torch.arange(7, -1, -2, device=x.device)],
    "random": lambda x: x + torch.randn(x.shape, device=x.device) + torch.randperm(8),
    "dropout": lambda x: F.dropout(x, 0.1, training=False) + F.dropout2d(x, training=False),
    "shape": lambda x: x.reshape(x.size(0), -1)[:, : int(torch.tensor(x.shape).prod()) // 2],
    "branch": lambda x: x[..., 1:] if torch.arange(x.shape[-1]).sum() > 3 else x.mean(),
    "mask": lambda x: x + torch.ones(9, 8).triu(1).bool(),
    "loop": lambda x: torch.stack([x[..., int(k)] for k in torch.arange(0, 8, 3)], -1),
    "from-numpy": lambda x: x * torch.from_numpy(np.arange(8.0)),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str) -> None:
    if name == "random":
        report = eyeshot.analyze(CONSTANTS[name], SHAPE)
        assert (report.status, report.outputs[0].size) == ("exact", (1, 1))
    else:
        assert_agrees(CONSTANTS[name], SHAPE, status=None if name in ("index", "mask") else "exact")


def test_big_constants_are_not_made() -> None:
    """Sixteen gigabytes of positions would not fit."""

    def forward(x: Tensor) -> Tensor:
        n = x.shape[-1]
        rows = torch.arange(n, device=x.device, dtype=x.dtype)
        return x + (rows[:, None] * rows).cos()

    report = eyeshot.analyze(forward, (1, 1, 65536, 65536))
    assert (report.outputs[0].size, report.status) == ((1, 1), "exact")


# --- what a trace without data can't do


def test_a_branch_on_data_runs_for_real() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.p0(x)
        return m.p1(y) if y.sum() > 0 else m.p1(y + 1)

    report = eyeshot.analyze(ran(forward, conv(), conv()), SHAPE)
    assert report["p0"].status == "exact"
    assert report["p0"].size == (3, 3)
    assert report["p1"].status == "bound"
    assert all(d.layer for d in report.diagnostics if d.code != "real-run")
    assert report["p1"].boxes()[4, 4].tolist() == [[0, 9], [0, 8]]
    assert {"real-run", "data-dependent"} <= codes(report)
    with pytest.raises(StrictError, match="Python has read"):
        eyeshot.analyze(ran(forward, conv(), conv()), SHAPE, strict=True)


@pytest.mark.parametrize(
    ("forward", "end"),
    [
        (lambda x: x if x[0, 0, 0, 0] > 0 else -x, 1),
        (lambda x: x * x.max().item(), 9),
        (lambda x: x * float(x.mean()), 9),
        (lambda x: x * len(x[x > 0]), 9),
        (lambda x: x * x.nonzero().shape[0], 9),
        (lambda x: x + torch.unique(x).shape[0], 9),
        (lambda x: x * torch.masked_select(x, x > 0).numel(), 9),
        (lambda x: x * x.sum().numpy().item(), 9),
        (lambda x: x * torch.tensor(x.mean().tolist()), 9),
        (lambda x: x + float(x.detach().numpy().max()), 9),
        (lambda x: x + float(np.asarray(x.detach()).max()), 9),
        (lambda x: x + sum(x.sum((0, 1, 3)).tolist()), 9),
        (lambda x: x * (2 if torch.equal(x, x.flip(-1)) else 1), 9),
        (lambda x: x * (2 if torch.allclose(x, x + 1) else 1), 9),
        (lambda x: x * (2 if (x > 0).any() else 1), 9),
        (lambda x: x[..., : int(x.sum().abs().clamp(2, 3))], 9),
        (lambda x: x * len(f"{x.sum():.3f}"), 9),
        (lambda x: x + torch.ones(2, dtype=x.dtype)[(x.sum() > 0).long()], 9),
    ],
    ids=[
        "if",
        "item",
        "float",
        "mask",
        "nonzero",
        "unique",
        "masked-select",
        "numpy",
        "tolist",
        "array",
        "asarray",
        "list",
        "equal",
        "allclose",
        "any",
        "slice",
        "format",
        "lookup",
    ],
)
def test_numbers_of_the_input(forward: Callable[[Tensor], Tensor], end: int) -> None:
    """What follows may depend on all that the numbers depended on: never reported as less."""
    layer = eyeshot.analyze(forward, SHAPE).outputs[0]
    units = layer.boxes().reshape(-1, 2, 2)
    assert (units[:, 0, 0] == 0).all()
    assert (units[:, 0, 1] >= end).all()
    assert layer.status == "bound"


def test_rows_after_a_number_is_read_are_bounds() -> None:
    def forward(x: Tensor) -> Tensor:
        y = x.relu()
        if x.sum() > 1e9:
            y = y + 1
        return y * 2

    report = eyeshot.analyze(forward, SHAPE)
    assert [layer.status for layer in report if layer.name in ("relu", "mul")] == ["exact", "bound"]


def test_data_dependent_bounds_begin_where_the_number_is_read() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.p0(x)
        if x[..., :2].sum() > 1e9:
            y = y + 1
        return m.p1(y)

    report = eyeshot.analyze(ran(forward, conv(), conv()), SHAPE)
    assert (report["p0"].status, report["p1"].status) == ("exact", "bound")
    assert report["p1"].boxes()[4, 7].tolist() == [[0, 9], [0, 8]]


@pytest.fixture(scope="module")
def library() -> Iterator[torch.library.Library]:
    lib = torch.library.Library("eyeshot_test", "FRAGMENT")
    lib.define("shift(Tensor x) -> Tensor")
    lib.define("hidden(Tensor x) -> Tensor")
    lib.define("pair(Tensor x, Tensor[] more) -> (Tensor, Tensor)")
    lib.impl("shift", lambda x: x.roll(1, -1), "CPU")
    lib.impl("shift", lambda x: torch.empty_like(x), "Meta")
    lib.impl("hidden", lambda x: x.roll(1, -1), "CPU")
    lib.impl("pair", lambda x, more: (x + 1, more[0][..., 0]), "CPU")
    lib.impl(
        "pair", lambda x, more: (torch.empty_like(x), torch.empty_like(more[0][..., 0])), "Meta"
    )
    yield lib
    lib._destroy()


def test_an_unknown_operator_is_a_bound(library: Any) -> None:
    net = ran(lambda m, x: m.p1(torch.ops.eyeshot_test.shift(m.p0(x))), conv(), conv())
    report = eyeshot.analyze(net, SHAPE)
    assert (report["p0"].status, report["shift"].status, report["p1"].status) == (
        "exact",
        "bound",
        "bound",
    )
    assert report["shift"].boxes().tolist() == [[0, 9], [0, 8]]
    (found,) = [d for d in report.diagnostics if d.code == "unknown-op"]
    assert (found.layer, found.op) == ("shift", "shift")
    assert "eyeshot_test::shift" in found.message
    with pytest.raises(StrictError, match="shift: eyeshot_test::shift is not known"):
        eyeshot.analyze(net, SHAPE, strict=True)


def test_an_operator_without_a_meta_kernel(library: Any) -> None:
    net = ran(lambda m, x: m.p1(torch.ops.eyeshot_test.hidden(m.p0(x))), conv(), conv())
    report = eyeshot.analyze(net, SHAPE)
    assert {"real-run", "unknown-op"} <= codes(report)
    assert (report["p0"].status, report["p1"].status) == ("exact", "bound")
    assert report["hidden"].boxes().tolist() == [[0, 9], [0, 8]]
    with pytest.raises(StrictError, match="eyeshot_test::hidden"):
        eyeshot.analyze(net, SHAPE, strict=True)


def test_an_unknown_operator_with_several_outputs(library: Any) -> None:
    def forward(x: Tensor, y: Tensor) -> Any:
        return torch.ops.eyeshot_test.pair(x, [y])

    report = eyeshot.analyze(forward, [(1, 2, 5), (1, 2, 6)])
    for layer in report.outputs:
        assert layer.status == "bound"
        assert layer.boxes().reshape(-1, 2, 2)[0].tolist() == [[0, 5], [0, 6]]
    assert len(report.outputs) == 2


# --- the module as it was


def state(module: nn.Module) -> Any:
    return {
        path: (
            m.training,
            {k: id(v) for k, v in m.__dict__.items()},
            {k: id(v) for k, v in m._parameters.items()},
            {k: (id(v), None if v is None else v.clone()) for k, v in m._buffers.items()},
            list(m._modules),
            {
                k: copy.copy(v)
                for k, v in m.__dict__.items()
                if isinstance(v, (list, dict, set)) and k[0] != "_"
            },
            [list(m._forward_hooks), list(m._forward_pre_hooks)],
        )
        for path, m in module.named_modules()
    }


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(two, Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


class Busy(nn.Module):
    """It does all that one should not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()
        self.norm = nn.BatchNorm2d(2)
        self.seen: list[Tensor] = []
        self.cache: dict[str, Any] = {"old": 1}
        self.kinds: set[int] = set()
        self.last: Tensor | None = None
        self.count = 0
        self.register_buffer("total", torch.zeros(2, dtype=torch.float32))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.fail = False

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        self.seen.append(y)
        self.cache["new"] = y
        self.kinds.add(len(self.seen))
        self.last = y
        self.count += 1
        self.fresh = y
        self.total += y.sum((0, 2, 3))
        self.steps += 1
        self.steps.add_(1)
        self.total = self.total * 2
        self.norm.momentum = 0.5
        self.norm.eval()
        self.extra = nn.Conv2d(2, 2, 1)
        self.register_forward_hook(lambda *a: None)
        del self.cache["old"]
        torch.rand(3)
        random.random()
        np.random.rand()
        if self.fail:
            raise ValueError("on purpose")
        return y


@pytest.mark.parametrize("training", [False, True, None])
@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("real", [False, True])
def test_the_module_is_as_it_was(training: bool | None, fail: bool, real: bool) -> None:
    inner = Busy()
    inner.fail = fail
    net = ran(lambda m, x: m.p0(x) if not real or x.sum() > -1e9 else x, inner).train()
    inner.norm.eval()
    inner.conv.weight.grad = torch.ones_like(inner.conv.weight)
    inner.conv.bias.requires_grad_(False)
    before = state(net)
    weights = {
        name: (id(p), p.requires_grad, p.clone(), p._version) for name, p in net.named_parameters()
    }
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    expected = torch.rand(2), random.random(), np.random.rand()
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    if fail:
        with pytest.raises(EyeshotError, match="on purpose"):
            eyeshot.analyze(net, SHAPE, training=training)
    else:
        report = eyeshot.analyze(net, SHAPE, training=training)
        assert report["p0.conv"].size == (3, 3)
        assert report["p0.norm"].is_global == (training is True or real)
    assert torch.equal(torch.rand(2), expected[0])
    assert (random.random(), np.random.rand()) == expected[1:]
    assert same(state(net), before)
    assert not hasattr(inner, "fresh")
    for name, p in net.named_parameters():
        one, two = weights[name], (id(p), p.requires_grad, p, p._version)
        assert one[:2] == two[:2]
        assert torch.equal(one[2], two[2])
        assert one[3] == two[3]
    assert torch.equal(inner.conv.weight.grad, torch.ones_like(inner.conv.weight))
    assert inner.conv.weight.is_leaf
    assert not torch_module._global_forward_hooks
    assert not torch_module._global_forward_pre_hooks
    assert torch.is_grad_enabled()
    torch.ones(2) + 1  # no mode is left


def test_containers_in_containers_are_as_they_were() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        m.store["inner"].append(x)
        m.store["deep"]["er"].add(1)
        m.pair[1].append(x)
        return m.p0(x)

    net = ran(forward, conv())
    net.store = {"inner": [], "deep": {"er": set()}}
    net.pair = (1, [])
    inner = net.store["inner"]
    eyeshot.analyze(net, SHAPE)
    assert net.store == {"inner": [], "deep": {"er": set()}}
    assert net.pair == (1, [])
    assert net.store["inner"] is inner


def test_the_same_report_again() -> None:
    net = Busy()
    assert eyeshot.analyze(net, SHAPE).to_dict() == eyeshot.analyze(net, SHAPE).to_dict()


def test_running_statistics_stay() -> None:
    net = nn.Sequential(conv(), nn.BatchNorm2d(2)).train()
    before = copy.deepcopy(net.state_dict())
    report = eyeshot.analyze(net, SHAPE, training=True)
    assert report["1"].is_global
    assert report["1"].fields[0].size == 3
    assert not eyeshot.analyze(net, SHAPE)["1"].is_global
    assert eyeshot.analyze(net, SHAPE, training=None)["1"].is_global
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_hooks_of_the_user_run() -> None:
    net = nn.Sequential(conv(), nn.ReLU())
    calls = []
    net[0].register_forward_hook(lambda m, args, out: calls.append("hook"))
    net[1].register_forward_pre_hook(lambda m, args: (F.avg_pool2d(args[0], 2),))
    net[1].register_forward_hook(lambda m, args, out: F.max_pool2d(out, 2))
    report = eyeshot.analyze(net, (1, 2, 8, 8))
    assert calls == ["hook"]
    assert report.outputs[0].jump == (4, 4)
    assert report.outputs[0].size == (6, 6)
    assert [len(m._forward_hooks) for m in net] == [1, 1]
    assert net(torch.randn(1, 2, 8, 8)).shape == (1, 2, 2, 2)


def test_global_hooks_of_the_user_stay() -> None:
    calls = []
    handle = torch_module.register_module_forward_hook(
        lambda m, args, out: calls.append(type(m).__name__)
    )
    try:
        eyeshot.analyze(nn.Sequential(nn.ReLU()), SHAPE)
        assert calls == ["ReLU", "Sequential"]
        assert len(torch_module._global_forward_hooks) == 1
    finally:
        handle.remove()


def test_the_inputs_stay() -> None:
    x = torch.randn(SHAPE, requires_grad=True)
    before = x.detach().clone()
    report = eyeshot.analyze(lambda x: x.detach().mul_(0)[..., 1:], x)
    assert report.outputs[0].jump == (1, 1)
    assert torch.equal(x, before)
    y = torch.randn(SHAPE)
    kept = y.clone()
    eyeshot.analyze(lambda x: x.mul_(x.max().item()), y)
    assert torch.equal(y, kept)


def test_another_thread_may_run_modules() -> None:
    """Hooks on all modules are those of this thread's trace alone."""
    done = threading.Event()
    other = nn.Sequential(nn.ReLU(), nn.ReLU())

    def work() -> None:
        other(torch.ones(1))
        done.set()

    def forward(m: Any, x: Tensor) -> Tensor:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return m.p0(x)

    report = eyeshot.analyze(ran(forward, conv()), SHAPE)
    assert done.is_set()
    assert [layer.name for layer in report] == ["p0"]


# --- errors


def test_an_error_in_forward() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        raise RuntimeError("no\n luck")

    net = ran(lambda m, x: m.p0(x), ran(lambda m, x: m.p0(x), ran(forward)))
    with pytest.raises(
        EyeshotError, match=r"^p0\.p0: the module raised RuntimeError for .*1x2x9x8: no luck$"
    ):
        eyeshot.analyze(net, SHAPE)
    assert not torch_module._global_forward_hooks


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda x: None, "returns no tensor"),
        (lambda x: 3, "returns no tensor"),
        (lambda x: {"a": [None]}, "returns no tensor"),
        (lambda x: torch.ones(3), "depends on the input"),
        (lambda x: x.new_zeros(x.shape), "depends on the input"),
        (nn.LazyConv2d(3, 3), "lazy"),
        (nn.Sequential(nn.Linear(3, 3), nn.LazyLinear(3)), "lazy"),
        (nn.Conv2d(5, 2, 3), "5 channels"),
    ],
    ids=["none", "number", "nested", "constant", "zeros", "lazy", "lazy-inside", "channels"],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_unusable(source: Any, message: str) -> None:
    with pytest.raises(EyeshotError, match=message) as raised:
        eyeshot.analyze(source, SHAPE)
    assert "\n" not in str(raised.value)


def test_a_parameter_without_data_that_is_needed() -> None:
    with torch.device("meta"):
        net = conv()
    net.forward = lambda x: x * net.weight.sum().item()
    with pytest.raises(EyeshotError, match="needed as data"):
        eyeshot.analyze(net, SHAPE)


def test_a_module_on_meta() -> None:
    with torch.device("meta"):
        net = nn.Sequential(conv(), nn.BatchNorm2d(2))
    report = eyeshot.analyze(net, SHAPE)
    assert (report[-1].size, report.status) == ((3, 3), "exact")


def test_interrupts_are_not_swallowed() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        eyeshot.analyze(ran(forward), SHAPE)
    assert not torch_module._global_forward_hooks


# --- outputs


class Pair(NamedTuple):
    one: Tensor
    two: Tensor


@dataclasses.dataclass
class Result:
    logits: Tensor
    extra: Any = None


@pytest.mark.parametrize(
    "pack",
    [
        lambda a, b: (a, b),
        lambda a, b: [a, [b]],
        lambda a, b: {"a": a, "b": b},
        lambda a, b: Pair(a, b),
        lambda a, b: Result(a, {"deep": (b, None, 3)}),
        lambda a, b: OrderedDict(a=a, b=(None, b)),
        lambda a, b: (a, torch.ones(3), b),
    ],
    ids=["tuple", "list", "dict", "namedtuple", "dataclass", "ordered", "constant"],
)
def test_outputs(pack: Callable[[Tensor, Tensor], Any]) -> None:
    net = ran(lambda m, x: pack(m.p0(x), m.p1(x)), conv(), nn.MaxPool2d(2))
    report = eyeshot.analyze(net, SHAPE)
    assert [layer.name for layer in report.outputs] == ["p0", "p1"]
    assert [layer.size for layer in report.outputs] == [(3, 3), (2, 2)]


def test_outputs_inside() -> None:
    """Submodules may return anything too."""
    split = ran(lambda m, x: Result(x[:, :1], {"rest": x[:, 1:]}))
    net = ran(lambda m, x: m.p1(m.p0(x).extra["rest"]), split, nn.Conv2d(1, 1, 3))
    assert eyeshot.analyze(net, SHAPE).outputs[0].size == (3, 3)


def test_the_input_as_output() -> None:
    report = eyeshot.analyze(lambda x: x, SHAPE)
    (layer,) = report.outputs
    assert (layer.name, layer.shape, layer.size, layer.jump) == ("output", SHAPE, (1, 1), (1, 1))
    report = eyeshot.analyze(nn.Identity(), SHAPE)
    assert report.outputs[0].size == (1, 1)
    report = eyeshot.analyze(lambda x: (x, x + 1, x), SHAPE)
    assert [layer.size for layer in report.outputs] == [(1, 1), (1, 1)]


def test_outputs_that_are_views() -> None:
    report = eyeshot.analyze(ran(lambda m, x: m.p0(x).flatten(2).transpose(1, 2), conv()), SHAPE)
    (layer,) = report.outputs
    assert (layer.shape, layer.unit_dims, layer.size) == ((1, 72, 2), (1,), (3, 3))


# --- inputs


def test_several_inputs() -> None:
    def forward(m: Any, x: Tensor, y: Tensor) -> Tensor:
        return m.p0(x)[..., :6] + y

    report = eyeshot.analyze(ran(forward, nn.Conv1d(1, 1, 3)), [(1, 1, 9), (1, 1, 6)])
    layer = report.outputs[0]
    assert [field.size for field in layer.fields] == [3, 1]
    assert [source["shape"] for source in report.inputs] == [[1, 1, 9], [1, 1, 6]]


def test_arguments() -> None:
    def forward(x: Tensor, pair: Any, *, options: dict, flag: bool = False, **rest: Any) -> Tensor:
        assert flag
        out = x + pair[0] + pair[1].logits
        return out + F.avg_pool1d(options["deep"][0], 3, 1, 1) + rest["more"].mean()

    one = torch.randn(1, 1, 7, dtype=torch.float64)
    report = eyeshot.analyze(
        forward,
        args=(one, (one.clone(), Result(one.clone()))),
        kwargs={"options": {"deep": [one.clone()]}, "flag": True, "more": one.clone()},
    )
    assert [source["name"] for source in report.inputs] == [
        "x",
        "pair[0]",
        "pair[1].logits",
        "options.deep[0]",
        "more",
    ]
    layer = report.outputs[0]
    assert [(field.size, field.is_global) for field in layer.fields[:4]] == [(1, False)] * 3 + [
        (3, False)
    ]
    assert layer.fields[4].is_global


def test_the_same_tensor_twice() -> None:
    """Two arguments that are one tensor are one memory."""
    x = torch.randn(1, 1, 7, dtype=torch.float64)
    report = eyeshot.analyze(lambda a, b: a[..., 1:] + b[..., :-1], args=(x, x))
    boxes = report.outputs[0].boxes()
    assert boxes[2].tolist() in ([[3, 4], [2, 3]], [[2, 4]])


def test_zero_sized_tensors() -> None:
    def forward(x: Tensor) -> Tensor:
        empty = x[..., :0]
        empty = F.relu(empty) * 2
        empty += 1
        nothing = x.new_zeros(1, 2, 0)
        return torch.cat([empty, x, nothing, x[..., 1:]], -1) + empty.sum()

    assert_agrees(forward, (1, 2, 5))


def test_scalars() -> None:
    assert_agrees(lambda x: x[0, 0, 2] + x[0, 1, 3], (1, 2, 5), status="exact")
    assert_agrees(lambda x: x.mean().exp().reshape(()).expand(3), (1, 2, 5))
    assert_agrees(lambda x: (x[0, 0, 2] * torch.ones(4, dtype=x.dtype)).view(2, 2), (1, 2, 5))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights(tied: bool) -> None:
    one, two = conv(), conv()
    if tied:
        two.weight = one.weight
    report = eyeshot.analyze(nn.Sequential(one, nn.ReLU(), two), SHAPE)
    assert report["2"].size == (5, 5)
    assert (two.weight is one.weight) is tied


def test_weights_that_the_input_makes() -> None:
    def forward(x: Tensor) -> Tensor:
        weight = x[:, :, :3].mean(0, keepdim=True)
        return F.conv1d(x, weight)

    assert_agrees(forward, (1, 2, 9))

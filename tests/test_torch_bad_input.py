"""Modules and inputs that can't be analysed: one clear line, and the module as it was."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

import eyeshot


def refused(module: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(eyeshot.EyeshotError) as caught:
        eyeshot.analyze(module, *args, **kwargs)
    message = str(caught.value)
    assert message and "\n" not in message and len(message) < 500
    return message


class Raises(nn.Module):
    def __init__(self, error: Any) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)
        self.inner = nn.Sequential(nn.ReLU(), _Raise(error))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.conv(x))


class _Raise(nn.Module):
    def __init__(self, error: Any) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


# --- forward


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("a message\nof two lines"),
            "raised ValueError for x 1x1x9: a message of two lines",
        ),
        (KeyError("key"), "raised KeyError for x 1x1x9: 'key'"),
        (RuntimeError(), "raised RuntimeError for x 1x1x9: no message"),
        (AssertionError("no " * 1000), "raised AssertionError"),
        (NotImplementedError("later"), "later"),
        (RecursionError("deep"), "deep"),
    ],
)
def test_its_own_message_and_where(error: Exception, message: str) -> None:
    with pytest.raises(eyeshot.EyeshotError) as caught:
        eyeshot.analyze(Raises(error), (1, 1, 9))
    text = str(caught.value)
    assert message in text and text.startswith("inner.1: ") and "\n" not in text


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_a_program_stops_it(stop: type[BaseException]) -> None:
    with pytest.raises(stop):
        eyeshot.analyze(Raises(stop()), (1, 1, 9))


@pytest.mark.parametrize(
    ("module", "given", "words"),
    [
        (nn.Conv2d(3, 4, 3), (1, 4, 9, 9), ["input 1x4x9x9", "channels"]),
        (nn.Conv2d(3, 4, 3), (1, 3, 2, 9), ["Kernel size"]),
        (nn.Linear(5, 2), (1, 3, 4), ["RuntimeError", "shape"]),
        (
            nn.Sequential(nn.Conv1d(1, 1, 3), nn.Conv2d(1, 1, 3)),
            (1, 1, 9),
            ["1: the module raised"],
        ),
        (nn.Conv1d(1, 1, 3), {"nope": (1, 1, 9)}, ["forward has no 'nope' (it has input)"]),
        (nn.Conv1d(1, 1, 3), {1: (1, 1, 9)}, ["forward has no 1"]),
        (nn.Bilinear(3, 3, 2), (1, 4, 3), ["missing", "input2"]),
        (nn.ReLU(), [(1, 1, 9), (1, 1, 9)], ["ReLU.forward() takes 2 positional arguments"]),
        (nn.ReLU(), None, ["needs one, such as 3x224x224"]),
        (nn.ReLU(), (1, 9), ["1x9 has no field axes", "axes="]),
        (nn.ReLU(), torch.zeros(()), ["scalar has no field axes"]),
    ],
)
def test_wrong_inputs(module: nn.Module, given: Any, words: list[str]) -> None:
    message = refused(module, given)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "given",
    [
        "3x",
        "x3",
        "axb",
        "3.5x4",
        "nan",
        "",
        "3x0x9",
        "3x-1x9",
        0,
        -1,
        10**30,
        "1" + "0" * 30,
        "9" * 5000,
        (1, 3, 0, 9),
        (1, 3, -1, 9),
        (1, 3, 10**30),
        (1, 3, 1 << 40, 1 << 40),
        (1, 3, 2.5),
        (1, 3, float("nan")),
        (1, 3, True),
        [],
        (),
        {},
        True,
        3.0,
        b"3x9",
        np.zeros((1, 3, 9, 9)),
        object(),
        torch.zeros(1, 3, 0, 9),
        torch.zeros(1, 3, 9, 9).to_sparse(),
    ],
    ids=range(30),
)
def test_no_shapes(given: Any) -> None:
    message = refused(nn.ReLU(), given)
    assert message.startswith("input"), message


def test_args() -> None:
    x = torch.zeros(1, 1, 9)
    assert "either input or args" in refused(nn.ReLU(), (1, 1, 9), args=[x])
    assert "no tensor among the arguments" in refused(nn.ReLU(), args=[3])
    assert "no tensor among the arguments" in refused(nn.ReLU(), args=[])
    assert "kwargs: expected a mapping" in refused(nn.ReLU(), kwargs=[x])
    assert "kwargs: expected a mapping" in refused(nn.ReLU(), kwargs={3: x})
    assert "unexpected keyword argument 'y'" in refused(nn.ReLU(), args=[x], kwargs={"y": x})


def test_containers_that_hold_themselves() -> None:
    a: list[Any] = [torch.zeros(1, 1, 9)]
    a.append(a)
    b: dict[str, Any] = {}
    b["b"] = [b]
    for value in (a, b):
        assert "nested" in refused(nn.ReLU(), args=[value])


def test_an_output_that_holds_itself() -> None:
    def forward(x: Tensor) -> Any:
        out: list[Any] = [x + 1]
        out.append(out)
        return out

    assert eyeshot.analyze(forward, (1, 1, 9))[-1].size == (1,)


@pytest.mark.parametrize("out", [None, 3, "x", [], {}, [None]])
def test_no_tensor_comes_out(out: Any) -> None:
    assert "returns no tensor" in refused(lambda x: out, (1, 1, 9))


def test_no_output_depends_on_the_input() -> None:
    assert "no output of the module depends on the input" in refused(
        lambda x: torch.ones(3), (1, 1, 9)
    )
    assert "depends" in refused(lambda x: torch.zeros_like(x), (1, 1, 9))


@pytest.mark.parametrize(
    "source", [3, None, object(), nn.ReLU, int, [nn.ReLU()], nn.Parameter(torch.zeros(1))]
)
def test_no_modules(source: Any) -> None:
    assert "expected a PyTorch module" in refused(source, (1, 1, 9))


def test_specs_take_no_arguments_of_modules() -> None:
    assert "only a PyTorch module takes it" in refused({"a": [3, 1, 1]}, 5, axes=2)


# --- what a module needs


def test_lazy_modules() -> None:
    with warnings.catch_warnings(action="ignore"):
        net = nn.Sequential(nn.LazyConv1d(3, 3))
    assert "lazy" in refused(net, (1, 1, 9))
    net(torch.zeros(1, 1, 9))
    assert eyeshot.analyze(net, (1, 1, 9))[-1].size == (3,)


def test_weights_as_data_on_the_meta_device() -> None:
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if self.gate > 0 else x

    assert eyeshot.analyze(Choosy(), (1, 1, 9))[-1].size == (1,)
    message = refused(Choosy().to("meta"), (1, 1, 9))
    assert "meta device" in message and "weights are needed as data" in message


# --- as it was


class Restless(nn.Module):
    """Changes everything that a module can change of itself, and draws from all generators."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3)
        self.bn = nn.BatchNorm1d(2)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.zeros(1))
        self.seen: list[int] = [1]
        self.memo: dict[str, Any] = {"a": 1}
        self.fails = fails
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        self.memo["x"] = x
        self.new = x.shape
        self.count += 1
        self.register_buffer("later", torch.ones(2))
        self.train()
        self.conv.register_forward_hook(lambda *args: None)
        torch.rand(1), random.random(), np.random.rand()
        x = self.drop(self.bn(self.conv(x)))
        if self.fails:
            raise RuntimeError("tired")
        return x


def state(module: nn.Module) -> Any:
    return [
        (
            name,
            m.training,
            sorted(m.__dict__),
            {
                k: copy.deepcopy(v)
                for k, v in m.__dict__.items()
                if type(v) in (int, bool, list, str)
            },
            {
                k: {n: (id(t), t.tolist()) for n, t in m.__dict__[k].items()}
                for k in ("_buffers", "_parameters")
            },
            {k: list(v) for k, v in m.__dict__.items() if k.endswith("_hooks")},
        )
        for name, m in module.named_modules()
    ]


def world() -> Any:
    return (
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        str(np.random.get_state()),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        len(global_hooks._global_forward_hooks),
        len(global_hooks._global_forward_pre_hooks),
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
    )


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("training", [False, True, None])
def test_untouched(fails: bool, train: bool, training: bool | None) -> None:
    net = Restless(fails).train(train)
    net.conv.eval()
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    net.bn.weight.requires_grad_(False)
    grad = net.conv.weight.grad
    before, around = state(net), world()
    memo, seen = net.memo, net.seen
    if fails:
        assert "tired" in refused(net, (1, 2, 9), training=training)
    else:
        eyeshot.analyze(net, (1, 2, 9), training=training)
    assert state(net) == before and world() == around
    assert net.memo is memo and memo == {"a": 1} and net.seen is seen
    assert net.conv.weight.grad is grad and bool((grad == 1).all())
    assert not net.bn.weight.requires_grad and net.conv.weight.requires_grad


def test_the_users_own_input_is_not_written_to() -> None:
    def forward(x: Tensor) -> Tensor:
        x += 1
        return x.relu_()

    x = torch.full((1, 1, 9), -3.0)
    eyeshot.analyze(forward, x)
    assert bool((x == -3).all()) and x._version == 0


def test_a_module_in_inference_mode_and_under_no_grad() -> None:
    net = nn.Conv1d(1, 1, 3)
    with torch.inference_mode():
        assert eyeshot.analyze(net, (1, 1, 9))[-1].size == (3,)
    with torch.no_grad():
        assert eyeshot.analyze(net, (1, 1, 9))[-1].size == (3,)
        assert not torch.is_grad_enabled()


# --- the command line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["net:Conv", "-i", "4x9x9"], ["raised RuntimeError", "channels"]),
        (["net:Conv", "-i", "3x-1x9"], ["sizes must be within"]),
        (["net:Conv", "-i", "a=3x9x9", "-i", "a=3x9x9"], ["given twice"]),
        (["net:Conv", "-i", "3x9x9", "-a", "nan"], ["--axes nan: expected dims"]),
        (["net:Conv", "-i", "3x9x9", "-a", "9"], ["axes: (9,) are not dims of input"]),
        (["net:Conv", "-i", "3x9x9", "-a", "y=2"], ["there is no input 'y'"]),
        (["net:Conv", "-i", "3x9x9", "-l", "z*"], ["no layer has such a name"]),
        (["net:dies", "-i", "3x9x9"], ["raised RuntimeError: gone"]),
        (["net:quits", "-i", "3x9x9"], ["SystemExit"]),
    ],
    ids=range(9),
)
def test_one_line_and_exit_code_2(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    from eyeshot.cli import main

    (tmp_path / "net.py").write_text(
        "import sys\nfrom torch import nn\n\ndef Conv():\n    return nn.Conv2d(3, 3, 3)\n"
        "def dies():\n    raise RuntimeError('gone')\ndef quits():\n    sys.exit()\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "net", raising=False)
    with pytest.raises(SystemExit) as done:
        main(["show", *arguments])
    out, err = capsys.readouterr()
    assert done.value.code == 2 and out == ""
    assert err.startswith("eyeshot: ") and err.count("\n") == 1
    assert all(word in err for word in words), err


def test_a_whole_process(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nnet = nn.Conv2d(3, 3, 3)\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "eyeshot", "show", "net:net", "-i", "3x9x9"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("net · input 1x3x9x9 · exact\n")

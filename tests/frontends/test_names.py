"""Names: a leaf module by its path, a functional operator by its module's path and its own name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import eyeshot
from eyeshot.errors import UnknownLayerError
from eyeshot.frontends.torch.names import class_name, operator_name

SHAPE = (1, 2, 9, 8)


def ran(forward: Callable[..., Any], **parts: nn.Module) -> nn.Module:
    """A module with these submodules that runs ``forward(self, x)``."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                self.add_module(name, part)

        def forward(self, x: Any) -> Any:
            return forward(self, x)

    return Net()


def conv() -> nn.Conv2d:
    return nn.Conv2d(2, 2, 3, padding=1)


def rows(source: Any, shape: Any = SHAPE) -> list[tuple[str, str]]:
    return [(layer.name, layer.op) for layer in eyeshot.analyze(source, shape)]


def test_modules_and_functions() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.bn(m.conv(x))
        return F.relu(x) + x

    net = nn.Sequential(
        OrderedDict(stem=ran(forward, conv=conv(), bn=nn.BatchNorm2d(2)), act=nn.ReLU())
    )
    assert rows(net) == [
        ("stem.conv", "conv2d"),
        ("stem.bn", "batch_norm2d"),
        ("stem.relu", "relu"),
        ("stem.add", "add"),
        ("act", "relu"),
    ]


def test_shared_modules_are_numbered() -> None:
    relu = nn.ReLU()
    net = ran(lambda m, x: m.relu(m.b(m.relu(m.a(m.relu(x))))), a=conv(), b=conv(), relu=relu)
    assert [name for name, _ in rows(net)] == ["relu", "a", "relu_1", "b", "relu_2"]


def test_one_module_under_two_names() -> None:
    one = conv()
    net = ran(lambda m, x: m.second(m.first(x)), first=one, second=one)
    assert [name for name, _ in rows(net)] == ["first", "first_1"]


def test_a_shared_block() -> None:
    block = ran(lambda m, x: F.relu(m.conv(x)), conv=conv())
    net = ran(lambda m, x: m.block(m.block(x)), block=block)
    report = eyeshot.analyze(net, SHAPE)
    assert [layer.name for layer in report] == [
        "block.conv",
        "block.relu",
        "block.conv_1",
        "block.relu_1",
    ]
    assert report["block.conv_1"].size == (5, 5)
    assert report["block"].size == (3, 3)
    assert report["block_1"].size == (5, 5)


def test_functions_of_one_name_are_numbered() -> None:
    assert rows(lambda x: F.relu(F.relu(x) + 1) + 1) == [
        ("relu", "relu"),
        ("add", "add"),
        ("relu_1", "relu"),
        ("add_1", "add"),
    ]


def test_submodules_named_like_operators() -> None:
    net = ran(lambda m, x: m.relu(m.add(x) + 1) + 1, add=conv(), relu=conv())
    report = eyeshot.analyze(net, SHAPE)
    names = [layer.name for layer in report]
    assert len(set(names)) == 4
    assert names == ["add", "add_1", "relu", "add_2"]
    assert report["add"].op == "conv2d"
    assert [layer.size for layer in report] == [(3, 3), (3, 3), (5, 5), (5, 5)]


def test_names_that_look_numbered() -> None:
    """A module may be called what a second call would be."""
    net = ran(lambda m, x: m.get_submodule("a_1")(m.a(m.a(x))), a=conv(), a_1=conv())
    report = eyeshot.analyze(net, SHAPE)
    assert len({layer.name for layer in report}) == 3
    assert [layer.size for layer in report] == [(3, 3), (5, 5), (7, 7)]


def test_a_lone_module() -> None:
    assert rows(conv()) == [("conv2d", "conv2d")]
    assert rows(nn.Sequential()) == [("sequential", "sequential")]
    assert rows(nn.Identity()) == [("identity", "identity")]


def test_a_function_that_does_nothing() -> None:
    assert [name for name, _ in rows(lambda x: x)] == ["output"]


def test_nested_containers() -> None:
    net = nn.Sequential(nn.Sequential(conv(), nn.Sequential(nn.ReLU(), conv())), conv())
    report = eyeshot.analyze(net, SHAPE)
    assert [layer.name for layer in report] == ["0.0", "0.1.0", "0.1.1", "1"]
    assert report["0"].size == report["0.1"].size == (5, 5)
    assert report["0"].op == "sequential"
    assert report[-1].size == (7, 7)
    assert "0.1" in report
    with pytest.raises(UnknownLayerError, match="did you mean"):
        report["0.1.2"]


def test_module_lists_and_dicts() -> None:
    net = ran(
        lambda m, x: m.many[1](m.named["a"](m.many[0](x))),
        many=nn.ModuleList([conv(), conv()]),
        named=nn.ModuleDict({"a": nn.ReLU()}),
    )
    assert [name for name, _ in rows(net)] == ["many.0", "named.a", "many.1"]


def test_modules_made_in_forward() -> None:
    net = nn.Sequential(OrderedDict(a=ran(lambda m, x: nn.AvgPool2d(3, 1)(nn.ReLU()(x)))))
    assert rows(net) == [("a.ReLU", "relu"), ("a.AvgPool2d", "avg_pool2d")]


def test_a_module_of_the_users_with_one_operator() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.silu(x)

    class Swish2(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    net = nn.Sequential(OrderedDict(a=Swish(), b=Swish2()))
    assert rows(net) == [("a", "silu"), ("b.sigmoid", "sigmoid"), ("b.mul", "mul")]


def test_library_modules_are_one_row() -> None:
    net = nn.Sequential(
        OrderedDict(
            norm=nn.GroupNorm(1, 2),
            up=nn.Upsample(scale_factor=2),
            gelu=nn.GELU("tanh"),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            out=nn.Linear(2, 3),
        )
    )
    assert rows(net) == [
        ("norm", "group_norm"),
        ("up", "upsample"),
        ("gelu", "gelu"),
        ("pool", "adaptive_avg_pool2d"),
        ("flat", "flatten"),
        ("out", "linear"),
    ]


def test_a_module_that_returns_several() -> None:
    class Split(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return {"a": [x[:, :1]], "b": x[:, 1:], "c": None}

    net = ran(lambda m, x: m.last(m.split(x)["b"]), split=Split(), last=nn.Conv2d(1, 1, 3))
    assert [name for name, _ in rows(net)][-1] == "last"


def test_a_module_that_returns_none() -> None:
    class Quiet(nn.Module):
        def forward(self, x: Tensor) -> None:
            x.relu_()

    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        m.quiet(y)
        return y

    report = eyeshot.analyze(ran(forward, conv=conv(), quiet=Quiet()), SHAPE)
    assert report.outputs[0].size == (3, 3)
    assert [layer.name for layer in report] == ["conv", "quiet.relu"]


def test_a_module_that_raises_inside_a_try() -> None:
    """The stack of calls finds its way back."""

    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            F.relu(x)
            raise ValueError

    def forward(m: Any, x: Tensor) -> Tensor:
        try:
            return m.fails(x)
        except ValueError:
            return m.conv(x) + 1

    report = eyeshot.analyze(
        ran(forward, fails=ran(lambda m, x: m.inner(x), inner=Fails()), conv=conv()), SHAPE
    )
    assert [layer.name for layer in report][-2:] == ["conv", "add"]


def test_forward_called_without_hooks() -> None:
    """``self.conv.forward(x)`` is a call that no hook sees: its operators belong to the caller."""
    net = ran(lambda m, x: m.conv.forward(x), conv=conv())
    (layer,) = eyeshot.analyze(net, SHAPE).outputs
    assert layer.size == (3, 3)


def test_recursion() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv()

        def forward(self, x: Tensor, depth: int = 2) -> Tensor:
            return self(self.conv(x), depth - 1) if depth else x

    report = eyeshot.analyze(Deep(), SHAPE)
    assert [layer.name for layer in report][:2] == ["conv", "conv_1"]
    assert report.outputs[0].size == (5, 5)


def test_outputs() -> None:
    net = ran(lambda m, x: (m.a(x), m.b(x)[:, 0], m.a(x).flatten(2)), a=conv(), b=conv())
    report = eyeshot.analyze(net, SHAPE)
    assert [layer.name for layer in report.outputs] == ["a", "output", "output_1"]
    assert [layer.shape for layer in report.outputs] == [SHAPE, (1, 9, 8), (1, 2, 72)]


def test_a_submodule_named_output() -> None:
    net = ran(lambda m, x: m.output(x)[..., 1:], output=conv())
    report = eyeshot.analyze(net, SHAPE)
    assert [layer.name for layer in report] == ["output", "output_1"]
    assert report.outputs[0].shape == (1, 2, 9, 7)


def test_views_have_no_row() -> None:
    net = ran(lambda m, x: m.b(m.a(x).transpose(2, 3).contiguous().flip(-1)), a=conv(), b=conv())
    assert [name for name, _ in rows(net)] == ["a", "flip", "b"]


def test_writes_have_a_row() -> None:
    def forward(x: Tensor) -> Tensor:
        y = x.relu()
        y.mul_(2)
        y += 1
        return y

    assert rows(forward) == [("relu", "relu"), ("mul", "mul"), ("add", "add")]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.BatchNorm2d(1), "batch_norm2d"),
        (nn.ReLU(), "relu"),
        (nn.ReLU6(), "relu6"),
        (nn.LeakyReLU(), "leaky_relu"),
        (nn.PReLU(), "prelu"),
        (nn.SiLU(), "silu"),
        (nn.ConvTranspose2d(1, 1, 1), "conv_transpose2d"),
        (nn.GELU(), "gelu"),
        (nn.LSTM(1, 1), "lstm"),
        (nn.MultiheadAttention(1, 1), "multihead_attention"),
    ],
)
def test_class_names(module: nn.Module, name: str) -> None:
    assert class_name(module) == name


@pytest.mark.parametrize(
    ("operator", "name"),
    [
        ("aten::relu_", "relu"),
        ("aten::addmm", "linear"),
        ("aten::_softmax", "softmax"),
        ("aten::native_layer_norm", "layer_norm"),
        ("torchvision::nms", "nms"),
        ("aten::__and__", "and"),
    ],
)
def test_operator_names(operator: str, name: str) -> None:
    assert operator_name(operator) == name

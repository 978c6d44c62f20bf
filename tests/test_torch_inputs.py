"""What a module is called with: shapes, tensors, containers, names, integers, axes."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import eyeshot
from eyeshot.frontends.torch.inputs import candidates


def seen(report: eyeshot.Report) -> list[tuple[str, list[int], list[int]]]:
    return [(i["name"], i["shape"], i["axes"]) for i in report.inputs]


class Signal(nn.Module):
    """Takes exactly [batch, 2, n]."""

    def __init__(self, rank: int = 1) -> None:
        super().__init__()
        self.conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1](2, 2, 3)

    def forward(self, wave: Tensor) -> Tensor:
        return self.conv(wave)


# --- shapes


@pytest.mark.parametrize(
    ("rank", "given", "shape"),
    [
        (1, (1, 2, 9), [1, 2, 9]),
        (1, (2, 9), [1, 2, 9]),
        (1, "2x9", [1, 2, 9]),
        (1, "2×9", [1, 2, 9]),
        (1, " 2 , 9 ", [1, 2, 9]),
        (1, [2, 9], [1, 2, 9]),
        (1, torch.Size([2, 9]), [1, 2, 9]),
        (1, (np.int64(2), np.int32(9)), [1, 2, 9]),
        (1, (4, 2, 9), [4, 2, 9]),
        (2, (2, 9, 7), [1, 2, 9, 7]),
        (2, (5, 2, 9, 7), [5, 2, 9, 7]),
        (3, (2, 9, 7, 5), [1, 2, 9, 7, 5]),
        (2, (1, 2, 9, 1), None),
        (1, {"wave": "2x9"}, [1, 2, 9]),
        (1, {"wave": (2, 9)}, [1, 2, 9]),
        (1, ["2x9"], [1, 2, 9]),
        (1, [torch.zeros(1, 2, 9)], [1, 2, 9]),
        (1, torch.zeros(1, 2, 9), [1, 2, 9]),
        (1, torch.zeros(1, 2, 9, device="meta"), [1, 2, 9]),
    ],
)
def test_shapes(rank: int, given: Any, shape: list[int] | None) -> None:
    if shape is None:
        with pytest.raises(eyeshot.EyeshotError, match="Kernel size can't be greater"):
            eyeshot.analyze(Signal(rank), given)
        return
    report = eyeshot.analyze(Signal(rank), given)
    assert seen(report) == [("wave", shape, list(range(2, rank + 2)))]
    assert report["conv"].size == (3,) * rank


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(1, 1, 3), (1, 1, 32)),
        (nn.Conv2d(3, 1, 3), (1, 3, 32, 32)),
        (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4)), (1, 32)),
    ],
)
def test_one_number(module: nn.Module, shape: tuple[int, ...]) -> None:
    for given in (32, "32"):
        assert eyeshot.analyze(module, given).inputs[0]["shape"] == list(shape)


def test_sizes_beyond_any_memory() -> None:
    report = eyeshot.analyze(nn.Conv2d(3, 4, 3, padding=1), "3x99999999x99999999")
    assert report[-1].shape == (1, 4, 99999999, 99999999) and report[-1].size == (3, 3)


# --- several inputs


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(1, 1, 3, padding=1)
        self.b = nn.Conv1d(1, 1, 5, padding=2)

    def forward(self, left: Tensor, right: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return self.a(left) if right is None else self.a(left) + scale * self.b(right)


@pytest.mark.parametrize(
    "given",
    [
        {"input": {"left": (1, 1, 9), "right": (1, 1, 9)}},
        {"input": {"right": "1x9", "left": "1x9"}},
        {"input": [(1, 1, 9), (1, 1, 9)]},
        {"input": ["1x9", torch.zeros(1, 1, 9)]},
        {"args": (torch.zeros(1, 1, 9), torch.zeros(1, 1, 9))},
        {"args": [torch.zeros(1, 1, 9)], "kwargs": {"right": torch.zeros(1, 1, 9), "scale": 2.0}},
        {"kwargs": {"left": torch.zeros(1, 1, 9), "right": torch.zeros(1, 1, 9)}},
    ],
)
def test_several(given: dict[str, Any]) -> None:
    report = eyeshot.analyze(Two(), **given)
    assert sorted(name for name, _, _ in seen(report)) == ["left", "right"]
    sizes = {f.input: f.size for f in report[-1].fields}
    assert sizes == {"left": 3, "right": 5}


def test_one_of_several() -> None:
    assert seen(eyeshot.analyze(Two(), {"left": "1x9"})) == [("left", [1, 1, 9], [2])]


def test_names_of_variable_arguments() -> None:
    class Sum(nn.Module):
        def forward(self, first: Tensor, *rest: Tensor, key: Any = None) -> Tensor:
            return first + sum(rest)

    assert [n for n, _, _ in seen(eyeshot.analyze(Sum(), ["1x9"] * 3))] == [
        "first",
        "input1",
        "input2",
    ]


def test_names_of_functions() -> None:
    def blend(image: Tensor, mask: Tensor) -> Tensor:
        return image * mask

    assert [n for n, _, _ in seen(eyeshot.analyze(blend, ["1x9"] * 2))] == ["image", "mask"]
    assert eyeshot.analyze(torch.relu, "1x9")[-1].size == (1,)


# --- containers


class Pair(NamedTuple):
    a: Tensor
    b: Tensor


@dataclasses.dataclass(frozen=True)
class Batch:
    image: Tensor
    flag: bool = True
    size: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        assert isinstance(self.image, Tensor)
        object.__setattr__(self, "size", self.image.shape[-1])


class Opens(nn.Module):
    """Takes one container, and adds all tensors in it."""

    def forward(self, x: Any) -> Tensor:
        self.kind = type(x)
        if isinstance(x, Batch):
            assert x.size == 9 and x.flag
            return x.image + 1
        if hasattr(x, "items"):
            x = list(x.values())
        return sum(self.forward(y) if not isinstance(y, Tensor) else y for y in x)


T = torch.zeros(1, 1, 9)
Old = namedtuple("Old", "a b")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([T, T], ["x[0]", "x[1]"]),
        ((T, [T, (T,)]), ["x[0]", "x[1][0]", "x[1][1][0]"]),
        ({"a": T, "b": [T]}, ["x.a", "x.b[0]"]),
        (OrderedDict(a=T), ["x.a"]),
        (Pair(T, T), ["x.a", "x.b"]),
        (Old(T, T), ["x.a", "x.b"]),
        (Batch(T), ["x.image"]),
        ([Batch(T), Batch(T)], ["x[0].image", "x[1].image"]),
    ],
)
def test_containers(value: Any, names: list[str]) -> None:
    report = eyeshot.analyze(Opens(), args=[value])
    assert [n for n, _, _ in seen(report)] == names
    assert report[-1].size == (1,) * len(names)


def test_batch_encodings() -> None:
    transformers = pytest.importorskip("transformers")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 4)

        def forward(self, batch: Any) -> Tensor:
            return self.embed(batch["input_ids"]) * batch.attention_mask[..., None]

    encoding = transformers.BatchEncoding(
        {"input_ids": torch.ones(1, 7, dtype=torch.int64), "attention_mask": torch.ones(1, 7)}
    )
    report = eyeshot.analyze(Net(), args=[encoding], axes={"batch.attention_mask": 1})
    assert seen(report) == [("batch.input_ids", [1, 7], [1]), ("batch.attention_mask", [1, 7], [1])]
    assert report[-1].size == (1, 1)


def test_outputs_in_containers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv1d(1, 1, 3)
            self.b = nn.Conv1d(1, 1, 5)

        def forward(self, x: Tensor) -> Any:
            return {"a": Batch(self.a(x)), "rest": [3, None, Pair(self.b(x), x.sum(1))]}

    report = eyeshot.analyze(Net(), "1x11")
    assert [layer.size for layer in report.outputs] == [(3,), (5,), (1,)]


# --- integers


class Tokens(nn.Module):
    def __init__(self, cls: Any = nn.Embedding) -> None:
        super().__init__()
        self.embed = cls(10, 4)
        self.conv = nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.conv(self.embed(ids).transpose(1, 2))


@pytest.mark.parametrize(
    "given", [(1, 16), 16, "16", "1x16", torch.zeros(1, 16, dtype=torch.int64), {"ids": 16}]
)
def test_tokens(given: Any) -> None:
    report = eyeshot.analyze(Tokens(), given)
    assert seen(report) == [("ids", [1, 16], [1])] and report[-1].size == (3,)


def test_tokens_beside_an_image() -> None:
    """Found to be integers only when the forward pass refuses the rest."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.embed = nn.Embedding(10, 4)

        def forward(self, ids: Tensor, image: Tensor) -> Tensor:
            return self.conv(image).mean((2, 3))[:, None] + self.embed(ids)

    given = {"ids": torch.zeros(1, 5, dtype=torch.int32), "image": "3x8x8"}
    report = eyeshot.analyze(Net(), given)
    assert seen(report) == [("ids", [1, 5], [1]), ("image", [1, 3, 8, 8], [2, 3])]
    assert report[-1].size[0] == 1


def test_a_given_dtype_stays() -> None:
    for tensor in (torch.zeros(1, 16), torch.zeros(1, 16, device="meta")):
        (one,) = candidates(Tokens(), None, [tensor], None, None)
        assert one.integers() == one and one.slots[0].dtype == torch.float32


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int32, torch.float16, torch.complex64]
)
def test_dtypes(dtype: torch.dtype) -> None:
    report = eyeshot.analyze(lambda x: x[..., 1:], torch.zeros(1, 4, 8, dtype=dtype), axes=2)
    assert report[-1].size == (1,)


# --- axes


@pytest.mark.parametrize(
    ("axes", "found"),
    [
        (None, [2, 3]),
        ((2, 3), [2, 3]),
        ([3, 2], [2, 3]),
        (-1, [3]),
        (2, [2]),
        ((1, 2, 3), [1, 2, 3]),
        ((-1, 3), [3]),
        ({"input": (2,)}, [2]),
        ({}, [2, 3]),
        (np.int64(3), [3]),
    ],
)
def test_axes(axes: Any, found: list[int]) -> None:
    report = eyeshot.analyze(nn.Conv2d(2, 2, 3), (1, 2, 8, 8), axes=axes)
    assert seen(report) == [("input", [1, 2, 8, 8], found)]


def test_axes_that_were_asked_for_stay_for_integers() -> None:
    net = nn.Sequential(nn.Embedding(10, 4))
    assert seen(eyeshot.analyze(net, (1, 8, 6), axes=2)) == [("input", [1, 8, 6], [2])]


@pytest.mark.parametrize(
    "axes",
    [
        4,
        -5,
        (2, 9),
        "2,3",
        2.0,
        float("nan"),
        True,
        (2, None),
        {"x": 2},
        {3: 2},
        {"input": "a"},
        10**30,
    ],
)
def test_axes_that_are_none(axes: Any) -> None:
    with pytest.raises(eyeshot.EyeshotError, match="axes"):
        eyeshot.analyze(nn.Conv2d(2, 2, 3), (1, 2, 8, 8), axes=axes)


def test_axes_of_a_reference(tmp_path: Any) -> None:
    report = eyeshot.analyze("timm:test_resnet", axes=3)
    assert seen(report) == [("x", [1, 3, 160, 160], [3])]


# --- modules of any precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precisions(dtype: torch.dtype) -> None:
    net = Signal().to(dtype)
    report = eyeshot.analyze(net, "2x9")
    assert report["conv"].size == (3,)
    assert candidates(net, "2x9", None, None, None)[0].slots[0].dtype == dtype


def test_a_module_on_the_meta_device() -> None:
    with torch.device("meta"):
        net = Signal()
    assert eyeshot.analyze(net, "2x9")["conv"].size == (3,)


def test_readings_are_tried_once() -> None:
    found = candidates(Signal(), {"wave": torch.zeros(1, 2, 9)}, None, None, None)
    assert len(found) == 1
    assert [
        s.shape for one in candidates(Signal(), "2x9", None, None, None) for s in one.slots
    ] == [
        (1, 2, 9),
        (2, 9),
    ]

"""Ways around the dispatcher: whatever a module does, a read is never reported as less."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import eyeshot
from tests.frontends.agree import assert_agrees

CONV = nn.Conv1d(2, 2, 3, padding=1).double()


def parameter(x: Tensor) -> Tensor:
    return x + nn.Parameter(CONV(x))


def parameter_dict(x: Tensor) -> Tensor:
    return x + nn.ParameterDict({"a": CONV(x)})["a"]


def hypernetwork(x: Tensor) -> Tensor:
    made = nn.Conv1d(2, 2, 3, padding=1, bias=False).to(x.dtype)
    made.weight = nn.Parameter(CONV(x).mean((0, 2)).repeat(2, 3).reshape(2, 2, 3))
    return made(x)


def written_parameter(x: Tensor) -> Tensor:
    held = nn.Parameter(torch.zeros(1, 2, 8, dtype=x.dtype), requires_grad=False)
    held.copy_(CONV(x))
    return x + held


def other_thread(x: Tensor) -> Tensor:
    out: list[Tensor] = []
    thread = threading.Thread(target=lambda: out.append(CONV(x)))
    thread.start()
    thread.join()
    return x + out[0]


def mapped_attention(x: Tensor) -> Tensor:
    q = x.mT
    keys = q.flip(1)[None]
    return torch.func.vmap(lambda k: F.scaled_dot_product_attention(q, k, k))(keys)[0]


def listed(x: Tensor) -> Tensor:
    return x + torch.tensor([float(x[0, 0, 0]), float(x[0, 0, 7])]).sum()


def listed_tensors(x: Tensor) -> Tensor:
    return x + torch.tensor([x[0, 0, 0], x[0, 0, 7]]).sum()


def through_storage(x: Tensor) -> Tensor:
    return x + sum(CONV(x).untyped_storage().tolist())


def random_mean(x: Tensor) -> Tensor:
    torch.manual_seed(1)
    return torch.normal(mean=CONV(x), std=1.0)


def statistics(x: Tensor) -> Tensor:
    norm = nn.BatchNorm1d(2, momentum=0.5).to(x.dtype)
    norm(CONV(x))
    return x - norm.running_mean[:, None]


def constant_weight(x: Tensor) -> Tensor:
    return F.linear(torch.ones(1, 2, 8, dtype=x.dtype), CONV(x)[0].repeat(4, 1))


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    f.__name__: f
    for f in (
        parameter,
        parameter_dict,
        hypernetwork,
        written_parameter,
        other_thread,
        mapped_attention,
        listed,
        listed_tensors,
        through_storage,
        random_mean,
        statistics,
        constant_weight,
    )
}


@pytest.mark.parametrize("name", CASES)
def test_a_read_is_never_less(name: str) -> None:
    """The hulls contain the poisoned ones, and equal them where the report says that it is exact."""
    assert_agrees(CASES[name], (1, 2, 8), status=None)


@pytest.mark.parametrize("name", ["parameter", "hypernetwork", "written_parameter", "statistics"])
def test_parameters_made_of_the_input_are_exact(name: str) -> None:
    assert_agrees(CASES[name], (1, 2, 8))


def test_an_origin_out_of_sight_is_named() -> None:
    report = eyeshot.analyze(other_thread, args=(torch.zeros(1, 2, 8, dtype=torch.float64),))
    assert "unknown-origin" in {d.code for d in report.diagnostics}
    assert report.outputs[0].status == "bound"


def test_every_output_counts_after_a_number_was_read() -> None:
    report = eyeshot.analyze(lambda x: (x * 1, torch.full((1, 2, 8), float(x[0, 0, 7]))), (1, 2, 8))
    assert len(report.outputs) == 2
    assert report.outputs[1].status == "bound"
    report = eyeshot.analyze(lambda x: torch.from_numpy(x.numpy() * 2), (1, 2, 8))
    assert report.outputs[0].boxes().tolist() == [[0, 8]]


def test_strides_are_the_users() -> None:
    """Memory is walked through as it lies."""
    x = torch.randn(1, 8, 2, dtype=torch.float64).transpose(1, 2)
    assert not x.is_contiguous()
    report = eyeshot.analyze(
        lambda x: x * 1 if x.is_contiguous() else x.flip(-1)[..., :2], args=(x,)
    )
    assert report.outputs[0].shape == (1, 2, 2)


EMPTY: dict[str, Callable[[Tensor], Tensor]] = {
    "product": lambda x: x + (torch.zeros(0, 2, dtype=x.dtype) @ x[0]).sum(),
    "linear": lambda x: x + F.linear(torch.zeros(0, 8, dtype=x.dtype), x[0]).sum(),
    "pointwise": lambda x: x + (torch.zeros(0, 2, 8, dtype=x.dtype) * x).sum(),
    "resized": lambda x: torch.empty(0, dtype=x.dtype).resize_as_(x).copy_(x.flip(-1)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_tensors_without_elements(name: str) -> None:
    assert_agrees(EMPTY[name], (1, 2, 8), status=None)


def test_an_out_tensor_is_not_read() -> None:
    def f(x: Tensor) -> Tensor:
        y = x * 1
        torch.add(torch.ones(()), torch.ones(()), out=y[0, 0, 0])
        return y

    boxes = eyeshot.analyze(f, (1, 1, 4)).outputs[0].boxes()[:, 0].tolist()
    assert boxes == [[0, 0], [1, 2], [2, 3], [3, 4]]


def test_inference_mode_inside() -> None:
    @torch.inference_mode()
    def f(x: Tensor) -> Tensor:
        return torch.einsum("bcl->blc", CONV(x))

    report = eyeshot.analyze(f, args=(torch.zeros(1, 2, 8, dtype=torch.float64),))
    assert (report.status, report.outputs[0].size) == ("exact", (3,))


def test_plain_tensors_of_a_module_are_left_alone() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = torch.zeros(2)

        def forward(self, x: Tensor) -> Tensor:
            self.seen += 1
            return x * float(x.sum() > 0)

    module = Counts()
    version = module.seen._version
    eyeshot.analyze(module, (1, 2, 8))
    assert np.array_equal(module.seen.numpy(), [0, 0])
    assert module.seen._version == version

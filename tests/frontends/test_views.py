"""Views of every kind, and writes through them, against poisoning."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.frontends.agree import assert_agrees

SHAPE = (2, 6, 4, 8)
ALL = (1, 2, 3)


def chunked(x):
    """Overlapping chunks of a sequence by as_strided: sliding-window attention reads them so."""
    b, s, d = x.shape
    x = x.view(b, s // 4, 4, d)
    size, stride = list(x.size()), list(x.stride())
    size[1], size[2] = size[1] * 2 - 1, size[2]
    stride[1] //= 2
    return x.as_strided(size, stride)


VIEWS = {
    "view": lambda x: x.view(2, 6, 32),
    "view-split": lambda x: x.view(2, 2, 3, 4, 2, 4),
    "view-minus-one": lambda x: x.view(2, -1),
    "reshape-copy": lambda x: x.transpose(1, 3).reshape(2, 4, 48),
    "view_as": lambda x: x.view_as(x.new_zeros(2, 24, 8)),
    "view-dtype-same": lambda x: x.view(torch.int64).view(torch.float64) + 0,
    "view-dtype-smaller": lambda x: x.view(torch.int32) * 1.0,
    "view-dtype-back": lambda x: x.view(torch.int16).flip(1).view(torch.float64) + 0,
    "flatten": lambda x: x.flatten(1, 2),
    "unflatten": lambda x: x.unflatten(1, (2, 3)),
    "permute": lambda x: x.permute(0, 3, 1, 2),
    "permute-negative": lambda x: x.permute(0, -1, 1, -2),
    "transpose": lambda x: x.transpose(1, -1),
    "swapaxes": lambda x: x.swapaxes(2, 3),
    "mT": lambda x: x.mT,
    "T": lambda x: x[0, 0].T,
    "t": lambda x: x[0, 0].t(),
    "movedim": lambda x: x.movedim((1, 2), (3, 1)),
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "rot90-twice": lambda x: x.rot90(2, (1, 3)),
    "squeeze": lambda x: x[:, :1, :1].squeeze(1),
    "squeeze-all": lambda x: x[:1, :1, :, :1].squeeze(),
    "squeeze-several": lambda x: x[:, :1, :, :1].squeeze((1, 3)),
    "squeeze-nothing": lambda x: x.squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(2).unsqueeze(-1),
    "expand": lambda x: x[:, :1].expand(2, 6, 4, 8),
    "expand-front": lambda x: x[0, :, :1].expand(3, 6, 4, -1),
    "expand_as": lambda x: x[:, :, :1].expand_as(x),
    "broadcast_to": lambda x: torch.broadcast_to(x[:, :, :, :1], (2, 6, 4, 8)),
    "select": lambda x: x.select(2, -1),
    "slice": lambda x: x[:, 1:-1, ::2, 5:],
    "slice-all": lambda x: x[:, ...],
    "narrow": lambda x: x.narrow(3, 2, 3),
    "split": lambda x: x.split(4, 1)[1],
    "split_with_sizes": lambda x: x.split([1, 2, 3], 1)[2],
    "chunk": lambda x: x.chunk(3, 3)[1],
    "tensor_split": lambda x: x.tensor_split(3, 3)[2],
    "tensor_split-at": lambda x: x.tensor_split((1, 5), dim=3)[1],
    "hsplit": lambda x: x.hsplit(2)[1],
    "vsplit": lambda x: x[0].vsplit(3)[1],
    "dsplit": lambda x: x.dsplit(2)[1],
    "unbind": lambda x: torch.stack(x.unbind(2)[::-1], 2),
    "unfold": lambda x: x.unfold(3, 3, 2),
    "unfold-twice": lambda x: x.unfold(2, 2, 2).unfold(3, 4, 4),
    "diagonal": lambda x: x.diagonal(0, 2, 3),
    "diagonal-offset": lambda x: x.diagonal(2, 2, 3),
    "diagonal-below": lambda x: x.diagonal(-1, 3, 1),
    "diag": lambda x: x[0, 0].diag(1),
    "diag_embed": lambda x: x[:, :, 0].diag_embed(),
    "diag-matrix": lambda x: x[0, 0, 0].diag(),
    "diagflat": lambda x: x[0, 0, 0].diagflat(1),
    "as_strided": lambda x: x.as_strided((2, 6, 2, 3), (192, 32, 16, 2), 1),
    "as_strided-overlap": lambda x: x.as_strided((2, 6, 4, 6, 3), (192, 32, 8, 1, 1)),
    "as_strided-chunks": lambda x: chunked(x.reshape(2, 24, 8)),
    "as_strided-slanted": lambda x: x.as_strided((20, 3), (9, 1)),
    "as_strided-turned": lambda x: x.as_strided((8, 4), (1, 8), 40),
    "flip": lambda x: x.flip((1, 3)),
    "fliplr": lambda x: x[0].fliplr(),
    "roll": lambda x: x.roll((1, -2), (2, 3)),
    "roll-flat": lambda x: x[0, 0].roll(3),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "repeat-front": lambda x: x[0].repeat(2, 1, 1, 2),
    "tile": lambda x: x.tile((2, 1)),
    "cat": lambda x: torch.cat([x, x[:, :, :2], x.flip(2)], 2),
    "stack": lambda x: torch.stack([x, x.flip(3)], 2),
    "hstack": lambda x: torch.hstack([x, x]),
    "dstack": lambda x: torch.dstack([x[0], x[1]]),
    "column_stack": lambda x: torch.column_stack([x[0, 0], x[0, 1]]),
    "meshgrid": lambda x: torch.meshgrid(x[0, 0, 0], x[0, 0, :, 0], indexing="ij")[1],
    "atleast": lambda x: torch.atleast_3d(x[0, 0, 0]),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x[:, :4], 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 3),
    "shuffle-module": nn.ChannelShuffle(2),
    "contiguous": lambda x: x.mT.contiguous(),
    "detach": lambda x: x.detach() + x.data,
    "clone-format": lambda x: x.to(memory_format=torch.channels_last) * 1,
    "to": lambda x: x.float().double(),
    "type_as": lambda x: x.type_as(x.new_zeros(1, dtype=torch.float32)),
    "ravel": lambda x: x[0].ravel(),
    "adjoint": lambda x: x.adjoint(),
    "crop": lambda x: F.pad(x, (-1, -2, 0, -1)),
    "block_diag": lambda x: torch.block_diag(x[0, 0], torch.ones(2, 3, dtype=x.dtype), x[1, 1, 0]),
    "expand_copy": lambda x: torch.expand_copy(x[:, :1], (2, 6, 4, 8)),
    "select_copy": lambda x: torch.select_copy(x, 1, 2),
    "slice_copy": lambda x: torch.slice_copy(x, 3, 1, 7, 2),
    "split_copy": lambda x: torch.split_copy(x, 4, 1)[1],
    "split_with_sizes_copy": lambda x: torch.split_with_sizes_copy(x, [2, 4], 1)[1],
    "unsafe_split_with_sizes": lambda x: torch.unsafe_split_with_sizes(x, [2, 4], 1)[1],
    "unbind_copy": lambda x: torch.unbind_copy(x, 2)[3],
    "as_strided_copy": lambda x: torch.as_strided_copy(x, (2, 6, 2), (192, 32, 9)),
    "reshape_alias": lambda x: torch.ops.aten._reshape_alias(x, [12, 32], [32, 1]),
    "reshape_copy": lambda x: torch.ops.aten._reshape_copy(x, [12, 32]),
}


@pytest.mark.parametrize("f", VIEWS.values(), ids=VIEWS)
def test_views(f):
    assert_agrees(f, SHAPE, axes=ALL)


COMPLEX = {
    "view_as_complex": lambda x: torch.view_as_complex(x.view(2, 6, 4, 4, 2)).abs(),
    "view_as_real": lambda x: torch.view_as_real(torch.complex(x, x.flip(3))).flip(-1).sum(-1),
    "real": lambda x: torch.complex(x, x.flip(3)).real + 0,
    "imag": lambda x: torch.complex(x, x.flip(3)).imag + 0,
    "arithmetic": lambda x: ((x + 1j) * torch.complex(x, x.roll(1, 3)).conj() / (2 - 1j)).abs(),
    "rotary": lambda x: torch.view_as_real(
        torch.view_as_complex(x.reshape(2, 6, 4, 4, 2))
        * torch.polar(torch.ones(4, 4), torch.arange(16.0).view(4, 4))
    ).flatten(3),
    "copies": lambda x: torch.view_as_real_copy(
        torch.view_as_complex_copy(x.view(2, 6, 4, 4, 2)) * 1j
    ).sum(-1),
    "polar": lambda x: torch.polar(x.abs(), x.flip(2)).angle(),
    "conj": lambda x: (x + 2j).conj().resolve_conj().imag * x,
    "neg": lambda x: (x + 2j).conj().imag.resolve_neg() * x,
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_views(name):
    """Real and imaginary parts lie in one element: what reads one of them is charged with both, as a bound."""
    bound = name in ("real", "imag", "view_as_real", "conj", "neg")
    assert_agrees(COMPLEX[name], SHAPE, axes=ALL, status="bound" if bound else "exact")


def test_an_as_strided_that_no_dim_carries_is_a_bound():
    def f(x):
        return x[:, :, :6].as_strided((2, 3, 2), (48, 9, 1))

    report = assert_agrees(f, (2, 6, 8), axes=(1, 2), status="bound")
    assert {d.code for d in report.diagnostics} == {"no-rule"}


def written(view, new=lambda v: 2 * v.flip(-1)):
    def f(x):
        y = x * 1
        v = view(y)
        v.copy_(new(v.clone()))
        return y

    return f


WRITES = {
    "slice": written(lambda y: y[:, 1:5, ::2, 3:]),
    "select": written(lambda y: y[:, 2]),
    "transpose": written(lambda y: y.mT[:, :, 2:]),
    "view": written(lambda y: y.view(2, 6, 32)[..., 5:9]),
    "diagonal": written(lambda y: y.diagonal(1, 2, 3)),
    "unbind": written(lambda y: y.unbind(1)[3]),
    "chunk": written(lambda y: y.chunk(2, 3)[1]),
    "flattened": written(lambda y: y.flatten(2)[:, :, 10:20]),
    "unsqueeze": written(lambda y: y.unsqueeze(2)[..., ::3]),
    "squeeze": written(lambda y: y[:, 1:2].squeeze(1)),
    "as_strided": written(lambda y: y.as_strided((2, 6, 2), (192, 32, 8), 3)),
    "two-views": lambda x: _two(x),
    "number": lambda x: _number(x),
    "tril": written(lambda y: y[:, :, :, 2:6], lambda v: v.tril()),
}


def _two(x):
    y = x * 1
    a, b = y[:, :3], y.mT
    b[:, :, 2:4] += 1 * b[:, :, :2]
    a.mul_(a[:, :, :, :1])
    return b + 0


def _number(x):
    y = x.clone()
    y[:, 1:3, 2:, ::2] = 0
    y.view(-1)[100:150].fill_(3)
    return y


@pytest.mark.parametrize("f", WRITES.values(), ids=WRITES)
def test_writes_through_views(f):
    assert_agrees(f, SHAPE, axes=ALL)

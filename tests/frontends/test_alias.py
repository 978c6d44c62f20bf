"""Writes through views: whoever shares the memory sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import eyeshot
from tests.frontends.agree import assert_agrees

W = torch.rand(3, 2, 3, dtype=torch.float64) + 0.5


def body(text: str) -> Callable[[Tensor], Tensor]:
    """The lines of ``text``, separated by ``;``, run on ``x`` and returning ``y``; the input is left alone."""
    code = compile("\n".join(line.strip() for line in text.split(";")), "<lines>", "exec")

    def function(x: Tensor) -> Tensor:
        scope: dict[str, Any] = {
            "x": x,
            "y": x * 1,
            "z": x.flip(-1) * 2,
            "torch": torch,
            "F": F,
            "W": W,
        }
        exec(code, scope)
        return scope["y"]

    return function


LINES = [
    "y[..., ::2] = z[..., ::2]",
    "y[..., 1::3] = 0",
    "y[..., 1::3] += z[..., ::3][..., :y[..., 1::3].shape[-1]]",
    "y[:, :1] = z[:, 1:]",
    "y[:, 1] = z[:, 0]",
    "y[0, 0, 2] = z[0, 1, 5]",
    "y[0, 0, 2] = 3.0",
    "y[...] = z",
    "y[..., 2:5] = y[..., 3:6].clone()",
    "y[..., 1:-1] = y[..., 2:].clone() + y[..., :-2]",
    "v = y[..., 2:]; v[..., ::2].zero_()",
    "v = y[..., 2:]; w = v[..., 1:]; w.mul_(z[..., 3:]); v[..., 0] = 0",
    "v = y.view(-1)[3:]; v[::2].add_(z.view(-1)[0])",
    "v = y.transpose(1, 2); v[:, 2:4] = z.transpose(1, 2)[:, :2]",
    "v = y.permute(2, 0, 1)[::2]; v.copy_(z.permute(2, 0, 1)[::2])",
    "v = y.unsqueeze(0).squeeze(1); v[..., 0] = z[..., -1]",
    "v = y.reshape(2, -1); v[0].copy_(z[0, 1])",
    "v = y.unflatten(-1, (4, 2)); v[..., 0] = z.unflatten(-1, (4, 2))[..., 1]",
    "v = y.unflatten(-1, (4, 2)).transpose(-1, -2); v[..., 0, :] *= 2; v[..., 1, 1:] = z[..., :3]",
    "a, b = y.chunk(2, -1); a.copy_(z[..., :4]); b.mul_(a)",
    "a, b = y.chunk(2, 1); a += b; b -= a",
    "a, b, c = y.split((3, 3, 2), -1); b.copy_(z[..., :3]); a.mul_(b); c.zero_()",
    "a, b = y.unbind(1); a.copy_(b.flip(-1)); b.zero_()",
    "a, b, c = y.tensor_split(3, -1); c.fill_(1); a.mul_(b)",
    "v = y.diagonal(0, 1, 2); v.copy_(z[:, 0, :2])",
    "v = y.expand(3, 2, 8)[1]; v.mul_(z[0])",
    "v = y.as_strided((1, 2, 4), (16, 8, 2)); v.copy_(z[..., :4])",
    "v = y.as_strided((1, 2, 4), (16, 8, 2), 1); v.zero_()",
    "v = y.data; v[..., 0] = z[..., 5]",
    "v = y.detach(); v.mul_(z)",
    "y.detach_(); y += z",
    "v = y.T if y.ndim == 2 else y.mT; v[:, 0] = z[..., -1]",
    "v = y.swapaxes(1, 2).movedim(0, -1); v[3] = 0",
    "v = y[..., None]; v[..., 3, 0] = 0",
    "v = y[:, None].expand(1, 1, 2, 8); v[..., 2] = z[:, None, :, 3]",
    "v = y.narrow(-1, 2, 3).select(1, 0); v.copy_(z[:, 1, :3])",
    "v = y.unfold(-1, 2, 2); v[..., 1] = z[..., ::2]",
    "v = y.unfold(-1, 3, 3); v[:, :, 1] = 0",
    "v = y.unfold(-1, 3, 2); v[:, :, 0, 2] = z[..., 0]",
    "v = torch.view_as_complex(y.unflatten(-1, (4, 2))); v.mul_(2)",
    "v = y.view(torch.int64); v.zero_()",
    "u = y[:]; v = y[..., 1:]; y.copy_(z); y = u + F.pad(v, (1, 0))",
    "u = y[..., ::2]; y[..., 1:] = z[..., :-1]; y = u * 2",
    "u = y[..., 3]; y.zero_(); y[..., 3:5] = z[..., :2]; y = u + 1",
    "u = y.view(-1); v = u.view(1, 2, 8)[..., 4:]; y[..., :5] = 0; u[6:9] = z.view(-1)[:3]; y = v + 0",
    "y.relu_().sigmoid_(); F.relu(y, inplace=True)",
    "y.add_(z).mul_(z[..., :1])",
    "y += z.mean(-1, keepdim=True)",
    "y **= 2; y //= 3; y %= 7",
    "y.clamp_(0, 1).sub_(z).div_(2).neg_()",
    "y.lerp_(z, 0.5).addcmul_(z, z).addcdiv_(z, z.abs() + 1)",
    "y.cumsum_(-1)",
    "y[..., 2:].cumsum_(-1)",
    "y.transpose_(1, 2); y[:, 0] = 0",
    "y.unsqueeze_(1); y[..., 0] = 0",
    "y.squeeze_(0); y[1] = 0",
    "y.t_() if y.ndim == 2 else y.swapaxes_(0, 1); y[0] = 0",
    "v = y[..., 1:]; y.transpose_(1, 2); v.zero_()",
    "torch.add(z, 1, out=y)",
    "torch.mul(z, z[..., :1], out=y)",
    "torch.cat([z[..., :3], z[..., 3:].flip(-1)], -1, out=y)",
    "torch.cat([z[:, 1:], y[:, :1]], 1, out=(q := torch.empty_like(y))); y = q",
    "q = torch.zeros(1, 2, 10, dtype=y.dtype, device=y.device); torch.mul(z, 2, out=q[..., 1:9]); y = q",
    "q = torch.empty(0, dtype=y.dtype, device=y.device); torch.cat([z, y], -1, out=q); y = q",
    "torch.max(z, 1, out=(q := y[:, 0].clone(), torch.empty_like(q, dtype=torch.int64))); y = q",
    "torch.bmm(z, z.transpose(1, 2), out=(q := y.new_empty(1, 2, 2))); y = q",
    "q = y.new_zeros(1, 4, 8); q[:, ::2] = y; q[:, 1::2] = z; y = q",
    "q = torch.empty_like(y); q.copy_(z); y = q",
    "q = torch.zeros(16, dtype=y.dtype, device=y.device); q.view(1, 2, 8)[..., 1:] = z[..., 1:]; y = q",
    "y = torch.zeros_like(x); y[:, :, 1:] = x[:, :, :-1]; y[:, :, ::2] *= 2; y.view(1, 2, -1)[..., 0] = 0",
    "q = torch.zeros(8, dtype=y.dtype); q[2:5] = y[0, 0, 2:5]; y = y + q",
    "q = [torch.zeros_like(y)]; q[0] += y; q[0][..., 1:] += z[..., :-1]; y = q[0]",
    "y.index_copy_(-1, torch.tensor([0, 5]), z[..., :2])",
    "y.index_add_(-1, torch.tensor([0, 5]), z[..., :2])",
    "y.index_fill_(-1, torch.tensor([0, 5]), 0.0)",
    "y[..., [0, 5]] = z[..., 1:3]",
    "y[..., torch.tensor([0, 5])] += z[..., 1:3]",
    "y[:, [1, 0]] = y[:, [0, 1]]",
    "y.scatter_(-1, torch.tensor([[[1], [3]]]), z[..., :1])",
    "y.fill_diagonal_(0) if y.ndim == 2 else y[0].fill_diagonal_(0.0)",
    "y[0].tril_()",
    "y.set_(z)",
    "y.data = z * 2",
    "y.resize_(1, 2, 8); y[..., 0] = 0",
    "y.requires_grad_(False); y.copy_(z)",
    "torch._foreach_add_([y, z], 1.0)",
    "torch._foreach_mul_([y], [z])",
    "y.swap = None; y, z = z, y; y[..., 0] = z[..., 1]",
    "y.bernoulli_(0.5); y += z",
    "y.zero_()[..., 2] = z[..., 3]",
    "y.normal_(); y[..., 0] += z[..., 1]",
    "y.copy_(z[..., :1])",
    "y.copy_(torch.ones(8)); y[..., 1] = z[..., 2]",
    "y[0, :, 1:3] = torch.ones(2, 2)",
    "w = W.clone(); w[0] = 0; y = F.conv1d(y, w, padding=1)",
    "w = W.to(y.device).clone(); w[0, 0] = z[0, 0, :3]; y = F.conv1d(y, w)",
]

#: What is written depends on numbers, or the memory is given away: only bounded.
INEXACT = (
    "masked_fill_",
    "view(torch.int64)",
    "y.set_",
    "y.resize_",
    "y.expand(3",
    "unfold(-1, 3, 2)",
    "_foreach",
)


@pytest.mark.parametrize("text", LINES)
def test_writes(text: str) -> None:
    status = None if any(word in text for word in INEXACT) else "exact"
    if any(word in text for word in ("bernoulli_", "normal_")):
        layer = eyeshot.analyze(
            body(text), args=(torch.randn(1, 2, 8, dtype=torch.float64),)
        ).outputs[0]
        assert layer.status == "exact"
    else:
        assert_agrees(body(text), (1, 2, 8), status=status)

"""Products of matrices: each element reads a row of one and a column of the other."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from eyeshot.core import families
from eyeshot.core.primitives import Shape
from eyeshot.frontends.torch.calls import Call
from eyeshot.frontends.torch.rules import rule
from eyeshot.frontends.torch.rules.shared import blank, per_output, values_of

__all__ = []


def _product(c: Call, value: int) -> Any:
    """The product without a kernel, where the matrices fit."""
    last = c.args[-1]
    if not isinstance(last, Tensor) or len({a.dtype for a in c.args if isinstance(a, Tensor)}) > 1:
        return None
    first = c.args[-2]
    inner = last.shape[-2] if last.ndim > 1 else last.shape[0]
    if first.shape[-1] != inner or (last.ndim == 3 and first.shape[0] != last.shape[0]):
        return None  # PyTorch's kernel says what is wrong
    return blank(c, value, last.dtype)


def product(c: Call, a: Tensor, b: Tensor, shape: Shape, more: Any = None) -> int:
    """``a @ b`` of the same rank (or a vector for ``b``), and ``more`` added to it."""
    values = []
    if (x := c.v(a)) is not None:
        rank = a.ndim
        if b.ndim == 1:
            x = families.reduce(c.g, x, (rank - 1,), False)
        elif c.v(b) is None and tuple(a.shape[:-1]) == shape[:-1]:
            # Constant weights: the features are mixed, as by a convolution of kernel 1.
            x = families.mix(c.g, x, (rank - 1,), (shape[-1],))
        else:
            x = families.mix(c.g, x, (rank - 1,), (1,))
        values.append(x)
    if (y := c.v(b)) is not None:
        values.append(families.mix(c.g, y, (max(0, b.ndim - 2),), (1,)))
    return c.join([*values, *values_of(c, more)], shape)


@rule("mm", "bmm", "_int_mm", "_scaled_mm", "mv", "matmul", kernel=_product)
def mm(c: Call, self: Tensor, mat2: Tensor, *args: Any, **kwargs: Any) -> int:
    tail = mat2.shape[-1:] if mat2.ndim > 1 else ()
    return product(c, self, mat2, (*self.shape[:-1], *tail))


@rule("addmm", "baddbmm", "addmv", kernel=_product)
def addmm(
    c: Call, self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1, **kw: Any
) -> int:
    tail = mat2.shape[-1:] if mat2.ndim > 1 else ()
    return product(c, mat1, mat2, (*mat1.shape[:-1], *tail), self)


@rule("_addmm_activation")
def addmm_activation(c: Call, self: Tensor, mat1: Tensor, mat2: Tensor, **kwargs: Any) -> int:
    return product(c, mat1, mat2, (*mat1.shape[:-1], mat2.shape[-1]), self)


@rule("addbmm")
def addbmm(c: Call, self: Tensor, batch1: Tensor, batch2: Tensor, **kwargs: Any) -> int:
    x = product(c, batch1, batch2, (*batch1.shape[:2], batch2.shape[2]))
    x = families.reduce(c.g, x, (0,), False)
    return c.join([x, *values_of(c, self)], c.out.shape)


@rule("linear", "mkldnn_linear")
def linear(c: Call, input: Tensor, weight: Tensor, bias: Any = None) -> int:
    shape = tuple(c.out.shape)
    values = []
    if (x := c.v(input)) is not None:
        values.append(families.mix(c.g, x, (input.ndim - 1,), (shape[-1],)))
    if (w := c.v(weight)) is not None:
        values.append(families.reduce(c.g, w, (weight.ndim - 1,), False))
    return c.join([*values, *values_of(c, bias)], shape)


@rule("dot", "vdot")
def dot(c: Call, self: Tensor, tensor: Tensor) -> int:
    return c.join([families.reduce(c.g, value, (0,), False) for _, value in c.reads()])


@rule("ger", "outer")
def outer(c: Call, self: Tensor, vec2: Tensor) -> int:
    return _outer(c, self, vec2)


@rule("addr")
def addr(c: Call, self: Tensor, vec1: Tensor, vec2: Tensor, **kwargs: Any) -> int:
    return _outer(c, vec1, vec2, self)


def _outer(c: Call, column: Tensor, row: Tensor, more: Any = None) -> int:
    """Every element of a column with every one of a row, and ``more`` added to it."""
    values = [families.unsqueeze(c.g, v, 1) for v in values_of(c, column)]
    values += [families.unsqueeze(c.g, v, 0) for v in values_of(c, row)]
    return c.join([*values, *values_of(c, more)], (column.shape[0], row.shape[0]))


@rule("_cdist_forward", "cdist")
def cdist(c: Call, x1: Tensor, x2: Tensor, *args: Any) -> int:
    """Distances of rows: element (i, j) reads row i of one and row j of the other."""
    values = []
    if (a := c.v(x1)) is not None:
        values.append(families.mix(c.g, a, (x1.ndim - 1,), (1,)))
    if (b := c.v(x2)) is not None:
        b = families.mix(c.g, b, (x2.ndim - 1,), (1,))
        rank = x2.ndim
        values.append(families.permute(c.g, b, [*range(rank - 2), rank - 1, rank - 2]))
    return c.join(values, c.out.shape)


@rule("linalg_cross")
def linalg_cross(c: Call, self: Tensor, other: Tensor, *, dim: int = -1) -> int:
    """Along the dim of three, each element reads the other two of both vectors."""
    x = c.join([value for _, value in c.reads()], c.out.shape)
    dim %= c.out.ndim
    return c.join([families.take(c.g, x, dim, at) for at in ((1, 2, 0), (2, 0, 1))])


@rule("linalg_inv_ex", "linalg_det", "_linalg_det", "linalg_qr", "_linalg_svd", "_linalg_eigh",
      "linalg_cholesky_ex", "_linalg_solve_ex", "linalg_lu_factor_ex", "linalg_pinv", "cholesky_inverse",
      "triangular_solve", "linalg_solve_triangular", "_linalg_slogdet", "linalg_lu", "matrix_exp",
      "linalg_matrix_exp", "linalg_eig", "_linalg_eigvals", "linalg_householder_product", "linalg_lstsq",
      "linalg_matrix_rank")  # fmt: skip
def linalg(c: Call, *args: Any, **kwargs: Any) -> Any:
    """Each matrix of the batch is read whole."""
    batch = max((t.ndim - 2 for t, _ in c.reads()), default=0)
    mixed = []
    for t, value in c.reads():
        dims = tuple(range(max(0, t.ndim - 2), t.ndim))
        mixed.append(families.reduce(c.g, value, dims, False) if dims else value)

    def read(out: Tensor) -> int | None:
        if not out.numel():
            return None
        parts = []
        for value in mixed:
            lead = c.g.shapes[value]
            one = (*(1,) * (batch - len(lead)), *lead, *(1,) * (out.ndim - batch))
            parts.append(families.reshape(c.g, value, one))
        return c.join(parts, tuple(out.shape))

    return per_output(c, read)


@rule("_trilinear", "bilinear")
def trilinear(c: Call, *args: Any, **kwargs: Any) -> int:
    """``nn.Bilinear``: features of both inputs, row by row."""
    values = []
    for t, value in c.reads():
        if t.ndim != c.out.ndim:  # the weights, and the bias
            values.append(families.opaque(c.g, (value,), tuple(c.out.shape)))
        else:
            values.append(families.mix(c.g, value, (t.ndim - 1,), (1,)))
    return c.join(values, c.out.shape)

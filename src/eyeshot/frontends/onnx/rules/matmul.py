"""Products of matrices: each element reads a row of one and a column of the other."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

from eyeshot.core import families
from eyeshot.frontends.onnx.calls import Call, NoRule, Value, broadcast
from eyeshot.frontends.onnx.rules import rule

__all__ = ["product"]


def product(
    c: Call,
    a: Value,
    b: Value,
    more: Sequence[Value | None] = (),
    turned: tuple[bool, bool] = (False, False),
) -> int:
    """``a @ b`` by NumPy's rules, and ``more`` added to it. ``turned``: whose matrices are transposed first."""
    left = _matrix(c, a, (0,), turned[0])
    right = _matrix(c, b, (1,), turned[1])
    if left[1][-1] != right[1][-2]:
        raise c.fail(f"matrices {list(a.shape)} and {list(b.shape)} don't fit")
    lead = broadcast(left[1][:-2], right[1][:-2])
    shape = (*lead, left[1][-2], right[1][-1])
    values = []
    # Where the other is constant its numbers are weights: features are mixed, as by a convolution of kernel 1.
    for (x, sizes), other, back in ((left, right, 1), (right, left, 2)):
        if x is not None:
            weights = other[0] is None and sizes[:-2] == lead
            size = shape[-1] if back == 1 else shape[-2]
            values.append(families.mix(c.g, x, (len(sizes) - back,), (size if weights else 1,)))
    gone = [len(shape) - 2] if a.rank == 1 else []
    gone += [len(shape) - 1] if b.rank == 1 else []
    if values:
        y = c.join(values, shape)
        values = [families.squeeze(c.g, y, gone) if gone else y]
    values += [at for x in more if (at := c.v(x)) is not None]
    return c.join(values, tuple(n for k, n in enumerate(shape) if k not in gone))


def _matrix(
    c: Call, x: Value, at: Sequence[int], turned: bool
) -> tuple[int | None, tuple[int, ...]]:
    """The value and shape of an operand; a vector becomes a matrix, with a new dim ``at``."""
    if not x.rank:
        raise c.fail("a number is no matrix")
    value, shape = c.v(x), x.shape
    if 0 in shape:
        raise NoRule("a tensor without elements")
    if x.rank == 1:
        shape = (1, *shape) if at == (0,) else (*shape, 1)
        return None if value is None else families.unsqueeze(c.g, value, at[0]), shape
    if turned:
        order = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
        shape = tuple(shape[k] for k in order)
        value = None if value is None else families.permute(c.g, value, order)
    return value, shape


@rule("MatMul")
def matmul(c: Call, a: Value, b: Value) -> int:
    return product(c, a, b)


@rule("Gemm")
def gemm(c: Call, a: Value, b: Value, bias: Value | None = None) -> int:
    """Rows of one with columns of the other, and a third added."""
    if a.rank != 2 or b.rank != 2:
        raise c.fail(f"matrices of {a.rank} and {b.rank} dims")
    turned = bool(c.attr("transA", 0)), bool(c.attr("transB", 0))
    return product(c, a, b, (bias,), turned)


# --- sums by letters


@rule("Einsum")
def einsum(c: Call, *inputs: Value) -> int:
    """Letters that the output lacks are summed over; one that an operand has twice is its diagonal."""
    terms, result = _equation(c, inputs)
    sizes: dict[str, int] = {}
    for letters, x in zip(terms, inputs, strict=True):
        for letter, n in zip(letters, x.shape, strict=True):
            known = sizes.setdefault(letter, n)
            if known != n and 1 not in (known, n):
                raise c.fail(f"{letter!r} has sizes {known} and {n}")
            sizes[letter] = max(known, n)
    values = [
        _lettered(c, at, letters, result)
        for letters, x in zip(terms, inputs, strict=True)
        if (at := c.v(x)) is not None
    ]
    return c.join(values, tuple(sizes[letter] for letter in result))


def _equation(c: Call, inputs: Sequence[Value]) -> tuple[list[list[str]], list[str]]:
    """The letters of each operand's dims and of the output's; dims behind dots are numbered from the last."""
    text = "".join(c.attr("equation", "").split())
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(inputs):
        raise c.fail(f"{reprlib.repr(text)} is of {len(parts)} operands, there are {len(inputs)}")
    most = 0
    terms = []
    for part, x in zip(parts, inputs, strict=True):
        before, dots, after = part.partition("...")
        more = x.rank - len(before) - len(after)
        if more < 0 or (more and not dots) or not (before + after).replace("", "a").isalpha():
            raise c.fail(f"{reprlib.repr(part)} does not name {x.rank} dims")
        most = max(most, more)
        terms.append([*before, *(f"...{k}" for k in range(more, 0, -1)), *after])
    whole = [f"...{k}" for k in range(most, 0, -1)]
    if arrow:
        before, dots, after = right.partition("...")
        result = [*before, *(whole if dots else ()), *after]
    else:
        letters = "".join(parts).replace(".", "")
        result = [*whole, *sorted(a for a in set(letters) if letters.count(a) == 1)]
    known = {letter for term in terms for letter in term}
    if len(set(result)) < len(result) or not known.issuperset(result):
        raise c.fail(
            f"{reprlib.repr(text)} names its output's dims twice, or by letters that no operand has"
        )
    return terms, result


def _lettered(c: Call, x: int, letters: list[str], result: list[str]) -> int:
    """One operand in the output's dims: diagonals taken, the rest summed over, size 1 where it has none."""
    g = c.g
    letters = list(letters)
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            x = families.diagonal(g, x, first, second)
            del letters[second], letters[first]
            letters.append(letter)
    rest = [k for k, letter in enumerate(letters) if letter not in result]
    if rest:
        x = families.reduce(g, x, rest, False)
        letters = [letter for letter in letters if letter in result]
    order = [letters.index(letter) for letter in result if letter in letters]
    if order != sorted(order):
        x = families.permute(g, x, order)
    for k, letter in enumerate(result):
        if letter not in letters:
            x = families.unsqueeze(g, x, k)
    return x


@rule("Det")
def det(c: Call, x: Value) -> int:
    """Each matrix of the batch whole."""
    if x.rank < 2 or x.shape[-1] != x.shape[-2]:
        raise c.fail(f"{list(x.shape)} are no square matrices")
    return families.reduce(c.g, c.operand(x), (x.rank - 2, x.rank - 1), False)

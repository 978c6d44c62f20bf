"""Products of matrices against poisoning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eyeshot.errors import EyeshotError
from tests.frontends.onnx.agree import assert_agrees, node_model


def data(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


#: Shapes of two operands of MatMul.
PRODUCTS = [
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 5)),
    ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (3, 4, 2)),
    ((1, 3, 1), (2, 1, 1)),
]


@pytest.mark.parametrize("left, right", PRODUCTS)
@pytest.mark.parametrize("fixed", [None, 0, 1])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], fixed: int | None) -> None:
    arrays = [data(*left), data(*right)]
    if fixed is None:
        model, feeds = node_model("MatMul", *arrays)
    else:
        model, feeds = node_model("MatMul", arrays[1 - fixed], constants={fixed: arrays[fixed]})
    assert_agrees(model, feeds)


@pytest.mark.parametrize("opset", [7, 9, 13])
@pytest.mark.parametrize("a, b", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("bias", [(3, 5), (1, 5), (3, 1), (5,), (1,), ()])
def test_gemm(opset: int, a: int, b: int, bias: tuple[int, ...]) -> None:
    x, y = data(*((4, 3) if a else (3, 4))), data(*((5, 4) if b else (4, 5)))
    model, feeds = node_model("Gemm", x, y, data(*bias), opset=opset, transA=a, transB=b)
    assert_agrees(model, feeds)


@pytest.mark.parametrize("fixed", [(0,), (1,), (0, 1), (0, 2), (1, 2)])
def test_gemm_of_constants(fixed: tuple[int, ...]) -> None:
    arrays = [data(4, 3), data(4, 5), data(1, 5)]
    rest = [x for k, x in enumerate(arrays) if k not in fixed]
    constants = {k: arrays[k] for k in fixed}
    model, feeds = node_model("Gemm", *rest, constants=constants, transA=1, alpha=0.5, beta=2.0)
    assert_agrees(model, feeds)


#: Equations and the shapes of their operands.
EQUATIONS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij->ji", [(3, 4)]),
    ("ij->", [(3, 4)]),
    ("ij->j", [(3, 4)]),
    ("ii->i", [(4, 4)]),
    ("ii", [(4, 4)]),
    ("iij->ji", [(3, 3, 2)]),
    ("iijj->ij", [(2, 2, 3, 3)]),
    ("iii->i", [(3, 3, 3)]),
    ("aibi->ab", [(2, 3, 4, 3)]),
    ("i,j->ij", [(3, 4)[:1], (4,)]),
    ("ij,jk", [(3, 4), (4, 2)]),
    ("ij,jk->ki", [(3, 4), (4, 2)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]),
    ("ij,kl->il", [(2, 3), (4, 2)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
    ("bn,anm,bm->ba", [(2, 3), (4, 3, 2), (2, 2)]),
    ("...ij,...jk->...ik", [(2, 3, 4), (4, 2)]),
    ("...ii->...i", [(2, 3, 3)]),
    ("b...,...c->cb...", [(2, 3, 4), (3, 4, 2)]),
    ("...", [(2, 3)]),
    ("...a,...a", [(2, 3), (3,)]),
    (" i j , j -> i ", [(3, 4), (4,)]),
    ("Ba,aB->aB", [(2, 3), (3, 2)]),
    ("Ba,Bc", [(2, 3), (2, 4)]),
]


@pytest.mark.parametrize("equation, shapes", EQUATIONS)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [data(*shape) for shape in shapes]
    model, feeds = node_model("Einsum", *arrays, equation=equation)
    assert_agrees(model, feeds)
    if len(arrays) > 1:
        model, feeds = node_model(
            "Einsum", *arrays[1:], constants={0: arrays[0]}, equation=equation
        )
        assert_agrees(model, feeds)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 1, 2, 2)])
def test_det(shape: tuple[int, ...]) -> None:
    assert_agrees(*node_model("Det", data(*shape)))


#: What is wrong, and the line that says so.
WRONG: list[tuple[str, list[tuple[int, ...]], dict[str, Any], str]] = [
    ("MatMul", [(3, 4), (5, 6)], {}, r"node: matrices \[3, 4\] and \[5, 6\] don't fit"),
    ("Gemm", [(3, 4), (4, 6)], {"transA": 1}, "node: matrices"),
    ("Gemm", [(2, 3, 4), (4, 6)], {}, "node: matrices of 3 and 2 dims"),
    ("Einsum", [(3, 4)], {"equation": "ij,jk"}, "node: 'ij,jk' is of 2 operands, there are 1"),
    ("Einsum", [(3, 4)], {"equation": "ijk"}, "node: 'ijk' does not name 2 dims"),
    ("Einsum", [(3, 4)], {"equation": "ij->k"}, "by letters that no operand has"),
    ("Einsum", [(3, 4), (5,)], {"equation": "ij,j"}, "node: 'j' has sizes 4 and 5"),
    ("Det", [(3, 4)], {}, r"node: \[3, 4\] are no square matrices"),
]


@pytest.mark.parametrize("op, shapes, attributes, line", WRONG)
def test_wrong(
    op: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any], line: str
) -> None:
    model, feeds = node_model(op, *(data(*s) for s in shapes), **attributes)
    with pytest.raises(EyeshotError, match=line):
        assert_agrees(model, feeds)

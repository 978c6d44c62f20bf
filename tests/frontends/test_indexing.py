"""Gather and scatter: known indices exactly, dependent ones as a bound."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import eyeshot
from tests.frontends.agree import assert_agrees

at = torch.tensor
SHAPE = (2, 3, 5, 4)
ALL = (1, 2, 3)


def changed(x, act):
    """A copy of ``x`` on which ``act`` wrote."""
    y = x.clone()
    act(y)
    return y


def put(*index, value=1.0, add=False):
    """Writes ``value(x)`` or a number at ``index``."""

    def f(x):
        y = torch.zeros_like(x) if callable(value) else x.clone()
        new = value(x) if callable(value) else value
        if add:
            y[index] += new
        else:
            y[index] = new
        return y

    return f


MASK = at([True, False, True, True, False])
MASK2 = at([[True, False, False, True]] * 2 + [[False, True, False, False]] * 3)

GATHER = {
    "list": lambda x: x[:, [2, 0]],
    "negative": lambda x: x[:, :, at([-1, 0, -2])],
    "steps": lambda x: x[:, :, at([0, 2, 4])],
    "mirror": lambda x: x[..., torch.arange(3, -1, -1)],
    "broadcast-2d": lambda x: x[:, :, at([[0, 1], [4, 2], [3, 3]])],
    "adjacent": lambda x: x[:, :, at([0, 4, 2]), at([1, 1, 3])],
    "adjacent-first": lambda x: x[at([0, 1, 1]), at([2, 0, 1])],
    "apart": lambda x: x[:, at([0, 2]), :, at([3, 1])],
    "apart-separable": lambda x: x[:, at([[0], [2]]), :, at([[3, 1, 0]])],
    "separable": lambda x: x[:, :, at([[0], [4], [1]]), at([[3, 1]])],
    "separable-turned": lambda x: x[:, :, at([[0, 4, 1]]), at([[3], [1]])],
    "three": lambda x: x[:, at([[0, 1]]), at([[4], [2], [2]]), at([[3, 0]])],
    "constant-along": lambda x: x[:, :, at([[1, 1], [3, 3]])],
    "one": lambda x: x[:, :, at([3])],
    "scalar-tensor": lambda x: x[:, :, at(3)],
    "int-and-list": lambda x: x[:, 1, at([0, 2])],
    "mask": lambda x: x[:, :, MASK],
    "mask-2d": lambda x: x[:, :, MASK2],
    "mask-all": lambda x: x[torch.ones(2, 3, dtype=torch.bool)],
    "mask-and-list": lambda x: x[:, at([0, 2, 1]), MASK],
    "uint8": lambda x: torch.ops.aten.index(x, [None, None, MASK]),
    "unsafe": lambda x: torch.ops.aten._unsafe_index(x, [None, None, at([[1], [3]]), at([0, 2])]),
    "unsafe-masked": lambda x: torch.ops.aten._unsafe_masked_index(
        x, at([[True], [False], [True]]), [None, None, at([7, 3, -5])], 0.5
    )[..., ::2, :],
    "index_select": lambda x: x.index_select(2, at([4, 4, 0])),
    "index_select-0d": lambda x: x.index_select(-1, at(2)),
    "take": lambda x: x.take(at([[0, 7], [50, -1]])),
    "gather-along": lambda x: x.gather(2, at([4, 1]).view(1, 1, 2, 1).expand(2, 3, 2, 4)),
    "gather": lambda x: x.gather(2, torch.arange(96).view(2, 3, 4, 4) * 7 % 5),
    "gather-smaller": lambda x: x.gather(3, torch.arange(24).view(1, 2, 3, 4) * 5 % 4),
    "take_along_dim": lambda x: x.take_along_dim(at([3, 0]).view(1, 1, 1, 2), dim=3),
    "take_along_dim-flat": lambda x: torch.take_along_dim(x, at([3, 100])),
    "masked_select": lambda x: x[0, 0].masked_select(MASK2),
    "masked_select-wide": lambda x: x.masked_select(at([True, False, False, True])),
    "where-1": lambda x: x[torch.where(MASK2.expand(2, 3, 5, 4))],
    "repeat_interleave": lambda x: x.repeat_interleave(3, 2),
    "repeat_interleave-each": lambda x: x.repeat_interleave(at([1, 0, 2, 1, 3]), dim=2),
    "embedding-table": lambda x: F.embedding(at([[0, 4], [1, 1]]), x[0, 0]),
    "embedding_bag-table": lambda x: F.embedding_bag(
        at([0, 4, 1, 1]), x[0, 0], at([0, 3]), mode="sum"
    ),
    "cross": lambda x: torch.linalg.cross(x, x.roll(1, 3), dim=1),
    "diff": lambda x: x.diff(n=2, dim=2),
    "kron": lambda x: torch.kron(x[0, 0], x[1, 1, :2]),
    "cov": lambda x: x[0, 0].cov(),
    "corrcoef": lambda x: x[0, 0].corrcoef(),
    "floor_divide": lambda x: x.floor_divide(0.001),
    "isin": lambda x: torch.isin(x, at([1.0], dtype=torch.float64)) * 1.0 + x,
    "searchsorted": lambda x: torch.searchsorted(at([-0.5, 0.0, 0.5], dtype=x.dtype), x) + 0 * x,
    "bucketize": lambda x: torch.bucketize(x, at([-0.5, 0.0, 0.5], dtype=x.dtype)) + 0 * x,
    "asserts": lambda x: (torch._assert_async(at(True)), x * 1)[1],
    "swap": lambda x: x[:, :, [1, 0, 3, 2, 4]] + x,
    "trapezoid": lambda x: torch.trapezoid(x, dim=2),
    "cartesian": lambda x: torch.cartesian_prod(x[0, 0, 0], x[0, 0, 1]),
    "combinations": lambda x: torch.combinations(x[0, 0, 0]),
    "block_diag": lambda x: torch.block_diag(x[0, 0], x[1, 1, :2]),
    "vander": lambda x: torch.vander(x[0, 0, 0], 3),
}


@pytest.mark.parametrize("f", GATHER.values(), ids=GATHER)
def test_known_gathers(f):
    assert_agrees(f, SHAPE, axes=ALL)


SCATTER = {
    "index_put": put(slice(None), slice(None), at([4, 0])),
    "index_put-values": put(slice(None), at([2, 0]), value=lambda x: x[:, :2]),
    "index_put-row": put(slice(None), at([2, 0]), value=lambda x: x[0, 0]),
    "index_put-one": put(slice(None), slice(None), at([2, 0]), value=lambda x: x[0, 0, 0, 0]),
    "index_put-pairs": put(
        slice(None), slice(None), at([4, 0, 2]), at([0, 0, 3]), value=lambda x: x[:, :, 0, :3]
    ),
    "index_put-grid": put(
        slice(None), slice(None), at([[4], [1]]), at([[0, 3, 1]]), value=lambda x: x[:, :, :2, 1:]
    ),
    "index_put-apart": put(
        slice(None),
        at([2, 0]),
        slice(None),
        at([1, 3]),
        value=lambda x: x[..., 0].roll(1, 2)[:, :2],
    ),
    "index_put-twice-number": put(slice(None), slice(None), at([1, 1, 3])),
    "index_put-add": put(
        slice(None), slice(None), at([4, 0]), value=lambda x: x[:, :, :2], add=True
    ),
    "index_put-mask": put(slice(None), slice(None), MASK),
    "index_put-mask-values": put(slice(None), slice(None), MASK, value=lambda x: x[:, :, 1:4]),
    "index_put-mask-2d": put(
        slice(None), slice(None), MASK2, value=lambda x: x[:, :, :, :2].reshape(2, 3, 10)[..., :7]
    ),
    "accumulate": lambda x: x.index_put((at([0, 1]), at([2, 2])), x[:, 0], accumulate=True),
    "accumulate-twice": lambda x: torch.zeros_like(x).index_put(
        (at([0, 0, 1, 0]), at([2, 2, 0, 1])),
        x[0, :1].expand(4, 5, 4) * x[0, :1, :1],
        accumulate=True,
    ),
    "index_put_impl": lambda x: torch.ops.aten._index_put_impl_(x.clone(), [at([1])], x[:1], False),
    "dependent-mask-number": lambda x: changed(x, lambda y: y.__setitem__(x > 0, 0.5)),
    "masked_fill": lambda x: changed(x, lambda y: y[:, 1:].masked_fill_(x[:, 1:] > 0, 0.5)),
    "slice-of-slice": lambda x: changed(
        x, lambda y: y[:, 1:].__setitem__((slice(None), slice(None), at([1, 3])), x[:, 1:, :2])
    ),
    "plus-equals": lambda x: changed(
        x,
        lambda y: y[:, :, 1:].__setitem__(
            (slice(None), slice(None), [0, 2]), y[:, :, [1, 3]] + x[:, :, :2]
        ),
    ),
    "scatter": lambda x: x.scatter(
        2, at([4, 1]).view(1, 1, 2, 1).expand(2, 3, 2, 4), x[:, :, 1:3] * 2
    ),
    "scatter-larger-source": lambda x: x.scatter(
        2, at([4, 1]).view(1, 1, 2, 1).expand(2, 3, 2, 3), x.flip(1)
    ),
    "scatter-any": lambda x: x.scatter(
        3, at([[0, 3], [2, 1]]).view(1, 2, 1, 2).expand(2, 2, 5, 2), x.flip(2)
    ),
    "scatter-value": lambda x: x.scatter(2, at([4, 4]).view(1, 1, 2, 1).expand(2, 3, 2, 4), 3.0),
    "scatter-reduce-kw": lambda x: x.scatter(
        2, at([4, 4]).view(1, 1, 2, 1).expand(2, 3, 2, 4), x, reduce="add"
    ),
    "scatter_": lambda x: changed(
        x, lambda y: y[:, :, 1:].scatter_(3, at([3]).expand(2, 3, 4, 1), x[..., 1:, :1])
    ),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(
        2, at([4, 1, 4]).view(1, 1, 3, 1).expand(2, 3, 3, 4), x
    ),
    "scatter_add-number": lambda x: x.scatter_add(
        2, torch.zeros(2, 3, 1, 4, dtype=torch.long), torch.ones_like(x)
    ),
    "scatter_reduce": lambda x: x.scatter_reduce(
        2, at([4, 1, 4]).view(1, 1, 3, 1).expand(2, 3, 3, 4), x.roll(1, 2), "mean"
    ),
    "scatter_reduce-anew": lambda x: x.scatter_reduce(
        2,
        at([4, 1, 4]).view(1, 1, 3, 1).expand(2, 3, 3, 4),
        x.roll(1, 2),
        "sum",
        include_self=False,
    ),
    "index_add": lambda x: x.index_add(2, at([0, 0, 3]), x[:, :, 1:4], alpha=2),
    "index_copy": lambda x: x.index_copy(1, at([2, 0]), x[:, 1:] * 2),
    "index_copy_": lambda x: changed(
        x, lambda y: y[..., 1:].index_copy_(1, at([2, 0]), x[:, 1:, :, :3])
    ),
    "index_fill": lambda x: x.index_fill(2, at([1, -1]), 0.0),
    "index_fill-tensor": lambda x: x.index_fill(2, at([1, -1]), x[0, 0, 0, 0]),
    "index_reduce": lambda x: x.index_reduce(2, at([1, 1]), x[:, :, :2], "amax"),
    "index_reduce-anew": lambda x: x.index_reduce(
        2, at([1, 1]), x[:, :, 2:4], "prod", include_self=False
    ),
    "put": lambda x: x.put(at([0, 100, 7]), x[0, 0, 0, :3]),
    "put-add": lambda x: x.put(at([0, 0, 7]), x[0, 1, 0, :3], accumulate=True),
    "masked_scatter": lambda x: x.masked_scatter(MASK2, x.flip(2)),
    "masked_scatter-few": lambda x: torch.zeros_like(x)[:, 0].masked_scatter(MASK2, x[0]),
    "masked_scatter-none": lambda x: x[:, :1].masked_scatter(torch.zeros(3, 5, 4) > 0, x),
    "unsafe_index_put": lambda x: torch.ops.aten._unsafe_index_put(
        x, [None, at([2, 0])], x[:, :2], False
    ),
    "slice_scatter": lambda x: x.slice_scatter(x[:, :, :2] * 2, 2, 1, 5, 2),
    "select_scatter": lambda x: x.select_scatter(x[:, :, 0], 2, -2),
    "diagonal_scatter": lambda x: x.diagonal_scatter(x[:, :, 0, :3], 1, 2, 3),
    "as_strided_scatter": lambda x: x.as_strided_scatter(x[0, 0, :2, :3], (2, 3), (20, 1), 1),
    "put-constant-into": lambda x: changed(
        torch.ones(2, 3, 5, 4, dtype=x.dtype),
        lambda y: y.__setitem__((slice(None), at([1])), x[:, :1]),
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # deprecated and beta, say some
@pytest.mark.parametrize("f", SCATTER.values(), ids=SCATTER)
def test_known_scatters(f):
    assert_agrees(f, SHAPE, axes=ALL)


def order(x, n):
    """Positions below ``n`` that depend on x."""
    return x.argsort(-1) % n


BOUND = {
    "index": lambda x: x[:, :, order(x[0, 0, 0], 5)],
    "index-apart": lambda x: x[:, order(x[0, 0, 0], 3), :, order(x[0, 0, 1], 4)],
    "index_select": lambda x: x.index_select(2, order(x[0, 0, 0], 5)),
    "gather": lambda x: x.gather(2, order(x, 5)),
    "take_along_dim": lambda x: x.take_along_dim(x.argsort(2), 2),
    "take": lambda x: x.take(order(x[0, 0], 100)),
    "embedding": lambda x: F.embedding(order(x[0, 0], 5), x[0, 1]),
    "embedding_bag": lambda x: F.embedding_bag(order(x[0, 0], 5), x[0, 1]),
    "index_put": lambda x: changed(
        x, lambda y: y.__setitem__((slice(None), slice(None), order(x[0, 0, 0], 5)), x[:, :, :4])
    ),
    "index_put-mask": lambda x: changed(x, lambda y: y.__setitem__(x > 0, x[x > 0])),
    "index_put-twice": put(slice(None), slice(None), at([1, 1]), value=lambda x: x[:, :, :2]),
    "scatter": lambda x: x.scatter(2, order(x, 5)[:, :2], x),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(3, x.argsort(3), x),
    "scatter-value": lambda x: x.scatter(3, x.argsort(3)[..., :2], 1.0),
    "index_add": lambda x: x.index_add(2, order(x[0, 0, 0], 5), x[:, :, :4]),
    "index_fill": lambda x: x.index_fill(2, order(x[0, 0, 0], 5), 0.0),
    "put": lambda x: x.put(order(x[0, 0], 100), x[0, 1]),
    "masked_scatter": lambda x: x.masked_scatter(x > 0, x.flip(2)),
    "masked_select": lambda x: x.masked_select(x > 0)[:3],
    "mask": lambda x: x[x > 0][:3],
    "nonzero": lambda x: (x > 0).nonzero()[:4] * 1.0,
    "unique": lambda x: x.round().unique()[:2],
    "unique_dim": lambda x: x.round().unique(dim=0)[:1],
    "unique_consecutive": lambda x: x.round().unique_consecutive()[:2],
    "nonzero_static": lambda x: torch.ops.aten.nonzero_static(x > 0, size=3) * 1.0,
    "repeat_interleave": lambda x: torch.repeat_interleave((x[0, 0, 0] > 0) + 1)[:3] * 1.0,
    "unsafe_masked_index": lambda x: torch.ops.aten._unsafe_masked_index(
        x, x[0, 0, 0] > 0, [None, None, None, order(x[0, 0, 0], 4)], 0.0
    ),
    "masked_index_put": lambda x: torch.ops.aten._unsafe_masked_index_put_accumulate(
        x, at([[True], [False]]), [None, None, at([1, 9])], x[:, :, 2:4]
    ),
    "masked_index_put-mask": lambda x: torch.ops.aten._unsafe_masked_index_put_accumulate(
        torch.zeros_like(x), x[0, 0, 0] > 0, [None, None, None, torch.arange(4)], x
    ),
}


SIZED = (
    "unique", "unique_dim", "unique_consecutive", "nonzero", "repeat_interleave", "mask", "masked_select",
    "index_put-mask",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", BOUND)
def test_dependent_indices_are_bounds(name):
    shape = SHAPE
    x = torch.randn(shape, dtype=torch.float64)
    if name in SIZED:
        # The number of elements depends on the data: poisoning changes the shape.
        report = eyeshot.analyze(BOUND[name], args=(x,), axes=ALL)
        assert report.outputs[0].status == "bound"
        assert "data-dependent" in {d.code for d in report.diagnostics}
        return
    report = assert_agrees(BOUND[name], shape, axes=ALL, status="bound")
    assert {d.code for d in report.diagnostics} == {"data-dependent"}


SELECTIONS = {
    "where": (
        lambda x: torch.where(x > 0, x.flip(2), x.roll(1, 3)),
        lambda x: x + x.flip(2) + x.roll(1, 3),
    ),
    "rows": (
        lambda x: changed(x.roll(1, 3), lambda y: y.__setitem__(x[:, :, 0, 0] > 0, 0.5)),
        lambda x: x.roll(1, 3) + x[:, :, :1, :1],
    ),
    "fill": (lambda x: x.masked_fill(x.flip(2) > 0, 0.5), lambda x: x + x.flip(2)),
}


@pytest.mark.parametrize("f, reference", SELECTIONS.values(), ids=SELECTIONS)
def test_a_selection_reads_what_it_may_choose(f, reference):
    """What one condition hides, another shows: the arithmetic takes both, as in a sum."""
    x = torch.randn(SHAPE, dtype=torch.float64)
    report = eyeshot.analyze(f, args=(x,), axes=ALL)
    expected = assert_agrees(reference, SHAPE, axes=ALL)
    assert report.outputs[0].status == "exact"
    np.testing.assert_array_equal(report.outputs[0].boxes(), expected.outputs[0].boxes())


def test_counts_read_everything():
    assert_agrees(lambda x: torch.histc(x, 4, -1, 1), inputs=[torch.rand(1, 1, 9)], status=None)
    tokens = torch.randint(0, 5, (1, 9))
    assert_agrees(lambda t: torch.bincount(t[0], minlength=20), inputs=[tokens], status=None)
    x = torch.rand(1, 9, 2)
    for f in (
        lambda x: torch.histogram(x[0, :, 0], 4, range=(0.0, 1.0))[0],
        lambda x: torch.histogramdd(x[0], [2, 3], range=[0.0, 1.0, 0.0, 1.0])[0],
    ):
        layer = eyeshot.analyze(f, args=(x,), axes=1).outputs[0]
        assert layer.status == "exact"
        assert (layer.boxes() == [0, 9]).all()


def test_draws_read_their_row():
    x = torch.rand(3, 5)
    layer = eyeshot.analyze(lambda x: torch.multinomial(x, 2), args=(x,), axes=(0, 1)).outputs[0]
    expected = assert_agrees(
        lambda x: x.sum(1, keepdim=True).expand(3, 2), (3, 5), axes=(0, 1)
    ).outputs[0]
    np.testing.assert_array_equal(layer.boxes(), expected.boxes())


TOKENS = {
    "embedding": nn.Embedding(30, 4, padding_idx=0),
    "scaled": nn.Embedding(30, 4),
    "bag": nn.EmbeddingBag(30, 4),
    "one_hot": lambda t: F.one_hot(t, 30).double().cumsum(1),
    "table": lambda t: torch.arange(30.0)[t],
    "rows": lambda t: torch.arange(60.0).view(30, 2).index_select(0, t.flatten()),
    "bag-offsets": lambda t: F.embedding_bag(
        t.flatten(), torch.arange(60.0).view(30, 2), at([0, 3, 5])
    ),
    "bag-last": lambda t: F.embedding_bag(
        t.flatten(),
        torch.arange(60.0).view(30, 2),
        at([0, 3, 5, 7]),
        mode="sum",
        include_last_offset=True,
    ),
}


@pytest.mark.parametrize("f", TOKENS.values(), ids=TOKENS)
def test_tokens_in_constant_tables_are_exact(f):
    if isinstance(f, nn.Module):
        torch.manual_seed(0)
        f.reset_parameters()
    assert_agrees(f, inputs=[torch.arange(1, 11).view(2, 5)], axes=(0, 1))


def test_a_sample_weighted_bag():
    tokens = torch.arange(6)
    assert_agrees(
        lambda w: F.embedding_bag(
            tokens,
            torch.arange(1.0, 61).view(30, 2).double(),
            at([0, 2]),
            mode="sum",
            per_sample_weights=w,
        ),
        (6,),
        axes=0,
    )


def test_known_steps_keep_a_closed_form():
    for f in (
        lambda x: x[:, :, torch.arange(0, 64, 2)],
        lambda x: x[:, :, torch.arange(63, -1, -1)],
        lambda x: x[:, :, torch.arange(0, 64, 2)[:, None], torch.arange(1, 64, 4)],
        lambda x: x.gather(2, torch.arange(0, 64, 2).view(1, 1, 32, 1).expand(1, 1, 32, 64)),
        lambda x: x.repeat_interleave(torch.full((64,), 2), dim=2),
    ):
        report = eyeshot.analyze(f, input=(1, 1, 64, 64))
        assert all(field.canvas is not None for field in report[-1].fields)


def test_an_index_outside_raises_pytorchs_error():
    for f in (lambda x: x[:, :, at([7])], lambda x: x.index_select(2, at([-6]))):
        with pytest.raises(eyeshot.EyeshotError, match=r"IndexError.*(out of (bounds|range))"):
            eyeshot.analyze(f, input=(1, 1, 5))
    with pytest.raises(eyeshot.EyeshotError, match=r"RuntimeError.*shape mismatch"):
        eyeshot.analyze(put(slice(None), at([0]), value=lambda x: x[..., :3]), input=(1, 1, 5))
    with pytest.raises(eyeshot.EyeshotError, match=r"IndexError.*mask"):
        eyeshot.analyze(lambda x: x[:, :, MASK], input=(1, 1, 9))

"""Reductions, running sums, sorting, transforms, products of matrices and norms, against poisoning."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import eyeshot
from tests.frontends.agree import assert_agrees
from tests.oracles import poison

SHAPE = (2, 3, 5, 4)
ALL = (1, 2, 3)

REDUCTIONS = {
    **{
        f"{name}{suffix}": lambda x, n=name, k=kwargs: getattr(torch, n)(x, **k)
        for name in ("mean", "sum", "amax", "amin", "std", "var", "logsumexp", "nansum", "norm")
        for suffix, kwargs in (
            ("", {"dim": (2, 3)}),
            ("-keep", {"dim": (2, 3), "keepdim": True}),
            ("-one", {"dim": -2}),
        )
        if not (name == "nansum" and suffix == "-keep")
    },
    **{
        f"{name}-all": lambda x, n=name: getattr(x[0, 0], n)() + x
        for name in (
            "mean",
            "sum",
            "amax",
            "amin",
            "std",
            "var",
            "nansum",
            "norm",
            "prod",
            "max",
            "min",
            "median",
            "nanmedian",
            "nanmean",
        )
    },
    **{
        f"{name}-dim{k}": lambda x, n=name, k=k: getattr(torch, n)(x, 2, keepdim=k)[0]
        for name in ("max", "min", "median", "nanmedian", "mode")
        for k in (False, True)
    },
    "prod": lambda x: x.prod(2),
    "prod-keep": lambda x: x.prod(3, keepdim=True),
    "var-biased": lambda x: x.var(False) + x,
    "var-correction": lambda x: x.var((2, 3), correction=0),
    "var_mean": lambda x: torch.cat(torch.var_mean(x, 2), 1),
    "var_mean-all": lambda x: torch.stack(torch.var_mean(x[0]))[:, None] * x.new_ones(1, 2),
    "std_mean": lambda x: (
        torch.std_mean(x, (1, 3), keepdim=True)[1] * torch.std_mean(x, 3, keepdim=True)[0]
    ),
    "aminmax": lambda x: torch.cat(torch.aminmax(x, dim=2), 1),
    "aminmax-all": lambda x: torch.stack(torch.aminmax(x[0]))[:, None] * x.new_ones(1, 2),
    "argmax": lambda x: x.argmax(2) + 0.0 * x.sum(2),
    "argmin-all": lambda x: x[0].argmin() + 0.0 * x.sum(2),
    "any": lambda x: (x > 0).any(3) + 0.0 * x.sum(3),
    "all": lambda x: (x > 0).all() + 0.0 * x.sum(),
    "count_nonzero": lambda x: (x > 0).count_nonzero(2) + 0.0 * x.sum(2),
    "vector_norm": lambda x: torch.linalg.vector_norm(x, 3, (1, 3)),
    "vector_norm-all": lambda x: torch.linalg.vector_norm(x[0]) + x,
    "norm-p": lambda x: x.norm(1, 2, True),
    "trace": lambda x: x[0, 0].trace() * x[0],
    "nuclear": lambda x: torch.linalg.matrix_norm(x),
    "quantile": lambda x: x.quantile(0.3, dim=2),
    "cdist": lambda x: torch.cdist(x, x.flip(2)),
    "pdist": lambda x: F.pdist(x[0, 0]),
    "pairwise": lambda x: F.pairwise_distance(x, x.flip(2)),
    "cosine": lambda x: F.cosine_similarity(x, x.roll(1, 2), dim=1),
    "normalize": lambda x: F.normalize(x, dim=2),
    "renorm": lambda x: x.renorm(2, 1, 0.1),
    "quantile-several": lambda x: torch.quantile(
        x, torch.tensor([0.1, 0.5], dtype=x.dtype), 3, keepdim=True
    ),
    "nanquantile": lambda x: x.nanquantile(0.3) + x,
    "mse-mean": lambda x: F.mse_loss(x[0, 0], x[0, 1]) + x,
    "mse": lambda x: F.mse_loss(x, x.flip(2), reduction="none"),
}


@pytest.mark.parametrize("f", REDUCTIONS.values(), ids=REDUCTIONS)
def test_reductions(f):
    assert_agrees(f, SHAPE, axes=ALL)


RUNNING = {
    "cumsum": lambda x: x.cumsum(2),
    "cumprod": lambda x: x.cumprod(-1),
    "logcumsumexp": lambda x: x.logcumsumexp(2),
    "cumsum_": lambda x: x.clone().cumsum_(3),
    "glu": lambda x: F.glu(x, 3),
    "sort": lambda x: x.sort(2)[0],
    "sort-stable": lambda x: x.sort(dim=2, stable=True, descending=True)[0],
    "msort": lambda x: x[0].msort(),
    "topk": lambda x: x.topk(2, 2)[0],
    "topk-smallest": lambda x: (
        x.topk(5, dim=2, largest=False, sorted=False)[0] + 0 * x.sum(2, keepdim=True)
    ),
    "softmax": lambda x: x.softmax(2),
    "log_softmax": lambda x: x.log_softmax(-1),
    "softmin": lambda x: F.softmin(x, 2),
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(1),
    "tril_": lambda x: x.clone().tril_(-1),
    "diff": lambda x: torch.diff(x, prepend=x[:, :, :, :1]),
    "gradient": lambda x: torch.gradient(x, dim=2)[0],
    "cumulative_trapezoid": lambda x: torch.cumulative_trapezoid(x, dim=2),
}


@pytest.mark.parametrize("f", RUNNING.values(), ids=RUNNING)
def test_running(f):
    assert_agrees(f, SHAPE, axes=ALL)


COMPARISONS = {
    "cummax": (lambda x: x.cummax(2)[0], lambda x: x.cumsum(2)),
    "cummax-index": (lambda x: x.cummax(2)[1] * 1.0, lambda x: x.cumsum(2)),
    "cummin": (lambda x: x.cummin(-2)[0], lambda x: x.cumsum(2)),
    "kthvalue": (lambda x: x.kthvalue(2, 2)[0], lambda x: x.sum(2)),
    "kthvalue-keep": (lambda x: x.kthvalue(2, 2, True)[1] * 1.0, lambda x: x.sum(2, keepdim=True)),
    "mode": (lambda x: x.mode(2)[0], lambda x: x.sum(2)),
    "mode-last": (lambda x: x.mode()[0], lambda x: x.sum(3)),
    "msort": (lambda x: x.msort(), lambda x: x.sort(0)[0]),
    "binary_cross_entropy": (
        lambda x: F.binary_cross_entropy(x.sigmoid(), torch.ones_like(x)) + x,
        lambda x: F.mse_loss(x, torch.ones_like(x)) + x,
    ),
    "binary_cross_entropy-each": (
        lambda x: F.binary_cross_entropy(x.sigmoid(), torch.ones_like(x), reduction="none"),
        lambda x: x * 1,
    ),
    "argsort": (lambda x: x.argsort(2) * 1.0, lambda x: x.sort(2)[0]),
    "topk-index": (lambda x: x.topk(5, 2)[1] * 1.0, lambda x: x.sort(2)[0]),
}


@pytest.mark.parametrize("f, reference", COMPARISONS.values(), ids=COMPARISONS)
def test_comparisons_read_all_they_compare(f, reference):
    """A comparison is a read, though most numbers lose it: a running maximum reads what a running sum does."""
    x = torch.randn(SHAPE, dtype=torch.float64)
    layer = eyeshot.analyze(f, args=(x,), axes=ALL).outputs[0]
    expected = assert_agrees(reference, SHAPE, axes=ALL).outputs[0]
    assert layer.status == "exact"
    np.testing.assert_array_equal(layer.boxes(), expected.boxes())


TRANSFORMS = {
    "fft": lambda x: torch.fft.fft(x, dim=2).real,
    "rfft": lambda x: torch.fft.rfft(x, dim=2).abs(),
    "irfft": lambda x: torch.fft.irfft(x + 0j, dim=3),
    "rfft2": lambda x: torch.fft.rfft2(x).abs(),
    "irfft2": lambda x: torch.fft.irfft2(torch.fft.rfft2(x)),
    "fftn": lambda x: torch.fft.fftn(x, dim=(1, 2, 3)).abs(),
    "ifftn": lambda x: torch.fft.ifftn(x, dim=(2,)).abs(),
    "hfft": lambda x: torch.fft.hfft(x + 0j, dim=2),
    "padded": lambda x: torch.fft.fft(x, n=7, dim=2).abs(),
    "cropped": lambda x: torch.fft.fft(x, n=3, dim=2).abs(),
    "fftshift": lambda x: torch.fft.fftshift(x, dim=(2, 3)),
    "ifftshift": lambda x: torch.fft.ifftshift(x, dim=2),
    "stft": lambda x: torch.stft(
        x[0, 0].flatten(),
        8,
        4,
        window=torch.ones(8, dtype=x.dtype),
        return_complex=True,
        center=False,
    ).abs(),
}


@pytest.mark.parametrize("f", TRANSFORMS.values(), ids=TRANSFORMS)
def test_transforms(f):
    assert_agrees(f, SHAPE, axes=ALL)


W = torch.randn(4, 6, dtype=torch.float64)

PRODUCTS = {
    "mm": lambda x: x[0, 0] @ x[1, 1].T,
    "mm-constant": lambda x: x[0, 0] @ W,
    "mm-constant-left": lambda x: W.T @ x[0, 0].T,
    "bmm": lambda x: torch.bmm(x[0], x[1].mT),
    "bmm-constant": lambda x: torch.bmm(x[0], W.expand(3, 4, 6).contiguous()),
    "matmul": lambda x: x @ x.mT,
    "matmul-broadcast": lambda x: x @ x[:1, :1].mT,
    "matmul-constant": lambda x: x @ W,
    "matmul-1d": lambda x: x[0, 0, 0] @ x[0, 0].T,
    "mv": lambda x: x[0, 0].mv(x[0, 1, 0]),
    "mv-constant": lambda x: x[0, 0].mv(W[:, 0]),
    "dot": lambda x: x[0, 0, 0].dot(x[0, 0, 1]) + x[0, 0],
    "vdot": lambda x: x[0, 0, 0].vdot(W[:, 0]) + x[0, 0],
    "inner": lambda x: torch.inner(x, x[0, 0]),
    "outer": lambda x: x[0, 0, 0].outer(x[0, 0, :, 0]),
    "outer-constant": lambda x: W[0].outer(x[0, 0, 0]),
    "ger": lambda x: torch.ger(x[0, 0, 0], W[:, 0]),
    "addmm": lambda x: torch.addmm(x[0, 0, :, :1], x[0, 1], W),
    "addmm-row": lambda x: torch.addmm(W[0], x[0, 1], W),
    "addmv": lambda x: torch.addmv(x[0, 0, :, 0], x[0, 1], W[:, 0]),
    "addr": lambda x: torch.addr(x[0, 0], x[0, 1, :, 0], x[0, 1, 0]),
    "addbmm": lambda x: torch.addbmm(x[0, 0, :, :1], x[0], x[1].mT),
    "baddbmm": lambda x: torch.baddbmm(x[0, :, :, :1], x[0], x[1].mT, beta=0.5),
    "chain_matmul": lambda x: torch.linalg.multi_dot([x[0, 0], W, W.T]),
    "linear": lambda x: F.linear(x, W.T, W[0]),
    "linear-hyper": lambda x: F.linear(x[0], x[1, 0], x[1, 0, :, 0]),
    "einsum-transpose": lambda x: torch.einsum("bchw->bwhc", x),
    "einsum-trace": lambda x: torch.einsum("bchw->bch", x),
    "einsum-attention": lambda x: torch.einsum("bchw,bcuw->bchu", x, x),
    "einsum-batch": lambda x: torch.einsum("bchw,wk->bckh", x, W),
    "einsum-outer": lambda x: torch.einsum("h,w->hw", x[0, 0, :, 0], x[0, 0, 0]),
    "einsum-diagonal": lambda x: torch.einsum("bcii->bci", x[:, :, :4]),
    "einsum-three": lambda x: torch.einsum("bhw,wk,bhk->bk", x[0], W, W.new_ones(3, 5, 6)),
    "tensordot": lambda x: torch.tensordot(x, W, dims=([3], [0])),
    "tensordot-two": lambda x: torch.tensordot(x[0], x[1], dims=([0, 2], [0, 2])),
    "kron": lambda x: torch.kron(x[0, 0], torch.eye(2, dtype=x.dtype)) + 0,
    "inv": lambda x: torch.linalg.inv(x[:, :, :4]),
    "det": lambda x: torch.linalg.det(x[:, :, :4]),
    "slogdet": lambda x: torch.linalg.slogdet(x[:, :, :4])[1],
    "qr": lambda x: torch.linalg.qr(x)[0] + 0 * x.sum((2, 3), keepdim=True),
    "matrix_power": lambda x: torch.linalg.matrix_power(x[:, :, :4], 2),
    "matrix_exp": lambda x: torch.linalg.matrix_exp(x[:, :, :4]),
    "bilinear": nn.Bilinear(4, 4, 3),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    f = PRODUCTS[name]
    if name == "bilinear":
        torch.manual_seed(0)
        shapes = ((2, 5, 4), (2, 5, 4))
        assert_agrees(f, *shapes, axes={"input1": (1, 2), "input2": (1, 2)})
        return
    assert_agrees(f, SHAPE, axes=ALL)


# NaN makes these kernels raise, so they are poisoned with numbers alone.
def finite(f):
    def guarded(x):
        return f(x.nan_to_num(1e3))

    return guarded


DECOMPOSITIONS = {
    "cholesky": lambda x: torch.linalg.cholesky(x @ x.mT + 3 * torch.eye(5, dtype=x.dtype)).sum(
        (2, 3)
    ),
    "svdvals": lambda x: torch.linalg.svdvals(x),
    "eigvalsh": lambda x: torch.linalg.eigvalsh(x[:, :, :4] + x[:, :, :4].mT),
    "pinv": lambda x: torch.linalg.pinv(x),
    "solve": lambda x: torch.linalg.solve(
        x[:, :, :4] + 9 * torch.eye(4, dtype=x.dtype), x[:, :, :4, :1]
    ),
    "solve_triangular": lambda x: torch.linalg.solve_triangular(
        x[:, :, :4].triu() + 9 * torch.eye(4, dtype=x.dtype), x[:, :, :4], upper=True
    ),
    "triangular_solve": lambda x: torch.triangular_solve(
        x[:, :, :4], x[:, :, :4].triu() + 9 * torch.eye(4, dtype=x.dtype)
    )[0],
    "lstsq": lambda x: torch.linalg.lstsq(x, x[:, :, :, :1])[0],
    "lu_parts": lambda x: torch.linalg.lu(x)[2],
    "householder": lambda x: torch.linalg.householder_product(x, x[:, :, 0, :2]),
    "cholesky_inverse": lambda x: torch.cholesky_inverse(
        x[:, :, :4].tril() + 9 * torch.eye(4, dtype=x.dtype)
    ),
    "eig": lambda x: torch.linalg.eig(x[:, :, :4])[0].abs(),
    "eigvals": lambda x: torch.linalg.eigvals(x[:, :, :4]).abs(),
    "lu": lambda x: torch.linalg.lu_factor(x[:, :, :4] + 9 * torch.eye(4, dtype=x.dtype))[0],
}


@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")
@pytest.mark.parametrize("f", DECOMPOSITIONS.values(), ids=DECOMPOSITIONS)
def test_decompositions_contain_what_shows(f):
    """A matrix is read whole, whatever of it cancels in one number."""
    x = torch.randn(SHAPE, dtype=torch.float64)
    layer = eyeshot.analyze(f, args=(x,), axes=ALL).outputs[0]
    ours = layer.boxes()
    for k, axis in enumerate(ALL):
        real = poison.hulls(poison.reads(finite(f), [x], 0, axis), layer.unit_dims)
        some = real[..., 0] < real[..., 1]
        assert (ours[..., k, 0] <= real[..., 0])[some].all()
        assert (ours[..., k, 1] >= real[..., 1])[some].all()


def weight_normed(net):
    torch.manual_seed(0)
    return nn.utils.parametrizations.weight_norm(net)


NORMS = {
    "batch": lambda: nn.BatchNorm2d(3),
    "batch-plain": lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False),
    "instance": lambda: nn.InstanceNorm2d(3, affine=True),
    "instance-tracking": lambda: nn.InstanceNorm2d(3, track_running_stats=True),
    "group": lambda: nn.GroupNorm(3, 3),
    "group-one": lambda: nn.GroupNorm(1, 3, affine=False),
    "layer": lambda: nn.LayerNorm(4),
    "layer-two": lambda: nn.LayerNorm((5, 4), elementwise_affine=False),
    "rms": lambda: nn.RMSNorm(4),
    "rms-two": lambda: nn.RMSNorm((5, 4), elementwise_affine=False, eps=1e-5),
    "local-response": lambda: nn.LocalResponseNorm(2),
    "weight_norm": lambda: weight_normed(nn.Conv2d(3, 2, 3)),
    "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 2, 3)),
    "old-spectral_norm": lambda: nn.utils.spectral_norm(nn.Conv2d(3, 2, 3)),
    "softmax2d": lambda: nn.Softmax2d(),
    "alpha": lambda: nn.Sequential(nn.AlphaDropout(), nn.Dropout2d(), nn.FeatureAlphaDropout()),
}


@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_norms(make):
    torch.manual_seed(0)
    assert_agrees(make(), SHAPE, axes=(0, 1, 2, 3))


def test_group_norm_reads_its_group():
    assert_agrees(nn.GroupNorm(2, 6), (2, 6, 3), axes=(0, 1, 2))
    assert_agrees(lambda x: F.group_norm(x, 2), (2, 6), axes=(0, 1))


def kept(x):
    """The running mean after a forward pass."""
    mean, var = torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype)
    F.batch_norm(x, mean, var, training=True)
    return mean.view(3, 1, 1)


TRAINING = {
    "batch": lambda x: F.batch_norm(x, None, None, training=True),
    "batch-1d": lambda x: F.batch_norm(x[:, :, 0, 0], None, None, training=True),
    "batch-tracking": lambda x: F.batch_norm(
        x, torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype), training=True
    ),
    "batch-kept": lambda x: kept(x) + x,
    "batch-legit": lambda x: torch.ops.aten._native_batch_norm_legit(
        x, None, None, True, 0.1, 1e-5
    )[0],
    "batch-inference": lambda x: torch.ops.aten._native_batch_norm_legit_no_training(
        x, None, None, torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype), 0.1, 1e-5
    )[0],
    "fused-rms": lambda x: torch.ops.aten._fused_rms_norm(x, [4], x[0, 0, 0], None)[0],
    "weight_norm": lambda x: torch._weight_norm(x[0], x[0, :, :1, :1]),
    "hyper": lambda x: F.batch_norm(x, x.new_zeros(3), x.new_ones(3), x[0, :, 0, 0], x[1, :, 1, 1]),
    "instance-hyper": lambda x: F.instance_norm(x, weight=x[0, :, 0, 0]),
    "layer-hyper": lambda x: F.layer_norm(x, (4,), x[0, 0, 0], x[1, 0, 0]),
    "group-hyper": lambda x: F.group_norm(x, 3, x[0, :, 0, 0], x[1, :, 0, 0]),
}


@pytest.mark.parametrize("f", TRAINING.values(), ids=TRAINING)
def test_statistics_of_the_batch(f):
    assert_agrees(f, SHAPE, axes=(0, 1, 2, 3))


TARGET = torch.zeros(2, 5, 4, dtype=torch.int64)

LOSSES = {
    "mse": lambda x: F.mse_loss(x, x.flip(2)),
    "huber": lambda x: F.huber_loss(x, torch.ones_like(x)),
    "smooth_l1": lambda x: F.smooth_l1_loss(x, torch.ones_like(x)),
    "soft_margin": lambda x: F.soft_margin_loss(x, torch.ones_like(x)),
    "huber-none": lambda x: F.huber_loss(x, x.flip(2), reduction="none"),
}
CLASS_LOSSES = {
    "cross_entropy": lambda x: F.cross_entropy(x, TARGET),
    "nll": lambda x: F.nll_loss(x[0, 0], TARGET[0, :, 0]),
    "multi_margin": lambda x: F.multi_margin_loss(x[0, 0], TARGET[0, :, 0]),
    "multilabel_margin": lambda x: F.multilabel_margin_loss(x[0, 0], TARGET[0]),
}


@pytest.mark.parametrize("name", [*LOSSES, *CLASS_LOSSES])
def test_losses(name):
    if name in LOSSES:
        assert_agrees(LOSSES[name], SHAPE, axes=ALL)
    else:
        assert_agrees(CLASS_LOSSES[name], SHAPE, axes=ALL, status="bound")

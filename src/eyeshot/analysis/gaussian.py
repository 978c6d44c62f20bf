"""The Gaussian that fits an array best."""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fit", "fit_gaussian"]

STEPS = 60
#: The fit is found once a step changes its error by less than this part.
CONVERGED = 1e-10
#: Halvings of a step that makes the error larger.
HALVINGS = 12
#: A Gaussian of a smaller deviation, in pixels, has one pixel, which tells no width.
NARROWEST = 0.2


class Fit(NamedTuple):
    """A Gaussian along each axis, multiplied: ``peak * prod(exp(-(x - centre)**2 / (2 * sigma**2)))``.

    ``centre``, ``sigma``: per axis, in pixels; pixel k is centred at k + 0.5. ``error``: the root of the mean
    squared difference from the array, as a part of ``peak``. ``r2``: the part of the array's variance that it
    explains, 1 for a Gaussian.
    """

    centre: tuple[float, ...]
    sigma: tuple[float, ...]
    peak: float
    error: float
    r2: float


def fit_gaussian(array: NDArray[np.float64]) -> Fit | None:
    """The Gaussian with the least squared difference from ``array``; None where there is none.

    The logarithm of a Gaussian is a parabola along each axis, so that its least squares, weighted by the
    squares of what was fitted before, are a linear problem (Guo 2011, "A simple algorithm for fitting a
    Gaussian function", IEEE Signal Processing Magazine 28). Here each step takes the difference itself, to
    first order, in the place of the logarithm's: the same equations, in which values of 0 or less and noise
    have their part too, and whose limit is the least squared difference (Gauss-Newton).

    None for arrays without a peak inside: constant, narrower than a pixel, of fewer than three elements along
    an axis, or rising to a border; and where a constant is as near.
    """
    if not array.size or min(array.shape) < 3 or not array.max() > 0:
        return None
    peak = float(array.max())
    values = array / peak
    grid = [(np.arange(n) - (n - 1) / 2) / (n / 2) for n in array.shape]
    powers = [np.stack([x, x**2]) for x in grid]
    with np.errstate(all="ignore"):
        theta = _by_width(values)
        if theta is None:
            return None
        theta = _refined(values, powers, theta)
        fitted = _gaussian(theta, powers)
    curved = theta[2::2]
    if not np.isfinite(theta).all() or (curved >= 0).any():
        return None
    middle = -theta[1::2] / (2 * curved)
    deviation = np.sqrt(-1 / (2 * curved))
    # Of a peak beyond the border or a slope without end no width is known.
    if (np.abs(middle) > 1).any() or (deviation > 2).any():
        return None
    halves = np.array(array.shape) / 2
    if (deviation * halves < NARROWEST).any():
        return None
    height = math.exp(float(theta[0] - (theta[1::2] ** 2 / (4 * curved)).sum()))
    squares = float(((values - fitted) ** 2).sum())
    variance = float(((values - values.mean()) ** 2).sum())
    if not squares < variance:
        return None
    return Fit(
        tuple(((middle + 1) * halves).tolist()),
        tuple((deviation * halves).tolist()),
        height * peak,
        math.sqrt(squares / values.size) / height,
        1 - squares / variance,
    )


def _gaussian(theta: NDArray[np.float64], powers: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """``exp`` of the parabolas with coefficients ``theta``: 1, then x and x² of each axis."""
    out = np.exp(theta[0])
    for k, power in enumerate(powers):
        along = np.exp(theta[1 + 2 * k : 3 + 2 * k] @ power)
        out = np.multiply.outer(out, along)
    return np.asarray(out)


def _sums(values: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """``values`` added up over all axes but these."""
    return np.asarray(values.sum(axis=tuple(d for d in range(values.ndim) if d not in axes)))


def _normal(
    weights: NDArray[np.float64], targets: NDArray[np.float64], powers: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The normal equations of the parabolas: the sums of ``weights`` and ``targets`` times their terms."""
    count = 1 + 2 * len(powers)
    matrix = np.zeros((count, count))
    right = np.zeros(count)
    matrix[0, 0] = weights.sum()
    right[0] = targets.sum()
    at = [slice(1 + 2 * k, 3 + 2 * k) for k in range(len(powers))]
    for k, power in enumerate(powers):
        along = _sums(weights, (k,))
        matrix[0, at[k]] = matrix[at[k], 0] = power @ along
        matrix[at[k], at[k]] = (power * along) @ power.T
        right[at[k]] = power @ _sums(targets, (k,))
    for j, k in combinations(range(len(powers)), 2):
        matrix[at[j], at[k]] = powers[j] @ _sums(weights, (j, k)) @ powers[k].T
        matrix[at[k], at[j]] = matrix[at[j], at[k]].T
    return matrix, right


def _solved(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64] | None:
    scale = np.sqrt(np.diag(matrix))
    if not (scale > 0).all() or not np.isfinite(matrix).all() or not np.isfinite(right).all():
        return None
    found = np.linalg.lstsq(matrix / np.outer(scale, scale), right / scale, rcond=1e-12)
    if found[2] < len(right):
        return None
    return np.asarray(found[0] / scale)


def _by_width(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Where the steps begin: at what exceeds half of the maximum, of the array added up along each axis."""
    theta = [0.0]
    for k, n in enumerate(values.shape):
        along = _sums(values, (k,))
        if not along.max() > 0:
            return None
        above = np.flatnonzero(along >= along.max() / 2)
        low, high = int(above[0]), int(above[-1]) + 1
        middle = (low + high - n) / n
        deviation = (high - low) / n / math.sqrt(2 * math.log(2))
        theta[0] -= middle**2 / (2 * deviation**2)
        theta += [middle / deviation**2, -1 / (2 * deviation**2)]
    return np.array(theta)


def _refined(
    values: NDArray[np.float64], powers: list[NDArray[np.float64]], theta: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gauss-Newton steps, halved while they make the error larger."""
    fitted = _gaussian(theta, powers)
    error = float(((values - fitted) ** 2).sum())
    for _ in range(STEPS):
        step = _solved(*_normal(fitted**2, fitted * (values - fitted), powers))
        if step is None:
            break
        for _ in range(HALVINGS):
            after = _gaussian(theta + step, powers)
            now = float(((values - after) ** 2).sum())
            if now <= error:
                break
            step = step / 2
        else:
            break
        theta, fitted = theta + step, after
        done = error - now <= CONVERGED * error
        error = now
        if done:
            break
    return theta

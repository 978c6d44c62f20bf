"""The canvas engine's claims about exact extents, against the image engine's arrays."""

from __future__ import annotations

import os

import numpy as np
from hypothesis import HealthCheck, given, settings
from strategies import Spec, specs

import eyeshot


@settings(
    max_examples=int(os.environ.get("EYESHOT_FUZZ", "300")) // 2,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(specs())
def test_a_known_reach_is_the_extent_of_all_units(spec: Spec) -> None:
    report = eyeshot.analyze(spec)
    for layer in report:
        for k, field in enumerate(layer._state.fields):
            if field.reach is None or field.bound:
                continue
            span = report._hulls(layer._value)[k]
            assert span is not None, layer.name
            reads = span.lo < span.hi
            assert reads.any(), layer.name
            low, high = np.where(reads, span.lo, 1 << 40).min(), np.where(reads, span.hi, 0).max()
            assert field.reach == (low, high), layer.name

"""What all tests share: a terminal of no particular kind, and specs in the shape of published networks."""

from __future__ import annotations

import os

from hypothesis import settings

# The same examples every time, so that a change is judged by itself; long runs (CONTRIBUTING.md) draw new ones.
settings.register_profile("sample", derandomize=True, database=None, deadline=None)
if "EYESHOT_FUZZ" not in os.environ and "EYESHOT_FUZZ_INPUT" not in os.environ:
    settings.load_profile("sample")

for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "_EYESHOT_COMPLETE"):
    os.environ.pop(name, None)

"""What all tests share: a terminal of no particular kind, and specs in the shape of published networks."""

from __future__ import annotations

import os

for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "_EYESHOT_COMPLETE"):
    os.environ.pop(name, None)

"""Benchmarks: ratios measured in one run, so that they mean the same on every machine.

``python -m benchmarks`` from the repository's root prints them; docs/benchmarks.md shows a full run.
"""

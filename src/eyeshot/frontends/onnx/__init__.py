"""ONNX files: walked node by node on shapes alone, without weights and without running anything of theirs."""

from eyeshot.frontends.onnx.build import Run, build

__all__ = ["Run", "build"]

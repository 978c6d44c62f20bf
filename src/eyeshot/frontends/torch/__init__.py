"""PyTorch modules: traced by operator dispatch, on shapes alone wherever that can be."""

from eyeshot.frontends.torch.build import Run, build

__all__ = ["Run", "build"]

"""References: networks that are built on the spot, always without weights.

| reference | |
|---|---|
| ``torchvision:NAME`` | a builder of torchvision |
| ``timm:NAME`` | a model of timm |
| ``hf:CONFIG.json`` | the bare model of a transformers configuration |
| ``package.module:factory`` | a module of your own, or a class or function that makes one |

Arguments follow as in a URL: ``timm:resnet18?num_classes=10&features_only=true``.
"""

from eyeshot.frontends.references.load import load
from eyeshot.frontends.references.parse import is_reference

__all__ = ["is_reference", "load"]

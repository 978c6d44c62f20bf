"""Gradients of one unit of a PyTorch module on data, of which only what the unit needs is run."""

from eyeshot.gradients.measure import GRADIENTS, Measured, measure

__all__ = ["GRADIENTS", "Measured", "measure"]

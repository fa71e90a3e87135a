"""Pictures of a training run and of what a network has learned; needs the extra ``plot``."""

from ._curves import learning_curves

__all__ = ["learning_curves"]

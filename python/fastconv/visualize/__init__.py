"""Pictures of a training run and of what a network has learned; needs the extra ``plot``.

Functions that draw return a `matplotlib.figure.Figure`, which belongs to no window, and save it
where they are given a `path`. Those named after data (`saliency_map`, `grad_cam_map`,
`confusion_counts`, ...) return arrays and need no matplotlib.
"""

from ._animation import convolution_animation
from ._attribution import grad_cam, grad_cam_map, overlay, saliency, saliency_map
from ._augmentation import augmentation_preview, augmented
from ._classes import (
    Misclassified,
    confusion_counts,
    confusion_matrix,
    misclassified,
    misclassified_examples,
)
from ._curves import learning_curves
from ._diagram import network_diagram, plot_model
from ._network import feature_maps, feature_sheet, filters

__all__ = [
    "Misclassified",
    "augmentation_preview",
    "augmented",
    "confusion_counts",
    "confusion_matrix",
    "convolution_animation",
    "feature_maps",
    "feature_sheet",
    "filters",
    "grad_cam",
    "grad_cam_map",
    "learning_curves",
    "misclassified",
    "misclassified_examples",
    "network_diagram",
    "overlay",
    "plot_model",
    "saliency",
    "saliency_map",
]

"""What the page shows, as arrays, names and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.models import Model

_REPEATS = 5
_SIDE = 640  # pixels that the longer side of a picture has at least


class StepTime(NamedTuple):
    """The time of one layer or step.

    Attributes:
        name: of the layer, or of the graph's node.
        operator: its class, or the step's operator.
        shape: of its output.
        milliseconds: the median of several runs.
        share: of the whole run, 0 to 1.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    milliseconds: float
    share: float


class ModelAnalysis:
    """A layer model of images (batch, height, width, channels) -> (batch, classes).

    Args:
        model: the model, built.
        class_names: a name a class; None: "class 0" and so on.

    Attributes:
        class_names: a name a class, each of them once.
        map_layers: names of the layers whose outputs are feature maps.
        cam_layers: the same where the model has convolutions, else none.
        shown_layer: the first convolution among them, or the first of them.

    Raises:
        ValueError: the model does not classify images, or names and classes differ in number.
    """

    def __init__(self, model: Model, class_names: Sequence[str] | None = None) -> None:
        from fastconv.layers.conv import BaseConv
        from fastconv.models import layer_shapes
        from fastconv.visualize._figure import is_channels_first

        shape = model.input_shape
        if not (isinstance(shape, tuple) and len(shape) == 4):
            raise ValueError(
                f"model '{model.name}' takes inputs {shape}, expected a model of images "
                "(batch, height, width, channels)"
            )
        outputs = model.output_shape
        if not (isinstance(outputs, tuple) and len(outputs) == 2):
            raise ValueError(f"model '{model.name}' returns {outputs}, expected (batch, classes)")
        self.model = model
        self.class_names = named_classes(class_names, outputs[1])
        # Sizes that are open do not matter for which layers have maps.
        example = np.zeros((1, *(64 if d is None else d for d in shape[1:])), np.float32)
        shapes = layer_shapes(model, example)
        self._channels_first = is_channels_first(model)
        pixels = slice(2, 4) if self._channels_first else slice(1, 3)
        self.map_layers = [
            name for name, s in shapes.items() if len(s) == 4 and int(np.prod(s[pixels])) > 1
        ]
        convolutions = {x.name for x in model._all_layers() if isinstance(x, BaseConv)}
        self.cam_layers = self.map_layers if convolutions else []
        first = [name for name in self.map_layers if name in convolutions]
        self.shown_layer = next(iter(first or self.map_layers), None)

    def prediction(self, batch: NDArray[Any]) -> dict[str, float]:
        """Return class name -> probability, for a batch of one."""
        return _probabilities(self.model.predict_on_batch(batch), self.class_names)

    def feature_maps(self, batch: NDArray[Any], layer: str, max_maps: int = 64) -> NDArray[Any]:
        """Return up to `max_maps` maps of a layer side by side as uint8 (H, W, 3).

        Each has full contrast.
        """
        from matplotlib import colormaps

        from fastconv.models import layer_outputs
        from fastconv.visualize import feature_sheet

        maps = layer_outputs(self.model, batch, [layer])[layer][0]
        maps = maps if self._channels_first else np.moveaxis(maps, -1, 0)
        sheet = feature_sheet(maps[:max_maps])
        colours = colormaps["viridis"].with_extremes(bad="white")(np.ma.masked_invalid(sheet))
        return _enlarged(np.rint(255 * colours[..., :3]).astype(np.uint8))

    def grad_cam(
        self, batch: NDArray[Any], picture: NDArray[Any], class_name: str | None, layer: str | None
    ) -> NDArray[Any]:
        """Return the picture under the Grad-CAM of a class as uint8 (H, W, 3).

        `class_name` is its name, None the likeliest one.
        """
        from fastconv.visualize import grad_cam_map, overlay

        index = None if class_name is None else self.class_names.index(class_name)
        return overlay(_enlarged(picture), grad_cam_map(self.model, batch, index, layer))

    def times(self, batch: NDArray[Any]) -> list[StepTime]:
        """Return the time of each layer; those that run as part of another have no row."""
        from fastconv.models import layer_times

        rows = layer_times(self.model, batch, _REPEATS)
        return _shares([(r.layer, r.kind, r.shape, 1e3 * r.seconds) for r in rows])


class GraphAnalysis:
    """An `InferenceSession` with one input; there are no gradients, so no Grad-CAM.

    Args:
        session: the session.
        class_names: a name a class; None: "class 0" and so on.

    Attributes:
        class_names: the names given, or None.
        map_layers, cam_layers: none.

    Raises:
        ValueError: the model has several inputs.
    """

    map_layers: tuple[str, ...] = ()
    cam_layers: tuple[str, ...] = ()

    def __init__(self, session: Any, class_names: Sequence[str] | None = None) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(
                f"the model has the inputs {[i.name for i in inputs]}, expected one: an image"
            )
        self.session = session
        self.class_names = class_names
        self._input = inputs[0].name

    def prediction(self, batch: NDArray[Any]) -> dict[str, float]:
        """Return class name -> probability for `batch`, by the first output, of (1, classes)."""
        scores = self.session.run(None, {self._input: batch})[0]
        if scores.ndim > 2 and all(d == 1 for d in scores.shape[2:]):
            scores = scores.reshape(scores.shape[:2])
        if scores.ndim != 2 or len(scores) != 1 or scores.dtype.kind != "f":
            raise ValueError(
                f"the model's first output is {scores.dtype} {scores.shape}, which are no scores "
                "of classes (1, classes)"
            )
        names = named_classes(self.class_names, scores.shape[1])
        return _probabilities(scores, names)

    def times(self, batch: NDArray[Any]) -> list[StepTime]:
        """Return the time of each step of the plan that runs `batch`."""
        feed = {self._input: batch}
        self.session.run(None, feed)
        profiles = [self.session.profile(feed) for _ in range(_REPEATS)]
        return _shares(
            [
                (
                    rows[0]["name"],
                    f"{rows[0]['op']} {rows[0]['algorithm']}".strip(),
                    tuple(rows[0]["shape"]),
                    1e3 * float(np.median([row["seconds"] for row in rows])),
                )
                for rows in zip(*profiles, strict=True)
            ]
        )


def named_classes(names: Sequence[str] | None, count: int) -> list[str]:
    """Return a name a class, each of them once.

    Raises:
        ValueError: another number of names.
    """
    if names is None:
        return [f"class {i}" for i in range(count)]
    if len(names) != count:
        raise ValueError(f"there are {len(names)} class names, the model has {count} classes")
    twice = {name for name in names if list(names).count(name) > 1}
    return [f"{name} ({i})" if name in twice else name for i, name in enumerate(names)]


def _probabilities(scores: TensorLike, names: list[str]) -> dict[str, float]:
    from fastconv.utils.numeric import as_probabilities

    try:
        rows, _ = as_probabilities(scores)
    except ValueError as error:
        raise ValueError(f"the model {error}") from None
    return {name: float(p) for name, p in zip(names, rows[0], strict=True)}


def _enlarged(picture: NDArray[Any]) -> NDArray[Any]:
    """A small picture with whole pixels made larger."""
    factor = max(1, -(-_SIDE // max(picture.shape[:2])))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _shares(rows: list[tuple[Any, ...]]) -> list[StepTime]:
    total = sum(row[-1] for row in rows)
    return [
        StepTime(name, operator, shape, time, time / total if total else 0.0)
        for name, operator, shape, time in rows
    ]

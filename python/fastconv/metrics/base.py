"""Base classes of metrics. Metrics run in NumPy on the predictions of each batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import initializers
from fastconv._graph.variable import charge
from fastconv.utils.naming import auto_name, snake_case

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import Shape, TensorLike


class State(np.lib.mixins.NDArrayOperatorsMixin):
    """A metric's accumulated array, with the methods that custom Keras metrics use."""

    def __init__(self, value: Any, name: str | None = None) -> None:
        self.name = name
        self._start = np.array(value)
        self._value = self._start.copy()

    def assign(self, value: Any) -> Any:
        """Replace the value."""
        self._value = np.asarray(value, self._start.dtype).reshape(self._start.shape)
        return self

    def assign_add(self, value: Any) -> Any:
        """Add to the value."""
        return self.assign(self._value + np.asarray(value))

    def reset(self) -> None:
        """Go back to the initial value."""
        self._value = self._start.copy()

    def numpy(self) -> Any:
        """Return the value."""
        return self._value

    @property
    def shape(self) -> Any:
        return self._value.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._value if dtype is None else self._value.astype(dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        values = [x._value if isinstance(x, State) else x for x in inputs]
        return getattr(ufunc, method)(*values, **kwargs)

    def __float__(self) -> float:
        return float(self._value)

    def __repr__(self) -> str:
        return f"<State {self.name}: {self._value}>"


class Metric:
    """Base class: subclasses define `update_state`, `result` and keep state in `add_weight`.

    Args:
        dtype: kept in the configuration; sums are float64.
        name: the key in the logs.
    """

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.dtype = dtype or "float32"
        self._states: list[State] = []

    def add_weight(
        self,
        shape: Shape = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> State:
        """Create a state that `reset_state` sets back.

        Args:
            shape: sizes of the axes, () for a number.
            initializer: first value, by name or as an `Initializer`.
            dtype: type of the array.
            name: name of the state.
        """
        charge(shape, 8, name)
        value = initializers.get(initializer)(tuple(shape)).astype(np.float64)
        state = State(value, name)
        self._states.append(state)
        return state

    add_variable = add_weight

    @property
    def variables(self) -> list[State]:
        """The states."""
        return list(self._states)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take in one batch: y_true, y_pred and perhaps sample_weight, NumPy arrays (N, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define update_state()")

    def result(self) -> Any:
        """Return the value over all batches since the last reset."""
        raise NotImplementedError(f"{type(self).__name__} does not define result()")

    def reset_state(self) -> None:
        """Forget all batches."""
        for state in self._states:
            state.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return the states, and the attributes that are numbers or arrays."""
        kept = (bool, int, float, np.ndarray, np.generic)
        return {
            "states": [state.numpy() for state in self._states],
            "attributes": {k: v for k, v in vars(self).items() if isinstance(v, kept)},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for own, value in zip(self._states, state["states"], strict=True):
            own.assign(np.array(value))
        known = vars(self)
        known.update({k: v for k, v in state["attributes"].items() if k in known})

    def __call__(self, *args: Any, **kwargs: Any) -> TensorLike:
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a metric from what `get_config()` returned, `config`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def fit_weights(values: NDArray[Any], sample_weight: TensorLike) -> NDArray[Any]:
    """Return weights broadcast to the values; extra axes of values are averaged before."""
    weights = np.asarray(sample_weight, dtype=np.float64)
    while weights.ndim > values.ndim and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.ndim > values.ndim:
        raise ValueError(
            f"sample weights of shape {np.shape(sample_weight)} do not fit values of shape "
            f"{values.shape}"
        )
    weights = weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
    return np.broadcast_to(weights, values.shape)


class Mean(Metric):
    """Weighted mean of all values."""

    def __init__(self, name: str = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.reset_state()

    def update_state(self, values: Any, sample_weight: TensorLike | None = None) -> None:
        """Take in numbers `values`, which count `sample_weight` (None: 1)."""
        values = np.asarray(values)
        if sample_weight is None:
            self.total += float(values.sum(dtype=np.float64))
            self.count += values.size
            return
        weights = fit_weights(values, sample_weight)
        self.total += float((values * weights).sum(dtype=np.float64))
        self.count += float(weights.sum())

    def result(self) -> Any:
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        self.total = 0.0
        self.count = 0.0


class Sum(Metric):
    """Weighted sum of all values."""

    def __init__(self, name: str = "sum", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.reset_state()

    def update_state(self, values: Any, sample_weight: TensorLike | None = None) -> None:
        """Take in numbers `values`, which count `sample_weight` (None: 1)."""
        values = np.asarray(values, dtype=np.float64)
        if sample_weight is not None:
            values = values * fit_weights(values, sample_weight)
        self.total += float(values.sum())

    def result(self) -> Any:
        return self.total

    def reset_state(self) -> None:
        self.total = 0.0


class MeanMetricWrapper(Mean):
    """Mean over all samples of a function `fn(y_true, y_pred, **kwargs)`."""

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(name or str(getattr(fn, "__name__", "metric")), dtype)
        self._fn = fn
        self._fn_kwargs = kwargs

    def update_state(  # type: ignore[override]  # Keras's classes derive so
        self, y_true: TensorLike, y_pred: TensorLike, sample_weight: TensorLike | None = None
    ) -> None:
        """Take in one batch; the values of `fn` count `sample_weight` (None: 1)."""
        values = self._fn(np.asarray(y_true), np.asarray(y_pred), **self._fn_kwargs)
        if values is None:
            raise TypeError(f"metric {self.name!r} returned None; it must return numbers")
        super().update_state(values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        if type(self) is MeanMetricWrapper:
            return {"name": self.name, "fn": self._fn, **self._fn_kwargs}
        return {**super().get_config(), **self._fn_kwargs}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        config = dict(config)
        if isinstance(config.get("fn"), str):
            from fastconv.metrics import get

            config["fn"] = get(config["fn"])
        return cls(**config)

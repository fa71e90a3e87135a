"""Process-wide settings of `keras.config`: default float type, fuzz factor, image layout."""

from __future__ import annotations

from typing import Any

_state: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
}


def floatx() -> str:
    """Return the default float type of new layers: "float32" (default) or "float64"."""
    return str(_state["floatx"])


def set_floatx(value: str) -> None:
    """Set the default float type of layers made from now on, `value` "float32" or "float64"."""
    if value not in ("float32", "float64"):
        raise ValueError(f"floatx must be 'float32' or 'float64', received: {value!r}")
    _state["floatx"] = value


def epsilon() -> float:
    """Return the small constant that keeps logarithms and divisions finite (1e-7)."""
    return float(_state["epsilon"])


def set_epsilon(value: float) -> None:
    """Set the fuzz factor to `value`."""
    _state["epsilon"] = float(value)


def image_data_format() -> str:
    """Return the default layout of images: "channels_last" or "channels_first"."""
    return str(_state["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set the layout of images of layers made from now on.

    `data_format` is "channels_last" or "channels_first".
    """
    _state["image_data_format"] = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None) -> str:
    """Return `data_format` checked, or the process-wide default for None."""
    if data_format is None:
        return image_data_format()
    value = str(data_format).lower()
    if value not in ("channels_last", "channels_first"):
        raise ValueError(
            "data_format must be 'channels_last' or 'channels_first', "
            f"received: data_format={data_format!r}"
        )
    return value


def standardize_dtype(dtype: Any) -> str:
    """Return the name of a float type `dtype` that layers can compute in; None gives `floatx()`."""
    if dtype is None:
        return floatx()
    if isinstance(dtype, dict):  # a serialized Keras dtype policy
        dtype = dtype.get("config", {}).get("name", floatx())
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    if name is None:
        name = getattr(dtype, "__name__", str(dtype))
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', received: dtype={dtype!r}")
    return name

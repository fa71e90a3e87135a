"""Names for types that annotations share; nothing at run time needs this module."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

# A NumPy array, a number, a tensor of a graph being compiled, a symbolic tensor, a variable, or
# nested lists, tuples and dicts of them: what operators and layers take. They check it and say
# what they expected.
TensorLike: TypeAlias = Any
# None: any size.
Shape: TypeAlias = "Sequence[int | None]"
Axis: TypeAlias = "int | tuple[int, ...] | list[int]"
Logs: TypeAlias = "dict[str, Any]"
# What a callback with `lazy_logs` gets from batches: the logs are only made where it calls this.
LazyLogs: TypeAlias = "Logs | Callable[[], Logs] | None"
PathLike: TypeAlias = "str | os.PathLike[str]"

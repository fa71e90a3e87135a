"""Asterisks in docstrings are factors and powers, not emphasis."""

import re
from typing import Any

import griffe


class Formulas(griffe.Extension):
    """Escapes asterisks, but in code."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            parts = re.split(r"(`+[^`]*`+)", obj.docstring.value)
            parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
            obj.docstring.value = "".join(parts)

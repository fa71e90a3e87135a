"""Docstrings are plain text, mostly formulas: their asterisks are no Markdown."""

import re
from typing import Any

import griffe


class Formulas(griffe.Extension):
    """Escapes what Markdown would take for emphasis, but for code in backticks."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            parts = re.split(r"(`[^`]*`)", obj.docstring.value)
            parts[::2] = [re.sub(r"([*_])", r"\\\1", part) for part in parts[::2]]
            obj.docstring.value = "".join(parts)

"""A local web page on which one looks into a model; needs the extra ``explore``.

`ModelAnalysis` and `GraphAnalysis` compute what the page shows and need no Gradio.
"""

from ._analysis import GraphAnalysis, ModelAnalysis, StepTime
from ._page import build_page, launch

__all__ = ["GraphAnalysis", "ModelAnalysis", "StepTime", "build_page", "launch"]

"""Checks for code that is built on fastconv."""

from fastconv.testing.gradients import GradientReport, GradientRow, check_gradients

__all__ = ["GradientReport", "GradientRow", "check_gradients"]

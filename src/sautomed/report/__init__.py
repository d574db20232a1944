"""What a training and its scores look like to a reader. Reads what other verbs wrote; imports no model."""

from sautomed.report.curves import draw_learning_curve
from sautomed.report.page import write_report

__all__ = ["draw_learning_curve", "write_report"]

"""Pages about one training and its scores, and about a dataset. Reads files of other verbs; imports no model.

page, page.html      the page of a training: facts, scores, learning curve, pictures, each case
doctor, doctor.html  the page of a dataset: findings, volumes, each case
scores               scores.csv and summary.json, read
curves               log.csv, read and drawn
table                columns, cells and tables of typed values, and their text
writers              a table as CSV, Markdown and LaTeX
figures              figures as PNG and data URLs
templates            HTML templates, style.css, and the filters that format numbers
"""

from sautomed.report.curves import draw_learning_curve
from sautomed.report.page import write_report

__all__ = ["draw_learning_curve", "write_report"]

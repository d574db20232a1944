"""What a study found: its numbers as tables, its pictures, and one page. Reads the folder that the study wrote."""

from sautomed.study.report.page import write_study_report

__all__ = ["write_study_report"]

"""The report of a study: one page with tables, tests, curves and pictures. Reads the folder that the study wrote.

page, study.html   the page, and which table and figure is where
runs               study.json, each run.json and its scores, read
grouping           which rows may share a table
statistics         means over patients, bootstrap intervals, tests against the best system
tables             all tables of a study, and their files
score_tables       overview, and each metric by organ
count_tables       missed and invented organs
cost_table         size, speed, memory, training time
comparison_tables  each system against the best one
error_tables       errors by cause and by place, as tables and figures
slice_errors       the cause of every wrong voxel, DSC by a slice's place
notes              rows and notes that tables share
facts              the head of the page, and the sentence about the best system
cases              a case with the label maps and boxes of all systems
boxplots, curves, slices, surfaces   the other figures
plotting           style of the figures
"""

from sautomed.study.report.page import write_study_report

__all__ = ["write_study_report"]

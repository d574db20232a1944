from sautomed.study.report.cases import systems_of
from sautomed.study.report.curves import curves_picture
from sautomed.study.report.grouping import comparable_groups
from sautomed.study.report.plotting import PAGE_IN
from sautomed.study.report.runs import read_study


def test_the_figure_fills_the_page(group, image_of):
    picture = image_of(curves_picture(systems_of(group)))
    assert (picture.format, picture.width) == ("PNG", round(PAGE_IN * 150))


def test_without_a_log_there_is_no_picture_of_learning(study_copy):
    for path in (study_copy / "trainings").rglob("log.csv"):
        path.write_text("step\n")
    systems = systems_of(comparable_groups(read_study(study_copy))[0])
    assert curves_picture(systems) == ""

from sautomed.report.table import cell_text


def test_missed_and_invented_organs_are_counted_of_those_that_could_be(tables, cell):
    missed, invented = (
        cell(tables["missed"], "SAMed", "gallbladder"),
        cell(tables["spurious"], "TransUNet", "gallbladder"),
    )
    assert (missed.value, missed.of) == (1, 7)
    assert (invented.value, invented.of) == (1, 1)
    total, column = cell(tables["missed"], "3D-SAutoMed", "all"), tables["missed"].columns[-1]
    assert cell_text(total, column) == "0/23"

from sautomed.report.table import cell_text


def test_costs_are_shown_in_their_units_and_kept_in_full(tables, cell):
    parameters, column = cell(tables["costs"], "SAMed", "parameters"), tables["costs"].columns[0]
    assert (column.key, cell_text(parameters, column)) == ("parameters", "2.00")
    assert parameters.value == 2_000_000
    assert "cuda_peak_bytes" not in [column.key for column in tables["costs"].columns]
    assert any("2 cores, no GPU" in note for note in tables["costs"].notes)

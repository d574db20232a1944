"""Lists of scans: what they say, and every fault of theirs by its line."""

import sys
from pathlib import Path

import pytest

from sautomed import errors
from sautomed.inference.batch.places import Url
from sautomed.inference.batch.scan_list import FAULTS_SHOWN, Entry, read_scan_list

COLUMNS = ("case", "path", "series", "output")


def write_parquet(file, **columns):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), file)
    return file


def test_paths_are_from_the_folder_of_the_list_and_urls_stay(write_list, tmp_path):
    scan_list = write_list(
        COLUMNS,
        ("a", "scans/a.nii.gz", "", ""),
        ("b", "/data/b.nii.gz", "2", "site_b/p1"),
        ("c", "s3://bucket/c", "", ""),
        (" d e ", "file:///data/d.nii.gz", "", "d"),
    )
    assert read_scan_list(scan_list) == [
        Entry("a", tmp_path / "scans" / "a.nii.gz", "a"),
        Entry("b", Path("/data/b.nii.gz"), "site_b/p1", "2"),
        Entry("c", Url("s3://bucket/c"), "c"),
        Entry("d e", Path("/data/d.nii.gz"), "d"),
    ]


def test_parquet_says_the_same_as_csv(write_list, tmp_path):
    in_csv = write_list(COLUMNS, ("1", "a.nii", "", "x"), ("2", "b.nii", "5", ""))
    parquet = write_parquet(
        tmp_path / "cohort.parquet", case=[1, 2], path=["a.nii", "b.nii"], series=[None, 5], output=["x", None]
    )
    assert read_scan_list(parquet) == read_scan_list(in_csv)


def test_columns_may_be_in_any_order_after_a_byte_order_mark(tmp_path, caplog):
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbfage, path ,case\r\n61,a.nii,a\r\n\r\n")
    assert read_scan_list(tmp_path / "x.csv") == [Entry("a", tmp_path / "a.nii", "a")]
    assert caplog.messages == [f"{tmp_path / 'x.csv'}: other columns are ignored: age."]


def test_every_fault_is_named_by_its_line(write_list):
    scan_list = write_list(
        COLUMNS,
        ("a", "a.nii", "", ""),
        ("", "b.nii", "", ""),
        ("c", "  ", "", ""),
        ("a", "d.nii", "", "d"),
        ("p/1", "e.nii", "", ""),
        ("f", "f.nii", "", "../f"),
        ("g", "g.nii", "", "/tmp/g"),
        ("h", "h.nii", "", "a"),
        ("i", "i.nii", "", "i.nii.gz"),
        ("j", "ftp://host/j.nii", "", ""),
        ("k", "k.nii", "", "", "more"),
        ("l",),
        ("..", "m.nii", "", "x//m"),
        ("n" * 201, "n.nii", "", ""),
    )
    with pytest.raises(errors.BadList) as refused:
        read_scan_list(scan_list)
    faults = refused.value.fault.rstrip(".").split("; ")
    assert faults[:11] == [
        "line 3: case is empty",
        "line 4: path is empty",
        "line 5: case a is also that of line 2",
        "line 6: case 'p/1' cannot be the name of a file on every system",
        "line 7: output '../f' leads out of the folder of outputs",
        "line 8: output '/tmp/g' leads out of the folder of outputs",
        "line 9: output a is also that of line 2",
        "line 10: output 'i.nii.gz' has the ending of a format, which --format chooses: leave it out",
        "line 11: path ftp://host/j.nii is no URL that can be used",
        "line 12: has more fields than there are columns",
        "line 13: path is empty",
    ]
    assert [fault.partition(" '")[0] for fault in faults[11:]] == ["line 14: case", "line 14: output", "line 15: case"]
    assert refused.value.where == str(scan_list)


@pytest.mark.parametrize("name", [".hidden", "a.", "a:b", "a\\b", "a?", "a\tb", "..", "é" * 101])
def test_names_that_some_system_refuses_are_refused(write_list, name):
    with pytest.raises(errors.BadList, match="cannot be the name of a file"):
        read_scan_list(write_list(("case", "path"), (name, "a.nii")))


@pytest.mark.parametrize("name", ["1.2.840.113", "Müller", "p 1", "case_0000", "é" * 100])
def test_other_names_are_taken(write_list, name):
    assert read_scan_list(write_list(("case", "path"), (name, "a.nii")))[0].output == name


def test_a_list_of_faults_has_an_end(write_list):
    with pytest.raises(errors.BadList, match=r"line 21: case is empty and 9980 more\."):
        read_scan_list(write_list(("case", "path"), *[("", "a.nii")] * 10_000))
    assert FAULTS_SHOWN == 20


def test_rows_of_parquet_are_counted(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", case=["a", None], path=["a.nii", "b.nii"])
    with pytest.raises(errors.BadList, match="row 2: case is empty"):
        read_scan_list(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no column case; has no column path. Its columns are: none"),
        (b"case;path\na;a.nii\n", "Its columns are: case;path"),
        (b"case,path,path\na,a.nii,b.nii\n", "has the column path twice"),
        (b"case,path\n\xff,a.nii\n", "is not UTF-8"),
        (b'case,path\n"a,a.nii\n', "line 2: unexpected end of data"),
        (b"case,path\na," + b"x" * 200_000, "line 2: field larger than field limit"),
    ],
)
def test_files_that_are_no_list_are_refused(tmp_path, content, words):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(errors.BadList) as refused:
        read_scan_list(tmp_path / "x.csv")
    assert words in refused.value.fault


def test_a_list_without_rows_and_one_that_is_not_there(write_list, tmp_path):
    with pytest.raises(errors.NoCases):
        read_scan_list(write_list(("case", "path")))
    with pytest.raises(errors.MissingFile, match=r"Did you mean cohort\.csv"):
        read_scan_list(tmp_path / "cohrt.csv")


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"case,path\n")
    with pytest.raises(errors.BadList, match=r"cannot be read as Parquet.*\.csv"):
        read_scan_list(tmp_path / "x.parquet")


def test_parquet_without_its_package_names_the_line_that_installs_it(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "x.parquet", case=["a"], path=["a.nii"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(errors.PackageMissing, match=r'pip install "sautomed\[cohort\]"'):
        read_scan_list(path)

"""Refusals of the studio, followed to the letter."""

import shutil
from pathlib import Path

import pytest

from sautomed.studio import require_packages

from ..bad_input.conftest import write
from ..scans.dicom.build import make_series

ROOT = Path(__file__).parents[2]


def test_packages_that_are_not_installed(refuse_call, monkeypatch):
    monkeypatch.setattr("sautomed.studio.start.find_spec", lambda name: None)
    refusal = refuse_call("studio/start.py require_packages PackageMissing", require_packages)
    extra = refusal.take(r'pip install "sautomed\[(\w+)\]"')
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    monkeypatch.setattr("sautomed.studio.start.find_spec", lambda name: name)
    refusal.works()


@pytest.fixture
def listen():
    """`listen`, whose ports are free again after the test."""
    from sautomed.studio.server import listen

    taken = []

    def listen_for_now(*arguments):
        taken.append(listen(*arguments))
        return taken[-1]

    yield listen_for_now
    for address in taken:
        address.listening.close()


def test_an_address_for_all_addresses(refuse_call, listen):
    refusal = refuse_call("studio/server.py listen UsageError", listen, "0.0.0.0")
    refusal.asks("Give the one address or name that browsers will use").works("127.0.0.1")


def test_a_port_that_is_taken(refuse_call, listen):
    port = listen().port
    refusal = refuse_call("studio/server.py listen UsageError 2", listen, "127.0.0.1", port)
    refusal.asks("Leave out --port").works("127.0.0.1")


def test_a_scan_that_is_a_link_out_of_the_folder(refuse_call, tmp_path):
    from sautomed.studio.folder import ScanFolder

    scan = write(tmp_path / "elsewhere" / "a.nii.gz")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.nii.gz").symlink_to(scan)
    folder = ScanFolder(tmp_path / "scans", tmp_path / "out")
    refusal = refuse_call("studio/folder.py path_of MissingFile", folder.path_of, "a")
    assert ScanFolder(Path(refusal.take(r"Start with -i (\S+)\.$")), tmp_path / "out").path_of("a") == scan


def test_a_scan_with_a_file_that_is_a_link_out_of_the_folder(refuse_call, tmp_path):
    from sautomed.studio.folder import ScanFolder

    make_series(tmp_path / "scans" / "series")
    write(tmp_path / "scans" / "a.nii.gz")
    first = sorted((tmp_path / "scans" / "series").iterdir())[0]
    first.rename(tmp_path / "first.dcm")
    first.symlink_to(tmp_path / "first.dcm")
    folder = ScanFolder(tmp_path / "scans", tmp_path / "out")
    refusal = refuse_call("studio/folder.py path_of MissingFile 2", folder.path_of, "series")
    link = Path(refusal.take(r"Replace the link (\S+) by the file that it leads to"))
    target = link.resolve()
    link.unlink()
    shutil.copy(target, link)
    refusal.works()


def test_notes_that_are_not_the_pages(refuse_call, tmp_path):
    from sautomed.studio.folder import ScanFolder

    scan = write(tmp_path / "a.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "studio.json").write_text('{"done": 3}')
    refusal = refuse_call("studio/folder.py _read_notes UsageError", ScanFolder, scan, tmp_path / "out")
    refusal.asks("another folder of results")
    refusal.works(scan, tmp_path / "another")


@pytest.mark.parametrize("cure", ["allow", "another"])
def test_a_file_that_the_page_did_not_write(refuse_call, tmp_path, cure):
    from sautomed.studio.folder import ScanFolder

    scan = write(tmp_path / "a.nii.gz")
    (tmp_path / "out").mkdir()
    shutil.copy(scan, tmp_path / "out")
    folder = ScanFolder(scan, tmp_path / "out")
    refusal = refuse_call("studio/folder.py target_of TargetExists", folder.target_of, "a", ".nii.gz", False)
    refusal.asks("Allow to replace it", "start with another folder (-o)")
    if cure == "allow":
        refusal.works("a", ".nii.gz", True)
    else:
        assert ScanFolder(scan, tmp_path / "other").target_of("a", ".nii.gz", False).parent == tmp_path / "other"

"""What the page asks for and gets, from a real server."""

import json
import socket
import threading

import nibabel
import numpy as np
import pytest

from sautomed.errors import DamagedLog
from sautomed.scans import read_scan
from sautomed.studio.run_lengths import label_runs

from ..conftest import make_case, write_scan
from ..scans.dicom.build import make_series
from .conftest import running
from .stand_in import StandInSession


def labels_of(runs, shape):
    return np.repeat(runs[::2], runs[1::2]).reshape(shape)


def test_a_scan_is_opened_with_progress_and_all_that_the_page_shows(studio):
    events = studio.ask("api/open", {"case": "block_0"}).events
    assert [event["kind"] for event in events] == ["progress"] * 6 + ["opened"]
    opened = events[-1]
    assert opened["shape"] == [6, 32, 40]
    assert opened["towards"] == "SPL"
    assert [organ["name"] for organ in opened["organs"]] == ["bright", "dark"]
    assert opened["spacing_mm"] == pytest.approx([5, 2, 2])
    assert len(opened["labels"]) == len(opened["prompts"]) == 6
    assert not opened["can_undo"]
    assert studio.ask("api/scans").json["open"] == "block_0"


def test_opening_again_continues_without_segmenting(studio):
    revision = studio.open()["revision"]
    studio.edit(revision, kind="absent", slice=2, organ=1)
    events = studio.ask("api/open", {"case": "block_0"}).events
    assert [event["kind"] for event in events] == ["opened"]
    assert events[0]["can_undo"]
    assert events[0]["prompts"][2]["1"]["source"] == "given"


def test_another_scan_closes_the_first(studio):
    studio.open("block_0")
    first = studio.workspace._opened.session
    studio.open("block_1")
    assert first.closed


def test_intensities_are_those_of_the_scan(studio):
    opened = studio.open()
    raw = np.frombuffer(studio.ask(f"api/intensities/{opened['number']}/1/3").body, "<i2").reshape(
        3, *opened["shape"][1:]
    )
    shown = raw * opened["grey"]["slope"] + opened["grey"]["intercept"]
    assert np.array_equal(shown, studio.workspace._opened.session.volume.array[1:4])


def test_an_edit_answers_with_what_it_changed_and_undo_takes_it_back(studio):
    opened = studio.open()
    changed = studio.edit(opened["revision"], kind="box", slice=3, organ=5, box=[2, 2, 12, 20]).json
    assert list(changed["slices"]) == ["3"]
    assert changed["slices"]["3"]["prompts"]["5"]["box"] == [2, 2, 12, 20]
    assert (labels_of(changed["slices"]["3"]["labels"], (32, 40)) == 5)[11, 7]
    undone = studio.ask("api/undo", {"revision": changed["revision"]}).json
    assert undone["slices"]["3"]["labels"] == opened["labels"][3]
    assert undone["can_redo"]
    redone = studio.ask("api/redo", {"revision": undone["revision"]}).json
    assert redone["slices"]["3"]["labels"] == changed["slices"]["3"]["labels"]


def test_a_mask_is_painted_pixel_by_pixel(studio):
    opened = studio.open()
    lengths = [40 * 5 + 3, 4, 40 * 32 - 40 * 5 - 7]
    changed = studio.edit(opened["revision"], kind="paint", slice=0, organ=5, runs=lengths).json
    assert (labels_of(changed["slices"]["0"]["labels"], (32, 40))[5, 3:7] == 5).all()


def test_the_slices_between_two_painted_ones_are_filled(studio):
    revision = studio.open()["revision"]
    lengths = [40 * 5 + 3, 4, 40 * 32 - 40 * 5 - 7]
    for t in (1, 5):
        painted = studio.edit(revision, kind="paint", slice=t, organ=5, runs=lengths).json
        assert painted["slices"][str(t)]["prompts"]["5"]["painted"]
        revision = painted["revision"]
    filled = studio.edit(revision, kind="fill", slice=1, last=5, organ=5).json
    assert sorted(filled["slices"]) == ["2", "3", "4"]
    assert all(part["prompts"]["5"]["source"] == "given" for part in filled["slices"].values())
    undone = studio.ask("api/undo", {"revision": filled["revision"]}).json
    assert sorted(undone["slices"]) == ["2", "3", "4"]


def test_a_lock_is_answered_although_no_label_changes(studio):
    opened = studio.open()
    locked = studio.edit(opened["revision"], kind="lock", slice=4).json
    assert locked["locked"] == [4]
    refused = studio.edit(locked["revision"], kind="absent", slice=4, organ=1)
    assert refused.status == 404
    assert "locked" in refused.json["message"]
    assert studio.edit(locked["revision"], kind="release", slice=4).json["locked"] == []


@pytest.mark.parametrize(
    "edit",
    [
        {"kind": "box", "slice": 6, "organ": 1, "box": [1, 1, 5, 5]},
        {"kind": "box", "slice": -1, "organ": 1, "box": [1, 1, 5, 5]},
        {"kind": "box", "slice": 0, "organ": 2, "box": [1, 1, 5, 5]},
        {"kind": "box", "slice": 0, "organ": 1, "box": [5, 5, 5, 9]},
        {"kind": "box", "slice": 0, "organ": 1, "box": [900, 900, 990, 990]},
        {"kind": "box", "slice": 0, "organ": 1, "box": [1, 1, 5]},
        {"kind": "box", "slice": 0, "organ": "liver", "box": [1, 1, 5, 5]},
        {"kind": "paint", "slice": 0, "organ": 1, "runs": [10**12]},
        {"kind": "paint", "slice": 0, "organ": 1, "runs": [2**31 - 1] * 4},
        {"kind": "paint", "slice": 0, "organ": 1, "runs": [0] * 500_001},
        {"kind": "paint", "slice": 0, "organ": 1, "runs": [-5, 1285]},
        {"kind": "fill", "slice": 0, "last": 6, "organ": 1},
        {"kind": "fill", "slice": 0, "last": -1, "organ": 1},
        {"kind": "fill", "slice": 0, "last": 3, "organ": 2},
        {"kind": "absent", "slice": 0},
        {"kind": "absent", "slice": True, "organ": 1},
        {"kind": "absent", "slice": 0, "organ": 1, "path": "/etc/passwd"},
        {"kind": "__class__", "slice": 0, "organ": 1},
    ],
)
def test_an_edit_that_cannot_be_is_refused_and_changes_nothing(studio, edit):
    opened = studio.open()
    assert studio.edit(opened["revision"], **edit).status in (404, 422)
    assert studio.open()["revision"] == opened["revision"]


def test_not_a_number_is_no_box(studio):
    opened = studio.open()
    edit = {"kind": "box", "slice": 0, "organ": 1, "box": [float("nan"), 0, 5, 5]}
    assert studio.edit(opened["revision"], **edit).status == 422


def test_an_edit_of_a_page_that_shows_an_earlier_state_is_refused(studio):
    opened = studio.open()
    studio.edit(opened["revision"], kind="absent", slice=1, organ=1)
    refused = studio.edit(opened["revision"], kind="absent", slice=2, organ=1)
    assert (refused.status, refused.json["id"]) == (409, "outdated")


def test_a_page_never_gets_or_saves_another_scan_than_it_shows(studio, tmp_path):
    first = studio.open("block_0")
    studio.open("block_1")  # in a second page
    assert studio.ask(f"api/intensities/{first['number']}/0/1").json["id"] == "outdated"
    assert studio.ask("api/save", {"revision": first["revision"], "endings": [".nii.gz"]}).json["id"] == "outdated"
    assert studio.edit(first["revision"], kind="absent", slice=1, organ=1).json["id"] == "outdated"
    assert not (tmp_path / "out" / "block_1.nii.gz").exists()


@pytest.mark.parametrize("place", ["6/1", "-1/2", "0/0", "0/-3", "99999999999999999999/1"])
def test_slices_that_are_not_there_are_refused(studio, place):
    number = studio.open()["number"]
    assert studio.ask(f"api/intensities/{number}/{place}").status in (404, 422)


def test_a_walk_streams_its_slices_and_is_one_undo(studio):
    opened = studio.open()
    given = studio.edit(opened["revision"], kind="box", slice=2, organ=1, box=[4, 4, 20, 20]).json
    request = {"revision": given["revision"], "slice": 2, "direction": "both"}
    events = studio.ask("api/walk", request).events
    assert [next(iter(event["slices"])) for event in events[:-1]] == ["3", "4", "5", "1", "0"]
    assert events[-1]["kind"] == "walked"
    undone = studio.ask("api/undo", {"revision": events[-1]["revision"]}).json
    assert sorted(undone["slices"]) == ["0", "1", "3", "4", "5"]
    assert all(runs["labels"] == opened["labels"][int(t)] for t, runs in undone["slices"].items())


@pytest.mark.parametrize(("direction", "until", "slices"), [("up", None, "345"), ("down", 1, "1"), ("both", 4, "3410")])
def test_a_walk_goes_one_way_and_as_far_as_asked(studio, direction, until, slices):
    opened = studio.open()
    given = studio.edit(opened["revision"], kind="box", slice=2, organ=1, box=[4, 4, 20, 20]).json
    request = {"revision": given["revision"], "slice": 2, "direction": direction, "until": until}
    events = studio.ask("api/walk", request).events
    if direction != "both":
        assert "".join(next(iter(event["slices"])) for event in events[:-1]) == slices


def test_a_page_that_goes_away_stops_its_walk(scans, tmp_path):
    SlowSession.visited.clear()
    SlowSession.go_on.clear()
    with running(scans, tmp_path / "out", SlowSession) as studio:
        opened = studio.open()
        revision = studio.edit(opened["revision"], kind="box", slice=0, organ=1, box=[4, 4, 20, 20]).json["revision"]
        body = json.dumps({"revision": revision, "slice": 0, "direction": "up"}).encode()
        head = f"POST /{studio.address.token}/api/walk HTTP/1.1\r\nHost: 127.0.0.1:{studio.address.port}\r\n"
        fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with studio.connect() as connection:
            connection.sendall((head + fields).encode() + body)
            assert SlowSession.visited.wait(20)
            assert not studio.workspace._stop.is_set
        for _ in range(1000):
            assert studio.ask("api/scans").status == 200
            if studio.workspace._stop.is_set:
                break
        SlowSession.go_on.set()
        assert studio.workspace._stop.is_set
        now = studio.open()
        assert now["can_undo"]
        assert now["revision"] > revision


class SlowSession(StandInSession):
    """Walks on only when it is let."""

    visited = threading.Event()
    go_on = threading.Event()

    def propagate(self, t, direction="both", until=None):
        for part in super().propagate(t, direction, until):
            yield part
            self.visited.set()
            assert self.go_on.wait(20)


def test_a_walk_is_cancelled_between_two_slices(scans, tmp_path):
    SlowSession.visited.clear()
    SlowSession.go_on.clear()
    with running(scans, tmp_path / "out", SlowSession) as studio:
        opened = studio.open()
        given = studio.edit(opened["revision"], kind="box", slice=0, organ=1, box=[4, 4, 20, 20]).json
        answers = []
        request = {"revision": given["revision"], "slice": 0, "direction": "up"}
        walking = threading.Thread(target=lambda: answers.append(studio.ask("api/walk", request)))
        walking.start()
        assert SlowSession.visited.wait(20)
        assert studio.ask("api/scans").status == 200  # the server answers while it walks
        studio.ask("api/cancel", {})
        SlowSession.go_on.set()
        walking.join(20)
        events = answers[0].events
        assert events[-1]["kind"] == "walked"
        assert 1 <= len(events[-1]["slices"]) < 5
        assert studio.ask("api/undo", {"revision": events[-1]["revision"]}).status == 200


class SlowToOpen(StandInSession):
    """Segments a slice, and waits."""

    begun = threading.Event()
    go_on = threading.Event()

    def __init__(self, path, edits, on_slice):
        on_slice(1, 6)
        self.begun.set()
        assert self.go_on.wait(20)
        super().__init__(path, edits, on_slice)


def test_opening_is_cancelled_between_two_slices(scans, tmp_path):
    with running(scans, tmp_path / "out", SlowToOpen) as studio:
        answers = []
        opening = threading.Thread(target=lambda: answers.append(studio.ask("api/open", {"case": "block_0"})))
        opening.start()
        assert SlowToOpen.begun.wait(20)
        studio.ask("api/cancel", {})
        SlowToOpen.go_on.set()
        opening.join(20)
        assert [event["kind"] for event in answers[0].events] == ["progress", "cancelled"]
        assert studio.ask("api/scans").json["open"] is None
        assert studio.open()["kind"] == "opened"


def test_a_scan_that_cannot_be_read_is_a_message_and_not_the_end(scans, tmp_path):
    (scans / "broken.nii.gz").write_bytes(b"\x1f\x8b nothing")
    with running(scans, tmp_path / "out") as studio:
        fault = studio.open("broken")
        assert fault["kind"] == "fault"
        assert fault["id"].startswith("SAM-E03")
        assert studio.open("block_0")["kind"] == "opened"


class Crashing(StandInSession):
    """Meets what nobody expects, once after it has segmented and once at an edit."""

    error: Exception = RuntimeError("mat1 and mat2 cannot be multiplied")
    opened: StandInSession | None = None

    def __init__(self, path, edits, on_slice):
        if self.error:
            on_slice(1, 6)
            raise self.error
        super().__init__(path, edits, on_slice)

    def lock(self, t):
        raise ZeroDivisionError("division by nothing")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("mat1 and mat2 cannot be multiplied"), "RuntimeError: mat1 and mat2 cannot be multiplied"),
        (MemoryError(), "Memory ran out. Close other programs"),
        (KeyError("x" * 100_000), "This is a bug in sautomed"),
        (
            DamagedLog("has a torn line.", where="edits.jsonl", cure="Delete line 3."),
            "edits.jsonl: has a torn line. Del",
        ),
    ],
)
def test_a_crash_is_named_and_is_not_the_end(scans, tmp_path, monkeypatch, error, says):
    monkeypatch.setattr(Crashing, "error", error)
    with running(scans, tmp_path / "out", Crashing) as studio:
        events = studio.ask("api/open", {"case": "block_0"}).events
        assert [event["kind"] for event in events] == ["progress", "fault"]
        assert says in events[-1]["message"]
        assert len(events[-1]["message"]) < 1000
        monkeypatch.setattr(Crashing, "error", None)
        opened = studio.open("block_0")
        refused = studio.edit(opened["revision"], kind="lock", slice=0)
        assert (refused.status, refused.json["id"]) == (500, "failed")
        assert "ZeroDivisionError: division by nothing" in refused.json["message"]
        assert "content-security-policy" in refused.headers
        assert studio.open("block_1")["kind"] == "opened"


def test_a_scan_that_cannot_be_shown_lets_go_of_its_log(scans, tmp_path, monkeypatch):
    with running(scans, tmp_path / "out") as studio:
        opened = []
        monkeypatch.setattr(studio.workspace, "_window_of", lambda volume: 1 / 0)
        open_session = lambda *given: opened.append(StandInSession(*given)) or opened[-1]  # noqa: E731
        monkeypatch.setattr(studio.workspace, "_open_session", open_session)
        assert studio.open()["kind"] == "fault"
        assert opened[0].closed
        assert studio.ask("api/scans").json["open"] is None


def write_detached(header, voxels, names):
    """Write a scan whose header names its file of voxels."""
    array = np.round(make_case(3)[0]).astype("<i2")
    voxels.parent.mkdir(exist_ok=True)
    voxels.write_bytes(array.tobytes(order="F"))
    sizes = " ".join(map(str, array.shape))
    fields = {
        "nrrd": "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {}\n"
        "space directions: (1,0,0) (0,1,0) (0,0,3)\nendian: little\nencoding: raw\ndata file: {}\n",
        "mhd": "ObjectType = Image\nNDims = 3\nDimSize = {}\nElementSpacing = 1 1 3\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementType = MET_SHORT\n"
        "ElementByteOrderMSB = False\nElementDataFile = {}\n",
    }["mhd" if header.suffix == ".mhd" else "nrrd"]
    header.write_text(fields.format(sizes, names))
    return header


@pytest.mark.parametrize("ending", [".nhdr", ".nrrd", ".mhd"])
def test_a_header_that_names_voxels_elsewhere_is_not_opened(scans, tmp_path, ending):
    secret = tmp_path / "elsewhere" / "secret.raw"
    for names in ("../elsewhere/secret.raw", str(secret), "elsewhere/secret.raw"):
        header = write_detached(scans / f"detached{ending}", secret, names)
        with running(scans, tmp_path / "out") as studio:
            fault = studio.open("detached")
            assert (fault["kind"], fault["id"]) == ("fault", "SAM-E0302")
            assert str(header) in fault["message"]
            assert "Put both into one folder" in fault["message"]
            assert studio.ask("api/scans").json["open"] is None


@pytest.mark.parametrize("ending", [".nhdr", ".nrrd", ".mhd"])
def test_a_header_whose_voxels_are_a_link_out_is_not_opened(scans, tmp_path, ending):
    """The command line may read it, and so may the page once its cure was followed."""
    secret, link = tmp_path / "elsewhere" / "secret.raw", scans / "voxels.raw"
    header = write_detached(scans / f"detached{ending}", secret, "voxels.raw")
    link.symlink_to(secret)
    read = read_scan(header).array
    for source in (scans, header):
        with running(source, tmp_path / "out") as studio:
            fault = studio.open("detached")
            assert (fault["kind"], fault["id"]) == ("fault", "SAM-E0301")
            assert f"{header}: has the file voxels.raw, a link to a place outside" in fault["message"]
            assert f"Replace the link {link} by the file that it leads to" in fault["message"]
            assert str(secret) not in fault["message"]
    link.unlink()
    secret.rename(link)
    with running(scans, tmp_path / "out") as studio:
        assert studio.open("detached")["kind"] == "opened"
        assert np.array_equal(studio.workspace._opened.session.volume.array, read)


def test_a_slice_of_a_series_that_is_a_link_out_is_not_opened(scans, tmp_path):
    make_series(scans / "series")
    first = sorted((scans / "series").iterdir())[0]
    (tmp_path / "elsewhere").mkdir()
    first.rename(tmp_path / "elsewhere" / "secret.dcm")
    first.symlink_to(tmp_path / "elsewhere" / "secret.dcm")
    with running(scans, tmp_path / "out") as studio:
        fault = studio.open("series")
        assert (fault["kind"], fault["id"]) == ("fault", "SAM-E0301")
        assert first.name in fault["message"]
        assert studio.ask("api/scans").json["open"] is None


def test_a_link_out_is_not_opened(scans, tmp_path):
    secret = write_scan(tmp_path / "elsewhere" / "secret.nii.gz", make_case(7)[0])
    (scans / "link.nii.gz").symlink_to(secret)
    with running(scans, tmp_path / "out") as studio:
        assert studio.open("link")["kind"] == "fault"
        assert studio.ask("api/scans").json["open"] is None


@pytest.mark.parametrize(
    "case", ["../block_0", "/etc/passwd", "block_0.nii.gz", "", "\x00", "block_0/../block_1", "x" * 10_000]
)
def test_only_scans_of_the_list_are_opened(studio, case):
    assert studio.open(case)["id"] == "no-such"
    assert studio.ask("api/done", {"case": case, "done": True}).status == 404


def test_what_is_saved_is_read_by_another_library(studio, tmp_path):
    opened = studio.open()
    changed = studio.edit(opened["revision"], kind="box", slice=3, organ=5, box=[2, 2, 12, 20]).json
    revision = changed["revision"]
    answer = studio.ask("api/save", {"revision": revision, "endings": [".nii.gz", ".seg.nrrd"]})
    assert answer.json["files"] == ["block_0.nii.gz", "block_0.seg.nrrd"]
    voxels = np.asarray(nibabel.load(tmp_path / "out" / "block_0.nii.gz").dataobj)
    shown = labels_of(changed["slices"]["3"]["labels"], (32, 40))
    assert np.array_equal(voxels[::-1, ::-1, 3].T, shown)
    assert label_runs(shown.astype(np.uint8)) == changed["slices"]["3"]["labels"]
    assert (
        studio.ask("api/save", {"revision": revision, "endings": [".nii.gz"]}).status == 200
    )  # its own file is replaced


def test_a_file_of_somebody_else_is_not_replaced_without_asking(studio, tmp_path):
    revision = studio.open()["revision"]
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "block_0.nii.gz").write_text("precious")
    refused = studio.ask("api/save", {"revision": revision, "endings": [".nii.gz"]})
    assert (refused.status, refused.json["id"]) == (422, "SAM-E0202")
    assert (tmp_path / "out" / "block_0.nii.gz").read_text() == "precious"
    assert studio.ask("api/save", {"revision": revision, "endings": [".nii.gz"], "replace": True}).status == 200


@pytest.mark.parametrize("ending", ["/../../evil.nii.gz", "../../x.nii.gz", ".exe", "", "\x00.nii.gz", "/etc/cron.d/x"])
def test_nothing_is_written_outside_of_the_folder_of_results(studio, tmp_path, ending):
    revision = studio.open()["revision"]
    before = sorted(path for path in tmp_path.rglob("*") if "out" not in path.parts)
    studio.ask("api/save", {"revision": revision, "endings": [ending]})
    assert sorted(path for path in tmp_path.rglob("*") if "out" not in path.parts) == before
    assert {path.name for path in (tmp_path / "out").rglob("*")} <= {"block_0.nii.gz", "studio.json"}


def test_before_a_scan_is_open_nothing_can_be_done_to_it(studio):
    assert studio.edit(1, kind="lock", slice=0).json["id"] == "outdated"
    assert studio.ask("api/intensities/1/0/1").status == 409
    assert studio.ask("api/save", {"revision": 1, "endings": [".nii.gz"]}).status == 409
    assert studio.ask("api/walk", {"revision": 1, "slice": 0, "direction": "up"}).events[0]["id"] == "outdated"


def test_the_server_ends_while_a_page_listens(scans, tmp_path):
    """`running` checks that the thread ends."""
    SlowSession.go_on.set()
    with running(scans, tmp_path / "out", SlowSession) as studio:
        studio.open()
    assert studio.workspace.describe()["open"] is None


def test_requests_are_reported_to_nobody_whatever_the_environment_says(scans, tmp_path, monkeypatch):
    """Recent versions of FastAPI send traces to the server that these variables name."""
    with socket.create_server(("127.0.0.1", 0)) as collector:
        collector.settimeout(0)
        monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.getsockname()[1]}")
        with running(scans, tmp_path / "out") as studio:
            assert studio.ask("api/scans").status == 200
        with pytest.raises(BlockingIOError):
            collector.accept()

"""Scans and results in a remote store: a real S3 server, and a web server, on this machine."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import nibabel
import numpy as np
import pytest

from sautomed import errors
from sautomed.inference.batch import SegmentOptions, plan_jobs, staging
from sautomed.inference.batch import run as batch
from sautomed.inference.batch.merge import merge
from sautomed.inference.batch.places import Url
from sautomed.inference.batch.remote_scans import find_remote_scans
from sautomed.inference.batch.scans import find_scans
from sautomed.inference.batch.shards import Shard
from sautomed.scans.paths import sha256_of

from ...scans.dicom.build import make_series
from ..conftest import blocks


@pytest.fixture
def store(bucket, write, tmp_path):
    """A bucket with two scans in it, the files of which are here too."""
    files, name = bucket
    for number, case in enumerate(("a", "b")):
        path = write(tmp_path / "here" / f"{case}.nii.gz", blocks(number, (24, 24, 3)))
        files.put(str(path), f"{name}/in/{case}.nii.gz")
    return files, Url(f"s3://{name}")


@pytest.fixture
def put(store):
    """Write an object."""
    return lambda name, content: store[0].pipe_file(str(store[1] / name), content)


@pytest.fixture
def objects(store):
    """Return the names of the objects below a folder of the bucket, or their content."""

    def names(folder):
        root = str(store[1]).removeprefix("s3://")
        return sorted(path.removeprefix(f"{root}/") for path in store[0].find(f"{root}/{folder}"))

    return names


@pytest.fixture
def fetched(monkeypatch):
    """The names of the remote files that are fetched."""
    found = []
    original = staging.fetch
    monkeypatch.setattr(staging, "fetch", lambda files: (found.extend(url.name for url in files), original(files))[1])
    return found


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """An empty folder in which temporary ones are made."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def report_of(store, case):
    return json.loads(store[0].cat_file(str(store[1] / f"out/{case}.json")))


def test_a_folder_in_a_store_gives_what_a_local_one_gives(store, objects, run, temporary, tmp_path):
    files, root = store
    outcome = run(root / "in", root / "out", preview=True)
    local = run(tmp_path / "here", tmp_path / "out", preview=True)
    assert [job.case for job in outcome.done] == ["a", "b"]
    assert objects("out") == sorted(f"out/{path.name}" for path in (tmp_path / "out").iterdir())
    assert outcome.summary == local.summary
    for case in ("a", "b"):
        report = report_of(store, case)
        assert report["input"]["path"] == f"{root}/in/{case}.nii.gz"
        assert report["input"]["sha256"] == sha256_of([tmp_path / "here" / f"{case}.nii.gz"])
        masks = [row for row in report["outputs"] if row["path"].endswith(".nii.gz")]
        assert masks == [row for row in json.loads((tmp_path / "out" / f"{case}.json").read_text())["outputs"]
                         if row["path"].endswith(".nii.gz")]  # fmt: skip
        assert files.cat_file(f"{root}/out/{case}.nii.gz") == (tmp_path / "out" / f"{case}.nii.gz").read_bytes()
        assert files.cat_file(f"{root}/out/{case}.prompts.json") == (tmp_path / f"out/{case}.prompts.json").read_bytes()
    assert list(temporary.iterdir()) == []


def test_resuming_reads_no_scan_whose_version_is_known(store, put, run, fetched, write, tmp_path, caplog):
    root = store[1]
    run(root / "in", root / "out")
    fetched.clear()
    outcome = run(root / "in", root / "out", resume=True)
    assert ([job.case for job in outcome.skipped], fetched) == (["a", "b"], [])
    put("out/a.nii.gz", b"torn")
    put("in/b.nii.gz", write(tmp_path / "other.nii.gz", blocks(7, (24, 24, 3))).read_bytes())
    outcome = run(root / "in", root / "out", resume=True)
    assert [job.case for job in outcome.done] == ["a", "b"]
    for words in ("a is segmented again: a.nii.gz has changed", "b is segmented again: its scan has changed"):
        assert words in caplog.text


@pytest.fixture
def results_read(monkeypatch):
    """The names of the results that are read to compare them."""
    found = []
    original = staging.read_bytes
    monkeypatch.setattr(staging, "read_bytes", lambda url: (found.append(url.name), original(url))[1])
    return found


def test_resuming_compares_results_by_content_and_reads_none_whose_md5_is_known(store, put, run, results_read, caplog):
    files, root = store
    run(root / "in", root / "out")
    assert len(run(root / "in", root / "out", resume=True).skipped) == 2
    assert results_read == []
    mask = files.cat_file(f"{root}/out/a.nii.gz")
    put("out/a.nii.gz", mask[:-1] + bytes([mask[-1] ^ 1]))
    assert [job.case for job in run(root / "in", root / "out", resume=True).done] == ["a"]
    assert results_read == ["a.nii.gz"]
    assert "a is segmented again: a.nii.gz has changed since it was written" in caplog.text
    assert files.cat_file(f"{root}/out/a.nii.gz") == mask


@pytest.mark.parametrize("is_changed", [False, True])
def test_results_of_an_unknown_md5_are_read(store, put, run, results_read, is_changed):
    """As of a report by an older version, or of a store that encrypts by keys of its own."""
    files, root = store
    run(root / "in", root / "out")
    report = report_of(store, "a")
    for row in report["outputs"]:
        del row["md5"]
    put("out/a.json", json.dumps(report).encode())
    if is_changed:
        prompts = files.cat_file(f"{root}/out/a.prompts.json")
        put("out/a.prompts.json", prompts[:-2] + b" \n")
    outcome = run(root / "in", root / "out", resume=True)
    assert [job.case for job in outcome.done] == (["a"] if is_changed else [])
    assert results_read == ["a.nii.gz", "a.prompts.json"]


def test_the_report_is_sent_after_all_others_and_that_of_before_is_gone_first(store, run, objects, monkeypatch):
    """A run that is killed while it sends leaves no case that looks done."""
    root, sent = store[1], []
    run(root / "in" / "a.nii.gz", root / "out", report=True)
    original = staging.send

    def send(files):
        sent.append((sorted(url.name for url in files.values()), "out/a.json" in objects("out")))
        original(files)

    monkeypatch.setattr(staging, "send", send)
    run(root / "in" / "a.nii.gz", root / "out", report=True, overwrite=True)
    assert sent == [(["a.nii.gz", "a.prompts.json"], False), (["a.json"], False)]


def test_a_killed_run_leaves_nothing_here_and_goes_on(store, run, temporary):
    root = store[1]

    def stop(job, done, total):
        if job.case == "b":
            assert list(temporary.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(root / "in", root / "out", on_slice=stop)
    assert list(temporary.iterdir()) == []
    outcome = run(root / "in", root / "out", resume=True)
    assert ([job.case for job in outcome.skipped], [job.case for job in outcome.done]) == (["a"], ["b"])


def test_a_bad_scan_is_named_by_its_url_and_the_others_are_done(store, put, run, objects):
    root = store[1]
    put("in/bad.nii.gz", b"no scan")
    outcome = run(root / "in", root / "out")
    assert [job.case for job in outcome.done] == ["a", "b"]
    error = outcome.failures[0].error
    assert (error.id, error.where) == (errors.NotAScan.id, f"{root}/in/bad.nii.gz")
    assert "/sautomed-" not in str(error)
    assert report_of(store, "bad")["error"]["where"] == f"{root}/in/bad.nii.gz"
    failures = json.loads(store[0].cat_file(f"{root}/out/failures.json"))
    assert [(row["case"], row["input"]) for row in failures["failures"]] == [("bad", f"{root}/in/bad.nii.gz")]


def test_the_report_of_a_bad_scan_has_the_geometry_that_it_has_of_a_local_one(store, run, write, tmp_path):
    files, root = store
    constant = write(tmp_path / "local" / "c.nii.gz", np.zeros((24, 24, 3)))
    files.put(str(constant), f"{root}/constant/c.nii.gz")
    run(tmp_path / "local", tmp_path / "out")
    run(root / "constant", root / "out")
    local, remote = json.loads((tmp_path / "out" / "c.json").read_text()), report_of(store, "c")
    assert local["input"]["shape"] == [24, 24, 3]
    assert {**remote["input"], "path": local["input"]["path"]} == local["input"]


def test_warnings_name_the_url(store, put, run, mr_model, write, tmp_path):
    root = store[1]
    put("in/ct.nii.gz", write(tmp_path / "ct.nii.gz", 12 * blocks() - 2200).read_bytes())
    run(root / "in" / "ct.nii.gz", root / "out", report=True, model=mr_model)
    (warning,) = report_of(store, "ct")["warnings"]
    assert warning.startswith(f"{root}/in/ct.nii.gz: the intensities are unlike")


def test_a_list_mixes_places_and_its_shards_are_merged(store, write_list, run_list, objects, tmp_path):
    root = store[1]
    scan_list = write_list(
        ("case", "path", "output"), ("here", "here/a.nii.gz", ""), ("there", f"{root}/in/b.nii.gz", "site/b[1]")
    )
    store[0].put(str(scan_list), f"{root}/lists/cohort.csv")
    for number in (1, 2):
        run_list(scan_list, root / "out", shard=Shard(number, 2))
    assert "out/site/b[1].json" in objects("out")
    assert "out/summary.shard-2-of-2.json" in objects("out")
    merged = merge(root / "out")
    assert (sorted(case.case for case in merged.cases), merged.missing, merged.shards) == (["here", "there"], (), ())
    assert "out/summary.json" in objects("out")
    there = merge(root / "out", root / "lists" / "cohort.csv")
    assert there == merged
    outcome = run_list(scan_list, root / "out", resume=True)
    assert [job.case for job in outcome.skipped] == ["here", "there"]
    outcome = run_list(scan_list, tmp_path / "local")
    assert (tmp_path / "local" / "site" / "b[1].nii.gz").is_file()
    assert len(run_list(scan_list, tmp_path / "local", resume=True).skipped) == 2


def test_dicom_folders_are_found_and_read(store, run, tmp_path):
    files, root = store
    for name, edit in (("p1", "{}.dcm"), ("p2", "IM{:04d}")):
        folder = make_series(tmp_path / name, (4, 20, 16), Modality="MR").path
        for number, path in enumerate(sorted(folder.iterdir())):
            files.put(str(path), f"{root}/dicom/{name}/series/{edit.format(number)}")
    files.pipe_file(f"{root}/dicom/README", b"about these scans")
    files.pipe_file(f"{root}/dicom/p1/notes.txt", b"about this one")
    plan = plan_jobs(root / "dicom", root / "out")
    assert [job.case for job in plan.jobs] == ["p1", "p2"]
    outcome = run(root / "dicom", root / "out")
    assert [(failure.job.case, str(failure.error)) for failure in outcome.failures] == []
    assert report_of(store, "p1")["input"]["format"] == report_of(store, "p2")["input"]["format"]
    assert len(run(root / "dicom", root / "out", resume=True).skipped) == 2


@pytest.fixture
def series(store, tmp_path):
    """A DICOM folder of the bucket, with some of the files in a folder below it; returns its URL."""
    files, root = store
    for number, path in enumerate(sorted(make_series(tmp_path / "series", (4, 20, 16), Modality="MR").path.iterdir())):
        files.put(str(path), f"{root}/p1/{'more/' * (number % 2)}{path.name}")
    return root / "p1"


@pytest.mark.parametrize("output", ["out", "", "mask.nii.gz", "more/mask.nii.gz"])
def test_outputs_in_the_folder_of_the_scan_are_no_part_of_it(store, series, run, fetched, output):
    options = {"formats": ("nii.gz", "seg.dcm"), "report": True}
    before = set(store[0].find(str(series)))
    assert run(series, series / output, **options).done
    assert set(store[0].find(str(series))) > before
    fetched.clear()
    outcome = run(series, series / output, resume=True, **options)
    assert (len(outcome.skipped), outcome.done, fetched) == (1, (), [])
    assert run(series, series / output, overwrite=True, **options).done
    assert len(fetched) == len(before)


def test_outputs_of_a_row_in_the_folder_of_its_scan_are_no_part_of_it(store, series, write_list, run_list, fetched):
    rows = ("case", "path", "output"), ("p1", str(series), "p1/out/p1")
    assert run_list(write_list(*rows), store[1]).done
    fetched.clear()
    outcome = run_list(write_list(*rows), store[1], resume=True)
    assert (len(outcome.skipped), outcome.done, fetched) == (1, (), [])


def test_a_list_into_the_folder_of_a_scan_leaves_its_own_files_out(series, write_list, run_list, fetched):
    scan_list = write_list(("case", "path"), ("p1", str(series)))
    assert run_list(scan_list, series).done
    fetched.clear()
    outcome = run_list(scan_list, series, resume=True)
    assert (len(outcome.skipped), outcome.done, fetched) == (1, (), [])


def test_other_results_in_the_folder_of_outputs_are_no_part_of_the_scan(series, put, run, fetched):
    assert run(series, series / "out", report=True).done
    fetched.clear()
    put("p1/out/of_another_run.nii.gz", b"mask")
    outcome = run(series, series / "out", resume=True)
    assert (len(outcome.skipped), outcome.done, fetched) == (1, (), [])


def test_outputs_may_go_to_a_folder_above_the_scans(store):
    assert [job.case for job in plan_jobs(store[1] / "in", store[1]).jobs] == ["a", "b"]


def test_results_and_label_maps_below_a_url_are_no_scans(store, put, run):
    root = store[1]
    put("in/p1/ct.nii.gz", b"x")
    put("in/p1/ct.seg.nrrd", b"x")
    put("in/labelsTr/p1.nii.gz", b"x")
    put("in/.hidden.nii.gz", b"x")
    put("in/out/a.nii.gz", b"x")
    plan = plan_jobs(root / "in", root / "in" / "out", SegmentOptions(overwrite=True))
    assert [job.case for job in plan.jobs] == ["a", "b", "p1"]


def test_label_maps_below_a_url_are_those_that_are_so_below_a_local_folder(store, run, write, tmp_path):
    files, root = store
    here = tmp_path / "mixed"
    for name in ("top.nii.gz", "p1/ct.nii.gz", "p2/ct.nii"):
        write(here / name)
    for name in ("p1/organs.nii.gz", "p2/organs.nii"):
        write(here / name, intent_code=1002)
    run(here / "top.nii.gz", here / "top.mha", report=True)
    run(here / "p1" / "ct.nii.gz", here / "earlier", formats=("nrrd", "mha"), report=True)
    (here / "p3").mkdir()
    (here / "p3" / "damaged.nii.gz").write_text("no scan")
    files.put(str(here), f"{root}/mixed", recursive=True)
    local, remote = find_scans(here), find_remote_scans(root / "mixed", root / "out")
    found = [(scan.case, scan.path.relative_to(here).as_posix()) for scan in local.scans]
    assert [(entry.case, str(entry.scan).removeprefix(f"{root}/mixed/")) for entry in remote[0]] == found
    assert found == [
        ("p1", "p1/ct.nii.gz"), ("p2", "p2/ct.nii"), ("p3", "p3/damaged.nii.gz"), ("top", "top.nii.gz")
    ]  # fmt: skip


def test_a_header_brings_its_voxels(store, run, tmp_path):
    files, root = store
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 24 20 4\nElementType = MET_FLOAT\nElementSpacing = 2 2 5\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        "ElementDataFile = a.raw\n"
    )
    files.put(str(tmp_path / "a.mhd"), f"{root}/mhd/a.mhd")
    files.pipe_file(f"{root}/mhd/a.raw", blocks(0, (4, 20, 24)).tobytes())
    outcome = run(root / "mhd" / "a.mhd", tmp_path / "out" / "a.nii.gz", report=True)
    assert outcome.done
    assert outcome.done[0].place_of(outcome.done[0].targets[0]) == tmp_path / "out" / "a.nii.gz"
    assert nibabel.load(tmp_path / "out" / "a.nii.gz").shape == (24, 20, 4)
    assert run(root / "mhd" / "a.mhd", tmp_path / "out" / "a.nii.gz", resume=True).skipped
    files.pipe_file(f"{root}/mhd/a.raw", blocks(1, (4, 20, 24)).tobytes())
    assert run(root / "mhd" / "a.mhd", tmp_path / "out" / "a.nii.gz", resume=True).done


def test_existing_results_are_refused_unless_allowed(store, put, run):
    root = store[1]
    put("out/a.nii.gz", b"mine")
    with pytest.raises(errors.TargetExists, match=r"out/a\.nii\.gz: 1 of 6 outputs exist"):
        plan_jobs(root / "in", root / "out", SegmentOptions(preview=False))
    put("out/a.json", b'{"mine": 1}')
    with pytest.raises(errors.TargetExists, match=r"out/a\.json: exists already and was not written"):
        run(root / "in", root / "out", resume=True)
    assert store[0].cat_file(f"{root}/out/a.json") == b'{"mine": 1}'
    assert run(root / "in", root / "out", overwrite=True).done


def test_a_name_that_leads_out_of_the_folder_is_refused(store, write_list, run_list, temporary):
    root = store[1]
    store[0].call_s3("put_object", Bucket=root.name, Key="in/p1/../../x.dcm", Body=b"x")
    outcome = run_list(write_list(("case", "path"), ("p1", f"{root}/in/p1")), root / "out")
    assert "leads out of the folder" in str(outcome.failures[0].error)
    assert list(temporary.parent.glob("x.dcm")) == []


def test_a_store_out_of_reach_spares_the_mark_of_a_case_that_is_done(store, run, monkeypatch):
    root = store[1]
    run(root / "in", root / "out")

    def unreachable(url):
        raise errors.Unreachable("cannot be reached.", where=str(url), cure="Wait.")

    with monkeypatch.context() as patch:
        patch.setattr(staging, "look_at", unreachable)
        assert len(run(root / "in", root / "out", resume=True).failures) == 2
    assert report_of(store, "a")["status"] == "done"
    assert len(run(root / "in", root / "out", resume=True).skipped) == 2


def test_a_job_is_carried_out_by_itself_in_another_process_too(store, model):
    """As engines do: only plain values go to the worker."""
    import pickle

    from sautomed.inference import memory

    root = store[1]
    plan = pickle.loads(pickle.dumps(plan_jobs(root / "in", root / "out", SegmentOptions(preview=False, resume=True))))
    cost = memory.trunk_cost(model.network, int(model.settings.data.image_size))
    headers = []
    assert batch.carry_out(model, plan, plan.jobs[0], cost, headers.append)
    assert not batch.carry_out(model, plan, plan.jobs[0], cost, headers.append)
    assert [header.shape for header in headers] == [(24, 24, 3)]


# --- a web server ---


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A web server: its folder and its address; names with `secret` are forbidden."""

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self):
            if "secret" in self.path:
                self.send_error(403)
                return None
            return super().send_head()

        def log_message(self, *_):
            """Say nothing."""

    folder = tmp_path_factory.mktemp("web")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, Url(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_scan_of_a_web_server_is_read(web, run, write, fetched, tmp_path):
    folder, address = web
    write(folder / "a b.nii.gz", blocks(0, (24, 24, 3)))
    url = Url(f"{address}/a%20b.nii.gz?signature=hidden")
    assert run(url, tmp_path / "out", report=True).done
    report = json.loads((tmp_path / "out" / "a b.json").read_text())
    assert report["input"]["path"] == f"{address}/a%20b.nii.gz"
    fetched.clear()
    assert run(url, tmp_path / "out", resume=True).skipped
    assert fetched == []  # Last-Modified is known


@pytest.mark.parametrize(
    ("name", "kind"), [("none.nii.gz", errors.MissingFile), ("secret.nii.gz", errors.AccessRefused)]
)
def test_what_a_web_server_refuses_is_named_without_its_signature(web, run, tmp_path, name, kind):
    with pytest.raises(kind) as refused:
        run(Url(f"{web[1]}/{name}?signature=hidden"), tmp_path / "out")
    assert refused.value.where == f"{web[1]}/{name}"
    assert "hidden" not in str(refused.value)

"""When a case counts as done."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sautomed.inference.batch.case_report import Provenance, note_corrected
from sautomed.inference.batch.done import known_sha256, why_not_done, why_remote_not_done
from sautomed.inference.batch.remote import RemoteFile
from sautomed.inference.batch.report_parts import is_report
from sautomed.inference.engine import Computing
from sautomed.scans import ReadOptions


def provenance_of(report):
    read = json.loads(report.read_text())
    return Provenance(
        Path(read["input"]["path"]), read["input"]["sha256"], Path(read["model"]["path"]), read["model"]["sha256"],
        read["settings"]["walk"], tuple(read["settings"]["formats"]), ReadOptions(**read["settings"]["read"]),
        read["settings"]["prompts"],
    )  # fmt: skip


def test_a_case_is_done_if_everything_is_complete_and_of_the_same_provenance(reported):
    outputs = [reported.with_name(name) for name in ("a.nii.gz", "a.nii", "a.prompts.json", "a.png")]
    provenance = provenance_of(reported)
    assert is_report(reported)
    assert why_not_done(reported, provenance, outputs) is None
    for changed, reason in (
        (replace(provenance, input_sha256="0"), "scan has changed"),
        (replace(provenance, model_sha256="0"), "another model"),
        (replace(provenance, model_sha256=None), "another model"),
        (replace(provenance, walk="end_to_end"), "other settings"),
        (replace(provenance, reading=ReadOptions(frame=1)), "other settings"),
        (replace(provenance, prompts_sha256="0"), "other settings"),
        (replace(provenance, computing=Computing("openvino")), "other settings"),
        (replace(provenance, computing=Computing(precision="bf16")), "other settings"),
    ):
        assert reason in why_not_done(reported, changed, outputs)
    assert "other settings" in why_not_done(reported, provenance, outputs[:-1])
    outputs[0].write_bytes(outputs[0].read_bytes() + b"x")
    assert "a.nii.gz has changed" in why_not_done(reported, provenance, outputs)
    outputs[0].unlink()
    assert "a.nii.gz is missing" in why_not_done(reported, provenance, outputs)


def test_a_report_from_before_engines_could_be_chosen_is_of_pytorch_in_float32(reported):
    outputs = [reported.with_name(name) for name in ("a.nii.gz", "a.nii", "a.prompts.json", "a.png")]
    report, provenance = json.loads(reported.read_text()), provenance_of(reported)
    assert (report["settings"].pop("engine"), report["settings"].pop("precision")) == ("torch", "32")
    reported.write_text(json.dumps(report))
    assert why_not_done(reported, provenance, outputs) is None
    bf16 = replace(provenance, computing=Computing(precision="bf16"))
    assert "other settings" in why_not_done(reported, bf16, outputs)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', '{"schema": "sautomed case 1"}', "\udcff"])
def test_a_damaged_report_does_not_count(reported, text):
    provenance = provenance_of(reported)
    reported.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert why_not_done(reported, provenance, []) == "it was not finished"


@pytest.mark.parametrize("part", ["input", "model", "outputs", "settings"])
def test_a_report_with_wrong_parts_does_not_count(reported, part):
    provenance = provenance_of(reported)
    report = json.loads(reported.read_text())
    for strange in (None, 7, "x", [3], {}):
        reported.write_text(json.dumps(report | {part: strange}))
        assert why_not_done(reported, provenance, [reported.with_name("a.nii.gz")]) is not None


def test_remote_outputs_are_compared_by_the_md5_of_the_store_or_read(reported):
    report, provenance = json.loads(reported.read_text()), provenance_of(reported)
    rows = {row["path"]: row for row in report["outputs"]}
    found = {name: RemoteFile(row["bytes"], None, row["md5"]) for name, row in rows.items()}

    def why(report=report, provenance=provenance, read=None, **changes):
        changed = {name: replace(found[name], **values) for name, values in changes.items()}
        return why_remote_not_done(report, provenance, found | changed, read or unread)

    def unread(name):
        raise AssertionError(f"{name} was read")

    assert why() is None
    assert "scan has changed" in why(provenance=replace(provenance, input_sha256="0"))
    assert "a.nii has changed" in why(**{"a.nii": {"size": 3}})
    for md5 in (None, "0" * 32):
        assert why(read=lambda name: rows[name]["sha256"], **{"a.nii": {"md5": md5}}) is None
        assert "a.nii has changed" in why(read=lambda name: "0" * 64, **{"a.nii": {"md5": md5}})
    assert why_remote_not_done(report, provenance, found | {"a.nii": None}, unread) == "a.nii is missing"
    assert "other settings" in why_remote_not_done(report, provenance, found | {"a.nrrd": None}, unread)
    assert why(report={}) == "it was not finished"


def test_the_hash_of_a_remote_scan_is_known_for_its_version_alone():
    report = {"input": {"sha256": "abc", "version": "7"}}
    assert known_sha256(report, "7") == "abc"
    assert known_sha256(report, "8") is None
    assert known_sha256({"input": {"sha256": "abc", "version": None}}, None) is None
    assert known_sha256({"input": 3}, "7") is None


def test_what_a_person_corrected_stays_whatever_the_run_would_do_otherwise(reported, caplog):
    outputs = [reported.with_name(name) for name in ("a.nii.gz", "a.nii", "a.prompts.json", "a.png")]
    other = replace(provenance_of(reported), model_sha256="0")
    assert "another model" in why_not_done(reported, other, outputs)
    outputs[0].write_bytes(b"corrected")
    note_corrected(reported, outputs)
    assert why_not_done(reported, other, outputs) is None
    assert why_not_done(reported, other, outputs[:1]) is None
    assert "another model, but a person has corrected it, so it stays" in caplog.text
    outputs[0].write_bytes(b"damaged")
    assert "another model" in why_not_done(reported, other, outputs)

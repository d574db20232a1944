"""Recognise label maps among the files of a folder, local or in a store: they are no scans."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import nibabel

from sautomed.inference.batch.jobs import label_ending
from sautomed.inference.batch.json_files import read_objects
from sautomed.inference.batch.places import Place
from sautomed.inference.batch.report_parts import reported_outputs
from sautomed.scans.nifti_file import LABEL_INTENT

HEADER_BYTES = 4096  # ours: of a file, compressed or not; they hold the 540 of a NIfTI header
NIFTI_ENDINGS = (".nii.gz", ".nii")
_FOLDERS = ("labels", "segmentations")  # labelsTr of nnU-Net and the Decathlon; those of TotalSegmentator
_GZIP = 31  # of zlib: with the header of gzip


def earlier_results(folder: Place, files: Iterable[Path]) -> set[Path]:
    """Return those files that are results of `segment`: the CASE.json beside them lists them.

    Args:
        files: The files in a folder and below it, by their paths from there; the reports are among them.
    Raises:
        AccessRefused, Unreachable, PackageMissing: Of a URL.
    """
    present = set(files)
    beside: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(present):
        ending = label_ending(path)
        report = None if ending is None else path.with_name(f"{path.name[: -len(ending)]}.json")
        if report in present:
            beside[report].append(path)
    contents = read_objects([folder / report for report in beside])
    reported = zip(beside.values(), map(reported_outputs, contents), strict=True)
    return {path for paths, outputs in reported for path in paths if path.name in outputs}


def is_named_label_map(path: Path) -> bool:
    """Return whether the name of a file or of its folder says that it is a label map."""
    return path.parent.name.lower().startswith(_FOLDERS) or path.name.lower().endswith(".seg.nrrd")


def is_marked_label_map(start: bytes) -> bool:
    """Return whether a file's first `HEADER_BYTES` are those of a NIfTI file whose intent is labels."""
    try:
        header = zlib.decompressobj(_GZIP).decompress(start, HEADER_BYTES)
    except zlib.error:  # not compressed
        header = start
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if kind.may_contain_header(header):
            return int(kind(header[: kind.sizeof_hdr], check=False)["intent_code"]) == LABEL_INTENT
    return False

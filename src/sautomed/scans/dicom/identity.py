"""Identity of an image file, by which derived objects refer to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from sautomed.scans.dicom.tags import text


@dataclass(frozen=True)
class Identity:
    """UIDs of an image file; empty if it has none.

    Args:
        member: Name of the file in its container.
        sop_class: SOPClassUID, the kind of the file.
        sop_instance: SOPInstanceUID, unique in the world by the standard.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        frame_of_reference: FrameOfReferenceUID; positions are comparable only within one.
    """

    member: str
    sop_class: str
    sop_instance: str
    study: str
    series: str
    frame_of_reference: str

    @property
    def with_several_values(self) -> str:
        """Name of the first of these elements that has several values, though the standard allows one; or empty."""
        uids = {
            "SOPClassUID": self.sop_class,
            "SOPInstanceUID": self.sop_instance,
            "StudyInstanceUID": self.study,
            "SeriesInstanceUID": self.series,
            "FrameOfReferenceUID": self.frame_of_reference,
        }
        return next((keyword for keyword, uid in uids.items() if "\\" in uid), "")


def identity_of(dataset: Dataset, member: str) -> Identity:
    """Return the UIDs of a file; class and instance from its file meta if an anonymiser removed the elements."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    return Identity(
        member,
        text(dataset, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID"),
        text(dataset, "SOPInstanceUID") or text(meta, "MediaStorageSOPInstanceUID"),
        text(dataset, "StudyInstanceUID"),
        text(dataset, "SeriesInstanceUID"),
        text(dataset, "FrameOfReferenceUID"),
    )


def ambiguity_of(files: Iterable[Identity]) -> str:
    """Return as a clause why an object cannot refer to each of the files of a series; empty if it can."""
    files = tuple(files)
    members: dict[str, str] = {}
    for file in files:
        if not file.sop_class or not file.sop_instance:
            return f"{file.member} has no SOPInstanceUID or no SOPClassUID, which references need"
        if file.with_several_values:
            return f"{file.member} has several values of {file.with_several_values}, where DICOM allows one"
        first = members.setdefault(file.sop_instance, file.member)
        if first != file.member:
            return (
                f"{first} and {file.member} have the same SOPInstanceUID, as after a faulty anonymisation, so that a "
                "reference to one slice would mean another too"
            )
    for name, uids in (
        ("FrameOfReferenceUID", {file.frame_of_reference for file in files}),
        ("StudyInstanceUID", {file.study for file in files}),
    ):
        if len(uids - {""}) > 1:
            return f"its files have {len(uids - {''})} different values of {name}, but an object refers to one"
    return ""

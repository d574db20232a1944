"""Every cure of the package is followed by a test of this folder, or named here with the reason why none can."""

import ast
from pathlib import Path

from .sites import SITES, SOURCE

# Keep this list short. A cure belongs here only if nobody could follow it in a test.
_MEMORY = "asks for a machine with more memory"
_DISK = "asks for a disk that works"
_GUARD = "guards what is refused earlier on every way to it"
NOT_FOLLOWED = {
    "datasets/chaos/reader.py _slices_of PictureOrder": f"{_GUARD}: the scan is a folder, which is read as DICOM",
    "inference/batch/backoff.py memory_shortage MemoryShortage": _MEMORY,
    "inference/batch/json_files.py remove_file UnwritableTarget": "needs a file that its owner may not delete",
    "scans/dicom/damage.py translate_errors DataError": _DISK,
    "scans/dicom/kinds.py _require_size DamagedDicom": f"{_GUARD}: an image without a size has no header that is read",
    "scans/dicom/picker.py choose_series NoUsableSeries": f"{_GUARD}: a series that is no stack has a fault of its own",
    "scans/dicom/pixels.py _allocate MemoryShortage": _MEMORY,
    "scans/dicom/resample.py resample MemoryShortage": _MEMORY,
    "scans/dicom/segmentation.py _require_memory MemoryShortage": _MEMORY,
    "scans/grid.py axes_of BadGeometry": f"{_GUARD}: such an affine is refused when a file is read",
    "scans/paths.py unreadable DataError": _DISK,
    "scans/payload.py read_payload MemoryShortage 2": _MEMORY,
    "scans/read.py _within_memory MemoryShortage": _MEMORY,
    "study/data.py _write_phantoms UnknownSetting": f"{_GUARD}: a study file without a folder is refused when read",
}


def followed() -> set[str]:
    """Return the keys of all sites that the tests of this folder name."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        if path != Path(__file__):
            tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found |= {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found & set(SITES)


def test_every_cure_is_followed():
    missing = sorted(set(SITES) - followed() - set(NOT_FOLLOWED))
    places = "\n".join(f"  {key!r}  (line {SITES[key].first})" for key in missing)
    assert not missing, (
        f"these refusals have a cure that no test follows:\n{places}\n"
        "Add a test to tests/cures/test_ROOM.py: run into the refusal with refuse(KEY, COMMAND...), take from the "
        "message what it says (refusal.take), do that, and check that the command works (refusal.works)."
    )


def test_the_exceptions_are_still_needed():
    assert sorted(set(NOT_FOLLOWED) - set(SITES)) == [], "no such refusal any more"
    assert sorted(set(NOT_FOLLOWED) & followed()) == [], "a test follows these now"


def test_most_cures_are_followed():
    assert len(NOT_FOLLOWED) < 0.05 * len(SITES)


def test_no_cure_is_a_question_or_an_appeal_to_look():
    """A cure says what to do; `Did you mean NAME?` is one."""
    vague = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            cure = next((item.value for item in getattr(node, "keywords", ()) if item.arg == "cure"), None)
            texts = [part.value for part in ast.walk(cure) if isinstance(part, ast.Constant)] if cure else []
            text = " ".join(part for part in texts if isinstance(part, str))
            if text.startswith(("Is ", "Are ", "Check how", "Check the file")):
                vague.append(f"{path.name}: {text}")
    assert vague == []

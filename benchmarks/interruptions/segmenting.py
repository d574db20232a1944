"""`sautomed segment` of a folder of scans."""

from __future__ import annotations

import json
import random
from pathlib import Path

from interruptions.processes import Moment, Stages
from interruptions.small import write_case, write_model

SCANS = 6
VOLATILE = ("seconds", "memory")  # entries of CASE.json that differ between any two runs


class Segmenting:
    """Small scans and a small random model.

    Args:
        folder: For the scans and the model.
    """

    def __init__(self, folder: Path) -> None:
        self.title = f"segmenting {SCANS} scans"
        self.stages = Stages(("in between", "reading", "segmenting", "writing labels", "drawing", "reporting"))
        self._scans, self._model = folder / "scans", folder / "model"
        for number in range(SCANS):
            write_case(self._scans / f"case_{number}.nii.gz", number)
        write_model(self._model)
        self._record_stages()

    def _record_stages(self) -> None:
        from sautomed.inference import preview
        from sautomed.inference.batch import run
        from sautomed.inference.model import Model
        from sautomed.scans.volume import LabelMap

        self.stages.record(Model, Model.read, "reading")
        self.stages.record(run, run.segment_with_backoff, "segmenting")
        self.stages.record(LabelMap, LabelMap.save, "writing labels")
        self.stages.record(preview, preview.draw_preview, "drawing")
        self.stages.record(run, run.done_report, "reporting")

    def arguments(self, output: Path) -> list[str]:
        return ["segment", "-i", str(self._scans), "-m", str(self._model), "-o", str(output), "--device", "cpu",
                "--resume", "--format", "nii.gz", "--format", "nrrd"]  # fmt: skip

    def contents(self, output: Path, *, finished: bool) -> dict[str, str]:
        """Return hashes, and of reports the entries that two runs must share."""
        from sautomed.scans.paths import sha256_of

        if not output.is_dir():
            return {}
        files = [path for path in sorted(output.iterdir()) if not path.name.startswith(".")]
        return {path.name: _report(path) if path.suffix == ".json" else sha256_of([path]) for path in files}

    def moment(self, draw: random.Random, length_s: float) -> Moment:
        return Moment(draw.uniform(0, length_s))


def _report(path: Path) -> str:
    try:
        report = json.loads(path.read_bytes())
    except ValueError:
        return "no JSON"
    return json.dumps({key: value for key, value in report.items() if key not in VOLATILE})

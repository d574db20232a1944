"""Three small scored cases, with the log of a training and a picture."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imsave

from sautomed.evaluation.evaluate import evaluate


@pytest.fixture(scope="session")
def score_cases():
    """Write the files of a report into a folder: score_cases(folder, convention)."""
    return _score_cases


@pytest.fixture(scope="session")
def scored(tmp_path_factory) -> Path:
    """The files of a report; tests only read them."""
    return _score_cases(tmp_path_factory.mktemp("scored"), "ours")


def _score_cases(folder: Path, convention: str) -> Path:
    """Three cases: found well, one organ missed, one organ spurious."""
    truth = np.zeros((8, 20, 20), dtype=np.uint8)
    truth[2:6, 3:9, 3:9] = 1
    truth[2:6, 12:18, 12:18] = 2
    for case in ("a", "b", "c"):
        wanted, found = truth.copy(), np.roll(truth, 1, axis=1)
        if case == "b":
            found[found == 2] = 0
        if case == "c":
            wanted[wanted == 2] = 0
        for kind, array in (("truth", wanted), ("found", found)):
            (folder / kind).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.diag([1, 1, 5, 1])), folder / kind / f"{case}.nii.gz")
    evaluate(
        folder / "found", folder / "truth", folder, names={1: "left_kidney", 2: "gallbladder"}, convention=convention
    )
    (folder / "log.csv").write_text(
        "step,elapsed_s,lr,loss,ce,dice,box,presence,val_dsc\n10,5,0.001,0.8,0.7,0.9,0.1,0.1,\n20,11,,,,,,,0.61\n"
    )
    imsave(folder / "picture.png", np.zeros((4, 4)))
    return folder

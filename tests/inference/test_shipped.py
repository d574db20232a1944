"""Models that come with the package: found by their names, and as good as their card says."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import sautomed
from sautomed import errors
from sautomed.datasets import case_name
from sautomed.evaluation import dice
from sautomed.inference.model import load, model_folder
from sautomed.inference.shipped import PHANTOM_CT, SHIPPED, shipped_names
from sautomed.model.given import GivenPrompts
from sautomed.phantom import write_phantoms
from sautomed.scans import read_labels
from sautomed.scans.paths import sha256_of


@pytest.fixture
def small_one(model_folder, monkeypatch, tmp_path):
    """A package that comes with one model, `small`; the working folder is empty."""
    monkeypatch.setattr("sautomed.inference.shipped.SHIPPED", tmp_path / "package")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return shutil.copytree(model_folder, tmp_path / "package" / "small")


def test_a_name_stands_for_the_folder(small_one, model):
    assert shipped_names() == ["small"]
    loaded = sautomed.load("small", device="cpu")
    assert (loaded.folder, loaded.sha256, loaded.labels) == (small_one, model.sha256, model.labels)


def test_every_command_takes_the_name(small_one, model, command, write, tmp_path):
    scan = write(tmp_path / "scan.nii.gz")
    assert command("segment", "-i", scan, "-m", "small", "-o", tmp_path / "a.nii.gz", "--json")[0] == 0
    prompts = json.loads((tmp_path / "a.prompts.json").read_text())
    assert prompts["model"] == {"id": model.settings.preset, "sha256": model.sha256}
    code, output = command("info", "small")
    assert code == 0
    assert "model folder" in output
    with sautomed.edit("small", scan) as session:
        assert session.model.sha256 == model.sha256


def test_what_lies_at_the_path_comes_first(small_one, model_folder):
    mine = shutil.copytree(model_folder, Path("small"))
    assert load("small", device="cpu").folder == mine
    (mine / "dataset.json").unlink()
    with pytest.raises(errors.NotAModel, match="holds no model"):
        load("small")


@pytest.mark.parametrize("path", ["folder/small", "../small", "smal", "Small/"])
def test_only_the_name_itself_is_one(small_one, path):
    with pytest.raises(errors.NotAModel, match="does not exist") as caught:
        model_folder(Path(path))
    assert str(caught.value.where) == str(Path(path))


# --- phantom-ct ---

UNSEEN_SEED = 3000
CARD = "MODEL_CARD.md"


def test_the_card_has_the_hash_and_the_command():
    folder = SHIPPED / PHANTOM_CT
    card, weights = (folder / CARD).read_text(encoding="utf-8"), folder / "model.safetensors"
    assert re.findall(r"\b[0-9a-f]{64}\b", card) == [sha256_of([weights])]
    assert weights.stat().st_size <= 12_000_000
    script = re.search(r"python (tools/\S+\.py)", card).group(1)
    assert (Path(__file__).parents[2] / script).is_file()


@pytest.fixture(scope="module")
def phantom_ct():
    return load(PHANTOM_CT, device="cpu")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), 2, "abdomen-ct", UNSEEN_SEED)


def true_labels(scan, volume):
    return read_labels(scan.parents[1] / "labelsTr" / f"{case_name(scan)}.nii.gz", volume.plane).array


@pytest.mark.slow
def test_it_segments_phantoms_that_it_has_not_seen(phantom_ct, phantoms):
    scores = []
    for scan in sorted((phantoms / "imagesTr").iterdir()):
        volume = phantom_ct.read(scan)
        assert volume.warnings == ()
        found, truth = phantom_ct.segment(volume).array, true_labels(scan, volume)
        scores += [dice(found == value, truth == value) for value in phantom_ct.labels]
    assert np.nanmean(scores) > 0.7


@pytest.mark.slow
def test_it_hears_half_a_box(phantom_ct, phantoms):
    """Without the gate, which makes any network's masks obey, half of the liver goes with half of its box."""
    scan = next((phantoms / "imagesTr").iterdir())
    walk = phantom_ct.walk(phantom_ct.read(scan))
    slices = {part.index: part.labels for part in walk}
    value = next(value for value, name in phantom_ct.labels.items() if name == "liver")
    k = sorted(phantom_ct.labels).index(value)
    t = max(slices, key=lambda t: (slices[t] == value).sum())
    side, classes = walk.view.fit.size, len(phantom_ct.labels)
    boxes = np.full((classes, 4), np.nan, np.float32)
    rows, columns = np.nonzero(slices[t] == value)
    boxes[k] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    x0, y0, x1, y1 = walk.view.network_boxes(boxes)[0][k]
    middle = (x0 + x1) / 2

    def shares(*box):
        """Return how much of the liver's left and right halves is found by the network alone."""
        given = GivenPrompts.nothing(classes, (side, side)).here(k, torch.stack(box))
        found = walk.walk.look_again(t, given).ungated.argmax(0) == k + 1
        before = walk.walk.look_again(t).predicted.logits.argmax(0) == k + 1
        right = (torch.arange(before.shape[1]) + 0.5) / before.shape[1] > middle
        return [float((found & before & half).sum() / (before & half).sum()) for half in (~right, right)]

    left, right = shares(x0, y0, middle, y1)
    assert left > 0.7
    assert right < 0.5
    left, right = shares(middle, y0, x1, y1)
    assert left < 0.5
    assert right > 0.7


@pytest.mark.slow
def test_half_a_box_in_a_session_travels(phantom_ct, phantoms):
    with sautomed.edit(phantom_ct, next((phantoms / "imagesTr").iterdir())) as session:
        value = next(value for value, name in session.organs.items() if name == "liver")
        t = max(range(session.depth), key=lambda t: (session.label_slice(t) == value).sum())
        before = {u: session.label_slice(u) == value for u in (t - 1, t, t + 1)}
        x0, y0, x1, y1 = session.prompts[t]["liver"].mask_box
        middle = round((x0 + x1) / 2)
        session.give_box(t, "liver", (x0, y0, middle, y1))
        assert list(session.propagate(t))
        for u, was in before.items():
            now = session.label_slice(u) == value
            assert now[:, middle:].sum() < 0.9 * was[:, middle:].sum()
            assert (now & was)[:, :middle].sum() > 0.7 * was[:, :middle].sum()
        assert not (session.label_slice(t) == value)[:, middle:].any()

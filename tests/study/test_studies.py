"""The files in studies/: each can be planned, and each of its networks accepts images of its size."""

from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sautomed.baselines import build_segmenter
from sautomed.config import Settings
from sautomed.datasets.layouts import AUTO, DATASETS
from sautomed.model.sam.keys import SIZES
from sautomed.model.sam.network import Sam
from sautomed.phantom import KINDS
from sautomed.study import plan_runs, read_study_file

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
ORGANS = 4
TABLES = {
    "table1_btcv": "btcv-8",
    "table2_chaos": "chaos-t2spir",
    "table3_segthor": "segthor",
    "table4_ablation": "btcv-8",
}


def read(path):
    folders = {name: Path() for name in ("btcv", "chaos", "segthor") if f"name: {name}" in path.read_text()}
    return read_study_file(path, folders)


@pytest.fixture(scope="module")
def sam_without_weights():
    """SAM ViT-B with the shapes of its published weights, which tests do not have."""

    def sizes(source, input_norm="auto"):
        return SimpleNamespace(sizes=SIZES["b"], input_norm="sam", source=source, sha256="")

    with pytest.MonkeyPatch.context() as patch:
        for place in ("model.sam.trunk", "baselines.sam"):
            patch.setattr(f"sautomed.{place}.read_sam_weights", sizes)
        slide_sam_build = import_module("sautomed.baselines.slide_sam.build")  # the package has a function build
        patch.setattr(slide_sam_build, "read_published", lambda *_: None)
        patch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # MONAI reads numbers from one
        patch.setattr(Sam, "from_weights", lambda weights, side: Sam(weights.sizes, side, weights.input_norm))
        yield


@lru_cache
def try_images(model, side):
    """Build the network of these settings and send images through its heaviest part; computes shapes, no values."""
    settings = Settings.model_validate_json(f'{{"model": {model}}}').model
    with torch.device("meta"), torch.no_grad():
        network = build_segmenter(settings, ORGANS, side).eval()
        network.run_heaviest_part(torch.empty(1, 3, side, side))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_network_of_a_study_takes_its_images(path, sam_without_weights):
    runs = plan_runs(read(path))
    ours = {(run.settings.model.model_dump_json(), run.settings.data) for run in runs if run.settings is not None}
    for model, data in ours:
        for side in data.auto_size if data.image_size == "auto" else [data.image_size]:
            try_images(model, side)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_data_set_of_a_study_exists_in_its_layout(path):
    study = read(path)
    for entry in study.data:
        assert entry.layout in {AUTO, *DATASETS}
        assert entry.phantom is None or entry.phantom.kind in KINDS
        assert (entry.layout if path.stem in TABLES else None) == TABLES.get(path.stem)


def test_the_tables_of_the_paper_have_five_folds_and_one_system_each_row():
    for path in STUDIES:
        if path.stem in TABLES:
            study = read(path)
            assert study.data[0].folds == (0, 1, 2, 3, 4)
            assert study.minutes is None
            assert study.common == ()

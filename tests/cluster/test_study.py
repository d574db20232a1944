"""The runs of a study as tasks on a Ray cluster."""

import json

import pytest
import yaml

from sautomed.cluster.share import Cluster
from sautomed.cluster.study import study_engine
from sautomed.study import Listener, StudyCallbacks, StudyRequest, run_study

pytestmark = pytest.mark.slow
pytest.importorskip("ray")


def test_a_study_on_a_cluster_carries_out_every_run_once(cluster, dataset_folder, small_settings, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small_settings.model_dump(mode="json")))
    models = [
        {"label": "A", "preset": "small.yaml", "set": ["train.steps=2"]},
        {"label": "B", "preset": "tiny", "left_out": "later"},
    ]
    tree = {"title": "Blocks", "data": [{"name": "blocks", "folder": str(dataset_folder)}], "models": models}
    file, begun, ended = tmp_path / "study.yaml", [], {}
    file.write_text(yaml.safe_dump(tree))

    def on_run(run, done, total):
        begun.append(run.id)
        return Listener()

    callbacks = StudyCallbacks(on_run=on_run, on_end=lambda run, status: ended.update({run.id: status}))
    outcome = run_study(StudyRequest(file, tmp_path / "out"), callbacks, study_engine(Cluster(cluster.address)))
    assert outcome.counts == {"done": 1, "left_out": 1}
    assert sorted(ended.values()) == ["done", "left_out"]
    assert sorted(begun) == sorted(ended)
    records = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").glob("*/run.json")]
    assert sorted(record["status"] for record in records) == sorted(ended.values())
    assert not list((tmp_path / "out").glob(".*"))

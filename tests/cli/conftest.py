"""A training that a test of the command line can afford."""

import pytest
import yaml


@pytest.fixture
def small_training(dataset_folder, small_settings, tmp_path):
    """Arguments of a training of four steps into tmp_path/run."""
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(small_settings.model_dump(mode="json")))
    return ["train", "-d", str(dataset_folder), "-o", str(tmp_path / "run"), "-c", str(file), "--device", "cpu"]

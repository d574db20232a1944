"""DSC of prepared cases at the network's resolution."""

import numpy as np
import pytest
import torch

from sautomed.config import SegmentSettings
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import Features, SharedFeatures, SliceState, StepOutput
from sautomed.training.prepare import PreparedCase
from sautomed.training.validation import network_dice


class Reader(SliceWalker):
    """Finds exactly what the image shows: its value is the class."""

    classes = 2

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images):
        return Features(images[:, 1:2])

    def share(self, before, here, after):
        return SharedFeatures(here.coarse, here.coarse)

    def start(self, batch):
        return SliceState.unknown(torch.zeros(batch, 0, 1), 2)

    def step(self, shared, state):
        classes = torch.arange(3)[:, None, None] / 2
        return StepOutput(-(shared.z - classes).abs(), state)


def write_case(folder, image, labels):
    for name, array in (("image", image), ("labels", labels), ("presence", np.zeros((len(labels), 2), bool))):
        np.save(folder / f"a.{name}.npy", array)
    return PreparedCase("a", folder)


def two_organs():
    labels = np.zeros((5, 16, 16), np.uint8)
    labels[1:4, 2:6, 2:6] = 1
    labels[2:, 8:12, 8:12] = 2
    return labels


def dice_of(folder, found, truth):
    case = write_case(folder, (found / 2).astype(np.float16), truth)
    return network_dice(Reader(), case, "repeat", SegmentSettings(chunk=2)).tolist()


def test_a_perfect_prediction_has_a_dice_of_one(tmp_path):
    assert dice_of(tmp_path, two_organs(), two_organs()) == [1, 1]


def test_dice_is_over_the_whole_case(tmp_path):
    truth, found = two_organs(), two_organs()
    found[1] = 0  # one of three slices of organ 1 missed
    found[0, 0, 0] = 2  # and one pixel more of organ 2, which has 3 x 16
    assert dice_of(tmp_path, found, truth) == pytest.approx([2 * 32 / (32 + 48), 2 * 48 / (48 + 49)])


def test_an_organ_that_is_nowhere_is_not_counted(tmp_path):
    truth = np.where(two_organs() == 2, 0, two_organs())
    one, two = dice_of(tmp_path, truth, truth)
    assert one == 1
    assert np.isnan(two)
    assert dice_of(tmp_path, two_organs(), truth) == [1, 0]  # found where it is not

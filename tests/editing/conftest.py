"""Sessions that take milliseconds: a model that sees brightness, and a scan of two blocks for it."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf

ORGANS = {1: "bright", 5: "dark"}
SHAPE = (9, 20, 24)  # slices, rows, columns


@pytest.fixture(scope="session")
def model():
    from sautomed.config import Settings
    from sautomed.inference.bundle import Bundle
    from sautomed.inference.model import Model
    from sautomed.model.slice_walker import PlainSegmenter
    from sautomed.model.values import Features

    class Brightness(PlainSegmenter):
        """Class 1 is very bright, class 2 dark; the finest features are the brightness as an angle."""

        classes = 2

        def __init__(self):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(()))
            self.encoded = 0

        def encode(self, images):
            self.encoded += len(images)
            angle = 3 * nnf.avg_pool2d(images[:, :1], 4)
            return Features(nnf.avg_pool2d(images, 16), (torch.cat([angle.cos(), angle.sin()], 1),))

        def logits(self, features):
            finest = features.fine[-1]
            brightness = torch.atan2(finest[:, 1:], finest[:, :1]) / 3
            return torch.cat([-(brightness - centre).abs() * 20 for centre in (0.5, 0.9, 0.1)], 1)

    data = {"image_size": 128, "plane": "axial", "modality": "other", "channels": "repeat"}
    settings = Settings.model_validate({"preset": "small", "data": data, "segment": {"chunk": 4}})
    found = Model(Bundle(Brightness().eval(), settings, ORGANS, "MR"), torch.device("cpu"))
    found.sha256 = "0" * 64  # as if it lay in a folder
    return found


def make_volume(shape=SHAPE):
    """Return a scan of two blocks, of which the model finds parts."""
    from sautomed.scans.grid import NativeGrid, choose_plane, orient
    from sautomed.scans.volume import Volume

    rng = np.random.default_rng(0)
    array = rng.uniform(0.3, 0.7, shape).astype(np.float32)
    array[1:8, 3:12, 3:11] += 0.3
    array[2:9, 8:17, 13:21] -= 0.35
    array = array.transpose(2, 1, 0)  # to the axes of a file
    native = NativeGrid(array.shape, np.diag([2.0, 2.0, 5.0, 1.0]))
    plane = choose_plane(native, "axial")
    oriented, affine = orient(array, native, plane)
    assert oriented.shape == shape
    return Volume(np.ascontiguousarray(oriented), affine, native, plane)


@pytest.fixture(scope="session")
def volume():
    return make_volume()


@pytest.fixture(scope="session")
def open_session(model, volume):
    """Open a session, in a folder or without a log."""
    from sautomed.editing import edit

    return partial(edit, model, volume)


@pytest.fixture
def session(open_session):
    return open_session()

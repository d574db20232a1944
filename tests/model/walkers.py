"""A model that notes what it is given, and volumes for it."""

from dataclasses import replace

import torch

from sautomed.inference.view import with_channels
from sautomed.model.slice_walker import SliceWalker
from sautomed.model.values import Features, SharedFeatures, SliceReader, SliceState, StepOutput


class Recorder(SliceWalker):
    """A network that notes what it is given. An image of slice t holds t / 1000 everywhere, and so do its features."""

    classes = 1

    def __init__(self):
        super().__init__()
        self.encoded, self.shared = [], []
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images):
        coarse = images[:, :, :1, :1] * 1000  # channels hold the slice and its neighbours
        self.encoded.append(coarse[:, 1, 0, 0].round().int().tolist())
        return Features(coarse, (coarse * 2,))

    def share(self, before, here, after):
        trio = [f.coarse[:, 1, 0, 0].round().int().tolist() for f in (before, here, after)]
        self.shared += list(zip(*trio, strict=True))
        return SharedFeatures(here.coarse, here.coarse, here.fine)

    def start(self, batch):
        return SliceState.unknown(torch.zeros(batch, 1, 1), 1)

    def step(self, shared, state):
        """History is the sum of the slices seen; the logits say so."""
        history = state.history + shared.z[:, 1:2, 0]
        return StepOutput(history[..., None].expand(-1, 2, 1, 1), replace(state, history=history))


def numbered(rows):
    return (torch.tensor(rows) / 1000)[:, None, None].expand(-1, 4, 4)


class View(SliceReader):
    """Slices from a function; no label map."""

    def __init__(self, read, depth, channels="repeat"):
        self.read, self.depth, self.channels = read, depth, channels

    def images(self, rows):
        return with_channels(self.read, rows, self.depth, self.channels)


def noise(depth, side=128):
    """Read random slices, the same for each depth."""
    slices = torch.rand(depth, side, side, generator=torch.Generator().manual_seed(depth))
    return lambda rows: slices[rows]

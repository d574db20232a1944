"""Small examples to train on."""

import itertools

import torch

from sautomed.training.slice_runs import SliceRun


def make_run(batch=2, slices=3, upward=(True, False), seed=0):
    """Noise with a bright block (class 1) that moves a little from slice to slice, and class 2 on the last one."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.2 * torch.rand(batch, slices + 2, 3, 128, 128, generator=generator)
    labels = torch.zeros(batch, slices, 128, 128, dtype=torch.long)
    for b, t in itertools.product(range(batch), range(slices)):
        rows, columns = slice(30 + 8 * b + 2 * t, 70 + 8 * b + 2 * t), slice(40, 80)
        images[b, t + 1, :, rows, columns] += 0.6
        labels[b, t, rows, columns] = 1
    images[:, -2, :, 90:110, 20:60] += 0.3
    labels[:, -1, 90:110, 20:60] = 2
    return SliceRun(images, labels, torch.tensor(upward[:batch]), labels[:, 0])

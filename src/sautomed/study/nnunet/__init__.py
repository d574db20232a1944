"""nnU-Net through its own package (`pip install "sautomed[nnunet]"`), on our folds; its label maps come back as ours.

Everything of nnU-Net happens in a process of its own, so that its settings, its workers and its prints stay there.
What it is given, and what differs from the stock command line (nnU-Net 2.8):

- Scans and label maps are handed over in its raw layout: linked where the file is one that it reads as we do, written
  anew otherwise. Label values are numbered 1, 2, ... as it demands, and turned back afterwards. Every scan is turned to
  RAS by its own reader `NibabelIOWithReorient`; stock reads the axes as they lie.
- The split is the fold that all systems have. As in nnU-Net's own cross-validation, the fingerprint (spacings, and for
  CT the intensities within the organs) is of all cases that were handed over, those for validation included.
- Without `minutes` the stock trainer runs: 1000 epochs of 250 iterations. Only a seed is set, which stock does not.
- With `minutes` `trainer.BudgetTrainer` runs: the same network, loss, augmentation, optimiser and batches, but
  the polynomial learning rate falls with the time, at every iteration instead of every epoch; an epoch is a twentieth
  of the time, of 5 to 250 iterations; no checkpoint is kept but the last, which nnU-Net predicts with anyway.
  The time includes handing over, planning and preprocessing.
- On a CPU augmentation runs within the training's process, with as many threads as PyTorch is given; stock takes all.
- Prediction is stock: `checkpoint_final`, half-overlapping tiles with Gaussian weights, mirrored along all axes.
- nnU-Net's validation at the end of a training is left out, as we score its predictions ourselves.

Source: Isensee et al. 2021, Nature Methods 18(2).
"""

from sautomed.study.nnunet.process import available
from sautomed.study.nnunet.settings import NnUNetSettings
from sautomed.study.nnunet.work import Predicted, Training, predict, read_training, train

__all__ = ["NnUNetSettings", "Predicted", "Training", "available", "predict", "read_training", "train"]

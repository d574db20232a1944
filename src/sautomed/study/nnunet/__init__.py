"""nnU-Net through its own package (`pip install "sautomed[nnunet]"`), trained and applied on our folds.

nnU-Net runs in a process of its own, so that its settings, workers and output do not mix with ours. What it is given,
and what differs from the stock command line (nnU-Net 2.8):

- Scans and label maps are given in its raw layout: as links if nnU-Net reads the file as we do, as new files
  otherwise. Label values are renumbered 1, 2, ... as it requires, and restored in its predictions. Every scan is turned
  to RAS by its own reader `NibabelIOWithReorient`; stock keeps the order of axes in the file.
- The split is the fold of all systems. As in nnU-Net's own cross-validation, the fingerprint (spacings, and for CT the
  intensities within the organs) is taken from all cases, those for validation included.
- Without `minutes` the stock trainer runs: 1000 epochs of 250 iterations. Only a seed is set, which stock does not.
- With `minutes`, `budget_trainer.BudgetTrainer` runs: the same network, loss, augmentation, optimiser and batches, but
  the polynomial learning rate falls with the time, at every iteration instead of every epoch; an epoch is a twentieth
  of the time, of 5 to 250 iterations; only the last checkpoint is kept, with which nnU-Net predicts anyway.
  The time includes writing the raw layout, planning and preprocessing.
- On a CPU, augmentation runs within the training's process, with PyTorch's number of threads; stock takes all cores.
- Prediction is stock: `checkpoint_final`, half-overlapping tiles with Gaussian weights, mirrored along all axes.
- nnU-Net's validation at the end of a training is left out, as we score its predictions ourselves.

settings.py           settings that a study may choose
raw.py                data sets in its raw layout, and its predictions as our label maps
train_and_predict.py  the two verbs
process.py            how a step is started in a process of its own
steps.py              what runs in that process
budget_trainer.py     nnU-Net's trainer with a limit of time

Source: Isensee et al. 2021, Nature Methods 18(2).
"""

from sautomed.study.nnunet.process import available
from sautomed.study.nnunet.settings import NnUNetSettings
from sautomed.study.nnunet.train_and_predict import Predicted, Training, predict, read_training, train

__all__ = ["NnUNetSettings", "Predicted", "Training", "available", "predict", "read_training", "train"]

"""Stop a training on Ctrl-C, SIGTERM or SIGHUP at the end of its step, with a checkpoint."""

import signal
import threading
from pathlib import Path
from types import FrameType

import lightning

from sautomed.errors import STOP_SIGNALS
from sautomed.training.rank_group import RankGroup


class StopOnSignal(lightning.Callback):
    """Stops after the step in which a signal arrived at any rank; a second Ctrl-C stops at once.

    A step that ends with a validation is complete only after it: Lightning would skip the validation of a checkpoint
    that is written between the two.

    Args:
        last: Checkpoint to write.
        validate_every: Steps between validations, after which `last` is written anyway.
        group: Ranks that train together, which stop together.
    """

    def __init__(self, last: Path, validate_every: int, group: RankGroup):
        self.last, self.validate_every, self.group = last, validate_every, group
        self.received: int | None = None  # by this rank
        self._agreed: int | None = None  # by any, as all know
        self._before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Handle the signals, after Lightning has installed a handler of its own."""
        if threading.current_thread() is not threading.main_thread():  # others may not
            return
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # as for jobs in the background
                signal.signal(number, self._receive)

    def on_sanity_check_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Do so earlier with several ranks: Lightning's handler would broadcast, and hang, as the others do not."""
        if self.group.count > 1:
            self.on_train_start(trainer, module)

    def restore(self) -> None:
        """Put back the handlers from before; Lightning leaves Ctrl-C ignored."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Stop after a step that ended with a validation, and so with a checkpoint; any other time a step later."""
        if trainer.global_step % self.validate_every == 0:
            self._agree()
            self._raise(self._agreed)

    def on_step_done(self, trainer: lightning.Trainer) -> None:
        """Stop after any other step; called when the averaged weights are updated, too."""
        self._agree()
        is_last = trainer.should_stop or trainer.global_step == trainer.max_steps
        if self._agreed is None or is_last or trainer.global_step % self.validate_every == 0:
            return
        trainer.save_checkpoint(self.last)
        self._raise(self._agreed)

    def raise_received(self) -> None:
        """Raise KeyboardInterrupt, or Terminated for other signals than Ctrl-C, if one has arrived."""
        self._raise(self._agreed or self.received)

    def _agree(self) -> None:
        self._agreed = self.group.highest(self.received or 0) or None

    @staticmethod
    def _raise(number: int | None) -> None:
        if number is not None:
            raise STOP_SIGNALS[number]

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        signal.signal(signal.SIGINT, self._before[signal.SIGINT])

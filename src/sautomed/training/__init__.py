"""How a model learns: one loop for all of them, driven by Lightning."""

from sautomed.training.learner import Budget, Clock, Learner, now_s

__all__ = ["Budget", "Clock", "Learner", "now_s"]

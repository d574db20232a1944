"""Annotated shapes are checked while tests run (`conftest.py` installs the hook)."""

import importlib
import inspect
import pkgutil
from contextlib import suppress
from typing import get_type_hints

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

from sautomed.model.boxes import boxes_of_labels, paired_iou
from sautomed.model.stack_segmenter import StackSegmenter
from sautomed.model.values import PredictedSlice

from .conftest import CHECKED_ROOMS


def test_a_wrong_number_of_axes_is_refused():
    with pytest.raises(BeartypeCallHintViolation, match="parameter labels="):
        boxes_of_labels(torch.zeros(8, 8, dtype=torch.long), 2)


def test_a_wrong_type_is_refused():
    with pytest.raises(BeartypeCallHintViolation, match="parameter labels="):
        boxes_of_labels(torch.zeros(1, 8, 8), 2)


def test_axes_of_one_name_have_one_size():
    with pytest.raises(BeartypeCallHintViolation, match="parameter b="):
        paired_iou(torch.zeros(3, 4), torch.zeros(2, 4))


def test_fields_of_values_are_checked_too():
    PredictedSlice(0, torch.zeros(3, 8, 8), torch.zeros(2, 4))
    with pytest.raises(BeartypeCallHintViolation, match="parameter boxes="):
        PredictedSlice(0, torch.zeros(3, 8, 8), torch.zeros(3, 4))


def test_generators_stay_generators_so_that_inference_mode_covers_them():
    assert inspect.isgeneratorfunction(StackSegmenter.predict)


@pytest.mark.parametrize("room", CHECKED_ROOMS)
def test_every_annotation_can_be_evaluated(room):
    """The hook ignores those that cannot, for example the axis "2h", which must be "2*h"."""
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, f"{room}."):
        for annotated in defined_in(importlib.import_module(module.name)):
            with suppress(NameError):  # of a name that is imported for type checkers alone
                get_type_hints(annotated)


def defined_in(module):
    """Yield the classes, functions and methods that a module defines."""
    for thing in [t for t in vars(module).values() if getattr(t, "__module__", None) == module.__name__]:
        if inspect.isclass(thing):
            yield thing
            yield from (m for m in map(function_of, vars(thing).values()) if inspect.isfunction(m))
        elif inspect.isfunction(thing):
            yield thing


def function_of(member):
    return getattr(member, "fget", None) or getattr(member, "__func__", member)

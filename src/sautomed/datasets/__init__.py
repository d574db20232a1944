"""Datasets as they were downloaded: one module per layout, one line in the table `layouts.DATASETS`."""

from sautomed.datasets.dataset import Case, Dataset, LayoutReader
from sautomed.datasets.description import read_label_names
from sautomed.datasets.layouts import DATASETS, Layout, read_dataset
from sautomed.datasets.names import case_name, without_ending

__all__ = [
    "DATASETS",
    "Case",
    "Dataset",
    "Layout",
    "LayoutReader",
    "case_name",
    "read_dataset",
    "read_label_names",
    "without_ending",
]

"""Datasets by their layout: one module per layout, one line in the table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from sautomed.datasets.nnunet_raw import Case, Dataset, case_name, load_case, read_dataset, read_label_names

DATASETS: Mapping[str, Callable[[str | Path], Dataset]] = MappingProxyType({"nnunet_raw": read_dataset})

__all__ = ["DATASETS", "Case", "Dataset", "case_name", "load_case", "read_dataset", "read_label_names"]

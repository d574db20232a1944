"""The files that all cases of a run share: its summary, and the label file for ITK-SNAP."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from sautomed.inference.batch.failure_log import STORE_FAULTS
from sautomed.inference.batch.jobs import Plan
from sautomed.inference.batch.json_files import read_objects
from sautomed.inference.batch.places import Url
from sautomed.inference.batch.remote import write_bytes
from sautomed.inference.batch.shard_files import shard_entries
from sautomed.inference.batch.summary import CaseSummary, summarise, write_case_summaries
from sautomed.scans.itksnap import label_description
from sautomed.scans.write import write_itksnap_labels

log = logging.getLogger(__name__)


def announce_shard(plan: Plan) -> None:
    """Write which cases a shard has, before its work, for `merge`; nothing for a run of all cases.

    Raises:
        UnwritableTarget, Unreachable, PackageMissing.
    """
    if plan.shard is not None and plan.summary is not None:
        write_case_summaries(plan.summary, (), shard_entries(plan))


def write_label_file(plan: Plan, labels: Mapping[int, str]) -> None:
    """Write the label file for ITK-SNAP, if the plan has one.

    Args:
        labels: Name of each label without the background.
    Raises:
        UnwritableTarget, Unreachable, PackageMissing.
    """
    if isinstance(plan.label_file, Url):
        write_bytes(plan.label_file, label_description(labels).encode())
    elif plan.label_file is not None:
        write_itksnap_labels(labels, plan.label_file)


def write_summary(plan: Plan) -> tuple[CaseSummary, ...]:
    """Write summary.json of all cases that have a report, those of earlier runs included, and return what it says."""
    if plan.summary is None:
        return ()
    summary: tuple[CaseSummary, ...] = ()
    try:
        summary = summarise(read_objects(list(plan.reports.values())))
        write_case_summaries(plan.summary, summary, shard_entries(plan))
    except STORE_FAULTS as error:  # such as a full disk; each case has its own report
        log.warning("%s", error)
    return summary

"""One case of a plan by itself, for engines that spread the cases over processes and machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sautomed.inference import memory
from sautomed.inference.batch.failure_log import Failure, reporting
from sautomed.inference.batch.jobs import Job, Plan
from sautomed.inference.batch.run import OnJobSlice, carry_out
from sautomed.inference.model import Model

CaseEnd = Literal["done", "skipped"]


class CaseRunner:
    """Carries out jobs of a plan one by one, in any order; several processes may share the jobs of a plan.

    Args:
        plan: Its own list of jobs is not used, and may be empty.
    """

    def __init__(self, model: Model, plan: Plan):
        self.model, self.plan = model, plan
        self._cost = memory.trunk_cost(model.network, int(model.settings.data.image_size))

    def carry_out(self, job: Job, on_slice: OnJobSlice | None = None) -> CaseEnd | Failure:
        """Check and segment one scan, and write its outputs; a fault of the case is written to its CASE.json.

        Returns:
            "skipped" if the plan resumes and the case is found whole.
        """
        if not self.model.network.makes_prompts:
            job = replace(job, prompts=None)
        is_new, failures = False, list[Failure]()
        with reporting(self.plan, job, failures.append) as on_header:
            is_new = carry_out(self.model, self.plan, job, self._cost, on_header, on_slice)
        if failures:
            return failures[0]
        return "done" if is_new else "skipped"

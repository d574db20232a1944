"""The check, at the end of a training, that a model is as good in bf16 as in float32."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

TOLERANCE = 0.002  # ours: of the mean DSC of the validation cases


class Bf16Check(BaseModel):
    """The DSC of a model's validation cases in bf16; it is the entry "bf16" of metrics.json.

    Attributes:
        dsc: Mean of each organ; None where no case has it.
        mean_dsc: Mean of these.
        difference: Of `mean_dsc` from that in float32; None if either is None.
        passed: Whether it is at most `TOLERANCE`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dsc: dict[str, float | None]
    mean_dsc: float | None
    difference: float | None
    passed: bool

    @staticmethod
    def of(bf16: Mapping[str, float | None], mean_bf16: float | None, mean_float32: float | None) -> Bf16Check:
        """Compare the scores in both precisions."""
        difference = None if mean_bf16 is None or mean_float32 is None else mean_bf16 - mean_float32
        passed = difference is not None and abs(difference) <= TOLERANCE
        return Bf16Check(dsc=dict(bf16), mean_dsc=mean_bf16, difference=difference, passed=passed)

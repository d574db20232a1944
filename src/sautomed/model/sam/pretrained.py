"""Source of a pretrained trunk, as a model folder names it."""

from dataclasses import dataclass
from typing import Literal

from sautomed.model.sam.keys import SamSizes


@dataclass(frozen=True)
class TrunkShape:
    """Sizes of a SAM trunk that is built before its weights are read."""

    sizes: SamSizes
    lora_rank: int


@dataclass(frozen=True)
class PretrainedTrunk:
    """Source of a trunk's weights, the hash of their numbers, and the input scaling they expect.

    Attributes:
        shape: Of a trunk that is trained as a whole, so that a model folder holds all its weights. None where some of
            it stays frozen.
    """

    source: str
    sha256: str
    input_norm: Literal["sam", "medsam"]
    shape: TrunkShape | None = None

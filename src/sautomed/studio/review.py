"""What a person should look at in the result of a case, as CASE.json in the folder of results says."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sautomed.errors import DataError, SautomedError
from sautomed.inference.batch.report_parts import SCHEMA
from sautomed.inference.prompts.collect import printable
from sautomed.scans.paths import read_json

MAX_BYTES = 1_000_000  # ours: a CASE.json has a few thousand
MAX_TEXTS = 50  # ours: more are not read by anybody
MAX_LETTERS = 300  # ours: of a text
_SLICES = re.compile(r": slices (\d{1,6})-(\d{1,6})", re.ASCII)


class Review(BaseModel):
    """How sure the result of a case is.

    Attributes:
        status: "done" or "failed"; None if there is no result.
        least_sure: The smallest Dice score that the model expects of an organ, 0 to 1; None if that is not known.
        review: What to look at, such as "liver: slices 3-7: ...".
    """

    model_config = ConfigDict(frozen=True, strict=True)

    status: str | None = None
    least_sure: Annotated[float, Field(ge=0, le=1)] | None = None
    review: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @property
    def rank(self) -> tuple[bool, bool, bool, float]:
        """The smaller, the earlier a person should look: as in summary.json, and scans without a result last."""
        dsc = math.inf if self.least_sure is None else self.least_sure
        return self.status is None, self.status == "done", not self.review, dsc


def read_review(path: Path) -> Review:
    """Read what a CASE.json says; nothing if there is none, or if the file is another one of this name.

    A damaged one is itself something to look at, and no reason not to open the scan.
    """
    try:
        if not path.is_file():
            return Review()
        if path.stat().st_size > MAX_BYTES:
            return _unreadable(path)
        content = read_json(path, DataError)
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            return Review()
        found = Review.model_validate(content)
    except (OSError, SautomedError, ValidationError):
        return _unreadable(path)
    texts = tuple(printable(_counted_from_one(text[:MAX_LETTERS])) for text in found.review[:MAX_TEXTS])
    return found.model_copy(update={"review": texts})


def _counted_from_one(text: str) -> str:
    """Return a text with slices as the page counts them."""
    return _SLICES.sub(lambda found: f": slices {int(found[1]) + 1}-{int(found[2]) + 1}", text)


def _unreadable(path: Path) -> Review:
    return Review(
        status="damaged", review=(f"{printable(path.name)} cannot be read: nothing is known of how sure the result is",)
    )

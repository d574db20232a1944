"""Refuse to replay a document with another scan or model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from sautomed.errors import PromptsMismatch
from sautomed.inference.prompts.document import ModelIdentity, PromptsDocument, ReadAs
from sautomed.scans import ReadOptions

_FLAGS = {name: f"--{name.replace('_', '-')}" for name in ReadAs.model_fields}


@dataclass(frozen=True)
class Replay:
    """A document to segment by.

    Args:
        path: Its file.
        forced: Also with another scan or model, as long as slices and organs are the same.
    """

    path: Path
    document: PromptsDocument
    forced: bool = False

    def require_same_scan(self, scan: Path, sha256: str, options: ReadOptions) -> None:
        """Raise PromptsMismatch if the scan is another one, or read with other options."""
        made_for = self.document.scan
        if self.forced:
            return
        if made_for.sha256 != sha256:
            raise PromptsMismatch(
                f"was made for a scan {made_for.name} with hash {_short(made_for.sha256)}, but {scan} has "
                f"{_short(sha256)}.",
                where=self.path,
                cure="Give -i the scan that it was made for, or use --force-prompts to replay it nevertheless.",
            )
        if made_for.read != ReadAs(**asdict(options)):
            raise PromptsMismatch(
                f"was made for this scan read with other options: {_flags_of(made_for.read)}.",
                where=self.path,
                cure="Read the scan with these options, or use --force-prompts to replay it nevertheless.",
            )

    def require_same_model(self, model: ModelIdentity, where: Path | None) -> None:
        """Raise PromptsMismatch if the model is another one, or one of them lay in no folder."""
        made_with = self.document.model
        if not self.forced and (made_with.sha256 is None or made_with.sha256 != model.sha256):
            raise PromptsMismatch(
                f"was made with a model {made_with.id} with hash {_short(made_with.sha256)}, but "
                f"{where or 'this model'} has {_short(model.sha256)}.",
                where=self.path,
                cure="Give -m the model that it was made with, or use --force-prompts to replay it nevertheless.",
            )

    def require_fits(self, shape: tuple[int, int, int], organs: dict[int, str]) -> None:
        """Raise PromptsMismatch if the document's slices or organs are not those of a scan and a model.

        Args:
            shape: Slices, rows and columns.
            organs: Value in the label map -> organ.
        """
        if self.document.scan.shape != shape:
            raise PromptsMismatch(
                f"has slices, rows and columns {_times(self.document.scan.shape)}, but the scan has {_times(shape)}, "
                "where its boxes have no place.",
                where=self.path,
                cure="Give -i the scan that it was made for.",
            )
        if self.document.organs != {name: value for value, name in organs.items()}:
            raise PromptsMismatch(
                f"has other organs than the model, which has {', '.join(organs.values())}.",
                where=self.path,
                cure="Give -m the model that it was made with.",
            )


def _flags_of(read: ReadAs) -> str:
    chosen = [(_FLAGS[name], value) for name, value in read if value not in (None, False)]
    return " ".join(flag if value is True else f"{flag} {value}" for flag, value in chosen) or "none"


def _short(sha256: str | None) -> str:
    return "none" if sha256 is None else f"{sha256[:12]}..."


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

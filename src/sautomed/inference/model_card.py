"""Write MODEL_CARD.md: what a model is, its training data, its scores and its limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sautomed.baselines import MODELS
from sautomed.config import EfficientNetLiteTrunkSettings, SamTrunkSettings, Settings
from sautomed.datasets import Dataset
from sautomed.inference.confidence.predictor import DscPredictor
from sautomed.inference.engine.bf16_check import TOLERANCE
from sautomed.inference.percentiles import IntensityPercentiles, describe_range
from sautomed.model.imagenet_weights import ORIGIN as IMAGENET_ORIGIN
from sautomed.scans.files import write_text

CARD = """# {name}: {organs} organs in {channel} volumes

{system} ({source}), preset `{preset}`, trained with sautomed.

| | |
|---|---|
| Data set | {name}, {cases} training cases, channel {channel} |
| Intensities | {trained_on} in the training scans |
| Slices | {plane}, {size} x {size} pixels, {intensities} |
| Network | {network} |
| Training | {steps} steps in {minutes} minutes, fold {fold}, seed {seed} ({machine}) |

## Validation

{scores}

{bf16}

{confidence}

## Use

    sautomed segment -i SCAN -m THIS_FOLDER -o LABELS.nii.gz

For research. The scores hold for scans like those of the data set; other scanners, protocols and diseases were not
tested. Look at the masks before anything depends on them.
"""


def write_model_card(
    path: Path,
    dataset: Dataset,
    settings: Settings,
    intensities: Sequence[IntensityPercentiles],
    metrics: dict[str, Any],
    predictor: DscPredictor | None = None,
) -> None:
    """Write the card of a model.

    Args:
        settings: With every `auto` decided.
        intensities: Of each training scan.
        metrics: The content of the model folder's metrics.json.
        predictor: Of the DSC of its results.
    """
    data, system = settings.data, MODELS[settings.model.name]
    low, high = data.window_hu if data.modality == "ct" else data.percentiles
    kind = "HU" if data.modality == "ct" else "percentiles of non-zero voxels"
    write_text(
        path,
        CARD.format(
            name=dataset.name,
            organs=len(dataset.labels),
            channel=dataset.channel,
            preset=settings.preset,
            cases=len(metrics["train_cases"]),
            trained_on=describe_range(intensities),
            plane=data.plane,
            size=data.image_size,
            intensities=f"{low:g} to {high:g} {kind} scaled to [0, 1]",
            system=system.title,
            source=system.source,
            network=_describe_network(settings),
            steps=metrics["steps"],
            minutes=metrics["minutes"],
            fold=metrics["fold"],
            seed=metrics["seed"],
            machine=metrics["machine"],
            scores=_scores(metrics["validation"]),
            bf16=_bf16(metrics["bf16"]),
            confidence=_confidence(predictor),
        ),
    )


def _describe_network(settings: Settings) -> str:
    trunk, weights = getattr(settings.model, "trunk", None), getattr(settings.model, "weights", None)
    if isinstance(trunk, SamTrunkSettings):
        return f"on SAM from {trunk.weights}, LoRA rank {trunk.lora.rank}"
    if isinstance(trunk, EfficientNetLiteTrunkSettings):
        return "on EfficientNet-Lite0, trained from scratch" if trunk.weights is None else f"on {IMAGENET_ORIGIN}"
    if trunk is not None:
        return "on a ResNet, trained from scratch"
    return "trained from scratch" if weights is None else f"from {weights}"


def _confidence(predictor: DscPredictor | None) -> str:
    if predictor is None:
        return "It predicts no DSC of its results: no case was left to learn that from."
    return f"The DSC that it predicts of its results was fitted on {predictor.basis}."


def _bf16(check: dict[str, Any] | None) -> str:
    if check is None:
        return "It was not checked in bf16, so `--precision auto` computes it in float32."
    if check["difference"] is None:
        return "In bf16 no organ was found, so `--precision auto` computes it in float32."
    found = f"In bf16 the mean DSC is {check['mean_dsc']:.4f}, which differs by {abs(check['difference']):.4f}"
    if check["passed"]:
        return f"{found}: `--precision auto` computes in bf16 where the machine does."
    return f"{found}, more than {TOLERANCE:g}: `--precision auto` computes in float32."


def _scores(validation: dict[str, Any] | None) -> str:
    if validation is None:
        return "In the study that this model was trained for: on its page, and in `scores` of its runs."
    if not validation["cases"]:
        return "None: every case was trained on."
    rows = [
        f"| {organ} | {'no case has it' if dsc is None else f'{dsc:.3f}'} |" for organ, dsc in validation["dsc"].items()
    ]
    mean = validation["mean_dsc"]
    rows.append(f"| **mean** | {'-' if mean is None else f'**{mean:.3f}**'} |")
    intro = f"Mean DSC on the native grid of {len(validation['cases'])} cases that were not trained on."
    return "\n".join([intro, "", "| organ | DSC |", "|---|---|", *rows])

"""Make the model phantom-ct, which comes with the package: python tools/make_phantom_model.py WORK

The folder WORK gets the phantoms and the training run, about 40 minutes on two cores; a run that is there already is
taken as it is. The model folder in src/sautomed/inference/shipped_models is then written anew, its weights in float16.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save

from sautomed.cli.demo import KIND
from sautomed.cli.demo import SETTINGS as OF_THE_DEMO
from sautomed.cli.progress import shown_progress
from sautomed.config import load_settings
from sautomed.inference.shipped import PHANTOM_CT, SHIPPED
from sautomed.phantom import write_phantoms
from sautomed.scans.files import atomic_write, write_text
from sautomed.scans.paths import sha256_of
from sautomed.training.plan import TrainingPlan
from sautomed.training.train import train

CASES, PHANTOM_SEED, SEED = 60, 1000, 0
# The demo's, with what teaches the network to heed prompts, and more steps, of the preset's size.
SETTINGS = (
    *OF_THE_DEMO,
    "train.batch=4",
    "model.prompt_head=true",
    "train.prompt_rows=1",
    "train.steps=1400",
    "train.validate_every=700",
)
MOST_BYTES = 12_000_000
COPIED = ("config.json", "dataset.json", "intensities.json", "organ_sizes.json", "confidence.json", "metrics.json")
WEIGHTS, CARD = "model.safetensors", "MODEL_CARD.md"
HOW_IT_WAS_MADE = """
## How it was made

Of phantoms alone: the network has seen no patient's scan and started from no pretrained weights. It is for trying the
package out, and for no patient. Its licence is that of sautomed.

    python tools/make_phantom_model.py WORK

makes {cases} phantoms (`sautomed phantom --kind {kind} -n {cases} --seed {phantom_seed}`), trains the preset `tiny` on
fold 0 of them with seed {seed} and the settings in `config.json`, and rounds the weights to float16. The scores above
are those before rounding. The SHA-256 of `{weights}` is

    {sha256}
"""


def main(work: Path) -> None:
    """Make phantoms and a model unless they are there, and put the model into the package."""
    data, run = work / "Dataset901_Phantom", work / "run"
    trained = run / "fold_0" / "model"
    if not (trained / CARD).is_file():  # the last file that a training writes
        with shown_progress() as stages:
            write_phantoms(data, CASES, KIND, PHANTOM_SEED, on_case=stages.counter("Making phantoms"))
            settings = load_settings("tiny", SETTINGS)
            train(TrainingPlan(data, run, settings, fold=0, seed=SEED), stages.training_callbacks())
    ship(trained, SHIPPED / PHANTOM_CT)


def ship(trained: Path, target: Path) -> None:
    """Write a model folder with weights in float16, and its card.

    Exits with a message if float16 cannot hold a weight, or if the weights are larger than `MOST_BYTES`.
    """
    weights = in_half(trained / WEIGHTS)
    with atomic_write(target / WEIGHTS) as temporary:
        temporary.write_bytes(weights)
    for name in COPIED:
        shutil.copyfile(trained / name, target / name)
    sha256 = sha256_of([target / WEIGHTS])
    made = HOW_IT_WAS_MADE.format(
        cases=CASES, kind=KIND, phantom_seed=PHANTOM_SEED, seed=SEED, weights=WEIGHTS, sha256=sha256
    )
    card = (trained / CARD).read_text(encoding="utf-8").replace("THIS_FOLDER", PHANTOM_CT)
    write_text(target / CARD, card + made)
    print(f"{target}: {len(weights):,} bytes of weights, SHA-256 {sha256}")


def in_half(path: Path) -> bytes:
    """Return a file of weights whose floating numbers are rounded to float16."""
    state = {name: x.half() if x.is_floating_point() else x for name, x in load_file(path).items()}
    beyond = [name for name, x in state.items() if not x.isfinite().all()]
    if beyond:
        sys.exit(f"{path}: float16 cannot hold {', '.join(beyond)}")
    content = save(state)
    if len(content) > MOST_BYTES:
        sys.exit(f"{path}: {len(content):,} bytes in float16, but at most {MOST_BYTES:,} may come with the package")
    return content


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

"""From a scan to a mask and its scores: python examples/own_scan.py OUTPUT

Everything here is synthetic, so that the script runs anywhere, in a few minutes on two cores. For your own scans, put
your data set (docs/datasets.md), scan and label map in the places of the phantoms.
"""

import argparse
from pathlib import Path

import sautomed
from sautomed.config import load_settings
from sautomed.evaluation.evaluate import evaluate
from sautomed.phantom import write_phantoms
from sautomed.training.plan import TrainingPlan
from sautomed.training.train import train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("output", type=Path, help="a new folder")
parser.add_argument("--cases", type=int, default=12, help="phantoms to train on and to validate with")
parser.add_argument("--steps", type=int, default=250, help="of the training")
args = parser.parse_args()

# A data set in nnU-Net's raw layout (imagesTr, labelsTr, dataset.json), and a scan with its truth to be kept apart.
dataset = write_phantoms(args.output / "dataset", args.cases, kind="abdomen-mr", seed=0)
unseen = write_phantoms(args.output / "unseen", 1, kind="abdomen-mr", seed=1)
scan, truth = unseen / "imagesTr/phantom_000_0000.nii.gz", unseen / "labelsTr/phantom_000.nii.gz"

# Train fold 0 of the preset for a CPU. `sautomed train` does the same; docs/settings.md lists every setting.
settings = load_settings("tiny", ["data.image_size=128", f"train.steps={args.steps}"])
model_folder = train(TrainingPlan(dataset, args.output / "run", settings))

# Segment the scan on its own grid. The ending of the name gives the format: .nii.gz, .seg.nrrd, .mha, ...
model = sautomed.load(model_folder)
labels = model.segment(scan)
labels.save(args.output / "mask.nii.gz")

# Score the mask in mm: Dice (DSC), Hausdorff distances (HD95, HD) and surface Dice (NSD). Also writes scores.csv.
summary = evaluate(args.output / "mask.nii.gz", truth, args.output / "scores", names=model.labels)
for score in summary.scores:
    print(f"{score.class_name:26} {score.status:8} DSC {score.values['dsc']:.3f}")

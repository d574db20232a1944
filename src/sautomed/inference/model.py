"""A trained model that takes scans."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from sautomed.config import Settings
from sautomed.errors import ModelError, NotAModel, UsageError
from sautomed.errors.text import listed
from sautomed.inference.bundle import Bundle, load_bundle
from sautomed.inference.device import choose_device
from sautomed.inference.engine import FLOAT32, Computing, choose_precision, computed_network, without_bf16
from sautomed.inference.intensity import modality_of
from sautomed.inference.intensity_check import intensity_warning
from sautomed.inference.percentiles import percentiles_of
from sautomed.inference.segmenting import OnSlice, SegmentedSlice, segment_slices, segment_volume
from sautomed.inference.shipped import shipped_names, shipped_or_itself
from sautomed.inference.volume_walk import VolumeWalk
from sautomed.model.fold_norms import fold_norms
from sautomed.model.slice_walker import SliceWalker
from sautomed.scans import ReadOptions, read_scan
from sautomed.scans.paths import cure_of_missing, sha256_of
from sautomed.scans.read import DEFAULT_OPTIONS
from sautomed.scans.volume import LabelMap, Volume

log = logging.getLogger(__name__)

# Files that decide the labels; a pretrained trunk is named in config.json with its own hash.
DECISIVE_FILES = ("config.json", "dataset.json", "model.safetensors")
LOAD_TRIES = 3  # ours: a training replaces its model every few minutes at most


class Model:
    """A trained model of any system, which takes scans.

    model = sautomed.load("run/fold_0/model")
    labels = model.segment("scan.nii.gz")
    labels.save("organs.nii.gz")

    Args:
        folder: Where the model was read from; None if it never lay in a folder.
        computing: How its network is computed.
        sha256: Hash of the `DECISIVE_FILES` that it was read from, which may be others by now; None without a folder.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: torch.device,
        folder: Path | None = None,
        computing: Computing = FLOAT32,
        sha256: str | None = None,
    ):
        self.bundle, self.device, self.folder, self.computing = bundle, device, folder, computing
        self.sha256 = sha256
        self.network = bundle.network.to(device)

    @property
    def labels(self) -> dict[int, str]:
        """Value in a label map -> organ."""
        return self.bundle.labels

    @property
    def settings(self) -> Settings:
        return self.bundle.settings

    def read(self, scan: str | Path, options: ReadOptions = DEFAULT_OPTIONS) -> Volume:
        """Read a scan and turn it to the plane that the model was trained in.

        Logs what was odd but could be read, and intensities unlike those of the training scans; both are in the
        volume's `warnings`.

        Args:
            scan: A file of any format that is read, a folder of DICOM files, or a zip of one.
            options: Which series, frame or channel is meant, and what may be mended.
        Raises:
            DataError: The scan cannot be used.
        """
        volume = read_scan(scan, self.settings.data.plane, options)
        unlike = self._intensity_warning(volume)
        if unlike:
            volume = replace(volume, warnings=(*volume.warnings, f"{scan}: {unlike}"))
        for text in volume.warnings:
            log.warning("%s", text)
        return volume

    def _intensity_warning(self, volume: Volume) -> str | None:
        """Return what is wrong with a scan's intensities; None if nothing is, or if the training's are unknown."""
        trained = self.bundle.intensities
        modality = modality_of(self.bundle.channel, self.settings.data.modality)
        return intensity_warning(percentiles_of(volume.array, modality), trained, modality) if trained else None

    def slices(self, volume: Volume) -> Iterator[SegmentedSlice]:
        """Yield each slice as soon as it is done, in the order of the walk."""
        return segment_slices(self.network, volume, self.settings, self.labels)

    def walk(self, volume: Volume, memory_bytes: int = 2**30, spill: Path | None = None) -> VolumeWalk:
        """Start a walk that keeps its states, so that a slice's boxes can be replaced and the walk goes on from there.

        A model without box prompts can be walked as well, but replaced boxes change nothing.

        Args:
            volume: From `read`.
            memory_bytes: For features that are kept, so that going on from a slice does not encode it again.
            spill: Folder of a temporary file for features beyond that; None: they are made again when needed.
        Raises:
            UsageError: The model does not go from slice to slice.
        """
        if not isinstance(self.network, SliceWalker):
            raise UsageError(
                "this model does not go from slice to slice.",
                where=self.folder or "model",
                cure="Use a model of 3D-SAutoMed, or of another system that goes from slice to slice.",
            )
        return VolumeWalk(self.network, volume, self.settings, self.labels, memory_bytes, spill)

    def segment(self, scan: str | Path | Volume, on_slice: OnSlice | None = None) -> LabelMap:
        """Return the label map of a whole scan.

        Args:
            scan: A file or folder, or a volume from `read`.
            on_slice: Called after each slice with the slices done and their number.
        Raises:
            DataError: The scan cannot be used.
        """
        volume = scan if isinstance(scan, Volume) else self.read(scan)
        return segment_volume(self.network, volume, self.settings, self.labels, on_slice)


def load(
    path: str | Path,
    device: str = "auto",
    weights: str | Path | None = None,
    precision: str = "auto",
    engine: str = "torch",
) -> Model:
    """Load a model from its folder, from a fold of a run, from a run of one fold, or one that comes with the package.

    Args:
        path: A folder, or the name of a model that comes with the package, such as "phantom-ct".
        device: "auto" takes CUDA where there is one; also "cpu" or "cuda".
        weights: Place of the pretrained trunk, if it has moved since the training.
        precision: "32", "bf16", or "auto": bf16 where the device computes in it and the training found the model as
            good in it.
        engine: "torch", "openvino", or "auto": OpenVINO where it is installed and can compute the model on the device.
    Raises:
        ModelError: There is no model, or it cannot be used.
        UsageError: There is no such device, precision or engine here.
    """
    chosen, folder = choose_device(device), model_folder(Path(path))
    bundle, sha256 = _load_unchanged(folder, None if weights is None else str(weights))
    fold_norms(bundle.network)
    return _computed(Model(bundle, chosen, folder, sha256=sha256), engine, precision)


def _load_unchanged(folder: Path, weights: str | None) -> tuple[Bundle, str]:
    """Read a model folder, again if a training replaced it meanwhile, and the hash of the files that were read.

    Raises:
        NotAModel: It was replaced each time.
        ModelError, UsageError: As `load_bundle`.
    """
    for _ in range(LOAD_TRIES):
        before = _files_of(folder)
        try:
            bundle, sha256 = load_bundle(folder, weights), sha256_of(folder / name for name in DECISIVE_FILES)
        except ModelError:  # such as weights of before that do not fit new settings
            if _files_of(folder) == before:
                raise
        else:
            if _files_of(folder) == before:
                return bundle, sha256
        log.info("%s: was replaced while it was read, so it is read again.", folder)
    raise NotAModel(
        "was replaced while it was read, each time.",
        where=folder,
        cure="Wait until the training that writes it has ended, then run it again.",
    )


def _files_of(folder: Path) -> list[tuple[int, int, int] | None]:
    """Return what tells a folder's `DECISIVE_FILES` from those that replace them; None for one that is not there."""
    states = [path.stat() if (path := folder / name).exists() else None for name in DECISIVE_FILES]
    return [None if state is None else (state.st_ino, state.st_mtime_ns, state.st_size) for state in states]


def _computed(model: Model, engine: str, precision: str) -> Model:
    """Return the model with the engine and precision of these names, and log them if they are not the usual ones."""
    check, size = model.bundle.bf16_check, int(model.settings.data.image_size)
    is_checked = engine == "torch" and check is not None and check.passed  # training checks it as PyTorch computes it
    chosen = choose_precision(precision, model.device, is_checked)
    key = None if engine == "torch" else model.sha256
    network, computing = computed_network(model.network, engine, chosen, size, key)
    if computing == FLOAT32:
        log.debug("%s: computed by %s", model.folder, computing)
        return model
    log.info("%s: computed by %s", model.folder, computing)
    return Model(replace(model.bundle, network=network), model.device, model.folder, computing, model.sha256)


def model_folder(path: Path) -> Path:
    """Find the model folder that a path, or the name of a model that comes with the package, means.

    Raises:
        NotAModel: The path holds none, or several.
    """
    path = shipped_or_itself(path)
    if not path.exists():
        raise NotAModel("does not exist.", where=path, cure=cure_of_missing(path, shipped_names()))
    found = [
        p.parent
        for pattern in ("config.json", "model/config.json", "fold_*/model/config.json")
        for p in sorted(path.glob(pattern))
        if (p.parent / "dataset.json").exists()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = listed(place.relative_to(path) for place in found)
        raise NotAModel(f"holds several models: {names}.", where=path, cure=f"Give one of them, such as {found[0]}.")
    raise NotAModel(
        "holds no model.", where=path, cure="Give the folder that `sautomed train` wrote with -o, or a model folder."
    )


def with_walk(model: Model, walk: str) -> Model:
    """Return the same model with another walk (Table 4)."""
    return _with(model, model.device, walk=walk)


def with_chunk(model: Model, chunk: int, device: torch.device | None = None) -> Model:
    """Return the same model with so many slices at a time through the trunk, moved to `device` if given.

    A model in bf16 is in float32 on another device that would only emulate bf16.
    """
    return _with(model, device or model.device, chunk=chunk)


def _with(model: Model, device: torch.device, **changes: str | int) -> Model:
    settings = model.settings.model_copy(update={"segment": model.settings.segment.model_copy(update=changes)})
    computing = model.computing if device == model.device else model.computing.on(device)
    network = model.network if computing == model.computing else without_bf16(model.network)
    return Model(
        replace(model.bundle, network=network, settings=settings), device, model.folder, computing, model.sha256
    )

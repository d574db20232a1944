"""SAM weights of any origin, checked to the last key.

Official files, transformers folders and hub ids all become one `SamWeights`. A checkpoint that lacks a parameter, has
one too many or one of another shape is refused with the list, because a network with some random weights looks
like one that learned badly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from sautomed.errors import WrongWeights
from sautomed.errors.text import listed
from sautomed.model.sam.files import FOLDER_FILES, find_weights, hash_of_numbers, read_tensors
from sautomed.model.sam.keys import POSITION_KEY, TIED_KEY, Layout, SamSizes, infer_sizes, official_name
from sautomed.model.sam.parts import expected_shapes
from sautomed.model.sam.position_tables import resize_position_tables

InputNorm = Literal["sam", "medsam"]

_LISTED = 24  # ours: keys of one kind that a message names
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_SAM_CURE = "Give a complete SAM checkpoint: sam_vit_b_01ec64.pth, medsam_vit_b.pth, or facebook/sam-vit-base."

# Checkpoints of SAM's relatives, by a key that only they have.
_RELATIVES: tuple[tuple[str, str], ...] = (
    ("w_a_000", "SAMed's LoRA weights, which lack SAM's image encoder"),
    ("q_FacTs_000", "MA-SAM's adapters, which lack SAM's image encoder"),
    ("image_encoder.blocks.0.attn.qkv.qkv.weight", "a SAM with LoRA folded into its layers, as Slide-SAM saves it"),
    ("image_encoder.trunk.pos_embed", "SAM 2, which is another network"),
    ("image_encoder.patch_embed.seq.0.c.weight", "MobileSAM, which is another network"),
    ("vision_encoder.backbone.pos_embed", "SAM 2 or 3, which are other networks"),
    ("layers.0.blocks.0.attn.qkv.weight", "a Swin transformer"),
    ("cls_token", "a plain vision transformer"),
)


@dataclass(frozen=True, eq=False)
class SamWeights:
    """A complete set of SAM's parameters.

    Attributes:
        state: Under transformers names (`vision_encoder.`, `prompt_encoder.`, `mask_decoder.`), as the file has them;
            the position encoding once, under the prompt encoder. May be mapped from the file: copy, do not change.
        sizes: What the parameters tell of the network.
        layout: Whose names the file used.
        input_norm: How images are scaled for these weights: "sam" is mean and standard deviation on 0..255,
            "medsam" is [0, 1] as it is.
        source: What was asked for.
    """

    state: dict[str, Tensor] = field(repr=False)
    sizes: SamSizes
    layout: Layout
    input_norm: InputNorm
    source: str

    @cached_property
    def sha256(self) -> str:
        """Hash of the parameters: the same for the same numbers, in any container and under any names."""
        return hash_of_numbers(self.state)

    def at(self, image_size: int) -> dict[str, Tensor]:
        """Return the parameters for images of `image_size` pixels.

        Raises:
            UnknownSetting: SAM cannot take this size.
        """
        return resize_position_tables(self.state, self.sizes, image_size)


def read_sam_weights(source: str | Path, input_norm: Literal["auto", "sam", "medsam"] = "auto") -> SamWeights:
    """Read SAM's or MedSAM's weights.

    Args:
        source: A PyTorch or safetensors file under official or transformers names, a transformers folder, or a hub id.
        input_norm: MedSAM's files have SAM's keys but want other images, so "auto" goes by the name: "medsam" if that
            is part of the file's name or the hub id.
    Raises:
        WeightsNotFound: `source` is neither here nor on a hub that can be reached.
        WrongWeights: It is something else, or its keys are not those of a SAM; every difference is listed.
        DamagedWeights: The file is cut short or broken.
        UnsafeWeights: Reading it would run code.
    """
    path = find_weights(source)
    state = unwrap(read_tensors(path))
    layout: Layout = "transformers" if any(key.startswith("vision_encoder.") for key in state) else "official"
    if layout == "transformers":
        state = _untie(state, source)
    return SamWeights(
        *_checked(state, layout, str(source)),
        layout=layout,
        input_norm=_norm_by_name(str(source), path) if input_norm == "auto" else input_norm,
        source=str(source),
    )


def sam_weights(state: dict[str, Any], layout: Layout, input_norm: InputNorm, source: str) -> SamWeights:
    """Check a state dict that was read from `source` against SAM's; raise WrongWeights with every difference."""
    return SamWeights(*_checked(state, layout, source), layout=layout, input_norm=input_norm, source=source)


def unwrap(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state dict inside a training checkpoint, without the prefix of parallel training."""
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return unwrap(content[wrapper])
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _untie(state: dict[str, Any], source: str | Path) -> dict[str, Any]:
    """Keep the position encoding once. Transformers names it twice, and a file may hold either name or both."""
    state = dict(state)
    tied = state.pop(TIED_KEY, None)
    if tied is None:
        return state
    if isinstance(tied, Tensor) and isinstance(own := state.get(POSITION_KEY), Tensor) and not torch.equal(tied, own):
        raise WrongWeights(
            f"{TIED_KEY} and {POSITION_KEY} must be one tensor, but their values differ.", where=source, cure=_SAM_CURE
        )
    state.setdefault(POSITION_KEY, tied)
    return state


def _checked(state: dict[str, Any], layout: Layout, source: str) -> tuple[dict[str, Tensor], SamSizes]:
    """Return the state under transformers names, every key and shape checked against the network's."""
    rename: Callable[[str], str] = official_name if layout == "transformers" else str
    sizes = infer_sizes({rename(key): value for key, value in state.items() if isinstance(value, Tensor)})
    if sizes is None:
        raise WrongWeights(f"these are not SAM's weights but {_describe_content(state)}.", where=source, cure=_SAM_CURE)
    shapes = expected_shapes(sizes)
    names = {key if layout == "transformers" else official_name(key): key for key in shapes}
    faults = differences(state, {name: shapes[key] for name, key in names.items()})
    if faults:
        relative = next((f" It seems to be {kind}." for key, kind in _RELATIVES if key in state), "")
        raise WrongWeights(
            f"the file does not fit SAM's {sizes.name}.{relative} {' '.join(faults)}", where=source, cure=_SAM_CURE
        )
    return {key: state[name].detach() for name, key in names.items()}, sizes


def differences(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """List the differences of a state from the expected shapes, one sentence per kind; empty if all fits."""
    present = {key: value for key, value in state.items() if key in shapes}
    tensors = {key: value for key, value in present.items() if isinstance(value, Tensor)}
    misshapen = [
        f"{key} is {tuple(value.shape)}, not {shapes[key]}"
        for key, value in tensors.items()
        if tuple(value.shape) != shapes[key]
    ]
    odd = [key for key, value in present.items() if not isinstance(value, Tensor) or not value.is_floating_point()]
    broken = [key for key, value in tensors.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    kinds = (
        ("missing", [key for key in shapes if key not in state]),
        ("unexpected", [key for key in state if key not in shapes]),
        ("misshapen", misshapen),
        ("not floating-point", odd),
        ("not finite", broken),
    )
    return [f"{len(keys)} {kind}: {listed(keys, _LISTED)}." for kind, keys in kinds if keys]


def _describe_content(state: Mapping[str, Any]) -> str:
    for key, kind in _RELATIVES:
        if key in state:
            return kind
    names = [str(key) for key in state]
    if not any(isinstance(value, Tensor) for value in state.values()):
        return f"a dictionary without tensors (its keys: {', '.join(names[:6]) or 'none'})"
    return f"another network's ({len(names)} entries: {', '.join(names[:4])}, ...)"


def _norm_by_name(source: str, path: Path) -> InputNorm:
    """Return the input scaling by name: MedSAM's if the hub id, the file or its folder has "medsam" in it."""
    named = [source] if not Path(source).expanduser().exists() else [path.name]
    if path.name in FOLDER_FILES:
        named.append(path.resolve().parent.name)
    # The hub's cache names a folder after the commit, and the one two above it after the model.
    named += [part for part in path.parts if part.startswith("models--")]
    return "medsam" if any("medsam" in name.lower() for name in named) else "sam"

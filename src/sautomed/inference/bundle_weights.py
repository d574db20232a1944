"""The weights in a model folder: those that were trained."""

from pathlib import Path

import safetensors
from safetensors.torch import load_file, save
from torch import Tensor

from sautomed.errors import WrongWeights
from sautomed.errors.text import listed
from sautomed.model.segmenter import Segmenter
from sautomed.scans.files import atomic_write


def save_weights(network: Segmenter, path: Path) -> None:
    """Write the trained weights atomically."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trained_state(network).items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(state))  # safetensors' own writer hides the error of a full disk


def load_weights(network: Segmenter, path: Path) -> None:
    """Read the trained weights into a network; raises WrongWeights if they cannot be read or do not fit it."""
    try:
        state = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise WrongWeights(
            f"cannot be read as safetensors: {error}.",
            where=path,
            cure="Copy the model folder again; the file is damaged.",
        ) from error
    expected = trained_state(network)
    faults = [f"{name} is missing" for name in sorted(expected.keys() - state.keys())]
    faults += [f"{name} is unexpected" for name in sorted(state.keys() - expected.keys())]
    faults += [
        f"{name} has shape {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name].shape
    ]
    if faults:
        raise WrongWeights(
            f"does not fit its config.json: {listed(faults, most=12)}.",
            where=path,
            cure="Copy the model folder again as a whole.",
        )
    network.load_state_dict(state, strict=False)


def trained_state(network: Segmenter) -> dict[str, Tensor]:
    """Return all weights but the frozen part of a pretrained trunk; shared ones only under their first name."""
    parameters, state = dict(network.named_parameters()), network.state_dict()
    leaves_out_frozen = network.pretrained is not None and network.pretrained.shape is None
    kept = {
        name
        for name, parameter in parameters.items()
        if not (leaves_out_frozen and name.startswith("trunk.") and not parameter.requires_grad)
    }
    kept |= {name for name, _ in network.named_buffers()}
    return {name: tensor for name, tensor in state.items() if name in kept}

"""A network with the engine that computes it."""

from __future__ import annotations

import logging

import torch

from sautomed.errors import NotConvertible, UsageError
from sautomed.inference.engine.bf16 import in_bf16
from sautomed.inference.engine.computing import ENGINES, Computing, Precision
from sautomed.inference.engine.graph import GraphMaker, cache_folder, not_convertible
from sautomed.inference.engine.openvino import is_installed
from sautomed.inference.engine.walker import OpenVinoWalker
from sautomed.model.sautomed import SAutoMed
from sautomed.model.segmenter import Segmenter
from sautomed.model.slice_walker import SliceWalker

log = logging.getLogger(__name__)


def computed_network(
    network: Segmenter, engine: str, precision: Precision, size: int, key: str | None
) -> tuple[Segmenter, Computing]:
    """Return a network as an engine computes it, and what that is.

    Args:
        network: On its device, in evaluation mode.
        engine: "torch", "openvino", or "auto": OpenVINO if it is installed and can compute the network, else PyTorch.
        size: Of the network's images, in pixels per side.
        key: Hash of the network's settings and weights, under which graphs are kept; None: they are not.
    Raises:
        UsageError: There is no such engine, or it does not compute on the network's device.
        PackageMissing: OpenVINO is asked for and not installed.
        NotConvertible: OpenVINO is asked for and cannot compute the network.
    """
    if engine not in ENGINES:
        raise UsageError(
            f"there is no engine '{engine}'.", where="--engine", cure="Use one of torch, openvino and auto."
        )
    in_torch = in_bf16(network) if precision == "bf16" else network
    device = next(network.parameters()).device
    if engine == "openvino":
        return _in_openvino(network, in_torch, precision, size, key, device), Computing("openvino", precision)
    if engine == "auto" and device.type == "cpu" and is_installed():
        try:
            return _in_openvino(network, in_torch, precision, size, key, device), Computing("openvino", precision)
        except NotConvertible as error:
            log.info("%s PyTorch computes it.", error.fault)
    return in_torch, Computing("torch", precision)


def _in_openvino(
    network: Segmenter, in_torch: Segmenter, precision: Precision, size: int, key: str | None, device: torch.device
) -> Segmenter:
    if device.type != "cpu":
        raise UsageError(
            f"OpenVINO computes on processors, but this model is on {device.type}.",
            where="--engine openvino",
            cure="Add --device cpu, or use --engine torch.",
        )
    if not isinstance(network, SAutoMed) or not isinstance(in_torch, SliceWalker):
        raise not_convertible("only 3D-SAutoMed is converted, and this is another system")
    return OpenVinoWalker(network, in_torch, GraphMaker(precision, key, size, cache_folder()))

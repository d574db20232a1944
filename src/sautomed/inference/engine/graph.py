"""A verb of a network as a compiled graph of OpenVINO, kept in a cache folder.

Making a graph takes seconds, reading a kept one a fraction of that. The file holds the weights too, so it is as large
as that part of the network.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sautomed import model as model_room
from sautomed.config.version import __version__
from sautomed.errors import NotConvertible, UnwritableTarget
from sautomed.inference.engine.computing import Precision
from sautomed.inference.engine.openvino import import_openvino
from sautomed.scans.files import atomic_write
from sautomed.scans.paths import sha256_of

log = logging.getLogger(__name__)

Named = Mapping[str, Tensor]
MakeVerb = Callable[[], tuple[nn.Module, dict[str, Tensor]]]

# What exporting and converting raise for code that they cannot follow; these errors have no type in common.
CONVERSION_FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
HINTS: Mapping[Precision, str] = {"32": "f32", "bf16": "bf16"}


class Graph:
    """A compiled graph: named tensors in, named tensors out, all of fixed sizes.

    Beside the names that were given, OpenVINO may give a port others, which no tensor has and nobody asks for.
    """

    def __init__(self, compiled: Any):
        self._request = compiled.create_infer_request()
        self._inputs, self._outputs = ([port.names for port in side] for side in (compiled.inputs, compiled.outputs))
        self.sizes = {name: tuple(port.shape) for port in compiled.inputs for name in port.names}

    def __call__(self, tensors: Named) -> dict[str, Tensor]:
        given = [next(tensors[name] for name in names if name in tensors) for names in self._inputs]
        found = self._request.infer([x.contiguous().numpy() for x in given], share_inputs=True).values()
        return {name: torch.from_numpy(x) for names, x in zip(self._outputs, found, strict=True) for name in names}


@dataclass(frozen=True)
class GraphMaker:
    """Makes graphs, or reads those that were made earlier.

    Attributes:
        model: Hash of the network's settings and weights; None: graphs are not kept.
        size: Of the network's images, in pixels per side.
        folder: Of the kept graphs of all models.
    """

    precision: Precision
    model: str | None
    size: int
    folder: Path
    core: Any = field(default_factory=lambda: import_openvino().Core())

    def graph(self, name: str, make: MakeVerb) -> Graph:
        """Return the graph of a verb.

        Args:
            make: Returns the verb, which maps named tensors to named tensors, and tensors of the sizes that it is for;
                called if no graph is kept.
        Raises:
            NotConvertible: It cannot be exported, or not be computed in this precision.
        """
        place = self._place(name)
        compiled = None if place is None else self._kept(place)
        if compiled is None:
            log.info("OpenVINO: making the graph of %s in %s", name, HINTS[self.precision])
            verb, example = make()
            compiled = self._compiled(name, verb, example)
            if place is not None:
                _keep(place, compiled)
        self._require_precision(name, compiled)
        return Graph(compiled)

    def _place(self, name: str) -> Path | None:
        """Return the file of a graph: another one for whatever would make another graph."""
        if self.model is None:
            return None
        versions = [version(name) for name in ("torch", "transformers", "openvino")]
        made_by = (__version__, _code_of_networks(), *versions, self._processor())
        key = sha256(repr((self.model, self.size, self.precision, made_by)).encode()).hexdigest()
        return self.folder / self.model[:16] / f"{name}-{self.size}-{HINTS[self.precision]}-{key[:16]}.blob"

    def _processor(self) -> str:
        name, able = (self.core.get_property("CPU", key) for key in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"))
        return f"{name} {sorted(able)}"

    def _kept(self, place: Path) -> Any:
        """Return a kept graph; None if there is none that can be read."""
        if not place.is_file():
            return None
        try:
            return self.core.import_model(io.BytesIO(place.read_bytes()), "CPU", self._settings())
        except RuntimeError as error:
            log.warning("%s: the kept graph cannot be read and is made again (%s)", place, error)
            return None

    def _compiled(self, name: str, verb: nn.Module, example: dict[str, Tensor]) -> Any:
        try:
            model, names = _converted(verb, example)
            compiled = self.core.compile_model(model, "CPU", self._settings())
        except CONVERSION_FAULTS as error:
            raise not_convertible(f"its {name} cannot be exported: {str(error).strip().splitlines()[0]}") from error
        lost = names - {found for port in (*compiled.inputs, *compiled.outputs) for found in port.names}
        if lost:
            raise not_convertible(f"in its {name}, {', '.join(sorted(lost))} has no part")
        return compiled

    def _settings(self) -> dict[str, object]:
        """Return OpenVINO's settings; without the hint it chooses a precision itself."""
        return {
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # two processes would sit on the same cores
        }

    def _require_precision(self, name: str, compiled: Any) -> None:
        found = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if found != HINTS[self.precision]:
            raise not_convertible(f"its {name} would be computed in {found} instead of {HINTS[self.precision]}")


@cache
def _code_of_networks() -> str:
    """Return a hash of the code that graphs are made from: it changes between releases, too."""
    return sha256_of(sorted([*Path(model_room.__file__).parent.rglob("*.py"), *Path(__file__).parent.glob("*.py")]))


def cache_folder() -> Path:
    """Return the folder of kept graphs, below the user's folder for caches."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "sautomed" / "openvino"


def not_convertible(fault: str) -> NotConvertible:
    """Return the error for a network that OpenVINO cannot compute."""
    return NotConvertible(
        f"OpenVINO cannot compute this model: {fault}.", where="--engine openvino", cure="Use --engine torch."
    )


def _converted(verb: nn.Module, example: dict[str, Tensor]) -> tuple[Any, set[str]]:
    """Return a verb as OpenVINO's model, with the sizes of an example's tensors, and the names of its ports."""
    openvino = import_openvino()
    example = {name: x.clone() for name, x in example.items()}  # one tensor by two names would be one input
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between the two libraries
        outputs = list(verb(example))
        model = openvino.convert_model(torch.export.export(verb, (example,), strict=False))
    model.reshape({port: tuple(x.shape) for port, x in zip(model.inputs, example.values(), strict=True)})
    for ports, names in ((model.inputs, example), (model.outputs, outputs)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    return model, {*example, *outputs}


def _keep(place: Path, compiled: Any) -> None:
    """Keep a graph; a full disk costs no more than the time to make it again."""
    whole = io.BytesIO()
    compiled.export_model(whole)
    try:
        with atomic_write(place) as temporary:
            temporary.write_bytes(whole.getbuffer())
    except UnwritableTarget as error:
        log.warning("%s: the graph is not kept: %s", place, error.fault)

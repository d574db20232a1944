"""How a network is computed: by which engine and in which precision.

computing.py   the choice, and what this machine can
bf16.py        PyTorch in bf16
bf16_check.py  whether a model is as good in it
wrapped.py     a network behind another way to compute it
openvino.py    OpenVINO's package, without its telemetry
graph.py       a part of a network as a compiled graph, kept in a cache folder
verbs.py       encode, share and step as functions of plain tensors
walker.py      3D-SAutoMed with these graphs in place of its verbs
compute.py     a network with an engine

Whatever it is, it is a `Segmenter`, and the walk drives it as it drives the network itself.
"""

from typing import TYPE_CHECKING

from sautomed.lazy import lazy_names

if TYPE_CHECKING:
    from sautomed.inference.engine.bf16 import without_bf16
    from sautomed.inference.engine.compute import computed_network
    from sautomed.inference.engine.computing import FLOAT32, Computing, choose_precision, computes_bf16

__all__ = ["FLOAT32", "Computing", "choose_precision", "computed_network", "computes_bf16", "without_bf16"]
# Torch comes with the first use of the network, as `Computing` alone needs none.
__getattr__ = lazy_names(
    __name__,
    {
        "FLOAT32": "computing",
        "Computing": "computing",
        "choose_precision": "computing",
        "computed_network": "compute",
        "computes_bf16": "computing",
        "without_bf16": "bf16",
    },
)

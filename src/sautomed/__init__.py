"""3D-SAutoMed: automatic multi-organ segmentation of 3D CT and MR volumes with the Segment Anything Model.

    import sautomed
    model = sautomed.load("run/fold_0/model")
    labels = model.segment("scan.nii.gz")
    labels.save("organs.nii.gz")

Liang et al., MICCAI 2024.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sautomed.config.version import __version__
    from sautomed.editing.open_session import edit
    from sautomed.editing.session import Session
    from sautomed.inference.model import Model, load

__all__ = ["Model", "Session", "__version__", "edit", "load"]
_HOMES = {
    "Model": "sautomed.inference.model",
    "Session": "sautomed.editing.session",
    "edit": "sautomed.editing.open_session",
    "load": "sautomed.inference.model",
    "__version__": "sautomed.config.version",
}


def __getattr__(name: str) -> Any:
    """Import torch with the first use, so that `import sautomed` and the command line's help stay quick."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'sautomed' has no attribute '{name}'")

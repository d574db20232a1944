"""3D-SAutoMed: automatic multi-organ segmentation of 3D CT and MR volumes with the Segment Anything Model.

    import sautomed
    model = sautomed.load("run/fold_0/model")
    labels = model.segment("scan.nii.gz")
    labels.save("organs.nii.gz")

Liang et al., MICCAI 2024.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sautomed.segment import Model, load

__all__ = ["Model", "load"]

try:
    __version__ = version("sautomed")
except PackageNotFoundError:  # used from a checkout that was not installed
    __version__ = "0"


def __getattr__(name: str) -> Any:
    """Torch is imported with the first use, so that `import sautomed` and the command line's help stay quick."""
    if name in __all__:
        from sautomed import segment

        return getattr(segment, name)
    raise AttributeError(f"module 'sautomed' has no attribute '{name}'")

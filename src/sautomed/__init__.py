"""3D-SAutoMed: automatic multi-organ segmentation of 3D CT and MR volumes with the Segment Anything Model.

    import sautomed
    model = sautomed.load("run/fold_0/model")
    labels = model.segment("scan.nii.gz")
    labels.save("organs.nii.gz")

Liang et al., MICCAI 2024.
"""

from typing import TYPE_CHECKING

from sautomed.lazy import lazy_names

if TYPE_CHECKING:
    from sautomed.config.version import __version__
    from sautomed.editing.open_session import edit
    from sautomed.editing.session import Session
    from sautomed.inference.model import Model, load

__all__ = ["Model", "Session", "__version__", "edit", "load"]
# Torch comes with the first use, so that `import sautomed` and the command line's help stay quick.
__getattr__ = lazy_names(
    __name__,
    {
        "Model": "inference.model",
        "Session": "editing.session",
        "edit": "editing.open_session",
        "load": "inference.model",
        "__version__": "config.version",
    },
)

"""The table MODELS: every system that can be trained and run, by name.

A system is one Segmenter, one class of settings (`sautomed.config.baselines`) and one line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import cast

from sautomed.config import SystemSettings
from sautomed.errors import UnknownSetting
from sautomed.model.sam.pretrained import PretrainedTrunk
from sautomed.model.segmenter import Segmenter


@dataclass(frozen=True)
class System:
    """The title and the source of a system, and the module that builds it.

    Attributes:
        title: As in tables.
        source: Its publication.
        module: Its place in the package, imported when the system is built. It has a function `build(settings, classes,
            image_size)`; one that trains all of a pretrained trunk also has `build_empty(settings, classes, image_size,
            origin)`.
    """

    title: str
    source: str
    module: str

    def build(self, settings: SystemSettings, classes: int, image_size: int) -> Segmenter:
        """Build the network as `build_segmenter` does."""
        make = cast(Callable[[SystemSettings, int, int], Segmenter], import_module(self.module, "sautomed").build)
        return make(settings, classes, image_size)

    def build_empty(
        self, settings: SystemSettings, classes: int, image_size: int, origin: PretrainedTrunk
    ) -> Segmenter:
        """Build the network as `build_empty_segmenter` does."""
        make = getattr(import_module(self.module, "sautomed"), "build_empty", None)
        if make is None:
            raise UnknownSetting(
                f"{self.title} has no pretrained trunk that is trained as a whole.",
                where="pretrained_trunk.shape",
                cure="Leave it out.",
            )
        return cast(Segmenter, make(settings, classes, image_size, origin))


MODELS: Mapping[str, System] = MappingProxyType(
    {
        "sautomed": System("3D-SAutoMed", "Liang et al., MICCAI 2024", ".model.build"),
        "sam": System("SAM", "Kirillov et al., ICCV 2023", ".baselines.sam"),
        "samed": System("SAMed", "Zhang and Liu, arXiv 2304.13785", ".baselines.samed"),
        "ma_sam": System("MA-SAM", "Chen et al., Medical Image Analysis 2024", ".baselines.ma_sam"),
        "slide_sam": System("Slide-SAM", "Quan et al., arXiv 2311.10121", ".baselines.slide_sam"),
        "transunet": System("TransUNet", "Chen et al., arXiv 2102.04306", ".baselines.transunet"),
        "swin_unet": System("Swin-Unet", "Cao et al., ECCV Workshops 2022", ".baselines.swin_unet"),
        "dynunet": System("DynUNet", "Isensee et al., Nature Methods 2021; MONAI", ".baselines.dynunet"),
        "swinunetr": System("SwinUNETR", "Hatamizadeh et al., BrainLes 2022; MONAI", ".baselines.swinunetr"),
    }
)


def build_segmenter(settings: SystemSettings, classes: int, image_size: int) -> Segmenter:
    """Build the network that the settings name. Pretrained weights are read here, from disk or hub.

    Args:
        classes: Number of organs, without the background.
        image_size: Side of the network's square images in pixels.
    Raises:
        ModelError: Pretrained weights cannot be found or do not fit.
        UnknownSetting: Sizes that do not go together.
    """
    return MODELS[settings.name].build(settings, classes, image_size)


def build_empty_segmenter(
    settings: SystemSettings, classes: int, image_size: int, origin: PretrainedTrunk
) -> Segmenter:
    """Build the network without reading pretrained weights, for a model folder that holds all parameters.

    Args:
        origin: With a shape.
    Returns:
        The network with uninitialised parameters.
    Raises:
        UnknownSetting: The system never trains a pretrained trunk as a whole, so no folder holds all parameters.
    """
    return MODELS[settings.name].build_empty(settings, classes, image_size, origin)

"""The table MODELS: every system under one name, with what builds it from its settings.

A system is one Segmenter, one class of settings, one preset and one line here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import cast

from sautomed.config import AnyModelSettings
from sautomed.errors import UnknownSetting
from sautomed.model.segmenter import PretrainedTrunk, Segmenter


@dataclass(frozen=True)
class System:
    """What a system is called, and where it is built.

    Attributes:
        title: As tables print it.
        source: Who published it.
        module: Its function `build(settings, classes, image_size)` makes the network; imported when it is called. One
            that trains a pretrained trunk as a whole also has `build_empty`.
        preset: Its documented recipe.
    """

    title: str
    source: str
    module: str
    preset: str

    def build(self, settings: AnyModelSettings, classes: int, image_size: int) -> Segmenter:
        make = cast(Callable[[AnyModelSettings, int, int], Segmenter], import_module(self.module).build)
        return make(settings, classes, image_size)

    def build_empty(
        self, settings: AnyModelSettings, classes: int, image_size: int, origin: PretrainedTrunk
    ) -> Segmenter:
        make = getattr(import_module(self.module), "build_empty", None)
        if make is None:
            raise UnknownSetting(
                f"{self.title} is never trained as a whole.",
                where="pretrained_trunk.shape",
                cure="Leave it out.",
            )
        return cast(Segmenter, make(settings, classes, image_size, origin))


_HERE = "sautomed.baselines"
MODELS: Mapping[str, System] = MappingProxyType(
    {
        "sautomed": System("3D-SAutoMed", "Liang et al., MICCAI 2024", "sautomed.model.build", "sam-vit-b"),
        "sam": System("SAM", "Kirillov et al., ICCV 2023", f"{_HERE}.sam", "sam"),
        "samed": System("SAMed", "Zhang and Liu, arXiv 2304.13785", f"{_HERE}.samed", "samed"),
        "ma_sam": System("MA-SAM", "Chen et al., Medical Image Analysis 2024", f"{_HERE}.ma_sam", "ma-sam"),
        "slide_sam": System("Slide-SAM", "Quan et al., arXiv 2311.10121", f"{_HERE}.slide_sam", "slide-sam"),
        "transunet": System("TransUNet", "Chen et al., arXiv 2102.04306", f"{_HERE}.transunet", "transunet"),
        "swin_unet": System("Swin-Unet", "Cao et al., ECCV Workshops 2022", f"{_HERE}.swin_unet", "swin-unet"),
        "dynunet": System("DynUNet", "Isensee et al., Nature Methods 2021; MONAI", f"{_HERE}.dynunet", "dynunet"),
        "swinunetr": System("SwinUNETR", "Hatamizadeh et al., BrainLes 2022; MONAI", f"{_HERE}.swinunetr", "swinunetr"),
    }
)


def build_segmenter(settings: AnyModelSettings, classes: int, image_size: int) -> Segmenter:
    """The network that the settings name, for `classes` organs. Pretrained weights are read here, from disk or hub.

    Raises:
        ModelError: Pretrained weights cannot be found or do not fit.
        UnknownSetting: Sizes that do not go together.
    """
    return MODELS[settings.name].build(settings, classes, image_size)


def build_empty_segmenter(
    settings: AnyModelSettings, classes: int, image_size: int, origin: PretrainedTrunk
) -> Segmenter:
    """The same without looking for the pretrained trunk, for model folders that hold all of what became of it.

    Args:
        origin: With a shape.
    Returns:
        Most of its numbers are what happened to lie in memory.
    Raises:
        UnknownSetting: A system that leaves some of a pretrained trunk as it came.
    """
    return MODELS[settings.name].build_empty(settings, classes, image_size, origin)

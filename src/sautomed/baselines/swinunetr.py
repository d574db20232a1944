"""SwinUNETR (Hatamizadeh et al. 2022) as MONAI has it, over windows of whole slices."""

from jaxtyping import Float
from monai.networks.nets import SwinUNETR
from torch import Tensor

from sautomed.baselines.dynunet import standardise
from sautomed.config.baselines import SwinUNETRSettings
from sautomed.errors import UnknownSetting
from sautomed.model.stack_segmenter import StackSegmenter

HALVINGS = 5  # of every axis, slices included


class SwinUNETR3D(StackSegmenter):
    """SwinUNETR over windows of consecutive slices.

    Raises:
        UnknownSetting: `image_size` is not a multiple of 32.
    """

    def __init__(self, settings: SwinUNETRSettings, classes: int, image_size: int):
        super().__init__(classes, settings.slices, settings.slices // 2)
        if image_size % 2**HALVINGS:
            raise UnknownSetting(
                f"SwinUNETR halves every axis {HALVINGS} times, so slices of {image_size} pixels do not fit.",
                where="data.image_size",
                cure=f"Use a multiple of {2**HALVINGS}.",
            )
        self.net = SwinUNETR(in_channels=1, out_channels=classes + 1, feature_size=settings.features, spatial_dims=3)

    def forward(self, images: Float[Tensor, "b n 3 h w"]) -> Float[Tensor, "b n k1 h w"]:
        """Return logits at the images' resolution."""
        return self.net(standardise(images)).transpose(1, 2)


def build(settings: SwinUNETRSettings, classes: int, image_size: int) -> SwinUNETR3D:
    """Build SwinUNETR for windows of `settings.slices` slices of `image_size` pixels.

    Raises:
        UnknownSetting: `image_size` is not a multiple of 32.
    """
    return SwinUNETR3D(settings, classes, image_size)

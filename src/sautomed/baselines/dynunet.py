"""nnU-Net's plain 3D U-Net (Isensee et al. 2021) as MONAI's DynUNet, over windows of whole slices.

The topology follows nnU-Net's rules: the first stages do not convolve across thick slices, every axis is halved while
at least four places remain, filters double up to 320, and coarser outputs have a loss of their own.
"""

from jaxtyping import Float
from monai.networks.nets import DynUNet
from torch import Tensor

from sautomed.config.baselines import DynUNetSettings
from sautomed.errors import UnknownSetting
from sautomed.model.stack_segmenter import StackSegmenter

SMALLEST = 4  # places of an axis on the coarsest map (nnU-Net's plan)
MOST_FILTERS = 320
MOST_HALVINGS = 5
SUPERVISED = 2  # coarser outputs with a loss of their own


class PlainUNet3D(StackSegmenter):
    """DynUNet over windows of consecutive slices.

    Args:
        image_size: Side of the slices, a multiple of 16.
    """

    def __init__(self, settings: DynUNetSettings, classes: int, image_size: int):
        super().__init__(classes, settings.slices, settings.slices // 2)
        strides = window_strides(settings.slices, image_size, settings.flat_stages)
        kernels = [(1, 3, 3) if i < settings.flat_stages else (3, 3, 3) for i in range(len(strides))]
        self.net = DynUNet(
            spatial_dims=3,
            in_channels=1,
            out_channels=classes + 1,
            kernel_size=kernels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=[min(settings.filters * 2**i, MOST_FILTERS) for i in range(len(strides))],
            norm_name=("INSTANCE", {"affine": True}),
            deep_supervision=True,
            deep_supr_num=min(SUPERVISED, len(strides) - 2),
        )

    def forward(self, images: Float[Tensor, "b n 3 h w"]) -> Float[Tensor, "b n k1 h w"]:
        """Return logits at the images' resolution."""
        return self.in_training(images)[0]

    def in_training(self, images: Float[Tensor, "b n 3 h w"]) -> list[Float[Tensor, "b n k1 h w"]]:
        """Return the finest output, and in training mode also the coarser ones, which MONAI resizes to full size."""
        out = self.net(standardise(images))
        outputs = out.unbind(1) if self.training else (out,)
        return [logits.transpose(1, 2) for logits in outputs]


def standardise(images: Float[Tensor, "b n 3 h w"]) -> Float[Tensor, "b 1 n h w"]:
    """Take the middle channel, which is the slice itself, and scale it to a mean near 0 and a deviation near 1."""
    return (images[:, None, :, 1] - 0.25) * 4


def window_strides(slices: int, side: int, flat_stages: int) -> list[tuple[int, int, int]]:
    """Return the stride of each stage over slices, rows and columns; those of the first are 1.

    Args:
        flat_stages: First stages without a stride over slices.
    Raises:
        UnknownSetting: The side cannot be halved twice.
    """
    within = _halvings(side, MOST_HALVINGS)
    across = _halvings(slices, max(within - flat_stages, 0))
    if within < 2:
        raise UnknownSetting(
            f"slices of {side} pixels cannot be halved twice.", where="data.image_size", cure="Use a multiple of 16."
        )
    steps = [2 if flat_stages <= i < flat_stages + across else 1 for i in range(within)]
    return [(1, 1, 1), *((step, 2, 2) for step in steps)]


def _halvings(size: int, most: int) -> int:
    """Return how often an axis can be halved without falling below the smallest size."""
    count = 0
    while count < most and size % 2 == 0 and size // 2 >= SMALLEST:
        size, count = size // 2, count + 1
    return count


def build(settings: DynUNetSettings, classes: int, image_size: int) -> PlainUNet3D:
    """Build DynUNet for windows of `settings.slices` slices of `image_size` pixels.

    Raises:
        UnknownSetting: The images are too small.
    """
    return PlainUNet3D(settings, classes, image_size)

"""Settings of the network's input."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sautomed.config.section import Section

ImageSide = Annotated[int, Field(ge=128, le=1024, multiple_of=16)]
Percentile = Annotated[float, Field(ge=0, le=100)]


class DataSettings(Section):
    """How a scan becomes the network's images."""

    image_size: ImageSide | Literal["auto"] = Field(
        512, description="side in pixels, a multiple of 16; auto: the native side, within auto_size"
    )
    auto_size: tuple[ImageSide, ImageSide] = Field(
        (128, 256), description="smallest and largest side that auto chooses"
    )
    plane: Literal["auto", "axial", "coronal", "sagittal"] = Field(
        "auto", description="of the slices; auto: across the coarsest axis, axial where no axis is coarse"
    )
    modality: Literal["auto", "ct", "other"] = Field("auto", description="auto: by the channel's name")
    window_hu: tuple[float, float] = Field((-125.0, 275.0), description="HU that become 0 and 1 in CT")
    percentiles: tuple[Percentile, Percentile] = Field(
        (0.5, 99.5), description="percentiles of the non-zero voxels that become 0 and 1 in other modalities"
    )
    channels: Literal["repeat", "neighbours"] = Field(
        "repeat", description="the trunk's three channels: one slice three times, or the slice between its neighbours"
    )

    @field_validator("auto_size")
    @classmethod
    def _require_smallest_first(cls, sizes: tuple[int, int]) -> tuple[int, int]:
        if sizes[0] > sizes[1]:
            raise ValueError(f"{list(sizes)}: the first, the smallest side, must not be above the second")
        return sizes

    @field_validator("window_hu", "percentiles")
    @classmethod
    def _require_rising(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] >= bounds[1]:
            raise ValueError(f"{list(bounds)}: the first, which becomes 0, must be below the second, which becomes 1")
        return bounds

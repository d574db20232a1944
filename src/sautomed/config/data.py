"""Settings of what a network sees."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from sautomed.config.section import Section


class DataSettings(Section):
    image_size: int | Literal["auto"] = Field(
        512, description="side in pixels, a multiple of 16 from 128 to 1024; auto: the native side, within auto_size"
    )
    auto_size: tuple[int, int] = Field((128, 256), description="smallest and largest side that auto chooses")
    plane: Literal["auto", "axial", "coronal", "sagittal"] = Field(
        "auto", description="of the slices; auto: across the coarsest axis, axial where no axis is coarse"
    )
    modality: Literal["auto", "ct", "other"] = Field("auto", description="auto: by the channel's name")
    window_hu: tuple[float, float] = Field((-125.0, 275.0), description="what becomes 0 and 1 in CT")
    percentiles: tuple[float, float] = Field(
        (0.5, 99.5), description="of the non-zero voxels: what becomes 0 and 1 elsewhere"
    )
    channels: Literal["repeat", "neighbours"] = Field(
        "repeat", description="the trunk's three channels: one slice three times, or the slice between its neighbours"
    )

    @field_validator("image_size", "auto_size")
    @classmethod
    def _multiples_of_16(cls, sizes: int | str | tuple[int, int]) -> int | str | tuple[int, int]:
        for size in sizes if isinstance(sizes, tuple) else (sizes,):
            if isinstance(size, int) and (size % 16 or not 128 <= size <= 1024):
                raise ValueError(f"{size} is not a multiple of 16 from 128 to 1024")
        return sizes

    @field_validator("auto_size")
    @classmethod
    def _smallest_first(cls, sizes: tuple[int, int]) -> tuple[int, int]:
        if sizes[0] > sizes[1]:
            raise ValueError(f"{list(sizes)}: the first, the smallest side, must not be above the second")
        return sizes

    @field_validator("window_hu", "percentiles")
    @classmethod
    def _rising(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] >= bounds[1]:
            raise ValueError(f"{list(bounds)}: the first, which becomes 0, must be below the second, which becomes 1")
        return bounds

    @field_validator("percentiles")
    @classmethod
    def _from_0_to_100(cls, percentiles: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= percentile <= 100 for percentile in percentiles):
            raise ValueError(f"{list(percentiles)}: percentiles lie between 0 and 100")
        return percentiles

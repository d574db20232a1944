"""What every group of settings is: checked once, then never changed."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings that refuses names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

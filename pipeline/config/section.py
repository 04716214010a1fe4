"""What all sections of a config share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Unknown keys are refused, values do not change, numbers are finite."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )


def renamed(value, old: str, new: str):
    """A section's value, before it is checked, if it has no key of earlier versions.

    Args:
        value: As it stands in the config.
        old: The key that is gone.
        new: What is said in its place now.
    """
    if isinstance(value, dict) and old in value:
        raise ValueError(f"{old} is gone: say {new} in its place")
    return value


def without(value, reasons: dict[str, str]):
    """A section's value, before it is checked, if it has no key of ranking models alone.

    Args:
        value: As it stands in the config.
        reasons: Such a key, and why next-item models have none.
    """
    for key, why in reasons.items():
        if isinstance(value, dict) and value.get(key) is not None:
            raise ValueError(f"{key}: next-item models {why}; remove it")
    return value

"""Interpolations that the packaged configuration uses."""

from omegaconf import OmegaConf


def register() -> None:
    """Register the interpolations with OmegaConf."""
    OmegaConf.register_new_resolver("first_found", first_found, replace=True)


def first_found(*names: str) -> str:
    """Return the first of these data sets whose files are on this machine; the last one if there is none."""
    from distopt import datasets

    found = datasets.found()
    return next((name for name in names if found.get(name)), names[-1])

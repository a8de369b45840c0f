"""Configuration: composing it, checking it, and telling whether two of them make the same run."""

from distopt.config.identity import fingerprint
from distopt.config.overrides import GROUPS, check_overrides, choices, compose, descriptions
from distopt.config.validation import validate

__all__ = ["GROUPS", "check_overrides", "choices", "compose", "descriptions", "fingerprint", "validate"]

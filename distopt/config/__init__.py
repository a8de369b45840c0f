"""Configuration: composing it, checking it, and comparing two of them."""

from distopt.config.combinations import Combination, combine, expand
from distopt.config.identity import contents, fingerprint, located, workload
from distopt.config.overrides import GROUPS, check_overrides, choices, compose, descriptions, words
from distopt.config.recorded import recorded, resuming
from distopt.config.resolvers import register
from distopt.config.validation import from_plain, validate

__all__ = [
    "GROUPS",
    "Combination",
    "check_overrides",
    "choices",
    "combine",
    "compose",
    "contents",
    "descriptions",
    "expand",
    "fingerprint",
    "from_plain",
    "located",
    "recorded",
    "resuming",
    "validate",
    "words",
    "workload",
]

register()

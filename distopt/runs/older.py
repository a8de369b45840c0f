"""Settings that runs of earlier versions lack, with the values those runs acted on."""

from collections.abc import Mapping
from typing import Any

TOP: dict[str, Any] = {
    "on_bad_commit": "stop",
    "compression": {"name": "none"},
    "schedule": {"name": "constant"},
    "label_smoothing": 0.0,
    "steps": None,
    "tokens": None,
    "teacher": None,
    "distillation": {"temperature": 4, "share": 0.5},
}
TABLE = {"kind": "classes", "resident": "auto"}
IMAGES = {"resident": "auto", "whiten": None}
MODEL = {"activation": "relu", "norm": "none", "dropout_input": 0.0}
OF: dict[tuple[str, str | None], dict[str, Any]] = {  # by group, and by name in it; None: any
    ("local", None): {"weight_decay": 0.0, "clip_norm": None, "max_norm": None, "decayed": None},
    ("model", "mlp"): MODEL,
    **{("model", name): {"l2": 0.0} for name in ("logistic", "linear")},
    ("dataset", "csv"): {**TABLE, "keep_default_na": True, "sep": ",", "decimal": "."},
    ("dataset", "parquet"): {**TABLE, "context": 64},
    ("dataset", "npz"): {**TABLE, "whiten": None},
    ("dataset", "digits"): {**IMAGES, "validation_fraction": 0.2},
    **{("dataset", name): IMAGES for name in ("mnist", "fashion_mnist", "cifar10")},
}


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded configuration with the settings that it lacks."""
    found = TOP | dict(config)
    for (group, name), values in OF.items():
        settings = config.get(group)
        if isinstance(settings, Mapping) and name in (None, settings.get("name")):
            found[group] = values | dict(found[group])
    return found

"""How figures look: one colour per optimizer everywhere, safe for colour-blind readers, readable at paper size."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from distopt.report.comparison.grouping import Configuration, caption

Color = tuple[float, float, float]

COLUMN, PAGE = 3.4, 7.0  # widths of one and of two text columns, inches

STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "savefig.dpi": 250,
    "svg.hashsalt": "distopt",  # the same figure gives the same file
}

# The classical optimizers have Okabe and Ito's palette without yellow (hard to see on white) and sky blue (too close to
# adag); then come Paul Tol's "muted" scheme and the colours farthest from all these in CIELAB. Similar colours differ
# in their markers.
_FIXED = {
    "sequential": ("#000000", "x"),
    "synchronous": ("#777777", "s"),
    "averaging": ("#999933", "D"),
    "easgd": ("#882255", "^"),
    "downpour": ("#E69F00", "v"),
    "dynsgd": ("#CC79A7", "P"),
    "aeasgd": ("#009E73", "^"),
    "agn": ("#D55E00", "o"),
    "adag": ("#0072B2", "s"),
    "eamsgd": ("#117733", "<"),
    "softsync": ("#44AA99", "D"),
    "delay_adaptive": ("#00B300", "v"),
    "dcasgd": ("#6A2A00", "P"),
    "gap_aware": ("#FF0055", "o"),
    "dana": ("#9555FF", ">"),
    "ringmaster": ("#0000FF", "p"),
    "rennala": ("#CC6677", "p"),
    "fedopt": ("#332288", "D"),
    "fedasync": ("#88CCEE", "X"),
    "fedbuff": ("#4080FF", "X"),
    "slowmo": ("#DDCC77", "<"),
    "diloco": ("#AA4499", "^"),
    "async_diloco": ("#FF00AA", ">"),
    "ensemble": ("#FF00FF", "o"),
    "backup": ("#FF0000", "s"),
    "zealous": ("#AACC00", "v"),
    "hogwild": ("#FF77FF", "P"),
    "sandblaster": ("#444400", "h"),
    "omnivore": ("#BBAAFF", "D"),
    "post_local": ("#114433", "X"),
    "ssp": ("#FFAA88", "<"),
    "gem": ("#AA0011", "p"),
}
_COLORS = ("#332288", "#44AA99", "#AA4499", "#117733", "#CC6677", "#88CCEE", "#DDCC77")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")


def color(optimizer: str, variant: int = 0, variants: int = 1) -> Color:
    """Return the colour of an optimizer as red, green and blue in [0, 1].

    Other names get a colour by a hash of the name, so that it does not depend on what else is drawn. Several settings
    of one optimizer (`variant` of `variants`) keep the hue and get lighter.
    """
    name = _FIXED[optimizer][0] if optimizer in _FIXED else _COLORS[crc32(optimizer.encode()) % len(_COLORS)]
    white = 0.6 * variant / max(1, variants - 1)
    red, green, blue = (value + (1 - value) * white for value in to_rgb(name))
    return red, green, blue


def marker(optimizer: str, variant: int = 0) -> str:
    """Return the marker of an optimizer; its variants have different markers."""
    first = _FIXED[optimizer][1] if optimizer in _FIXED else _MARKERS[crc32(optimizer.encode()) // 8 % len(_MARKERS)]
    order = [first] + [other for other in _MARKERS if other != first]
    return order[variant % len(order)]


def appearance(configurations: Sequence[Configuration]) -> list[tuple[Configuration, Color, str]]:
    """Return each configuration with colour and marker; settings of one optimizer are its variants, in their order."""
    names = [configuration.optimizer for configuration in configurations]
    looks = []
    for i, configuration in enumerate(configurations):
        name, variant = configuration.optimizer, names[:i].count(configuration.optimizer)
        looks.append((configuration, color(name, variant, names.count(name)), marker(name, variant)))
    return looks


def add_legend(figure: Figure, entries: Sequence[Artist]) -> None:
    """Add a legend above all panels, with as many columns as fit; entries without a label are left out."""
    named = [entry for entry in entries if not str(entry.get_label()).startswith("_")]
    labels = [str(entry.get_label()) for entry in named]
    figure.legend(named, labels, loc="outside upper center", ncols=legend_columns(labels, figure.get_figwidth()))


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many legend entries fit side by side into `width` inches."""
    return min(len(labels), max(1, int(width / (0.45 + 0.06 * max(map(len, labels), default=1)))))


def add_caption(figure: Figure, configurations: Sequence[Configuration], note: str = "") -> None:
    """Write the common settings of all runs and a note below the figure, in small print."""
    parts = caption([run for configuration in configurations for run in configuration.runs]).split(" · ")
    letters = int(figure.get_figwidth() * 19)
    lines = [""]
    for part in [*parts, note] if note else parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        lines[-1:] = [longer] if len(longer) <= letters else [lines[-1], part]
    figure.supxlabel("\n".join(lines), fontsize=7, color="0.35")

"""How figures look: one colour per optimizer everywhere, safe for colour-blind readers, readable at paper size."""

from typing import Any
from zlib import crc32

from matplotlib.colors import to_rgb

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
    "axes.unicode_minus": True,
}

# Okabe and Ito's palette without its yellow, which is lost on white, completed from Paul Tol's "muted" scheme.
_FIXED = {
    "sequential": ("#000000", "x"),
    "synchronous": ("#777777", "s"),
    "averaging": ("#882255", "D"),
    "easgd": ("#56B4E9", "^"),
    "downpour": ("#E69F00", "v"),
    "dynsgd": ("#CC79A7", "P"),
    "aeasgd": ("#009E73", "^"),
    "agn": ("#D55E00", "o"),
    "adag": ("#0072B2", "s"),
}
_COLORS = ("#332288", "#999933", "#44AA99", "#AA4499", "#117733", "#CC6677", "#88CCEE", "#DDCC77")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")


def color(optimizer: str, variant: int = 0, variants: int = 1) -> tuple[float, float, float]:
    """Return the colour of an optimizer as red, green and blue in [0, 1].

    Names without a fixed place get one from a hash of the name, so that it never depends on what else is drawn.
    Several settings of one optimizer (`variant` of `variants`) keep the hue and get lighter.
    """
    name = _FIXED[optimizer][0] if optimizer in _FIXED else _COLORS[crc32(optimizer.encode()) % len(_COLORS)]
    white = 0.6 * variant / max(1, variants - 1)
    red, green, blue = (value + (1 - value) * white for value in to_rgb(name))
    return red, green, blue


def marker(optimizer: str, variant: int = 0) -> str:
    """Return the marker of an optimizer; the settings of one optimizer have different ones."""
    first = _FIXED[optimizer][1] if optimizer in _FIXED else _MARKERS[crc32(optimizer.encode()) // 8 % len(_MARKERS)]
    order = [first] + [other for other in _MARKERS if other != first]
    return order[variant % len(order)]

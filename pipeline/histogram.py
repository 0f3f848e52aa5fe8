"""Histograms: how scores are spread, as paths for inline SVG."""

import numpy as np

WIDTH, HEIGHT = 320.0, 96.0  # of the drawing, in its own units
BINS = 8  # a tick


def histogram(series: dict[str, np.ndarray], stacked: bool, asked: tuple[np.ndarray, np.ndarray] | None = None) -> dict | None:
    """Bars of several series over one axis.

    Args:
        series: values by name; NaN stands for what was not computed.
        stacked: one on top of the other, else each from the ground.
        asked: values that were asked for, and the share of each.

    Returns:
        `paths` by name (SVG path data within WIDTH x HEIGHT), `asked`, the outline of as many values that were shared out as asked
        for ("": not asked), `ticks` as (text, x), `most` in one bin, and `low` and `high`, the ends of the axis; with `only`, and no
        paths, where all values are one. None where there are none.
    """
    series = {name: values[np.isfinite(values)] for name, values in series.items()}
    everything = np.concatenate(list(series.values()))
    if not len(everything):
        return None
    points, shares = asked or (np.zeros(0), np.zeros(0))
    ends = np.concatenate([everything, points[shares > 0]])
    low, high = float(ends.min()), float(ends.max())
    if high - low < 1e-9:
        return {"only": low}
    step = _nice((high - low) / 4)
    low, high = np.floor(low / step * BINS + 1e-9) * step / BINS, np.ceil(high / step * BINS - 1e-9) * step / BINS
    edges = np.linspace(low, high, round((high - low) / step * BINS) + 1)
    counts = {name: np.histogram(values, edges)[0] for name, values in series.items()}
    outline = np.histogram(points, edges, weights=shares)[0] * len(everything)
    most = float(max((sum(counts.values()) if stacked else np.max(list(counts.values()), axis=0)).max(), outline.max()))
    paths, ground = {}, np.zeros(len(edges) - 1)
    for name, count in counts.items():
        paths[name] = _bars(ground, ground + count, most)
        ground = ground + count if stacked else ground
    marks = np.round(np.arange(np.ceil(low / step), high / step + 0.01) * step, 9) + 0.0
    ticks = [(f"{mark:g}", round(float((mark - low) / (high - low) * WIDTH), 1)) for mark in marks]
    return {"paths": paths, "asked": _outline(outline, most), "ticks": ticks, "most": most, "low": float(low), "high": float(high)}


def _bars(bottom: np.ndarray, top: np.ndarray, most: int) -> str:
    width = WIDTH / len(top)
    gap = 0.5 if width > 3 else 0.0
    return "".join(
        f"M{i * width + gap:.1f} {HEIGHT * (1 - low / most):.1f}V{HEIGHT * (1 - high / most):.1f}H{(i + 1) * width - gap:.1f}V{HEIGHT * (1 - low / most):.1f}Z"
        for i, (low, high) in enumerate(zip(bottom, top)) if high > low
    )


def _outline(tops: np.ndarray, most: float) -> str:
    """The line along the tops of bars that stand side by side, down to the ground where there are none."""
    width, path, before = WIDTH / len(tops), "", 0.0
    for i, top in enumerate(np.append(tops, 0.0)):
        if not before and top:
            path += f"M{i * width:.1f} {HEIGHT:.1f}"
        if before or top:
            path += f"V{HEIGHT * (1 - top / most):.1f}" + (f"H{(i + 1) * width:.1f}" if top else "")
        before = top
    return path


def _nice(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten.

    >>> _nice(0.3), _nice(6.1), _nice(2.0)
    (0.5, 10.0, 2.0)
    """
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(power * n for n in (1, 2, 5, 10) if power * n >= step * (1 - 1e-9)))

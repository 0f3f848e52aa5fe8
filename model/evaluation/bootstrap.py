"""Bootstrap intervals of a mean, of pairs that come in scenes."""

import numpy as np

RESAMPLES = 1_000
LEVEL = 0.95


def interval(values: np.ndarray, scenes: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """The interval of 95 % of a mean, by the percentiles of 1,000 resamples (Efron 1979) of whole scenes: siblings are not independent.

    Args:
        values: (pairs,), all finite.
        scenes: (pairs,) to which scene each belongs.

    Returns:
        Its ends; None where there are fewer than two scenes.
    """
    _, scene = np.unique(scenes, return_inverse=True)
    sums, counts = np.bincount(scene, values), np.bincount(scene)
    if len(counts) < 2:
        return None
    chance = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for n in range(RESAMPLES):
        drawn = chance.integers(len(counts), size=len(counts))
        means[n] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)

"""Loudness by ITU-R BS.1770-4, arranged so that one filtering of each stem serves every sum it enters.

K-weighting is linear: the weighted sum of stems is the sum of weighted stems. So the products of
the weighted stems in each 100 ms hop (`hop_products`) give the gated loudness of any mixture of
them, at any gains, without touching samples again.
"""

from functools import lru_cache

import numpy as np

HOP = 0.1  # s; a gating block is four hops, so blocks overlap by 75 %
SILENT = -120.0  # LUFS and dBFS of nothing


@lru_cache
def _k_weighting(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The two biquads of BS.1770 as one filter, for any rate (De Man, "Evaluation of implementations of R128")."""
    b, a = np.ones(1), np.ones(1)
    for kind, gain, q, frequency in (("shelf", 3.99984385397, 0.7071752369554193, 1681.9744509555319),
                                     ("high", 0.0, 0.5003270373253953, 38.13547087613982)):
        k = np.tan(np.pi * frequency / rate)
        norm = 1 + k / q + k * k
        a = np.convolve(a, [1, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm])
        if kind == "shelf":
            high = 10 ** (gain / 20)
            band = high**0.499666774155
            b = np.convolve(b, np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]) / norm)
        else:
            b = np.convolve(b, [1, -2, 1])
    return b, a


def k_weight(audio: np.ndarray, rate: int) -> np.ndarray:
    """K-weighted audio; (channels, samples) in and out, float32."""
    from scipy.signal import lfilter  # takes a second to import, and the driver never filters

    b, a = _k_weighting(rate)
    return lfilter(b, a, audio.astype(np.float64), axis=-1).astype(np.float32)


def hop_products(weighted: list[tuple[int, np.ndarray]], samples: int, rate: int) -> np.ndarray:
    """Mean products of K-weighted stems by 100 ms hop.

    Args:
        weighted: a stem each: its first sample in the scene and its audio (channels, n).
        samples: of the scene.

    Returns:
        float64 (hops, stems, stems), channels added; hops past the end are left out.
    """
    hop = round(HOP * rate)
    hops = max(1, samples // hop)
    hop = min(hop, samples)
    framed = [_frames(onset, audio, hop, hops) for onset, audio in weighted]
    products = np.zeros((hops, len(framed), len(framed)))
    for i, (first, one) in enumerate(framed):
        for j, (second, other) in enumerate(framed[: i + 1]):
            low, high = max(first, second), min(first + one.shape[1], second + other.shape[1])
            if low < high:
                both = np.einsum("chk,chk->h", one[:, low - first : high - first], other[:, low - second : high - second])
                products[low:high, i, j] = products[low:high, j, i] = both / hop
    return products


def _frames(onset: int, audio: np.ndarray, hop: int, hops: int) -> tuple[int, np.ndarray]:
    """First hop touched, and (channels, hops touched, hop) of a stem, padded to whole hops."""
    first = onset // hop
    last = min(hops, -(-(onset + audio.shape[1]) // hop))
    frames = np.zeros((audio.shape[0], max(0, last - first) * hop), np.float32)
    lead = onset - first * hop
    used = max(0, min(audio.shape[1], frames.shape[1] - lead))
    frames[:, lead : lead + used] = audio[:, :used]
    return first, frames.reshape(audio.shape[0], -1, hop)


def hop_power(products: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """K-weighted power of the sum of stems at the given linear gains (0 leaves a stem out), by hop: (hops,)."""
    return np.einsum("hij,i,j->h", products, gains, gains)


def integrated(power: np.ndarray) -> float:
    """Gated loudness in LUFS of K-weighted power by hop; -120 for silence.

    Sounds shorter than one block (0.4 s) are taken as repeated until they fill it, as Scaper does.
    """
    if len(power) < 4:
        power = np.tile(power, -(-4 // len(power)))[:4]
    blocks = np.convolve(power, np.full(4, 0.25), mode="valid")
    loud = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    if not len(loud):
        return SILENT
    gated = loud[loud > loud.mean() / 10]
    return float(-0.691 + 10 * np.log10(gated.mean()))


def loudness(audio: np.ndarray, rate: int) -> float:
    """Integrated loudness (LUFS) of (channels, samples)."""
    weighted = k_weight(audio, rate)
    products = hop_products([(0, weighted)], audio.shape[1], rate)
    return integrated(products[:, 0, 0])


def peak_dbfs(audio: np.ndarray) -> float:
    """Sample peak in dBFS of float audio, or of int16; -120 for silence."""
    peak = float(np.abs(audio.astype(np.float32) if audio.dtype == np.int16 else audio).max(initial=0.0))
    if audio.dtype == np.int16:
        peak /= 32768
    return 20 * np.log10(peak) if peak > 10 ** (SILENT / 20) else SILENT

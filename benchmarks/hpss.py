"""How fast the embedded separator is, against the same method as it is usually written.

    python benchmarks/hpss.py

The other has its medians from scipy.ndimage.median_filter and its transforms from scipy.signal.ShortTimeFFT. Both run in this
one process and thread, in turn, so their ratio holds on a busy machine.
"""

import argparse
import statistics
import time

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from stages.engines.hpss import PERCUSSION, Hpss

RATE = 44_100
OURS = Hpss()


def recording(seconds: float) -> np.ndarray:
    """A chord, bursts of noise and a floor of noise: float32 (1, samples)."""
    chance, time_ = np.random.default_rng(1), np.arange(round(seconds * RATE)) / RATE
    tones = 0.06 * sum(np.sin(2 * np.pi * pitch * time_) for pitch in (220, 277.2, 329.6, 440))
    bursts = 0.3 * np.exp(-80 * (time_ % 0.5)) * chance.standard_normal(len(time_))
    return (tones + bursts + 0.001 * chance.standard_normal(len(time_)))[None].astype(np.float32)


def ours(audio: np.ndarray) -> np.ndarray:
    return OURS.separate([audio], RATE)[0][PERCUSSION]


def usual(audio: np.ndarray) -> np.ndarray:
    transform = ShortTimeFFT(hann(OURS.window, sym=False), OURS.window // 4, RATE)
    spectrum = transform.stft(audio)
    magnitude = np.abs(spectrum).mean(axis=0)
    struck = median_filter(magnitude, (OURS.width, 1), mode="mirror") ** OURS.power
    held = median_filter(magnitude, (1, OURS.width), mode="mirror") ** OURS.power
    return transform.istft(spectrum * (struck / (struck + held)), k1=audio.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the recording, mono at 44.1 kHz")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    audio = recording(options.seconds)
    inner = slice(RATE, -RATE)  # at its ends the two differ on purpose
    one, other = ours(audio)[:, inner], usual(audio)[:, inner]
    print(f"they differ by {10 * np.log10(np.sum((one - other) ** 2) / np.sum(other**2)):.0f} dB")
    speeds = {ours: [], usual: []}
    for _ in range(options.rounds):
        for separate, found in speeds.items():
            started = time.perf_counter()
            separate(audio)
            found.append(options.seconds / (time.perf_counter() - started))
    tell("AudioEdit, times real time", speeds[ours])
    tell("as usually written, times real time", speeds[usual])
    tell("ratio", [a / b for a, b in zip(speeds[ours], speeds[usual])])


def tell(what: str, values: list[float]) -> None:
    print(f"{what:36} median {statistics.median(values):7.2f}   from {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()

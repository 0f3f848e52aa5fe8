"""Made recordings, and a small configuration over them."""

import pathlib

import numpy as np
import soundfile

RATE = 16_000


def tone(seconds: float, pitch: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """A decaying, slightly noisy tone with some partials: float64 (samples,)."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(t)) * 0.02
    return 0.3 * (sum(np.sin(2 * np.pi * pitch * k * t) / k for k in (1, 2, 3)) + noise) * np.exp(-t / seconds)


def make_sounds(folder: pathlib.Path, labels: int = 5, each: int = 6, backgrounds: int = 9, seconds: float = 5.0) -> pathlib.Path:
    """events/LABEL/N.wav, 0.6 to 1.5 s with silence around; backgrounds/LABEL/N.wav, steady noise."""
    chance = np.random.default_rng(5)
    for label in range(labels):
        (folder / "events" / f"sound_{label}").mkdir(parents=True)
        for n in range(each):
            audio = tone(0.6 + 0.9 * chance.random(), 200 * 1.4**label * (1 + 0.2 * chance.random()), seed=100 * label + n)
            audio = np.concatenate([np.zeros(RATE // 4), audio, np.zeros(RATE // 4)])
            soundfile.write(folder / "events" / f"sound_{label}" / f"{n}.wav", audio, RATE)
    for n in range(backgrounds):
        place = folder / "backgrounds" / f"noise_{n % 3}"
        place.mkdir(parents=True, exist_ok=True)
        noise = np.cumsum(chance.standard_normal(round(seconds * RATE)) * 0.02)
        noise -= np.convolve(noise, np.ones(200) / 200, mode="same")
        soundfile.write(place / f"{n}.wav", noise, RATE)
    return folder


def configuration(sounds: pathlib.Path, **changes) -> dict:
    """A small configuration over made recordings."""
    return {
        "seed": 3,
        "audio": {"sample_rate": RATE, "seconds": 3.0},
        "sources": [{"kind": "folder", "path": str(sounds), "label": "parent"}],
        "edits": {"add": 12, "remove": 12, "extract": 12, "replace": 9},
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "shards": {"pairs": 8},
        **changes,
    }

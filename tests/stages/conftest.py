"""Sounds made for the tests of stages, stored as ingest stores them, and scenes placed of them."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import soundfile

from manifests.audio import encode_flac
from manifests.chance import generator
from manifests.clip import Clip
from manifests.pair import Pair
from manifests.scene import Rendered, Scene
from stages.edit import edit, sides
from stages.render import render
from stages.scenes import piece, soundscape

RATE = 16_000


@dataclass
class Sounds:
    """Clips by id, with the FLAC of each."""

    rate: int = RATE
    clips: dict[str, Clip] = field(default_factory=dict)
    flac: dict[str, bytes] = field(default_factory=dict)

    def store(self, audio: np.ndarray, role: str, label: str, **known) -> Clip:
        """Keep float (channels, samples) as 24 bits with a peak of -1 dBFS; the clip says by which gain."""
        name = f"{len(self.clips):016x}"
        gain_db = round(-1 - 20 * np.log10(np.abs(audio).max()), 3)
        self.flac[name] = encode_flac((audio * 10 ** (gain_db / 20)).astype(np.float32), self.rate)
        seconds = audio.shape[1] / self.rate
        self.clips[name] = Clip(f"{label}.wav", 0.0, seconds, 0, "sound", "synthetic", label=label, role=role, clip_id=name,
                                duration=seconds, gain_db=gain_db, license="cc0-1.0", **known)
        return self.clips[name]

    def read(self, clip: Clip) -> bytes:
        return self.flac[clip.clip_id]

    def read_off(self, scene: Scene, asked: list[tuple[str, int]], seed: int) -> tuple[Rendered, list[Pair]]:
        """A scene rendered, and its pairs: (edit, stem) each."""
        rendered = render(scene, self.clips, self.read, generator(seed, "loudness"))
        pairs = []
        for name, stem in asked:
            pair = Pair(f"key-{name}-{stem}", scene.scene_id, name, "synthetic", "synthetic", "sound", "en", "train", 0)
            pair.before, pair.after, pair.edited = sides(scene, name, stem)
            pairs.append(pair)
        edit(rendered, pairs)
        return rendered, pairs

    def samples(self, name: str) -> np.ndarray:
        """A clip at its own level, by another way than the code's: float64 (channels, samples)."""
        clip = self.clips[name]
        return soundfile.read(io.BytesIO(self.flac[name]), always_2d=True)[0].T / 10 ** (clip.gain_db / 20)


def make_background(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """Noise that swells a little."""
    swell = 1 + 0.3 * np.sin(2 * np.pi * np.arange(samples) / RATE * rng.uniform(0.2, 1))
    return 10 ** (rng.uniform(-40, -20) / 20) * rng.standard_normal((channels, samples)) * swell


def make_event(rng: np.random.Generator, channels: int) -> np.ndarray:
    """A tone, a burst of noise, or a few clicks with a high crest factor, of 0.5 to 1.5 s."""
    samples = int(rng.integers(RATE // 2, 3 * RATE // 2))
    time = np.arange(samples) / RATE
    kind = rng.integers(3)
    if kind == 0:
        wave = np.sin(2 * np.pi * rng.uniform(200, 3000) * time) * np.exp(-time * rng.uniform(0, 2))
    elif kind == 1:
        wave = rng.standard_normal(samples) * np.hanning(samples)
    else:
        wave = 0.002 * rng.standard_normal(samples)
        wave[:: samples // 7] += 1
    return 10 ** (rng.uniform(-25, 0) / 20) * np.stack([wave * rng.uniform(0.5, 1) for _ in range(channels)]) / np.abs(wave).max()


def _soundscape(seed: int, events: int = 2, channels: int = 1, seconds: float = 3.0, others: int = 1) -> tuple[Scene, Sounds]:
    rng, sounds = np.random.default_rng(seed), Sounds()
    samples = round(seconds * RATE)
    ground = sounds.store(make_background(rng, samples + int(rng.integers(0, RATE)), channels), "background", "rain")
    placed = [sounds.store(make_event(rng, channels), "event", f"event {n}") for n in range(events)]
    instead = {n: sounds.store(make_event(rng, channels), "event", f"other {n}") for n in range(others)}
    scene = Scene(f"{seed:016x}", "soundscape", "train", RATE, channels, samples)
    return soundscape.place(scene, ground, placed, instead, generator(seed)), sounds


def _piece(seed: int, tracks: int = 3, channels: int = 1, seconds: float = 3.0) -> tuple[Scene, Sounds]:
    rng, sounds = np.random.default_rng(seed), Sounds()
    samples = round(seconds * RATE)
    made = []
    for n in range(tracks + 1):
        time = np.arange(samples + RATE) / RATE
        beat = np.exp(-4 * ((time * 2) % 1))
        waves = [10 ** (rng.uniform(-30, -6) / 20) * beat * np.sin(2 * np.pi * 110 * (n + 2) * time + channel) for channel in range(channels)]
        made.append(sounds.store(np.stack(waves), "track", f"instrument {n}", piece="p", part=f"part {min(n, tracks - 1)}", variant=n // tracks))
    scene = Scene(f"{seed:016x}", "piece", "train", RATE, channels, samples)
    return piece.place(scene, made[:-1], {tracks - 1: made[-1]}, generator(seed)), sounds


@pytest.fixture(scope="session")
def make_soundscape() -> Callable[..., tuple[Scene, Sounds]]:
    """(seed, events, channels, seconds, others) -> a placed soundscape, and the sounds that it is made of."""
    return _soundscape


@pytest.fixture(scope="session")
def make_piece() -> Callable[..., tuple[Scene, Sounds]]:
    """(seed, tracks, channels, seconds) -> a placed piece whose last track can be played by another, and its sounds."""
    return _piece

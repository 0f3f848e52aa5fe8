"""Whether distractors teach: one training on scenes with other sounds in them, one on scenes without, both tested on scenes with them.

    python benchmarks/distractors.py /tmp/distractors              # half an hour on two cores; run again, it goes on

Recordings of eight kinds of sound are made (whistles, hums, clicks, hisses, bells, sirens, knocks, chirps: each another in pitch, pace and length), with
backgrounds of noise. Two builds of the same clips follow, by default scenes and with one event a scene, then configs/train/music.yaml on each, for fewer
steps. What is printed is benchmarks/learning.py of both models on the test split of the default scenes.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import yaml

ROOT, RATE, SECONDS = Path(__file__).parents[1], 8_000, 4.0
EACH, BACKGROUNDS = 60, 40  # recordings of each kind
ALONE = "scenes={events: [1, 0, 0, 0], repeats: 0}"


def whistle(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    low, high = chance.uniform(1200, 1800), chance.uniform(2000, 3000)
    return np.sin(2 * np.pi * np.cumsum(np.linspace(low, high, len(t))) / RATE)


def hum(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    pitch = chance.uniform(80, 140)
    return sum(np.sin(2 * np.pi * pitch * n * t) / n for n in range(1, 6))


def clicks(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    found = np.zeros(len(t))
    found[:: round(RATE / chance.uniform(8, 16))] = 1
    return np.convolve(found, np.exp(-np.arange(60) / 8) * chance.standard_normal(60))[: len(t)]


def hiss(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return np.diff(chance.standard_normal(len(t) + 1)) * np.hanning(len(t)) ** chance.uniform(0.3, 1)


def bell(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    pitch = chance.uniform(400, 700)
    return sum(np.sin(2 * np.pi * pitch * ratio * t) * np.exp(-t * (1 + ratio)) for ratio in (1, 2.76, 4.07))


def siren(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    swing = chance.uniform(700, 900) + 250 * np.sin(2 * np.pi * chance.uniform(1, 3) * t)
    return np.sign(np.sin(2 * np.pi * np.cumsum(swing) / RATE)) * 0.5


def knock(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    found = np.zeros(len(t))
    found[:: round(RATE / chance.uniform(2, 4))] = 1
    decay = np.arange(RATE // 10)
    return np.convolve(found, np.exp(-decay / 150) * np.sin(2 * np.pi * chance.uniform(180, 260) / RATE * decay))[: len(t)]


def chirps(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    phase = (t * chance.uniform(5, 9)) % 1
    return np.sin(2 * np.pi * np.cumsum(2200 + 1300 * phase) / RATE) * (phase < 0.5)


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "whistle": whistle, "hum": hum, "click": clicks, "hiss": hiss, "bell": bell, "siren": siren, "knock": knock, "chirp": chirps}


def make(folder: Path) -> None:
    """Recordings by kind, and backgrounds."""
    chance = np.random.default_rng(1)
    for label, sound in KINDS.items():
        (folder / label).mkdir(parents=True)
        for n in range(EACH):
            t = np.arange(round(chance.uniform(0.8, 2.2) * RATE)) / RATE
            made = sound(t, chance)
            made *= 0.3 * np.minimum(1, 20 * np.minimum(t, t[::-1])) / np.abs(made).max()
            soundfile.write(folder / label / f"{n}.wav", made, RATE)
    (folder / "wind").mkdir()
    for n in range(BACKGROUNDS):
        spectrum = np.fft.rfft(chance.standard_normal(round(3 * SECONDS * RATE)))
        spectrum[1:] /= np.arange(1, len(spectrum)) ** chance.uniform(0.2, 0.6)
        made = np.fft.irfft(spectrum)
        soundfile.write(folder / "wind" / f"{n}.wav", 0.2 * made / np.abs(made).max(), RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=1000, help="of each edit, remove and extract")
    parser.add_argument("--steps", type=int, default=1500, help="of each training")
    options = parser.parse_args()
    folder = options.folder.absolute()  # what is run is run elsewhere
    if not (folder / "sounds").exists():
        make(folder / "sounds")
    config = {"seed": 3, "audio": {"sample_rate": RATE, "seconds": SECONDS}, "edits": dict.fromkeys(("remove", "extract"), options.pairs),
              "sources": [{"kind": "folder", "path": str(folder / "sounds"), "label": "parent"}], "split": {"train": 0.8, "val": 0.1, "test": 0.1}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))

    def run(*command: str) -> None:
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT)

    for name, changes in (("default", ()), ("alone", ("--clips", str(folder / "default"), "--set", ALONE))):
        run("-m", "pipeline", "build", str(folder / "config.yaml"), "-o", str(folder / name), *changes)
        run("-m", "pipeline", "train", "configs/train/music.yaml", "--data", str(folder / name), "-o", str(folder / f"trained-{name}"),
            "--set", f"steps={options.steps}", "--set", "every={log: 10, val: 500, listen: 0, checkpoint: 500}")
    for name in ("default", "alone"):
        print(f"\ntrained on {name}, tested on default scenes", flush=True)
        model = folder / f"trained-{name}/checkpoints/step-{options.steps:08d}"
        run("benchmarks/learning.py", str(model), str(folder / "default"), "--pairs", "100", "--steps", "1")


if __name__ == "__main__":
    main()

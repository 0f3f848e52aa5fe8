"""How far a recording is known again by its fingerprint, where it was encoded again, made quieter or cut; and how often two different ones are taken for one.

    python benchmarks/duplicates.py sounds/                  # 300 of a folder's wav, flac, ogg and mp3 files, drawn by their names
    python benchmarks/duplicates.py sounds/ --sounds 100

Of each file the first ten seconds are taken; what lasts less than 0.4 s, or is silent, is passed over. A copy counts as found where `alike`, which is given
all files and their copies of one kind, names it with its file. What it names of the files themselves is listed: listen to those, for a folder may well hold
one sound under two names.
"""

import argparse
import io
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import soxr

from manifests.chance import key
from stages.fingerprint import alike, fingerprint

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".mp3")
SHORTEST, LONGEST = 0.4, 10.0  # s
SILENT = 0.003  # of full scale
MP3_RATES = (16_000, 22_050, 32_000, 44_100, 48_000)  # Hz


def sounds(folder: Path):
    """Name, audio (samples,) and rate of the folder's recordings, in an order drawn by keyed hashes of their names."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    for name in sorted(names, key=lambda name: key("duplicates", name)):
        try:
            with soundfile.SoundFile(folder / name) as file:
                rate, audio = file.samplerate, file.read(round(LONGEST * file.samplerate), dtype="float32", always_2d=True).mean(axis=1)
        except soundfile.LibsndfileError as error:
            print(f"passed over: {error}")
            continue
        if len(audio) >= SHORTEST * rate and np.abs(audio).max() >= SILENT:
            yield name, audio, rate


def mp3(audio: np.ndarray, rate: int, compression: float) -> tuple[np.ndarray, int]:
    """Encoded and decoded; a compression of 0 keeps most, of 1 least."""
    near = min(MP3_RATES, key=lambda known: abs(known - rate))
    buffer = io.BytesIO()
    soundfile.write(buffer, soxr.resample(audio, rate, near), near, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT",
                    compression_level=compression)
    return soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")


def cut(audio: np.ndarray, first: float, end: float) -> np.ndarray:
    """Between two shares of it, and some samples more off its start, so that no frame falls on one of the whole."""
    return audio[int(first * len(audio)) + 17 : int(end * len(audio))]


def cut_by_some(audio: np.ndarray) -> np.ndarray:
    """Without 5 to 10 % at either end, drawn by its samples."""
    first, last = (0.05 + 0.05 * (key(end, audio.tobytes()) / 2**64) for end in ("first", "last"))
    return cut(audio, first, 1 - last)


CHANGES: dict[str, Callable[[np.ndarray, int], tuple[np.ndarray, int]]] = {
    "MP3, high quality": lambda audio, rate: mp3(audio, rate, 0.3),
    "MP3, low quality": lambda audio, rate: mp3(audio, rate, 0.8),
    "12 dB quieter": lambda audio, rate: (0.25 * audio, rate),
    "cut by 5 to 10 % at both ends, then MP3": lambda audio, rate: mp3(cut_by_some(audio), rate, 0.3),
    "cut to its middle half": lambda audio, rate: (cut(audio, 0.25, 0.75), rate),
    "resampled to 16 kHz": lambda audio, rate: (soxr.resample(audio, rate, 16_000), 16_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sounds", type=int, default=300, help="at most (default: 300)")
    options = parser.parse_args()
    found = list(islice(sounds(options.folder), options.sounds))
    if not found:
        parser.error(f"{options.folder}: holds no sound of {SHORTEST:g} s or more ({', '.join(SUFFIXES)})")
    count, seconds = len(found), sum(len(audio) / rate for _, audio, rate in found)
    started = time.perf_counter()
    prints = [fingerprint(audio[None], rate) for _, audio, rate in found]
    spent = time.perf_counter() - started
    print(f"{count} sounds, {seconds:.0f} s; {sum(map(len, prints)) / count:.0f} bytes a sound; {1000 * spent / seconds:.1f} ms a second of audio; "
          f"{prints.count('')} without a fingerprint")
    print(f"\n{'copies':42}found again")
    for name, change in CHANGES.items():
        copies = [change(audio, rate) for _, audio, rate in found]
        pairs = alike(prints + [fingerprint(audio[None], rate) for audio, rate in copies], np.arange(2 * count))
        print(f"{name:42}{sum(b == a + count for a, b in pairs) / count:11.1%}", flush=True)
    pairs = alike(prints, np.arange(count))
    print(f"\n{len(pairs)} of {count * (count - 1) // 2} pairs of different files are taken for one sound" + (", among them" if pairs else ""))
    for a, b in pairs[:10]:
        print(f"  {found[a][0]}   {found[b][0]}")


if __name__ == "__main__":
    main()

"""How fast recordings become clips, by format, against bare decoding of the same files.

    python benchmarks/ingest.py                # ten minutes of audio in each of eight files a format, on two cores

Bare decoding is two processes that decode each file from end to end and keep nothing. Ingest is what a build does with
them on two cores of Ray: windows, levels, loudness, bandwidth, a hash of the samples and FLAC of 24 bits, committed.
Rounds alternate; the table gives medians.
"""

import argparse
import pathlib
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import av
import numpy as np
import ray
import soundfile
import soxr

from manifests.audio import Recordings, probe
from manifests.chance import generator
from manifests.storage import Storage
from pipeline import clips, run
from pipeline.build import clip_steps, clip_work
from pipeline.config import Config
from pipeline.sources import clip_parts, list_sources, windows

RATE, WINDOW = 44_100, 30.0  # Hz, s
FORMATS = {"wav": {}, "flac": {}, "mp3": {}, "ogg": {"format": "OGG", "subtype": "VORBIS"}, "opus": {"format": "OGG", "subtype": "OPUS"}, "m4a": {}}


def make(folder: pathlib.Path, kind: str, files: int, seconds: float) -> None:
    """Files of swelling noise and tones; no two alike, since clips of the same sound are one."""
    folder.mkdir(parents=True)
    t = np.arange(round(seconds * RATE)) / RATE
    for n in range(files):
        noise = generator("ingest", n).standard_normal(len(t), np.float32)
        audio = (0.05 * noise + 0.1 * np.sin(2 * np.pi * (200 + 30 * n) * t) * (1.2 + np.sin(t))).astype(np.float32)
        path = str(folder / f"{n}.{kind}")
        if kind == "m4a":
            _write_aac(path, audio)
            continue
        rate = 48_000 if kind == "opus" else RATE
        audio = soxr.resample(audio, RATE, rate) if rate != RATE else audio
        with soundfile.SoundFile(path, "w", rate, 1, **FORMATS[kind]) as file:
            for start in range(0, len(audio), rate):  # all at once overflows the stack of one encoder
                file.write(audio[start : start + rate])


def _write_aac(path: str, audio: np.ndarray) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for start in range(0, len(audio), 1024):
            frame = av.AudioFrame.from_ndarray(audio[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def decode_all(path: str) -> float:
    """Decode a file, a window at a time, and throw it away. Returns its seconds."""
    seconds, recordings = probe(path)[0], Recordings()
    for start in np.arange(0, seconds, WINDOW):
        recordings.decode(path, float(start), min(float(start) + WINDOW, seconds), RATE, 1)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=8, help="files a format (default: 8)")
    parser.add_argument("--seconds", type=float, default=600.0, help="length of each (default: 600)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    hours = options.files * options.seconds / 3600
    run.connect(None)
    print(f"{'format':8}{'ingest, h/min':>16}{'bare decoding':>16}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(2) as pool:
        for kind in FORMATS:
            place = pathlib.Path(folder) / kind
            make(place, kind, options.files, options.seconds)
            config = Config.model_validate({"audio": {"sample_rate": RATE}, "sources": [{"kind": "folder", "path": str(place)}], "edits": {"add": 1}})
            bare, whole = [], []
            for n in range(options.rounds + 1):  # the first warms up
                started = time.perf_counter()
                list(pool.map(decode_all, sorted(map(str, place.iterdir()))))
                bare.append(hours / (time.perf_counter() - started) * 60)
                listing = list_sources(config)
                for file in listing.files.values():
                    file.seconds = options.seconds
                work, started = clip_work(config, f"{folder}/run-{kind}-{n}"), time.perf_counter()
                for _ in run.run_parts(iter(clip_parts(windows(listing, 10.0))), clip_steps(config), work, clips.item_id):
                    pass
                whole.append(hours / (time.perf_counter() - started) * 60)
                Storage(work.run).remove("")
            found = [statistics.median(rates[1:]) for rates in (whole, bare)]
            print(f"{kind:8}{found[0]:16.1f}{found[1]:16.1f}{statistics.median(a / b for a, b in zip(whole[1:], bare[1:])):8.2f}")
    ray.shutdown()


if __name__ == "__main__":
    main()

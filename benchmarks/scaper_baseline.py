"""Times Scaper 1.6.5 on the work AudioEdit does: two events over a background, with stems.

Scaper needs older libraries than AudioEdit, so it runs in an environment of its own
(Python 3.11; on Debian 12):

    apt-get install sox libsox-dev g++ python3.11-dev python3.11-venv
    python3.11 -m venv scaper-env
    scaper-env/bin/pip install "setuptools<81" wheel pybind11 "numpy<2" "pandas<2.3"
    scaper-env/bin/pip install --no-build-isolation scaper==1.6.5
    scaper-env/bin/python benchmarks/scaper_baseline.py --bank BANK --count 60

BANK holds `foreground/LABEL/*.wav` and `background/LABEL/*.wav`, mono, 44.1 kHz. It prints
one JSON line: `soundscapes`, `seconds` (wall time in this one process, imports left out)
and `per_second`.

The recipe follows Scaper's tutorial: https://scaper.readthedocs.io/en/latest/tutorial.html
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import scaper
from scaper.scaper_warnings import ScaperWarning

SAMPLE_RATE = 44_100  # Hz
LOUDNESS = -23.0  # LUFS of the background
SNR_MEAN, SNR_DEVIATION = 10.0, 3.0  # dB, event over background


def generate(bank: Path, out: Path, seconds: float, index: int) -> None:
    """Writes soundscape `index`: its mixture and three stems (32-bit WAV), and its JAMS."""
    soundscape = scaper.Scaper(
        seconds, str(bank / "foreground"), str(bank / "background"), random_state=index
    )
    soundscape.sr = SAMPLE_RATE
    soundscape.n_channels = 1
    soundscape.ref_db = LOUDNESS
    soundscape.add_background(
        label=("choose", []), source_file=("choose", []), source_time=("const", 0)
    )
    for _ in range(2):
        soundscape.add_event(
            label=("choose", []),
            source_file=("choose", []),
            source_time=("const", 0),
            event_time=("uniform", 0, seconds),
            # Scaper shortens this to the length of the file, so the whole event is heard.
            event_duration=("const", seconds),
            snr=("normal", SNR_MEAN, SNR_DEVIATION),
            pitch_shift=None,
            time_stretch=None,
        )
    soundscape.generate(
        str(out / f"{index:06d}.wav"),
        str(out / f"{index:06d}.jams"),
        fix_clipping=True,
        save_isolated_events=True,
        disable_instantiation_warnings=True,
    )


def measure(bank: Path, out: Path, seconds: float, count: int) -> dict[str, float]:
    """Gives the wall time of `count` soundscapes of `seconds` each, made one after another."""
    warnings.simplefilter("ignore", ScaperWarning)  # clipping, mended by fix_clipping
    start = time.perf_counter()
    for index in range(count):
        generate(bank, out, seconds, index)
    wall = time.perf_counter() - start
    return {"soundscapes": count, "seconds": round(wall, 3), "per_second": round(count / wall, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True, help="foreground/ and background/")
    parser.add_argument("--count", type=int, required=True, help="how many soundscapes")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each, in s")
    parser.add_argument("--out", type=Path, help="where to keep them; by default they are not kept")
    asked = parser.parse_args()
    if asked.count < 1:
        parser.error("--count must be at least 1")
    for role in ("foreground", "background"):
        if not any(asked.bank.glob(f"{role}/*/*.wav")):
            parser.error(f"{asked.bank} has no {role}/LABEL/*.wav")
    with tempfile.TemporaryDirectory() as scratch:
        out = asked.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(asked.bank, out, asked.seconds, asked.count)))


if __name__ == "__main__":
    main()

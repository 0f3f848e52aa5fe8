"""Hostile input: a real build over recordings of every format, most of them damaged, and over manifests that lie.

    python benchmarks/hostile.py --files 2000 --seed 1

A fifth of the files is sound; of the others no decoder, no table and no reader may be taken down. Simulated besides: a
decoder that crashes its process and one that never returns. Prints one table and the commonest reasons; exit code 1
unless nothing crashed and every file has its row.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import time

import av
import numpy as np
import pandas as pd
import soundfile
import yaml

from manifests.storage import Storage
from pipeline import probe
from pipeline.config import Config, Resources
from pipeline.sources import list_sources, windows

ROOT = pathlib.Path(__file__).resolve().parent.parent
RATE, SCENE, TIME_LIMIT = 16_000, 3.0, 8.0
BY_SOUNDFILE = {
    "wav": ("WAV", "PCM_16"), "8.wav": ("WAV", "PCM_U8"), "24.wav": ("WAV", "PCM_24"), "32.wav": ("WAV", "PCM_32"), "float.wav": ("WAV", "FLOAT"),
    "double.wav": ("WAV", "DOUBLE"), "ulaw.wav": ("WAV", "ULAW"), "alaw.wav": ("WAV", "ALAW"), "ima.wav": ("WAV", "IMA_ADPCM"),
    "ms.wav": ("WAV", "MS_ADPCM"), "gsm.wav": ("WAV", "GSM610"), "x.wav": ("WAVEX", "PCM_16"), "rf64.wav": ("RF64", "PCM_16"), "flac": ("FLAC", "PCM_16"),
    "24.flac": ("FLAC", "PCM_24"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"), "caf": ("CAF", "PCM_16"), "alac.caf": ("CAF", "ALAC_16"), "w64": ("W64", "PCM_16"), "voc": ("VOC", "PCM_16"),
    "svx": ("SVX", "PCM_16"), "nist": ("NIST", "PCM_16"), "paf": ("PAF", "PCM_16"), "mat": ("MAT5", "PCM_16"), "sd2": ("AVR", "PCM_16"),
}
BY_AV = {"m4a": ("ipod", "aac"), "mp4": ("mp4", "aac"), "aac": ("adts", "aac"), "webm": ("webm", "libopus"),
         "alac.m4a": ("ipod", "alac"), "mov": ("mov", "pcm_s16le"), "ts": ("mpegts", "aac"),
         "avi": ("avi", "pcm_s16le"), "flv": ("flv", "aac"), "wv": ("wv", "wavpack"), "tta": ("tta", "tta")}
HARD_NAMES = ["it's.wav", 'a "quoted" name.wav', "two\nlines.wav", "<script>alert(1)<\\script>.wav", "tab\tand \x07bell.wav", " blanks .wav", "%s%n{}.wav",
              "-rf.wav", "שלום.wav", "🐕.wav", "a" * 246 + ".wav", "no suffix", "many.dots..wav", "C:\\sound.wav", "#1?x=y&z.wav", "\u202egnp.wav"]
SIMULATED = ("header-crashes.wav", "samples-crash.wav", "without-end.wav")
DECODER = """
    import os, signal, sys, time
    import soundfile

    class SoundFile(soundfile.SoundFile):
        def __init__(self, file, *rest, **more):
            name = str(file)
            if "header-crashes" in name:
                os.kill(os.getpid(), signal.SIGSEGV)
            super().__init__(file, *rest, **more)

        def read(self, *rest, **more):
            if "samples-crash" in str(self.name):
                os.kill(os.getpid(), signal.SIGSEGV)
            while "without-end" in str(self.name):
                time.sleep(1)
            return super().read(*rest, **more)

    soundfile.SoundFile = SoundFile
"""


def sound(chance: np.random.Generator) -> np.ndarray:
    """An event of a second within silence, or a steady noise as long as a scene: float32 (samples,)."""
    if chance.random() < 0.3:
        return (0.05 * chance.standard_normal(round(RATE * (SCENE + chance.random())))).astype(np.float32)
    t = np.arange(round(RATE * chance.uniform(0.6, 1.5))) / RATE
    tone = 0.3 * np.sin(2 * np.pi * chance.uniform(150, 3000) * t) * np.exp(-t) + 0.005 * chance.standard_normal(len(t))
    return np.pad(tone, RATE // 4).astype(np.float32)


def encode(samples: np.ndarray, kind: str, rate: int = RATE) -> bytes:
    """A file of one of the kinds above."""
    buffer = io.BytesIO()
    if kind in BY_SOUNDFILE:
        container, subtype = BY_SOUNDFILE[kind]
        soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
        return buffer.getvalue()
    container, codec = BY_AV[kind]
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate, frame_size=stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(ready))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def writable(chance: np.random.Generator) -> list[str]:
    """Kinds that the libraries here can write."""
    found = []
    for kind in (*BY_SOUNDFILE, *BY_AV):
        try:
            encode(sound(chance), kind)
        except (soundfile.LibsndfileError, av.FFmpegError, ValueError) as error:
            print(f"not written here: {kind} ({error})", file=sys.stderr)
        else:
            found.append(kind)
    return found


def _position(chance: np.random.Generator, data: bytes) -> int:
    """Somewhere in a file, half the time in its header."""
    return int(chance.integers(0, min(len(data), 200) if chance.random() < 0.5 else len(data)))


def truncated(chance, data, other):
    return data[: int(chance.integers(1, len(data)))]


def flipped(chance, data, other):
    data = bytearray(data)
    for _ in range(int(chance.integers(1, 30))):
        data[_position(chance, data)] ^= 1 << int(chance.integers(8))
    return bytes(data)


def replaced(chance, data, other):
    data = bytearray(data)
    for _ in range(int(chance.integers(1, 4))):
        at = int(chance.integers(0, min(len(data), 120)))
        new = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0", b"\xff", chance.bytes(3)][chance.integers(7)]
        data[at : at + len(new)] = new
    return bytes(data)


def spliced(chance, data, other):
    return data[: _position(chance, data)] + other[_position(chance, other) :]


def zero_filled(chance, data, other):
    at, end = sorted(int(n) for n in chance.integers(0, len(data), 2))
    return data[:at] + bytes(end - at) + data[end:]


def lengthened(chance, data, other):
    at = _position(chance, data)
    return data[:at] + chance.bytes(int(chance.integers(1, 2000))) + data[at:]


def random_bytes(chance, data, other):
    return data[: int(chance.integers(0, 13))] + chance.bytes(int(chance.integers(1, 3000)))


MUTATIONS = [truncated, flipped, replaced, spliced, zero_filled, lengthened, random_bytes]


def damaged_samples(chance: np.random.Generator, n: int) -> bytes:
    """A file that every decoder reads, and whose samples are of no use; the n-th kind."""
    one = sound(chance)
    bad = one.copy()
    bad[len(bad) // 2] = (np.nan, np.inf, -np.inf, 1e30)[chance.integers(4)]
    header = bytearray(encode(one, "wav")[:1000])
    header[40:44] = (24 * 3600 * RATE * 2 % 2**32).to_bytes(4, "little")
    flac = bytearray(encode(one, "flac")[:1000])
    flac[21:26] = bytes([flac[21] & 0xF0]) + (24 * 3600 * RATE).to_bytes(4, "big")  # samples in STREAMINFO
    channels = bytearray(encode(one, "wav"))
    channels[22:24] = b"\0\0"
    made = [lambda: encode(bad, "float.wav"), lambda: encode(np.zeros(RATE, np.float32), "wav"), lambda: encode(np.sign(one), "wav"),
            lambda: encode(one / 4 + 0.5, "flac"), lambda: encode(np.full(RATE, 0.5, np.float32), "wav"), lambda: encode(one[:1], "wav"),
            lambda: encode(one, "wav", 768_000), lambda: encode(one, "wav", 1), lambda: encode(one, "8.wav"), lambda: bytes(header), lambda: bytes(flac),
            lambda: bytes(channels), lambda: encode(np.full(RATE, np.nan, np.float32), "double.wav"), lambda: encode(one[:0], "wav"),
            lambda: encode(1e-5 * one, "24.flac"), lambda: b"", lambda: b"This is a letter, and no recording.\n" * 20, lambda: one.tobytes()]
    return made[n % len(made)]()


def make_files(folder: pathlib.Path, count: int, seed: int) -> None:
    """`count` files, a fifth of them healthy, and what lies in folders besides files."""
    chance = np.random.default_rng(seed)
    kinds = writable(chance)
    for name in ("healthy/dog", "healthy/cat", "healthy/rain", "damaged/a", "names", "special"):
        (folder / name).mkdir(parents=True)
    bank = [(kind, encode(sound(chance), kind)) for kind in kinds for _ in range(3)]
    count -= len(HARD_NAMES) + len(SIMULATED) + 8
    for n in range(count):
        if n % 5 == 0:
            kind = kinds[n // 5 % len(kinds)]
            (folder / "healthy" / ("dog", "cat", "rain")[n // 5 % 3] / f"{n}.{kind}").write_bytes(encode(sound(chance), kind))
        elif n % 5 == 1:
            (folder / f"damaged/a/samples{n // 5 % 18}-{n}.wav").write_bytes(damaged_samples(chance, n // 5))
        else:
            (kind, data), (other_kind, other) = (bank[chance.integers(len(bank))] for _ in range(2))
            how = MUTATIONS[n // 5 % len(MUTATIONS)]
            suffix = other_kind if chance.random() < 0.1 else kind
            (folder / f"damaged/a/{how.__name__}-{n}.{suffix}").write_bytes(how(chance, data, other))
    for name in [*HARD_NAMES, *SIMULATED]:
        (folder / "names" / name).write_bytes(encode(sound(chance), "wav"))
    special = folder / "special"
    pathlib.Path(os.fsdecode(os.fsencode(special) + b"/caf\xe9.wav")).write_bytes(encode(sound(chance), "wav"))
    os.mkfifo(special / "pipe.wav")
    (special / "device.wav").symlink_to("/dev/zero")
    (special / "loop.wav").symlink_to(special / "loop.wav")
    (special / "dangling.wav").symlink_to(special / "nowhere.wav")
    (special / "unreadable.wav").write_bytes(encode(sound(chance), "wav"))
    (special / "unreadable.wav").chmod(0)
    (special / "folder.wav").mkdir()
    (special / "loop of folders").symlink_to(special)


def make_manifests(folder: pathlib.Path, rows: int) -> list[str]:
    """Tables that name healthy files, absent ones and none, say what cannot be, and contradict each other."""
    healthy = sorted(str(path.relative_to(folder)) for path in (folder / "healthy").rglob("*") if path.is_file())
    a, b, c, *_ = healthy
    words = ["🐕🔥" * 30, "word " * 10_000, "ሰላም ለዓለም", "", "<b>&amp;</b>", 'say "it", twice', "two\nlines", "\u202eback"]
    table = [{"path": a, "transcript": text, "start": n / 10, "end": n / 10 + 0.05} for n, text in enumerate(words)]
    table += [{"path": b, "label": "dog"}, {"path": b, "label": "dog"}, {"path": b, "label": "cat"}, {"path": "", "label": "none"}, {"label": "x"}]
    table += [{"path": c, "start": start, "end": end} for start, end in ((2, 1), (-1, 2), ("nan", ""), ("soon", ""), (1e9, ""), ("", -3), ("inf", "inf"))]
    table += [{"path": path} for path in ("absent.wav", "a\0b.wav", "nosuch://x/y.wav", "file://" + str(folder / a), "/dev/zero", "/", "x" * 5000, "../" * 50)]
    table += [{"path": c, "role": "hero"}, {"path": c, "domain": "noise"}, {"path": c, "group": 7, "license": None, "studio": {"n": [1, 2]}}]
    (folder / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    pd.DataFrame([{"file_name": b, "label": "a horse"}, {"file_name": a, "start": "0", "end": "0.05", "speaker": "me"}]).to_parquet(folder / "two.parquet")
    many = [f"{healthy[n % len(healthy)]},{n // len(healthy) + 100}" for n in range(rows)]
    (folder / "many.csv").write_text("path,start\n" + "\n".join(many) + "\n")
    return [str(folder / name) for name in ("one.jsonl", "two.parquet", "many.csv")]


def start_refused(folder: pathlib.Path, config: dict) -> list[subprocess.Popen]:
    """Builds over manifests that are no tables; each has to end in one line and exit code 2."""
    started = []
    for name, data in {"columns.csv": b"name,label\na,b\n", "letter.csv": b"\0\0\0", "cut.parquet": b"PAR1" + bytes(90), "half.jsonl": b'{"path": "a'}.items():
        (folder / name).write_bytes(data)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**config, "sources": [{"kind": "manifest", "path": str(folder / name)}]}))
        command = [sys.executable, "-m", "pipeline", "build", str(folder / f"{name}.yaml"), "-o", str(folder / "refused")]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return started


def expected(folder: pathlib.Path) -> set[str]:
    """Names of all that lies in the folder and must have a row, as a table can hold them."""
    found = set()
    for place, folders, names in os.walk(folder):
        found |= {os.path.join(place, name) for name in names}
        found |= {os.path.join(place, name) for name in folders if name.endswith(".wav") or os.path.islink(os.path.join(place, name))}
    return {os.fsencode(name).decode("utf-8", "backslashreplace") for name in found}


def kind_of(reason: str) -> str:
    """A reason without the names and numbers of one item."""
    reason = re.sub(r"^the same sound as .*", "the same sound as …", reason, flags=re.DOTALL)
    return re.sub(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?", "…", re.sub(r"'.*'|/\S+", "…", reason, flags=re.DOTALL))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=pathlib.Path, help="a new folder for the files and the run, to be looked at")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or pathlib.Path(scratch)
        return attack(folder, arguments.files, arguments.seed)


def attack(folder: pathlib.Path, count: int, seed: int) -> int:
    """Make the files, build over them, and print what came of it. Returns the exit code."""
    make_files(folder / "files", count, seed)
    manifests = make_manifests(folder / "files", 5 * count)
    (folder / "simulated").mkdir()
    (folder / "simulated/sitecustomize.py").write_text(textwrap.dedent(DECODER))
    sources = [{"kind": "folder", "path": str(folder / "files" / name), "label": "parent"} for name in ("healthy", "damaged", "names", "special")]
    config = {"seed": seed, "audio": {"sample_rate": RATE, "seconds": SCENE}, "missing": "skip", "edits": {"add": 8, "remove": 8},
              "sources": [*sources, *({"kind": "manifest", "path": path} for path in manifests)], "shards": {"pairs": 8}, "clips": {"time_limit": TIME_LIMIT}}
    (folder / "hostile.yaml").write_text(yaml.safe_dump(config))
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "pipeline", "build", str(folder / "hostile.yaml"), "-o", str(folder / "run")], cwd=ROOT,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(folder / "simulated")})
    seconds = time.perf_counter() - begun
    refused = [(process.communicate()[1], process.returncode) for process in start_refused(folder / "files", config)]
    crashes = int(done.returncode != 0) + sum(code != 2 or said.count("\n") != 1 for said, code in refused)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    try:
        files, clips = (pd.read_parquet(folder / f"run/quality/{name}.parquet") for name in ("sources", "clips"))
    except FileNotFoundError:
        print(f"no tables; exit code {done.returncode}")
        return 1
    looked_at = {name for source in sources for name in expected(pathlib.Path(source["path"]))}
    rowless = looked_at - set(files["uri"])
    listing = list_sources(Config.model_validate(config))
    probe.measure(listing, Storage(str(folder / "run")), Resources())
    wanted = windows(listing, SCENE)  # gives reasons too
    wanted += [clip for clip in listing.named if clip.reason]
    windowless = collections.Counter(clip.uri for clip in wanted) - collections.Counter(clips["file"])
    ended = files[files["reason"].fillna("").str.contains("its process died|given up")]["uri"].str.rpartition("/")[2]
    wrongly = set(ended) ^ set(SIMULATED)
    wordless = sum(int(table.loc[table["status"] == "rejected", "reason"].fillna("").str.len().eq(0).sum()) for table in (files, clips))
    reasons = collections.Counter(kind_of(reason) for table in (files, clips) for reason in table["reason"].dropna())
    table = {"files": len(looked_at), "rows in quality/sources.parquet": len(files), "rows in quality/clips.parquet": len(clips),
             "files kept": int((files["status"] == "ok").sum()),
             "crashes": crashes, "files without a row": len(rowless), "windows and rows without a row": windowless.total(), "rows without a reason": wordless,
             "files given up, not the simulated": len(wrongly),
             "seconds": f"{seconds:.1f}", "seconds per file": f"{seconds / len(looked_at):.4f}", "kinds of reasons": len(reasons)}
    for name, value in table.items():
        print(f"{name:<34}{value:>10}")
    print("\nthe commonest reasons")
    for reason, many in reasons.most_common(20):
        print(f"{many:>6} × {reason[:140]}")
    for name in sorted(rowless)[:10]:
        print(f"without a row: {name!r}")
    for name in sorted(wrongly):
        print(f"given up, or not, against what was simulated: {name!r}")
    return int(bool(crashes or rowless or windowless or wordless or wrongly))


if __name__ == "__main__":
    sys.exit(main())

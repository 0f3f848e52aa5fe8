"""How fast a build is, against what a user would pick instead, and how it grows.

    python benchmarks/build.py scaper --scaper-python scaper-env/bin/python   # pairs a second against Scaper's soundscapes
    python benchmarks/build.py efficiency                                     # two cores against one process without Ray
    python benchmarks/build.py growth                                         # memory and time at 8,000 pairs and at 1,000
    python benchmarks/build.py plan                                           # a million pairs from 200,000 clips

Every figure that compares two things is a ratio of runs made in turn, in one call. See scaper_baseline.py for Scaper's
environment.
"""

import argparse
import itertools
import json
import pathlib
import resource
import statistics
import subprocess
import tempfile
import threading
import time

import numpy as np
import pandas as pd
import ray
import soundfile

from manifests.audio import decode_flac, encode_flac, to_int16
from manifests.chance import generator, mix
from manifests.labels import Labels
from manifests.storage import Storage
from manifests.tables import read_table
from pipeline import build, pairs, plan, run
from pipeline.config import Config
from pipeline.rooms import NAME as ROOMS
from pipeline.split import components, deal, keys

RATE, SECONDS = 44_100, 10.0


def make_bank(folder: pathlib.Path) -> pathlib.Path:
    """Foreground/LABEL (8 labels, 20 events of 0.6-4 s each) and background/LABEL (72 of 15 s: none stands in more than 50 scenes), as Scaper wants it."""
    chance = generator("bank")
    for label, n in itertools.product(range(8), range(20)):
        t = np.arange(round(chance.uniform(0.6, 4.0) * RATE)) / RATE
        tone = sum(np.sin(2 * np.pi * 180 * 1.4**label * k * t) / k for k in (1, 2, 3)) + 0.1 * chance.standard_normal(len(t))
        _write(folder / "foreground" / f"label{label}" / f"{n}.wav", 0.1 * tone * np.exp(-t / t[-1]))
    for n in range(72):
        _write(folder / "background" / f"noise{n}" / "0.wav", 0.02 * np.convolve(chance.standard_normal(round(15 * RATE)), np.ones(8) / 8, "same"))
    return folder


def _write(path: pathlib.Path, audio: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, RATE)


def configuration(bank: pathlib.Path, count: int) -> Config:
    edits = {edit: count // 4 for edit in ("add", "remove", "extract", "replace")}
    sources = [{"kind": "folder", "path": str(bank), "label": "parent"}]
    return Config.model_validate({"seed": 1, "audio": {"sample_rate": RATE, "seconds": SECONDS}, "sources": sources, "edits": edits,
                                  "split": {"train": 1.0, "val": 0.0, "test": 0.0}, "shards": {"pairs": 32}})


class Work:
    """A bank ingested once; pair parts of it can be run again and again, each time into a new folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.bank, self._count = folder, make_bank(folder / "bank"), 0
        build.build(configuration(self.bank, 40), str(folder / "clips"))
        table = read_table(Storage(str(folder / "clips")), "clips/clips.parquet").to_pandas()
        self.rooms = Storage(str(folder / "clips")).read(ROOMS)
        self.clips = table.assign(tar=[str(folder / "clips" / tar) for tar in table["tar"]])

    def prepared(self, count: int, offset: int = 0) -> tuple[list, pairs.PairWork]:
        config = configuration(self.bank, count).model_copy(update={"seed": offset})
        table = plan.plan(self.clips.assign(key=keys(self.clips["clip_id"])), config, "benchmrk", [], Labels.read())
        self._count += 1
        place = Storage(str(self.folder / f"run{self._count}"))
        place.write(ROOMS, self.rooms)
        work = build.pair_work(config, place.root)
        return list(build.pair_parts(plan.parts(table), self.clips)), work

    def on_ray(self, count: int, offset: int = 0) -> float:
        """Pairs a second of render, score, filter and shard, two cores."""
        parts, work = self.prepared(count, offset)
        done, started = 0, time.perf_counter()
        for _, record in run.run_parts(iter(parts), build.pair_steps(configuration(self.bank, count)), work, pairs.item_id):
            done += record["pairs"]
        rate = done / (time.perf_counter() - started)
        Storage(work.run).remove("")
        return rate

    def in_one_process(self, count: int, offset: int = 0) -> float:
        """Pairs a second of the same functions, called one after the other."""
        parts, work = self.prepared(count, offset)
        done, started = 0, time.perf_counter()
        for part in parts:
            state = part
            for step in build.pair_steps(configuration(self.bank, count)):
                state = step.function(state, work)
            done += state["pairs"]
        rate = done / (time.perf_counter() - started)
        Storage(work.run).remove("")
        return rate

    def floor(self, count: int) -> float:
        """Pairs a second if all there were to do was to decode the clips of each scene and to encode each pair's two sides."""
        parts, work = self.prepared(count)
        store = Storage(work.run)
        grounds = [clip for item in parts[0].items for clip in item["clips"].values() if clip.role == "background"]
        sides = [to_int16(decode_flac(pairs.read_clip(store, clip), 0, work.samples)) for clip in grounds]
        done, started = 0, time.perf_counter()
        for part in parts:
            for item in part.items:
                for clip in item["clips"].values():
                    decode_flac(pairs.read_clip(store, clip), 0, work.samples)
                for _ in item["pairs"]:
                    encode_flac(sides[done % len(sides)], RATE)
                    encode_flac(sides[(done + 1) % len(sides)], RATE)
                    done += 1
        return done / (time.perf_counter() - started)


def scaper(options: argparse.Namespace, work: Work) -> None:
    """Pairs a second on two cores against soundscapes a second of Scaper in one process, in turn."""
    work.on_ray(64)
    ours, theirs = [], []
    for n in range(options.rounds):
        ours.append(work.on_ray(options.pairs, n))
        command = [options.scaper_python, pathlib.Path(__file__).with_name("scaper_baseline.py"), "--bank", work.bank, "--count", "60"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        theirs.append(json.loads(done.stdout.splitlines()[-1])["per_second"])
    floor = work.floor(400)
    tell("AudioEdit, two cores, pairs/s", ours)
    tell("Scaper, one process, soundscapes/s", theirs)
    tell("ratio", [a / b for a, b in zip(ours, theirs)])
    tell("share of the floor (two processes that only decode and encode)", [a / (2 * floor) for a in ours])


def efficiency(options: argparse.Namespace, work: Work) -> None:
    """Two cores with Ray against one process without it."""
    work.on_ray(64)
    one, two = [], []
    for n in range(options.rounds):
        one.append(work.in_one_process(options.pairs // 4, n))
        two.append(work.on_ray(options.pairs, n))
    tell("one process, no Ray, pairs/s", one)
    tell("two cores on Ray, pairs/s", two)
    tell("parallel efficiency: two cores / (2 x one process)", [b / (2 * a) for a, b in zip(one, two)])


def growth(options: argparse.Namespace, work: Work) -> None:
    """Peak memory of driver and workers, and time per pair, of a large run against a small one."""
    work.on_ray(64)
    found = {}
    for count in (1_000, 8_000):
        with Peaks() as peaks:
            rate = work.on_ray(count)
        found[count] = {"ms a pair": 1000 / rate, "driver, MB": peaks.driver, "worker, MB": peaks.worker}
    for what in found[1_000]:
        print(f"{what:14} {found[1_000][what]:8.1f} at 1,000 pairs {found[8_000][what]:8.1f} at 8,000  ratio {found[8_000][what] / found[1_000][what]:.3f}")


class Peaks:
    """Peak anonymous memory (MB) of this process and of Ray's workers, while in the context."""

    def __enter__(self) -> "Peaks":
        self.driver = self.worker = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self.driver = max(self.driver, _anonymous(pathlib.Path("/proc/self")))
            for process in pathlib.Path("/proc").iterdir():
                if process.name.isdigit():
                    self.worker = max(self.worker, _anonymous(process, b"ray::"))


def _anonymous(process: pathlib.Path, name: bytes = b"") -> float:
    try:
        if not (process / "cmdline").read_bytes().startswith(name):
            return 0.0
        [line] = [line for line in (process / "status").read_text().splitlines() if line.startswith("RssAnon")]
    except (OSError, ValueError):  # it has just ended
        return 0.0
    return int(line.split()[1]) / 1000


def plan_a_million(options: argparse.Namespace) -> None:
    """Time and memory of planning, and what one clip more changes."""
    count = 200_000
    ids = mix(9, np.arange(count + 1))
    index = np.arange(count + 1)
    clips = pd.DataFrame({
        "clip_id": [f"{i:016x}" for i in ids], "key": ids, "uri": [f"{i}.flac" for i in index], "role": np.where(index % 10 == 0, "background", "event"),
        "label": [f"ground {i % 37}" if i % 10 == 0 else f"label {i % 400}" for i in index], "piece": "", "part": "", "variant": 0, "caption": "", "group": "",
        "speaker": "", "source": 0, "editable": 0, "leak_db": None, "duration": 30.0, "lufs": -20.0, "noise_floor_db": -60.0, "bandwidth_hz": 8000.0})
    config = Config.model_validate({"seed": 1, "sources": [{"kind": "soundfont"}], "edits": dict.fromkeys(("add", "remove", "extract", "replace"), 250_000)})
    plans = []
    for table in (clips.iloc[:-1], clips):
        started = time.perf_counter()
        table = table.assign(unit=components(table))
        table = table.assign(split=deal(table, config.splits, 1)).sort_values("clip_id")
        plans.append(plan.plan(table, config, "benchmrk", [], Labels.read()))
        print(f"{len(plans[-1]):,} pairs from {len(table):,} clips in {time.perf_counter() - started:.1f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB (both plans held)")
    rows = [set(zip(p["pair_id"].to_pylist(), map(tuple, p["clip_ids"].to_pylist()), p["other"].to_pylist())) for p in plans]
    print(f"one clip more leaves {len(rows[0] & rows[1]) / len(rows[0]):.3%} as it was")


def tell(what: str, values: list[float]) -> None:
    print(f"{what:66} median {statistics.median(values):7.2f}   from {min(values):.2f} to {max(values):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scaper", "efficiency", "growth", "plan"])
    parser.add_argument("--pairs", type=int, default=None, help="pairs a run (default: 600 against Scaper, 5000 for efficiency)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scaper-python", default="scaper-env/bin/python", help="of Scaper's environment")
    options = parser.parse_args()
    options.pairs = options.pairs or {"scaper": 600, "efficiency": 5_000}.get(options.what)
    if options.what == "plan":
        plan_a_million(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Work(pathlib.Path(folder))
        try:
            {"scaper": scaper, "efficiency": efficiency, "growth": growth}[options.what](options, work)
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()

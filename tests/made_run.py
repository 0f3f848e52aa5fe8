"""A finished run on disk without a build: a tone over noise, to be removed, extracted or added, in shards that the project's own stage writes."""

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np

from manifests.chance import generator
from manifests.pair import Pair
from stages.shard import shard

EDITS = ("remove", "extract", "add")


def make_run(folder: Path, train: int = 8, val: int = 2, shard_of: int = 3, rate: int = 16_000, seconds: float = 1.0, channels: int = 1, seed: int = 0) -> str:
    """Write shards/ and its index; gives the folder's path."""
    return write_run(folder, {split: [pair(f"{split}{number:03d}", split, number, rate, seconds, channels, seed) for number in range(count)]
                              for split, count in (("train", train), ("val", val))}, shard_of)


def write_run(folder: Path, splits: dict[str, list[Pair]], shard_of: int) -> str:
    """Write shards/ and its index; gives the folder's path."""
    (folder / "shards").mkdir(parents=True)
    index = []
    for split, pairs in splits.items():
        count = len(pairs)
        for nth, first in enumerate(range(0, count, shard_of)):
            data, name = shard(pairs[first : first + shard_of]), f"shards/{split}-{nth:06d}.tar"
            (folder / name).write_bytes(data)
            index.append({"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "split": split,
                          "pairs": len(pairs[first : first + shard_of]), "part": len(index)})
    (folder / "shards/index.json").write_text(json.dumps(index))
    return str(folder)


def pair(key: str, split: str, number: int, rate: int, seconds: float, channels: int, seed: int) -> Pair:
    """A tone of its own pitch in the middle third, over noise."""
    chance, samples = generator("made", seed, key), round(rate * seconds)
    ground = 0.03 * chance.standard_normal((channels, samples))
    tone = np.zeros((channels, samples))
    first, end = samples // 3, 2 * samples // 3
    tone[:, first:end] = 0.3 * np.sin(2 * np.pi * (300 + 50 * number) / rate * np.arange(end - first))
    edit = EDITS[number % len(EDITS)]
    before, after = {"remove": (ground + tone, ground), "extract": (ground + tone, tone), "add": (ground, ground + tone)}[edit]
    words = [f"{edit.title()} the sound of 'tone {number}'.", f"Please {edit} tone {number}."]
    source, target = (np.round(side * 32767).clip(-32768, 32767).astype(np.int16) for side in (before, after))
    return Pair(
        pair_id=key, scene_id=f"scene{key}", edit=edit, branch="synthetic", tier="synthetic", domain="sound", language="en", split=split, part=0, kept=True,
        instruction=words[0], instructions=words, label=f"tone {number}", duration_s=seconds, edit_spans=[[first / rate, end / rate]],
        clips=[{"id": "c", "uri": "made", "license": "", "role": "event"}], sample_rate=rate, source=source, target=target)


def siblings(rate: int = 16_000, seconds: float = 1.0) -> list[Pair]:
    """Eight pairs of two scenes: a low and a high buzz over noise, all the time, each to be removed and to be extracted. Only the instruction tells which."""
    found, samples = [], round(rate * seconds)
    for scene in range(2):
        chance = generator("siblings", scene)
        time, ground = np.arange(samples) / rate, 0.02 * chance.standard_normal(samples)
        stems = {}
        for name, lowest in (("low buzz", 180 + 70 * scene), ("high buzz", 1300 + 300 * scene)):
            swell = 1 + 0.5 * np.sin(2 * np.pi * (chance.uniform(1, 4) * time + chance.random()))
            stems[name] = 0.08 * swell * sum(np.sin(2 * np.pi * (n * lowest * time + chance.random())) for n in range(1, 4))
        for name, stem in stems.items():
            mixture = ground + sum(stems.values())
            for edit, target in (("remove", mixture - stem), ("extract", stem)):
                made = pair(f"scene{scene}{name[0]}{edit}", "train", 0, rate, seconds, 1, 0)
                made.scene_id, made.edit, made.label, made.edit_spans = f"scene{scene}", edit, name, [[0.0, seconds]]
                made.instructions = [f"{edit.title()} the sound of '{name}'.", f"Please {edit} the {name}."]
                made.instruction = made.instructions[0]
                made.source, made.target = (np.round(side[None] * 32767).astype(np.int16) for side in (mixture, target))
                found.append(made)
    return found


def broken(folder: Path, key: str) -> None:
    """Overwrite the bytes of a sample's source, where it lies."""
    for tar in (folder / "shards").glob("*.tar"):
        with tarfile.open(tar) as file:
            found = [member for member in file if member.name == f"{key}.source.flac"]
        for member in found:
            with open(tar, "r+b") as file:
                file.seek(member.offset_data)
                file.write(bytes(member.size))

"""What a report shows of a run's pairs: a few of each edit, with sound, pictures and texts, out of the shards."""

import base64
import io
import json
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pandas as pd
import soundfile
import soxr

from manifests.audio import decode_flac
from manifests.chance import key
from manifests.speech import parted, text_of
from manifests.storage import Storage
from pipeline.config import SPLITS
from pipeline.spectrogram import pictures, ticks

SHOWN = 3  # pairs of each edit
CANDIDATES = 50  # of each edit, split and domain, that those shown are chosen from
EXCERPT = 12.0  # s: of a longer pair, a stretch from shortly before the edit
CUT = 0.02  # s: a span this short is a join at which words are missing, too narrow to be drawn as wide as it is
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
HEARD = ("target", "source", "neither")  # whose text a recognizer heard on the target


def choose(kept: pd.DataFrame, seed: int) -> list[dict]:
    """The pairs to show: `SHOWN` of each edit, of as many scenes, splits and domains as there are, else by keyed hash."""
    ranked = kept[["pair_id", "scene_id", "edit", "split", "domain", "part"]]
    ranked = ranked.assign(rank=np.array([key(seed, "report", pair) for pair in kept["pair_id"]], np.uint64)).sort_values("rank", kind="stable")
    few = ranked.groupby(["edit", "split", "domain"]).head(CANDIDATES).to_dict("records")
    chosen, seen = [], Counter()
    for edit in sorted({pair["edit"] for pair in few}):
        left, of_edit = [pair for pair in few if pair["edit"] == edit], Counter()
        for _ in range(min(SHOWN, len(left))):
            best = min(left, key=lambda pair: (seen[pair["scene_id"]], of_edit[pair["split"]], of_edit[pair["domain"]], pair["rank"]))
            left.remove(best)
            chosen.append(best)
            seen[best["scene_id"]] += 1
            of_edit.update((best["split"], best["domain"]))
    return chosen


def shown(run: Storage, chosen: list[dict], edits: list[str], shards: list[dict], rows: pd.DataFrame) -> dict[str, list[dict]]:
    """Pairs to see and hear, by edit; threads hide the way to an object store.

    Args:
        chosen: by `choose`.
        shards: entries of the shards' index.
        rows: kept pairs by pair_id, for what a shard does not know.
    """
    names = {shard["part"]: shard["name"] for shard in shards}
    with ThreadPoolExecutor(4) as threads:
        samples = list(threads.map(lambda pair: _sample(run, names[pair["part"]], pair["pair_id"]), chosen))
    for sample in samples:
        row = rows.loc[sample["id"]]
        sample |= {"transcribed_by": row["transcribed_by"], "heard": row["asr_choice"] if row["asr_choice"] in HEARD else None}
    return {edit: sorted((s for s in samples if s["edit"] == edit), key=lambda s: SPLITS.index(s["split"])) for edit in edits}


def _sample(run: Storage, shard: str, pair_id: str) -> dict:
    """One sample of a shard, with its sides as data URIs of MP3 and PNG."""
    members = _members(run, shard, pair_id)
    sample = json.loads(members["json"])
    rate, span = sample["sample_rate"], json.loads(sample["params"]).get("source_span")  # None: the edit is at the same place on both sides
    sides = [decode_flac(members[f"{side}.flac"]) for side in ("source", "target")]
    lengths = [audio.shape[1] / rate for audio in sides]
    whole = max(lengths)
    start = min(max(0.0, sample["edit_start"] - 2), whole - EXCERPT) if whole > EXCERPT else 0.0  # before the edit both sides are at the same time
    seconds = min(whole, EXCERPT)
    sides = [audio[:, round(start * rate) : round((start + seconds) * rate)] for audio in sides]
    marks = [_marks(spans, start, seconds) for spans in ([span] if span else sample["edit_spans"], sample["edit_spans"])]
    said = _said(sample, lengths) if span else (None, None)
    return {
        **sample, "scores": json.loads(sample["scores"]), "shard": shard, "whole": whole, "start": start, "seconds": seconds,
        "everywhere": all(found == [(0.0, 100.0, False)] for found in marks), "ticks": ticks(rate),
        "sides": [{"name": name, "text": sample[f"{name}_text"], "said": words, "length": length, "marks": found,
                   "width": min(100.0, round(audio.shape[1] / rate / seconds * 100, 2)),
                   "sound": _uri("audio/mpeg", _mp3(audio, rate)), "picture": _uri("image/png", png)}
                  for name, words, length, found, audio, png in zip(("source", "target"), said, lengths, marks, sides, pictures(sides, rate))],
    }


def _marks(spans: list[list[float]], start: float, seconds: float) -> list[tuple[float, float, bool]]:
    """Where spans lie in a picture of the seconds from `start`: left and width in percent, and whether it is but a cut."""
    within = [(max(0.0, a - start) / seconds, min(seconds, b - start) / seconds, b - a < CUT) for a, b in spans]
    return [(round(100 * a, 2), round(100 * (b - a), 2), cut) for a, b, cut in within if b > a]


def _said(sample: dict, lengths: list[float]) -> list[tuple[str, str, str]]:
    """Each side's text in three: what comes before the edited words, they, and what comes after."""
    source, target = parted(sample["source_text"]), parted(sample["target_text"])
    side = 1 if sample["edit"] == "speech_insert" else 0  # the one that the label is of
    first, *ends = edited_words(source, target, parted(sample["label"]), side, sample["edit_start"] / lengths[side])
    return [(text_of(words[:first]), text_of(words[first:end]), text_of(words[end:])) for words, end in zip((source, target), ends)]


def edited_words(source: list[str], target: list[str], label: list[str], side: int, at: float) -> tuple[int, int, int]:
    """Which words an edit is about: the first of them on both sides, and the end of them on each.

    What is before and after them is the same on both sides. Where several stretches of words would do, as in "no no", it is
    one that reads as the label does, on the label's side (0: source), and of those the nearest to a share of the time.

    >>> edited_words("and no and yes".split(), "and yes".split(), ["and", "no"], 0, 0.0), edited_words(["a", "b"], ["a", "c"], [], 0, 0.0)
    ((0, 2, 0), (1, 2, 2))
    """
    shorter = min(len(source), len(target))
    head = next((n for n in range(shorter) if source[n] != target[n]), shorter)
    tail = next((n for n in range(shorter) if source[-1 - n] != target[-1 - n]), shorter)
    words, other = (target, source) if side else (source, target)
    more, count = len(other) - len(words), len(label)
    possible = [n for n in range(head + 1) if words[n : n + count] == label and len(words) - n - count <= tail and count + more >= 0]
    if not possible or not label:
        tail = min(tail, shorter - head)
        return head, len(source) - tail, len(target) - tail
    first = min(possible, key=lambda n: abs(len("".join(words[:n])) / len("".join(words)) - at))
    ends = (first + count, first + count + more)
    return first, *(reversed(ends) if side else ends)


def _members(run: Storage, shard: str, pair_id: str) -> dict[str, bytes]:
    """A sample's files by what follows its key; no more of the shard is read than it takes to come to them."""
    found: dict[str, bytes] = {}
    with fsspec.open(run.path(shard), "rb") as file, tarfile.open(fileobj=file) as tar:
        for member in tar:
            name, _, suffix = member.name.partition(".")
            if name == pair_id:
                found[suffix] = tar.extractfile(member).read()
            elif found:
                break
    return found


def _mp3(audio: np.ndarray, rate: int) -> bytes:
    """MP3 at a variable rate near 100 kbit/s; a sample rate that MP3 does not know becomes the next that it does."""
    playable = next((r for r in MP3_RATES if r >= rate), MP3_RATES[-1])
    if playable != rate:
        audio = soxr.resample(audio.T, rate, playable).T
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, playable, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.3)
    return buffer.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

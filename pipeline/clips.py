"""Phase 1: a clip part's windows become stored clips."""

import io
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa

from manifests.audio import Recordings
from manifests.clip import EXCLUDED, Clip
from manifests.part import Part
from manifests.storage import Storage
from manifests.tables import concat, schema_of, table_of, write_table
from pipeline import commit
from pipeline.alone import give_up_after, watch_of
from pipeline.duplicates import settle_duplicates
from stages.diarize import diarize
from stages.engines import espeak, registry
from stages.ingest import Gates, ingest, store
from stages.label import ROLES, label
from stages.score_clap import LABELLED, score_clips
from stages.separate import separate
from stages.shard import add_member
from stages.transcribe import transcribe

TAR = "clips.tar"
KINDS = {"separate": "separator", "diarize": "diarizer", "transcribe": "transcriber", "label": "labeler", "clap": "scorer"}  # the engine of a stage
FENCED = 20  # utterances of a source and language, at least, for some to be out of the ordinary
HIDDEN = ("tar", "offset", "size", "gain_db", "split", "source", "metadata", "piece", "part", "variant", "tier", "unit", "words", "turns")


@dataclass(frozen=True)
class ClipWork:
    """What every clip part needs to know of the run; engines by their specification, JSON text."""

    run: str
    rate: int
    channels: int
    seconds: float
    gates: Gates
    engines: dict[str, str]  # specification by kind
    labels: tuple[str, ...]  # that the sources name

    def spec(self, kind: str) -> dict:
        """The specification of an engine."""
        return json.loads(self.engines[kind])


def ingest_part(part: Part, work: ClipWork) -> dict:
    """Ingest a part's windows, one after the other; in every step one that takes longer than `clips.time_limit` ends the process."""
    started, clips, limit, recordings = time.perf_counter(), [], work.gates.time_limit, Recordings()
    for window in part.items:
        if reason := part.skip.get(item_id(window)):
            clips.append((replace(window, reason=reason), None))
            recordings.close()
        else:
            synthesizer = registry.load("synthesizer", work.spec("synthesizer")) if window.uri.startswith(espeak.SCHEME) else None
            with give_up_after(limit, f"not decoded after {limit:g} s: given up"):
                clips += ingest(window, work.rate, work.channels, work.seconds, work.gates, recordings, synthesizer)
    recordings.close()
    return {"part": part, "clips": clips, "stages": [_stage("ingest", started, part.items, clips)]}


def separate_part(state: dict, work: ClipWork) -> dict:
    """Take those of a part's recordings apart that are to be."""
    return _stage_of("separate", state, work, lambda clip: clip.role == "stem",
                     lambda todo, engine, watch: separate(todo, work.rate, engine, work.gates, watch))


def diarize_part(state: dict, work: ClipWork) -> dict:
    """Tell who speaks when in a part's conversations."""
    return _stage_of("diarize", state, work, lambda clip: clip.role == "conversation",
                     lambda todo, engine, watch: _singly(diarize(todo, work.rate, engine, work.gates, watch)))


def transcribe_part(state: dict, work: ClipWork) -> dict:
    """Find the words of a part's utterances."""
    unknown = any(clip.reason is None and clip.role == "utterance" and not clip.words for clip, _ in state["clips"])
    name = work.spec("transcriber")["engine"]
    return _stage_of("transcribe", state, work, lambda clip: clip.role == "utterance",
                     lambda todo, engine, watch: _singly(transcribe(todo, work.rate, engine, name, work.gates, watch)), wanted=unknown)


def label_part(state: dict, work: ClipWork) -> dict:
    """Let an engine label what nobody labelled."""
    name = work.spec("labeler")["engine"]
    return _stage_of("label", state, work, lambda clip: clip.role in ROLES and not clip.label,
                     lambda todo, engine, watch: _singly(label(todo, work.rate, engine, name, list(work.labels), watch)))


def clap_part(state: dict, work: ClipWork) -> dict:
    """Hold a part's clips against their labels."""
    return _stage_of("clap", state, work, lambda clip: clip.role in LABELLED and clip.label,
                     lambda todo, engine, watch: _singly(score_clips(todo, work.rate, engine, work.gates, watch)))


def _stage_of(stage: str, state: dict, work: ClipWork, mine: Callable[[Clip], bool], function: Callable, wanted: bool = True) -> dict:
    """Let a stage, with its engine where that is wanted, make of some of the kept clips what it makes of them; the others go by.

    Args:
        function: of those clips with their audio, the engine, and what is to stand around each call of it; gives for each its own.
    """
    places = [n for n, (clip, _) in enumerate(state["clips"]) if clip.reason is None and mine(clip)]
    if not places:
        return state
    engine = registry.load(KINDS[stage], work.spec(KINDS[stage])) if wanted else None
    started, todo = time.perf_counter(), [state["clips"][n] for n in places]
    made = dict(zip(places, function(todo, engine, watch_of(engine, stage, work.gates.time_limit))))
    clips = [given for n, clip in enumerate(state["clips"]) for given in made.get(n, [clip])]
    return {**state, "clips": clips, "stages": [*state["stages"], _stage(stage, started, todo, clips)]}


def _singly(found: list) -> list[list]:
    return [[one] for one in found]


def _stage(name: str, started: float, items: list, clips: list) -> dict:
    return {"stage": name, "seconds": time.perf_counter() - started, "items": len(items), "bytes": sum(a.nbytes for _, a in clips if a is not None)}


def commit_clips(state: dict, work: ClipWork) -> dict:
    """Store a part's clips in one tar and commit it."""
    started, part, buffer, rows = time.perf_counter(), state["part"], io.BytesIO(), []
    stored: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for clip, audio in state["clips"]:
            if clip.reason is None:
                clip, flac = store(clip, audio, work.rate)
                if clip.clip_id not in stored:
                    add_member(tar, f"{clip.clip_id}.flac", flac)
                    stored[clip.clip_id] = tar.offset - -(-len(flac) // 512) * 512, len(flac)
                offset, size = stored[clip.clip_id]
                clip = replace(clip, tar=tar_name(part.number), offset=offset, size=size)
            rows.append(clip)
    seconds = sum(clip.duration for clip in rows)
    stages = [*state["stages"], {"stage": "store", "seconds": time.perf_counter() - started, "items": len(rows), "bytes": buffer.tell()}]
    outcome = {"items": len(part.items), "kept": len(stored), "audio_seconds": round(seconds, 3), "stages": stages}
    return commit.commit(Storage(work.run), part, table_of(rows, Clip), {TAR: buffer.getvalue()}, outcome)


def item_id(window: Clip) -> str:
    """What names a window among a part's items."""
    return f"{window.uri} [{window.start:.10g} s, {window.end:.10g} s]"


def tar_name(number: int) -> str:
    return f"clips/clip-{number:05d}.tar"


def gather(run: Storage, rejected: list[Clip]) -> pd.DataFrame:
    """Give all committed clips their names, settle which are the same sound, and write quality/clips.parquet.

    Args:
        rejected: windows that never reached a part.

    Returns:
        The clips that were kept, duplicates too (they tie their files together) and what exclude means; `reason` tells them apart.
    """
    found = commit.records(run, "clips")
    tables = commit.rows_of(run, found)
    for number, record in found.items():
        commit.reveal(run, record, TAR, tar_name(number))
    table = concat([*tables, table_of(rejected, Clip)], schema_of(Clip))
    clips = table.to_pandas()
    settle_duplicates(clips)
    _fence(clips)
    clips["status"] = clips["reason"].isna().map({True: "ok", False: "rejected"})
    shown = clips.drop(columns=list(HIDDEN)).rename(columns={"uri": "file"})
    shown["fingerprint"] = clips["fingerprint"].where(clips["status"] == "rejected", "")  # those kept have theirs in clips/clips.parquet
    write_table(run, "quality/clips.parquet", pa.Table.from_pandas(shown, preserve_index=False))
    return clips[(clips["clip_id"] != "") & (clips["role"] != EXCLUDED)].drop(columns="status")


def _fence(clips: pd.DataFrame) -> None:
    """Give utterances a reason that are spoken much slower or faster than the others of their source and language.

    The fence is Tukey's, one and a half interquartile ranges outside the quartiles, as in Emilia's pipeline.
    """
    speech = clips[(clips["role"] == "utterance") & clips["reason"].isna()]
    for _, found in speech.groupby(["source", "language"]):
        if len(found) < FENCED:
            continue
        speeds = found["chars_per_second"]
        low, high = speeds.quantile([0.25, 0.75])
        low, high = low - 1.5 * (high - low), high + 1.5 * (high - low)
        for row in found.index[(speeds < low) | (speeds > high)]:
            clips.loc[row, "reason"] = f"{speeds[row]:.1f} characters a second; those of its source are spoken at {low:.1f} to {high:.1f}"

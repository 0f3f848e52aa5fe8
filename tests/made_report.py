"""A finished run to be reported on, of tones, by the project's own commits; and a page as a browser would take it."""

import base64
import html
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa

from manifests.audio import to_int16
from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.part import Part
from manifests.storage import Storage
from manifests.tables import write_table
from pipeline import clips as clip_phase
from pipeline import finish, pairs, report
from pipeline.config import Filters, Scenes
from pipeline.sources import Listing, SourceFile

RATE = 16_000
EVIL = """<script>alert(1)</script><img src=http://evil.example/x onerror="alert(1)">' onload='alert(2)"""
SPLITS = ("train", "val", "test")


def tone(hz: float, seconds: float, level: float = 0.2) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pair_of(edit: str, split: str, scene: int, channels: int, seconds: float, label: str, span: tuple[float, float]) -> Pair:
    """A tone all the time, and another within the span: on the target of an add, on the source of anything else."""
    without = np.tile(tone(440, seconds), (channels, 1))
    within = without.copy()
    first, last = (round(t * RATE) for t in span)
    within[0, first:last] += tone(3000, seconds)[first:last]
    before, after = (without, within) if edit == "add" else (within, without)
    clips = [{"id": "c0", "uri": f"/sounds/{label}.wav", "license": "cc0-1.0", "role": "event"}]
    return Pair(
        f"abcdef01-{scene:016x}-{edit}-1", f"{scene:016x}", edit, "synthetic", "demo", "music" if scene % 2 else "sound", "en", split, SPLITS.index(split),
        instruction=f"{edit} '{label}'", instructions=[f"{edit} '{label}'", f"please {edit} {label}"], label=label, duration_s=seconds, n_events=1,
        wordings=[f"{edit} '{{label}}'", f"{'kindly' if split == 'test' else 'please'} {edit} {{label}}"],
        source_lufs=-20.0 - scene, target_lufs=-19.0 - scene, target_peak_dbfs=-3.0, snr_db=float(scene), local_snr_db=3.0, active_ratio=0.5, overlap_ratio=0.0,
        license="cc0-1.0", source_text="hum", target_text=f"hum and {label}", edit_spans=[list(span)], clips=clips, sample_rate=RATE,
        source=to_int16(before), target=to_int16(after),
    )


def spoken(edit: str, texts: tuple[str, str], label: str, spans: tuple[list[float], list[float]], seconds: tuple[float, float], **others) -> Pair:
    """A speech pair of tones: texts, edited spans and lengths are (source's, target's)."""
    sides = [to_int16(np.tile(tone(300 + 400 * n, length), (1, 1))) for n, length in enumerate(seconds)]
    found = {
        "params": {"kind": "utterance", "source_span": spans[0]}, "join_level_db": -40.0, "join_f0_semitones": 1.5, "wer_source": 0.0, "wer_target": 0.0,
        "asr_choice": "target", "chars_per_second": 12.5, "target_peak_dbfs": -3.0, "license": "cc0-1.0", **others,
    }
    return Pair(
        f"abcdef01-{900:016x}-{edit}-0", f"{900:016x}", edit, "real", "real", "speech", "en", "train", 0, instruction=edit, instructions=[edit],
        wordings=[edit], label=label, duration_s=seconds[1], n_events=1, source_text=texts[0], target_text=texts[1], edit_spans=[spans[1]], sample_rate=RATE,
        source=sides[0], target=sides[1], **found,
    )


SPOKEN = (
    ("speech_delete", ("no and no and yes", "no and yes"), "and no", ([1.0, 2.0], [1.0, 1.01]), (4.0, 3.01)),
    ("speech_insert", ("we came home", "we all came home"), "all", ([0.5, 0.51], [0.5, 1.01]), (2.0, 2.5)),
    ("speech_substitute", ("the big dog ran", "the small old dog ran"), "the big", ([0.2, 0.7], [0.2, 1.2]), (2.0, 2.5)),
)


def build(root: str, channels: int = 1, label: str = "bell", seconds: float = 2.0, speech: Sequence[Pair] = ()) -> Storage:
    """A finished run: two kept pairs of "add" and one of "remove" in each split, "replace" all rejected, speech in train; by the project's own commits."""
    run = Storage(root)
    clip = Clip(f"/sounds/{label}.wav", 0, 1, 0, "sound", "demo", label, role="event", peak_dbfs=-1.0, license=label)
    rejected = [Clip(f"/sounds/{label}-{n}.wav", 0, 0, 0, "sound", "demo", reason=f"no event: {label} for 0.{n} s (from 0.5 to 6 s)") for n in range(3)]
    work = clip_phase.ClipWork(run.root, RATE, channels, seconds, None, {}, ())
    ingested = {"stage": "ingest", "seconds": 2.0, "items": 1, "bytes": 0}
    state = {"part": Part("clips", 0, [clip]), "clips": [(clip, tone(440, 1)[None]), *((r, None) for r in rejected)], "stages": [ingested]}
    clip_phase.commit_clips(state, work)
    write_table(run, "clips/clips.parquet", pa.Table.from_pandas(clip_phase.gather(run, []), preserve_index=False))
    finish.write_sources(run, Listing({c.uri: SourceFile(c.uri, 0) for c in (clip, *rejected)}, [], ""))

    work = pairs.PairWork(run.root, 7, RATE, channels, round(seconds * RATE), -25.0, 0.5, 0.0, Labels.read(), 60.0, {}, tuple(Filters().rules))
    plan = []
    for number, split in enumerate(SPLITS):
        made = [pair_of(edit, split, 10 * number + n, channels, seconds, label, (0.5 * seconds, 0.75 * seconds))
                for n, edit in enumerate(("add", "add", "remove", "replace"))]
        made[-1].reason = f"'{label}' is too quiet for 16 bits: -9{number} dBFS"
        made += speech if split == "train" else []
        plan += [{"scene_id": pair.scene_id, "kind": {"sound": "soundscape", "music": "piece", "speech": "utterance"}[pair.domain]} for pair in made]
        part = Part("pairs", number, made, split)
        pairs.commit_pairs(pairs.shard_part({"part": part, "scenes": [(None, made)], "stages": []}, work), work)
    write_table(run, "plan.parquet", pa.Table.from_pylist(plan))
    finish.finish(run, len(SPLITS))
    configuration = {"audio": {"sample_rate": RATE, "channels": channels, "seconds": seconds}, "note": label, "filters": Filters().model_dump(mode="json"),
                     "scenes": Scenes().model_dump(mode="json")}
    run.write_json("run.json", {"identity": "abcdef0123", "configuration": configuration, "seed": 7, "clips_of": None, "state": "running",
                                "versions": {"audioedit": "0.1.0"}, "counts": {"left_out": [label], "made_of": [label]}})
    return run


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and text."""

    def __init__(self, run: Storage):
        super().__init__()
        self.run = run
        self.raw = run.read(report.PAGE).decode()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(self.raw)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def uris(self, tag: str) -> list[bytes]:
        return [base64.b64decode(attrs["src"].partition(",")[2]) for name, attrs in self.elements if name == tag]


def page_of(root: str, **made) -> Page:
    """The report of a run that is built for it."""
    run = build(root, **made)
    report.write(run)
    return Page(run)


def rows_of(page: Page, heading: str) -> list[list[str]]:
    """The rows of the first table after a heading."""
    table = re.search(r"<table.*?</table>", page.raw[page.raw.index(heading):], re.DOTALL)[0]
    return [[html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]

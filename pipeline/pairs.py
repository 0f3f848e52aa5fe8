"""Phase 2: a pair part's scenes become pairs in a shard."""

import json
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from manifests.chance import generator
from manifests.clip import TIERS, Clip
from manifests.errors import Rejected
from manifests.labels import Labels
from manifests.pair import QUALITY, Pair, strictest
from manifests.part import Part
from manifests.scene import Rendered, Scene
from manifests.storage import Storage, split_uri
from pipeline import commit
from pipeline.alone import watch_of
from pipeline.rooms import read_rooms
from stages.edit import edit, sides
from stages.engines import registry
from stages.filter import Rule, judge
from stages.hear import hear
from stages.instruct import SPEECH, instruct, instruct_generate, instruct_noop, instruct_speaker, instruct_speech
from stages.render import render
from stages.scenes import conversation, piece, rooms, separated, solo, soundscape, utterance
from stages.score import quiet_fault, score, score_conversation
from stages.score_clap import HEARD_AS, score_clap
from stages.score_speech import score_speech
from stages.shard import shard

TAR = "shard.tar"
REJECTED, REJECTED_TAR = "rejected", "rejected.tar"  # of pairs that broke a rule: what stands in the index in the place of their split, and their shard
HEARD = ("event", "track", "speech", "voice")  # roles of stems that count as events
SPOKEN = ("utterance", "conversation")  # roles of clips that are speech
OVER_GROUND = ("soundscape", "remix")  # whose first stem is a background
REAL = ("separated", "remix")  # kinds of scene in which one side is a recording as it was


@dataclass(frozen=True)
class PairWork:
    """What every pair part needs to know of the run."""

    run: str
    seed: int
    rate: int
    channels: int
    samples: int
    join_db: float
    overlap: float  # share of a soundscape's events that overlap its first
    rooms: float  # share of a soundscape's events that sound in a room
    labels: Labels
    time_limit: float  # s
    engines: dict[str, str]  # specification by kind, JSON text
    rules: tuple[Rule, ...]
    store_rejected: bool = False


def scenes_of(rows: pa.Table, look_up: Callable[[set[str]], dict[str, Clip]]) -> list[dict]:
    """A part's items: its scenes, each with its pairs and its clips."""
    scenes: dict[str, dict] = {}
    for row in rows.to_pylist():
        scene = scenes.setdefault(row["scene_id"], {**row, "pairs": []})
        scene["pairs"].append((row["pair_id"], row["edit"], row["subject"], row["other"], row["noop"]))
    clips = look_up({clip for s in scenes.values() for clip in (*s["clip_ids"], *(other for *_, other, _ in s["pairs"] if other))})
    for scene in scenes.values():
        scene["clips"] = {clip: clips[clip] for clip in (*scene["clip_ids"], *(other for *_, other, _ in scene["pairs"] if other))}
    return list(scenes.values())


def render_part(part: Part, work: PairWork) -> dict:
    """Render a part's scenes and read their pairs off them."""
    started, run, scenes = time.perf_counter(), Storage(work.run), []
    for item in part.items:
        pairs = [_pair(item, part, pair_id, name) for pair_id, name, *_ in item["pairs"]]
        try:
            if item["scene_id"] in part.skip:
                raise Rejected(part.skip[item["scene_id"]])
            rendered = render_scene(item, pairs, work, lambda clip: read_clip(run, clip))
        except Rejected as rejected:
            for pair in pairs:
                pair.reason = str(rejected)
            rendered = None
        scenes.append((rendered, pairs))
    return {"part": part, "scenes": scenes, "stages": [_stage("render", started, scenes)]}


def render_scene(item: dict, pairs: list[Pair], work: PairWork, read: Callable[[Clip], bytes]) -> Rendered:
    """One scene, rendered, with its pairs filled in; the stems' audio is let go."""
    scene = Scene(item["scene_id"], item["kind"], item["split"], work.rate, work.channels, work.samples)
    changes = _place(scene, item, work)
    rendered = render(scene, item["clips"], read, generator(work.seed, item["scene_id"], "loudness"), _rooms(work, scene.kind))
    for pair, change, (_, name, subject, other, noop) in zip(pairs, changes, item["pairs"]):
        if noop:
            pair.before = pair.after = scene.mixture
            pair.noop = True
            instruct_noop(pair, scene, work.labels, item["clips"][other].label, scene.stems[subject].label)
        elif change is None:
            pair.before, pair.after, pair.edited = sides(scene, name, subject) if scene.kind != "conversation" else conversation.sides(scene, name, subject)
            if not pair.edited:
                pair.reason = "this speaker says nothing alone for as long as two cross-fades"
                continue
            if scene.kind == "conversation":
                instruct_speaker(pair, scene)
            elif name == "generate":
                instruct_generate(pair, scene, work.labels, item["clips"][scene.stems[0].clip_id])
            else:
                instruct(pair, scene, work.labels)
        elif isinstance(change, str):
            pair.reason = change
        else:
            pair.before, pair.after, pair.edited = change.before, change.after, change.put_in
            instruct_speech(pair, change)
    made = [pair for pair in pairs if pair.reason is None]
    if made:
        edit(rendered, made)
    for pair in made:
        pair.reason = quiet_fault(rendered, pair.edited)
        _describe(pair, scene, item["clips"], rendered.seconds / len(pairs))
    unlabelled = scene.kind in OVER_GROUND and not scene.stems[0].label and "scorer" in work.engines
    rendered.audio = rendered.audio[:1] if unlabelled else []  # that background is yet to be listened to
    return rendered


def _place(scene: Scene, item: dict, work: PairWork) -> list[utterance.Change | str | None]:
    """Place a scene's clips; for each pair what changes, or why it cannot be made, where that is not a matter of stems that come and go."""
    chance, kind = generator(work.seed, item["scene_id"]), item["kind"]
    clips = [item["clips"][clip] for clip in item["clip_ids"]]
    others = {subject: item["clips"][other] for _, name, subject, other, noop in item["pairs"] if other and not noop and name != "transfer"}
    transferred = {subject: item["clips"][other] for _, name, subject, other, _ in item["pairs"] if other and name == "transfer"}
    if kind == "utterance":
        asked = [(name, subject, item["clips"][other] if other else None) for _, name, subject, other, _ in item["pairs"]]
        return utterance.place(scene, clips[0], asked, work.join_db, lambda *names: generator(work.seed, *names))
    if kind == "soundscape":  # its first clip is its background
        twice = len(clips) > 2 and work.labels[clips[1].label].name == work.labels[clips[-1].label].name
        instead, followers = ({subject - 1: clip for subject, clip in found.items()} for found in (others, transferred))
        soundscape.place(scene, clips[0], clips[1:], instead, chance, followers=followers, overlap=work.overlap, twice=twice)
        lengths = [len(response) for response in _rooms(work, kind)]
        rooms.put(scene, work.rooms, lengths, lambda *names: generator(work.seed, item["scene_id"], *names))
    elif kind == "piece":
        piece.place(scene, clips, transferred, chance)
    elif kind == "conversation":
        conversation.place(scene, clips[0])
    elif kind == "solo":
        solo.place(scene, clips[0], transferred.get(0), chance)
    elif kind == "separated":
        separated.place(scene, clips, chance)
    else:
        separated.remix(scene, *clips, chance)
    return [None] * len(item["pairs"])


def _rooms(work: PairWork, kind: str) -> list[np.ndarray]:
    """Impulse responses, where a kind of scene may have any."""
    return read_rooms(work.run, work.seed, work.rate) if work.rooms and kind == "soundscape" else []


def _pair(item: dict, part: Part, pair_id: str, name: str) -> Pair:
    clips, first = item["clips"].values(), item["clips"][item["clip_ids"][-1]]
    tier = min((clip.tier for clip in clips), key=TIERS.index)
    spoken = first.role in SPOKEN and item["kind"] != "soundscape"
    real = item["kind"] in REAL or ((spoken or name == "generate") and tier != "demo")
    return Pair(
        pair_id, item["scene_id"], name, branch="real" if real else "synthetic", tier=tier,
        domain="sound" if item["kind"] == "soundscape" else first.domain, language=(spoken and first.language) or "en",
        split=item["split"], part=part.number, license=strictest([clip.license for clip in clips]), clip_ids=list(item["clips"]),
    )


def _describe(pair: Pair, scene: Scene, clips: dict[str, Clip], seconds: float) -> None:
    """The pair's recipe and its clips."""
    used = sorted({*pair.before, *pair.after})
    stems = [asdict(scene.stems[i]) for i in used]
    for stem in stems:
        stem["place_of"] = None if stem["place_of"] is None else used.index(stem["place_of"])
    places = {name: [used.index(i) for i in getattr(pair, name)] for name in ("before", "after", "edited")}
    pair.params = {"kind": scene.kind, "samples": scene.samples, "stems": stems, **places}
    about = clips[scene.stems[pair.edited[0] if pair.edited else 0].clip_id]
    if scene.kind == "utterance":
        start, end = utterance.spans(scene, pair.before, pair.after)[0]
        pair.params["source_span"] = [start / scene.sample_rate, end / scene.sample_rate]
        pair.transcribed_by = next((by for i in used if (by := clips[scene.stems[i].clip_id].transcribed_by)), "")
    elif scene.kind == "conversation":
        pair.speaker_overlap = about.speaker_overlap
    else:
        pair.transcribed_by = about.transcribed_by
        pair.params["background_checked"] = bool(scene.stems[0].label) or scene.kind not in OVER_GROUND
        pair.params["snr_db"] = min((snr for i in pair.edited if (snr := scene.stems[i].snr_db) is not None), default=None)
        pair.separation_error_db = about.separation_error_db
        pair.leak_db = about.leak_db if pair.edit == "extract" else None
    found = {scene.stems[i].clip_id: scene.stems[i].role for i in reversed(used)}  # of a clip's stems the first tells its role
    found = {clip: found[clip] for clip in dict.fromkeys(scene.stems[i].clip_id for i in used)}
    pair.clip_ids = list(found)
    pair.clips = [{"id": clip, "uri": clips[clip].uri, "license": clips[clip].license, "role": role} for clip, role in found.items()]
    pair.license, pair.tier = strictest([clip["license"] for clip in pair.clips]), min((clips[clip].tier for clip in found), key=TIERS.index)
    pair.n_events = len({scene.stems[i].label if scene.stems[i].role == "voice" else i for i in scene.mixture if scene.stems[i].role in HEARD})
    pair.seconds_render = seconds


def score_part(state: dict, work: PairWork) -> dict:
    """Score a part's pairs by their signals."""
    started = time.perf_counter()
    for item, (rendered, pairs) in zip(state["part"].items, state["scenes"]):
        for pair in pairs:
            if rendered is None or pair.source is None:
                continue
            if item["kind"] == "utterance":
                score_speech(pair, rendered.scene, item["clips"])
            elif item["kind"] == "conversation":
                score_conversation(pair)
            else:
                score(rendered, pair)
    state["stages"].append(_stage("score", started, state["scenes"]))
    return state


def clap_part(state: dict, work: PairWork) -> dict:
    """Hold what is heard on a part's pairs against what should be."""
    return _listen("clap", "scorer", HEARD_AS, state, work, lambda scenes, engine, watch: score_clap(scenes, work.rate, engine, watch))


def hear_part(state: dict, work: PairWork) -> dict:
    """Hear what is said on both sides of a part's speech pairs."""
    return _listen("hear", "recognizer", SPEECH, state, work,
                   lambda scenes, engine, watch: hear([pair for _, pairs in scenes for pair in pairs], engine, watch))


def _listen(stage: str, kind: str, edits: Container[str], state: dict, work: PairWork, function: Callable) -> dict:
    """Let an engine listen to the pairs of some edits that were made."""
    started = time.perf_counter()
    scenes = [(rendered, [pair for pair in pairs if pair.source is not None and pair.edit in edits]) for rendered, pairs in state["scenes"]]
    scenes = [(rendered, pairs) for rendered, pairs in scenes if pairs]
    if not scenes:
        return state
    engine = registry.load(kind, json.loads(work.engines[kind]))
    function(scenes, engine, watch_of(engine, stage, work.time_limit))
    spent, pairs = time.perf_counter() - started, [pair for _, pairs in scenes for pair in pairs]
    for pair in pairs:
        pair.seconds_score += spent / len(pairs)
    state["stages"].append(_stage(stage, started, scenes))
    return state


def shard_part(state: dict, work: PairWork) -> dict:
    """Filter a part's pairs and write those kept as one shard, if asked those that broke a rule as another; from here on there is no audio but the shards'."""
    started, part = time.perf_counter(), state["part"]
    pairs = [pair for _, found in state["scenes"] for pair in found]
    made = [pair for pair in pairs if pair.reason is None]
    for pair in pairs:
        judge(pair, work.rules)
    kept, broke = [pair for pair in made if pair.kept], [pair for pair in made if not pair.kept and work.store_rejected]
    files = {name: shard(found) if found else b"" for name, found in ((TAR, kept), (REJECTED_TAR, broke))}
    stages = [*state["stages"], {**_stage("shard", started, state["scenes"]), "bytes": sum(map(len, files.values()))}]
    edits = {name: [sum(p.edit == name for p in pairs), sum(p.edit == name for p in kept)] for name in sorted({p.edit for p in pairs})}
    wordings = {name: Counter(wording for pair in kept if pair.edit == name for wording in pair.wordings) for name in sorted({p.edit for p in kept})}
    outcome = {"items": len(part.items), "pairs": len(pairs), "kept": len(kept), "stored_rejected": len(broke), "edits": edits, "wordings": wordings,
               "stages": stages}
    return {"part": part, "rows": [pair.quality() for pair in pairs], "files": files, "outcome": outcome}


def commit_pairs(state: dict, work: PairWork) -> dict:
    """Commit a part's shards and rows."""
    rows = pa.Table.from_pylist(state["rows"], schema=QUALITY)
    return commit.commit(Storage(work.run), state["part"], rows, state["files"], state["outcome"])


def _stage(name: str, started: float, scenes: list) -> dict:
    sides = {id(a): a.nbytes for _, pairs in scenes for p in pairs for a in (p.source, p.target) if a is not None}
    return {"stage": name, "seconds": time.perf_counter() - started, "items": sum(len(p) for _, p in scenes), "bytes": sum(sides.values())}


def read_clip(run: Storage, clip: Clip) -> bytes:
    """A stored clip's FLAC bytes; clips of another run lie under a full path or URI."""
    folder, name = split_uri(clip.tar) if "://" in clip.tar or clip.tar.startswith("/") else (run, clip.tar)
    return folder.read(name, clip.offset, clip.offset + clip.size)


def item_id(item: dict) -> str:
    """What names a scene among a part's items."""
    return item["scene_id"]

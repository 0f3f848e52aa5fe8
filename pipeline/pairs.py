"""Phase 2: a pair part's scenes become pairs in a shard."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pyarrow as pa

from manifests.chance import generator
from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.pair import QUALITY, Pair, strictest
from manifests.part import Part
from manifests.scene import Rendered, Scene
from manifests.storage import Storage, split_uri
from pipeline import commit
from stages.edit import edit, sides
from stages.filter import Rule, judge
from stages.instruct import instruct
from stages.render import render
from stages.scenes import piece, soundscape
from stages.score import quiet_fault, score
from stages.shard import shard

TAR = "shard.tar"
TIERS = ("demo", "synthetic", "real")  # from low to high


@dataclass(frozen=True)
class PairWork:
    """What every pair part needs to know of the run."""

    run: str
    seed: int
    rate: int
    channels: int
    samples: int
    rules: tuple[Rule, ...]


def scenes_of(rows: pa.Table, look_up: Callable[[set[str]], dict[str, Clip]]) -> list[dict]:
    """A part's items: its scenes, each with its pairs and its clips."""
    scenes: dict[str, dict] = {}
    for row in rows.to_pylist():
        scene = scenes.setdefault(row["scene_id"], {**row, "pairs": []})
        scene["pairs"].append((row["pair_id"], row["edit"], row["subject"], row["other"]))
    clips = look_up({clip for s in scenes.values() for clip in (*s["clip_ids"], *(other for *_, other in s["pairs"] if other))})
    for scene in scenes.values():
        scene["clips"] = {clip: clips[clip] for clip in (*scene["clip_ids"], *(other for *_, other in scene["pairs"] if other))}
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
    chance = generator(work.seed, item["scene_id"])
    clips = [item["clips"][clip] for clip in item["clip_ids"]]
    first = 0 if item["kind"] == "piece" else 1  # a soundscape's first clip is its background
    others = {subject - first: item["clips"][other] for _, _, subject, other in item["pairs"] if other}
    scene = Scene(item["scene_id"], item["kind"], item["split"], work.rate, work.channels, work.samples)
    scene = piece.place(scene, clips, others, chance) if first == 0 else soundscape.place(scene, clips[0], clips[1:], others, chance)
    rendered = render(scene, item["clips"], read, generator(work.seed, item["scene_id"], "loudness"))
    for pair, (_, name, subject, _) in zip(pairs, item["pairs"]):
        pair.before, pair.after, pair.edited = sides(scene, name, subject)
        instruct(pair, scene)
    edit(rendered, pairs)
    for pair in pairs:
        pair.reason = quiet_fault(rendered, pair.edited)
        _describe(pair, scene, item["clips"], rendered.seconds / len(pairs))
    rendered.audio = []
    return rendered


def _pair(item: dict, part: Part, pair_id: str, name: str) -> Pair:
    clips = item["clips"].values()
    return Pair(
        pair_id, item["scene_id"], name, branch="synthetic", tier=min((clip.tier for clip in clips), key=TIERS.index),
        domain="music" if item["kind"] == "piece" else "sound", language="en", split=item["split"], part=part.number,
        license=strictest([clip.license for clip in clips]), clip_ids=list(item["clips"]),
    )


def _describe(pair: Pair, scene: Scene, clips: dict[str, Clip], seconds: float) -> None:
    """The pair's recipe and its clips."""
    used = sorted({*pair.before, *pair.after})
    stems = [asdict(scene.stems[i]) for i in used]
    for stem in stems:
        stem["place_of"] = None if stem["place_of"] is None else used.index(stem["place_of"])
    places = {name: [used.index(i) for i in getattr(pair, name)] for name in ("before", "after", "edited")}
    pair.params = {"kind": scene.kind, "samples": scene.samples, "snr_db": scene.stems[pair.edited[0]].snr_db, "stems": stems, **places}
    pair.clip_ids = [scene.stems[i].clip_id for i in used]
    pair.clips = [{"id": clip, "uri": clips[clip].uri, "license": clips[clip].license, "role": scene.stems[i].role} for i, clip in zip(used, pair.clip_ids)]
    pair.license = strictest([clip["license"] for clip in pair.clips])
    pair.n_events = sum(scene.stems[i].role != "background" for i in scene.mixture)
    pair.seconds_render = seconds


def score_part(state: dict, work: PairWork) -> dict:
    """Score a part's pairs."""
    started = time.perf_counter()
    for rendered, pairs in state["scenes"]:
        for pair in pairs:
            if rendered is not None:
                score(rendered, pair)
    state["stages"].append(_stage("score", started, state["scenes"]))
    return state


def shard_part(state: dict, work: PairWork) -> dict:
    """Filter a part's pairs and write those kept as one shard; from here on there is no audio but the shard's."""
    started, part = time.perf_counter(), state["part"]
    pairs = [pair for _, found in state["scenes"] for pair in found]
    for pair in pairs:
        judge(pair, work.rules)
    kept = [pair for pair in pairs if pair.kept]
    tar = shard(kept) if kept else b""
    stages = [*state["stages"], {**_stage("shard", started, state["scenes"]), "bytes": len(tar)}]
    edits = {name: [sum(p.edit == name for p in pairs), sum(p.edit == name for p in kept)] for name in sorted({p.edit for p in pairs})}
    outcome = {"items": len(part.items), "pairs": len(pairs), "kept": len(kept), "edits": edits, "stages": stages}
    return {"part": part, "rows": [pair.quality() for pair in pairs], "tar": tar, "outcome": outcome}


def commit_pairs(state: dict, work: PairWork) -> dict:
    """Commit a part's shard and rows."""
    rows = pa.Table.from_pylist(state["rows"], schema=QUALITY)
    return commit.commit(Storage(work.run), state["part"], rows, {TAR: state["tar"]}, state["outcome"])


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

"""Build: from sources to a finished run. Run again, it does what is missing."""

import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from manifests.clip import EXCLUDED, Clip
from manifests.errors import RequestError, RunError
from manifests.labels import Labels
from manifests.part import Part
from manifests.speech import from_json, stretches
from manifests.storage import Storage
from manifests.tables import read_table, records_of, schema_of, write_table
from pipeline import clips as clip_phase
from pipeline import commit, engines, finish, pairs, plan, probe, report, run
from pipeline.check_sources import check_sources
from pipeline.config import Config
from pipeline.guard import Guard
from pipeline.lease import Lease, check_free
from pipeline.rooms import make_rooms
from pipeline.shares import shares
from pipeline.sources import Listing, clip_parts, list_sources, windows
from pipeline.split import keys, with_splits
from pipeline.status import open_run
from stages.engines import espeak, soundfont

VERSION = "0.1.0"
PACKAGES = ("ray", "numpy", "soundfile", "pyarrow")  # whose versions run.json tells


def build(config: Config, root: str, ray_address: str | None = None, clips_of: str | None = None, overwrite: bool = False) -> str:
    """Build a dataset into the folder or URI `root`, or finish it.

    Args:
        ray_address: of a cluster to join; None starts Ray here.
        clips_of: another run, whose clips are taken as they are.
        overwrite: throw away what another configuration left in `root`.

    Returns:
        "built", or "already" where there was nothing to do.

    Raises:
        RequestError: the request is wrong, or cannot be met by these sources or this cluster.
        RunError: the run failed.
    """
    labels = Labels.read(config.labels)  # what is wrong with them is told before any work
    listing, storage = list_sources(config), Storage(root)
    if not listing.files:
        raise RequestError("sources: they name no files")
    identity = _identity(config, listing, _other_run(clips_of, config)["identity"] if clips_of else None)
    try:
        if state := _state(storage, identity, overwrite):
            return state
        clips = _take_clips(Storage(clips_of), config, listing) if clips_of else None
        if clips is None:
            for line in check_sources(config, listing, labels):
                print(line, file=sys.stderr)
        lease = Lease(storage, _facts(config, identity, clips_of))
    except OSError as error:
        if error.errno in run.NO_ROOM:
            raise RunError(f"{root}: {error.strerror}; make room, then give the same command again") from None
        raise RequestError(f"{root}: cannot be written: {error.strerror or error}") from None
    try:
        with lease:
            lease.update(configuration=config.model_dump(mode="json"), state="running")
            run.connect(ray_address)
            _work(config, storage, listing, identity, clips, lease)
    except OSError as error:
        if error.errno not in run.NO_ROOM:
            raise
        raise RunError(f"{root}: {error.strerror}; make room, then give the same command again") from None
    return "built"


def _facts(config: Config, identity: str, clips_of: str | None) -> dict:
    """What run.json says of a run that begins."""
    versions = {"audioedit": VERSION, "python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
    return {"identity": identity, "configuration": config.model_dump(mode="json"), "seed": config.seed, "clips_of": clips_of,
            "versions": versions, "state": "running", "counts": {}}


def _work(config: Config, storage: Storage, listing: Listing, identity: str, clips: pd.DataFrame | None, lease: Lease) -> None:
    """Both phases and the end, on a connected Ray; `clips` are another run's, if they are taken from there."""
    render, stages = pair_steps(config), config.resources
    for steps in (render, clip_steps(config)) if clips is None else (render,):
        run.check_place(steps)
    real = next((f.uri for f in listing.files.values() if f.status == "ok" and not f.uri.startswith((soundfont.SCHEME, espeak.SCHEME))), None)
    for file in [real, *(source.font for source in config.sources if getattr(source, "font", None))]:
        run.check_nodes(storage, file)
    engines.check(engines.needed(config, listing, clips is not None))
    if clips is None:
        probe.measure(listing, storage, stages.ingest)
        tell_unheard(config, listing)
        found = windows(listing, config.audio.seconds, config.clips.utterance_seconds[1])
        clips = _ingest(config, storage, listing, clip_parts(found), lease)
    clips = with_splits(clips, config.splits, config.seed)
    write_table(storage, "clips/clips.parquet", pa.Table.from_pandas(clips, schema=schema_of(Clip), preserve_index=False))
    lacking: list[str] = []
    labels = Labels.read(config.labels)
    table = plan.plan(clips.assign(key=keys(clips["clip_id"])), config, identity[:8], lacking, labels)
    for line in lacking:
        print(f"left out: {line}", file=sys.stderr)
    if not len(table):
        raise RunError("nothing to make: every edit was left out")
    write_table(storage, "plan.parquet", table)
    made_of = list(shares(table, clips, labels, config.scenes))
    print(*made_of, sep="\n", file=sys.stderr)
    parts = plan.parts(table)
    lease.update(counts={**lease.counts, "pair_parts": len(parts), "pairs": len(table), "left_out": lacking, "made_of": made_of})
    if config.scenes.rooms and "soundscape" in table["kind"].unique().to_pylist():
        make_rooms(storage, config.seed, config.audio.sample_rate)
    work = pair_work(config, storage.root)
    guard = Guard(storage, config.filters.stop) if config.filters.stop else None
    _run("pairs", pair_parts(parts, clips), len(parts), len(table), render, work, storage, pairs.item_id, "pairs", guard)
    lease.update()  # a driver that lost its run must not finish it
    kept = finish.finish(storage, len(parts))
    report.write(storage)
    for folder in ("", "parts", "quality", "clips", "shards", "report"):
        storage.sweep(folder)
    lease.update(state="done", counts={**lease.counts, **kept})
    storage.remove(commit.ATTEMPTS)


def pair_steps(config: Config) -> list[run.Step]:
    """What is done to a pair part."""
    stages, named = config.resources, config.engines
    steps = [run.Step(pairs.render_part, stages.render), run.Step(pairs.score_part, stages.score)]
    if "scorer" in named:
        steps.append(run.Step(pairs.clap_part, stages.clap))
    if "recognizer" in named and any(edit.startswith("speech_") for edit in config.wanted):
        steps.append(run.Step(pairs.hear_part, stages.hear))
    return [*steps, run.Step(pairs.shard_part, stages.shard), run.Step(pairs.commit_pairs, stages.shard)]


def pair_work(config: Config, root: str) -> pairs.PairWork:
    """What pair parts need to know of a run."""
    audio, samples = config.audio, round(config.audio.seconds * config.audio.sample_rate)
    return pairs.PairWork(root, config.seed, audio.sample_rate, audio.channels, samples, config.clips.join_db, config.scenes.overlap,
                          config.scenes.rooms, Labels.read(config.labels), config.clips.time_limit, engines.specifications(config), tuple(config.filters.rules),
                          config.filters.store_rejected)


def clip_work(config: Config, root: str, labels: tuple[str, ...] = ()) -> clip_phase.ClipWork:
    """What clip parts need to know of a run; `labels` are those that its sources name."""
    audio = config.audio
    return clip_phase.ClipWork(root, audio.sample_rate, audio.channels, audio.seconds, config.clips, engines.specifications(config), labels)


def clip_steps(config: Config) -> list[run.Step]:
    """What is done to a clip part."""
    stages, named = config.resources, config.engines
    steps = [run.Step(clip_phase.ingest_part, stages.ingest)]
    if any(getattr(source, "separate", False) for source in config.sources):
        steps.append(run.Step(clip_phase.separate_part, stages.separate))
    if any(getattr(source, "conversation", False) for source in config.sources):
        steps.append(run.Step(clip_phase.diarize_part, stages.diarize))
    steps.append(run.Step(clip_phase.transcribe_part, stages.transcribe))
    if "labeler" in named:
        steps.append(run.Step(clip_phase.label_part, stages.label))
    if "scorer" in named:
        steps.append(run.Step(clip_phase.clap_part, stages.clap))
    return [*steps, run.Step(clip_phase.commit_clips, stages.ingest)]


def _ingest(config: Config, storage: Storage, listing: Listing, parts: list[Part], lease: Lease) -> pd.DataFrame:
    lease.update(counts={**lease.counts, "clip_parts": len(parts)})
    labels = tuple(sorted({clip.label for clip in listing.named if clip.label and clip.role != "stem"}))
    work, steps = clip_work(config, storage.root, labels), clip_steps(config)
    _run("clips", iter(parts), len(parts), sum(len(p.items) for p in parts), steps, work, storage, clip_phase.item_id, "items")
    clips = clip_phase.gather(storage, [clip for clip in listing.named if clip.reason is not None])
    finish.write_sources(storage, listing)
    if clips["reason"].notna().all():
        reasons = finish.first_reasons(storage)
        raise RunError(f"none of {len(listing.files)} source files gave a clip ({reasons}); see {storage.path('quality/sources.parquet')}")
    return clips


def tell_unheard(config: Config, listing: Listing) -> None:
    """Say how many of the recordings that exclude names are not listened to: by name they are kept out, by sound they are not."""
    named = [file for file in listing.files.values() if file.source >= len(config.sources)]
    clips = [clip for clip in listing.named if clip.role == EXCLUDED]
    heard = {clip.uri for clip in clips if not clip.reason}
    lost = {clip.uri: clip.reason for clip in clips if clip.uri not in heard}  # of rows with a fault alone
    lost |= {file.uri: file.reason for file in named if file.status != "ok"}
    for uri, reason in list(lost.items())[:1]:
        print(f"exclude: {len(lost)} of its {len(named)} files cannot be listened to ({uri}: {reason}); what sounds like them is not found", file=sys.stderr)


def _other_run(clips_of: str, config: Config) -> dict:
    """run.json of the run whose clips are to be taken, if they are of this configuration's kind."""
    try:
        _, there = open_run(clips_of)
    except RequestError as error:
        raise RequestError(f"--clips {error}") from None
    if there["configuration"].get("exclude", []) != (named := config.model_dump(mode="json")["exclude"]) and named:
        raise RequestError(f"--clips {clips_of}: its clips were not held against what exclude names; leave --clips out, or build them with the same exclude")
    if named and there["clips_of"]:
        raise RequestError(f"--clips {clips_of}: its clips are those of {there['clips_of']}, which was held against what exclude names; give that run")
    theirs, mine = there["configuration"]["audio"], config.audio.model_dump(mode="json")
    if theirs != mine:
        raise RequestError(f"--clips {clips_of}: its clips were made for {theirs}, the configuration asks for {mine}")
    return there


def _take_clips(other: Storage, config: Config, listing: Listing) -> pd.DataFrame:
    """The clips of another run, of the licences that are allowed."""
    try:
        clips = read_table(other, "clips/clips.parquet").to_pandas()
    except FileNotFoundError:
        raise RequestError(f"--clips {other.root}: holds no clips/clips.parquet") from None
    named = {clip.uri for clip in listing.named if clip.role == EXCLUDED}
    if new := named - set(read_table(other, "quality/sources.parquet", ["uri"])["uri"].to_pylist() if named else ()):
        raise RequestError(f"--clips {other.root}: its clips were not held against {len(new)} recordings that exclude names now, e.g. {min(new)}; "
                           "leave --clips out")
    allowed = [config.licenses.fault(license) is None for license in clips["license"]]
    if not any(allowed):
        raise RequestError(f"--clips {other.root}: none of its {len(clips)} clips has a licence in licenses.allow")
    if not all(allowed):
        print(f"left out: {allowed.count(False)} of the {len(clips)} clips of {other.root}, whose licence is not in licenses.allow", file=sys.stderr)
    clips = clips[allowed].reset_index(drop=True)
    clips["editable"] = [len(stretches(*from_json(words), config.clips.join_db)) if words else known for words, known in zip(clips["words"], clips["editable"])]
    clips["tar"] = [tar if "://" in tar or tar.startswith("/") else other.path(tar) for tar in clips["tar"]]
    return clips


def pair_parts(parts: list[tuple[Part, pa.Table]], clips: pd.DataFrame) -> Iterator[Part]:
    """Parts with their scenes, each made when it is its turn."""
    place = pd.Index(clips["clip_id"])
    table = pa.Table.from_pandas(clips.assign(fingerprint=""), schema=schema_of(Clip), preserve_index=False)

    def look_up(ids: set[str]) -> dict[str, Clip]:
        return {clip.clip_id: clip for clip in records_of(table.take(place.get_indexer(sorted(ids))), Clip)}

    for part, rows in parts:
        part.items = pairs.scenes_of(rows, look_up)
        yield part


def _run(kind: str, parts: Iterator[Part], count: int, total: int, steps: list[run.Step], work, storage: Storage, item_id, unit: str,
         guard: Guard | None = None) -> None:
    """Run the parts that have no record yet, with a progress bar; the guard sees all records."""
    done = commit.records(storage, kind)
    for number, record in done.items() if guard else ():
        guard.see(number, record)
    with tqdm(total=total, unit=" " + unit.rstrip("s"), desc=kind, initial=sum(r[unit] for r in done.values()), file=sys.stderr,
              mininterval=0.5 if sys.stderr.isatty() else 10) as bar:
        missing = (part for part in parts if part.number not in done)
        if len(done) < count:
            for part, record in run.run_parts(missing, steps, work, item_id):
                bar.update(record[unit])
                if guard:
                    guard.see(part.number, record)


def _identity(config: Config, listing: Listing, clips_identity: str | None) -> str:
    """What a run is a run of: its configuration without resources, its manifests, its files' sizes and times, the run its clips are of, its own labels."""
    own = [] if config.labels is None else [hashlib.sha256(Path(config.labels).read_bytes()).hexdigest()]
    text = json.dumps([config.identity(), listing.digest, clips_identity, *own], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _state(storage: Storage, identity: str, overwrite: bool) -> str | None:
    """"already" if there is nothing to do; clears the folder, or refuses, where it holds another run."""
    if not storage.exists("run.json"):
        if any(not name.startswith(".") for name in storage.names("")):
            raise RequestError(f"{storage.root}: is not empty and holds no run; choose another folder")
        return None
    _, there = open_run(storage.root)
    if there["identity"] == identity and not overwrite:
        if there["state"] != "done":
            return None
        storage.remove(commit.ATTEMPTS)  # left where the driver was killed after its last record
        return "already"
    if not overwrite:
        raise RequestError(f"{storage.root}: holds a run of another configuration or of other source files; choose another folder, or give --overwrite")
    check_free(storage, there)
    storage.write_json("run.json", {**there, "identity": "", "state": "failed"})  # so that a kill from here on leaves nothing that looks done
    for name in storage.names(""):
        if name != "run.json":
            storage.remove(name)
    storage.remove("run.json")
    return None

"""Report: a run on one page, for eyes and ears. All of it comes from what parts committed: the same run, the same page."""

import base64
import io
import json
import re
import tarfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import soundfile
import soxr
from jinja2 import Environment, StrictUndefined

from manifests.audio import decode_flac
from manifests.chance import key
from manifests.pair import EDITS, SCORES
from manifests.storage import Storage
from manifests.tables import read_table
from pipeline.attribution import licenses
from pipeline.config import SPLITS
from pipeline.histogram import histogram
from pipeline.spectrogram import pictures, ticks

PAGE = "report/index.html"
SHOWN = 3  # pairs of each edit
CANDIDATES = 50  # of each edit, split and domain, that those shown are chosen from
EXCERPT = 12.0  # s: of a longer pair, a stretch from shortly before the edit
CUT = 0.02  # s: a span this short is a join at which words are missing, too narrow to be drawn as wide as it is
REASONS = 12  # lines of a table of reasons
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
COLUMNS = ["pair_id", "scene_id", "edit", "tier", "domain", "split", "part", "kept", "n_events", "reason", "license", "asr_choice", "transcribed_by"]
CHARTS = (  # title, unit, series, and whether kept and rejected are told apart
    ("SNR asked for", "LU over the background", ("snr_db",)),
    ("Local SNR", "dB over all else in the edited span", ("local_snr_db",)),
    ("Loudness", "LUFS", ("source_lufs", "target_lufs")),
    ("Active ratio", "share of the pair in which the edited sound is heard", ("active_ratio",)),
    ("Events", "sounds of a scene over its background", ("n_events",)),
    ("Overlap ratio", "share of the edited span shared with other events", ("overlap_ratio",)),
    ("Duration", "s", ("duration_s",)),
    ("Join level", "dB under the speech, at its loudest join", ("join_level_db",)),
    ("Pitch step", "semitones over a join", ("join_f0_semitones",)),
    ("Alignment confidence", "how surely the words lie where they are said to", ("alignment_confidence",)),
    ("CLAP", "similarity of a side with what is on it", ("clap_source", "clap_target")),
    ("CLAP gain", "how far the edited span moved toward its instruction", ("clap_gain",)),
    ("Pace", "characters a second", ("chars_per_second",)),
)
STAGES = ("ingest", "separate", "diarize", "transcribe", "label", "clap", "store", "render", "score", "hear", "shard")  # as one follows the other
HEARD = ("target", "source", "neither")
TEMPLATE = (Path(__file__).parent / "report.html").read_text(encoding="utf-8")  # now: a job's folder may be gone when its run is done
MEANING = {
    "add": "The target is the source with one sound more.",
    "remove": "The target is the source with one sound less.",
    "extract": "The target is one sound of the source, by itself.",
    "replace": "Another sound stands where one was, equally loud.",
    "transfer": "One sound becomes another that is as loud at each time, or one part is played by another instrument, note for note.",
    "speech_delete": "The target is the source without some of its words; the gap is closed.",
    "speech_insert": "The target is the source with some words more, in the same voice.",
    "speech_substitute": "Other words stand where some were, in the same voice.",
    "extract_speaker": "The target is what one speaker of the conversation says, by itself.",
    "remove_speaker": "The target is the conversation without one of its speakers.",
    "generate": "The target is made out of silence: a sound, a piece of music, or a sentence.",
}


def write(run: Storage) -> None:
    """Write a run's report/index.html: one page that needs nothing else, with sound and pictures inside."""
    pairs = read_table(run, "quality/pairs.parquet", list(dict.fromkeys([*COLUMNS, *SCORES]))).to_pandas()
    shards, facts = [shard for shard in run.read_json("shards/index.json") if shard["split"] in SPLITS], run.read_json("run.json")
    summary = read_table(run, "quality/summary.parquet", ["edit", "split", "planned", "kept", "rejected"]).to_pandas()
    edits = sorted(summary["edit"].unique(), key=lambda name: (*EDITS, name).index(name))
    kept = pairs[pairs["kept"]]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "count": "{:,}".format, "size": _size}
    page = environment.from_string(TEMPLATE).render(
        facts=facts, configuration=json.dumps(facts["configuration"], indent=1, ensure_ascii=False),
        planned=len(pairs), kept=len(kept), scenes=kept["scene_id"].nunique(), hours=float(kept["duration_s"].sum()) / 3600,
        shards=len(shards), bytes=sum(shard["bytes"] for shard in shards),
        tiers=_shares(kept["tier"]), domains=_shares(kept["domain"]),
        licenses=licenses(read_table(run, "clips/clips.parquet", ["license"])["license"].to_pylist(), kept["license"]),
        uncomputed=[score for score in SCORES if pairs[score].isna().all()],
        table=_table(summary, edits), charts=_charts(pairs, facts["configuration"]["filters"]["rules"]), heard=_heard(pairs, edits),
        reasons_of_pairs=_reasons(pairs, "pair_id"), clips=_ingested(run, "clips", "file"), files=_ingested(run, "sources", "uri"),
        stages=_stages(run), meaning=MEANING, shown=_shown(run, choose(kept, facts["seed"]), edits, shards, kept.set_index("pair_id")),
    )
    run.write(PAGE, page.encode())


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


def _shown(run: Storage, chosen: list[dict], edits: list[str], shards: list[dict], rows: pd.DataFrame) -> dict[str, list[dict]]:
    """Pairs to see and hear, by edit; threads hide the way to an object store."""
    names = {shard["part"]: shard["name"] for shard in shards}
    with ThreadPoolExecutor(4) as threads:
        samples = list(threads.map(lambda pair: _sample(run, names[pair["part"]], pair["pair_id"]), chosen))
    for sample in samples:  # what the table knows and a shard does not
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
    source, target = sample["source_text"].split(), sample["target_text"].split()
    side = 1 if sample["edit"] == "speech_insert" else 0  # the one that the label is of
    first, *ends = edited_words(source, target, sample["label"].split(), side, sample["edit_start"] / lengths[side])
    return [(" ".join(words[:first]), " ".join(words[first:end]), " ".join(words[end:])) for words, end in zip((source, target), ends)]


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


def _table(summary: pd.DataFrame, edits: list[str]) -> dict:
    """Edit by split: (planned, kept, rejected), with sums."""
    splits = [split for split in SPLITS if split in set(summary["split"])]
    cells = {(row.edit, row.split): np.array([row.planned, row.kept, row.rejected]) for row in summary.itertuples()}
    rows = {edit: [cells.get((edit, split), np.zeros(3, int)) for split in splits] for edit in edits}
    rows["all"] = [sum(column) for column in zip(*rows.values())]
    return {"groups": [*splits, "all"], "rows": {name: [[int(n) for n in cell] for cell in [*row, sum(row)]] for name, row in rows.items()}}


def _charts(pairs: pd.DataFrame, rules: list[dict]) -> list[dict]:
    """What is drawn of the main scores: kept and rejected pairs, or kept pairs' sources and targets."""
    found, kept = [], pairs["kept"].to_numpy(bool)
    for title, unit, scores in CHARTS:
        values = {score: pairs[score].to_numpy(float, na_value=np.nan) for score in scores}
        if len(scores) > 1:
            series = {score.removesuffix("_lufs").removeprefix("clap_"): value[kept] for score, value in values.items()}
        else:
            series = {"kept": values[scores[0]][kept], "rejected": values[scores[0]][~kept]}
        drawn = histogram(series, stacked=len(scores) == 1)
        if drawn is None:  # the note below the charts names it
            continue
        told = {name: value for name, value in series.items() if name != "rejected" and np.isfinite(value).any()}
        quantiles = {name: np.nanquantile(value, (0.05, 0.5, 0.95)).tolist() for name, value in told.items()}
        limits = [(rule["domain"] or "all", float(x)) for rule in rules if rule["score"] in scores for x in (rule["min"], rule["max"]) if x is not None]
        found.append({"title": title, "unit": unit, "scores": scores, "drawn": drawn, "quantiles": quantiles, "limits": limits,
                      "counts": {name: int(np.isfinite(value).sum()) for name, value in series.items()}})
    return found


def _heard(pairs: pd.DataFrame, edits: list[str]) -> dict[str, list[int]]:
    """Of each edit that a recognizer heard: on how many targets it was the text of target, source, or neither."""
    counts = {edit: pairs.loc[pairs["edit"] == edit, "asr_choice"].value_counts() for edit in edits}
    return {edit: [int(count.get(choice, 0)) for choice in HEARD] for edit, count in counts.items() if len(count)}


def _ingested(run: Storage, table: str, name: str) -> dict | None:
    """Counts of a table of clips or files, and why some were left out; None where another run's clips were taken."""
    try:
        rows = read_table(run, f"quality/{table}.parquet", [name, "status", "reason"]).to_pandas()
    except FileNotFoundError:
        return None
    return {"all": len(rows), "ok": int((rows["status"] == "ok").sum()), "reasons": _reasons(rows, name)}


def _reasons(rows: pd.DataFrame, name: str) -> list[tuple[str, int, str]]:
    """Reasons, how often, and one that has it; those that differ in a number or a name only are one. Commonest first."""
    unique = rows.dropna(subset="reason").groupby("reason", sort=True)[name].agg(["size", "min"])
    kinds: dict[str, list] = {}
    for reason, count, example in unique.itertuples():
        kind = kinds.setdefault(_kind(reason), [0, example])
        kind[0] += count
    ordered = sorted(((kind, count, example) for kind, (count, example) in kinds.items()), key=lambda row: (-row[1], row[0]))
    rest = ordered[REASONS:]
    return ordered[:REASONS] + ([(f"{len(rest)} other reasons", sum(count for _, count, _ in rest), "")] if rest else [])


def _kind(reason: str) -> str:
    """A reason without what is peculiar to one item; rules, and limits in brackets, keep their numbers.

    >>> _kind("no event: active for 0.38 s within 1.07 s (from 0.5 to 6 s)"), _kind("local_snr_db < -5")
    ('no event: active for … s within … s (from 0.5 to 6 s)', 'local_snr_db < -5')
    """
    if re.fullmatch(r"\w+ [<>] \S+", reason):
        return reason
    reason = re.sub(r"^the same sound as .*", "the same sound as another file's", reason, flags=re.DOTALL)
    reason = re.sub(r"'.*'", "'…'", reason, flags=re.DOTALL)
    return re.sub(r"\([^()]*\)|\b[0-9a-f]{16}\b|-?\d+(?:\.\d+)?", lambda found: found[0] if found[0][0] == "(" else "…", reason)


def _stages(run: Storage) -> list[dict]:
    """Sums over parts of each stage, in the order of the chain, with its share of all seconds."""
    rows = read_table(run, "quality/stages.parquet", ["stage", "seconds", "items", "bytes"]).to_pandas()
    sums = rows.assign(parts=1).groupby("stage", sort=False).sum()
    sums["share"] = sums["seconds"] / (sums["seconds"].sum() or 1)
    return sorted(sums.reset_index().to_dict("records"), key=lambda row: (*STAGES, row["stage"]).index(row["stage"]))


def _shares(values: pd.Series) -> list[tuple[str, int]]:
    counts = values.value_counts().to_dict()
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _number(value: float, digits: int = 1) -> str:
    """A number with a real minus sign and no negative zero."""
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

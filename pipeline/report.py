"""Report: a run on one page, for eyes and ears. All of it comes from the plan and what parts committed: the same run, the same page."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from manifests.pair import EDITS, SCORES
from manifests.storage import Storage
from manifests.tables import read_table
from pipeline.attribution import licenses
from pipeline.charts import charts
from pipeline.config import SPLITS
from pipeline.shown import HEARD, choose, shown

PAGE = "report/index.html"
REASONS = 12  # lines of a table of reasons
COLUMNS = ["pair_id", "scene_id", "edit", "tier", "domain", "split", "part", "kept", "n_events", "reason", "license", "asr_choice", "transcribed_by"]
STAGES = ("ingest", "separate", "diarize", "transcribe", "label", "clap", "store", "render", "score", "hear", "shard")  # as one follows the other
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
    kinds = read_table(run, "plan.parquet", ["scene_id", "kind"]).to_pandas().drop_duplicates("scene_id").set_index("scene_id")["kind"]
    pairs["kind"] = pairs["scene_id"].map(kinds)
    kept, configuration = pairs[pairs["kept"]], facts["configuration"]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "count": "{:,}".format, "size": _size}
    page = environment.from_string(TEMPLATE).render(
        facts=facts, configuration=json.dumps(configuration, indent=1, ensure_ascii=False),
        planned=len(pairs), kept=len(kept), scenes=kept["scene_id"].nunique(), hours=float(kept["duration_s"].sum()) / 3600,
        shards=len(shards), bytes=sum(shard["bytes"] for shard in shards),
        tiers=_shares(kept["tier"]), domains=_shares(kept["domain"]),
        licenses=licenses(read_table(run, "clips/clips.parquet", ["license"])["license"].to_pylist(), kept["license"]),
        uncomputed=[score for score in SCORES if pairs[score].isna().all()],
        table=_table(summary, edits), wordings=_wordings(run, edits), heard=_heard(pairs, edits),
        charts=charts(pairs, configuration["filters"]["rules"], configuration["scenes"]),
        reasons_of_pairs=_reasons(pairs, "pair_id"), clips=_ingested(run, "clips", "file"), files=_ingested(run, "sources", "uri"),
        stages=_stages(run), meaning=MEANING, shown=shown(run, choose(kept, facts["seed"]), edits, shards, kept.set_index("pair_id")),
    )
    run.write(PAGE, page.encode())


def _table(summary: pd.DataFrame, edits: list[str]) -> dict:
    """Edit by split: (planned, kept, rejected), with sums."""
    splits = [split for split in SPLITS if split in set(summary["split"])]
    cells = {(row.edit, row.split): np.array([row.planned, row.kept, row.rejected]) for row in summary.itertuples()}
    rows = {edit: [cells.get((edit, split), np.zeros(3, int)) for split in splits] for edit in edits}
    rows["all"] = [sum(column) for column in zip(*rows.values())]
    return {"groups": [*splits, "all"], "rows": {name: [[int(n) for n in cell] for cell in [*row, sum(row)]] for name, row in rows.items()}}


def _wordings(run: Storage, edits: list[str]) -> list[dict]:
    """How many wordings each edit's kept pairs are told in, whatever they name, and how often the commonest of them, before test and in test.

    `bars` are all of them as (only test has it, share of the commonest there), commonest first.
    """
    rows, found = read_table(run, "quality/wordings.parquet").to_pandas(), []
    for edit in edits:
        sides = (rows[(rows["edit"] == edit) & ((rows["split"] == "test") == test)] for test in (False, True))
        train, test = (side.groupby("wording")["pairs"].sum().sort_values(ascending=False) for side in sides)
        new = test[~test.index.isin(train.index)]
        if len(train) or len(test):
            bars = [(own, count / of.max()) for own, counts, of in ((False, train, train), (True, new, test)) for count in counts.tolist()]
            found.append({"edit": edit, "new": len(new), "bars": bars,
                          "sides": [(len(side), side.max() / side.sum() if len(side) else 0.0) for side in (train, test)]})
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
    reason = re.sub(r"^exclude names it: .*", "exclude names it", reason, flags=re.DOTALL)
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

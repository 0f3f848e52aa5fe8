"""Status and plan in words: how far a run is, what it made, what a build would make."""

import math
import time

import pandas as pd

from manifests.errors import RequestError
from manifests.labels import Labels
from manifests.storage import Storage
from manifests.tables import read_table
from pipeline import commit, plan
from pipeline.config import Config
from pipeline.shares import shares
from pipeline.split import keys, quotas, with_splits


def open_run(root: str) -> tuple[Storage, dict]:
    """A run's folder and its run.json.

    Raises:
        RequestError: there is no run.
    """
    run = Storage(root)
    try:
        facts = run.read_json("run.json")
    except (OSError, ValueError):
        facts = None
    if not isinstance(facts, dict) or not {"identity", "state", "configuration"} <= facts.keys():
        raise RequestError(f"{root}: holds no run (no run.json that can be read)")
    return run, facts


def table(root: str) -> str:
    """Edit by split: planned, kept, rejected."""
    rows = read_table(Storage(root), "quality/summary.parquet").to_pandas()
    counts = rows.pivot(index="edit", columns="split", values=["planned", "kept", "rejected"]).fillna(0).astype(int)
    splits = [s for s in ("train", "val", "test") if s in set(rows["split"])]
    heads = "".join(f"{split:^28}" for split in [*splits, "all"])
    lines = ["", f"  {'edit':18}{heads}", f"  {'':18}" + f"{'planned':>9}{'kept':>8}{'rejected':>10} " * (len(splits) + 1)]
    totals = {(what, split): counts[what][split].sum() for what in ("planned", "kept", "rejected") for split in splits}
    for edit in [*counts.index, "all"]:
        cells = [[totals[what, s] if edit == "all" else counts.loc[edit, (what, s)] for what in ("planned", "kept", "rejected")] for s in splits]
        cells.append([sum(column) for column in zip(*cells)])
        lines.append(f"  {edit:18}" + "".join(f"{p:>9}{k:>8}{r:>10} " for p, k, r in cells))
    return "\n".join([*lines, ""])


def status(root: str) -> str:
    """Parts done of planned, pairs kept per edit, rate and time left."""
    run, facts = open_run(root)
    counts, lines = facts["counts"], [f"{root}: {facts['state']}"]
    lease = facts.get("lease")
    if facts["state"] == "running":
        alive = lease and lease["expires"] > time.time()
        lines[0] += f", process {lease['pid']} on {lease['host']}" if alive else ", but no driver works on it: give the build command again"
    for kind in ("clips", "pairs"):
        planned = counts.get(f"{kind[:-1]}_parts")
        if planned is None:
            continue
        done = sorted(commit.records(run, kind).values(), key=lambda record: record["committed"])
        lines.append(f"  {kind}: {len(done)} of {planned} parts")
        if 1 < len(done) < planned:
            pace = (len(done) - 1) / max(1e-9, done[-1]["committed"] - done[0]["committed"])
            lines[-1] += f", {60 * pace:.1f} parts a minute, {(planned - len(done)) / pace / 60:.1f} minutes left"
        edits = pd.DataFrame([{"edit": e, "planned": n, "kept": k} for r in done for e, (n, k) in r.get("edits", {}).items()])
        if len(edits):
            lines += [f"    {row.Index:10} {row.kept} kept of {row.planned}" for row in edits.groupby("edit").sum().itertuples()]
    return "\n".join(lines)


def planned(config: Config, root: str) -> str:
    """What a build would make; exact where the run holds clips, else what the configuration asks for."""
    run = Storage(root)
    lacking: list[str] = []
    exact = run.exists("clips/clips.parquet") and _same_clips(open_run(root)[1]["configuration"], config.model_dump(mode="json"))
    if exact:
        clips = with_splits(read_table(run, "clips/clips.parquet").to_pandas(), config.splits, config.seed)
        labels = Labels.read(config.labels)
        table = plan.plan(clips.assign(key=keys(clips["clip_id"])), config, "0" * 8, lacking, labels)
        rows = table.select(["edit", "split", "part"]).to_pandas()
        counts = rows.groupby(["edit", "split"]).size().to_dict()
        shards = rows["part"].nunique()
    else:
        counts = {(edit, split): n for edit, total in config.wanted.items() for split, n in quotas(total, config.splits).items()}
        shards = sum(math.ceil(sum(n for (_, s), n in counts.items() if s == split) / config.shards.pairs) for split in config.splits)
    total = sum(counts.values())
    size = total * 2 * config.audio.seconds * config.audio.sample_rate * config.audio.channels * 2 * 0.6
    lines = [f"  {'edit':18}" + "".join(f"{split:>9}" for split in config.splits)]
    lines += [f"  {edit:18}" + "".join(f"{counts.get((edit, split), 0):>9}" for split in config.splits) for edit in config.wanted]
    lines.append(f"  {total} pairs in about {shards} shards, about {size / 1e9:.2f} GB of FLAC at most")
    lines += [f"  {line}" for line in shares(table, clips, labels, config.scenes)] if exact else []
    lines.append("  exact: the run's clips were read" if exact else "  at most: there are no clips of this configuration yet, so this is what it asks for")
    return "\n".join([*lines, *(f"  left out: {line}" for line in lacking)])


def _same_clips(one: dict, other: dict) -> bool:
    """Whether two configurations make the same clips."""
    names = ("seed", "audio", "sources", "licenses", "clips", "separator", "diarizer", "transcriber", "labeler", "synthesizer")
    same = all(one.get(name) == other[name] for name in names) and one.get("exclude", []) == other["exclude"]
    return same and one["scorers"]["clap"] == other["scorers"]["clap"]

"""Attribution: whose recordings the kept pairs are made of, and under which licences."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable

import pandas as pd

from manifests.pair import LICENSES
from pipeline.source_kinds import plain

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one


def attribution(rows: pd.DataFrame, clips: pd.DataFrame) -> bytes:
    """attribution.csv: a row a recording that stands in a kept pair, in order of their uris.

    Its columns are uri, license ("" where none is stated), pairs (kept ones that it stands in) and, as far as the manifests have such
    columns, title, author (or artist) and url; what differs between stretches of one recording stands side by side. A cell that a
    spreadsheet would take for a formula, since it begins with = + - @, a tab or a return, gets an apostrophe before it.

    Args:
        rows: of quality/pairs.parquet.
        clips: columns clip_id, uri, license, metadata.
    """
    used = rows.loc[rows["kept"], ["pair_id", "clip_ids"]].explode("clip_ids").merge(clips, left_on="clip_ids", right_on="clip_id")
    pairs = used.groupby("uri")["pair_id"].nunique().to_dict()
    told: dict[str, dict[str, set[str]]] = {name: {} for name in ("license", "title", "author", "url")}
    for clip in used.drop_duplicates("clip_id").itertuples():
        known = json.loads(clip.metadata or "{}")
        said = {"license": clip.license, "title": known.get("title"), "author": known.get("author") or known.get("artist"), "url": known.get("url")}
        for name, value in said.items():
            if value:
                told[name].setdefault(clip.uri, set()).add(value)
    more = [name for name in ("title", "author", "url") if told[name]]
    buffer = io.StringIO()
    table = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    table.writerow(["uri", "license", "pairs", *more])
    for uri in sorted(pairs):
        license, *others = (_text("; ".join(sorted(told[name].get(uri, ())))) for name in ("license", *more))
        table.writerow([_text(uri), license, pairs[uri], *others])
    return buffer.getvalue().encode()


def _text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def licenses(clips: Iterable[str], pairs: Iterable[str]) -> list[tuple[str, int, int, str]]:
    """Of each licence: how many clips and how many kept pairs have it, and what is unknown of it, else ""; commonest first."""
    of_clips, of_pairs = Counter(clips), Counter(pairs)
    rows = [(name, of_clips[name], of_pairs[name], _unknown(plain(name))) for name in {*of_clips, *of_pairs}]
    return sorted(rows, key=lambda row: (-row[2], -row[1], row[0]))


def _unknown(name: str) -> str:
    if not name:
        return "its sources state none"
    return "" if name in LICENSES else "a name that is not known here"

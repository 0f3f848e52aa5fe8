"""Made tables of clips, and their plan."""

import numpy as np
import pandas as pd

from manifests.chance import mix
from manifests.labels import Labels
from pipeline.config import Config
from pipeline.plan import plan
from pipeline.split import components, deal, keys

LABELS = Labels.read()


def clips(events: int, labels: int, backgrounds: int, pieces: int = 0, first: int = 0) -> pd.DataFrame:
    rows = [("event", f"label {n % labels}", "", "", 0) for n in range(events)]
    rows += [("background", f"ground {n % 3}", "", "", 0) for n in range(backgrounds)]
    for n in range(pieces):
        rows += [("track", f"instrument {k}", f"piece {n}", f"part {k}", 0) for k in range(3 + n % 3)]
        rows += [("track", f"other {k}", f"piece {n}", f"part {k}", 1) for k in range(2)]
    table = pd.DataFrame(rows, columns=["role", "label", "piece", "part", "variant"])
    table["clip_id"] = [f"{key:016x}" for key in mix(99, np.arange(first, first + len(table)))]
    table["uri"] = table["piece"].where(table["piece"] != "", table["clip_id"])
    return table.assign(caption="", group="", speaker="", source=0, editable=0, leak_db=None, lufs=-20.0, noise_floor_db=-60.0, bandwidth_hz=4000.0,
                        duration=np.where(table["role"] == "event", 1.0 + np.arange(len(table)) % 5, 30.0))


def config(**changes) -> Config:
    return Config.model_validate({"seed": 1, "sources": [{"kind": "soundfont"}], "edits": {"add": 50, "remove": 50, "extract": 50, "replace": 40},
                                  "shards": {"pairs": 16}, **changes})


def planned(table: pd.DataFrame, settings_: Config, lacking: list | None = None) -> pd.DataFrame:
    table = table.assign(key=keys(table["clip_id"]), unit=components(table))
    table = table.assign(split=deal(table, settings_.splits, settings_.seed)).sort_values("clip_id").reset_index(drop=True)
    rows = plan(table, settings_, "abcdefgh", [] if lacking is None else lacking, LABELS).to_pandas()
    known = table.set_index("clip_id")
    rows["labels"] = [[known.loc[clip, "label"] for clip in row] for row in rows["clip_ids"]]
    rows["splits"] = [{known.loc[clip, "split"] for clip in (*row, *([o] if o else []))} for row, o in zip(rows["clip_ids"], rows["other"])]
    rows["edited"] = [row[n] for row, n in zip(rows["clip_ids"], rows["subject"])]
    rows["other_label"] = [known.loc[o, "label"] if o else None for o in rows["other"]]
    return rows

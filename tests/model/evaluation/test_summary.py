"""The tables say what their rows hold."""

import numpy as np
import pandas as pd

from model.evaluate import METRICS
from model.evaluation.summary import slices, table


def rows() -> pd.DataFrame:
    """Twelve scenes, in each a remove and an add; the model is 5 dB over copying, and 4 dB under the gate."""
    made = []
    for scene in range(12):
        for edit in ("add", "remove"):
            for system, level in (("time_gate", 14.0), ("copy", 5.0), ("model", 10.0)):
                if (edit, system) != ("add", "time_gate"):
                    measured = {"lsd_db": 2.0, "mr_stft": 1.0, "inside_db": -3.0, "outside_db": -80.0, "sibling": scene % 4 > 0, "sibling_chance": 0.25}
                    made.append({**dict.fromkeys(METRICS), **measured, "pair_id": f"{edit}-{scene}", "scene_id": scene, "edit": edit, "system": system,
                                 "note": None, "si_sdr_db": level + scene % 3 if edit == "remove" else np.nan, "n_events": scene, "tier": "real"})
    return pd.DataFrame(made).astype({"sibling": "boolean"})


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().split("  ") if cell.strip()] for line in text.splitlines()]


def test_a_line_for_each_edit_and_system_with_means_intervals_and_gains():
    heads, *lines = cells(table(rows()))
    assert heads == ["edit", "system", "n", "SI-SDR dB", "over copy", "over time_gate", "LSD dB", "MR-STFT", "inside dB", "outside dB", "siblings (chance)"]
    assert [line[:2] for line in lines] == [["add", "model"], ["add", "copy"], ["remove", "model"], ["remove", "copy"], ["remove", "time_gate"]]
    model = dict(zip(heads, lines[2]))
    low, high = map(float, model["SI-SDR dB"].removeprefix("11.0 [").removesuffix("]").split(", "))
    assert 10 < low < 11 < high < 12
    assert (model["n"], model["over copy"], model["over time_gate"], model["siblings (chance)"]) == ("12", "+5.0", "-4.0", "75% (25%)")
    assert dict(zip(heads, lines[0]))["SI-SDR dB"] == "–"


def test_slices_are_of_quarters_or_of_values():
    _, *lines = cells(slices(rows(), "n_events"))
    assert [line[:4] for line in lines[:4]] == [["add", f"{low} … {low + 2}", "model", "3"] for low in (0, 3, 6, 9)]
    assert len(lines) == 8
    _, *lines = cells(slices(rows().assign(tier=lambda table: table["tier"].where(table["scene_id"] > 5)), "tier"))
    assert [line[:4] for line in lines] == [[edit, value, "model", "6"] for edit in ("add", "remove") for value in ("real", "–")]


def test_rows_without_scores_do_not_count():
    table_ = rows()
    table_.loc[table_["scene_id"] == 0, [name for name in METRICS]] = None
    assert cells(table(table_))[3][2] == "11"

"""What is read of an evaluation at a glance: means with their intervals, in text."""

import numpy as np
import pandas as pd

from model.evaluation.baselines import BASELINES
from model.evaluation.bootstrap import interval

GROUPS, SHOWN = 4, ("copy", "time_gate")  # quantiles that a number's column is cut into; baselines that a gain is told over
BEFORE = ("model", "outputs", "codec", *BASELINES)  # in which order systems stand
PLAIN = {"lsd_db": ("LSD dB", ".2f"), "mr_stft": ("MR-STFT", ".2f"), "inside_db": ("inside dB", ".1f"), "outside_db": ("outside dB", ".1f"),
         "clap": ("CLAP", ".3f"), "wer": ("WER", ".3f")}
NOTHING = "–"


def table(rows: pd.DataFrame) -> str:
    """A line for each edit and system.

    Args:
        rows: of `model.evaluate.evaluate`, with the columns `edit` and `scene_id` beside.
    """
    rows = _with_gains(rows)
    places = sorted({(edit, system) for edit, system in zip(rows["edit"], rows["system"])}, key=lambda place: (place[0], BEFORE.index(place[1])))
    lines = [((edit, system), rows[(rows["edit"] == edit) & (rows["system"] == system)]) for edit, system in places]
    return _lines(("edit", "system"), lines)


def slices(rows: pd.DataFrame, column: str) -> str:
    """A line for each edit, value of a column and system that is no baseline. Of numbers with more than four values, a quarter of the pairs is a value."""
    rows = _with_gains(rows)
    rows = rows[rows["system"].isin(["model", "outputs"])]
    values = _values(rows[column])
    keys = sorted(set(zip(rows["edit"], values, rows["system"])), key=lambda place: (place[0], values.cat.categories.get_loc(place[1]), place[2]))
    lines = [(place, rows[(rows["edit"] == place[0]) & (values == place[1]) & (rows["system"] == place[2])]) for place in keys]
    return _lines(("edit", column, "system"), lines)


def _values(column: pd.Series) -> pd.Series:
    """What a column's values are called, as ordered categories."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and column.nunique() > GROUPS:
        cut = pd.qcut(column, GROUPS, labels=False, duplicates="drop")
        held = column.groupby(cut).agg(["min", "max"])
        names = {piece: f"{low:.4g}" + (f" … {high:.4g}" if high > low else "") for piece, low, high in held.itertuples()}
        found, order = cut.map(names), list(names.values())
    else:
        order = [str(value) for value in sorted(column.dropna().unique())]
        found = column.map(str, na_action="ignore")
    return found.astype(object).where(column.notna(), NOTHING).astype(pd.CategoricalDtype(list(dict.fromkeys([*order, NOTHING])), ordered=True))


def _with_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Beside each SI-SDR, how far it is over that of a baseline on the same pair; of that baseline itself, nothing."""
    found = {name: rows["pair_id"].map(rows[rows["system"] == name].set_index("pair_id")["si_sdr_db"]) for name in SHOWN}
    return rows.assign(**{f"over {name}": (rows["si_sdr_db"] - values).where(rows["system"] != name) for name, values in found.items()})


def _lines(heads: tuple[str, ...], groups: list[tuple[tuple[str, ...], pd.DataFrame]]) -> str:
    shown = [_cells(rows) for _, rows in groups]
    columns = [name for name in (shown[0] if shown else {}) if name == "n" or any(cells[name] != NOTHING for cells in shown)]
    whole = [[*heads, *columns], *([*place, *(cells[name] for name in columns)] for (place, _), cells in zip(groups, shown))]
    widths = [max(len(str(row[n])) for row in whole) for n in range(len(whole[0]))]
    return "\n".join("  " + "  ".join(f"{cell:{'<' if n < len(heads) else '>'}{widths[n]}}" for n, cell in enumerate(row)) for row in whole)


def _cells(rows: pd.DataFrame) -> dict[str, str]:
    measured = rows[rows["lsd_db"].notna()]
    cells = {"n": str(len(measured)), "SI-SDR dB": NOTHING, **{f"over {name}": NOTHING for name in SHOWN}}
    if len(given := measured[measured["si_sdr_db"].notna()]):
        ends = interval(given["si_sdr_db"].to_numpy(float), given["scene_id"].to_numpy())
        cells["SI-SDR dB"] = f"{given['si_sdr_db'].mean():.1f}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "")
    for name in SHOWN:
        cells[f"over {name}"] = _mean(measured[f"over {name}"], "+.1f")
    cells |= {head: _mean(measured[name], form) for name, (head, form) in PLAIN.items()}
    tested = measured[measured["sibling"].notna()]
    cells["siblings (chance)"] = f"{np.mean(tested['sibling'].astype(bool)):.0%} ({tested['sibling_chance'].mean():.0%})" if len(tested) else NOTHING
    return cells


def _mean(values: pd.Series, form: str) -> str:
    values = values.dropna().astype(float)
    return f"{values.mean():{form}}" if len(values) else NOTHING

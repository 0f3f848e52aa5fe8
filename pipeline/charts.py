"""Charts: how scores are spread over pairs and scenes, beside what was asked for where that can be said."""

import numpy as np
import pandas as pd

from pipeline.histogram import histogram
from stages.render import MIXTURE_LUFS
from stages.scenes.soundscape import SNR_DB

FINE = 30_001  # points that stand for a range
CHARTS = (  # title, unit, series: two are drawn over each other, of kept pairs alone; and what is counted
    ("SNR", "LU over the background", ("snr_db",), "pairs"),
    ("Local SNR", "dB over all else in the edited span", ("local_snr_db",), "pairs"),
    ("Mixtures", "LUFS of all sounds of a scene together", ("mixture_lufs",), "scenes"),
    ("Loudness", "LUFS", ("source_lufs", "target_lufs"), "pairs"),
    ("Active ratio", "share of the pair in which the edited sound is heard", ("active_ratio",), "pairs"),
    ("Events", "sounds of a soundscape over its background", ("n_events",), "scenes"),
    ("Overlap ratio", "share of the edited span shared with other events", ("overlap_ratio",), "pairs"),
    ("Duration", "s", ("duration_s",), "pairs"),
    ("Join level", "dB under the speech, at its loudest join", ("join_level_db",), "pairs"),
    ("Pitch step", "semitones over a join", ("join_f0_semitones",), "pairs"),
    ("Alignment confidence", "how surely the words lie where they are said to", ("alignment_confidence",), "pairs"),
    ("CLAP", "similarity of a side with what is on it", ("clap_source", "clap_target"), "pairs"),
    ("CLAP gain", "how far the edited span moved toward its instruction", ("clap_gain",), "pairs"),
    ("Pace", "characters a second", ("chars_per_second",), "pairs"),
)
MIXTURE = {"add": "target", "generate": "target", **dict.fromkeys(("remove", "extract", "replace", "transfer", "extract_speaker", "remove_speaker"), "source")}


def charts(pairs: pd.DataFrame, rules: list[dict], scenes: dict) -> list[dict]:
    """What is drawn: kept and rejected pairs or scenes, or kept pairs' sources and targets.

    Args:
        pairs: quality/pairs.parquet, with the kind of each pair's scene.
        rules: the filters' rules as configured.
        scenes: how scenes are made up, as configured.
    """
    found, counted, wanted, notes = [], {"pairs": pairs, "scenes": by_scene(pairs)}, asked(scenes), _notes(pairs, scenes)
    for title, unit, scores, of in CHARTS:
        rows, kept = counted[of], counted[of]["kept"].to_numpy(bool)
        values = {score: rows[score].to_numpy(float, na_value=np.nan) for score in scores}
        if len(scores) > 1:
            series = {score.removesuffix("_lufs").removeprefix("clap_"): value[kept] for score, value in values.items()}
        else:
            series = {"kept": values[scores[0]][kept], "rejected": values[scores[0]][~kept]}
        drawn = histogram(series, stacked=len(scores) == 1, asked=wanted.get(scores[0]))
        if drawn is None:  # the note below the charts names it
            continue
        told = {name: value for name, value in series.items() if name != "rejected" and np.isfinite(value).any()}
        quantiles = {name: np.nanquantile(value, (0.05, 0.5, 0.95)).tolist() for name, value in told.items()}
        limits = [(rule["domain"] or "all", float(x)) for rule in rules if rule["score"] in scores for x in (rule["min"], rule["max"]) if x is not None]
        found.append({"title": title, "unit": unit, "scores": scores, "of": of, "drawn": drawn, "quantiles": quantiles, "limits": limits,
                      "note": notes.get(scores[0]), "counts": {name: int(np.isfinite(value).sum()) for name, value in series.items()}})
    return found


def by_scene(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row a scene: whether a pair of it was kept, `n_events` if it is a soundscape, and `mixture_lufs`, the loudness of its mixture.

    Both are drawn once a scene: counted by pair, scenes with more sounds to edit would count more. A pair of words has no side that is a mixture.
    """
    side = pairs["edit"].map(MIXTURE)
    lufs = pairs["source_lufs"].astype(float).where(side == "source", pairs["target_lufs"].astype(float).where(side == "target"))
    events = pairs["n_events"].where((pairs["kind"] == "soundscape") & (pairs["n_events"] > 0))  # 0: it was never rendered
    rows = pairs[["scene_id", "kept"]].assign(mixture_lufs=lufs, n_events=events)
    return rows.groupby("scene_id").agg({"kept": "any", "mixture_lufs": "first", "n_events": "first"})


def asked(scenes: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What scenes are drawn from, by score: values, and the share of each.

    >>> values, shares = asked({"events": [0.5, 0.5, 0.0, 0.0], "repeats": 0.2})["n_events"]
    >>> values.tolist(), shares.round(2).tolist()
    ([1, 2, 3, 4, 5], [0.4, 0.5, 0.1, 0.0, 0.0])
    """
    mean, deviation, low, high = SNR_DB
    snr, lufs = np.linspace(low, high, FINE), np.linspace(*MIXTURE_LUFS, FINE)
    bell = np.exp(-0.5 * ((snr - mean) / deviation) ** 2)
    events, repeats = np.array(scenes["events"], float), scenes["repeats"]  # one that is heard twice is one sound more
    sounds = (1 - repeats) * np.append(events, 0) + repeats * np.append(0, events)
    return {"snr_db": (snr, bell / bell.sum()), "mixture_lufs": (lufs, np.full(FINE, 1 / FINE)), "n_events": (np.arange(1, len(sounds) + 1), sounds)}


def _notes(pairs: pd.DataFrame, scenes: dict) -> dict[str, str]:
    """What to know of a chart before what was made is held against what was asked for."""
    mean, deviation, low, high, quiet, loud = (f"{level:g}".replace("-", "−") for level in (*SNR_DB, *MIXTURE_LUFS))
    beside = pairs.loc[(pairs["kind"] == "soundscape") & (pairs["n_events"] > 1), "overlap_ratio"].dropna()
    overlap = (f"Asked for: of the events after a soundscape's first, {100 * scenes['overlap']:.0f} % placed to overlap it; the others fall where they may. "
               f"Of {len(beside):,} pairs of soundscapes with several sounds, {100 * (beside > 0).mean():.0f} % overlap one.")
    return {
        "snr_db": f"Asked for: normal about {mean}, deviation {deviation}, within {low} and {high}. Of a sound heard twice, the lower of two counts.",
        "mixture_lufs": f"Asked for: even from {quiet} to {loud}. Where a side would peak too high, the whole scene is made quieter.",
        "n_events": "Asked for: scenes.events, and in the share scenes.repeats one sound more. Where no other label was left, there are fewer.",
        **({"overlap_ratio": overlap} if len(beside) else {}),
    }

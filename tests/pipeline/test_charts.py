"""Charts: what was made beside what was asked for, of the same pairs or scenes."""

import numpy as np
import pandas as pd
import pytest

from manifests.pair import SCORES
from pipeline.charts import asked, by_scene, charts
from pipeline.config import Filters, Scenes
from stages.render import MIXTURE_LUFS
from stages.scenes.soundscape import draw_snr

SCENES = Scenes().model_dump(mode="json")
RULES = Filters().model_dump(mode="json")["rules"]


def pairs(count: int) -> pd.DataFrame:
    """Pairs of soundscapes as they are drawn: of each scene as many as it has sounds, every fifth rejected; and speech and music beside them."""
    chance, rows = np.random.default_rng(0), []
    for scene in range(count):
        lufs, sounds = chance.uniform(*MIXTURE_LUFS), chance.choice(4, p=SCENES["events"]) + 1 + (chance.random() < SCENES["repeats"])
        for n in range(sounds):
            edit = ("remove", "add")[n % 2]
            level = {"source_lufs": lufs, "target_lufs": lufs - 3} if edit == "remove" else {"source_lufs": lufs - 5, "target_lufs": lufs}
            rows.append({"scene_id": f"s{scene}", "kind": "soundscape", "edit": edit, "kept": len(rows) % 5 > 0, "n_events": sounds, "snr_db": draw_snr(chance),
                         "overlap_ratio": float(n % 2), **level})
    others = [{"scene_id": "p", "kind": "piece", "edit": "extract", "kept": True, "n_events": 9, "source_lufs": -22.0, "target_lufs": -40.0},
              {"scene_id": "u", "kind": "utterance", "edit": "speech_delete", "kept": True, "n_events": 0, "source_lufs": -70.0, "target_lufs": -70.0},
              {"scene_id": "x", "kind": "soundscape", "edit": "remove", "kept": False, "n_events": 0}]
    found = pd.DataFrame([*rows, *others])
    return found.assign(**{score: np.nan for score in SCORES if score not in found})


def test_a_scene_counts_once_by_its_mixture_and_only_soundscapes_by_their_events():
    rows = by_scene(pairs(50))
    assert len(rows) == 53 and rows["n_events"].notna().sum() == 50 and rows["n_events"].max() <= 5
    assert rows["mixture_lufs"].dropna().between(*MIXTURE_LUFS).all() and rows["mixture_lufs"].notna().sum() == 51 and rows.loc["p", "mixture_lufs"] == -22.0
    assert rows.loc["u", ["mixture_lufs", "n_events"]].isna().all() and not rows.loc["x", "kept"]


def test_what_is_drawn_as_asked_for_is_spread_as_the_outline_says():
    rows, wanted = pairs(3000), asked(SCENES)
    values = {"snr_db": rows["snr_db"], **{name: by_scene(rows[rows["kind"] == "soundscape"])[name] for name in ("mixture_lufs", "n_events")}}
    for name, (points, shares) in wanted.items():
        made, at = values[name].dropna().to_numpy(float), np.cumsum(shares)
        assert np.abs(np.array([(made <= point).mean() for point in points[:: len(points) // 5]]) - at[:: len(points) // 5]).max() < 0.03, name
    by_pair = rows.loc[rows["kind"] == "soundscape", "n_events"]
    assert (by_pair == 1).mean() < 0.6 * wanted["n_events"][1][0]  # counted by pair it would not be


def test_only_what_can_be_held_against_what_was_asked_for_has_an_outline():
    drawn = {chart["title"]: chart for chart in charts(pairs(300), RULES, SCENES)}
    assert {title: chart["of"] for title, chart in drawn.items() if chart["drawn"].get("asked")} == {"Events": "scenes", "Mixtures": "scenes", "SNR": "pairs"}
    assert all(drawn[title]["note"].startswith("Asked for: ") for title in ("Events", "Mixtures", "SNR"))
    assert drawn["Events"]["counts"]["kept"] + drawn["Events"]["counts"]["rejected"] == 300
    assert "50 % placed to overlap it" in drawn["Overlap ratio"]["note"] and "several sounds" in drawn["Overlap ratio"]["note"]
    assert "note" in drawn["Loudness"] and drawn["Loudness"]["note"] is None


def test_shares_asked_for_are_those_of_the_generator_that_draws_them():
    chance = np.random.default_rng(1)
    drawn = np.array([draw_snr(chance) for _ in range(4000)])
    values, shares = asked(SCENES)["snr_db"]
    assert shares.sum() == pytest.approx(1) and (values * shares).sum() == pytest.approx(drawn.mean(), abs=0.3)
    assert np.histogram(values, (-5, 5, 15, 25), weights=shares)[0] == pytest.approx(np.histogram(drawn, (-5, 5, 15, 25))[0] / len(drawn), abs=0.03)
    assert all(shares.sum() == pytest.approx(1) for _, shares in asked(SCENES).values())

"""The baselines gain what arithmetic says they must, and the edits that they are not for have none."""

import numpy as np
import pytest
from made_pairs import RATE, background, task, tone

from manifests.pair import EDITS
from model.evaluate import scores
from model.evaluation.baselines import BASELINES, copy, ideal_ratio_mask, silence, time_gate
from model.evaluation.distances import BEST, energy, si_sdr

GROUND, EVENT = background(), tone(600, 1.0, 2.0)
PAIRS = {"remove": task("remove", GROUND + EVENT, GROUND, [[1.0, 2.0]]), "extract": task("extract", GROUND + EVENT, EVENT, [[1.0, 2.0]])}


def test_the_copy_is_wrong_by_the_event():
    said = scores(copy(PAIRS["remove"]).audio, PAIRS["remove"])
    assert said["si_sdr_db"] == pytest.approx(10 * np.log10(energy(GROUND) / energy(EVENT)), abs=0.3)
    assert said["outside_db"] == -BEST
    assert said["inside_db"] == pytest.approx(0.0, abs=0.1)  # nearly all that sounds there


def test_the_gate_loses_what_else_sounds_where_the_edit_is():
    removed, extracted = (scores(time_gate(PAIRS[edit]).audio, PAIRS[edit]) for edit in ("remove", "extract"))
    assert removed["si_sdr_db"] == pytest.approx(10 * np.log10(2 / 1), abs=0.2)  # two of three seconds are left
    assert removed["outside_db"] == extracted["outside_db"] == -BEST
    within = energy(GROUND[:, RATE : 2 * RATE])
    assert extracted["si_sdr_db"] == pytest.approx(10 * np.log10(energy(EVENT) / within), abs=0.3)


@pytest.mark.parametrize("edit", ["remove", "extract"])
def test_the_mask_is_better_than_the_gate_where_sounds_differ_in_pitch(edit):
    gated, masked = (scores(system(PAIRS[edit]).audio, PAIRS[edit])["si_sdr_db"] for system in (time_gate, ideal_ratio_mask))
    assert masked > gated + 3


def test_the_mask_of_sounds_that_share_no_frequency_gives_the_target():
    low, high = tone(500, 0, 3), tone(4000, 0, 3)
    made = ideal_ratio_mask(task("remove", low + high, low, [[0.0, 3.0]])).audio
    assert made.shape == low.shape and si_sdr(made[:, 2048:-2048], low[:, 2048:-2048]) > 40


def test_where_nothing_is_to_be_taken_away_the_mask_leaves_all():
    made = ideal_ratio_mask(task("remove", GROUND, GROUND, [[1.0, 2.0]])).audio
    assert np.allclose(made, GROUND, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 100, 2048, 5001])
def test_they_have_the_length_of_their_pair(samples):
    pair = task("remove", (GROUND + EVENT)[:, :samples], GROUND[:, :samples], [[0.0, samples / RATE]])
    assert {system(pair).audio.shape for system in BASELINES.values()} == {(1, samples)}


@pytest.mark.parametrize("edit", EDITS)
def test_gate_and_mask_are_for_what_only_takes_away(edit):
    pair = task(edit, GROUND + EVENT, GROUND, [[1.0, 2.0]])
    assert (time_gate(pair) is None) == (ideal_ratio_mask(pair) is None) == (edit.partition("_")[0] not in ("remove", "extract"))
    assert np.array_equal(copy(pair).audio, pair.source) and not silence(pair).audio.any()

"""The sibling test tells who did what was asked for from who did anything."""

import numpy as np
import pytest
from made_pairs import background, task, tone

from model.evaluation.distances import Spectra
from model.evaluation.siblings import sibling_test

GROUND, EVENTS = background(), [tone(pitch, at, at + 0.8) for at, pitch in ((0.1, 500), (1.1, 900), (2.1, 1500))]
MIXTURE = GROUND + sum(EVENTS)
SCENE = [task("remove", MIXTURE, MIXTURE - event, [[0.0, 3.0]], n) for n, event in enumerate(EVENTS)]


def share(outputs: list[np.ndarray]) -> float:
    found = [sibling_test(Spectra(output), own, [*SCENE[:n], *SCENE[n + 1 :]]) for n, (own, output) in enumerate(zip(SCENE, outputs))]
    assert [chance for _, chance in found] == pytest.approx([1 / 3] * 3)
    return float(np.mean([right for right, _ in found]))


def test_targets_are_all_right_even_with_noise():
    assert share([own.target for own in SCENE]) == 1
    assert share([own.target + background(0.01, seed=9) for own in SCENE]) == 1


def test_who_does_always_the_same_is_right_by_chance():
    assert share([own.source for own in SCENE]) == pytest.approx(1 / 3)
    assert share([SCENE[1].target] * 3) == pytest.approx(1 / 3)


def test_who_takes_the_wrong_one_is_never_right():
    assert share([SCENE[(n + 1) % 3].target for n in range(3)]) == 0


def test_targets_that_are_the_same_audio_count_once():
    adds = [task("add", MIXTURE - event, MIXTURE, [[0.0, 3.0]], n) for n, event in enumerate(EVENTS)]
    assert sibling_test(Spectra(MIXTURE), adds[0], adds[1:]) is None
    assert sibling_test(Spectra(MIXTURE), adds[0], [*adds[1:], SCENE[0]]) == (True, 0.5)
    assert sibling_test(Spectra(SCENE[0].target), adds[0], [*adds[1:], SCENE[0]]) == (False, 0.5)


def test_siblings_of_other_lengths_can_be_told_apart():
    spoken = task("speech_delete", MIXTURE, MIXTURE[:, :30_000], [[1.8, 1.9]])
    assert sibling_test(Spectra(spoken.target), spoken, SCENE) == (True, 0.25)
    assert sibling_test(Spectra(SCENE[0].target), SCENE[0], [spoken]) == (True, 0.5)

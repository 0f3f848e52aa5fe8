"""Intervals cover what they are to cover, and know that siblings are not independent."""

import numpy as np

from model.evaluation.bootstrap import interval


def test_it_covers_the_mean_nineteen_times_in_twenty():
    chance = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        scenes = np.repeat(np.arange(40), 3)
        values = 5 + chance.normal(size=40)[scenes] + 0.3 * chance.normal(size=120)
        low, high = interval(values, scenes)
        hits += low <= 5 <= high
    assert 0.87 <= hits / 100 <= 0.99


def test_pairs_of_one_scene_say_less_than_pairs_of_many():
    values = np.repeat(np.random.default_rng(1).normal(size=30), 4)

    def width(scenes: np.ndarray) -> float:
        low, high = interval(values, scenes)
        return high - low

    assert width(np.repeat(np.arange(30), 4)) > 1.5 * width(np.arange(120))


def test_it_is_the_same_twice_and_none_of_one_scene():
    values, scenes = np.arange(6.0), np.array(list("aabbcc"))
    assert interval(values, scenes) == interval(values, scenes)
    assert interval(values, np.array(["a"] * 6)) is None

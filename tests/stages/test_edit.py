"""The contract's promises on pairs, over scenes drawn at random."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.pair import Pair
from manifests.scene import Rendered, Scene, Stem
from stages.edit import PEAK_DBFS, sides, spans
from stages.render import render

STEP = 1 / 32768
light = settings(max_examples=15, deadline=None)
seeds, numbers, channels = st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 2)


def difference(pair: Pair) -> np.ndarray:
    return (pair.target.astype(np.float64) - pair.source) * STEP


def placed(rendered: Rendered, stem: int) -> np.ndarray:
    """One stem in its place, at its level in the pairs, by arithmetic of its own: float64 (channels, samples)."""
    scene, it = rendered.scene, rendered.scene.stems[stem]
    found = np.zeros((scene.channels, scene.samples))
    found[:, it.onset : it.onset + it.length] = rendered.audio[stem].astype(np.float64) * 10 ** ((it.gain_db + scene.gain_db) / 20)
    return found


def outside(pair: Pair) -> np.ndarray:
    """Which samples lie outside a pair's spans."""
    free = np.ones(pair.target.shape[1], bool)
    for start, end in pair.edit_spans:
        free[round(start * pair.sample_rate) : round(end * pair.sample_rate)] = False
    return free


@light
@given(seeds, numbers, channels)
def test_add_gives_the_event_and_nothing_outside_its_spans(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels)
    rendered, pairs = sounds.read_off(scene, [("add", stem) for stem in range(1, events + 1)], seed)
    for stem, pair in enumerate(pairs, 1):
        assert np.abs(difference(pair) - placed(rendered, stem)).max() <= 2 * STEP
        assert not difference(pair)[:, outside(pair)].any()
        assert np.abs(difference(pair)).max() > 0
        assert pair.edit_spans == [[scene.stems[stem].onset / 16_000, (scene.stems[stem].onset + scene.stems[stem].length) / 16_000]]


@light
@given(seeds, numbers, channels)
def test_remove_is_add_read_backwards_and_extract_gives_what_it_took(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels)
    _, (added, removed, extracted) = sounds.read_off(scene, [("add", 1), ("remove", 1), ("extract", 1)], seed)
    np.testing.assert_array_equal(removed.source, added.target)
    np.testing.assert_array_equal(removed.target, added.source)
    assert not difference(removed)[:, outside(removed)].any()
    assert np.abs(-difference(removed) - extracted.target * STEP).max() <= 2 * STEP
    assert not extracted.target[:, outside(extracted)].any()
    assert added.edit_spans == removed.edit_spans == extracted.edit_spans


@light
@given(seeds, numbers, channels)
def test_replace_is_the_new_event_less_the_old(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels, others=events)
    rendered, pairs = sounds.read_off(scene, [("replace", stem) for stem in range(1, events + 1)], seed)
    for stem, pair in enumerate(pairs, 1):
        assert pair.edited == [stem, events + stem]
        assert np.abs(difference(pair) - placed(rendered, events + stem) + placed(rendered, stem)).max() <= 2 * STEP
        assert not difference(pair)[:, outside(pair)].any()
        assert outside(pair).any()


@light
@given(seeds, channels)
def test_transfer_leaves_the_other_stems_as_they_are(make_piece, seed, channels):
    scene, sounds = make_piece(seed, 3, channels)
    rendered, (transferred, without) = sounds.read_off(scene, [("transfer", 2), ("remove", 2)], seed)
    np.testing.assert_array_equal(transferred.source, without.source)
    for side, stem in ((transferred.source, 2), (transferred.target, 3)):
        assert np.abs(side * STEP - without.target * STEP - placed(rendered, stem)).max() <= 2 * STEP


@light
@given(seeds, numbers, channels)
def test_equal_sides_are_one_array_of_16_bits(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels)
    asked = [(name, stem) for name in ("remove", "extract") for stem in range(1, min(events, 2) + 1)]
    _, pairs = sounds.read_off(scene, [*asked, ("replace", 1)], seed)
    assert len({id(pair.source) for pair in pairs}) == 1
    assert len({id(pair.target) for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert pair.source.dtype == pair.target.dtype == np.int16
        assert pair.source.shape == pair.target.shape == (channels, scene.samples)
        assert pair.duration_s == scene.samples / 16_000 and pair.sample_rate == 16_000


@settings(max_examples=40, deadline=None)
@given(seeds, numbers, channels)
def test_no_side_peaks_over_minus_1_dbfs_and_one_gain_serves_all(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels, seconds=2.0)
    for stem in scene.stems[1:]:
        stem.snr_db = 25.0
    _, pairs = sounds.read_off(scene, [("add", 1), ("remove", 1), ("extract", 1), ("replace", 1)], seed)
    highest = max(np.abs(side.astype(int)).max() for pair in pairs for side in (pair.source, pair.target))
    assert highest <= 10 ** (PEAK_DBFS / 20) * 32768 + 0.5
    assert {pair.gain_db for pair in pairs} == {scene.gain_db}


def test_what_would_clip_is_brought_just_under_the_peak(make_soundscape):
    lowered = 0
    for seed in range(12):
        scene, sounds = make_soundscape(seed, 2, seconds=2.0)
        scene.stems[1].snr_db = 25.0
        rendered = render(scene, sounds.clips, sounds.read, generator(seed, "loudness"))
        before = scene.gain_db
        _, pairs = sounds.read_off(scene, [("add", 1), ("extract", 1)], seed)
        if scene.gain_db < before:
            highest = max(np.abs(side.astype(int)).max() for pair in pairs for side in (pair.source, pair.target))
            assert 20 * np.log10(highest / 32768) == pytest.approx(PEAK_DBFS, abs=0.01)
            lowered += 1
        else:
            assert np.abs(rendered.sum(scene.mixture)).max() <= 10 ** (PEAK_DBFS / 20)
    assert lowered


@light
@given(seeds, channels)
def test_what_is_written_of_a_pair_gives_its_samples_again(make_soundscape, make_piece, seed, channels):
    for make, asked in ((make_soundscape, [("add", 1), ("remove", 2), ("extract", 1), ("replace", 1)]), (make_piece, [("transfer", 2), ("extract", 0)])):
        scene, sounds = make(seed, 2 if make is make_soundscape else 3, channels)
        _, pairs = sounds.read_off(scene, asked, seed)
        for pair in pairs:
            recipe = json.loads(json.dumps({"stems": [asdict(stem) for stem in scene.stems], "gain_db": pair.gain_db}))
            for wanted, got in ((pair.before, pair.source), (pair.after, pair.target)):
                total = np.zeros((channels, scene.samples))
                for stem in (recipe["stems"][i] for i in wanted):
                    audio = sounds.samples(stem["clip_id"])[:, stem["offset"] : stem["offset"] + stem["length"]].copy()
                    audio[:, : stem["fade_in"]] *= np.arange(stem["fade_in"]) / max(1, stem["fade_in"])
                    audio[:, stem["length"] - stem["fade_out"] :] *= np.arange(stem["fade_out"], 0, -1) / max(1, stem["fade_out"])
                    total[:, stem["onset"] : stem["onset"] + stem["length"]] += audio * 10 ** ((stem["gain_db"] + recipe["gain_db"]) / 20)
                assert np.abs(total * 32768 - got).max() <= 1


def scene_of(*stems: tuple[int, int], rate: int = 1000) -> Scene:
    placed = [Stem("c", "event", "", onset, 0, length, 0, 0) for onset, length in stems]
    return Scene("s", "soundscape", "train", rate, 1, 10_000, placed)


def test_spans_that_touch_or_overlap_are_one():
    assert spans(scene_of((0, 500), (500, 250)), [0, 1]) == [(0.0, 0.75)]
    assert spans(scene_of((200, 800), (300, 100)), [0, 1]) == [(0.2, 1.0)]
    assert spans(scene_of((0, 500), (501, 250)), [0, 1]) == [(0.0, 0.5), (0.501, 0.751)]
    assert spans(scene_of((5000, 500), (0, 250), (9000, 1)), [0, 1]) == [(0.0, 0.25), (5.0, 5.5)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=6))
def test_spans_cover_what_sounds_and_nothing_else(stems):
    sounding = np.zeros(100, bool)
    for onset, length in stems:
        sounding[onset : onset + length] = True
    found = spans(scene_of(*stems), list(range(len(stems))))
    covered = np.zeros(100, bool)
    for start, end in found:
        covered[round(start * 1000) : round(end * 1000)] = True
    np.testing.assert_array_equal(covered, sounding)
    assert all(end < start for (_, end), (start, _) in zip(found, found[1:]))


def test_sides_name_the_stems_before_and_after():
    scene = scene_of((0, 10), (0, 10), (0, 10), (0, 10), (0, 10))
    scene.stems[0].role = "background"
    for stem in scene.stems[3:]:
        stem.role, stem.place_of = "other", 1
    scene.stems[4].follows = True
    assert sides(scene, "add", 1) == ([0, 2], [0, 1, 2], [1])
    assert sides(scene, "remove", 1) == ([0, 1, 2], [0, 2], [1])
    assert sides(scene, "extract", 1) == ([0, 1, 2], [1], [1])
    assert sides(scene, "replace", 1) == ([0, 1, 2], [0, 2, 3], [1, 3])
    assert sides(scene, "transfer", 1) == ([0, 1, 2], [0, 2, 4], [1, 4])
    assert sides(scene, "generate", 0) == ([], [0, 1, 2], [0, 1, 2])

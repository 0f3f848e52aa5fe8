"""Scores are what an independent measure of the pair's own samples finds."""

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.pair import SCORES, Pair
from manifests.scene import Rendered, Scene, Stem
from stages.score import change_db, overlap, quiet_fault, score

light = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32)
COMPUTED = {"duration_s", "overlap_ratio", "source_lufs", "target_lufs", "source_peak_dbfs", "target_peak_dbfs", "snr_db", "local_snr_db", "active_ratio",
            "change_db"}


def scored(scene: Scene, sounds, asked: list[tuple[str, int]], seed: int) -> tuple[Rendered, list[Pair]]:
    rendered, pairs = sounds.read_off(scene, asked, seed)
    for pair in pairs:
        score(rendered, pair)
    return rendered, pairs


@light
@given(seeds, st.integers(1, 3), st.integers(1, 2))
def test_loudness_and_peaks_are_those_of_the_written_audio(make_soundscape, seed, events, channels):
    scene, sounds = make_soundscape(seed, events, channels)
    _, pairs = scored(scene, sounds, [("add", 1), ("extract", 1), ("replace", 1)], seed)
    for pair in pairs:
        for audio, lufs, peak in ((pair.source, pair.source_lufs, pair.source_peak_dbfs), (pair.target, pair.target_lufs, pair.target_peak_dbfs)):
            meter = pyloudnorm.Meter(16_000, filter_class="DeMan")
            assert lufs == pytest.approx(meter.integrated_loudness(audio.T / 32768), abs=0.2)
            assert peak == pytest.approx(20 * np.log10(np.abs(audio.astype(float)).max() / 32768), abs=1e-6)
            assert peak <= -0.99


@light
@given(seeds)
def test_what_was_not_computed_is_null(make_soundscape, make_piece, seed):
    for make, asked in ((make_soundscape, ("add", 1)), (make_piece, ("transfer", 2))):
        _, (pair,) = scored(*make(seed), [asked], seed)
        found = {name for name in SCORES if getattr(pair, name) is not None}
        assert found == COMPUTED - ({"snr_db"} if asked[0] == "transfer" else set())
        assert pair.seconds_score > 0 and pair.asr_choice is None


@light
@given(seeds, st.integers(1, 3))
def test_the_local_snr_is_the_events_power_over_all_elses_in_its_span(make_soundscape, seed, events):
    scene, sounds = make_soundscape(seed, events)
    rendered, pairs = scored(scene, sounds, [("remove", stem) for stem in range(1, events + 1)], seed)
    meter = pyloudnorm.Meter(16_000, filter_class="DeMan")
    for stem, pair in enumerate(pairs, 1):
        powers = []
        for stems in ([stem], [i for i in scene.mixture if i != stem]):
            audio = rendered.sum(stems).astype(np.float64)[0]
            for stage in meter._filters.values():
                audio = stage.apply_filter(audio)
            it = scene.stems[stem]
            powers.append(np.sum(audio[it.onset // 1600 * 1600 : -(-(it.onset + it.length) // 1600) * 1600] ** 2))
        assert pair.local_snr_db == pytest.approx(10 * np.log10(powers[0] / powers[1]), abs=0.3)
        assert pair.snr_db == scene.stems[stem].snr_db


def test_louder_events_score_higher(make_soundscape):
    found = []
    for level in (-5.0, 5.0, 15.0):
        scene, sounds = make_soundscape(3, 1)
        scene.stems[1].snr_db = level
        found.append(scored(scene, sounds, [("remove", 1)], 3)[1][0])
    steps = np.diff([pair.local_snr_db for pair in found])
    np.testing.assert_allclose(steps, 10, atol=0.1)
    assert found[0].active_ratio == pytest.approx(found[2].active_ratio)


def test_the_active_ratio_is_the_share_of_the_scene_in_which_the_edited_sound_is_heard(make_soundscape):
    scene, sounds = make_soundscape(0, 1, others=0)
    clip = sounds.store(np.sin(np.arange(16_000))[None], "event", "tone")
    scene.stems[1] = Stem(clip.clip_id, "event", "tone", 16_000, 0, 16_000, 0, 0, snr_db=10.0)
    _, (pair,) = scored(scene, sounds, [("add", 1)], 0)
    assert pair.active_ratio == pytest.approx(1 / 3, abs=0.04)


def overlapping(*stems: tuple[str, int, int]) -> float:
    scene = Scene("s", "soundscape", "train", 1000, 1, 1000, [Stem("c", role, "", onset, 0, length, 0, 0) for role, onset, length in stems])
    return overlap(scene, [1])


def test_overlap_is_the_share_of_the_events_span_that_others_cover():
    assert overlapping(("background", 0, 1000), ("event", 100, 200)) == 0
    assert overlapping(("background", 0, 1000), ("event", 100, 200), ("event", 200, 50)) == 0.25
    assert overlapping(("background", 0, 1000), ("event", 100, 200), ("event", 0, 150), ("event", 250, 500)) == 0.5
    assert overlapping(("background", 0, 1000), ("event", 100, 200), ("event", 150, 100), ("event", 150, 100)) == 0.5
    assert overlapping(("background", 0, 1000), ("event", 100, 200), ("other", 100, 200), ("event", 300, 50)) == 0
    assert overlapping(("track", 0, 1000), ("track", 0, 1000)) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 60)), min_size=1, max_size=5))
def test_overlap_by_counting(stems):
    first, *rest = [(onset, min(length, 100 - onset)) for onset, length in stems]
    covered = {n for onset, length in rest for n in range(onset, onset + length)}
    share = sum(n in covered for n in range(first[0], first[0] + first[1])) / first[1]
    assert overlapping(("background", 0, 100), ("event", *first), *(("event", *it) for it in rest)) == pytest.approx(share)


@pytest.mark.parametrize(("level", "quiet"), [(-60.0, False), (-83.5, False), (-84.5, True), (-110.0, True)])
def test_a_sound_under_minus_84_dbfs_is_too_quiet_for_16_bits(level, quiet):
    stems = [Stem("a", "background", "", 0, 0, 8000, 0, 0), Stem("b", "event", "mosquito", 0, 0, 8000, 0, 0, gain_db=level + 20)]
    tone = np.sqrt(2) * np.sin(np.arange(8000) * 2 * np.pi * 1000 / 8000)[None]
    rendered = Rendered(Scene("s", "soundscape", "train", 8000, 1, 8000, stems, gain_db=-20.0), [tone, tone.astype(np.float32)], np.zeros((1, 2, 2)), 0.0)
    fault = quiet_fault(rendered, [1])
    assert (fault is not None) == quiet
    assert not quiet or "mosquito" in fault
    assert quiet_fault(rendered, [0]) is None and quiet_fault(rendered, [0, 1]) == fault


@pytest.mark.parametrize(("added", "expected"), [(0.0, -120.0), (1.0, 0.0), (0.1, -20.8279)])
def test_what_was_changed_is_held_against_the_stronger_side_in_the_edited_span(added, expected):
    tone = (8000 * np.sin(np.arange(2000) / 9)).astype(np.int16)[None]
    more = np.zeros_like(tone)
    more[:, 500:1500] = np.rint(added * tone[:, 500:1500])
    source = tone if added < 1 else np.zeros_like(tone)
    pair = Pair("k", "s", "add", "real", "real", "sound", "en", "train", 0, sample_rate=1000, edit_spans=[[0.5, 1.0], [1.0, 1.5]], duration_s=2.0)
    pair.source, pair.target = source, source + more
    assert change_db(pair) == pytest.approx(expected, abs=0.02)

"""Events stand inside the scene, faded, at drawn levels; what comes later changes nothing for what came before."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.clip import Clip
from manifests.scene import Scene
from stages.scenes.soundscape import FADE, PAUSE, SNR_DB, place

RATE = 8_000
light = settings(max_examples=60, deadline=None)
lengths = st.floats(0.2, 6)


def clip(name: str, seconds: float) -> Clip:
    return Clip(f"{name}.wav", 0, seconds, 0, "sound", "synthetic", label=name, clip_id=name, duration=round(seconds * RATE) / RATE)


def scene_of(seed: int, events: list[float], others: dict[int, float] | None = None, background: float = 12.0, seconds: float = 10.0) -> Scene:
    empty = Scene("s", "soundscape", "train", RATE, 1, round(seconds * RATE))
    placed = [clip(f"e{n}", length) for n, length in enumerate(events)]
    instead = {n: clip(f"o{n}", length) for n, length in (others or {}).items()}
    return place(empty, clip("ground", background), placed, instead, generator(seed))


@light
@given(st.integers(0, 2**32), st.lists(lengths, min_size=1, max_size=4), st.floats(10, 30))
def test_all_stems_lie_inside_the_scene_and_their_clips(seed, events, background):
    scene = scene_of(seed, events, {0: 1.0}, background)
    assert [stem.role for stem in scene.stems] == ["background"] + ["event"] * len(events) + ["other"]
    for stem, length in zip(scene.stems, [background, *events, 1.0]):
        assert 0 <= stem.onset and stem.onset + stem.length <= scene.samples
        assert 0 <= stem.offset and stem.offset + stem.length <= round(length * RATE)
        assert 0 <= stem.fade_in and 0 <= stem.fade_out and stem.fade_in + stem.fade_out <= stem.length
    assert (scene.stems[0].onset, scene.stems[0].length) == (0, scene.samples)
    for stem, length in zip(scene.stems[1:], events):
        assert stem.offset == 0 and stem.length == round(length * RATE)


@light
@given(st.integers(0, 2**32), st.lists(st.floats(0.5, 6), min_size=1, max_size=4))
def test_levels_and_fades_keep_to_their_ranges(seed, events):
    scene = scene_of(seed, events)
    for stem in scene.stems[1:]:
        assert SNR_DB[2] <= stem.snr_db <= SNR_DB[3]
        assert all(FADE[0] * RATE - 1 <= fade <= FADE[1] * RATE + 1 for fade in (stem.fade_in, stem.fade_out))
    assert scene.stems[0].snr_db is None and scene.stems[0].fade_in == scene.stems[0].fade_out == 0


@light
@given(st.integers(0, 2**32), st.lists(lengths, min_size=2, max_size=4), st.dictionaries(st.integers(0, 1), lengths, min_size=1))
def test_later_events_and_others_change_nothing_for_earlier_stems(seed, events, others):
    whole = scene_of(seed, events, others)
    for count in range(1, len(events) + 1):
        assert scene_of(seed, events[:count]).stems == whole.stems[: count + 1]
    assert scene_of(seed, events).stems == whole.stems[: len(events) + 1]
    last = len(events) + 1
    for place_, index in enumerate(sorted(others)):
        assert whole.stems[last + place_] == scene_of(seed, events, {index: others[index]}).stems[last]


@light
@given(st.integers(0, 2**32), lengths, lengths)
def test_what_comes_in_an_events_place_begins_there_at_its_level(seed, event, other):
    _, taken, instead = scene_of(seed, [event], {0: other}).stems
    assert instead.place_of == 1 and instead.snr_db == taken.snr_db
    assert instead.onset == taken.onset or instead.onset + instead.length == 10 * RATE < taken.onset + instead.length


def test_an_event_as_long_as_the_scene_fills_it():
    stem = scene_of(0, [12.0]).stems[1]
    assert (stem.onset, stem.length) == (0, 10 * RATE)


def test_what_is_said_is_told_of_events_that_are_heard_to_their_end():
    said = [replace(clip(f"e{n}", length), transcript=" Come\nin. ") for n, length in enumerate((2.0, 12.0))]
    ground = replace(clip("street", 30.0), transcript="All that thirty seconds hold.")
    scene = place(Scene("s", "soundscape", "train", RATE, 1, 10 * RATE), ground, said, {}, generator(1))
    assert [stem.text for stem in scene.stems] == ["", "Come in.", ""]


def test_a_background_no_longer_than_the_scene_starts_at_its_start():
    assert {scene_of(seed, [1.0], background=10.0).stems[0].offset for seed in range(20)} == {0}
    offsets = [scene_of(seed, [1.0], background=14.0).stems[0].offset for seed in range(50)]
    assert len(set(offsets)) > 40 and max(offsets) <= 4 * RATE


def test_levels_are_drawn_as_the_recipe_has_them():
    drawn = np.array([stem.snr_db for seed in range(400) for stem in scene_of(seed, [1.0] * 4).stems[1:]])
    assert abs(drawn.mean() - SNR_DB[0]) < 0.6 and abs(drawn.std() - 4.9) < 0.5


def test_onsets_are_spread_over_the_scene_and_half_of_the_events_overlap_the_first():
    scenes = [scene_of(seed, [1.0, 1.0]) for seed in range(400)]
    onsets = [scene.stems[1].onset / RATE for scene in scenes]
    assert min(onsets) < 0.3 and max(onsets) > 8.7 and abs(np.mean(onsets) - 4.5) < 0.5
    overlap = np.mean([abs(scene.stems[1].onset - scene.stems[2].onset) < RATE for scene in scenes])
    assert 0.5 < overlap < 0.72


def test_another_generator_gives_another_scene():
    assert len({str(scene_of(seed, [1.0, 2.0]).stems) for seed in range(30)}) == 30


@light
@given(st.integers(0, 2**32), st.lists(st.floats(0.2, 4.2), min_size=2, max_size=5))
def test_two_of_one_label_are_heard_one_after_the_other_and_counted(seed, events):
    empty = Scene("s", "soundscape", "train", RATE, 1, 10 * RATE)
    scene = place(empty, clip("ground", 12.0), [clip(f"e{n}", length) for n, length in enumerate(events)], {}, generator(seed), twice=True)
    first, second = sorted((scene.stems[1], scene.stems[-1]), key=lambda stem: stem.onset)
    assert (first.nth, second.nth) == (1, 2) and all(stem.nth == 0 for stem in scene.stems[2:-1])
    assert second.onset >= first.onset + first.length + round(PAUSE * RATE) and second.onset + second.length <= scene.samples


def test_either_of_two_of_one_label_may_come_first():
    empty = [Scene("s", "soundscape", "train", RATE, 1, 10 * RATE) for _ in range(40)]
    scenes = [place(scene, clip("ground", 12.0), [clip("a", 2.0), clip("b", 3.0)], {}, generator(n), twice=True) for n, scene in enumerate(empty)]
    assert 10 < sum(scene.stems[1].nth == 1 for scene in scenes) < 30


def test_so_many_events_overlap_the_first_as_are_asked_for():
    def share(overlap: float) -> float:
        met = []
        for seed in range(200):
            empty = Scene("s", "soundscape", "train", RATE, 1, 30 * RATE)
            scene = place(empty, clip("ground", 31.0), [clip("a", 1.0), clip("b", 1.0)], {}, generator(seed), overlap=overlap)
            met.append(abs(scene.stems[1].onset - scene.stems[2].onset) < RATE)
        return np.mean(met)

    assert share(0.0) < 0.15 and 0.4 < share(0.5) < 0.65 and share(1.0) == 1

"""The tracks of a piece are cut at one place, so that they stay together."""

from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.clip import Clip
from manifests.scene import Scene
from stages.scenes.piece import FADE, place

RATE = 8_000


def track(name: str, seconds: float) -> Clip:
    return Clip("soundfont:0/piece", 0, seconds, 0, "music", "demo", label=name, clip_id=name, duration=seconds, role="track", piece="p")


def scene_of(seed: int, tracks: int, others: tuple[int, ...] = (), seconds: float = 16.0) -> Scene:
    empty = Scene("s", "piece", "train", RATE, 1, 10 * RATE)
    return place(empty, [track(f"t{n}", seconds) for n in range(tracks)], {n: track(f"o{n}", seconds) for n in others}, generator(seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sets(st.integers(0, 5)), st.floats(10, 30))
def test_all_tracks_are_cut_at_one_place_inside_the_piece(seed, tracks, others, seconds):
    others = tuple(n for n in others if n < tracks)
    scene = scene_of(seed, tracks, others, round(seconds * RATE) / RATE)
    assert len({stem.offset for stem in scene.stems}) == 1
    for stem in scene.stems:
        assert (stem.onset, stem.length) == (0, scene.samples)
        assert 0 <= stem.offset and stem.offset + stem.length <= round(seconds * RATE)
        assert stem.fade_in == stem.fade_out == round(FADE * RATE)
        assert stem.snr_db is None and stem.gain_db == 0
    assert [stem.label for stem in scene.stems] == [f"t{n}" for n in range(tracks)] + [f"o{n}" for n in sorted(others)]
    assert [stem.place_of for stem in scene.stems] == [None] * tracks + sorted(others)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_another_program_changes_nothing_for_the_tracks(seed, tracks):
    assert scene_of(seed, tracks, (1,)).stems[:tracks] == scene_of(seed, tracks).stems


def test_cuts_are_spread_over_the_piece():
    offsets = [scene_of(seed, 2).stems[0].offset / RATE for seed in range(100)]
    assert min(offsets) < 1 and max(offsets) > 5
    assert scene_of(0, 2, seconds=10.0).stems[0].offset == 0

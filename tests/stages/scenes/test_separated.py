"""Stems of a recording sum to it, and a stem over another recording leaves that as it was."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.audio import to_int16
from manifests.chance import generator
from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.loudness import loudness
from manifests.pair import Pair
from manifests.scene import Scene
from stages.edit import edit, sides
from stages.engines.hpss import Hpss
from stages.filter import Rule, judge
from stages.ingest import Gates, store
from stages.measure import measure
from stages.render import render
from stages.scenes import separated
from stages.score import quiet_fault, score
from stages.separate import separate

RATE = 16_000


def song(seed: int, seconds: float = 4.0, channels: int = 1) -> np.ndarray:
    """Clicks over a chord: float32 (channels, samples)."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    root = rng.uniform(100, 300)
    chord = sum(0.04 * np.sin(2 * np.pi * root * ratio * time) for ratio in (1, 1.25, 1.5, 2, 3))
    for onset in np.arange(0.2, seconds - 0.1, rng.uniform(0.25, 0.5)):
        first = round(onset * RATE)
        chord[first : first + 240] += 0.4 * rng.standard_normal(240) * np.exp(-np.arange(240) / 40)
    return np.stack([chord * (1 - 0.3 * channel) for channel in range(channels)]).astype(np.float32)


def stored(found: list[tuple[Clip, np.ndarray]]) -> tuple[list[Clip], dict[str, bytes]]:
    kept = [store(clip, audio, RATE) for clip, audio in found]
    return [clip for clip, _ in kept], {clip.clip_id: flac for clip, flac in kept}


def taken_apart(audio: np.ndarray, name: str = "song.wav") -> tuple[list[Clip], dict[str, bytes]]:
    window = measure(Clip(name, 0.0, audio.shape[1] / RATE, 0, "music", "real", role="stem"), audio, RATE)
    return stored(separate([(window, audio)], RATE, Hpss(), Gates())[0])


def scene_of(kind: str, samples: int = 3 * RATE, channels: int = 1) -> Scene:
    return Scene("s", kind, "train", RATE, channels, samples)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2]), st.integers(RATE, 4 * RATE))
def test_the_stems_sum_to_the_recording(seed, channels, samples):
    audio = song(seed, channels=channels)
    clips, flac = taken_apart(audio)
    scene = separated.place(scene_of("separated", samples, channels), clips, generator(seed))
    rendered = render(scene, {clip.clip_id: clip for clip in clips}, lambda clip: flac[clip.clip_id], generator(seed, "loudness"))
    offsets = {stem.offset for stem in scene.stems}
    assert len(offsets) == 1 and {(stem.onset, stem.length, stem.fade_in, stem.fade_out, stem.gain_db) for stem in scene.stems} == {(0, samples, 0, 0, 0.0)}
    stretch = audio[:, offsets.pop() :][:, :samples] * 10 ** (scene.gain_db / 20)
    assert stretch.shape[1] == samples
    assert np.abs(rendered.sum(scene.mixture) - stretch).max() < 2e-6 * max(1, 10 ** (scene.gain_db / 20))


def test_the_whole_recording_fits_and_other_scenes_take_other_stretches():
    clips, _ = taken_apart(song(1))
    assert {stem.offset for stem in separated.place(scene_of("separated", 4 * RATE), clips, generator(1)).stems} == {0}
    assert len({separated.place(scene_of("separated"), clips, generator(n)).stems[0].offset for n in range(20)}) > 10


def test_what_is_left_over_has_no_label_and_sounds_all_the_same():
    audio = song(2)
    named, rest = (replace(clip, label=label) for (clip, _), label in zip(separate([(measured(audio), audio)], RATE, Hpss(), Gates())[0], ("clicks", "")))
    scene = separated.place(scene_of("separated"), [replace(named, clip_id="a"), replace(rest, clip_id="b")], generator(1))
    assert [(stem.role, stem.label) for stem in scene.stems] == [("track", "clicks"), ("rest", "")] and scene.mixture == [0, 1]
    assert sides(scene, "add", 0) == ([1], [0, 1], [0]) and sides(scene, "extract", 0) == ([0, 1], [0], [0])


@pytest.mark.parametrize("part", ["rest", "track"])
def test_a_rest_that_is_silent_in_the_stretch_is_no_fault_and_a_track_is(part):
    late = np.zeros((1, 4 * RATE), np.float32)
    late[:, -RATE // 2 :] = 0.1 * np.random.default_rng(0).standard_normal(RATE // 2)
    clips, flac = taken_apart(song(2))
    (end,), more = stored([(measured(late, label="" if part == "rest" else "applause"), late)])
    scene = separated.place(scene_of("separated"), [*clips, end], generator(2))
    for stem in scene.stems:
        stem.offset = 0
    known, flac = {clip.clip_id: clip for clip in (*clips, end)}, flac | more
    if part == "track":
        with pytest.raises(Rejected, match="'applause' is silent in the stretch"):
            render(scene, known, lambda clip: flac[clip.clip_id], generator(2, "loudness"))
        return
    rendered = render(scene, known, lambda clip: flac[clip.clip_id], generator(2, "loudness"))
    for name in ("add", "remove", "extract"):
        pair = Pair("key", "s", name, "real", "real", "music", "en", "train", 0)
        pair.before, pair.after, pair.edited = sides(scene, name, 0)
        edit(rendered, [pair])
        score(rendered, pair)
        judge(pair, [Rule(score="change_db", min=-40.0), Rule(score="target_peak_dbfs", min=-60.0)])
        assert quiet_fault(rendered, pair.edited) is None and pair.kept and np.isfinite([pair.source_lufs, pair.target_lufs, pair.local_snr_db]).all()


def measured(audio: np.ndarray, name: str = "ground.wav", **known) -> Clip:
    return measure(Clip(name, 0.0, audio.shape[1] / RATE, 0, "sound", "real", **{"role": "stem", **known}), audio, RATE)


def remixed(seed: int, channels: int = 1, level: float = 0.05) -> tuple[Scene, Pair, np.ndarray, dict[str, np.ndarray]]:
    """A stem over noise; the pair that takes it away; the noise, and the stem, as they were."""
    clips, flac = taken_apart(song(seed, channels=channels))
    noise = (level * np.random.default_rng(seed).standard_normal((channels, 5 * RATE))).astype(np.float32)
    (ground,), more = stored([(measured(noise, role="background", label="rain"), noise)])
    stem = clips[seed % 2]
    scene = separated.remix(scene_of("remix", channels=channels), ground, stem, generator(seed))
    flac |= more
    rendered = render(scene, {clip.clip_id: clip for clip in (ground, stem)}, lambda clip: flac[clip.clip_id], generator(seed, "loudness"))
    pair = Pair("key", "s", "remove", "real", "real", "sound", "en", "train", 0)
    pair.before, pair.after, pair.edited = sides(scene, "remove", 1)
    edit(rendered, [pair])
    return scene, pair, noise, dict(zip(("ground", "stem"), rendered.audio))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("channels", [1, 2])
def test_taking_a_stem_out_of_a_remix_gives_the_background_as_it_was(seed, channels):
    scene, pair, noise, audio = remixed(seed, channels)
    ground = scene.stems[0]
    assert (ground.fade_in, ground.fade_out, ground.onset, ground.gain_db) == (0, 0, 0, 0.0) and ground.length == scene.samples
    expected = to_int16(noise[:, ground.offset : ground.offset + scene.samples] * np.float32(10 ** (scene.gain_db / 20)))
    assert np.abs(pair.target.astype(int) - expected).max() <= 1
    over = pair.source.astype(float) - pair.target
    assert np.abs(over).max() > 10 and np.abs(over - 32768 * audio["stem"] * 10 ** ((scene.stems[1].gain_db + scene.gain_db) / 20)).max() <= 1.01


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("level", [0.005, 0.2])
def test_the_level_asked_for_is_the_level_found(seed, level):
    scene, _, _, audio = remixed(seed, level=level)
    stem = scene.stems[1]
    found = loudness(audio["stem"], RATE) + stem.gain_db - loudness(audio["ground"], RATE)
    assert -5 <= stem.snr_db <= 25 and abs(found - stem.snr_db) < 0.5


def test_a_remix_is_two_stems_each_at_a_place_of_its_own():
    places = {(scene.stems[0].offset, scene.stems[1].offset) for scene in (remixed(seed)[0] for seed in range(6))}
    assert len({ground for ground, _ in places}) > 3 and len({stem for _, stem in places}) > 3
    assert all(ground <= 2 * RATE and stem <= RATE for ground, stem in places)

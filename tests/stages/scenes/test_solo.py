"""A clip alone comes out of silence, whole or as long as the scene."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.scene import Scene
from stages.edit import edit, sides
from stages.ingest import store
from stages.instruct import instruct_generate
from stages.measure import measure
from stages.render import render
from stages.scenes import solo
from stages.score import score

RATE = 8_000


def made(role: str, seconds: float, scene_seconds: float = 3.0, seed: int = 0, **known) -> tuple[Scene, Pair, np.ndarray]:
    """A scene of noise, its pair, and the noise."""
    audio = (0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * RATE)))).astype(np.float32)
    clip, flac = store(measure(Clip("x.wav", 0.0, seconds, 0, "sound", "real", role=role, **known), audio, RATE), audio, RATE)
    scene = solo.place(Scene("s", "solo", "train", RATE, 1, round(scene_seconds * RATE)), clip, None, generator(seed))
    rendered = render(scene, {clip.clip_id: clip}, lambda _: flac, generator(seed, "loudness"))
    pair = Pair("key", "s", "generate", "real", "real", "sound", "en", "train", 0)
    pair.before, pair.after, pair.edited = sides(scene, "generate", 0)
    instruct_generate(pair, scene, Labels.read(), clip)
    edit(rendered, [pair])
    score(rendered, pair)
    return scene, pair, audio


@given(st.sampled_from(["event", "background", "utterance"]), st.floats(0.5, 4.0), st.integers(0, 99))
def test_the_source_is_silent_and_the_target_holds_the_clip_where_the_span_says(role, seconds, seed):
    seconds = max(seconds, 3.0) if role == "background" else min(seconds, 3.0) if role == "event" else seconds
    scene, pair, audio = made(role, seconds, seed=seed, label="rain", transcript="we waited")
    length = audio.shape[1] if role == "utterance" else 3 * RATE
    assert pair.source.shape == pair.target.shape == (1, length) and not pair.source.any()
    [[start, end]] = pair.edit_spans
    first, last = round(start * RATE), round(end * RATE)
    assert not pair.target[:, :first].any() and not pair.target[:, last:].any()
    assert last - first == min(audio.shape[1], length) and 0 <= first and last <= length
    [stem] = scene.stems
    inside = pair.target[0, first + stem.fade_in : last - stem.fade_out].astype(float)
    own = audio[0, stem.offset + stem.fade_in : stem.offset + stem.length - stem.fade_out]
    assert np.corrcoef(inside, own)[0, 1] > 0.999
    assert pair.target_lufs == pytest.approx(np.clip(pair.target_lufs, -28.1, -17.9)) and pair.source_lufs == -120 and pair.change_db == 0


def test_an_event_falls_anywhere():
    assert len({made("event", 1.0, seed=seed, label="rain")[1].edit_spans[0][0] for seed in range(12)}) == 12


def test_a_caption_comes_before_a_label_and_ends_in_a_stop():
    _, pair, _ = made("background", 3.0, label="rain", caption="Rain falls\non a  roof")
    assert pair.instruction == "Rain falls on a roof." and "Make the sound of rain." in pair.instructions
    assert (pair.source_text, pair.target_text, pair.label) == ("", "Rain falls on a roof", "rain")
    _, pair, _ = made("background", 3.0, caption="下雨了。")
    assert pair.instruction == "下雨了。" and pair.label == "" and all("下雨了。" in text for text in pair.instructions)


def test_what_is_said_is_quoted_and_is_the_targets_text():
    _, pair, _ = made("utterance", 1.0, transcript="We waited.")
    assert all("'We waited.'" in text for text in pair.instructions) and pair.target_text == "We waited."

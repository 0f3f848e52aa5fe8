"""What follows a sound is as loud as that at each time, begins with it, and changes nothing else of the scene."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.chance import generator
from manifests.clip import Clip
from manifests.pair import Pair
from manifests.scene import Scene
from stages.edit import edit, sides
from stages.ingest import store
from stages.measure import measure
from stages.render import follow, render
from stages.scenes import rooms, soundscape

RATE = 16_000


def curve(audio: np.ndarray) -> np.ndarray:
    """RMS of stretches of 20 ms, dB under the loudest."""
    size = RATE // 50
    power = np.square(audio[:, : audio.shape[1] // size * size].astype(float)).mean(axis=0).reshape(-1, size).mean(axis=1)
    return 10 * np.log10(np.maximum(power / power.max(), 1e-9))


@given(st.integers(0, 50), st.integers(1, 2))
def test_it_is_as_loud_at_each_time(seed, channels):
    chance = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    leader = (np.exp(-6 * time) * (np.sin(2 * np.pi * 3 * time) > 0) * chance.standard_normal((channels, RATE))).astype(np.float32)
    steady = (0.01 * chance.standard_normal((channels, RATE))).astype(np.float32)
    made, wanted = curve(follow(steady, leader, RATE)), curve(leader)
    loud = wanted > -25
    assert np.abs(made[loud] - wanted[loud]).max() < 2 and (made[wanted < -60] < -20).all()


def test_silence_stays_silent_and_finite():
    nothing, something = np.zeros((1, 500), np.float32), np.ones((1, 500), np.float32)
    assert not follow(nothing, something, RATE).any() and not follow(something, nothing, RATE).any()


@pytest.fixture(scope="module")
def clips() -> tuple[dict[str, Clip], dict[str, bytes]]:
    chance, made = np.random.default_rng(1), {}
    clicks = np.zeros(RATE)
    for at in (1000, 5000, 11_000):
        clicks[at : at + 2000] += np.exp(-np.arange(2000) / 300) * chance.standard_normal(2000)
    sounds = {"rain": (0.02 * chance.standard_normal(4 * RATE), "background"), "clicks": (0.3 * clicks, "event"),
              "hum": (0.2 * np.sin(2 * np.pi * 220 * np.arange(2 * RATE) / RATE) + 0.002 * chance.standard_normal(2 * RATE), "event")}
    for label, (audio, role) in sounds.items():
        audio = audio[None].astype(np.float32)
        clip = measure(Clip(f"{label}.wav", 0.0, audio.shape[1] / RATE, 0, "sound", "real", label=label, role=role), audio, RATE)
        made[label] = store(clip, audio, RATE)
    return {label: clip for label, (clip, _) in made.items()}, {clip.clip_id: flac for clip, flac in made.values()}


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_transfer_keeps_times_and_loudness_and_all_else(clips, share, channels):
    known, flac = clips
    scene = Scene("s", "soundscape", "train", RATE, channels, 3 * RATE)
    soundscape.place(scene, known["rain"], [known["clicks"]], {0: known["hum"]}, generator(4), followers={0: known["hum"]})
    bank = [np.trim_zeros(response, "b") for response in rooms.responses(1, RATE)[:20]]
    rooms.put(scene, share, [len(response) for response in bank], lambda *names: generator(5, *names))

    def read(clip: Clip) -> bytes:
        if channels == 1:
            return flac[clip.clip_id]
        from manifests.audio import decode_flac, encode_flac
        return encode_flac(np.repeat(decode_flac(flac[clip.clip_id], dtype="int16"), 2, axis=0), RATE)

    by_id = {clip.clip_id: clip for clip in known.values()}
    rendered = render(scene, by_id, read, generator(4, "loudness"), bank)
    made = {}
    for name in ("replace", "transfer"):
        made[name] = Pair(name, "s", name, "synthetic", "real", "sound", "en", "train", 0)
        made[name].before, made[name].after, made[name].edited = sides(scene, name, 1)
    edit(rendered, list(made.values()))
    assert made["replace"].edited == [1, 2] and made["transfer"].edited == [1, 3]
    old, new = (rendered.sum([stem]) for stem in made["transfer"].edited)
    loud = curve(old) > -20
    assert np.abs(curve(new)[loud] - curve(old)[loud]).max() < 3
    starts = [int(np.argmax(np.abs(side).max(axis=0) > 0.1 * np.abs(side).max())) for side in (old, new)]
    assert abs(starts[0] - starts[1]) <= 0.010 * RATE
    pair = made["transfer"]
    first, last = (round(second * RATE) for second in pair.edit_spans[0])
    assert np.array_equal(pair.source[:, :first], pair.target[:, :first]) and np.array_equal(pair.source[:, last:], pair.target[:, last:])
    difference = (pair.target.astype(np.float64) - pair.source) / 32768
    assert np.abs(difference - (new - old)).max() <= 2 / 32768

"""A sound keeps its fingerprint where it is encoded again, made louder or cut at its ends; other sounds have others."""

import io

import numpy as np
import pytest
import soundfile
import soxr

import stages.fingerprint
from stages.engines import espeak, soundfont
from stages.fingerprint import alike, fingerprint

RATE = 22_050
SENTENCES = 12


@pytest.fixture(scope="module")
def sounds() -> list[np.ndarray]:
    """Sounds and pieces' tracks of a soundfont, sentences, and bursts of noise: (samples,) each."""
    found = [audio for n in range(1, 24) if n % 4 for _, audio in soundfont.play(soundfont.sound(7, n, 8.0, source=0), RATE, 1)]
    found += [audio for n in range(3) for _, audio in soundfont.play(soundfont.piece(7, n, 8.0, source=0), RATE, 1)]
    found += [espeak.play(espeak.utterance(7, n, source=0), RATE, espeak.Espeak())[1] for n in range(SENTENCES)]
    chance = np.random.default_rng(0)
    noises = [chance.standard_normal(RATE * 2) * np.exp(-np.linspace(0, 4, RATE * 2)) * 0.1 for _ in range(8)]
    return [sound[0, : np.flatnonzero(np.abs(sound[0]) > 1e-3)[-1]] for sound in found if np.abs(sound).max() > 0.01] + noises


def prints(sounds: list[np.ndarray], rate: int = RATE) -> list[str]:
    return [fingerprint(sound[None].astype(np.float32), rate) for sound in sounds]


def mp3(sound: np.ndarray, quality: float) -> np.ndarray:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, RATE, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=quality)
    return soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")[0]


def found_again(sounds: list[np.ndarray], changed: list[str]) -> float:
    """Share of sounds that are like what was made of them; none is to be like what was made of another, if it is not like that sound itself."""
    count = len(sounds)
    pairs = alike([*prints(sounds), *changed], np.arange(2 * count))
    kin = {(a, b) for a, b in alike(prints(sounds), np.arange(count))}
    kin |= {(b, a) for a, b in kin} | {(n, n) for n in range(count)}
    wrong = [(a, b - count) for a, b in pairs if a < count <= b and (a, b - count) not in kin]
    assert len(wrong) <= 0.05 * count, wrong  # two tracks of one piece may be
    return np.mean([(n, n + count) in pairs for n in range(count)])


@pytest.mark.parametrize("name, change, least", [
    ("mp3", lambda sound: mp3(sound, 0.3), 0.95),
    ("mp3 of few bits", lambda sound: mp3(sound, 0.8), 0.9),
    ("12 dB quieter", lambda sound: 0.25 * sound, 0.99),
    ("cut at both ends", lambda sound: sound[int(0.08 * len(sound)) + 17 : int(0.94 * len(sound))], 0.85),
    ("cut, then mp3", lambda sound: mp3(sound[int(0.05 * len(sound)) + 31 :], 0.3), 0.85),
    ("silence before", lambda sound: np.concatenate([np.zeros(1234), sound]), 0.85),
])
def test_what_is_done_to_a_copy_leaves_its_fingerprint(sounds, name, change, least):
    assert found_again(sounds, prints([change(sound) for sound in sounds])) >= least


def test_a_copy_at_another_rate_is_found(sounds):
    assert found_again(sounds, prints([soxr.resample(sound, RATE, 48_000) for sound in sounds], 48_000)) >= 0.97


def test_an_excerpt_of_a_long_recording_is_found(sounds):
    speech = np.concatenate(sounds[-8 - SENTENCES : -8])
    excerpts = [speech[start : start + 3 * RATE] for start in range(RATE // 3, len(speech) - 3 * RATE, 2 * RATE)]
    pairs = alike(prints([speech, *excerpts]), np.arange(1 + len(excerpts)))
    assert len(speech) > 15 * RATE and np.mean([(0, n) in pairs for n in range(1, 1 + len(excerpts))]) >= 0.9


def test_different_sounds_are_not_alike(sounds):
    """But for those of one instrument that strikes the same sample again, no two of these are."""
    different = sounds[-8 - SENTENCES :]
    assert alike(prints(different), np.arange(len(different))) == []
    assert len(alike(prints(sounds), np.arange(len(sounds)))) < 0.03 * len(sounds) ** 2 / 2


def test_what_is_of_one_file_is_not_compared(sounds):
    some = prints(sounds[-10:]) * 2
    assert alike(some, np.zeros(20, int)) == []
    assert alike(some, np.arange(20)) == [(n, n + 10) for n in range(10)]


def test_silence_has_none_and_what_does_not_change_is_like_nothing():
    second = np.arange(RATE) / RATE
    assert prints([np.zeros(RATE), np.zeros(10), np.zeros(0)]) == ["", "", ""]
    assert alike([], np.zeros(0, int)) == alike(["", ""], np.arange(2)) == []
    hums = [level * np.sin(2 * np.pi * pitch * second + phase) for pitch in (50, 440) for level, phase in ((1, 0), (0.5, 1))]
    assert alike(prints([*hums, np.full(RATE, 0.1), np.full(RATE, 0.2)]), np.arange(6)) == []


def test_of_very_many_marks_a_share_finds_copies_too(sounds, monkeypatch):
    some = prints([*sounds, *(0.5 * sound for sound in sounds)])
    found = set(alike(some, np.arange(len(some))))
    monkeypatch.setattr(stages.fingerprint, "MANY", sum(len(text) for text in some) // 32)  # of about 8 characters each: a quarter of the marks
    fewer = set(alike(some, np.arange(len(some))))
    assert fewer <= found and len(fewer) >= 0.9 * len(found)


def test_the_order_of_sounds_changes_nothing(sounds):
    some = prints([*sounds[-12:], *(0.5 * sound for sound in sounds[-12:])])
    order = np.random.default_rng(3).permutation(len(some))
    there = {tuple(sorted((int(order[a]), int(order[b])))) for a, b in alike([some[n] for n in order], np.arange(len(some)))}
    assert there == set(alike(some, np.arange(len(some))))

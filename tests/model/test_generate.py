"""Sounds, music, speech and answers."""

import numpy as np
import pytest

from manifests.errors import RequestError

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_model import RATE, WINDOW, noise  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_sounds_and_music_of_any_length_up_to_the_window(editor):
    assert editor.generate("rain on a roof").audio.shape == (1, WINDOW)
    rain = editor.generate("rain on a roof", 0.5, seed=3)
    assert rain.audio.shape == (1, 8_000) and rain.rate == RATE and np.isfinite(rain.audio).all()
    assert not np.allclose(rain.audio, editor.generate("rain on a roof", 0.5, "music", seed=3).audio, atol=1e-4)
    assert not np.allclose(rain.audio, editor.generate("a slow waltz", 0.5, seed=3).audio, atol=1e-4)
    video = np.random.default_rng(0).standard_normal((24, 16))
    assert not np.allclose(editor.generate("", 0.5, "video", video=video).audio, editor.generate("", 0.5, "video", video=-video).audio, atol=1e-4)


def test_speech_by_text_and_voice(editor):
    plain = editor.speak("Hello there.", seconds=0.5).audio
    assert plain.shape == (1, 8_000) and not np.allclose(plain, editor.speak("Good bye.", seconds=0.5).audio, atol=1e-4)
    voice = noise(9_600, 2)
    spoken = editor.speak("Hello there.", voice, rate=48_000, seconds=0.5).audio
    assert spoken.shape == (1, 8_000) and not np.allclose(spoken, plain, atol=1e-4)
    assert editor.speak("Hello.", voice, rate=48_000, voice_text="I am here").audio.shape == (1, WINDOW - 3_200)


def test_questions_are_answered(editor):
    source = noise(20_000, 2)
    answer = editor.understand("What is this?", source, rate=RATE, max_new_tokens=8)
    assert answer == editor.mllm.understand("What is this?", source.mean(axis=0), 8)
    assert answer != editor.understand("What is this?", max_new_tokens=8)
    with pytest.raises(RequestError, match="hears 30 s at once"):
        editor.understand("What is this?", noise(31 * 8_000), rate=8_000)

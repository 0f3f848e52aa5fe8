"""espeak-ng says words where it says it says them, in voices that differ, and the same way whatever it said before."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from manifests.speech import words_of
from stages.engines import espeak, pronounce
from stages.engines.espeak import Espeak, play, utterance

RATE = 22_050
SENTENCE = "When the rain stopped, we walked home, and don't forget the ill-disposed dog."


def speak(text: str, voice: str = "en-us", rate: int = RATE):
    return Espeak().speak(text, voice, rate)


def level_db(audio: np.ndarray, start: float, end: float) -> float:
    """RMS of the stretch against that of the whole."""
    part = audio[0, round(start * RATE) : round(end * RATE)]
    return 10 * np.log10((np.mean(part**2) + 1e-12) / np.mean(audio**2))


def sharpness_db(audio: np.ndarray, start: float, end: float) -> float:
    """Energy over 3 kHz against that under it, which only a hissed consonant has."""
    part = audio[0, round(start * RATE) : round(end * RATE)]
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2 + 1e-12
    high = np.fft.rfftfreq(len(part), 1 / RATE) > 3_000
    return 10 * np.log10(power[high].sum() / power[~high].sum())


def pitch_hz(audio: np.ndarray) -> float:
    """Median fundamental of the louder frames, by autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(audio[0], 1_500)[::500]
    frames = frames[frames.std(axis=1) > 0.3 * audio.std()]
    power = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * np.hanning(1_500), 4_096)) ** 2
    shortest, longest = RATE // 450, RATE // 55
    return RATE / (shortest + np.median(np.fft.irfft(power)[:, shortest:longest].argmax(axis=1)))


def timbre_db(audio: np.ndarray) -> np.ndarray:
    """The long-term spectrum in 24 bands of equal ratio from 80 Hz to 9 kHz, without its level."""
    frames = np.lib.stride_tricks.sliding_window_view(audio[0], 1_024)[::512]
    power = (np.abs(np.fft.rfft(frames * np.hanning(1_024))) ** 2).sum(axis=0)
    edges = np.searchsorted(np.fft.rfftfreq(1_024, 1 / RATE), np.geomspace(80, 9_000, 25))
    bands = 10 * np.log10([power[low : max(high, low + 1)].sum() + 1e-12 for low, high in zip(edges, edges[1:])])
    return bands - bands.mean()


@pytest.mark.parametrize("voice", Espeak.voices)
def test_words_start_where_they_are_heard(voice):
    audio, words = speak("moon sea moon sun lamb see new soup", voice)
    for word, before in zip(words[1:], words):
        hisses = sharpness_db(audio, word.start + 0.01, word.start + 0.06) > 0
        assert hisses == (word.text[0] == "s"), word
        assert sharpness_db(audio, word.start - 0.05, word.start) < 0, before


@pytest.mark.parametrize("voice", Espeak.voices)
def test_a_pause_belongs_to_no_word(voice):
    audio, words = speak("They walked home, and we slept.", voice)
    home, conjunction = words[2], words[3]
    assert conjunction.start - home.end > 0.08
    assert level_db(audio, home.end + 0.01, conjunction.start - 0.01) < -25
    assert level_db(audio, conjunction.start, conjunction.start + 0.1) > -15
    assert [before.end for before in words[:2]] == [after.start for after in words[1:3]]


@pytest.mark.parametrize("voice", Espeak.voices)
def test_silence_stands_before_and_after(voice):
    audio, words = speak("Stop that bus.", voice)
    assert words[0].start >= 0.1 and audio.shape[1] / RATE - words[-1].end >= 0.1
    assert level_db(audio, 0, 0.09) < -40 and level_db(audio, audio.shape[1] / RATE - 0.09, audio.shape[1] / RATE) < -30
    assert level_db(audio, words[0].start, words[-1].end) > 0


@pytest.mark.parametrize("text", [SENTENCE, "“Don't!” — he said… I live in a house of the U.S.", "As well as in the 21 towns, or 1,000 (maybe)"])
def test_every_word_has_its_time_in_order(text):
    audio, words = speak(text)
    assert [word.text for word in words] == words_of(text)
    assert all(word.start < word.end for word in words)
    assert all(before.end <= after.start for before, after in zip(words, words[1:]))
    assert words[-1].end < audio.shape[1] / RATE


def test_words_that_run_together_have_starts_of_their_own():
    _, (we, live, within, a, house) = speak("We live in a house")
    assert live.end - live.start > 2.5 * (within.end - within.start) and within.end - within.start < 0.12
    assert house.end - house.start > 3 * (a.end - a.start)


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_times_and_form_hold_at_any_rate(rate):
    audio, words = speak(SENTENCE, rate=rate)
    reference, same = speak(SENTENCE)
    assert audio.dtype == np.float32 and audio.shape[0] == 1 and 0.01 < np.abs(audio).max() < 1.5
    assert words == same and audio.shape[1] / rate == pytest.approx(reference.shape[1] / RATE, abs=0.001)


def test_voices_differ_in_pitch_or_timbre():
    assert len(set(Espeak.voices)) == len(Espeak.voices) >= 10
    heard = {voice: speak(SENTENCE, voice)[0] for voice in Espeak.voices}
    pitch = {voice: pitch_hz(audio) for voice, audio in heard.items()}
    timbre = {voice: timbre_db(audio) for voice, audio in heard.items()}
    assert max(pitch.values()) > 2 * min(pitch.values())
    for one, other in combinations(heard, 2):
        apart = abs(np.log2(pitch[one] / pitch[other])) > 0.25 or np.sqrt(np.mean((timbre[one] - timbre[other]) ** 2)) > 3
        assert apart, (one, other, pitch[one], pitch[other])


@pytest.mark.parametrize("voice", Espeak.voices)
def test_nothing_is_kept_from_one_utterance_to_the_next(voice):
    first, words = speak(SENTENCE, voice)
    for number, other in enumerate(Espeak.voices[:3]):
        speak("Another thing was said. " * number + "Then this!", other)
    pronounce.arpabet.cache_clear()
    assert pronounce.arpabet("interruption")
    again, same = speak(SENTENCE, voice)
    assert first.tobytes() == again.tobytes() and words == same


def run_elsewhere(program: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a program in another process that can import the project."""
    found = f"import sys; sys.path.insert(0, {str(Path(espeak.__file__).parents[2])!r})\n"
    return subprocess.run([sys.executable, "-c", found + program], capture_output=True, cwd=folder)


def test_another_process_says_the_same_and_prints_nothing(tmp_path):
    voice = "en-gb-x-rp+f5"  # with breath, whose noise the library seeds by the second unless told
    expected = speak(SENTENCE, voice)[0].tobytes()
    time.sleep(1.1)
    program = f"from stages.engines.espeak import Espeak\nEspeak().speak({SENTENCE!r}, {voice!r}, {RATE})[0].tofile('said')"
    done = run_elsewhere(program, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "said").read_bytes() == expected


@pytest.mark.parametrize(("text", "voice", "named"), [("Hello.", "en-us+nobody", "en-us\\+nobody"), ("… — !", "en-us", "no words")])
def test_what_cannot_be_spoken_is_refused(text, voice, named):
    with pytest.raises(ValueError, match=named):
        speak(text, voice)


def test_utterances_depend_on_seed_and_number():
    clips = [utterance(7, number, source=2) for number in range(3 * len(Espeak.voices))]
    assert clips == [utterance(7, number, source=2) for number in range(3 * len(Espeak.voices))]
    assert clips[0].transcript != utterance(8, 0, source=2).transcript
    assert len({clip.transcript for clip in clips}) == len(clips)
    assert len({clip.uri for clip in clips}) == len({clip.group for clip in clips}) == len(clips)
    last = clips[-1]
    assert (last.uri, last.group) == ("espeak:7/utterance-00035", "espeak/utterance-00035")
    assert (last.domain, last.tier, last.role, last.language, last.source) == ("speech", "demo", "utterance", "en", 2)


def test_playing_an_utterance_says_its_sentence_and_voices_take_turns():
    for number in range(13):
        window = utterance(3, number, source=0)
        clip, audio, words = play(window, RATE, Espeak())
        voice = Espeak.voices[number % len(Espeak.voices)]
        assert clip == replace(window, speaker=f"synthesizer {voice}") and [word.text for word in words] == words_of(window.transcript)
        assert 0.5 < audio.shape[1] / RATE / window.end < 2
        spoken, _ = speak(window.transcript, voice)
        assert audio.tobytes() == spoken.tobytes()


def test_a_missing_package_is_told_with_what_to_install(tmp_path):
    told = run_elsewhere("sys.modules['espeakng_loader'] = None\nfrom stages.engines import espeak\nespeak.Espeak()", tmp_path)
    assert told.returncode and b"RequestError" in told.stderr and b"pip install espeakng-loader" in told.stderr

"""How well speech joins is measured where it joins, and what is heard is told by whatever engine listens."""

import json

import numpy as np
import pytest

from manifests.chance import generator
from manifests.clip import Clip
from manifests.pair import Pair
from manifests.scene import Rendered, Scene
from manifests.speech import Cut, Word, to_json
from stages.edit import edit
from stages.engines import registry
from stages.hear import error_rate, hear
from stages.ingest import store
from stages.instruct import instruct_speech
from stages.measure import measure
from stages.render import render
from stages.scenes.utterance import place
from stages.score_speech import pitch, score_speech

RATE = 16_000
WORDS = "one two three four".split()
EARS = '''
class Ears:
    """Hears a text of its own on both sides, or one for each length of what it is given."""

    def __init__(self, *, says=None, longer=None, shorter=None, than=0):
        self.longer, self.shorter, self.than = says or longer, says or shorter, than

    def hear(self, speech, rate):
        assert all(one.audio.dtype.name == "float32" and one.audio.ndim == 2 and abs(one.audio).max() <= 1 and len(one.texts) == 2 for one in speech)
        return [self.longer if one.audio.shape[1] > self.than else self.shorter for one in speech]


class Deaf:
    def hear(self, speech, rate):
        from manifests.errors import Rejected

        return [Rejected("a word cannot be pronounced") for _ in speech]
'''


def voice(pitch_hz: np.ndarray | float, seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Harmonics of a pitch, under -20 dBFS: (samples,)."""
    count = round(seconds * rate)
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch_hz, count)) / rate
    return 0.05 * sum(np.sin(k * phase + seed) / k for k in range(1, 7))


def talk(name: int, pitches: list[float], pause: float = 0.1, floor: float = 1e-4, level: float = 1.0) -> tuple[Clip, bytes]:
    """Four words of 300 ms, one pitch each, with pauses between over a hiss; cuts in the middles of the pauses."""
    hiss = np.random.default_rng(name).standard_normal
    parts, words, cuts, at = [np.zeros(round(0.3 * RATE))], [], [Cut(0.15, -60.0)], 0.3
    for text, each in zip(WORDS, pitches):
        parts += [level * voice(each, 0.3), np.zeros(round(pause * RATE))]
        words.append(Word(text, at, at + 0.3))
        at += 0.3 + pause
        cuts.append(Cut(at - pause / 2, -60.0))
    audio = np.concatenate([*parts, np.zeros(round(0.3 * RATE))])
    audio = (audio + floor * hiss(len(audio)))[None].astype(np.float32)
    clip = measure(Clip(f"{name}.wav", 0.0, audio.shape[1] / RATE, 0, "speech", "real", role="utterance", words=to_json(words, cuts)), audio, RATE)
    return store(clip, audio, RATE)


def joined(edit_name: str, recording: tuple[Clip, bytes], donor: tuple[Clip, bytes] | None = None,
           stretch: tuple[int, int] | None = None) -> tuple[Pair, Rendered, dict[str, Clip]]:
    """A pair of a recording; of the asked stretch of its words if one is named."""
    for nth in range(60):
        scene = Scene("s", "utterance", "train", RATE, 1, 0)
        asked = [(edit_name, nth, donor and donor[0])]
        (change,) = place(scene, recording[0], asked, -25.0, lambda *names: generator(3, *names))
        if stretch in (None, (change.first, change.last)):
            break
    clips, flac = {recording[0].clip_id: recording[0]}, {recording[0].clip_id: recording[1]}
    if donor:
        clips[donor[0].clip_id], flac[donor[0].clip_id] = donor
    rendered = render(scene, clips, lambda clip: flac[clip.clip_id], generator(3, "loudness"))
    pair = Pair("key", "s", edit_name, "real", "real", "speech", "en", "train", 0)
    pair.before, pair.after, pair.edited = change.before, change.after, change.put_in
    instruct_speech(pair, change)
    edit(rendered, [pair])
    return pair, rendered, clips


def scored(*arguments, recognizer=None, **known) -> Pair:
    pair, rendered, clips = joined(*arguments, **known)
    score_speech(pair, rendered.scene, clips)
    if recognizer is not None:
        hear([pair], recognizer)
    return pair


@pytest.mark.parametrize("edit_name", ["speech_delete", "speech_insert"])
def test_a_join_in_a_pause_is_quiet_and_one_in_a_vowel_is_loud(edit_name):
    assert scored(edit_name, talk(1, [130] * 4)).join_level_db < -40
    loud, flac = talk(2, [130] * 4)
    words, cuts = ([Word(text, 0.3 + 0.4 * n, 0.6 + 0.4 * n) for n, text in enumerate(WORDS)], [Cut(0.45 + 0.4 * n, -40.0) for n in range(5)])
    loud.words = to_json(words, [*cuts[:4], Cut(1.65, -40.0)])
    assert abs(scored(edit_name, (loud, flac), stretch=(1, 2)).join_level_db) < 4


def test_the_loudest_of_two_joins_counts():
    recording, (donor, flac) = talk(3, [130] * 4), talk(4, [130] * 4)
    quiet = scored("speech_substitute", recording, (donor, flac))
    words = [Word(text, 0.3 + 0.4 * n, 0.6 + 0.4 * n) for n, text in enumerate(["five", "six", "seven", "eight"])]
    donor.words = to_json(words, [Cut(0.25, -60.0), Cut(0.85, -40.0), Cut(1.05, 0.0), Cut(1.45, 0.0), Cut(1.85, 0.0)])
    assert quiet.join_level_db < -40 and scored("speech_substitute", recording, (donor, flac)).join_level_db > -8


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("hz", [75, 110, 196.5, 330, 385])
def test_pitch_of_tones_with_harmonics(rate, hz):
    frame = voice(hz, 0.04, rate)
    assert pitch(frame, rate) == pytest.approx(hz, rel=0.03)
    assert pitch(frame * 1e-2 + 1e-5 * np.random.default_rng(1).standard_normal(len(frame)), rate) == pytest.approx(hz, rel=0.03)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_noise_and_silence_have_no_pitch(rate):
    samples = round(0.04 * rate)
    noise = [pitch(np.random.default_rng(n).standard_normal(samples), rate) for n in range(50)]
    assert sum(found is not None for found in noise) <= 1
    assert pitch(np.zeros(samples), rate) is None and pitch(np.zeros(4), rate) is None and pitch(np.full(samples, 0.5), rate) is None


@pytest.mark.parametrize("semitones", [0, 2, 5, -5, 9])
def test_a_step_of_pitch_is_told_in_semitones(semitones):
    high = 140 * 2 ** (semitones / 12)
    pair = scored("speech_delete", talk(5, [140, 140, 140, high]), stretch=(1, 3))
    assert pair.join_f0_semitones == pytest.approx(abs(semitones), abs=0.5)


def test_what_has_no_pitch_near_a_join_has_no_step():
    clip, flac = talk(6, [1e-9] * 4, floor=0.02)
    assert scored("speech_delete", (clip, flac), stretch=(1, 3)).join_f0_semitones is None


def test_a_louder_floor_in_the_donor_is_a_step():
    recording = talk(7, [130] * 4, floor=1e-3)
    same, noisy = (scored("speech_substitute", recording, talk(8, [130] * 4, floor=floor)) for floor in (1e-3, 1e-2))
    assert same.floor_step_db < 1.5 and noisy.floor_step_db == pytest.approx(20, abs=1.5)
    quieter = scored("speech_substitute", recording, talk(9, [130] * 4, floor=1e-4, level=0.1))
    assert quieter.floor_step_db < 2


def test_a_floor_that_nobody_hears_is_no_step():
    assert scored("speech_substitute", talk(10, [130] * 4, floor=1e-6), talk(11, [130] * 4, floor=1e-8)).floor_step_db < 1.5


def test_where_nothing_is_put_in_there_is_no_step_of_the_floor():
    assert scored("speech_delete", talk(16, [130] * 4)).floor_step_db is None is scored("speech_insert", talk(16, [130] * 4)).floor_step_db


def test_levels_of_both_sides_are_told_and_what_was_not_asked_is_null():
    pair = scored("speech_delete", talk(12, [130] * 4))
    assert -30 < pair.target_lufs < -15 and -30 < pair.source_lufs < -15 and max(pair.source_peak_dbfs, pair.target_peak_dbfs) <= -1 + 0.01
    assert pair.wer_source is pair.wer_target is pair.asr_choice is pair.clap_gain is None and pair.reason is None and pair.seconds_score > 0


@pytest.mark.parametrize(("said", "heard", "rate"), [
    ("he was not ill", "he was ill", 0.25), ("he was not ill", "he was not ill", 0.0), ("No!", "no", 0.0), ("yes", "", 1.0),
    ("one two", "one <unk> <unk>", 1.0),
    ("a b c d", "a x b c d", 0.25), ("Ill-disposed, DON’T", "ill disposed don't", 0.0), ("one two", "one <unk>", 0.5), ("one two", "three four five", 1.5),
])
def test_word_error_rate(said, heard, rate):
    assert error_rate(said, heard) == pytest.approx(rate)


@pytest.fixture
def ears(tmp_path, monkeypatch):
    """A user's own engine, loaded as a configuration names it."""
    name = f"ears_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(EARS)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda kind="Ears", **options: registry.load("recognizer", json.loads(json.dumps({"engine": f"{name}:{kind}", **options})))


def test_what_is_heard_on_the_target_is_source_target_or_neither(ears):
    recording = talk(13, [130] * 4)
    silent, _, _ = joined("speech_delete", recording, stretch=(1, 2))
    assert (silent.source_text, silent.target_text) == ("one two three four", "one three four")
    for says, choice in (("one three four", "target"), ("one two three four", "source"), ("one <unk> three four", "neither"), ("ONE, three four", "target")):
        pair = scored("speech_delete", recording, stretch=(1, 2), recognizer=ears(says=says))
        assert (pair.asr_choice, pair.reason) == (choice, None), says
    between = (silent.source.shape[1] + silent.target.shape[1]) // 2
    pair = scored("speech_delete", recording, stretch=(1, 2), recognizer=ears(longer="one two three four", shorter="one three four", than=between))
    assert (pair.wer_source, pair.wer_target, pair.asr_choice) == (0.0, 0.0, "target")
    pair = scored("speech_delete", recording, stretch=(1, 2), recognizer=ears(longer="one two three", shorter="one three", than=between))
    assert (pair.wer_source, pair.wer_target) == (pytest.approx(1 / 4), pytest.approx(1 / 3)) and pair.asr_choice == "target"


def test_an_engine_that_cannot_judge_leaves_its_scores_null(ears):
    pair = scored("speech_delete", talk(14, [130] * 4), recognizer=ears("Deaf"))
    assert pair.reason is None and pair.asr_choice is pair.wer_source is pair.wer_target is None and pair.join_level_db is not None


def test_whose_text_is_nearer_is_counted_in_whole_words(ears):
    """1 / 49 * 49 is less than 1."""
    pair, rendered, clips = joined("speech_delete", talk(15, [130] * 4), stretch=(1, 2))
    words = [f"word{n}" for n in range(49)]
    pair.source_text, pair.target_text = " ".join(words[:-1]), " ".join(words)
    hear([pair], ears(says=" ".join([*words[:-1], "<unk>"])))
    assert pair.asr_choice == "neither"

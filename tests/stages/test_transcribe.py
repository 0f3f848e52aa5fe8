"""An utterance's words are found, it is trimmed to them, and cuts lie where cutting is heard least."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.speech import Cut, Word, from_json, stretches, to_json, words_of
from stages.engines.espeak import Espeak
from stages.engines.pocketsphinx import Aligner
from stages.engines.protocols import Speech, Transcript
from stages.ingest import Gates
from stages.measure import measure
from stages.transcribe import MARGIN, SLACK, transcribe

RATE = 16_000
GATES = Gates(alignment_confidence=0.0)
SENTENCE = "She opened the window, and looked outside."


class Told:
    """A user's transcriber, which says what it was told when it was made."""

    def __init__(self, words: list[tuple[str, float, float]], confidence: float | None = 0.9):
        self.words, self.confidence, self.texts = [Word(*word) for word in words], confidence, []

    def transcribe(self, speech: list[Speech], rate: int) -> list[Transcript]:
        self.texts += [one.texts for one in speech]
        return [Transcript(self.words, self.confidence) for _ in speech]


class Never:
    """A transcriber that is not to be asked."""

    def transcribe(self, *_):
        raise AssertionError("the transcriber was asked")


def bursts(places: list[tuple[float, float]], seconds: float, hum: float = 1e-4) -> np.ndarray:
    """Voiced sounds at some places and a low hiss all through: float32 (1, samples)."""
    time = np.arange(round(seconds * RATE)) / RATE
    audio = hum * np.random.default_rng(1).standard_normal(len(time))
    voice = 0.1 * sum(np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 9))
    for start, end in places:
        inside = (time >= start) & (time < end)
        audio[inside] += voice[inside]
    return audio[None].astype(np.float32)


def utterance(audio: np.ndarray, **known) -> Clip:
    return measure(Clip("talk.wav", 10.0, 10.0 + audio.shape[1] / RATE, 0, "speech", "real", role="utterance", **known), audio, RATE)


def found(audio: np.ndarray, transcriber, gates: Gates = GATES, **known) -> tuple[Clip, np.ndarray, list[Word], list[Cut]]:
    ((clip, kept),) = transcribe([(utterance(audio, **known), audio)], RATE, transcriber, "told", gates)
    return clip, kept, *(from_json(clip.words) if clip.reason is None else ([], []))


def refused(audio: np.ndarray, transcriber, **known) -> str:
    clip, _, _, _ = found(audio, transcriber, **known)
    assert clip.reason is not None and clip.words == ""
    return clip.reason


@st.composite
def speech(draw) -> tuple[list[tuple[float, float]], float]:
    """Where words sound, pauses of none to 400 ms between them, and for how long."""
    at, places = draw(st.floats(0.05, 0.8)), []
    for _ in range(draw(st.integers(1, 7))):
        end = at + draw(st.floats(0.1, 0.6))
        places.append((at, end))
        at = end + draw(st.just(0.0) | st.floats(0.01, 0.4))
    return places, places[-1][1] + draw(st.floats(0.05, 0.8))


@settings(max_examples=60, deadline=None)
@given(speech())
def test_cuts_lie_between_words_and_never_far_inside_one(made):
    places, seconds = made
    clip, audio, words, cuts = found(bursts(places, seconds), Told([(f"w{n}", *place) for n, place in enumerate(places)]))
    lead = clip.start - 10.0
    assert clip.reason is None and len(words) == len(places) and len(cuts) == len(words) + 1
    for n, cut in enumerate(cuts):
        assert n == 0 or cut.at >= words[n - 1].end - SLACK - 1e-6
        assert n == len(words) or cut.at <= words[n].start + SLACK + 1e-6
        assert 0 < cut.at < audio.shape[1] / RATE
    assert all(before.at < after.at for before, after in zip(cuts, cuts[1:]))
    for word, (start, end) in zip(words, places):
        assert abs(word.start + lead - start) < 0.011 and abs(word.end + lead - end) < 0.011


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.12, 0.5), st.floats(0.1, 0.6)), min_size=2, max_size=5))
def test_a_cut_in_a_pause_lies_near_its_middle_and_is_as_quiet_as_it(made):
    places, at = [], 0.2
    for length, pause in made:
        places.append((at, at + length))
        at += length + pause
    clip, _, _, cuts = found(bursts(places, at + 0.2, hum=1e-5), Told([(f"w{n}", *place) for n, place in enumerate(places)]))
    for cut, (_, end), (start, _) in zip(cuts[1:], places, places[1:]):
        assert abs(cut.at + clip.start - 10.0 - (end + start) / 2) < 0.015 and cut.level_db < -50


def test_without_a_pause_the_quietest_point_at_the_boundary_is_taken():
    audio = bursts([(0.3, 1.3)], 1.6)
    audio[:, round(0.815 * RATE) : round(0.83 * RATE)] *= 0.01
    _, _, words, cuts = found(audio, Told([("a", 0.3, 0.8), ("b", 0.8, 1.3)]))
    dip = 0.8225 - (0.3 - words[0].start)
    assert abs(cuts[1].at - dip) < 0.008 and cuts[1].level_db < -20
    level, _, _, loud = found(bursts([(0.3, 1.3)], 1.6), Told([("a", 0.3, 0.8), ("b", 0.8, 1.3)]))
    assert level.editable == 0 and loud[1].level_db > -3


def test_trimmed_to_its_words_which_move_along():
    places = [(2.0, 2.4), (2.6, 3.1)]
    audio = bursts(places, 5.0)
    clip, kept, words, _ = found(audio, Told([("no", 1.9, 2.5), ("more", 2.5, 3.3)]))
    assert abs(clip.start - (12.0 - MARGIN)) < 0.006 and abs(clip.end - (13.1 + MARGIN)) < 0.006
    first = round((clip.start - 10.0) * RATE)
    assert kept.shape[1] == round(clip.duration * RATE) and np.array_equal(kept, audio[:, first : first + kept.shape[1]])
    assert abs(clip.end - clip.start - clip.duration) < 1e-6
    assert [(w.text, round(w.start, 2), round(w.end, 2)) for w in words] == [("no", 0.3, 0.7), ("more", 0.9, 1.4)]
    assert abs(clip.chars_per_second - 6 / 1.1) < 0.1 and clip.alignment_confidence == 0.9
    assert clip.lufs > utterance(audio).lufs - 0.5


def test_nothing_is_kept_that_was_not_there():
    audio = bursts([(0.1, 0.5), (0.6, 0.9)], 1.0)
    clip, kept, words, cuts = found(audio, Told([("no", 0.1, 0.5), ("more", 0.6, 0.9)]))
    assert kept.shape == audio.shape and (clip.start, clip.end, clip.duration) == (10.0, 11.0, 1.0)
    assert abs(words[0].start - 0.1) < 0.006 and 0 < cuts[0].at < 0.1 and 0.9 < cuts[-1].at < 1.0


def test_a_transcript_that_was_given_stays_and_one_that_was_heard_names_its_engine():
    audio, told = bursts([(0.3, 0.6), (0.8, 1.2)], 1.5), [("he", 0.3, 0.6), ("said", 0.8, 1.2)]
    given_, heard = Told(told), Told(told)
    clip, *_ = found(audio, given_, transcript="He … said!")
    assert (clip.transcript, clip.transcribed_by, given_.texts) == ("He … said!", "", [("He … said!",)])
    clip, *_ = found(audio, heard)
    assert (clip.transcript, clip.transcribed_by, heard.texts) == ("he said", "told", [()])
    clip, *_ = found(audio, Told(told, confidence=None))
    assert clip.alignment_confidence is None and clip.reason is None


def test_words_that_nobody_is_sure_of_are_a_reason():
    told = [("he", 0.3, 0.6), ("said", 0.8, 1.2)]
    clip, _, _, _ = found(bursts([(0.3, 0.6), (0.8, 1.2)], 1.5), Told(told, confidence=0.49), Gates())
    assert clip.reason == "its words are not where the sound is: confidence 0.49 (at least 0.5)" and clip.alignment_confidence == 0.49
    assert found(bursts([(0.3, 0.6), (0.8, 1.2)], 1.5), Told(told, confidence=0.5), Gates())[0].reason is None


@pytest.mark.parametrize(("transcript", "told"), [
    ("I really cannot believe that all of this is said in such a short time, can you, my friend?", "its transcript of 19 words cannot be said in 1.5 s"),
    (" ".join(["word"] * 10_000), "its transcript of 10000 words cannot be said in 1.5 s"),
    ("😀👍🏽 🎵", "its transcript holds no words"), ("... — !", "its transcript holds no words"),
])
def test_what_cannot_be_said_is_refused_before_anyone_is_asked(transcript, told):
    assert refused(bursts([(0.3, 1.2)], 1.5), Never(), transcript=transcript) == told


@pytest.mark.parametrize("transcript", ["", "   ", "\n"])
def test_an_empty_transcript_is_none(transcript):
    transcriber = Told([("he", 0.3, 0.6)])
    clip, *_ = found(bursts([(0.3, 0.6)], 1.0), transcriber, transcript=transcript)
    assert transcriber.texts == [()] and clip.transcript.strip() == "he" and clip.transcribed_by == "told"


def test_where_nothing_is_heard_there_is_a_reason():
    assert refused(bursts([], 1.5), Told([])) == "no words are heard"
    assert refused(bursts([], 1.5), Aligner()) == "no words are heard"


def test_a_text_that_does_not_fit_is_a_reason():
    audio, _ = Espeak().speak(SENTENCE, "en-us", RATE)
    assert "fit the sound" in refused(audio, Aligner(), transcript="He never said that, not even to his oldest friends in town.")
    assert "cannot be pronounced" in refused(audio, Aligner(), transcript="Она открыла окно")


def test_real_words_are_aligned_and_their_cuts_are_where_the_synthesizer_says():
    audio, truly = Espeak().speak(SENTENCE, "en-us", RATE)
    clip, kept, words, cuts = found(audio, Aligner(), transcript=SENTENCE)
    lead = clip.start - 10.0
    assert [word.text for word in words] == words_of(SENTENCE)
    assert np.median([abs(word.start + lead - true.start) for word, true in zip(words, truly)]) < 0.03
    comma = cuts[4].at + lead
    assert truly[3].end - SLACK < comma < truly[4].start + SLACK and cuts[4].level_db < -30
    assert clip.editable == len(stretches(words, cuts, GATES.join_db)) > 0


def test_words_of_a_synthesizer_are_used_as_they_are():
    audio, truly = Espeak().speak(SENTENCE, "en-us+f1", RATE)
    clip, kept, words, cuts = found(audio, Never(), transcript=SENTENCE, words=to_json(truly, []))
    lead = clip.start - 10.0
    assert clip.reason is None and clip.alignment_confidence is None and clip.transcribed_by == ""
    assert [word.text for word in words] == [word.text for word in truly] and len(cuts) == len(words) + 1
    for word, true in zip(words, truly):
        assert true.start - 0.006 <= word.start + lead and word.end + lead <= true.end + 0.006
    assert kept.shape[1] / RATE <= words[-1].end - words[0].start + 2 * MARGIN + 0.001 and kept.shape[1] / RATE == clip.duration


def test_what_is_measured_is_measured_of_what_is_kept():
    audio = bursts([(1.0, 1.4), (1.5, 2.0)], 4.0, hum=1e-3)
    audio[:, : RATE // 4] = 0
    audio[0, RATE // 8] = 0.9
    clip, kept, _, _ = found(audio, Told([("yes", 1.0, 1.4), ("sir", 1.5, 2.0)]), transcript="yes sir")
    again = measure(clip, kept, RATE)
    assert clip == again and clip.peak_dbfs < -3 and clip.noise_floor_db > -65


@pytest.mark.parametrize("words", [
    [("yes", 0.5, 0.5), ("sir", 0.6, 0.9)], [("yes", 0.6, 0.9), ("sir", 0.2, 0.5)], [("yes", 0.2, 0.5), ("sir", 5.0, 5.5)],
    [("yes", float("nan"), 0.5), ("sir", 0.6, 0.9)], [("yes", -0.5, 0.5), ("sir", 0.6, 0.9)]])
def test_times_that_cannot_be_are_a_reason(words):
    assert "times" in refused(bursts([(0.2, 0.9)], 2.0), Told(words), transcript="yes sir")


class Knows:
    """Knows utterances by their lengths in ms: their words, or why it finds none; says a language where it heard one."""

    batch = 3

    def __init__(self, **answers: list[tuple[str, float, float]] | Rejected):
        self.answers, self.asked = answers, []

    def transcribe(self, speech: list[Speech], rate: int) -> list[Transcript | Rejected]:
        self.asked.append([(f"ms{1000 * one.audio.shape[1] // rate}", one.texts, one.language) for one in speech])
        found = [self.answers[name] for name, *_ in self.asked[-1]]
        return [answer if isinstance(answer, Rejected) else Transcript([Word(*word) for word in answer], 0.9, "" if texts else "sv")
                for answer, (_, texts, _) in zip(found, self.asked[-1])]


def many() -> tuple[list[tuple[Clip, np.ndarray]], Knows]:
    told = [("he", 0.2, 0.5), ("said", 0.6, 0.9)]
    spoken = bursts([place[1:] for place in told], 1.0)
    todo = [(utterance(np.pad(spoken, ((0, 0), (0, 160 * n))), **known), np.pad(spoken, ((0, 0), (0, 160 * n)))) for n, known in enumerate([
        {}, {"transcript": "he said", "words": to_json([Word(*word) for word in told], []), "language": "en"}, {"transcript": "He said.", "language": "de"},
        {"transcript": "..."}, {"language": "fi"}, {}, {"transcript": "he said"}])]
    return todo, Knows(ms1000=told, ms1020=told, ms1040=told, ms1050=Rejected("only music"), ms1060=told)


def test_an_engine_is_given_only_what_is_not_known_and_some_at_a_time():
    todo, transcriber = many()
    found = transcribe(todo, RATE, transcriber, "told", GATES)
    first, second = [("ms1000", (), ""), ("ms1020", ("He said.",), "de"), ("ms1040", (), "fi")], [("ms1050", (), ""), ("ms1060", ("he said",), "")]
    assert transcriber.asked == [first, second]
    assert [clip.reason for clip, _ in found] == [None, None, None, "its transcript holds no words", None, "only music", None]
    assert [clip.transcript for clip, _ in found] == ["he said", "he said", "He said.", "...", "he said", "", "he said"]
    assert [clip.transcribed_by for clip, _ in found] == ["told", "", "", "", "told", "", ""]


def test_the_language_is_that_of_the_source_or_what_the_engine_hears():
    todo, transcriber = many()
    assert [clip.language for clip, _ in transcribe(todo, RATE, transcriber, "told", GATES)] == ["sv", "en", "de", "", "fi", "", ""]


def test_utterances_together_give_what_each_gives_alone():
    todo, transcriber = many()
    found = transcribe(todo, RATE, transcriber, "told", GATES)
    for (clip, audio), one in zip(found, todo, strict=True):
        ((same, kept),) = transcribe([one], RATE, transcriber, "told", GATES)
        assert clip == same and np.array_equal(audio, kept) and (clip.reason is None or audio is one[1])


def test_where_all_words_are_known_no_transcriber_is_needed():
    ((clip, _),) = transcribe(many()[0][1:2], RATE, None, "none", GATES)
    assert clip.reason is None and clip.transcribed_by == "" and clip.alignment_confidence is None

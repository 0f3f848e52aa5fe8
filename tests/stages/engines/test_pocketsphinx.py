"""The embedded aligner finds words where they are said, the chooser tells which text was said, and neither remembers what it heard before."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from manifests.errors import Rejected
from manifests.speech import Word, words_of
from stages.engines.espeak import Espeak
from stages.engines.pocketsphinx import UNKNOWN, Aligner, Chooser
from stages.engines.protocols import Speech

RATE = 16_000
SENTENCES = (
    "When the rain stopped, the farmer walked home.", "My uncle bought seven yellow apples.", "We waited near the bridge, and slept.",
    "She opened the window and looked outside.", "Nobody answered when the telephone rang.", "They went to London last week.",
    "The children played in the garden, after lunch.", "His sister painted the wooden door.", "Please bring a chair, my friend.",
    "The green bottle stood on the table.",
)
VOICES = ("en-us", "en-us+f1", "en-us+adam", "en-us+iven")
PAIRS = (  # a sentence with a place, and there what is said, what else may have been said, and what neither text has
    ("my uncle bought {} apples", "seven", "twenty", "frozen"), ("she opened the {} slowly", "window", "letter", "basket"),
    ("give the {} a chair", "doctor", "driver", "sailor"), ("the {} bottle is here", "green", "broken", "silver"),
    ("nobody {} at the door", "answered", "listened", "shouted"), ("his sister painted the {}", "door", "table", "picture"),
    ("they walked to the {} again", "garden", "station", "kitchen"), ("we saw the {} last week", "river", "mountain", "airport"),
    ("take the {} to school", "children", "dog", "newspaper"), ("he read the {} twice", "book", "story", "message"),
    ("the {} began at noon", "storm", "music", "fighting"), ("our {} came home late", "brother", "mother", "teacher"),
    ("there is {} in the box", "money", "sugar", "paper"), ("i want {} for dinner", "chicken", "fish", "potatoes"),
    ("she wore a {} coat", "yellow", "heavy", "purple"), ("the man {} all night", "worked", "played", "travelled"),
    ("put the {} on the chair", "jacket", "bottle", "hammer"), ("it was a {} morning", "beautiful", "terrible", "rainy"),
    ("they sold the {} on friday", "house", "horses", "bicycle"), ("please {} the window", "close", "clean", "remember"),
)


@dataclass
class Spoken:
    text: str
    audio: np.ndarray
    words: list[Word]


@pytest.fixture(scope="module")
def spoken() -> list[Spoken]:
    made = Espeak()
    return [Spoken(text, *made.speak(text, VOICES[n % len(VOICES)], RATE)) for n, text in enumerate(SENTENCES)]


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


@pytest.fixture(scope="module")
def chooser() -> Chooser:
    return Chooser()


def align(aligner, audio, rate, text=None):
    """The words of an utterance and the confidence in them, or why there are none."""
    (found,) = aligner.transcribe([Speech(audio, (text,) if text is not None else ())], rate)
    return str(found) if isinstance(found, Rejected) else (found.words, found.confidence)


def choose(chooser, audio, rate, texts):
    """Which text is heard, or why none can be."""
    (found,) = chooser.hear([Speech(audio, tuple(texts))], rate)
    return str(found) if isinstance(found, Rejected) else found


def test_a_known_text_is_found_where_it_is_said(spoken, aligner):
    off = []
    for one in spoken:
        words, confidence = align(aligner, one.audio, RATE, one.text)
        assert [word.text for word in words] == words_of(one.text) and 0 <= confidence <= 1
        assert all(word.start < word.end for word in words) and words[-1].end <= one.audio.shape[1] / RATE
        assert all(before.end <= after.start for before, after in zip(words, words[1:]))
        off += [abs(word.start - truly.start) for word, truly in zip(words, one.words)]
    assert np.mean(np.array(off) < 0.06) >= 0.9 and np.median(off) < 0.03 and max(off) < 0.3


def test_a_lead_and_another_rate_move_no_word(spoken, aligner):
    made, text = Espeak(), "We waited near the bridge, and slept."
    here, _ = align(aligner, made.speak(text, "en-us", RATE)[0], RATE, text)
    other, _ = align(aligner, made.speak(text, "en-us", 44_100)[0], 44_100, text)
    stereo, _ = align(aligner, np.repeat(np.pad(made.speak(text, "en-us", RATE)[0], ((0, 0), (RATE // 2, 0))), 2, axis=0), RATE, text)
    assert max(abs(a.start - b.start) for a, b in zip(here, other)) <= 0.03
    assert max(abs(a.start + 0.5 - b.start) for a, b in zip(here[1:], stereo[1:])) <= 0.03


def test_a_text_that_was_not_said_is_refused_or_not_believed(spoken, aligner):
    for one, other in zip(spoken, spoken[1:]):
        found = align(aligner, one.audio, RATE, other.text)
        assert found == "its transcript does not fit the sound" or found[1] < 0.05
    believed = [align(aligner, one.audio, RATE, one.text)[1] for one in spoken]
    assert np.median(believed) > 0.05


@pytest.mark.parametrize(("text", "word"), [("the дом sleeps", "дом"), ("猫 the garden", "猫"), ("she said नमस्ते", ""), ("مرحبا", "مرحبا")])
def test_a_word_of_another_script_is_named(spoken, aligner, chooser, text, word):
    assert re.search(f"'.*{word}.*' cannot be pronounced", align(aligner, spoken[0].audio, RATE, text))
    assert "cannot be pronounced" in choose(chooser, spoken[0].audio, RATE, ["the garden", text])


def test_a_word_that_no_dictionary_has_is_pronounced(aligner, chooser):
    text = "the zorblax sleeps in the garden"
    audio, truly = Espeak().speak(text, "en-us", RATE)
    words, _ = align(aligner, audio, RATE, text)
    assert [word.text for word in words] == text.split() and abs(words[1].start - truly[1].start) < 0.06
    assert choose(chooser, audio, RATE, [text, "the children sleep in the garden"]) == text


def test_dictation_gives_words_with_times(spoken, aligner):
    heard = []
    for one in spoken[:3]:
        words, confidence = align(aligner, one.audio, RATE)
        assert words and 0 <= confidence <= 1 and all(words_of(word.text) == [word.text] for word in words)
        heard += [word.text in words_of(one.text) for word in words]
        assert words[0].start >= 0 and words[-1].end <= one.audio.shape[1] / RATE
    assert np.mean(heard) > 0.3


@pytest.mark.parametrize("audio", [np.zeros((1, 2 * RATE), np.float32), np.zeros((2, RATE // 50), np.float32)])
def test_in_silence_nothing_is_heard(aligner, chooser, audio):
    assert align(aligner, audio, RATE, None) == "no words are heard"
    assert align(aligner, audio, RATE, "the farmer walked home") == "its transcript does not fit the sound"
    assert choose(chooser, audio, RATE, ["the farmer walked home", "the farmer stayed home"]) not in ("the farmer walked home", "the farmer stayed home")


def test_what_was_aligned_before_changes_nothing(spoken, aligner):
    texts = [one.text for one in spoken[:-2]] + ["the zorblax went to the table", None]
    jobs = [(one.audio, RATE, text) for one, text in zip(spoken, texts)]
    first = {n: align(aligner, *jobs[n]) for n in range(len(jobs))}
    again = {n: align(aligner, *jobs[n]) for n in np.random.default_rng(1).permutation(len(jobs))}
    assert [repr(first[n]) for n in range(len(jobs))] == [repr(again[n]) for n in range(len(jobs))]
    anew = Aligner()
    assert [repr(align(anew, *job)) for job in jobs[5:-1]] == [repr(first[n]) for n in range(5, len(jobs) - 1)]


def test_what_was_heard_before_changes_nothing(spoken):
    chooser = Chooser()
    jobs = [(one.audio, RATE, [words, " ".join([*words.split()[:2], "zorblax", *words.split()[3:]])]) for one in spoken[:5] for words in [one.text]]
    first = {n: choose(chooser, *jobs[n]) for n in range(len(jobs))}
    again = {n: choose(chooser, *jobs[n]) for n in np.random.default_rng(2).permutation(len(jobs))}
    assert [first[n] for n in range(len(jobs))] == [again[n] for n in range(len(jobs))]
    anew = Chooser()
    assert [choose(anew, *job) for job in jobs[3:]] == [first[n] for n in range(3, len(jobs))]


def test_it_tells_which_text_was_said_and_when_neither_was(chooser):
    """Of synthetic speech it understands less than of real speech, but takes no text for the other."""
    made, right, confused, fooled = Espeak(), 0, 0, 0
    for n, (frame, *words) in enumerate(PAIRS):
        texts = [frame.format(word) for word in words]
        for said in (n % 2, 2):
            text = texts[said]
            heard = choose(chooser, made.speak(text, VOICES[n % len(VOICES)], RATE)[0], RATE, texts[:2])
            if said == 2:
                fooled += heard in texts[:2]
                assert heard in texts[:2] or heard == frame.format(UNKNOWN)
            else:
                right += heard == text
                confused += heard == texts[1 - said]
    assert confused == 0 and fooled <= 1 and right >= 0.8 * len(PAIRS)


def test_words_gone_and_words_come_are_told_apart(chooser):
    made = Espeak()
    whole, shorter = "the old farmer walked slowly home", "the old farmer walked home"
    for text in (whole, shorter):
        assert choose(chooser, made.speak(text, "en-us", RATE)[0], RATE, [whole, shorter]) == text
    assert choose(chooser, made.speak(whole, "en-us", RATE)[0], RATE, [whole, whole]) == whole

"""Pronunciations are near to CMUdict's, in its phones, and neither they nor what is spoken disturb each other."""

import random
from collections import defaultdict
from pathlib import Path

import pocketsphinx
import pytest

from manifests.chance import generator
from manifests.speech import words_of
from stages.engines.espeak import Espeak
from stages.engines.pronounce import arpabet
from stages.scenes.sentences import sentence

PHONES = set("AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split())


@pytest.fixture(scope="module")
def dictionary() -> dict[str, list[list[str]]]:
    """Every word of pocketsphinx's dictionary that `words_of` could give, with its pronunciations."""
    listed = defaultdict(list)
    for line in (Path(pocketsphinx.__file__).parent / "model/en-us/cmudict-en-us.dict").read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        listed[word.partition("(")[0]].append(phones)
    return {word: pronunciations for word, pronunciations in listed.items() if words_of(word) == [word]}


def edits(one: list[str], other: list[str]) -> int:
    """The fewest insertions, deletions and replacements that make the one the other."""
    costs = list(range(len(other) + 1))
    for row, phone in enumerate(one, 1):
        above, costs[0] = costs[0], row
        for column, wanted in enumerate(other, 1):
            above, costs[column] = costs[column], min(costs[column] + 1, costs[column - 1] + 1, above + (phone != wanted))
    return costs[-1]


def error_rate(words: list[str], dictionary: dict[str, list[list[str]]]) -> float:
    """Edits a phone, each word against the nearest of its pronunciations."""
    nearest = [min((edits(arpabet(word).split(), phones), len(phones)) for phones in dictionary[word]) for word in words]
    return sum(wrong for wrong, _ in nearest) / sum(length for _, length in nearest)


def test_two_thousand_words_differ_from_cmudict_in_a_tenth_of_their_phones(dictionary):
    assert error_rate(random.Random(0).sample(sorted(dictionary), 2_000), dictionary) < 0.105


def test_the_words_that_are_spoken_differ_in_fewer(dictionary):
    words = sorted({word for number in range(300) for word in words_of(sentence(generator("spoken", number)))})
    assert error_rate(words, dictionary) < 0.06


def test_phones_are_those_of_the_dictionary(dictionary):
    assert {phone for pronunciations in dictionary.values() for phones in pronunciations for phone in phones} == PHONES
    words = [*random.Random(1).sample(sorted(dictionary), 500), "21", "mp3", "naïve", "x", "smörgåsbord", "qzxv", "o'clock", "1984"]
    assert {phone for word in words for phone in arpabet(word).split()} <= PHONES


def test_every_word_of_our_sentences_is_pronounced():
    for number in range(200):
        assert all(map(arpabet, words_of(sentence(generator("pronounced", number)))))


@pytest.mark.parametrize(
    ("word", "phones"),
    [("thoughtful", "TH AO T F AH L"), ("bridge", "B R IH JH"), ("don't", "D OW N T"), ("church's", "CH ER CH IH Z"), ("Eric's", "EH R IH K S")],
)
def test_words_sound_as_they_should(word, phones):
    assert arpabet(word) == phones


def test_numbers_are_read_out():
    assert arpabet("21") == f"{arpabet('twenty')} {arpabet('one')}"


@pytest.mark.parametrize("word", ["москва", "日本", "b日", "ill-disposed", "two words", "'", "", "…", "a_b"])
def test_what_is_no_english_word_has_none(word):
    assert arpabet(word) is None


def test_a_pronunciation_does_not_depend_on_what_came_before(dictionary):
    words = random.Random(2).sample(sorted(dictionary), 400)
    forth = {word: arpabet(word) for word in words}
    arpabet.cache_clear()
    Espeak().speak("Nothing of this may be heard again.", "en-gb-scotland+f3", 16_000)
    assert {word: arpabet(word) for word in reversed(words)} == forth

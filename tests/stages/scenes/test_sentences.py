"""Sentences are English, everyday, of the promised length, and many."""

import re
from collections import Counter

import pytest

from manifests.chance import generator
from manifests.speech import words_of
from stages.scenes import sentences
from stages.scenes.sentences import sentence

FUNCTION_WORDS = set(
    "a an the my our his her this that their your another one some and but so or if then yet which who when while before after because as soon "
    "since although just in on at by near behind outside to into toward past through with for of he she we they i you will could please was had "
    "has have been is can it there nobody everyone everybody never once".split()
)
DETERMINERS = "a|an|the|my|our|his|her|this|that|their|your|another|one|some"


@pytest.fixture(scope="module")
def drawn() -> list[str]:
    return [sentence(generator("sentences", number)) for number in range(4_000)]


def test_the_same_generator_gives_the_same_sentence():
    assert [sentence(generator(n)) for n in range(50)] == [sentence(generator(n)) for n in range(50)]


def test_sentences_are_five_to_fourteen_words_written_as_sentences(drawn):
    for text in drawn:
        assert 5 <= len(words_of(text)) <= 14, text
        assert re.fullmatch(r"[A-Z][A-Za-z]*(,? [A-Za-z]+)*[.?]", text), text


def test_many_pause_and_they_differ(drawn):
    assert sum("," in text for text in drawn) > 0.8 * len(drawn)
    assert len(set(drawn)) >= len(drawn) - 8  # of a million, 4,000 draws would give 8 pairs
    shapes = Counter(re.sub(r"[^,.?]", "", text) + str(len(words_of(text))) for text in drawn)
    assert max(shapes.values()) < 0.25 * len(drawn)


def test_the_words_are_many_and_none_dominates(drawn):
    heard = Counter(word for text in drawn for word in words_of(text) if word not in FUNCTION_WORDS)
    assert len(heard) >= 250
    assert max(heard.values()) < 0.05 * heard.total()


def test_one_in_six_says_a_word_twice(drawn):
    twice = sum(len(set(words_of(text))) < len(words_of(text)) for text in drawn)
    assert 0.13 < twice / len(drawn) < 0.2


def test_articles_agree_with_the_word_that_follows(drawn):
    both = Counter(article.lower() for text in drawn for article in re.findall(r"\b[Aa]n?\b", text))
    assert both["a"] > 100 and both["an"] > 20
    for text in drawn:
        assert not re.search(r"\b[Aa] [aeiou]", text) and not re.search(r"\b[Aa]n [^aeiou]", text), text


def test_one_thing_stays_one(drawn):
    plural = "|".join(sentences.GROCERIES)
    for text in drawn:
        assert not re.search(rf"\b(?:{DETERMINERS}) (?:\w+ )?(?:{plural})\b", text.lower()), text
        assert not re.search(rf"\b(?:{DETERMINERS}) (?:{DETERMINERS})\b", text.lower()), text


def test_every_clause_has_a_verb(drawn):
    verbs = {*sentences.HANDLED, *sentences.ATE, *sentences.WENT, *sentences.STAYED, *sentences.RESTED, "was", "bought", "stopped", "began", "grew"}
    asked = re.compile(r"^(Could|Please|If) ")
    for text in drawn:
        assert asked.search(text) or verbs & set(words_of(text)), text

"""What is heard on both sides of speech pairs is held against their texts; an engine is given sides of many pairs at once."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import Rejected
from manifests.pair import Pair
from manifests.speech import words_of
from stages.engines.protocols import Speech
from stages.hear import error_rate, hear

RATE = 8_000
WORDS = st.lists(st.sampled_from(["no", "well", "don't", "ill"]), min_size=1, max_size=7)


@dataclass
class Ears:
    """Knows a side by its first sample, and says of it what it was told, or that it cannot hear it."""

    says: list[str | None]
    batch: int = 3
    asked: list[list[Speech]] = field(default_factory=list)

    def hear(self, speech: list[Speech], rate: int) -> list[str | Rejected]:
        assert rate == RATE
        self.asked.append(speech)
        said = [self.says[round(32768 * float(one.audio[0, 0]))] for one in speech]
        return [Rejected("no voice") if text is None else text for text in said]


def pairs(*texts: tuple[str, str], language: str = "en") -> list[Pair]:
    """Pairs whose sides are numbered by their samples, in order."""
    made = []
    for n, (source, target) in enumerate(texts):
        pair = Pair(f"key {n}", "s", "speech_delete", "real", "real", "speech", language, "train", 0, source_text=source, target_text=target)
        pair.sample_rate, pair.source, pair.target = RATE, np.full((1, 80), 2 * n, np.int16), np.full((1, 60), 2 * n + 1, np.int16)
        made.append(pair)
    return made


def scores(pair: Pair) -> tuple:
    return pair.wer_source, pair.wer_target, pair.asr_choice


def edits(one: list[str], other: list[str]) -> int:
    """Levenshtein's distance, by its definition."""
    if not one or not other:
        return len(one) + len(other)
    return min(edits(one[1:], other) + 1, edits(one, other[1:]) + 1, edits(one[1:], other[1:]) + (one[0] != other[0]))


@given(WORDS.map(lambda words: words[:4]), st.lists(st.sampled_from(["no", "well", "don't", "ill"]), max_size=4))
def test_word_error_rate_is_the_least_words_changed_over_the_words_said(said, heard):
    assert error_rate(" ".join(said), " ".join(heard)) == pytest.approx(edits(said, heard) / len(said))


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS | st.none()), max_size=6), st.integers(1, 9))
def test_every_pair_is_judged_by_what_is_heard_on_its_own_sides(made, batch):
    todo = pairs(*((" ".join(source), " ".join(target)) for source, target, *_ in made))
    said = [None if heard is None else " ".join(heard) for _, _, *both in made for heard in both]
    hear(todo, Ears(said, batch))
    for n, (pair, (source, target, *_)) in enumerate(zip(todo, made)):
        first, second = said[2 * n : 2 * n + 2]
        if second is None:
            assert scores(pair) == (None, None, None)
            continue
        far = [round(error_rate(" ".join(text), second) * len(text)) for text in (source, target)]
        choice = "neither" if far[0] == far[1] else ("source", "target")[far[1] < far[0]]
        assert scores(pair) == (error_rate(pair.source_text, first), error_rate(pair.target_text, second), choice)


@pytest.mark.parametrize("deaf_to", [0, 1])
def test_a_pair_with_a_side_that_cannot_be_heard_has_no_scores_and_the_others_have(deaf_to):
    todo = pairs(*[("he said no", "he said")] * 3)
    said = ["he said no", "he said"] * 3
    said[2 + deaf_to] = None
    hear(todo, Ears(said))
    assert [scores(pair) for pair in todo] == [(0.0, 0.0, "target"), (None, None, None), (0.0, 0.0, "target")] and todo[1].reason is None


def test_an_engine_is_given_the_sides_with_both_texts_and_the_language():
    ears, todo = Ears(["ja", "nein"] * 3, batch=4), pairs(*[("ja nein", "ja")] * 3, language="de")
    hear(todo, ears)
    assert [len(some) for some in ears.asked] == [4, 2]
    for one in sum(ears.asked, []):
        assert one.audio.dtype == np.float32 and np.abs(one.audio).max() < 1 and (one.texts, one.language) == (("ja nein", "ja"), "de")
    assert [one.audio.shape[1] for one in sum(ears.asked, [])] == [80, 60] * 3


def test_sides_are_heard_again_in_smaller_batches_where_memory_runs_out():
    class Small(Ears):
        def hear(self, speech, rate):
            if len(speech) > 1:
                raise RuntimeError("CUDA out of memory")
            return super().hear(speech, rate)

    small, large = pairs(*[("he said no", "he said")] * 4), pairs(*[("he said no", "he said")] * 4)
    said = ["he said no", "he said", "he", "no", "he said", "he said no", "said no", "he"]
    hear(small, Small(said, batch=8))
    hear(large, Ears(said, batch=8))
    assert [scores(pair) for pair in small] == [scores(pair) for pair in large] and len({scores(pair) for pair in small}) == 4


def test_a_text_without_spaces_is_judged_by_its_characters_however_they_are_heard():
    todo = pairs(*[("今天天气很好。", "今天很好。")] * 2, language="zh")
    hear(todo, Ears(["今天天汽很好", "今 天 很 好", "今天 天气 很好", "今天天气好"]))
    assert [scores(pair) for pair in todo] == [(pytest.approx(1 / 6), 0.0, "target"), (0.0, 0.5, "source")]


@given(st.text(alphabet="aB'’-., \nñé", max_size=20).filter(lambda text: words_of(text)))
def test_texts_are_compared_without_case_and_punctuation(text):
    assert error_rate(text, text.upper()) == 0.0 or text.upper().casefold() != text.casefold()
    assert error_rate(text, " ".join(words_of(text))) == 0.0 and error_rate(text, "") == 1.0

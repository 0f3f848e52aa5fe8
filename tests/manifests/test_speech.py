"""Texts are compared in one form, whatever they were written in, and words with their times come back as they were stored."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.speech import MOST, SHORTEST, Cut, Word, from_json, parted, stretches, text_of, to_json, words_of

seconds = st.floats(0, 40).map(lambda value: round(value, 4))
said = st.builds(Word, st.text(max_size=8), seconds, seconds)
cut = st.builds(Cut, seconds, st.floats(-120, 30).map(lambda value: round(value, 2)))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.text("aB'’ -.,!3éİßǆ", max_size=20))
def test_the_form_of_a_text_is_its_own_form(text):
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert all(word and not any(map(str.isspace, word)) for word in words)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=30) | st.text("aB' 1我爱々日きゃーッが\u3099ｶﾞ\u0301한국어เแกำ้าะสวัສໍາຂ្មែမြန်", max_size=20))
def test_words_written_as_a_text_are_its_words(text):
    words = words_of(text)
    assert words_of(text_of(words)) == parted(text_of(words)) == words
    assert "".join(text_of(words).split()) == "".join(words)


@given(st.lists(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=1), max_size=9))
def test_chinese_is_parted_into_its_characters_and_written_without_spaces(characters):
    text = "".join(characters)
    assert words_of(text) == words_of("，".join(characters)) == words_of(" ".join(characters)) == characters and text_of(characters) == text


@given(st.lists(st.from_regex(r"[a-zа-яéß]{1,6}", fullmatch=True).map(lambda word: unicodedata.normalize("NFKC", word)), max_size=6))
def test_words_of_scripts_with_spaces_are_written_with_them(words):
    assert text_of(words) == " ".join(words)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{1,6}('[a-z]{1,2})?", fullmatch=True), max_size=6), st.data())
def test_case_and_punctuation_make_no_difference(words, data):
    mark = st.sampled_from([" ", ", ", ". ", "! ", " — ", "… ", "-", " “", "” ", "\n", "?) ("])
    text = "".join(data.draw(st.sampled_from([word, word.upper(), word.capitalize()])) + data.draw(mark) for word in words)
    assert words_of(text) == words


@pytest.mark.parametrize(("text", "words"), [
    ("Don’t, don`t, donʼt!", ["don't"] * 3),
    ("'tis the dogs' o''clock", ["tis", "the", "dogs", "o", "clock"]),
    ("ill-disposed under_scored", ["ill", "disposed", "under", "scored"]),
    ("In 1984, 3.5 miles", ["in", "1984", "3", "5", "miles"]),
    ("ﬁne ＷＩＤＥ Straße", ["fine", "wide", "strasse"]),
    ("cafe\u0301 CAFÉ", ["café", "café"]),
    ("Привет, МИР!", ["привет", "мир"]),
    ("你好，世界。", ["你", "好", "世", "界"]),
    ("我爱Python，don't you？", ["我", "爱", "python", "don't", "you"]),
    ("我有17个𠮷", ["我", "有", "17", "个", "𠮷"]),
    ("人々はｶﾞﾗｽが", ["人", "々", "は", "ガ", "ラ", "ス", "が"]),
    ("สวัสดี น้ำ เก่า", ["ส", "วั", "ส", "ดี", "น้ํา", "เก่า"]),
    ("안녕 세상", ["안녕", "세상"]),
    ("Γειά σου Κόσμε", ["γειά", "σου", "κόσμε"]),
])
def test_words_of_other_hands_and_scripts(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize("text", ["नमस्ते", "안녕하세요", "שָׁלוֹם", "İstanbul", "ΐδιος"])
def test_a_word_written_with_marks_is_one_word(text):
    assert len(words_of(text)) == 1


@pytest.mark.parametrize("text", ["", " \n\t", "...!?", "😀👍🏽", "— “…” —", "'''", "_ _", "\u200b\ufeff", "🎵 ♪ ♫"])
def test_what_has_no_letters_has_no_words(text):
    assert words_of(text) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(said, max_size=6), st.lists(cut, max_size=7))
def test_words_and_cuts_come_back_as_they_were_stored(words, cuts):
    text = to_json(words, cuts)
    assert from_json(text) == (words, cuts) and to_json(*from_json(text)) == text
    json.loads(text, parse_constant=pytest.fail)


def test_times_are_kept_to_a_sample_at_any_usual_rate():
    words, cuts = from_json(to_json([Word("a", 1.23456789, 2.00004)], [Cut(0.1000499, -31.239)]))
    assert abs(words[0].start - 1.23456789) < 1e-4 and abs(cuts[0].at - 0.1000499) < 1e-4 and abs(cuts[0].level_db + 31.239) < 0.01



@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 0.5), st.floats(-60, 0)), min_size=2, max_size=12), st.floats(-50, 0))
def test_stretches_are_all_that_can_be_taken_out_and_no_others(made, join_db):
    ends = np.cumsum([length for length, _ in made])
    cuts = [Cut(float(end), level) for end, (_, level) in zip(ends, made)]
    words = [Word("a", a.at, b.at) for a, b in zip(cuts, cuts[1:])]
    found = stretches(words, cuts, join_db)
    assert len(set(found)) == len(found) and found == sorted(found)
    for first in range(len(words)):
        for last in range(first + 1, len(words) + 1):
            possible = (max(cuts[first].level_db, cuts[last].level_db) <= join_db and last - first <= MOST and last - first < len(words)
                        and cuts[last].at - cuts[first].at >= SHORTEST)
            assert ((first, last) in found) == possible

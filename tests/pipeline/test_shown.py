"""What a report shows: sides that sound and look as the shards hold them, the edited words among all, and pairs that are unlike each other."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_report import RATE, SPLITS, SPOKEN, Page, page_of, rows_of, spoken
from PIL import Image

from manifests.audio import decode_flac
from pipeline.shown import _members, _mp3, choose, edited_words
from pipeline.spectrogram import HEIGHT, LEVELS, WIDTH


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return page_of(str(tmp_path_factory.mktemp("runs") / "run"))


def test_players_play_what_the_shards_hold(page):
    sounds = [soundfile.read(io.BytesIO(data)) for data in page.uris("audio")]
    assert len(sounds) == 2 * (3 + 3)
    source, target = (audio for audio, rate in sounds[:2] if rate == RATE)
    first = re.search(r"(abcdef01-\S+-add-1) in (\S+\.tar)<", page.raw)
    members = _members(page.run, first[2], first[1])
    for played, name in ((source, "source.flac"), (target, "target.flac")):
        stored = decode_flac(members[name])[0]
        assert len(played) == len(stored)
        assert np.corrcoef(played, stored)[0, 1] > 0.99
    assert np.abs(source - target)[: RATE // 2].max() < 0.02 < np.abs(source - target).max()


def test_pictures_differ_where_the_edit_is_and_only_there(page):
    source, target = (np.array(Image.open(io.BytesIO(data))).astype(int) for data in page.uris("img")[:2])
    assert source.shape == target.shape == (HEIGHT, WIDTH)
    changed = np.abs(source - target).max(axis=0)
    marks = re.search(r"left:([\d.]+)%;width:([\d.]+)%", page.raw)
    first, width = (float(m) / 100 * WIDTH for m in marks.groups())
    assert (first, width) == (0.5 * WIDTH, 0.25 * WIDTH)
    assert changed[int(first) + 10 : int(first + width) - 10].min() > LEVELS / 2
    assert changed[: int(first) - 20].max() <= 1 and changed[int(first + width) + 20 :].max() <= 1


@pytest.fixture(scope="module")
def speech_page(tmp_path_factory) -> Page:
    speech = [spoken(*facts) for facts in SPOKEN]
    speech[0].transcribed_by, speech[1].asr_choice = "pocketsphinx", None
    return page_of(str(tmp_path_factory.mktemp("runs") / "run"), speech=speech)


def sides_of(page: Page, edit: str) -> list[str]:
    """The markup of both sides of the first pair of an edit."""
    article = page.raw[page.raw.index(f"<h3>{edit}<") :].partition("</article>")[0]
    return article.split('<div class="side">')[1:]


@pytest.mark.parametrize("edit, said", [
    ("speech_delete", ["no <mark>and no</mark> and yes", 'no <i class="gap"></i> and yes']),
    ("speech_insert", ['we <i class="gap"></i> came home', "we <mark>all</mark> came home"]),
    ("speech_substitute", ["<mark>the big</mark> dog ran", "<mark>the small old</mark> dog ran"]),
])
def test_both_texts_with_the_edited_words_marked(speech_page, edit, said):
    assert [re.search('<p class="said">(.*?)</p>', side)[1].strip() for side in sides_of(speech_page, edit)] == said


@pytest.mark.parametrize("edit, marks", [
    ("speech_delete", [("", "25.0", "25.0"), (" cut", "25.0", "0.25")]),
    ("speech_insert", [(" cut", "20.0", "0.4"), ("", "20.0", "20.4")]),
    ("speech_substitute", [("", "8.0", "20.0"), ("", "8.0", "40.0")]),
])
def test_each_side_has_its_own_marks(speech_page, edit, marks):
    assert [re.search(r'class="mark(.*?)" style="left:([\d.]+)%;width:([\d.]+)%"', side).groups() for side in sides_of(speech_page, edit)] == marks


def test_the_shorter_side_ends_where_it_ends_on_the_longers_scale(speech_page):
    source, target = sides_of(speech_page, "speech_delete")
    assert 'data-seconds="4.0"' in source and 'data-seconds="4.0"' in target
    assert "4.00 s" in source and "3.01 s" in target
    assert 'style="width:75.25%"' in target and not re.search(r"<img[^>]* style", source)
    for side, seconds in ((source, 4.0), (target, 3.01)):
        picture, sound = (base64.b64decode(found) for found in re.findall(r"base64,([^\"]+)", side))
        assert Image.open(io.BytesIO(picture)).size == (pytest.approx(WIDTH * seconds / 4, abs=1), HEIGHT)
        assert len(soundfile.read(io.BytesIO(sound))[0]) == round(seconds * RATE)


def test_of_a_long_pair_of_two_lengths_both_sides_start_at_one_time(tmp_path):
    page = page_of(str(tmp_path), speech=[spoken("speech_delete", ("a b c", "a c"), "b", ([12.0, 17.0], [12.0, 12.01]), (20.0, 15.01))])
    source, target = sides_of(page, "speech_delete")
    assert "left:33.33%;width:41.67%" in source and "left:33.33%;width:0.08%" in target
    assert "width:58.42%" in target and 'data-seconds="12.0"' in target
    assert "20.00 s" in source and "15.01 s" in target


def test_scores_of_speech_and_whose_text_was_heard(speech_page):
    assert rows_of(speech_page, "Heard on the target") == [
        ["pairs by whose text a recognizer heard there", "target", "source", "neither"], ["speech_delete", "1", "0", "0"], ["speech_substitute", "1", "0", "0"]]
    for title in ("Join level", "Pitch step", "Pace"):
        assert f"<h3>{title}</h3>" in speech_page.raw
    assert "<h3>Alignment confidence</h3>" not in speech_page.raw
    assert speech_page.raw.count("<dt>heard</dt><dd>the target&#39;s text</dd>") == 2
    assert speech_page.raw.count("<span>transcript by pocketsphinx</span>") == 1


def test_words_written_without_spaces_are_marked_too(tmp_path):
    page = page_of(str(tmp_path), speech=[spoken("speech_delete", ("今天天气好", "今天气好"), "天", ([1.6, 2.4], [1.6, 1.61]), (4.0, 3.2))])
    source, target = sides_of(page, "speech_delete")
    assert "今天 <mark>天</mark> 气好" in source and '今天 <i class="gap"></i> 气好' in target


@pytest.mark.parametrize("source, target, label, side, at, found", [
    ("no no no", "no no", "no", 0, 0.0, (0, 1, 0)),
    ("no no no", "no no", "no", 0, 0.4, (1, 2, 1)),
    ("no no", "no no no", "no", 1, 0.7, (2, 2, 3)),
    ("a b a b", "a b", "b a", 0, 0.9, (1, 3, 1)),
    ("a b", "a b", "b", 0, 0.5, (1, 2, 2)),
    ("a", "a b c", "b c", 1, 0.5, (1, 1, 3)),
    ("x y a", "a", "x y", 0, 0.1, (0, 2, 0)),
    ("a b c", "a d c", "elsewhere", 0, 0.1, (1, 2, 2)),
    ("a a", "a", "", 0, 0.0, (1, 2, 1)),
    ("", "", "", 0, 0.0, (0, 0, 0)),
])
def test_edited_words_are_found_by_their_place(source, target, label, side, at, found):
    assert edited_words(source.split(), target.split(), label.split(), side, at) == found


def test_of_a_long_pair_a_stretch_about_the_edit_is_shown(tmp_path):
    page = page_of(str(tmp_path), seconds=40.0)
    assert "12.0 s from 18.0 s of 40.0 s" in page.text
    audio, _ = soundfile.read(io.BytesIO(page.uris("audio")[1]))
    assert len(audio) == 12 * RATE
    assert "left:16.67%;width:83.33%" in page.raw


def test_a_sample_rate_that_mp3_does_not_know_is_raised():
    audio, rate = soundfile.read(io.BytesIO(_mp3(np.zeros((2, 20_000), np.float32), 20_000)))
    assert (rate, audio.shape[1]) == (22_050, 2) and abs(len(audio) - 22_050) < 5
    assert soundfile.info(io.BytesIO(_mp3(np.zeros((1, 96_000), np.float32), 96_000))).samplerate == 48_000


def table(rows: int) -> pd.DataFrame:
    return pd.DataFrame([
        {"pair_id": f"p{n}", "scene_id": f"s{n // 4}", "edit": ("add", "remove")[n % 2], "split": SPLITS[n // 2 % 3],
         "domain": ("sound", "music")[n // 3 % 2], "part": 0}
        for n in range(rows)
    ])


def test_pairs_shown_are_of_all_splits_and_different_scenes():
    chosen = choose(table(400), 7)
    assert [c["edit"] for c in chosen] == ["add"] * 3 + ["remove"] * 3
    for edit in ("add", "remove"):
        assert {c["split"] for c in chosen if c["edit"] == edit} == set(SPLITS)
        assert {c["domain"] for c in chosen if c["edit"] == edit} == {"sound", "music"}
    assert len({c["scene_id"] for c in chosen}) == 6


def test_pairs_shown_follow_from_seed_and_names_alone():
    rows = table(400)
    ids = [c["pair_id"] for c in choose(rows, 7)]
    assert ids == [c["pair_id"] for c in choose(rows.sample(frac=1, random_state=1), 7)]
    assert ids != [c["pair_id"] for c in choose(rows, 8)]
    assert [c["pair_id"] for c in choose(rows[:1], 7)] == ["p0"]
    assert choose(rows[:0], 7) == []

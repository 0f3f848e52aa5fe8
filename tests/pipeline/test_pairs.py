"""Pairs of a scene in which a label is heard twice, and pairs that name what is not there: as a part renders, scores and checks them."""

import numpy as np
import pytest
from recordings import tone

from manifests.audio import encode_flac
from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from pipeline.check_pair import check_pair
from pipeline.pairs import PairWork, render_scene
from stages.score import score

RATE, SECONDS = 16_000, 6.0
WORK = PairWork("", 4, RATE, 1, round(SECONDS * RATE), -25.0, 0.5, 0.0, Labels.read(), 60.0, {}, ())
ASKED = {  # edit, subject, what is put in or named, noop
    "both gone": ("remove", 1, "", False), "one gone": ("remove", 3, "", False),
    "both alone": ("extract", 1, "", False), "one alone": ("extract", 3, "", False),
    "both come": ("add", 1, "", False), "one replaced": ("replace", 3, "horn", False), "no horn to remove": ("remove", 2, "horn", True),
    "no horn to replace": ("replace", 2, "horn", True),
}


@pytest.fixture(scope="module")
def made() -> tuple[dict[str, Pair], dict[str, Clip], dict[str, bytes]]:
    noise = np.random.default_rng(0).standard_normal(round(8 * RATE)) * 0.02
    audio = {"rain": noise, "dog": tone(1.0, 300), "bell": tone(1.5, 900), "barking": tone(0.8, 320, seed=1), "horn": tone(1.2, 150)}
    labels = {"rain": "rain", "dog": "dog bark", "bell": "bell", "barking": "barking", "horn": "car horn"}
    flac = {name: encode_flac(samples[None].astype(np.float32), RATE) for name, samples in audio.items()}
    clips = {name: Clip(f"{name}.wav", 0.0, len(samples) / RATE, 0, "sound", "synthetic", label=labels[name], clip_id=name, duration=len(samples) / RATE,
                        license="cc0-1.0") for name, samples in audio.items()}
    asked = [(name, edit, subject, other, noop) for name, (edit, subject, other, noop) in ASKED.items()]
    item = {"scene_id": "scene", "kind": "soundscape", "split": "train", "clip_ids": ["rain", "dog", "bell", "barking"], "clips": clips, "pairs": asked}
    pairs = [Pair(name, "scene", edit, "synthetic", "synthetic", "sound", "en", "train", 0) for name, edit, *_ in asked]
    rendered = render_scene(item, pairs, WORK, lambda clip: flac[clip.clip_id])
    for pair in pairs:
        score(rendered, pair)
    return {pair.pair_id: pair for pair in pairs}, clips, flac


@pytest.mark.parametrize("name", ASKED)
def test_each_is_what_it_says(made, name):
    pairs, clips, flac = made
    pair = pairs[name]
    assert pair.reason is None and check_pair(pair.sample(), pair.source, pair.target, clips, lambda clip: flac[clip.clip_id]) == []


def test_a_bare_label_is_about_both_and_an_order_about_one(made):
    pairs, *_ = made
    assert len(pairs["both gone"].edit_spans) == len(pairs["both alone"].edit_spans) == len(pairs["both come"].edit_spans) == 2
    assert len(pairs["one gone"].edit_spans) == 1 and pairs["one gone"].edit_spans[0] in pairs["both gone"].edit_spans
    nth = "first" if pairs["one gone"].edit_spans[0] == pairs["both gone"].edit_spans[0] else "second"
    assert all(f"the {nth} " in pairs[name].instruction for name in ("one gone", "one alone", "one replaced"))
    assert pairs["both gone"].instruction == "Remove the sound of 'dog bark' from the input audio."


def test_the_sides_of_both_and_of_one_fit_together(made):
    pairs, *_ = made
    signal = {name: (pair.source.astype(int), pair.target.astype(int)) for name, pair in pairs.items()}
    source, rest = signal["both gone"]
    assert np.abs(source - rest - signal["both alone"][1]).max() <= 2 and np.array_equal(signal["both come"][0], rest)
    assert np.abs(signal["one gone"][0] - signal["one gone"][1] - signal["one alone"][1]).max() <= 2
    assert 0 < np.sum(signal["one alone"][1] ** 2) < np.sum(signal["both alone"][1] ** 2)


@pytest.mark.parametrize("name", ["no horn to remove", "no horn to replace"])
def test_where_nothing_is_to_be_done_nothing_is_and_nothing_is_scored_that_would_say_so(made, name):
    pair = made[0][name]
    assert pair.noop and pair.sample()["noop"] is True and np.array_equal(pair.source, pair.target) and "'car horn'" in pair.instruction
    assert pair.edit_spans == [[0.0, 0.0]] and pair.change_db is None and pair.snr_db is None and pair.local_snr_db is None and pair.source_lufs is not None
    assert "horn" not in pair.clip_ids


def test_a_noop_whose_sides_differ_is_found(made):
    pairs, clips, flac = made
    pair, other = pairs["no horn to remove"], pairs["one gone"]
    faults = check_pair(pair.sample(), pair.source, other.target, clips, lambda clip: flac[clip.clip_id])
    assert any("differ" in fault for fault in faults)


def test_the_level_of_two_is_the_lower_of_theirs(made):
    pairs, *_ = made
    assert pairs["both gone"].snr_db <= pairs["one gone"].snr_db and pairs["both gone"].n_events == 3

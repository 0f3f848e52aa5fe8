"""A pair's sample and its row have the contract's keys and types, whatever the edit."""

import json
from dataclasses import asdict

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.pair import EDITS, LICENSES, QUALITY, SCORES, Pair, strictest

SAMPLE = {  # as the contract has it
    "id": str, "scene_id": str, "edit": str, "branch": str, "tier": str, "domain": str, "language": str, "instruction": str,
    "instructions": list, "label": str, "noop": bool, "split": str, "sample_rate": int, "duration": float, "source_text": str,
    "target_text": str, "edit_start": float, "edit_end": float, "edit_spans": list, "n_events": int, "clips": list, "gain_db": float,
    "params": str, "scores": str}
ROW = (
    "pair_id, scene_id, edit, branch, tier, domain, language, split, part, kept, reason, instruction, label, noop, duration_s, n_events, "
    "overlap_ratio, source_lufs, target_lufs, source_peak_dbfs, target_peak_dbfs, change_db, snr_db, local_snr_db, active_ratio, leak_db, join_level_db, "
    "join_f0_semitones, floor_step_db, alignment_confidence, chars_per_second, clap_source, clap_target, clap_gain, clap_background, wer_source, "
    "wer_target, asr_choice, speaker_overlap, separation_error_db, transcribed_by, license, clip_ids, seconds_render, seconds_score").split(", ")
level = st.floats(-120, 30)
maybe = st.none() | level


@st.composite
def pairs(draw) -> Pair:
    edit = draw(st.sampled_from(EDITS))
    pair = Pair("0a1b2c3d-1-add-1", "scene", edit, "synthetic", "synthetic", "sound", "en", "train", 0, label=draw(st.text(max_size=5)))
    pair.instructions = draw(st.lists(st.text(max_size=9), min_size=1, max_size=3))
    pair.instruction, pair.sample_rate = pair.instructions[0], 44100
    pair.duration_s = draw(st.integers(1, 30).map(lambda n: n / 2))
    pair.edit_spans = draw(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 2)).map(list), min_size=1, max_size=3))
    pair.clips = [{"id": "c", "uri": "a.wav", "license": "", "role": "event"}]
    pair.gain_db = draw(level | st.just(0))
    pair.snr_db, pair.local_snr_db, pair.clap_gain = draw(maybe), draw(maybe), draw(maybe)
    pair.params = {"snr_db": None if edit == "transfer" else 3.0}
    return pair


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_a_sample_has_the_contracts_keys_types_and_no_nulls(pair):
    sample = pair.sample()
    assert {name: type(value) for name, value in sample.items()} == SAMPLE
    assert list(sample) == list(SAMPLE)
    again = json.loads(json.dumps(sample, allow_nan=False))
    assert {name: type(value) for name, value in again.items()} == SAMPLE
    assert json.loads(again["params"]) == pair.params
    assert set(json.loads(again["scores"])) == set(SCORES)
    assert (again["edit_start"], again["edit_end"]) == (pair.edit_spans[0][0], pair.edit_spans[-1][1])


@settings(max_examples=30, deadline=None)
@given(pairs())
def test_a_row_has_the_contracts_columns_and_null_for_what_was_not_computed(pair):
    row = pair.quality()
    assert list(row) == ROW == QUALITY.names
    stored = pa.Table.from_pylist([row], schema=QUALITY).to_pylist()[0]
    assert stored == row
    for name in ("clap_source", "wer_target", "asr_choice", "leak_db", "alignment_confidence", "chars_per_second", "reason"):
        assert stored[name] is None


def test_scores_are_the_numbers_that_may_be_null_and_no_clock():
    nullable = {name for name, value in asdict(Pair(*"abcdefgh", 0)).items() if value is None} - {"source", "target"}
    assert set(SCORES) == nullable - {"reason", "asr_choice", "seconds_render", "seconds_score"}


def test_a_score_that_is_no_number_is_an_error():
    pair = Pair("a", "b", "add", "synthetic", "demo", "sound", "en", "val", 0, duration_s=1.0, edit_spans=[[0.0, 1.0]], snr_db=float("nan"))
    with pytest.raises(ValueError):
        pair.sample()


def test_pairs_share_no_lists():
    one, other = (Pair(name, "b", "add", "synthetic", "demo", "sound", "en", "val", 0) for name in "xy")
    one.instructions.append("words")
    one.params["a"] = 1
    assert other.instructions == [] and other.params == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(LICENSES), min_size=1, max_size=5), st.randoms())
def test_the_strictest_licence_is_the_last_of_the_list_in_any_order(names, chance):
    expected = max(names, key=LICENSES.index)
    chance.shuffle(names)
    assert strictest(names) == expected
    assert strictest([name.upper() for name in names]) == expected.upper()


def test_a_licence_that_is_not_known_is_the_strictest():
    assert strictest(["cc0-1.0", "", "cc-by-nc-nd-4.0"]) == ""
    assert strictest(["cc-by-4.0", "all rights reserved"]) == "all rights reserved"
    assert strictest(["cc0-1.0", "cc-by-nc-4.0", "cc-by-4.0"]) == "cc-by-nc-4.0"

"""Rows of an evaluation: what each system has, what is held against whom, and what an output must be brought to."""

import numpy as np
import pytest
from made_pairs import RATE, background, task, tone

from manifests.audio import encode_flac
from manifests.errors import Rejected
from model.evaluate import METRICS, Listeners, conform, evaluate, scores
from model.evaluation.baselines import BASELINES
from model.evaluation.distances import BEST
from model.evaluation.task import Task
from model.recording import Recording
from model.training.shards import Sample

GROUND, EVENT, OTHER = background(), tone(600, 1.0, 2.0), tone(2000, 0.2, 0.8)


def stored(pair: Task, scene: str = "one") -> Sample:
    flacs = {f"{side}.flac": encode_flac(getattr(pair, side), RATE) for side in ("source", "target")}
    return Sample(pair.facts["id"], {**pair.facts, "scene_id": scene}, flacs)


def pairs() -> list[Task]:
    mixture = GROUND + EVENT + OTHER
    return [task("remove", mixture, GROUND + OTHER, [[1.0, 2.0]]), task("remove", mixture, GROUND + EVENT, [[0.2, 0.8]], 1),
            task("add", GROUND + OTHER, mixture, [[1.0, 2.0]])]


def test_every_system_has_a_row_of_each_edit_that_it_is_for():
    rows = list(evaluate(map(stored, pairs()), BASELINES))
    assert len(rows) == 2 * 4 + 2 and all({"pair_id", "system", "note", *METRICS} == row.keys() for row in rows)
    assert all(np.isfinite(row["lsd_db"]) and row["sibling_chance"] == pytest.approx(1 / 3) for row in rows)
    assert all((row["si_sdr_db"] is None) == row["pair_id"].startswith("add") for row in rows)


def test_the_target_is_perfect_in_all_that_is_measured():
    for row in evaluate(map(stored, pairs()), {"outputs": lambda task: Recording(task.target, task.rate)}):
        assert row["si_sdr_db"] in (BEST, None) and row["lsd_db"] == row["mr_stft"] == 0 and row["inside_db"] == row["outside_db"] == -BEST
        assert row["sibling"] and row["note"] is None


def test_what_is_wrong_outside_the_spans_is_not_told_as_inside():
    pair = pairs()[0]
    said = scores(pair.target + 0.1 * tone(1000, 2.2, 2.9), pair)
    assert said["inside_db"] == -BEST and -30 < said["outside_db"] < 0


def test_of_speech_the_spans_are_at_another_place_on_the_source():
    whole = GROUND + EVENT
    cut = np.delete(whole, np.arange(RATE, 2 * RATE), axis=1)
    pair = task("speech_insert", cut, whole, [[1.0, 2.0]], source_span=[1.0, 1.0])
    assert pair.edited("source").sum() == 0 and pair.edited().sum() == RATE
    assert scores(pair.target, pair)["outside_db"] == -BEST


def test_an_edit_of_the_whole_has_no_outside():
    said = scores(GROUND, task("extract", GROUND + EVENT, EVENT, [[0.0, 3.0]]))
    assert said["outside_db"] is None and said["inside_db"] is not None


@pytest.mark.parametrize("edit", ["remove", "replace"])
def test_of_a_pair_in_which_nothing_is_to_be_done_only_what_was_done_is_told(edit):
    pair = task(edit, GROUND, GROUND, [[0.0, 0.0]], edited=[])
    pair.facts["noop"] = True
    untouched, touched = scores(GROUND, pair), scores(GROUND + EVENT, pair)
    assert untouched["si_sdr_db"] is touched["si_sdr_db"] is None and untouched["inside_db"] is None
    assert untouched["lsd_db"] == 0 < touched["lsd_db"] and untouched["outside_db"] == -BEST < touched["outside_db"]


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (3, 3), (4, 4), (None, 6), (9, 6)])
def test_the_limit_counts_pairs_and_siblings_are_still_compared_with_all(limit, count):
    samples, done = [stored(pair, scene) for scene in ("one", "two") for pair in pairs()], []
    rows = list(evaluate(samples, {"copy": BASELINES["copy"]}, limit=limit, tell=lambda: done.append(1)))
    assert len(rows) == len(done) == count
    assert all(row["sibling_chance"] == pytest.approx(1 / 3) for row in rows)


def test_an_output_that_is_not_there_is_a_row_that_says_so():
    def none(task: Task) -> Recording:
        raise Rejected("there is none")

    (row,) = evaluate([stored(pairs()[0])], {"outputs": none})
    assert row["note"] == "there is none" and all(row[name] is None for name in METRICS)


def test_outputs_are_brought_to_rate_channels_and_length_and_it_is_noted():
    pair = pairs()[0]
    stereo = np.repeat(pair.target, 2, axis=0)
    assert conform(Recording(pair.target, RATE), pair)[1] is None
    made, note = conform(Recording(np.pad(stereo, ((0, 0), (0, 800))), RATE), pair)
    assert np.array_equal(made, pair.target) and note == "2 channels made 1, cut by 0.050 s"
    made, note = conform(Recording(pair.target[:, ::2], RATE // 2), pair)
    assert made.shape == pair.target.shape and note == "resampled from 8000 Hz"
    made, note = conform(Recording(pair.target[:, :RATE], RATE), pair)
    assert made.shape == pair.target.shape and not made[:, RATE:].any() and note == "padded by 2.000 s"
    with pytest.raises(Rejected, match="not finite"):
        conform(Recording(pair.target * np.float32(np.nan), RATE), pair)


def heard_by_clap(edit: str, source: np.ndarray, target: np.ndarray, **more) -> tuple[np.ndarray, str]:
    heard = []

    def listen(audio: np.ndarray, rate: int, label: str) -> float:
        heard.append((audio, label))
        return 0.5

    assert scores(target, task(edit, source, target, [[1.0, 2.0]], **more), Listeners(clap=listen))["clap"] == 0.5
    return heard[0]


@pytest.mark.parametrize(("edit", "source", "target", "wanted", "label"), [
    ("add", GROUND, GROUND + EVENT, EVENT, "bell"), ("remove", GROUND + EVENT, GROUND, EVENT, "bell"), ("extract", GROUND + EVENT, EVENT, EVENT, "bell"),
    ("replace", GROUND, GROUND + EVENT, EVENT, "dog"),
])
def test_clap_listens_to_what_came_or_went_where_the_edit_is(edit, source, target, wanted, label):
    audio, said = heard_by_clap(edit, source, target, stems=[{"label": "bell"}, {"label": "dog"}], edited=[0, 1])
    assert said == label and np.allclose(audio, wanted[:, RATE : 2 * RATE], atol=1e-6)


def test_where_nothing_came_there_is_nothing_to_listen_to():
    pair = task("add", GROUND, GROUND + EVENT, [[1.0, 2.0]])
    assert scores(pair.source, pair, Listeners(clap=lambda *_: 1.0))["clap"] is None

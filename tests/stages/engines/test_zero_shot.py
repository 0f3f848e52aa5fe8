"""The best of the labels is given where it is good enough, by what is heard in the whole recording, whatever scorer says it."""

import json

import numpy as np
import pytest

from manifests.errors import Rejected, RequestError
from stages.engines.protocols import Described
from stages.engines.registry import load
from stages.engines.zero_shot import ZeroShot

RATE = 16_000
HEARING = '''
import re

import numpy as np

from manifests.errors import Rejected


class Pitch:
    """Similarity of a tone with "This is a sound of <pitch> Hz.": 0.9 less the distance in octaves."""

    def __init__(self, *, batch=4, room=100, name=""):
        self.batch, self.room, self.given = batch, room, []

    def score(self, recordings, rate, texts):
        assert 1 <= len(recordings) == len(texts) <= self.batch
        if len(recordings) > self.room:
            raise RuntimeError("out of memory")
        self.given += [audio.shape for audio in recordings]
        return [self._one(audio, rate, some) for audio, some in zip(recordings, texts)]

    def _one(self, audio, rate, texts):
        assert audio.any()
        pitch = np.fft.rfftfreq(audio.shape[1], 1 / rate)[np.abs(np.fft.rfft(audio.mean(axis=0))).argmax()]
        if pitch > 5_000:
            return Rejected("too high for these ears")
        wanted = [float(re.fullmatch(r"This is a sound of (\\d+) Hz\\.", text)[1]) for text in texts]
        return np.maximum(-1, 0.9 - np.abs(np.log2(pitch / np.array(wanted)))).astype(np.float32)
'''
LABELS = ["110 Hz", "220 Hz", "440 Hz", "880 Hz"]


def tone(pitch: float, seconds: float, rate: int = RATE, channels: int = 1, level: float = 0.5) -> np.ndarray:
    return np.tile(level * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate), (channels, 1)).astype(np.float32)


def after(*sounds: np.ndarray) -> np.ndarray:
    return np.concatenate(sounds, axis=1)


@pytest.fixture
def scorer(tmp_path, monkeypatch) -> dict:
    """A user's own scorer, as a configuration names it; each test has its own."""
    name = f"ours_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / name / "hearing.py").write_text(HEARING)
    monkeypatch.syspath_prepend(tmp_path)
    return {"engine": f"{name}.hearing:Pitch"}


def outcome(found) -> tuple:
    return ("rejected", str(found)) if isinstance(found, Rejected) else (found.label, found.caption, found.details)


def test_each_recording_gets_the_label_of_its_sound(scorer):
    for rate, channels, seconds in ((8_000, 1, 0.5), (16_000, 2, 2), (44_100, 1, 5.3), (48_000, 2, 0.1)):
        found = ZeroShot(scorer=scorer).label([tone(pitch, seconds, rate, channels) for pitch in (440, 100, 900)], rate, LABELS)
        assert [one.label for one in found] == ["440 Hz", "110 Hz", "880 Hz"] and {one.caption for one in found} == {""}
        assert all(isinstance(one, Described) for one in found)


def test_the_details_tell_the_best_labels_and_the_lead_and_can_be_written(scorer):
    (found,) = ZeroShot(scorer=scorer, top=3).label([tone(440, 1)], RATE, LABELS)
    details = json.loads(json.dumps(found.details))
    assert [label for label, _ in details["labels"]] == ["440 Hz", "220 Hz", "880 Hz"]
    np.testing.assert_allclose([score for _, score in details["labels"]], [0.9, -0.1, -0.1], atol=1e-6)
    assert details["margin"] == pytest.approx(1)
    (alone,) = ZeroShot(scorer=scorer, margin=0.5).label([tone(440, 1)], RATE, ["440 Hz"])
    assert alone.details == {"labels": [["440 Hz", pytest.approx(0.9)]], "margin": None}


def test_of_equal_labels_the_first_is_taken(scorer):
    for labels in (["220 Hz", "880 Hz"], ["880 Hz", "220 Hz"]):
        (found,) = ZeroShot(scorer=scorer, floor=-1).label([tone(440, 1)], RATE, labels)
        assert found.label == labels[0] and found.details["margin"] == 0


def test_a_recording_is_scored_in_windows_and_their_mean_counts(scorer):
    sound = after(tone(440, 4, channels=2), tone(880, 1, channels=2))
    (found,) = ZeroShot(scorer=scorer, floor=-1).label([sound], RATE, LABELS)
    assert load("scorer", scorer).given == [(2, 2 * RATE)] * 3
    # In the last window, from 3 s to 5 s, both are as long and as loud; to the scorer it is either.
    scores = dict(found.details["labels"])
    assert found.label == "440 Hz" and scores["440 Hz"] in (pytest.approx(0.9, abs=1e-3), pytest.approx(0.9 - 1 / 3, abs=1e-3))
    (found,) = ZeroShot(scorer=scorer, floor=-1, window=1).label([sound], RATE, LABELS)
    assert dict(found.details["labels"])["440 Hz"] == pytest.approx(0.9 - 1 / 5, abs=1e-3)
    assert load("scorer", scorer).given[3:] == [(2, RATE)] * 5


def test_the_last_window_ends_where_the_recording_ends_and_a_shorter_one_is_whole(scorer):
    engine = ZeroShot(scorer=scorer, floor=-1)
    (found,) = engine.label([after(tone(220, 2), tone(440, 0.9))], RATE, LABELS)
    assert dict(found.details["labels"])["220 Hz"] == pytest.approx(0.9, abs=1e-3)  # 1.1 s of 2 s are the lower one
    (found,) = engine.label([after(tone(220, 2), tone(440, 1.1))], RATE, LABELS)
    assert dict(found.details["labels"])["220 Hz"] == pytest.approx(0.9 - 1 / 2, abs=1e-3)
    engine.label([tone(220, 1.7)], RATE, LABELS)
    assert load("scorer", scorer).given == [(1, 2 * RATE)] * 4 + [(1, round(1.7 * RATE))]


def test_where_nothing_is_heard_does_not_count(scorer):
    engine = ZeroShot(scorer=scorer)
    (alone,) = engine.label([tone(440, 2)], RATE, LABELS)
    for beside in (np.zeros((1, 6 * RATE), np.float32), tone(110, 6, level=0.5 * 10 ** (-41 / 20)), tone(110, 6, level=1e-4)):
        (found,) = engine.label([after(tone(440, 2), beside)], RATE, LABELS)
        assert outcome(found) == outcome(alone)
    (found,) = engine.label([after(tone(440, 2), tone(110, 6, level=0.5 * 10 ** (-39 / 20)))], RATE, LABELS)
    assert found.label == "110 Hz"


@pytest.mark.parametrize("audio", [np.zeros((2, 5 * RATE), np.float32), np.zeros((1, 1), np.float32), tone(440, 3, level=1e-4)])
def test_silence_is_rejected(scorer, audio):
    (found,) = ZeroShot(scorer=scorer).label([audio], RATE, LABELS)
    assert outcome(found) == ("rejected", "it is silent: nowhere louder than -80 dBFS")


def test_a_quiet_recording_is_labelled_like_a_loud_one(scorer):
    loud, quiet = ZeroShot(scorer=scorer).label([tone(220, 3), tone(220, 3, level=1e-3)], RATE, LABELS)
    assert loud.label == quiet.label == "220 Hz" and loud.details["margin"] == pytest.approx(quiet.details["margin"], abs=1e-6)


def test_what_fits_badly_or_does_not_stand_out_is_rejected_with_its_numbers(scorer):
    between = tone(580, 1)  # 0.399 and 0.601 octaves from the nearest: at 0.501 and 0.299
    assert ZeroShot(scorer=scorer, floor=0.49, margin=0.19).label([between], RATE, LABELS)[0].label == "440 Hz"
    (found,) = ZeroShot(scorer=scorer, floor=0.51).label([between], RATE, LABELS)
    assert outcome(found) == ("rejected", "no label fits: the best, '440 Hz', has a similarity of 0.501, under the floor of 0.51")
    (found,) = ZeroShot(scorer=scorer, margin=0.21).label([between], RATE, LABELS)
    assert outcome(found) == ("rejected", "no label stands out: '440 Hz' leads '880 Hz' by 0.203, under the margin of 0.21")
    (found,) = ZeroShot(scorer=scorer).label([tone(4_000, 1)], RATE, LABELS)
    assert isinstance(found, Rejected) and "floor of 0" in str(found)


def test_what_the_scorer_rejects_is_rejected_and_nothing_else(scorer):
    found = ZeroShot(scorer=scorer).label([tone(440, 3), after(tone(220, 2), tone(6_000, 2)), tone(220, 1)], RATE, LABELS)
    assert [outcome(one)[0] for one in found] == ["440 Hz", "rejected", "220 Hz"] and str(found[1]) == "too high for these ears"


def test_an_answer_depends_on_its_recording_alone(scorer):
    engine = ZeroShot(scorer=scorer)
    sounds = [tone(440, 5), np.zeros((2, 100), np.float32), tone(900, 0.3, channels=2), tone(6_000, 1), after(tone(220, 3), tone(110, 4)), tone(3_000, 2)]
    before = [sound.copy() for sound in sounds]
    together = [outcome(one) for one in engine.label(sounds, RATE, LABELS)]
    assert together == [outcome(one) for sound in sounds for one in engine.label([sound], RATE, LABELS)]
    assert together == [outcome(one) for one in engine.label(sounds[::-1], RATE, LABELS)][::-1]
    assert {one[0] for one in together} >= {"440 Hz", "880 Hz", "rejected"} and engine.label([], RATE, LABELS) == []
    assert all(np.array_equal(one, other) for one, other in zip(sounds, before))


def test_the_scorer_is_given_no_more_than_it_takes(scorer):
    """It checks its batch itself; here it has room for fewer."""
    tight = {**scorer, "batch": 8, "room": 3}
    sounds = [tone(pitch, 5) for pitch in (110, 220, 440)]
    assert [one.label for one in ZeroShot(scorer=tight).label(sounds, RATE, LABELS)] == LABELS[:3]
    nothing = ZeroShot(scorer={**scorer, "room": 0}).label(sounds, RATE, LABELS)
    assert all("out of memory" in str(one) and isinstance(one, Rejected) for one in nothing)


def test_the_labels_of_the_file_come_before_those_of_the_run(scorer, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeff# pitches\n\n  220 Hz  \r\n880 Hz\n   # 440 Hz\n220 Hz\n".encode())
    (found,) = ZeroShot(scorer=scorer, labels=str(path), floor=-1).label([tone(440 * 1.1, 1)], RATE, ["440 Hz"])
    assert [label for label, _ in found.details["labels"]] == ["880 Hz", "220 Hz"]


def test_without_labels_all_is_rejected(scorer):
    engine = ZeroShot(scorer=scorer)
    for labels in ([], ["", "  "]):
        found = engine.label([tone(440, 1), tone(220, 1)], RATE, labels)
        assert len(found) == 2 and all(isinstance(one, Rejected) and "no label" in str(one) for one in found)
    (found,) = engine.label([tone(440, 1)], RATE, ["440 Hz", "", "440 Hz", "220 Hz"])
    assert [label for label, _ in found.details["labels"]] == ["440 Hz", "220 Hz"]


@pytest.mark.parametrize(("content", "reason"), [
    (None, "cannot be read: No such file"), ("folder", "cannot be read: Is a directory"), (b"rain\nm\xfcll\n", "is not UTF-8: byte 6"),
    (b"", "holds no label"), (b"# only\n\n  \n", "holds no label"),
])
def test_a_file_without_labels_is_named(scorer, tmp_path, content, reason):
    path = tmp_path / "labels.txt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=f"labels: {path} {reason}"):
        ZeroShot(scorer=scorer, labels=str(path))


@pytest.mark.parametrize(("option", "value"), [
    ("window", 0), ("window", -1), ("window", np.nan), ("window", np.inf), ("margin", -0.1), ("margin", 2.1), ("margin", np.nan), ("floor", -1.1),
    ("floor", 1.1), ("floor", np.nan), ("top", 0), ("batch", 0), ("scorer", {}), ("scorer", {"batch": 3}),
])
def test_options_out_of_range_are_refused_by_name(scorer, option, value):
    with pytest.raises(ValueError, match=option):
        ZeroShot(**{"scorer": scorer, option: value})


def test_a_scorer_that_is_not_there_is_named(scorer):
    with pytest.raises(RequestError, match="scorer: unknown engine 'ears'"):
        ZeroShot(scorer={"engine": "ears"})
    with pytest.raises(RequestError, match="/nowhere/weights.pt"):
        ZeroShot(scorer={"engine": "laion_clap", "checkpoint": "/nowhere/weights.pt", "device": "cpu"})


@pytest.fixture
def clap(tmp_path):
    """LAION's CLAP with random weights, as a configuration names it."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig

    from stages.engines import laion_clap

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["This is a sound of rain."] * 3, vocab_size=280, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save_model(str(tmp_path))
    config = RobertaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                           max_position_embeddings=80, type_vocab_size=1)
    config.save_pretrained(tmp_path)
    audio = json.loads((laion_clap._networks() / "model_configs" / "HTSAT-tiny.json").read_text())
    torch.save({"state_dict": laion_clap._built(audio, config, False).state_dict()}, tmp_path / "random.pt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # those that wait for each other take long where other tests run too
    yield {"engine": "laion_clap", "checkpoint": str(tmp_path / "random.pt"), "text_model": str(tmp_path), "device": "cpu"}
    torch.set_num_threads(threads)
    (tmp_path / "random.pt").unlink()


def test_with_the_scorer_by_name(clap, tmp_path):
    (tmp_path / "labels.txt").write_text("rain\na dog\na car\n")
    engine = load("labeler", {"engine": "clap", "labels": str(tmp_path / "labels.txt"), "scorer": clap, "floor": -1, "batch": 3})
    assert type(engine) is ZeroShot and engine.batch == 3
    sounds = [tone(440, 3, 44_100, 2), np.random.default_rng(0).standard_normal((1, 30_000)).astype(np.float32) / 9, np.zeros((1, 9), np.float32)]
    found = engine.label(sounds, 44_100, [])
    texts = ["This is a sound of rain.", "This is a sound of a dog.", "This is a sound of a car."]
    windows = [sounds[0][:, : 2 * 44_100], sounds[0][:, -2 * 44_100 :], sounds[1]]
    first, second, noise = load("scorer", clap).score(windows, 44_100, [texts] * 3)
    for one, scores in zip(found, ((first + second) / 2, noise)):
        expected = sorted(zip(["rain", "a dog", "a car"], scores), key=lambda pair: -pair[1])
        assert one.label == expected[0][0] and [label for label, _ in one.details["labels"]] == [label for label, _ in expected]
        np.testing.assert_allclose([score for _, score in one.details["labels"]], [score for _, score in expected], atol=2e-6)
    assert "silent" in str(found[2])

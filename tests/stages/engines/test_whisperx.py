"""A small Whisper and a small wav2vec2 of random weights, and the detector that the package carries: what WhisperX promises whatever they hear."""

import logging
import os
import re
import warnings
from pathlib import Path

import checkpoints
import numpy as np
import pytest
from checkpoints import TONGUES, make_aligner, make_whisper

from manifests.errors import Rejected, RequestError
from manifests.speech import text_of, words_of
from stages.engines import SILENCE
from stages.engines.espeak import VOICES, Espeak
from stages.engines.protocols import Speech, Transcript
from stages.engines.registry import load

RATE = 16_000
SENTENCES = checkpoints.SENTENCES[:5]
CHINESE = "今天天气很好，我们去公园吧。"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def silence():
    """Nothing is reported, whatever was imported before."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SILENCE.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("checkpoints")
    aligners = {"en": make_aligner(folder / "en", "ABCDEFGHIJKLMNOPQRSTUVWXYZ'"), "de": make_aligner(folder / "de", "abcdefghijklmnopqrstuvwxyzäöü", 2)}
    aligners["zh"] = aligners["xx"] = make_aligner(folder / "zh", "".join(sorted({*words_of(CHINESE)})), 3)
    return {"model": make_whisper(folder / "whisper"), "align": {**{tongue: aligners["en"] for tongue in TONGUES if tongue != "sw"}, **aligners}}


@pytest.fixture(scope="module")
def engine(options):
    return load("transcriber", {"engine": "whisperx", **options})


@pytest.fixture(scope="module")
def spoken() -> list[np.ndarray]:
    made = Espeak()
    return [made.speak(text, VOICES[n], RATE)[0] for n, text in enumerate(SENTENCES)]


def shown(answers: list) -> list:
    """Answers as they can be compared: confidences and times to within rounding."""
    return [(str(one),) if isinstance(one, Rejected) else
            (one.language, round(one.confidence, 4), *((word.text, round(word.start, 3), round(word.end, 3)) for word in one.words)) for one in answers]


def test_a_text_comes_back_whole_in_order_and_within_the_sound(engine, spoken):
    answers = engine.transcribe([Speech(audio, (text,), "en") for audio, text in zip(spoken, SENTENCES)], RATE)
    for audio, text, answer in zip(spoken, SENTENCES, answers, strict=True):
        assert isinstance(answer, Transcript) and answer.language == "en" and 0 <= answer.confidence <= 1
        assert [word.text for word in answer.words] == words_of(text)
        assert all(word.start < word.end for word in answer.words) and answer.words[0].start >= 0 and answer.words[-1].end <= audio.shape[1] / RATE
        assert all(before.end <= after.start for before, after in zip(answer.words, answer.words[1:]))


def test_times_are_those_of_whisperx_align(engine, options, spoken, monkeypatch):
    """Compared where the package aligns at all: with a sentence splitter in place of the one that it downloads."""
    import torch
    from whisperx import alignment

    class OneSentence:
        @staticmethod
        def span_tokenize(text):
            return [(0, len(text))]

    class Normalised(torch.nn.Module):
        """The model with what its checkpoint asks for and the package leaves out."""

        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, audio):
            return self.model((audio - audio.mean()) / torch.sqrt(audio.var(unbiased=False) + 1e-7))

    monkeypatch.setattr(alignment, "nltk_load", lambda path: OneSentence)
    aligners = {tongue: alignment.load_align_model(tongue, "cpu", options["align"][tongue]) for tongue in ("en", "zh")}
    for audio, text, tongue in [*zip(spoken, SENTENCES, ["en"] * 5), (spoken[0], CHINESE, "zh")]:
        model, known = aligners[tongue]
        segment = {"text": text_of(words_of(text)), "start": 0.0, "end": audio.shape[1] / RATE}
        theirs = alignment.align([segment], Normalised(model), known, audio[0], "cpu")["word_segments"]
        ours = engine.transcribe([Speech(audio, (text,), tongue)], RATE)[0].words
        assert [word.text for word in ours] == [word["word"] for word in theirs]
        np.testing.assert_allclose([(word.start, word.end) for word in ours], [(word["start"], word["end"]) for word in theirs], atol=0.0011)


def test_characters_without_spaces_are_placed_each_and_nothing_is_heard_between_them(engine, spoken):
    """Of "xx" nobody says that it is written without spaces, and its aligner knows what stands for one."""
    told = [Speech(spoken[0], (text,), tongue) for text, tongue in ((CHINESE, "zh"), (CHINESE, "xx"), ("你好", "zh"))]
    chinese, other, unknown = engine.transcribe(told, RATE)
    assert [word.text for word in chinese.words] == [*"今天天气很好我们去公园吧"] and chinese.language == "zh"
    assert all(before.start < before.end <= after.start for before, after in zip(chinese.words, chinese.words[1:]))
    assert other.words == chinese.words and other.confidence == chinese.confidence
    assert isinstance(unknown, Rejected) and "'你'" in str(unknown)


def test_a_word_that_the_aligner_cannot_know_is_named(engine, spoken):
    texts = ("They walked 12 miles", "They walked 4th miles", "They walked мили home", "They walked naïvely home", "…")
    digits, mixed, foreign, partly, nothing = engine.transcribe([Speech(spoken[0], (text,), "en") for text in texts], RATE)
    assert [isinstance(one, Rejected) for one in (digits, mixed, foreign, partly, nothing)] == [True, True, True, False, True]
    assert "'12'" in str(digits) and "'4th'" in str(mixed) and "'мили'" in str(foreign) and str(nothing) == "its transcript holds no words"
    assert [word.text for word in partly.words] == ["they", "walked", "naïvely", "home"]
    ours = engine.transcribe([Speech(spoken[0], ("the children's home",), tongue) for tongue in ("en", "de")], RATE)
    assert [[word.text for word in one.words] for one in ours] == [["the", "children's", "home"]] * 2  # "de" knows no apostrophe


def test_each_language_has_its_aligner_and_one_that_has_none_is_told(engine, spoken):
    english, german, unknown = engine.transcribe([Speech(spoken[0], (SENTENCES[0],), tongue) for tongue in ("en", "de", "sw")], RATE)
    assert (english.language, german.language) == ("en", "de") and english.words != german.words
    assert isinstance(unknown, Rejected) and "'sw'" in str(unknown) and "align" in str(unknown)


def test_a_language_that_whisper_does_not_know_cannot_be_heard_but_aligned(options, spoken):
    engine = load("transcriber", {"engine": "whisperx", **options, "align": {"xx": options["align"]["en"]}})
    heard = engine.hear([Speech(spoken[0], language="xx"), Speech(spoken[0], language="en")], RATE)
    assert isinstance(heard[0], Rejected) and "'xx'" in str(heard[0]) and heard[1]
    found = engine.transcribe([Speech(spoken[0], language="xx"), Speech(spoken[0], (SENTENCES[0],), "xx")], RATE)
    assert "'xx'" in str(found[0]) and found[1].language == "xx"


def test_a_batch_is_each_item_alone_in_any_order(engine, spoken):
    other = Espeak().speak(SENTENCES[0], VOICES[3], RATE)[0]
    long = np.tile(np.pad(other, ((0, 0), (0, RATE))), 8)  # more than a chunk
    items = [Speech(spoken[0]), Speech(spoken[1], (SENTENCES[1],)), Speech(spoken[2], (), "de"), Speech(np.zeros((1, RATE), np.float32)),
             Speech(spoken[3], (SENTENCES[3],), "fr"), Speech(spoken[4], ("12",), "en"), Speech(long, (), "en"), Speech(spoken[1], (), "en")]
    together = shown(engine.transcribe(items, RATE))
    assert len({len(one) > 1 for one in together}) == 2
    assert together == [shown(engine.transcribe([item], RATE))[0] for item in items]
    few = items[:6]
    assert together[5::-1] == shown(engine.transcribe(few[::-1], RATE)) and len(engine._chunks(long[0])) == 2
    heard = engine.hear(few, RATE)
    assert heard == [engine.hear([item], RATE)[0] for item in few] and heard[::-1] == engine.hear(few[::-1], RATE)
    assert len(set(heard)) >= 4  # they depend on the sound


def test_what_is_heard_is_in_the_form_of_words_of_and_has_no_digits(engine, spoken):
    from dataclasses import replace

    heard = engine.hear([Speech(audio, ("not what is said",)) for audio in spoken], RATE)
    assert heard == engine.hear([Speech(audio) for audio in spoken], RATE)
    assert all(text and text == " ".join(words_of(text)) and not re.search(r"\d", text) for text in heard)
    features, as_shipped = engine._features([audio[0] for audio in spoken]), replace(engine._options, suppress_tokens=[-1])
    assert any("7" in text for text in engine._whisper.generate_segment_batched(features, engine._tokenizer("en"), as_shipped)["text"])


def test_without_a_text_the_words_are_those_that_are_heard(engine, spoken):
    items = [Speech(audio, (), "en") for audio in spoken]
    for heard, answer in zip(engine.hear(items, RATE), engine.transcribe(items, RATE), strict=True):
        if isinstance(answer, Rejected):
            assert "fit" in str(answer)
            continue
        assert " ".join(word.text for word in answer.words) == heard and answer.language == "en"
    assert any(isinstance(answer, Transcript) for answer in engine.transcribe(items, RATE))


def test_the_language_is_told_found_or_fixed(engine, options, spoken):
    found = [one.language for one in engine.transcribe([Speech(audio, ("so it is",)) for audio in spoken], RATE) if isinstance(one, Transcript)]
    assert len(set(found)) > 1 and set(found) <= set(TONGUES)  # in this checkpoint it depends on the sound
    assert found[0] == engine.transcribe([Speech(spoken[0], ("so it is",))], RATE)[0].language
    fixed = load("transcriber", {"engine": "whisperx", **options, "language": "fr"})
    assert [one.language for one in fixed.transcribe([Speech(spoken[0], ("so it is",)), Speech(spoken[0], ("so it is",), "de")], RATE)] == ["fr", "fr"]
    assert fixed.hear([Speech(spoken[0])], RATE) == engine.hear([Speech(spoken[0], (), "fr")], RATE)


def test_speech_is_found_and_silence_and_noise_are_not(engine, spoken):
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 2 * RATE)).astype(np.float32)
    silence = np.zeros((2, 2 * RATE), np.float32)
    for text in engine.hear([Speech(noise), Speech(silence)], RATE):
        assert text == ""
    assert [str(one) for one in engine.transcribe([Speech(noise), Speech(silence)], RATE)] == ["no words are heard"] * 2
    late = np.pad(spoken[0], ((0, 0), (3 * RATE, 2 * RATE)))
    (first, last), = engine._chunks(late[0])
    assert 3 * RATE < first < 3.4 * RATE and 0.8 * spoken[0].shape[1] < last - first < spoken[0].shape[1]
    words = engine.transcribe([Speech(late, (), "en")], RATE)[0].words
    assert words[0].start >= first / RATE and words[-1].end <= last / RATE


def test_silence_with_a_text_has_finite_times(engine):
    answer, = engine.transcribe([Speech(np.zeros((1, 2 * RATE), np.float32), ("the farmer",), "en")], RATE)
    assert np.isfinite([answer.confidence, *(time for word in answer.words for time in (word.start, word.end))]).all()


@pytest.mark.parametrize(("samples", "rate"), [(1, 16_000), (1, 44_100), (1, 8_000), (800, 16_000), (2_205, 44_100), (300, 16_000)])
def test_the_shortest_audio_is_answered(engine, samples, rate):
    audio = np.random.default_rng(1).standard_normal((1, samples)).astype(np.float32)
    free, told, short = engine.transcribe([Speech(audio), Speech(audio, (SENTENCES[0],), "en"), Speech(audio, ("a",), "en")], rate)
    assert str(free) == "no words are heard" and "fit" in str(told) and engine.hear([Speech(audio)], rate) == [""]
    if isinstance(short, Transcript):
        assert 0 <= short.words[0].start < short.words[0].end <= samples / rate + 1e-6
    else:
        assert "fit" in str(short)


def test_stereo_at_another_rate_is_aligned_where_mono_is(engine):
    made, text = Espeak(), SENTENCES[0]
    here, = engine.transcribe([Speech(made.speak(text, "en-us", RATE)[0], (text,), "en")], RATE)
    audio = made.speak(text, "en-us", 44_100)[0]
    stereo = np.concatenate([1.5 * audio, 0.5 * audio])
    there, mono = engine.transcribe([Speech(stereo, (text,), "en"), Speech(audio, (text,), "en")], 44_100)
    assert [word.text for word in there.words] == [word.text for word in here.words] and there.words[-1].end <= stereo.shape[1] / 44_100
    np.testing.assert_allclose([word.start for word in there.words], [word.start for word in mono.words], atol=0.021)
    assert engine.hear([Speech(stereo, (), "en")], 44_100) == engine.hear([Speech(audio, (), "en")], 44_100) != [""]


def test_nothing_is_given_for_nothing(engine):
    assert engine.transcribe([], RATE) == [] and engine.hear([], RATE) == []


@pytest.mark.parametrize(("changes", "named"), [({"batch": 0}, "batch"), ({"batch": 1.5}, "batch"), ({"compute_type": "float8"}, "compute_type"),
                                                ({"language": "english"}, "language"), ({"language": "it"}, "language")])
def test_options_out_of_range_are_refused_by_name(options, changes, named):
    from stages.engines.whisperx import WhisperX

    with pytest.raises(ValueError, match=named):
        WhisperX(**{**options, **changes})


def test_missing_and_wrong_checkpoints_are_told(options, spoken, tmp_path):
    for changes in ({"model": "/nowhere/whisper"}, {"align": {"en": "/nowhere/aligner"}}):
        with pytest.raises(RequestError, match="/nowhere/"):
            load("transcriber", {"engine": "whisperx", **options, **changes})
    for wrong in (options["align"]["en"], str(Path(options["model"]).parent / "transformers")):
        with pytest.raises(RequestError, match="model.bin"):
            load("recognizer", {"engine": "whisperx", **options, "model": wrong})
    (tmp_path / "model.bin").write_bytes(b"nothing")
    (tmp_path / "tokenizer.json").write_text((Path(options["model"]) / "tokenizer.json").read_text())
    with pytest.raises(RuntimeError):
        load("recognizer", {"engine": "whisperx", **options, "model": str(tmp_path)})
    for wrong in (str(Path(options["model"]).parent / "transformers"), str(tmp_path)):
        with pytest.raises(RequestError, match=re.escape(wrong)):
            load("transcriber", {"engine": "whisperx", **options, "align": {"en": wrong}})


def test_an_aligner_that_was_not_trained_to_write_is_refused(options, spoken, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in Path(options["align"]["en"]).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: value for name, value in weights.items() if not name.startswith("lm_head")}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(RequestError, match="lm_head"):
        load("transcriber", {"engine": "whisperx", **options, "align": {"en": str(tmp_path)}})


def test_a_default_aligner_is_not_fetched_when_the_hub_may_not_be_asked(options, spoken, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    engine = load("transcriber", {"engine": "whisperx", **options, "align": None})
    with pytest.raises(RequestError, match=f"WAV2VEC2.* is not at {tmp_path}.*HF_HUB_OFFLINE is set"):
        engine.transcribe([Speech(spoken[0], (SENTENCES[0],), "en")], RATE)


def test_no_global_state_changes(options, spoken):
    import torch

    from stages.engines.whisperx import WhisperX

    def state():
        return (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), dict(os.environ),
                logging.getLogger().level, logging.getLogger("whisperx").level, list(warnings.filters))

    before = state()
    engine = WhisperX(**options)
    engine.transcribe([Speech(spoken[0], (SENTENCES[0],)), Speech(spoken[1])], RATE)
    assert state() == before


def test_local_checkpoints_ask_no_network_and_nothing_is_printed(options, spoken, attempts, capfd):
    """Nor would they with the hub allowed."""
    from stages.engines.whisperx import WhisperX

    engine = WhisperX(**options)
    told, free = engine.transcribe([Speech(spoken[0], (SENTENCES[0],), "en"), Speech(spoken[1], (), "en")], RATE)
    heard, silence = engine.hear([Speech(spoken[0]), Speech(0 * spoken[0])], RATE)
    assert isinstance(told, Transcript) and isinstance(free, Transcript) and heard and not silence
    assert not attempts and capfd.readouterr().out == ""
    assert [type(handler) for handler in logging.getLogger("whisperx").handlers] == [logging.NullHandler]  # else it logs to stdout

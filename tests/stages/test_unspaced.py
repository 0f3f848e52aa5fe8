"""Speech in a script that is written without spaces, from its recording to its pairs: Mandarin, spoken by espeak-ng."""

import numpy as np
import pytest
import soxr

from manifests.clip import Clip
from manifests.labels import Labels
from manifests.pair import Pair
from manifests.speech import Word, from_json, text_of, words_of
from pipeline.pairs import PairWork, render_scene
from stages.engines.espeak import _stretches, _synthesize
from stages.engines.pocketsphinx import Aligner
from stages.engines.protocols import Speech, Transcript
from stages.hear import hear
from stages.ingest import Gates, store
from stages.measure import measure
from stages.transcribe import SLACK, transcribe

RATE = 16_000
JOIN_DB = -25.0
GATES = Gates(alignment_confidence=0.0)
WEATHER, LIBRARY = "今天天气很好，我们去公园散步吧。", "明天我想去图书馆看书，你们呢？"


def speak(text: str) -> tuple[np.ndarray, list[Word]]:
    """A text of Mandarin, float32 (1, samples), and where espeak-ng says each character: its own times, to a few ms."""
    native, samples, starts = _synthesize(text, [n for n, character in enumerate(text) if words_of(character)], "cmn")
    ends, _ = _stretches(samples, starts, native)
    lead = native // 4
    words = [Word(word, (start + lead) / native, (end + lead) / native) for word, start, end in zip(words_of(text), starts, ends)]
    return soxr.resample(np.pad(samples, lead), native, RATE)[None], words


class Prompter:
    """A user's transcriber, which knows what is said in recordings of some length in samples."""

    def __init__(self, **said: list[Word]):
        self.said = said

    def transcribe(self, speech: list[Speech], rate: int) -> list[Transcript]:
        return [Transcript(self.said[f"of{one.audio.shape[1]}"], 0.9, "zh") for one in speech]


class Writer:
    """A user's recogniser, which writes what was said as people do: by the words of Chinese, or without any spaces."""

    def __init__(self, *says: str):
        self.says = list(says)

    def hear(self, speech: list[Speech], rate: int) -> list[str]:
        return [self.says.pop(0) for _ in speech]


def transcribed(text: str, **known) -> tuple[Clip, bytes]:
    audio, words = speak(text)
    clip = measure(Clip(f"{text}.wav", 0.0, audio.shape[1] / RATE, 0, "speech", "real", role="utterance", **known), audio, RATE)
    ((clip, kept),) = transcribe([(clip, audio)], RATE, Prompter(**{f"of{audio.shape[1]}": words}), "prompter", GATES)
    assert clip.reason is None
    return store(clip, kept, RATE)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Every deletion, insertion and substitution that a recording allows."""
    (weather, flac), (library, other) = transcribed(WEATHER), transcribed(LIBRARY)
    numbers = range(weather.editable)
    asked = [(f"{edit}-{n}", edit, n, donor, False) for edit, donor in
             (("speech_delete", ""), ("speech_insert", ""), ("speech_substitute", library.clip_id)) for n in numbers]
    item = {"scene_id": "00aa", "kind": "utterance", "split": "train", "clip_ids": [weather.clip_id], "pairs": asked,
            "clips": {weather.clip_id: weather, library.clip_id: library}}
    made = [Pair(name, "00aa", edit, "real", "real", "speech", "zh", "train", 0) for name, edit, *_ in asked]
    work = PairWork("", 1, RATE, 1, 30 * RATE, JOIN_DB, 0.5, 0.0, Labels.read(), 60.0, {}, ())
    render_scene(item, made, work, lambda clip: {weather.clip_id: flac, library.clip_id: other}[clip.clip_id])
    assert not [pair.reason for pair in made if pair.reason]
    return made


def test_what_is_heard_is_written_without_spaces_and_cut_between_its_characters():
    clip, _ = transcribed(WEATHER)
    words, cuts = from_json(clip.words)
    assert (clip.transcript, clip.transcribed_by, clip.language) == ("今天天气很好我们去公园散步吧", "prompter", "zh")
    assert [word.text for word in words] == [*clip.transcript] and len(cuts) == 15 and clip.editable > 10
    assert clip.chars_per_second == pytest.approx(14 / (words[-1].end - words[0].start), abs=0.01) and 2 < clip.chars_per_second < 8
    given, _ = transcribed(WEATHER, transcript=WEATHER, language="zh")
    assert given.transcript == WEATHER and given.words == clip.words


def test_texts_label_and_instructions_are_of_whole_characters_without_spaces(pairs):
    assert {len(pair.label) for pair in pairs if pair.edit == "speech_delete"} == {1, 2, 3, 4}
    for pair in pairs:
        shorter, longer = sorted([pair.source_text, pair.target_text], key=len)
        assert (pair.source_text if pair.edit == "speech_delete" else pair.target_text) == text_of(words_of(WEATHER))
        assert " " not in pair.source_text + pair.target_text + pair.label
        assert all(f"'{pair.label}'" in text for text in pair.instructions)
        if pair.edit != "speech_substitute":
            places = [n for n in range(len(longer)) if longer[:n] + longer[n + len(pair.label) :] == shorter and longer[n:].startswith(pair.label)]
            assert places
    twice = [pair for pair in pairs if pair.edit == "speech_delete" and pair.label == "天"]
    assert {pair.instruction for pair in twice} <= {"Delete the first '天' from the speech.", "Delete the second '天' from the speech."} and len(twice) == 2
    assert {"删除语音中的第1个'天'。", "删除语音中的第2个'天'。"} <= {text for pair in twice for text in pair.instructions}


def test_what_is_deleted_is_where_its_characters_are_said(pairs):
    (clip, _), (_, truly) = transcribed(WEATHER), speak(WEATHER)
    for pair in pairs:
        if pair.edit != "speech_delete":
            continue
        first = next(n for n in range(14) if pair.target_text == pair.source_text[:n] + pair.source_text[n + len(pair.label) :]
                     and pair.instruction in (f"Delete {nth}'{pair.label}' from the speech." for nth in _ordinals(pair, n)))
        said = truly[first : first + len(pair.label)]
        start, end = (at + clip.start for at in pair.params["source_span"])
        assert start <= said[0].start + SLACK + 0.02 and end >= said[-1].end - SLACK - 0.02
        assert first == 0 or start >= truly[first - 1].end - SLACK - 0.02
        assert first + len(said) == 14 or end <= truly[first + len(said)].start + SLACK + 0.02
        assert pair.source.shape[1] - pair.target.shape[1] == pytest.approx(RATE * (end - start), abs=0.03 * RATE)


def _ordinals(pair: Pair, first: int) -> list[str]:
    """How the words that begin here may be called: by their order, if there are others like them."""
    places = [n for n in range(14) if pair.source_text[n:].startswith(pair.label)]
    return [""] if len(places) == 1 else [f"the {('first', 'second')[places.index(first)]} "] if first in places else []


def test_substituted_characters_are_those_of_the_other_recording(pairs):
    for pair in pairs:
        if pair.edit == "speech_substitute":
            assert pair.label in text_of(words_of(LIBRARY)) and pair.label in pair.source_text
            assert len(pair.source_text) - len(pair.label) == 14 - len(pair.instruction.split("'")[3])


def test_character_error_rates_do_not_depend_on_how_a_recogniser_spaces(pairs):
    pair = next(pair for pair in pairs if pair.edit == "speech_delete" and len(pair.label) == 2)
    hear([pair], Writer(" ".join(pair.source_text[n : n + 2] for n in range(0, 14, 2)), pair.target_text))
    assert (pair.wer_source, pair.wer_target, pair.asr_choice) == (0.0, 0.0, "target")
    hear([pair], Writer(pair.source_text[:13] + "把", pair.source_text))
    assert (pair.wer_source, pair.wer_target, pair.asr_choice) == (pytest.approx(1 / 14), pytest.approx(2 / 12), "source")


def test_words_that_a_users_engine_parts_otherwise_stay_whole():
    audio, words = speak(WEATHER)
    whole = [Word(words[n].text + words[n + 1].text, words[n].start, words[n + 1].end) for n in range(0, 14, 2)]
    clip = measure(Clip("t.wav", 0.0, audio.shape[1] / RATE, 0, "speech", "real", role="utterance"), audio, RATE)
    ((clip, _),) = transcribe([(clip, audio)], RATE, Prompter(**{f"of{audio.shape[1]}": whole}), "prompter", GATES)
    assert clip.transcript == text_of(words_of(WEATHER)) and len(from_json(clip.words)[0]) == 7


def test_the_embedded_aligner_says_that_it_cannot():
    audio, _ = speak(WEATHER)
    clip = measure(Clip("t.wav", 0.0, audio.shape[1] / RATE, 0, "speech", "real", role="utterance", transcript=WEATHER), audio, RATE)
    ((clip, _),) = transcribe([(clip, audio)], RATE, Aligner(), "pocketsphinx", GATES)
    assert clip.reason == "'今' cannot be pronounced: the embedded aligner knows English only"

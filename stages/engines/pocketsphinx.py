"""The embedded aligner and recogniser of English: PocketSphinx, whose package carries an acoustic model.

Its free dictation is poor on most recordings; aligning a known text, and choosing between known texts, it does well.
Nothing is kept from one utterance to the next: its adaptation to the channel starts anew for each, and a word that it
does not know is pronounced by a rule of the word alone.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import soxr

from manifests.audio import to_int16
from manifests.chance import generator
from manifests.errors import Rejected
from manifests.speech import Word, words_of
from stages.engines.pronounce import arpabet
from stages.engines.protocols import Speech, Transcript

RATE = 16_000  # Hz, of the model
FRAME = 0.01  # s
PHONES = ("AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH").split()
LIKELY = -3.3  # log likelihood a frame, under the best state's: between right words and wrong ones in recordings with a transcript
HUSH = 1e-4  # RMS of the noise that is put under everything: the model knows no digital silence
SOMETHING_ELSE = 1e-37  # prior of any sounds in the place where texts differ: the least that a float32 holds well
UNKNOWN = "<unk>"  # stands for each word that is none of those that were offered


class _Decoder:
    """A PocketSphinx decoder that forgets."""

    def __init__(self, **settings):
        import pocketsphinx

        self._decoder = pocketsphinx.Decoder(bestpath=False, loglevel="FATAL", **settings)

    def add_words(self, words: list[str]) -> None:
        missing = sorted({word for word in words if self._decoder.lookup_word(word) is None})
        for word in missing:
            phones = arpabet(word)
            if not phones:
                raise Rejected(f"'{word}' cannot be pronounced: the embedded aligner knows English only")
            self._decoder.add_word(word, phones, word == missing[-1])

    def add_phones(self) -> None:
        """Let each phone be a word, so that any sounds can be heard."""
        for phone in PHONES:
            self._decoder.add_word(_as_word(phone), phone, phone == PHONES[-1])

    def align_to(self, words: list[str]) -> None:
        self._decoder.set_align_text(" ".join(words))

    def choose_by(self, grammar: str) -> None:
        self._decoder.add_jsgf_string("choice", grammar)
        self._decoder.activate_search("choice")

    def decode(self, audio: np.ndarray, rate: int) -> list[tuple[str, int, int, float]]:
        """Words with first frame, last frame and log likelihood, silences left out; nothing where no path was found."""
        mono = audio.mean(axis=0)
        mono = mono if rate == RATE else soxr.resample(mono, rate, RATE)
        samples = to_int16(mono + HUSH * generator("pocketsphinx").standard_normal(len(mono), np.float32))
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        if self._decoder.hyp() is None:
            return []
        # A search scores in a 1024th of the logarithm that its probabilities are told in.
        found = [(re.sub(r"\(\d+\)$", "", s.word), s.start_frame, s.end_frame, 1024 * np.log(s.ascore)) for s in self._decoder.seg()]
        return [segment for segment in found if segment[0][0] not in "<[+("]


class Aligner:
    """Transcriber by forced alignment, or, without a text, by dictation and then alignment of what it heard."""

    def __init__(self):
        self._aligner = _Decoder(lm=None, beam=1e-80, pbeam=1e-80, wbeam=1e-60)

    @cached_property
    def _dictation(self) -> _Decoder:
        return _Decoder()

    def transcribe(self, speech: list[Speech], rate: int) -> list[Transcript | Rejected]:
        """See `protocols.Transcriber`; utterances are taken one by one.

        The confidence is that in the least likely word: a logistic of its log likelihood a frame under that of the
        best state, one half where right words and wrong ones part. Rejected are a word that cannot be pronounced, an
        utterance in which nothing is heard, and a text that does not fit the sound.
        """
        return [_or_rejected(self._find, one.audio, rate, one.texts) for one in speech]

    def _find(self, audio: np.ndarray, rate: int, texts: tuple[str, ...]) -> Transcript:
        said = words_of(texts[0] if texts else " ".join(word for word, *_ in self._dictation.decode(audio, rate)))
        if not said:
            raise Rejected("its transcript holds no words" if texts else "no words are heard")
        self._aligner.add_words(said)
        self._aligner.align_to(said)
        found = self._aligner.decode(audio, rate)
        if [word for word, *_ in found] != said:
            raise Rejected("its transcript does not fit the sound")
        worst = min(likelihood / (last - first + 1) for _, first, last, likelihood in found)
        words = [Word(word, first * FRAME, (last + 1) * FRAME) for word, first, last, _ in found]
        return Transcript(words, float(1 / (1 + np.exp(-2 * (worst - LIKELY)))), "en")


class Chooser:
    """Recogniser that chooses between texts, or finds that something else stands where they differ."""

    def __init__(self):
        self._decoder = _Decoder(lm=None, beam=1e-90, pbeam=1e-90, wbeam=1e-80)
        self._decoder.add_phones()

    def hear(self, speech: list[Speech], rate: int) -> list[str | Rejected]:
        """See `protocols.Recognizer`; where neither text is heard, each word in the place where they differ is `UNKNOWN`.

        Utterances are taken one by one. Rejected are texts with a word that cannot be pronounced.
        """
        return [_or_rejected(self._choose, one.audio, rate, one.texts) for one in speech]

    def _choose(self, audio: np.ndarray, rate: int, texts: tuple[str, ...]) -> str:
        offered = [words_of(text) for text in texts]
        before, after = _common(offered)
        middles = [words[before : len(words) - after] for words in offered]
        first = offered[0]
        self._decoder.add_words([word for words in offered for word in words])
        self._decoder.choose_by(_grammar(first[:before], middles, first[len(first) - after :]))
        heard = [word for word, *_ in self._decoder.decode(audio, rate)]
        if heard in offered:
            return " ".join(heard)
        return " ".join([*first[:before], *[UNKNOWN] * max(map(len, middles)), *first[len(first) - after :]])


def _or_rejected(function: Callable, *args: Any) -> Any:
    """What a function gives, or the `Rejected` that it raises."""
    try:
        return function(*args)
    except Rejected as rejected:
        return rejected


def _common(texts: list[list[str]]) -> tuple[int, int]:
    """How many words all texts begin with, and how many, of the others, they end with."""
    shortest = min(map(len, texts))
    before = next((n for n in range(shortest) if len({words[n] for words in texts}) > 1), shortest)
    after = next((n for n in range(shortest - before) if len({words[-1 - n] for words in texts}) > 1), shortest - before)
    return before, after


def _grammar(before: list[str], middles: list[list[str]], after: list[str]) -> str:
    """JSGF (W3C Note, 2000) of a sentence with choices in its middle, one of them any phones."""
    choices = [f"/1.0/ {' '.join(words) or '<NULL>'}" for words in middles] + [f"/{SOMETHING_ELSE:g}/ <any>"]
    phones = " | ".join(map(_as_word, PHONES))
    return (f"#JSGF V1.0; grammar choice; <any> = ( {phones} )+ ; <middle> = {' | '.join(choices)} ; "
            f"public <sentence> = {' '.join([*before, '<middle>', *after])} ;")


def _as_word(phone: str) -> str:
    return f"phone_{phone.lower()}"

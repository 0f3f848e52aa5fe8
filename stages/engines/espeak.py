"""The embedded synthesizer of speech: espeak-ng, from the package espeakng_loader. What it says is of tier `demo`.

The library keeps its pitch flutter, its gain control and more from one utterance to the next and offers nothing to reset
them, so each utterance is spoken by a copy of it loaded for that utterance alone (4 ms); the copy, because loading the same
file twice would give the same memory.
"""

import _ctypes
import ctypes
import importlib.util
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import soxr

from manifests.chance import generator
from manifests.clip import Clip
from manifests.errors import RequestError
from manifests.speech import Word, words_of
from stages.engines.protocols import Synthesizer
from stages.scenes.sentences import sentence

SCHEME = "espeak:"
INSTALL = "pip install espeakng-loader"
VOICES = (  # accents with variants: no two alike in pitch and timbre, all understood by pocketsphinx
    *("en-us", "en-gb-x-rp+f5", "en-us+david", "en-us+grandma", "en-us+iven", "en-us+f1"),
    *("en-us+antonio", "en-gb-scotland+f3", "en-us-nyc+Hugo", "en-us+pablo", "en-gb-scotland+announcer", "en-us+adam"),
)
SECONDS_PER_WORD = 0.37  # the estimate of a window's length
PADDING = 0.1  # s of silence at least, before and after
FRAME = 0.005  # s
SILENT_DB = -34.0  # against the louder frames; some voices have an echo, which fills their pauses at -38
PAUSE = 0.06  # s of silence before a word that are no stop consonant's
STARTS, APART = "\u2060", " \u2060"  # a word joiner keeps the dictionary from taking "of the" for one word without a start of its own

SYNCHRONOUS, NEVER_EXIT, UTF8, WORD_EVENT = 2, 0x8000, 1, 1  # speak_lib.h
PARAMETERS = {1: 150, 2: 100, 3: 50, 4: 50, 7: 0}  # words a minute, volume, pitch, pitch range, gap between words


class _Event(ctypes.Structure):
    _fields_ = [
        *(("type", ctypes.c_int), ("identifier", ctypes.c_uint), ("position", ctypes.c_int), ("length", ctypes.c_int)),
        *(("milliseconds", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("name", ctypes.c_char * 8)),
    ]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def utterance(seed: int, number: int, **known) -> Clip:
    """A sentence still to be spoken: one window, from which `play` gives the clip. Its end is an estimate (s)."""
    name = f"utterance-{number:05d}"  # its number among all utterances of a run
    text = sentence(generator(seed, SCHEME, name))
    seconds = SECONDS_PER_WORD * len(words_of(text))
    of_speech = {"domain": "speech", "tier": "demo", "role": "utterance", "language": "en", "group": f"espeak/{name}", "transcript": text}
    return Clip(f"{SCHEME}{seed}/{name}", 0.0, seconds, **of_speech, **known)


def play(window: Clip, rate: int, synthesizer: Synthesizer) -> tuple[Clip, np.ndarray, list[Word]]:
    """Speak what `utterance` described.

    Returns:
        The clip with its speaker, its audio, float32 (1, samples) at `rate` Hz, and its words in seconds of it.
    """
    voice = synthesizer.voices[int(window.uri.rpartition("-")[2]) % len(synthesizer.voices)]  # in turn
    audio, words = synthesizer.speak(window.transcript, voice, rate)
    return replace(window, speaker=f"synthesizer {voice}"), audio, words


def check() -> None:
    """Raise RequestError, with what to install, if espeak-ng is not there."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise RequestError(f"espeak needs the package espeakng_loader: {INSTALL}")


class Espeak:
    """Speaks English. The same text and voice give the same bytes, whatever was spoken before.

    Raises:
        RequestError: espeakng_loader is not installed.
    """

    voices = VOICES

    def __init__(self):
        with fresh():
            pass  # it loads

    def speak(self, text: str, voice: str, rate: int) -> tuple[np.ndarray, list[Word]]:
        """Speak a text.

        Returns:
            Audio, float32 (1, samples) at `rate` Hz, with at least 0.1 s of silence before and after; and the words of
            `words_of(text)`, which end where the next begins, or where the sound stops.

        Raises:
            ValueError: the voice is none of `voices`, or the text has nothing to say.
        """
        if voice not in self.voices:
            raise ValueError(f"unknown voice '{voice}'; one of {', '.join(self.voices)}")
        words = words_of(text)
        if not words:
            raise ValueError(f"no words to speak in {text!r}")
        native, samples, starts = _synthesize(*_spoken(text), voice)
        if not samples.any():
            raise ValueError(f"espeak-ng finds nothing to say in {text!r}")
        ends, (first, last) = _stretches(samples, starts, native)
        padding = round(PADDING * native) + 1
        lead, tail = max(0, padding - int(first)), max(0, padding - (len(samples) - int(last)))
        audio = soxr.resample(np.pad(samples, (lead, tail)), native, rate)
        return audio[None], [Word(word, float(lead + start) / native, float(lead + end) / native) for word, start, end in zip(words, starts, ends)]


@contextmanager
def fresh() -> Iterator[tuple[ctypes.CDLL, int]]:
    """espeak-ng with memory of its own, initialised, and its sampling rate (Hz); it opens no sound device.

    Raises:
        RequestError: espeakng_loader is not installed, or lacks its data.
    """
    check()
    import espeakng_loader

    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
    native = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), NEVER_EXIT)
    if native <= 0:
        raise RequestError(f"espeak-ng cannot read its data in {espeakng_loader.get_data_path()}: {INSTALL}")
    try:
        yield library, native
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _spoken(text: str) -> tuple[str, list[int]]:
    """What is given to espeak-ng for a text: its words apart, with the marks at which speech pauses; and where each word begins."""
    spoken, begins = "", []
    for token in unicodedata.normalize("NFKC", text).split():
        for word in words_of(token):
            spoken += APART if spoken else STARTS
            begins.append(len(spoken))
            spoken += word
        mark = next((mark for mark in reversed(token) if mark in ",.;:?!—–"), "")
        if mark and spoken and spoken[-1].isalnum() and not words_of(token[token.rindex(mark) :]):
            spoken += mark.translate({ord("—"): ",", ord("–"): ","})
    return spoken, begins


def _synthesize(spoken: str, begins: list[int], voice: str) -> tuple[int, np.ndarray, np.ndarray]:
    """Sampling rate (Hz), audio (samples,) float32, and the sample at which each word starts (words,)."""
    blocks, events = [], []

    @CALLBACK
    def collect(samples, count, event):
        if samples and count:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while event[index].type:
            if event[index].type == WORD_EVENT:
                events.append((event[index].position - 1, event[index].sample))
            index += 1
        return 0

    with fresh() as (library, native):
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        library.espeak_SetSynthCallback(collect)
        library.espeak_SetVoiceByName(voice.encode())
        for parameter, value in PARAMETERS.items():
            library.espeak_SetParameter(parameter, value, 0)
        encoded = spoken.encode()
        library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, UTF8, None, None)
    samples = np.concatenate([np.zeros(0, np.int16), *blocks]).astype(np.float32) / 32768
    said = {len(begins): len(samples)}
    for position, sample in events:
        said.setdefault(max(0, int(np.searchsorted(begins, position, side="right")) - 1), sample)
    return native, samples, np.interp(range(len(begins)), sorted(said), [said[word] for word in sorted(said)])


def _stretches(samples: np.ndarray, starts: np.ndarray, rate: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Where words that start at these samples end, and where the speech as a whole begins and ends, all in samples."""
    frame = round(FRAME * rate)
    power = np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)).mean(axis=1)
    heard = np.flatnonzero(power > np.percentile(power, 95) * 10 ** (SILENT_DB / 10))
    ends = np.append(starts[1:], len(samples))
    for word, end in enumerate(ends):
        before = heard[: np.searchsorted(heard, end // frame)]
        silent_from = (before[-1] + 1) * frame if len(before) else end
        if word == len(ends) - 1 or end - silent_from > PAUSE * rate:
            ends[word] = max(silent_from, starts[word])
    return ends, (min(heard[0] * frame, starts[0]), (heard[-1] + 1) * frame)

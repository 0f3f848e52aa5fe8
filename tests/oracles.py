"""Engines that know what the made recordings hold, as a user would bring his own: what they say is right by construction."""

import os
import signal

import numpy as np

from manifests.errors import Rejected
from stages.engines.protocols import Described, Turn

STEP = 1.4  # from the pitch of one label of `recordings.make_sounds` to that of the next


def pitch(audio: np.ndarray, rate: int) -> float:
    """The strongest frequency (Hz) of float32 (channels, samples)."""
    spectrum = np.abs(np.fft.rfft(audio.mean(axis=0)))
    spectrum[: int(60 / rate * 2 * len(spectrum))] = 0
    return float(np.argmax(spectrum)) * rate / audio.shape[1]


def label_of(audio: np.ndarray, rate: int) -> str:
    return f"sound {int(np.log(pitch(audio, rate) / 195) / np.log(STEP))}"


class Scorer:
    """Similar to a text is what holds the tone that the text names: the share of energy in that label's band, or none where it says "noise"."""

    batch = 4

    def score(self, recordings, rate, texts):
        assert len(recordings) <= self.batch
        return [np.array([self._like(audio, rate, text) for text in said], np.float32) for audio, said in zip(recordings, texts)]

    def _like(self, audio, rate, text):
        power = np.square(np.abs(np.fft.rfft(audio.mean(axis=0))))  # (bins,)
        pitches = np.fft.rfftfreq(audio.shape[1], 1 / rate)
        named = [int(word.strip(".,")) for before, word in zip(text.split(), text.split()[1:]) if before == "sound" and word.strip(".,").isdecimal()]
        low = [190 * STEP**label for label in named]
        if "bass" in text or "cymbals" in text:
            return float(power[(pitches < 1000) == ("bass" in text)].sum() / max(power.sum(), 1e-20)) if "and" not in text else 0.5
        inside = sum((pitches >= at) & (pitches < at * 1.28) for at in low) if low else np.zeros(len(pitches))
        return float((power * inside).sum() / max(power.sum(), 1e-20))


class Labeler:
    """Names a sound by its pitch."""

    batch = 3

    def label(self, recordings, rate, labels):
        return [self._told(audio, rate, labels) for audio in recordings]

    def _told(self, audio, rate, labels):
        return Described(label_of(audio, rate), "a tone", {"among": len(labels)}) if pitch(audio, rate) > 190 else Rejected("a murmur")


class Diarizer:
    """Tells two speakers apart, who hum at 150 and 330 Hz."""

    batch = 2

    def diarize(self, recordings, rate):
        return [self._turns(audio.mean(axis=0), rate) for audio in recordings]

    def _turns(self, audio, rate):
        size, turns = rate // 20, []
        for n in range(len(audio) // size):
            frame = audio[n * size : (n + 1) * size]
            spectrum = np.abs(np.fft.rfft(frame * np.hanning(size), rate))
            for name, hum in (("b", 150), ("a", 330)):
                if spectrum[hum - 15 : hum + 15].max() > 0.02 * size:
                    if turns and turns[-1].speaker == name and turns[-1].end >= n * size / rate - 1e-9:
                        turns[-1] = Turn(name, turns[-1].start, (n + 1) * size / rate)
                    else:
                        turns.append(Turn(name, n * size / rate, (n + 1) * size / rate))
        return turns


class Separator:
    """Gives what lies under 1 kHz as bass and the rest as cymbals, and leaves a known share of each in the other."""

    tier, batch = "real", 4

    def __init__(self, *, leak_db: float = -120.0):
        self.share = 10 ** (leak_db / 20)

    def separate(self, recordings, rate):
        return [self._apart(audio, rate) for audio in recordings]

    def _apart(self, audio, rate):
        spectrum = np.fft.rfft(audio)
        low = np.fft.irfft(spectrum * (np.fft.rfftfreq(audio.shape[1], 1 / rate) < 1000), audio.shape[1]).astype(np.float32)
        leaked = np.float32(self.share)
        return {"bass": low * (1 - leaked) + (audio - low) * leaked, "cymbals": (audio - low) * (1 - leaked) + low * leaked}


class NaN(Scorer):
    """Finds nothing to compare."""

    def _like(self, audio, rate, text):
        return float("nan")


class Short(Scorer):
    """Leaves a similarity out."""

    def score(self, recordings, rate, texts):
        return [values[1:] for values in super().score(recordings, rate, texts)]


class Killer(Scorer):
    """Takes its process down where it is given a sound of label 2 whose file says so, as native code may."""

    batch = 1

    def score(self, recordings, rate, texts):
        if any("sound 2" in text for said in texts for text in said):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(recordings, rate, texts)


class Forgetful(Scorer):
    """Has memory for two recordings, and for none that is silent."""

    batch = 8

    def score(self, recordings, rate, texts):
        if len(recordings) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().score(recordings, rate, texts)

"""Transcribe: find the words of utterances, and the places between them where they may be cut."""

import contextlib
from dataclasses import replace

import numpy as np

from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.speech import PAUSE, Cut, Word, from_json, stretches, text_of, to_json, words_of
from stages.batches import Watch, in_batches
from stages.engines.protocols import Speech, Transcriber, Transcript
from stages.ingest import Gates
from stages.measure import measure

FRAME = 0.005  # s, of the level that cuts are read from; a cut's level is that of two
SLACK = 0.03  # s that an aligned boundary may be off: a cut lies no further inside a word
QUIET = 25.0  # dB under the speech: what is quieter at a word's edge is no longer the word
MARGIN = 0.3  # s kept before the first word and after the last
EDGE = 0.02  # s at both ends where nothing is cut, so that a cross-fade fits
FASTEST = 40.0  # characters a second; nobody speaks so fast, in any script


def transcribe(utterances: list[tuple[Clip, np.ndarray]], rate: int, transcriber: Transcriber | None, engine: str, gates: Gates,
               watch: Watch = contextlib.nullcontext) -> list[tuple[Clip, np.ndarray]]:
    """Align the transcripts of utterances, or hear what is said where there is none, and trim them to their words.

    Args:
        utterances: clips, measured, of role utterance, and their audio, float32 (channels, samples). Those of a synthesizer have
            their words already; none of them is given to the transcriber, which may be None where there are no others.
        engine: the transcriber's name, for the clips' rows.
        watch: what stands around a call of the transcriber.

    Returns:
        The clips with words, cuts, alignment confidence, characters a second and the language if it was told, or with a reason;
        and their audio.
    """
    refused = [None if clip.words else _fault(clip, audio.shape[1] / rate) for clip, audio in utterances]
    unknown = [n for n, (clip, _) in enumerate(utterances) if not clip.words and refused[n] is None]

    def find(some: list[int]) -> list[Transcript | Rejected]:
        spoken = [Speech(audio, (clip.transcript,) if clip.transcript.strip() else (), clip.language) for clip, audio in (utterances[n] for n in some)]
        return transcriber.transcribe(spoken, rate)

    found = dict(zip(unknown, in_batches(transcriber, unknown, find, watch)))
    answers = []
    for n, (clip, audio) in enumerate(utterances):
        told = refused[n] or (Transcript(from_json(clip.words)[0]) if clip.words else _checked(found[n], audio.shape[1] / rate))
        answers.append((replace(clip, reason=str(told)), audio) if isinstance(told, Rejected) else _trimmed(clip, audio, rate, told, engine, gates))
    return answers


def _trimmed(clip: Clip, audio: np.ndarray, rate: int, transcript: Transcript, engine: str, gates: Gates) -> tuple[Clip, np.ndarray]:
    """An utterance from its first word to its last, with what is known of it."""
    power, frame = _power(audio, rate)
    speech = float(power[power > power.max() * 1e-3].mean())
    words, confidence = _without_silence(transcript.words, power / speech, frame), transcript.confidence
    first = max(0, round((words[0].start - MARGIN) * rate))
    last = min(audio.shape[1], round((words[-1].end + MARGIN) * rate))
    audio, lead = audio[:, first:last], first / rate
    words = [Word(word.text, max(0.0, word.start - lead), word.end - lead) for word in words]
    power, frame = _power(audio, rate)
    cuts = _cuts(words, 10 * np.log10(np.maximum(power / speech, 1e-12)), frame, audio.shape[1] / rate)
    text = text_of([word.text for word in words])
    clip = replace(
        measure(clip, audio, rate), start=clip.start + lead, end=clip.start + last / rate,
        words=to_json(words, cuts), transcript=clip.transcript.strip() or text, transcribed_by="" if clip.transcript.strip() else engine,
        language=clip.language or transcript.language,
        alignment_confidence=confidence, chars_per_second=len(text.replace(" ", "")) / (words[-1].end - words[0].start),
        editable=len(stretches(words, cuts, gates.join_db)),
    )
    if confidence is not None and confidence < gates.alignment_confidence:
        return replace(clip, reason=f"its words are not where the sound is: confidence {confidence:.2f} (at least {gates.alignment_confidence:g})"), audio
    return clip, audio


def _fault(clip: Clip, seconds: float) -> Rejected | None:
    """Why a transcript need not be looked for in its recording."""
    said = words_of(clip.transcript)
    if clip.transcript.strip() and not said:
        return Rejected("its transcript holds no words")
    if sum(map(len, said)) > FASTEST * seconds:
        return Rejected(f"its transcript of {len(said)} words cannot be said in {seconds:.1f} s")
    return None


def _checked(found: Transcript | Rejected, seconds: float) -> Transcript | Rejected:
    if isinstance(found, Rejected):
        return found
    if not found.words:
        return Rejected("no words are heard")
    times = np.array([(word.start, word.end) for word in found.words])
    ordered = (times[:, 0] < times[:, 1]).all() and (np.diff(times[:, 0]) >= 0).all()  # NaN is not
    if not (ordered and 0 <= times[0, 0] and times[-1, 1] <= seconds + 0.1):
        return Rejected("the transcriber tells no times for its words that could be")
    sure = found.confidence is not None and np.isfinite(found.confidence)
    words = [Word(word.text, float(word.start), float(word.end)) for word in found.words]
    return replace(found, words=words, confidence=float(found.confidence) if sure else None)


def _power(audio: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
    """Mean power of frames of about 5 ms, (frames,), and how long a frame is, s."""
    size = max(1, round(FRAME * rate))
    frames = max(1, audio.shape[1] // size)
    return np.square(audio[:, : frames * size], dtype=np.float64).reshape(audio.shape[0], frames, -1).mean(axis=(0, 2)), size / rate


def _without_silence(words: list[Word], power: np.ndarray, frame: float) -> list[Word]:
    """Words without the silence that an aligner counts to them; a word that is all quiet stays as it is."""
    loud = power > 10 ** (-QUIET / 10)
    found = []
    for word in words:
        start = round(word.start / frame)
        inside = np.flatnonzero(loud[start : round(word.end / frame)])
        if len(inside):
            word = Word(word.text, (start + int(inside[0])) * frame, (start + int(inside[-1]) + 1) * frame)
        found.append(word)
    return found


def _cuts(words: list[Word], levels: np.ndarray, frame: float, seconds: float) -> list[Cut]:
    """The best place to cut before each word and after the last: the middle of a pause, else the quietest point near the boundary.

    Args:
        levels: (frames,) of `frame` seconds, dB under the speech.
    """
    edges = [(EDGE, words[0].start), *((a.end, b.start) for a, b in zip(words, words[1:])), (words[-1].end, seconds - EDGE)]
    pairs = 10 * np.log10((10 ** (levels[:-1] / 10) + 10 ** (levels[1:] / 10)) / 2) if len(levels) > 1 else levels
    found = []
    for n, (end, start) in enumerate(edges):
        low = max(EDGE, end - (SLACK if n else 0.0))
        high = min(seconds - EDGE, start + (SLACK if n < len(words) else 0.0))
        first, last = int(np.ceil(low / frame)), int(high / frame) - 1
        if last < first:
            found.append(Cut(min(max(EDGE, (low + high) / 2), seconds - EDGE), 0.0))
            continue
        inside = pairs[first : last + 1]
        near = np.flatnonzero(inside <= max(inside.min() + 1.5, -60.0)) if start - end >= PAUSE else [int(np.argmin(inside))]
        middle = ((end + start) / 2) / frame - 1 - first
        best = min(near, key=lambda at: abs(at - middle))
        found.append(Cut((first + int(best) + 1) * frame, float(inside[best])))
    return found

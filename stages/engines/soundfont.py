"""The embedded synthesizer: a General MIDI soundfont played by TinySoundFont, without effects.

The soundfont is TimGM6mb, which pretty_midi's package carries, or one of the user's. What they play is of tier `demo`.
"""

import importlib.util
import os
from dataclasses import replace
from functools import lru_cache

import numpy as np

from manifests.chance import generator
from manifests.clip import Clip
from manifests.errors import Rejected, RequestError
from stages.engines import sf2
from stages.scenes import compose, general_midi
from stages.scenes.compose import Note

SCHEME = "soundfont:"
FONT = "?font="  # in a uri, before the path of a font of the user's
DRUMS = 128  # bank of the drum kits
INSTALL = "pip install --no-deps tinysoundfont==0.3.7"  # it names pyaudio, which only playing aloud needs
GAIN_DB = -6.0  # leaves headroom for a whole piece
LEAD = {122: 2.5, 125: 4.0, 126: 1.0}  # s until a held effect is steady: seashore, helicopter, applause
PADS = (88, 89, 91, 94, 95, 96, 97, 101, 102, 103)  # steady while held, from 2 s on
SHOTS = {123: (42, 48), 124: (48, 52), 127: (58, 70), 119: (56, 62)}  # pitches: bird tweet, telephone ring, gunshot, reverse cymbal
HELD = (48, 73)  # pitches of a held effect or pad
PHRASES = 80  # programs from 0 on that play phrases: all before the synthesizer leads
RINGING = (49, 51, 52, 58, 81)  # percussion that rings for over a second
SECOND_TIMBRES = 2  # tracks of a piece that are also played by another program, for transfer


def piece(seed: int, number: int, seconds: float, font: str = "", **known) -> Clip:
    """A piece of music still to be played, by the bundled font or by one at a path: one window, from which `play` gives one clip a track."""
    name = f"piece-{number:05d}"  # its number among all pieces of a run
    return Clip(_uri(seed, name, font), 0.0, seconds, domain="music", tier="demo", role="track", group=f"soundfont/{name}", piece=name, **known)


def sound(seed: int, number: int, seconds: float, font: str = "", **known) -> Clip:
    """A single sound still to be played; every fourth is a background, at least `seconds` long."""
    name = f"sound-{number:05d}"
    role = "background" if number % 4 == 0 else "event"
    return Clip(_uri(seed, name, font), 0.0, seconds, domain="sound", tier="demo", role=role, group=f"soundfont/{name}", **known)


def _uri(seed: int, name: str, font: str) -> str:
    return f"{SCHEME}{seed}/{name}{FONT}{font}" if font else f"{SCHEME}{seed}/{name}"


def play(window: Clip, rate: int, channels: int) -> list[tuple[Clip, np.ndarray]]:
    """Play what `piece` or `sound` described.

    Returns:
        Clips and their audio, float32 (channels, samples), at the levels they are to be mixed at.

    Raises:
        Rejected: a font of the user's cannot be read here.
    """
    made, _, font = window.uri.removeprefix(SCHEME).partition(FONT)
    seed, _, name = made.partition("/")
    has = _pitches(font) if font else None
    chance = generator(seed, SCHEME, name)
    if not window.piece:
        label, played = _sound(chance, window, has)
        return [(replace(window, label=label), render(*played, window.end, rate, channels, font))]
    tracks = compose.compose(chance, window.end)
    found = [(_track(window, t, 0), render(t.program, t.drums, 0.0, t.notes, window.end, rate, channels, font)) for t in tracks]
    can = [t for t in tracks if not t.drums and compose.alternatives_for(t, tracks)]
    for index in sorted(chance.permutation(len(can))[:SECOND_TIMBRES]):
        other = replace(can[index], program=int(chance.choice(compose.alternatives_for(can[index], tracks))))
        found.append((_track(window, other, 1), render(other.program, False, 0.0, other.notes, window.end, rate, channels, font)))
    return found


def _track(window: Clip, track: compose.Track, variant: int) -> Clip:
    return replace(window, label=track.label, part=track.part, variant=variant)


def _sound(chance: np.random.Generator, window: Clip, has: sf2.Pitches | None) -> tuple[str, tuple[int, bool, float, tuple[Note, ...]]]:
    """Label and notes of a single sound, as (program, drums, lead in s, notes); `has` is what a font of the user's can play."""
    velocity = int(chance.integers(80, 115))
    if window.role == "background":
        program = int(chance.choice([*LEAD] * 3 + [*PADS]))
        lead = LEAD.get(program, 2.0)
        return general_midi.name(program), (program, False, lead, (Note(0.0, window.end + lead, int(chance.integers(*HELD)), velocity),))
    kind = chance.choice(["percussion", "shot", "phrase"], p=[0.45, 0.15, 0.4])
    if kind == "percussion":
        pitch = int(chance.choice(percussion(has) if has else [*general_midi.PERCUSSION]))
        strokes = int(chance.integers(1, 3) if pitch in RINGING else chance.integers(5, 10))
        return general_midi.PERCUSSION[pitch], (0, True, 0.0, _strokes(chance, strokes, 0.15, 0.4, pitch, velocity))
    if kind == "shot":
        program = int(chance.choice([*SHOTS]))
        pitch = int(chance.integers(*SHOTS[program]))
        strokes = int(chance.integers(2, 5)) if program in (123, 124) else 1
        return general_midi.name(program), (program, False, 0.0, _strokes(chance, strokes, 0.7, 1.1, pitch, velocity))
    program = int(chance.integers(0, PHRASES))
    low, high = phrase_range(has, program) if has else general_midi.playable_range(program)
    steps = chance.choice([-4, -2, 2, 3, 5], int(chance.integers(2, 6)))
    pitches = np.clip(int(chance.integers(low, high + 1)) + np.cumsum(steps), low, high)
    beat = float(chance.uniform(0.25, 0.5))
    return general_midi.name(program), (program, False, 0.0, tuple(Note(n * beat, beat, int(p), velocity) for n, p in enumerate(pitches)))


def _strokes(chance: np.random.Generator, count: int, shortest: float, longest: float, pitch: int, velocity: int) -> tuple[Note, ...]:
    gaps = chance.uniform(shortest, longest, count)
    return tuple(Note(float(t), float(gap), pitch, velocity) for t, gap in zip(np.cumsum(gaps) - gaps, gaps))


def percussion(pitches: sf2.Pitches) -> list[int]:
    """The percussion that single sounds play by a font of these pitches (see `sf2.pitches`)."""
    return [pitch for pitch in general_midi.PERCUSSION if pitch in pitches.get((DRUMS, 0), ())]


def phrase_range(pitches: sf2.Pitches, program: int) -> tuple[int, int] | None:
    """The lowest and highest pitch of a single sound's phrase by a font of these pitches; None where it has none of the instrument's."""
    return sf2.longest_run(pitches.get((0, program), frozenset()), *general_midi.playable_range(program))


@lru_cache
def _pitches(font: str) -> sf2.Pitches:
    try:
        return sf2.pitches(font)
    except (OSError, ValueError) as error:
        raise Rejected(f"its soundfont {font} cannot be read: {getattr(error, 'strerror', None) or error}") from None


@lru_cache
def bundled() -> str:
    """The path of the bundled font."""
    return os.path.join(os.path.dirname(importlib.util.find_spec("pretty_midi").origin), "TimGM6mb.sf2")


def check() -> None:
    """Raise RequestError, with what to install, if the synthesizer is not there."""
    if importlib.util.find_spec("tinysoundfont") is None or importlib.util.find_spec("pretty_midi") is None:
        raise RequestError(f"sources of kind soundfont need tinysoundfont: {INSTALL}")


def render(
    program: int, drums: bool, lead: float, notes: tuple[Note, ...], seconds: float, rate: int, channels: int, font: str = ""
) -> np.ndarray:
    """Play notes by one program of the bundled font, or of one at a path, and leave out the first `lead` seconds.

    A new synthesizer each time, so that nothing depends on what was played before.

    Returns:
        float32 (channels, samples) of exactly `seconds`.
    """
    import tinysoundfont

    synthesizer = tinysoundfont.Synth(gain=GAIN_DB, samplerate=rate)
    synthesizer.program_select(0, synthesizer.sfload(font or bundled()), DRUMS if drums else 0, program)
    events = sorted([(round(n.start * rate), 1, n.pitch, n.velocity) for n in notes] + [(round((n.start + n.duration) * rate), 0, n.pitch, 0) for n in notes])
    end = round(lead * rate) + round(seconds * rate)
    pieces, at = [], 0
    for when, on, pitch, velocity in [*events, (end, 0, 0, 0)]:
        if min(when, end) > at:
            pieces.append(np.frombuffer(synthesizer.generate(min(when, end) - at), np.float32).reshape(-1, 2).copy())
            at = min(when, end)
        if on:
            synthesizer.noteon(0, pitch, velocity)
        else:
            synthesizer.noteoff(0, pitch)
    audio = np.concatenate(pieces)[round(lead * rate) :].T
    return np.ascontiguousarray(audio if channels == 2 else audio.mean(axis=0, keepdims=True))

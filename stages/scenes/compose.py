"""Compose: a short piece of music as notes, for a handful of General MIDI instruments and usually a drum kit.

The piece has a key, a tempo and a chord per bar. Its melody says a motif of one bar, says it again on the next chord,
answers it and comes to rest, phrase after phrase; bass, harmony and drums accompany. One generator decides everything.
"""

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from stages.scenes import general_midi

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "dorian": (0, 2, 3, 5, 7, 9, 10),
          "mixolydian": (0, 2, 4, 5, 7, 9, 10)}
PROGRESSIONS = {  # scale degrees from 0, one a bar; none diminished
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 1, 4), (0, 2, 3, 4), (3, 0, 4, 5)),
    "minor": ((0, 5, 2, 6), (0, 6, 5, 4), (0, 3, 6, 2), (0, 5, 3, 4), (5, 6, 0, 2)),
    "dorian": ((0, 3, 0, 3), (0, 6, 3, 0), (0, 2, 3, 6), (0, 1, 3, 0)),
    "mixolydian": ((0, 6, 3, 0), (0, 3, 6, 3), (0, 4, 6, 3))}
RHYTHMS = {  # of a motif: beats of each note; a bar's strong beats always begin a note
    4: ((1, 1, 1, 1), (1.5, 0.5, 1, 1), (0.5, 0.5, 1, 1, 1), (1, 0.5, 0.5, 1.5, 0.5), (1, 1, 0.5, 0.5, 1), (0.5, 0.5, 0.5, 0.5, 1, 1)),
    3: ((1, 1, 1), (1.5, 0.5, 1), (2, 1), (1, 1, 0.5, 0.5), (0.5, 0.5, 1, 1))}
POOLS = {  # programs that suit a part
    "bass": (32, 33, 34, 35, 36, 38, 39, 58),
    "harmony": (0, 2, 4, 5, 7, 16, 18, 20, 21, 24, 25, 27, 62),
    "melody": (0, 4, 11, 22, 24, 26, 40, 56, 59, 64, 66, 68, 71, 73, 75, 79, 80, 83, 104, 110),
    "arpeggio": (4, 5, 6, 10, 11, 12, 15, 24, 25, 45, 46, 105, 107, 108),
    "counter": (19, 20, 42, 57, 61, 66, 67, 69, 70, 71, 82)}
REGISTERS = {"bass": (28, 48), "harmony": (52, 70), "melody": (62, 84), "arpeggio": (55, 81), "counter": (48, 69)}
VELOCITY = {"bass": 92, "harmony": 84, "melody": 104, "arpeggio": 84, "counter": 84, "drums": 92}
DRUM_RING = {36: 0.4, 37: 0.3, 38: 0.4, 39: 0.4, 42: 0.5, 43: 0.6, 45: 0.6, 46: 0.6, 47: 0.6, 49: 2.0, 50: 0.6, 51: 1.0}  # s; all that a kit plays


@dataclass(frozen=True)
class Note:
    """A note: `start` and `duration` in s, MIDI `pitch`, `velocity` 1..127 (amplitude about as velocity / 127)."""

    start: float
    duration: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Track:
    """One instrument's notes in order of start; `part` is its role. On drums, pitches choose the drum."""

    program: int
    drums: bool
    part: str
    notes: tuple[Note, ...]

    @property
    def label(self) -> str:
        """What a person would call the instrument."""
        return general_midi.DRUMS if self.drums else general_midi.name(self.program)


@dataclass(frozen=True)
class Plan:
    """What tracks share: scale and chords as pitch classes, `beats` a bar, `beat` in s, the share of a beat's first half."""

    scale: tuple[int, ...]
    chords: tuple[tuple[int, ...], ...]
    beats: int
    beat: float
    swing: float

    def time(self, position: float) -> float:
        """When `position` (beats from the start) sounds, in s."""
        whole, part = divmod(position, 1)
        swung = part * 2 * self.swing if part < 0.5 else self.swing + (part - 0.5) * 2 * (1 - self.swing)
        return (whole + swung) * self.beat


@dataclass
class Line:
    """A part being written: notes as (position, beats, pitch, accent), the first two in beats, within `low`..`high`."""

    low: int
    high: int
    notes: list[tuple[float, float, int, int]] = field(default_factory=list)

    def nearest(self, classes: tuple[int, ...], pitch: float) -> int:
        """The pitch in range, of one of the pitch `classes`, that is nearest to `pitch`."""
        return min((p for p in range(self.low, self.high + 1) if p % 12 in classes), key=lambda p: (abs(p - pitch), p))


def compose(rng: np.random.Generator, seconds: float) -> tuple[Track, ...]:
    """Compose a piece: three to five instruments of different timbre and, nine times in ten, a drum kit.

    Every track sounds during at least 70 % of any 10 s of the piece (a drum counts until the next stroke), no note
    goes past the end or leaves its instrument's range, no pitch overlaps itself within a track, and every instrument
    has an alternative that is not in the piece (`alternatives_for`).

    Args:
        rng: one state gives one piece.
        seconds: length of the piece, at least 4.

    Raises:
        ValueError: the piece would be shorter than 4 s.
    """
    if not seconds >= 4:
        raise ValueError(f"a piece needs at least 4 s, got {seconds}")
    plan = draw_plan(rng, seconds)
    more = rng.permutation(["arpeggio", "counter"])[: int(rng.choice(3, p=[0.3, 0.45, 0.25]))]
    tracks = []
    for part, (program, low, high) in cast(rng, ["bass", "harmony", "melody", *map(str, more)]).items():
        line = Line(low, high)
        WRITERS[part](rng, plan, line)
        tracks.append(Track(program, False, part, perform(rng, plan, line, VELOCITY[part], seconds)))
    if rng.random() < 0.9:
        tracks.append(Track(0, True, "drums", perform(rng, plan, write_drums(rng, plan), VELOCITY["drums"], seconds)))
    return tuple(tracks)


def alternatives_for(track: Track, piece: tuple[Track, ...]) -> tuple[int, ...]:
    """Programs not in the piece that could play an instrument's track: every one of its notes is in their range."""
    present = {other.program for other in piece if not other.drums}
    pitches = [note.pitch for note in track.notes]
    return tuple(
        program for program in general_midi.alternatives(track.program)
        if program not in present
        and general_midi.playable_range(program)[0] <= min(pitches)
        and max(pitches) <= general_midi.playable_range(program)[1])


def draw_plan(rng: np.random.Generator, seconds: float) -> Plan:
    """Key, chords, metre and tempo; the tempo is bent so that whole bars fill the piece, which closes on the tonic."""
    mode = str(rng.choice(list(SCALES), p=[0.4, 0.35, 0.15, 0.1]))
    tonic = int(rng.integers(12))
    scale = tuple((tonic + step) % 12 for step in SCALES[mode])
    beats = int(rng.choice([4, 3], p=[0.85, 0.15]))
    bars = max(1, round(seconds / (beats * 60 / rng.uniform(76, 132))))
    first, second = rng.choice(len(PROGRESSIONS[mode]), 2, replace=False)
    degrees = [PROGRESSIONS[mode][second if bar // 4 % 4 == 2 else first][bar % 4] for bar in range(bars)]
    degrees[-1] = 0
    size = int(rng.choice([3, 4], p=[0.7, 0.3]))  # triads or seventh chords
    chords = tuple(tuple(scale[(degree + 2 * third) % 7] for third in range(size)) for degree in degrees)
    return Plan(scale, chords, beats, seconds / (bars * beats), float(rng.choice([0.5, 0.58, 2 / 3], p=[0.7, 0.1, 0.2])))


def cast(rng: np.random.Generator, parts: list[str]) -> dict[str, list[int]]:
    """For each part a program, no two of one timbre, and the range that it shares with an alternative kept out of the piece."""
    chosen, present, reserved = {}, set(), set()
    for part in parts:
        options = []
        for program in POOLS[part]:
            for other in general_midi.alternatives(program):
                ranges = REGISTERS[part], general_midi.playable_range(program), general_midi.playable_range(other)
                low, high = max(bottom for bottom, _ in ranges), min(top for _, top in ranges)
                timbres = general_midi.timbre(program), general_midi.timbre(other)
                if high - low >= 15 and not present & set(timbres) and timbres[0] not in reserved:
                    options.append((program, low, high, *timbres))
        program = int(rng.choice(sorted({option[0] for option in options})))
        options = [option for option in options if option[0] == program]
        *chosen[part], mine, other = options[int(rng.integers(len(options)))]
        present.add(mine)
        reserved.add(other)
    return chosen


def write_melody(rng: np.random.Generator, plan: Plan, line: Line) -> None:
    """A motif, its repeat, an answer and a close, every four bars; chord tones on strong beats, steps between them."""
    motifs = [_motif(rng, plan.beats) for _ in range(3)]
    pitch = line.nearest(plan.chords[0], (line.low + line.high) / 2)
    for bar, chord in enumerate(plan.chords):
        last = bar == len(plan.chords) - 1
        verse = motifs[2 if bar // 4 % 4 == 2 else 0]
        rhythm, moves = motifs[1] if bar % 4 == 2 else verse
        if bar % 4 == 3 or last:
            rhythm, moves = ((2, 2), (1, -1)) if plan.beats == 4 else ((3,), (-1,))
        at = bar * plan.beats
        for beats, move in zip(rhythm, moves):
            strong = at % plan.beats in (0, 2 if plan.beats == 4 else 0)
            target = _step(plan.scale, pitch, move)
            target = target if line.low <= target <= line.high else _step(plan.scale, pitch, -move)
            home = last and at + beats == len(plan.chords) * plan.beats
            pitch = line.nearest(chord[:1] if home else chord if strong else plan.scale, target)
            line.notes.append((at, beats, pitch, 8 if strong else 0))
            at += beats


def write_harmony(rng: np.random.Generator, plan: Plan, line: Line) -> None:
    """Chords, each voiced as near as can be to the one before: held for a bar, struck on beats, or off the beat."""
    strokes = {"held": (0,), "beats": tuple(range(plan.beats)), "push": (0, 1.5, 2.5) if plan.beats == 4 else (0, 1.5)}
    pattern = strokes[str(rng.choice(list(strokes)))]
    for bar, voices in enumerate(_voicings(plan, line)):
        for begin, end in zip(pattern, (*pattern[1:], plan.beats)):
            line.notes += [(bar * plan.beats + begin, end - begin, pitch, 6 if begin == 0 else 0) for pitch in voices]


def write_arpeggio(rng: np.random.Generator, plan: Plan, line: Line) -> None:
    """The chords broken into eighths: up, up and down, or alternating; each note rings on for a beat."""
    order = ((0, 1, 2, 3), (0, 1, 2, 3, 2, 1), (0, 2, 1, 3), (3, 2, 1, 0))[int(rng.integers(4))]
    for bar, voices in enumerate(_voicings(plan, line)):
        octave = line.nearest((voices[0] % 12,), voices[0] + 12)
        ladder = [*voices[:3], voices[3] if len(voices) > 3 else octave]
        for eighth in range(2 * plan.beats):
            line.notes.append((bar * plan.beats + eighth / 2, min(1, plan.beats - eighth / 2), ladder[order[eighth % len(order)]], 6 * (eighth % 2 == 0)))


def write_counter(rng: np.random.Generator, plan: Plan, line: Line) -> None:
    """A slow second voice: one or two chord tones a bar, each near the one before."""
    halves = (0, 2) if rng.random() < 0.6 else (0,)
    pitch = (line.low + line.high) // 2
    for bar, chord in enumerate(plan.chords):
        for begin, end in zip(halves, (*halves[1:], plan.beats)):
            pitch = line.nearest(chord[:3], pitch + int(rng.integers(-4, 5)))
            line.notes.append((bar * plan.beats + begin, end - begin, pitch, 0))


def write_bass(rng: np.random.Generator, plan: Plan, line: Line) -> None:
    """The chord's root on the first beat, then by one pattern through the piece: held, root and fifth, eighths, walking."""
    pattern = str(rng.choice(["held", "fifth", "eighths", "walking"]))
    root = (line.low + line.high) // 2 - 3
    for bar, chord in enumerate(plan.chords):
        at, root = bar * plan.beats, line.nearest(chord[:1], (root + line.low + 6) / 2)
        fifth = line.nearest(chord[2:3], root)
        following = line.nearest(plan.chords[(bar + 1) % len(plan.chords)][:1], root)
        if pattern == "held":
            moves = [(0, plan.beats, root)]
        elif pattern == "fifth":
            moves = [(0, 1.5, root), (1.5, 0.5, root), (2, plan.beats - 2, fifth)]
        elif pattern == "eighths":
            moves = [(i / 2, 0.5, fifth if i == 2 * plan.beats - 1 else root) for i in range(2 * plan.beats)]
        else:  # by chord tones to a step from the next root
            lead = _step(plan.scale, following, 1 if following < root else -1)
            lead = lead if line.low <= lead <= line.high else fifth
            middle = [line.nearest(chord[1:2], root), fifth][: plan.beats - 2]
            moves = [(i, 1, pitch) for i, pitch in enumerate([root, *middle, lead])]
        line.notes += [(at + begin, beats, pitch, 6 if begin == 0 else 0) for begin, beats, pitch in moves]


def write_drums(rng: np.random.Generator, plan: Plan) -> Line:
    """Kick, snare and a cymbal in eighths, one groove throughout; every fourth bar ends in a fill, then a crash."""
    line = Line(0, 127)
    cymbal, snare = int(rng.choice([42, 42, 51])), int(rng.choice([38, 38, 38, 37, 39]))
    kicks = ((0, 2), (0, 1.5, 2), (0, 2, 2.5), (0, 1, 2, 3), (0, 0.5, 2.5))[int(rng.integers(5))] if plan.beats == 4 else (0,)
    snares = (1, 3) if plan.beats == 4 else (1, 2)
    opened = plan.beats - 0.5 if cymbal == 42 and rng.random() < 0.5 else None
    for bar in range(len(plan.chords)):
        at = bar * plan.beats
        fill = plan.beats - 1 if bar % 4 == 3 else plan.beats
        strokes = [(kick, 36, 8) for kick in kicks] + [(beat, snare, 6) for beat in snares]
        for eighth in range(2 * plan.beats):
            drum = 46 if eighth / 2 == opened else 49 if eighth == 0 and bar % 4 == 0 else cymbal
            strokes.append((eighth / 2, drum, -4 - 10 * (eighth % 2)))
        strokes = [stroke for stroke in strokes if stroke[0] < fill]
        if fill < plan.beats:
            strokes += [(fill + i / 4, tom, 2 * i - 6) for i, tom in enumerate((50, 47, 45, 43))]
        line.notes += [(at + begin, DRUM_RING[drum] / plan.beat, drum, accent) for begin, drum, accent in strokes]
    return line


def perform(rng: np.random.Generator, plan: Plan, line: Line, velocity: int, seconds: float) -> tuple[Note, ...]:
    """Written notes as a player would sound them: swung, up to 8 ms off the beat, about 3 off in velocity."""
    strokes = sorted(line.notes)
    late = np.clip(rng.normal(0.003, 0.003, len(strokes)), 0, 0.008)
    louder = np.clip(rng.normal(0, 3, len(strokes)), -8, 8)
    notes, following = [], {}
    for (position, beats, pitch, accent), delay, more in reversed(list(zip(strokes, late, louder))):
        start = plan.time(position) + float(delay)
        end = min(plan.time(position + beats) - 0.01, following.get(pitch, seconds) - 0.01, seconds)
        following[pitch] = start
        notes.append(Note(start, end - start, pitch, int(np.clip(round(velocity + accent + float(more)), 1, 127))))
    return tuple(sorted(notes, key=lambda note: (note.start, note.pitch)))


def _motif(rng: np.random.Generator, beats: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """One bar of melody: beats of each note, and the scale steps that lead to it, most of them single."""
    rhythm = RHYTHMS[beats][int(rng.integers(len(RHYTHMS[beats])))]
    steps = rng.choice([-2, -1, 0, 1, 2], len(rhythm), p=[0.1, 0.37, 0.06, 0.37, 0.1])
    return rhythm, tuple(int(step) for step in steps)


def _step(scale: tuple[int, ...], pitch: int, steps: int) -> int:
    """The pitch `steps` scale steps above (or, negative, below) `pitch`."""
    direction = 1 if steps > 0 else -1
    for _ in range(abs(steps)):
        pitch += direction
        while pitch % 12 not in scale:
            pitch += direction
    return pitch


def _voicings(plan: Plan, line: Line) -> list[list[int]]:
    """Each chord as pitches in range, low to high, with the least movement of the voices from chord to chord."""
    centre = (line.low + line.high) / 2
    voicings = []
    for chord in plan.chords:
        options = [[p for p in range(line.low, line.high + 1) if p % 12 == tone] for tone in chord]
        near = voicings[-1] if voicings else [centre + 4 * voice - 2 * (len(chord) - 1) for voice in range(len(chord))]
        voicings.append(min((sorted(pitches) for pitches in product(*options)), key=lambda pitches: (
            sum(abs(a - b) for a, b in zip(pitches, near)) + abs(sum(pitches) / len(pitches) - centre) / 2, pitches)))
    return voicings


WRITERS = {"bass": write_bass, "harmony": write_harmony, "melody": write_melody, "arpeggio": write_arpeggio, "counter": write_counter}

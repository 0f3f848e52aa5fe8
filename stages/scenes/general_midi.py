"""What General MIDI says an instrument is: what people call it, which pitches it plays, who could stand in for it.

Programs are numbered 0..127 as in the files (the printed standard counts from 1) and pitches are MIDI note numbers,
60 being middle C. Ranges are those of the acoustic instruments; three are narrower, because a common soundfont has no
sample there (alto saxophone at 64, baritone saxophone and whistling above 78).
"""

from functools import cache
from typing import NamedTuple

DRUMS = "drum kit"


class Instrument(NamedTuple):
    """A melodic program. `envelope` says how a held note goes on:

    "short" is struck and gone within half a second, "ringing" is struck or plucked and dies away over seconds,
    "sustained" starts at once and lasts while held, "slow" lasts too but takes long to speak. Instruments of one
    `timbre` are hard to tell apart.
    """

    name: str
    low: int
    high: int
    envelope: str
    timbre: str


MELODIC = tuple(Instrument(name, low, high, envelope, timbre) for timbre, envelope, name, low, high in (
    ("piano", "ringing", "acoustic grand piano", 21, 108),
    ("piano", "ringing", "bright piano", 21, 108),
    ("piano", "ringing", "electric grand piano", 21, 108),
    ("piano", "ringing", "honky-tonk piano", 21, 108),
    ("electric piano", "ringing", "electric piano", 28, 103),
    ("electric piano", "ringing", "digital electric piano", 28, 103),
    ("harpsichord", "ringing", "harpsichord", 29, 89),
    ("clavinet", "ringing", "clavinet", 36, 91),
    ("bell", "ringing", "celesta", 60, 108),
    ("bell", "short", "glockenspiel", 72, 108),
    ("bell", "ringing", "music box", 60, 96),
    ("vibraphone", "ringing", "vibraphone", 53, 89),
    ("marimba", "short", "marimba", 45, 96),
    ("xylophone", "short", "xylophone", 65, 108),
    ("tubular bells", "ringing", "tubular bells", 60, 77),
    ("dulcimer", "ringing", "dulcimer", 48, 84),
    ("organ", "sustained", "drawbar organ", 36, 96),
    ("organ", "sustained", "percussive organ", 36, 96),
    ("organ", "sustained", "rock organ", 36, 96),
    ("church organ", "sustained", "church organ", 36, 96),
    ("reed organ", "sustained", "reed organ", 36, 96),
    ("accordion", "sustained", "accordion", 53, 89),
    ("harmonica", "sustained", "harmonica", 60, 84),
    ("accordion", "sustained", "tango accordion", 53, 89),
    ("nylon guitar", "ringing", "nylon-string guitar", 40, 84),
    ("steel guitar", "ringing", "steel-string guitar", 40, 84),
    ("electric guitar", "ringing", "jazz guitar", 40, 86),
    ("electric guitar", "ringing", "clean electric guitar", 40, 86),
    ("electric guitar", "ringing", "muted electric guitar", 40, 86),
    ("distorted guitar", "sustained", "overdriven guitar", 40, 86),
    ("distorted guitar", "sustained", "distorted guitar", 40, 86),
    ("guitar harmonics", "ringing", "guitar harmonics", 40, 86),
    ("acoustic bass", "ringing", "upright bass", 28, 55),
    ("electric bass", "ringing", "fingered electric bass", 28, 55),
    ("electric bass", "ringing", "picked electric bass", 28, 55),
    ("electric bass", "ringing", "fretless bass", 28, 55),
    ("slap bass", "ringing", "slap bass", 28, 55),
    ("slap bass", "ringing", "hard slap bass", 28, 55),
    ("synth bass", "ringing", "synth bass", 28, 55),
    ("synth bass", "ringing", "rubber synth bass", 28, 55),
    ("violin", "sustained", "violin", 55, 96),
    ("violin", "sustained", "viola", 48, 84),
    ("cello", "sustained", "cello", 36, 72),
    ("contrabass", "sustained", "bowed double bass", 28, 55),
    ("tremolo strings", "slow", "tremolo strings", 36, 88),
    ("pizzicato strings", "short", "pizzicato strings", 28, 88),
    ("harp", "ringing", "harp", 24, 103),
    ("timpani", "short", "timpani", 36, 57),
    ("string ensemble", "slow", "string ensemble", 36, 88),
    ("string ensemble", "slow", "slow string ensemble", 36, 88),
    ("synth strings", "slow", "synth strings", 36, 88),
    ("synth strings", "slow", "soft synth strings", 36, 88),
    ("choir", "slow", "choir singing aah", 48, 79),
    ("choir", "slow", "voices singing ooh", 48, 79),
    ("choir", "slow", "synth choir", 48, 79),
    ("orchestra hit", "short", "orchestra hit", 48, 72),
    ("trumpet", "sustained", "trumpet", 54, 86),
    ("trombone", "sustained", "trombone", 34, 74),
    ("tuba", "sustained", "tuba", 28, 58),
    ("muted trumpet", "sustained", "muted trumpet", 54, 84),
    ("french horn", "slow", "french horn", 41, 77),
    ("brass section", "sustained", "brass section", 36, 84),
    ("synth brass", "sustained", "synth brass", 36, 84),
    ("synth brass", "sustained", "soft synth brass", 36, 84),
    ("saxophone", "sustained", "soprano saxophone", 56, 88),
    ("saxophone", "sustained", "alto saxophone", 65, 84),
    ("saxophone", "sustained", "tenor saxophone", 44, 76),
    ("saxophone", "sustained", "baritone saxophone", 36, 69),
    ("oboe", "sustained", "oboe", 58, 89),
    ("oboe", "sustained", "english horn", 52, 81),
    ("bassoon", "sustained", "bassoon", 34, 75),
    ("clarinet", "sustained", "clarinet", 50, 91),
    ("flute", "sustained", "piccolo", 74, 102),
    ("flute", "sustained", "flute", 60, 96),
    ("recorder", "slow", "recorder", 60, 96),
    ("pan flute", "sustained", "pan flute", 60, 96),
    ("pan flute", "slow", "blown bottle", 60, 79),
    ("pan flute", "slow", "shakuhachi", 55, 84),
    ("whistling", "slow", "whistling", 66, 78),
    ("ocarina", "sustained", "ocarina", 60, 84),
    ("square lead", "sustained", "square lead synth", 36, 96),
    ("sawtooth lead", "sustained", "sawtooth lead synth", 36, 88),
    ("flute lead", "sustained", "calliope lead synth", 48, 96),
    ("flute lead", "sustained", "chiff lead synth", 48, 90),
    ("sawtooth lead", "sustained", "charang lead synth", 36, 96),
    ("choir", "sustained", "voice lead synth", 48, 72),
    ("sawtooth lead", "sustained", "fifths lead synth", 36, 84),
    ("sawtooth lead", "sustained", "bass and lead synth", 24, 84),
    ("pad", "slow", "new age synth pad", 36, 90),
    ("pad", "slow", "warm synth pad", 36, 90),
    ("pad", "slow", "polysynth pad", 36, 86),
    ("pad", "slow", "choir synth pad", 36, 74),
    ("pad", "slow", "bowed glass synth pad", 36, 90),
    ("pad", "slow", "metallic synth pad", 36, 96),
    ("pad", "slow", "halo synth pad", 36, 84),
    ("pad", "slow", "sweep synth pad", 36, 90),
    ("pad", "ringing", "rain synth", 36, 78),
    ("pad", "slow", "soundtrack synth", 36, 84),
    ("bell", "ringing", "crystal synth", 60, 88),
    ("pad", "ringing", "atmosphere synth", 36, 96),
    ("pad", "ringing", "brightness synth", 36, 80),
    ("pad", "slow", "goblin synth", 36, 72),
    ("pad", "slow", "echo synth", 36, 90),
    ("pad", "slow", "science fiction synth", 36, 90),
    ("sitar", "ringing", "sitar", 48, 77),
    ("banjo", "ringing", "banjo", 48, 84),
    ("shamisen", "ringing", "shamisen", 50, 79),
    ("koto", "ringing", "koto", 48, 84),
    ("kalimba", "short", "kalimba", 48, 84),
    ("bagpipe", "sustained", "bagpipes", 57, 82),
    ("violin", "sustained", "fiddle", 55, 96),
    ("oboe", "sustained", "shanai", 55, 84),
))

UNPITCHED = (
    "tinkle bell", "agogo", "steel drums", "melodic woodblock", "taiko drum", "melodic tom", "synth drum",
    "reverse cymbal", "guitar fret noise", "breath noise", "seashore", "bird tweet", "telephone ring", "helicopter",
    "applause", "gunshot")

# Pitch on the drum channel -> what it sounds like, where one stroke alone is recognised. Of near-doubles (two cowbells,
# six toms) one stands for all; the kick, hi-hats and side stick say little on their own and are left out.
PERCUSSION = {
    38: "snare drum", 39: "hand clap", 45: "tom drum", 49: "crash cymbal", 51: "ride cymbal", 52: "china cymbal",
    54: "tambourine", 56: "cowbell", 58: "vibraslap", 60: "bongo", 64: "conga", 65: "timbale", 67: "agogo bell",
    69: "cabasa", 70: "maracas", 72: "whistle blow", 74: "guiro", 75: "claves", 76: "wood block", 79: "cuica",
    81: "triangle",
}


def name(program: int) -> str:
    """What a person would call `program` (0..127); no two programs share a name.

    >>> name(80)
    'square lead synth'
    """
    return MELODIC[program].name if program < len(MELODIC) else UNPITCHED[program - len(MELODIC)]


def playable_range(program: int) -> tuple[int, int]:
    """The lowest and highest MIDI pitch of a melodic `program` (0..111), both playable."""
    return MELODIC[program].low, MELODIC[program].high


def timbre(program: int) -> str:
    """The group of melodic programs (0..111) that a listener would confuse with `program`: violin, viola and fiddle."""
    return MELODIC[program].timbre


@cache
def alternatives(program: int) -> tuple[int, ...]:
    """Programs that could play the part of a melodic `program` (0..111) so that the change is plain to hear.

    Each has another timbre, a prompt attack, an envelope that suits the part (a plucked line never goes to an organ,
    a held one never to a marimba), and at least an octave of its range in common. In order of program number.
    """
    part = MELODIC[program]
    suited = {"short": ("short", "ringing"), "ringing": ("ringing",)}.get(part.envelope, ("sustained",))
    return tuple(
        other for other, instrument in enumerate(MELODIC)
        if instrument.envelope in suited and instrument.timbre != part.timbre
        and min(part.high, instrument.high) - max(part.low, instrument.low) >= 12)

"""Check a soundfont of the user's: whether it can be read, and plays all that pieces and single sounds may ask of it."""

import os
from collections.abc import Iterator

from manifests.errors import RequestError
from stages.engines import sf2
from stages.engines.soundfont import DRUMS, HELD, LEAD, PADS, PHRASES, SHOTS, percussion, phrase_range
from stages.scenes import general_midi
from stages.scenes.compose import DRUM_RING, POOLS, REGISTERS

SOURCE = "(sources, kind: soundfont, font)"


def check_font(path: str, pieces: bool, sounds: bool) -> None:
    """Read a soundfont, and hold it against what is to be played by it.

    Raises:
        RequestError: naming the file, and what is wrong with it: it is not there, no SoundFont 2, damaged, or lacks an instrument or some of its pitches.
    """
    import tinysoundfont

    if not os.path.isfile(path):
        raise RequestError(f"{path}: no such file on this machine {SOURCE}")
    try:
        found = sf2.pitches(path)
        tinysoundfont.Synth().sfload(path)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror} {SOURCE}") from None
    except ValueError as error:
        raise RequestError(f"{path}: {error} {SOURCE}") from None
    except RuntimeError:
        raise RequestError(f"{path}: damaged: the synthesizer cannot load it {SOURCE}") from None
    faults = list(_faults(found, pieces, sounds))
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise RequestError(f"{path}: {faults[0]}{more}; take a General MIDI soundfont {SOURCE}")


def of_pieces() -> dict[tuple[int, int], set[int]]:
    """By (bank, program), the pitches that pieces may ask for: what a part may be written in, as far as the instrument and its stand-ins go."""
    written = range(min(low for low, _ in REGISTERS.values()), max(high for _, high in REGISTERS.values()) + 1)
    cast = {program for pool in POOLS.values() for program in pool}
    cast |= {other for program in cast for other in general_midi.alternatives(program)}
    asked = {}
    for program in sorted(cast):
        low, high = general_midi.playable_range(program)
        asked[0, program] = set(written) & set(range(low, high + 1))
    return asked | {(DRUMS, 0): set(DRUM_RING)}


def of_sounds() -> dict[tuple[int, int], set[int]]:
    """By (bank, program), the pitches that held and single strokes of sounds ask for; phrases and percussion keep to what there is."""
    return {(0, program): set(range(*HELD)) for program in (*LEAD, *PADS)} | {(0, program): set(range(*pitches)) for program, pitches in SHOTS.items()}


def _faults(found: sf2.Pitches, pieces: bool, sounds: bool) -> Iterator[str]:
    """What a font of these pitches lacks, one after the other."""
    for (bank, program), asked in [*(of_pieces().items() if pieces else ()), *(of_sounds().items() if sounds else ())]:
        name = f"{general_midi.DRUMS if bank else general_midi.name(program)} (bank {bank}, program {program} from 0)"
        if (bank, program) not in found:
            yield f"it has no {name}"
        elif silent := sorted(asked - found[bank, program]):
            yield f"its {name} has no sound at pitch {silent[0]}"
    for program in range(PHRASES) if sounds else ():
        if phrase_range(found, program) is None:
            yield f"it has no {general_midi.name(program)} (bank 0, program {program} from 0)"
    if sounds and not percussion(found):
        yield f"it has no percussion (bank {DRUMS}, program 0)"

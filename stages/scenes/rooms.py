"""Rooms: some of a soundscape's events sound in one, and where there are two channels each from a side of its own."""

from collections.abc import Callable, Sequence

import numpy as np

from manifests.chance import generator
from manifests.scene import Scene

COUNT = 200  # rooms of a run
LONGEST = 0.5  # s of a response
SIDES = ((3.0, 10.0), (3.0, 8.0), (2.4, 4.0))  # m: length, width, height
DECAY = (0.15, 0.5)  # s of RT60
WALL = 0.5  # m at least from each wall, of the sound and of the microphone
REFLECTIONS = 15  # of one wall after the other, at most, that are followed
SPREAD = 0.8  # how far to a side a sound is panned at most; 1 would be one channel alone


def responses(seed: int, rate: int) -> np.ndarray:
    """Impulse responses of shoebox rooms (image sources, Allen and Berkley 1979; by pyroomacoustics), of one energy: float32 (rooms, samples).

    Each begins with the direct sound, and ends in zeros once it has decayed by 60 dB.
    """
    import pyroomacoustics

    pyroomacoustics.constants.set("num_threads", 1)  # several sum up in another order
    found = np.zeros((COUNT, round(LONGEST * rate)), np.float32)
    for number, row in enumerate(found):
        chance = generator(seed, "room", number)
        size = np.array([chance.uniform(*side) for side in SIDES])
        absorption, order = _walls(pyroomacoustics.inverse_sabine, chance.uniform(*DECAY), size)
        room = pyroomacoustics.ShoeBox(size, fs=rate, materials=pyroomacoustics.Material(absorption), max_order=min(order, REFLECTIONS))
        sound, microphone = (WALL + chance.random(3) * (size - 2 * WALL) for _ in range(2))
        room.add_source(sound)
        room.add_microphone(microphone)
        room.compute_rir()
        heard = room.rir[0][0]
        first = max(0, pyroomacoustics.constants.get("frac_delay_length") // 2 + round(np.linalg.norm(sound - microphone) / room.c * rate))
        heard = heard[first : first + len(row)]
        left = np.cumsum(heard[::-1] ** 2)[::-1]
        heard = heard[left > 1e-6 * left[0]]
        row[: len(heard)] = heard / np.sqrt(left[0])
    return found


def _walls(inverse_sabine: Callable, decay: float, size: np.ndarray) -> tuple[float, int]:
    """What walls absorb, and how many reflections to follow, for a time of decay; a longer one where a large room cannot have it."""
    while True:
        try:
            return inverse_sabine(decay, size)
        except ValueError:
            decay *= 1.2


def put(scene: Scene, share: float, lengths: Sequence[int], chance: Callable[..., np.random.Generator]) -> None:
    """Put a share of a placed scene's events, and of what may come in their places, into rooms, and pan all of them if it has two channels.

    A sound lasts as much longer as its room rings, up to the scene's end. What is drawn for a clip depends on nothing but scene and clip.

    Args:
        lengths: samples of each room's response.
        chance: gives a generator of the scene by further names.
    """
    for stem in scene.stems:
        if stem.role not in ("event", "other"):
            continue
        if stem.follows:  # the room is heard in how loud it is to be
            stem.pan = scene.stems[stem.place_of].pan
            continue
        inside, which, side = chance("space", stem.clip_id).random(3)
        if inside < share:
            stem.room = int(which * len(lengths))
            stem.tail = max(0, min(lengths[stem.room] - 1, scene.samples - stem.onset - stem.length))
            stem.length += stem.tail
        if scene.channels == 2:
            stem.pan = round(SPREAD * (2 * side - 1), 3)


def resound(audio: np.ndarray, length: int, response: np.ndarray | None, pan: float) -> np.ndarray:
    """A sound (channels, samples) in a room, cut after `length` samples, and panned at constant power from -1, the left, to 1."""
    from scipy.signal import oaconvolve  # takes a second to import, and the driver never filters

    if response is not None:
        audio = oaconvolve(audio, response[None], axes=1)[:, :length].astype(np.float32)
    if pan:
        angle = (1 + pan) * np.pi / 4
        audio = audio * (np.sqrt(2) * np.array([[np.cos(angle)], [np.sin(angle)]])).astype(np.float32)
    return audio

"""Render: a scene's clips become stems at their levels. Each stem is decoded and filtered once for all siblings."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from manifests.audio import decode_flac
from manifests.clip import Clip
from manifests.errors import Rejected
from manifests.loudness import SILENT, hop_power, hop_products, integrated, k_weight
from manifests.scene import Rendered, Scene, Stem
from stages.scenes.rooms import resound

MIXTURE_LUFS = (-28.0, -18.0)  # a scene's loudness is drawn from this range
CURVE = 0.010  # s over which loudness is followed
DEEPEST = 40.0  # dB under its loudest point: what is fainter than that is not made as loud as what it follows


def render(scene: Scene, clips: dict[str, Clip], read: Callable[[Clip], bytes], chance: np.random.Generator, rooms: Sequence[np.ndarray] = ()) -> Rendered:
    """Decode a scene's stems and set their gains.

    Events are set to their `snr_db` over the background (BS.1770, each measured by itself), what may take a
    track's place to that track's loudness, and the mixture to a loudness drawn from `MIXTURE_LUFS`.

    An utterance keeps the gains that it was placed with.

    Args:
        scene: placed; its stems' gains and its own are set here.
        clips: by id.
        read: gives a clip's FLAC bytes.
        chance: the scene's generator, after placing.
        rooms: impulse responses, if its sounds are in some.

    Raises:
        Rejected: a background or a track is silent in the stretch that was cut.
    """
    started = time.perf_counter()
    audio = sounds(scene.stems, clips, read, scene.sample_rate, rooms)
    weighted = [k_weight(samples, scene.sample_rate) for samples in audio]
    own = [stem_loudness(samples, scene.sample_rate) for samples in weighted]
    for stem, lufs in zip(scene.stems, own):
        if lufs <= SILENT and stem.role != "rest" and scene.kind not in ("utterance", "conversation"):  # a piece of speech may be a pause
            raise Rejected(f"'{stem.label or stem.role}' is silent in the stretch that was cut")
        if stem.snr_db is not None:
            stem.gain_db = round(stem.snr_db + own[0] - lufs, 3)
        elif stem.place_of is not None:
            stem.gain_db = round(own[stem.place_of] - lufs, 3)
    products = hop_products([(s.onset, w) for s, w in zip(scene.stems, weighted)], scene.samples, scene.sample_rate)
    rendered = Rendered(scene, audio, products, 0.0)
    mixture = integrated(hop_power(products, rendered.gains(scene.mixture)))
    scene.gain_db = round(float(chance.uniform(*MIXTURE_LUFS)) - mixture, 3)
    rendered.seconds = time.perf_counter() - started
    return rendered


def sounds(stems: list[Stem], clips: dict[str, Clip], read: Callable[[Clip], bytes], rate: int, rooms: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
    """Each stem's audio before its gain, float32 (channels, length); for the arguments see `render`."""
    audio = [cut(stem, clips[stem.clip_id], read(clips[stem.clip_id]), rooms) for stem in stems]
    for n, stem in enumerate(stems):
        if stem.follows:
            audio[n] = follow(audio[n], audio[stem.place_of], rate)
    return audio


def follow(audio: np.ndarray, leader: np.ndarray, rate: int) -> np.ndarray:
    """A sound, float32 (channels, samples), made as loud over time as another that is as long or longer: RMS of all channels in 10 ms around each point."""
    from scipy.ndimage import uniform_filter1d  # as scipy.signal, not for the driver

    size = max(1, round(CURVE * rate))
    powers = (np.square(sound, dtype=np.float64).mean(axis=0) for sound in (audio, leader[:, : audio.shape[1]]))
    own, its = (np.sqrt(np.maximum(uniform_filter1d(power, size, mode="constant"), 0)) for power in powers)  # a running sum may end just under zero
    gain = its / np.maximum(own, 10 ** (-DEEPEST / 20) * own.max(initial=1e-12))
    return audio * gain.astype(np.float32)


def cut(stem: Stem, clip: Clip, flac: bytes, rooms: Sequence[np.ndarray] = ()) -> np.ndarray:
    """A stem's audio at the clip's own level, with its fades (linear), in its room and at its side: float32 (channels, length)."""
    own = stem.length - stem.tail
    audio = decode_flac(flac, stem.offset, own)
    if audio.shape[1] != own:
        raise Rejected(f"clip {clip.clip_id} holds {audio.shape[1]} samples of {own} from {stem.offset}")
    audio *= np.float32(10 ** (-clip.gain_db / 20))
    if stem.fade_in:
        audio[:, : stem.fade_in] *= np.linspace(0, 1, stem.fade_in, endpoint=False, dtype=np.float32)
    if stem.fade_out:
        audio[:, -stem.fade_out :] *= np.linspace(1, 0, stem.fade_out, endpoint=False, dtype=np.float32)
    return resound(audio, stem.length, None if stem.room is None else rooms[stem.room], stem.pan)


def stem_loudness(weighted: np.ndarray, rate: int) -> float:
    """Integrated loudness (LUFS) of one K-weighted stem by itself."""
    return integrated(hop_products([(0, weighted)], weighted.shape[1], rate)[:, 0, 0])

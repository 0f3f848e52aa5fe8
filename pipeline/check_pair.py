"""Check one pair: make it again from its params and clips, and hold it against the contract's promises."""

import json
from collections.abc import Callable, Sequence

import numpy as np

from manifests.audio import to_int16
from manifests.clip import Clip
from manifests.loudness import k_weight, peak_dbfs
from manifests.scene import Scene, Stem
from stages.edit import PEAK_DBFS, edit_spans, spans
from stages.render import sounds, stem_loudness
from stages.scenes import utterance

STEPS = 1  # of 32,768: how far a pair made again may be off
SNR_TOLERANCE = 0.5  # LU
FADE_LIMIT = 0.020  # s, of a cross-fade in speech


def check_pair(said: dict, source: np.ndarray, target: np.ndarray, clips: dict[str, Clip], read: Callable[[Clip], bytes],
               rooms: Sequence[np.ndarray] = ()) -> list[str]:
    """What is wrong with a pair's audio, in words; empty if nothing is.

    Args:
        said: its KEY.json.
        source, target: int16 (channels, samples) as stored.
        clips: by id.
        read: gives a clip's FLAC bytes.
        rooms: impulse responses of the run.
    """
    params = json.loads(said["params"])
    stems = [Stem(**stem) for stem in params["stems"]]
    scene = Scene(said["scene_id"], params["kind"], said["split"], said["sample_rate"], source.shape[0], params["samples"], stems, said["gain_db"])
    audio = sounds(stems, clips, read, scene.sample_rate, rooms)
    if source.shape[0] != target.shape[0] or (source.shape[1] != target.shape[1] and scene.kind != "utterance"):
        return [f"source is {source.shape}, target {target.shape} (channels, samples)"]
    expected = [_sum(scene, audio, params[side]) for side in ("before", "after")]
    faults = _differences(source, target, *expected)
    if edit_spans(scene, params["before"], params["after"], params["edited"]) != said["edit_spans"]:
        faults.append(f"edit_spans {said['edit_spans']} are not where its edited stems lie")
    labels = [stem.label for stem in stems if stem.label and stem.role != "other" and stem.nth < 2]
    twice = sorted((stem.onset, stem.nth) for stem in stems if stem.nth and stem.role != "other")
    if [nth for _, nth in twice] not in ([], [1, 2]):
        faults.append("sounds of one label are not counted in the order of their onsets")
    if len(set(labels)) < len(labels) and scene.kind != "conversation":  # there a speaker has a piece for each turn
        faults.append(f"two of its stems have one label: {', '.join(labels)}")
    loudest = max(peak_dbfs(source), peak_dbfs(target))
    if loudest > PEAK_DBFS + 0.01:
        faults.append(f"it peaks at {loudest:.2f} dBFS, over {PEAK_DBFS:g}")
    if scene.kind == "utterance":
        return faults or _speech_faults(said["edit"], scene, source, target, params)
    if said["noop"]:
        whole = np.array_equal(source, target) and params["before"] == params["after"] and not params["edited"]
        return faults if whole else [*faults, "nothing was to be changed, and its sides differ"]
    return faults or [*_edit_faults(said["edit"], scene, source, target, params), *_level_faults(scene, audio, params)]


def _sum(scene: Scene, audio: list[np.ndarray], stems: list[int]) -> np.ndarray:
    """The sum of stems by their params, rounded once; adds up in float64, so that it shares no step with rendering."""
    total = np.zeros((scene.channels, scene.length(stems)))
    for i in stems:
        stem = scene.stems[i]
        total[:, stem.onset : stem.onset + stem.length] += 10 ** ((stem.gain_db + scene.gain_db) / 20) * audio[i].astype(np.float64)
    return to_int16(total.astype(np.float32)).astype(np.int32)


def _differences(source: np.ndarray, target: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[str]:
    found = {"source": (source.astype(np.int32), before), "target": (target.astype(np.int32), after)}
    if any(_apart(*sides) for sides in found.values()) and not _apart(found["source"][0], after) and not _apart(found["target"][0], before):
        return ["source and target are swapped"]
    return [f"{side} {_how(stored, expected)}" for side, (stored, expected) in found.items() if _apart(stored, expected)]


def _apart(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape != other.shape or int(np.abs(one - other).max(initial=0)) > STEPS


def _how(stored: np.ndarray, expected: np.ndarray) -> str:
    """In what way stored audio is not what its params say."""
    if stored.shape != expected.shape:
        return f"has {stored.shape[1]} samples in {stored.shape[0]} channels, its params say {expected.shape[1]} in {expected.shape[0]}"
    spectrum = np.fft.rfft(stored[0], 2 * stored.shape[1]) * np.conj(np.fft.rfft(expected[0], 2 * stored.shape[1]))
    shift = int(np.argmax(np.fft.irfft(spectrum)))
    shift -= 2 * stored.shape[1] if shift >= stored.shape[1] else 0
    ends = slice(abs(shift) + 1, stored.shape[1] - abs(shift) - 1)
    if shift and not _apart(stored[:, ends], np.roll(expected, shift, axis=1)[:, ends]):
        return f"is shifted by {shift} samples against its params"
    power = float(np.sum(expected.astype(np.float64) ** 2))
    gain = float(np.sum(stored.astype(np.float64) * expected)) / power if power else 0.0
    off = 20 * np.log10(gain) if gain > 0 else 0.0
    if abs(off) >= 0.01 and np.abs(stored - gain * expected).max() <= 2 * STEPS:
        return f"is {off:+.2f} dB off the level that its params say"
    apart = np.flatnonzero((np.abs(stored - expected) > STEPS).any(axis=0))
    return f"differs from its params in {len(apart)} samples, from sample {apart[0]}, by up to {np.abs(stored - expected).max()} steps"


def _edit_faults(edit: str, scene: Scene, source: np.ndarray, target: np.ndarray, params: dict) -> list[str]:
    """What the edit promises of the difference between its sides."""
    if edit in ("extract", "extract_speaker"):
        outside = target.astype(np.int32)
    else:
        outside = target.astype(np.int32) - source
    for start, end in spans(scene, params["edited"]):
        outside[:, round(start * scene.sample_rate) : round(end * scene.sample_rate)] = 0
    faults = [f"{edit} changes something outside its edit_spans"] if np.abs(outside).max(initial=0) > 0 else []
    before, after, edited = (set(params[name]) for name in ("before", "after", "edited"))
    right = {
        "add": after - before == edited and before < after,
        "remove": before - after == edited and after < before,
        "extract": after == edited and edited < before,
        "extract_speaker": after == edited and edited < before,
        "generate": after == edited and not before,
        "remove_speaker": before - after == edited and after < before,
        "replace": len(edited) == 2 and before ^ after == edited and len(before) == len(after),
        "transfer": len(edited) == 2 and before ^ after == edited and len(before) == len(after),
    }[edit]
    return faults if right else [*faults, f"its stems before and after are not those of {edit}"]


def _speech_faults(edit: str, scene: Scene, source: np.ndarray, target: np.ndarray, params: dict) -> list[str]:
    """What a speech edit promises: outside its span, cross-fades included, the sides are the same samples, shifted."""
    before, after = utterance.spans(scene, params["before"], params["after"])
    faults = [] if [n / scene.sample_rate for n in before] == params["source_span"] else ["its source_span is not where its pieces join"]
    if max(stem.fade_in for stem in scene.stems) > FADE_LIMIT * scene.sample_rate:
        faults.append(f"a cross-fade is longer than {FADE_LIMIT * 1000:g} ms")
    ends = [(source[:, : before[0]], target[:, : after[0]]), (source[:, before[1] :], target[:, after[1] :])]
    if not all(np.array_equal(*sides) for sides in ends):
        faults.append(f"{edit} changes something outside its span")
    pieces = {"speech_delete": (1, 2, 0), "speech_insert": (2, 1, 0), "speech_substitute": (3, 1, 1)}[edit]
    if tuple(len(params[name]) for name in ("before", "after", "edited")) != pieces:
        faults.append(f"its stems before and after are not those of {edit}")
    return faults


def _level_faults(scene: Scene, audio: list[np.ndarray], params: dict) -> list[str]:
    """Whether the level asked for is the level found."""
    ground = next((i for i, stem in enumerate(scene.stems) if stem.role == "background"), None)
    faults = []
    for i in params["edited"]:
        if ground is None or scene.stems[i].snr_db is None:
            continue
        levels = [stem_loudness(k_weight(audio[n], scene.sample_rate), scene.sample_rate) + scene.stems[n].gain_db for n in (i, ground)]
        if abs(levels[0] - levels[1] - scene.stems[i].snr_db) > SNR_TOLERANCE:
            faults.append(f"'{scene.stems[i].label}' lies {levels[0] - levels[1]:.2f} LU over the background, params say {scene.stems[i].snr_db:.2f}")
    return faults

"""Score: what can be measured of a pair from its signals alone."""

import time

import numpy as np

from manifests.loudness import HOP, SILENT, hop_power, integrated, loudness, peak_dbfs
from manifests.pair import Pair
from manifests.scene import Rendered, Scene

ACTIVE_RANGE = 30.0  # dB under its loudest hop: there a sound is taken to be heard


def score(rendered: Rendered, pair: Pair) -> None:
    """Fill in a pair's signal scores; loudness comes from the stems' products, peaks from the audio itself.

    Loudness is BS.1770 (LUFS, LU), peaks are sample peaks in dBFS. `snr_db` is what was asked for when the stem was
    set to its level; `local_snr_db` compares K-weighted power in the edited sound's own span. Of a sound that is heard twice, `snr_db` is the lower.
    """
    started = time.perf_counter()
    scene, products = rendered.scene, rendered.products
    before, after = (hop_power(products, rendered.gains(side)) for side in (pair.before, pair.after))
    pair.source_lufs, pair.target_lufs = integrated(before), integrated(after)
    pair.source_peak_dbfs, pair.target_peak_dbfs = peak_dbfs(pair.source), peak_dbfs(pair.target)

    pair.seconds_score = time.perf_counter() - started
    if pair.noop:
        return
    about = [i for i in pair.edited if i in scene.mixture]  # not what takes its place
    stems = [scene.stems[i] for i in about]
    within, hop = np.zeros(len(products), bool), round(HOP * scene.sample_rate)
    for stem in stems:
        within[stem.onset // hop : -(-(stem.onset + stem.length) // hop)] = True
    edited = hop_power(products, rendered.gains(about))
    rest = hop_power(products, rendered.gains([i for i in scene.mixture if i not in about]))
    pair.snr_db = min((stem.snr_db for stem in stems if stem.snr_db is not None), default=None)
    if rest[within].sum() > 0 and edited[within].sum() > 0:
        pair.local_snr_db = float(10 * np.log10(edited[within].sum() / rest[within].sum()))
    pair.active_ratio = float((edited > edited.max() * 10 ** (-ACTIVE_RANGE / 10)).mean()) if edited.max() > 0 else 0.0
    pair.overlap_ratio = overlap(scene, about)
    pair.change_db = change_db(pair)
    pair.seconds_score = time.perf_counter() - started


def score_levels(pair: Pair) -> None:
    """Fill in loudness (BS.1770, LUFS) and sample peak (dBFS) of both sides."""
    for side in ("source", "target"):
        samples = getattr(pair, side).astype(np.float32) / 32768
        setattr(pair, f"{side}_lufs", loudness(samples, pair.sample_rate))
        setattr(pair, f"{side}_peak_dbfs", peak_dbfs(samples))


def score_conversation(pair: Pair) -> None:
    """Fill in the signal scores of a pair of a conversation."""
    started = time.perf_counter()
    score_levels(pair)
    pair.change_db = change_db(pair)
    pair.seconds_score = time.perf_counter() - started


def change_db(pair: Pair) -> float:
    """Power of target less source over that of the stronger of the two, in the edited spans: dB, floored at -120; both sides are of one length.

    What is extracted stays as it is, and all else is changed: then it is of the whole.
    """
    power = np.zeros(3)
    for start, end in [[0.0, pair.duration_s]] if pair.edit.startswith("extract") else pair.edit_spans:
        source, target = (side[:, round(start * pair.sample_rate) : round(end * pair.sample_rate)].astype(np.float32) for side in (pair.source, pair.target))
        power += [np.square(audio).sum(dtype=np.float64) for audio in (target - source, source, target)]
    return float(max(SILENT, 10 * np.log10(power[0] / power[1:].max()))) if power[0] > 0 else SILENT


def overlap(scene: Scene, stems: list[int]) -> float:
    """Share of some stems' spans in which another event or track of the mixture lies, 0 to 1."""
    theirs, others = np.zeros(scene.samples, bool), np.zeros(scene.samples, bool)
    for i in scene.mixture:
        stem = scene.stems[i]
        if i in stems or stem.role != "background":
            (theirs if i in stems else others)[stem.onset : stem.onset + stem.length] = True
    return float(others[theirs].mean())


def quiet_fault(rendered: Rendered, stems: list[int]) -> str | None:
    """Why an edited stem cannot be told from rounding noise of 16 bits (RMS under -84 dBFS); None if it can."""
    gains = rendered.gains(stems)
    for i in stems:
        rms = np.sqrt(np.mean(np.square(rendered.audio[i], dtype=np.float64))) * gains[i]
        level = 20 * np.log10(rms) if rms > 0 else SILENT
        if level < -84.0:
            return f"'{rendered.scene.stems[i].label}' is too quiet for 16 bits: {level:.0f} dBFS"
    return None

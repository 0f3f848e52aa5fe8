"""Split: which clips may be trained on and which are kept to test with. Nothing stands on both sides."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from manifests.chance import uniform
from stages.engines import espeak


def components(clips: pd.DataFrame) -> np.ndarray:
    """The unit of the split for each clip: connected over file, group, speaker (where there are several) and content.

    Args:
        clips: columns uri, group, speaker, clip_id.

    Returns:
        (clips,) int labels.
    """
    ties = [clips["uri"], clips["clip_id"], clips["group"]]
    if "unit" in clips:  # of an earlier split of the same clips: it knows of duplicates that are gone
        ties.append(clips["unit"])
    ties.append(clips["speaker"].where(of_several_voices(clips), ""))
    rows, columns, first = [], [], len(clips)
    for tie in ties:
        codes, names = pd.factorize(tie.mask(tie == ""))
        said = codes >= 0
        rows.append(np.flatnonzero(said))
        columns.append(codes[said] + first)
        first += len(names)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(first, first))
    return connected_components(graph, directed=False)[1][: len(clips)]


def of_several_voices(clips: pd.DataFrame) -> pd.Series:
    """Whether each clip is tied to others by its speaker; recordings that are all of one voice are split one by one.

    A name means one person throughout a run. A synthesizer's voices do not make one voice of recordings several.

    Args:
        clips: columns uri, speaker.
    """
    named, spoken = clips["speaker"] != "", clips["uri"].str.startswith(espeak.SCHEME)
    return named & (spoken | (clips.loc[named & ~spoken, "speaker"].nunique() > 1))


def keys(ids: pd.Series) -> np.ndarray:
    """Clip ids, which are 64-bit hashes in hex, as uint64."""
    return np.array([int(i, 16) for i in ids], np.uint64)


def with_splits(clips: pd.DataFrame, shares: dict[str, float], seed: int) -> pd.DataFrame:
    """Clips that were kept, in order of their ids, each with its unit (named by a clip of it) and its split.

    Args:
        clips: columns clip_id, uri, group, speaker, unit, role, reason; duplicates, which have a reason, tie what they stand in.
    """
    found = components(clips)
    clips = clips.assign(unit=clips["clip_id"].groupby(found).transform("min"))
    clips = clips[clips["reason"].isna()].sort_values("clip_id").reset_index(drop=True)
    return clips.assign(split=deal(clips.assign(key=keys(clips["clip_id"])), shares, seed))


def deal(clips: pd.DataFrame, shares: dict[str, float], seed: int) -> np.ndarray:
    """Deal units to splits by rank of keyed hashes, separately where a unit holds conversations, utterances, stems, tracks, backgrounds or only events.

    Each split gets its share of the units, and at least one where there are enough; one unit more moves few others.

    Args:
        clips: columns key (uint64), role, unit.
        shares: of each wanted split; they add up to 1.

    Returns:
        (clips,) names of splits.
    """
    rank = clips["role"].map({"conversation": 5, "utterance": 4, "stem": 3, "track": 2, "background": 1}).fillna(0).astype(int)
    units = pd.DataFrame({"unit": clips["unit"], "key": clips["key"], "stratum": rank}).groupby("unit").agg({"key": "min", "stratum": "max"})
    units["draw"] = uniform(seed, 0x5B117, units["key"].to_numpy(np.uint64))
    dealt = pd.Series("", index=units.index, dtype=object)
    for _, stratum in units.groupby("stratum"):
        order = stratum.sort_values("draw").index
        counts = quotas(len(order), shares)
        names = sorted(counts, key=lambda name: shares[name])  # small splits first: their bounds move least
        dealt[order] = np.repeat(np.array(names, object), [counts[name] for name in names])
    return clips["unit"].map(dealt).to_numpy()


def quotas(count: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole numbers that add up to `count`, near its shares; each at least one where `count` allows.

    >>> quotas(10, {"train": 0.8, "val": 0.1, "test": 0.1})
    {'train': 8, 'val': 1, 'test': 1}
    >>> quotas(3, {"train": 0.8, "val": 0.1, "test": 0.1})
    {'train': 1, 'val': 1, 'test': 1}
    """
    exact = {name: share * count for name, share in shares.items()}
    least = 1 if count >= len(shares) else 0
    whole = {name: max(int(value + 1e-9), least) for name, value in exact.items()}
    while (left := count - sum(whole.values())) != 0:
        step = 1 if left > 0 else -1
        name = max(whole, key=lambda n: (exact[n] - whole[n]) * step if whole[n] + step >= least else -np.inf)
        whole[name] += step
    return whole

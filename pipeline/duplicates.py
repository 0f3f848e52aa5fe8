"""Duplicates: which clips are the same sound, by their samples or by their fingerprints, as others or as what never enters."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from manifests.clip import EXCLUDED
from stages.fingerprint import alike


def settle_duplicates(clips: pd.DataFrame) -> None:
    """Give a reason to each clip of a recording that `exclude` means, and of the same samples as a clip before; tie those that are alike.

    A recording is kept out whole where one clip of it is the same sound as an excluded one. Clips of several recordings that are alike have one `unit`
    afterwards, so that they stand on one side of the split.

    Args:
        clips: all of a run, those that were rejected and those of role EXCLUDED too; numbered from 0, changed in place.
    """
    excluded = (clips["role"] == EXCLUDED).to_numpy()
    prints = clips["fingerprint"].where((clips["clip_id"] != "") | excluded, "")
    node, same = same_sounds(prints, np.where(excluded, -1, pd.factorize(clips["uri"])[0]))
    _keep_out(clips, excluded, node, same)
    sounding = clips[(clips["clip_id"] != "") & clips["reason"].isna()]
    first = sounding.groupby("clip_id")["uri"].transform("first")
    again = sounding.index[sounding.duplicated("clip_id")]
    clips.loc[again, "reason"] = "the same sound as " + first[again].astype(str)
    doubled = clips["piece"].isin(clips.loc[again[clips.loc[again, "role"] == "stem"], "piece"]) & (clips["role"] == "stem") & clips["reason"].isna()
    clips.loc[doubled, "reason"] = "another stem of its recording is the same sound as one before"  # the rest would no longer sum to it
    _tie(clips, node, same)


def same_sounds(prints: pd.Series, files: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which clips are the same sound, or part of the same, by their fingerprints; those of one file are not compared.

    Args:
        prints: a fingerprint each, "" where there is none.
        files: (clips,) int.

    Returns:
        (clips,) int, each distinct fingerprint by a number, -1 for none; and (pairs, 2) of those numbers that are alike, the lower first.
    """
    node, texts = pd.factorize(prints.mask(prints == ""))  # stems of one window have one fingerprint, as copies of one recording have
    told = np.flatnonzero(node >= 0)
    of_node = pd.DataFrame({"node": node[told], "file": files[told]}).groupby("node")["file"].max()
    return node, np.array(alike(list(texts), of_node.to_numpy()), int).reshape(-1, 2)


def _keep_out(clips: pd.DataFrame, excluded: np.ndarray, node: np.ndarray, same: np.ndarray) -> None:
    """Reasons for the recordings of which a clip has the samples, or the fingerprint, of an excluded one."""
    named = clips[excluded]
    of_id = dict(zip(named["clip_id"], named["uri"]))
    of_node = dict(zip(node[excluded], named["uri"]))
    near = of_node | {a: of_node[b] for pair in same.tolist() for a, b in (pair, pair[::-1]) if b in of_node and a not in of_node}
    meant: dict[str, str] = {}  # by recording, what of exclude it is
    for uri, clip_id, at in zip(clips["uri"][~excluded], clips["clip_id"][~excluded], node[~excluded]):
        if clip_id and (found := of_id.get(clip_id) or (near.get(at) if at >= 0 else None)):
            meant.setdefault(uri, found)
    for row in np.flatnonzero(~excluded & clips["uri"].isin(meant) & clips["reason"].isna()):
        clips.loc[row, "reason"] = f"exclude names it: the same sound as {meant[clips.loc[row, 'uri']]}"


def _tie(clips: pd.DataFrame, node: np.ndarray, same: np.ndarray) -> None:
    """Give clips of several recordings that are alike one unit."""
    nodes, told = node.max(initial=-1) + 1, np.flatnonzero((node >= 0) & clips["reason"].isna().to_numpy())
    edges = np.concatenate([np.stack([told + nodes, node[told]], axis=1), same])
    graph = coo_matrix((np.ones(len(edges), np.int8), tuple(edges.T)), shape=(nodes + len(clips),) * 2)
    group = connected_components(graph, directed=False)[1][nodes:][told]
    rows = clips.loc[told, ["clip_id", "uri"]].groupby(group)
    several = (rows["uri"].transform("nunique") > 1).to_numpy()
    clips.loc[told[several], "unit"] = rows["clip_id"].transform("min")[several]

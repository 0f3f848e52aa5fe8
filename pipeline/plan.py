"""Plan: which pairs to make of which clips, in which part. Cheap, on the driver, and nearly the same when a clip is added."""

import numpy as np
import pandas as pd
import pyarrow as pa

from manifests.chance import key, mix, uniform
from manifests.errors import RunError
from manifests.labels import Labels
from manifests.part import Part
from pipeline.config import Config
from pipeline.lanes import ROUNDS, Lane, clashing
from pipeline.lanes.pieces import Pieces
from pipeline.lanes.recordings import Recordings, Remixes
from pipeline.lanes.solos import Solos
from pipeline.lanes.soundscapes import Soundscapes
from pipeline.lanes.utterances import Conversations, Utterances
from pipeline.split import quotas

LANES = (("remove", "extract"), ("add", "replace"), ("transfer",), ("speech_delete", "speech_insert", "speech_substitute"),
         ("extract_speaker", "remove_speaker"), ("generate",))
KINDS = {"add": ("soundscape", "piece", "separated"), "remove": ("soundscape", "piece", "remix"), "extract": ("soundscape", "piece", "separated"),
         "replace": ("soundscape",), "transfer": ("soundscape", "piece", "solo"), "generate": ("solo", "piece"),
         "speech_delete": ("utterance",), "speech_insert": ("utterance",), "speech_substitute": ("utterance",),
         "extract_speaker": ("conversation",), "remove_speaker": ("conversation",)}

ALONE = 0.5  # of an edit's pairs, where it is made of clips alone and of others
NOOPS = ("remove", "replace")

Maker = Soundscapes | Pieces | Recordings | Remixes | Utterances | Conversations | Solos

SCHEMA = pa.schema([
    ("pair_id", pa.string()), ("scene_id", pa.string()), ("kind", pa.string()), ("split", pa.string()), ("part", pa.int32()),
    ("edit", pa.string()), ("subject", pa.int8()), ("clip_ids", pa.list_(pa.string())), ("other", pa.string()), ("noop", pa.bool_()),
])


def plan(clips: pd.DataFrame, config: Config, run8: str, lacking: list[str], labels: Labels) -> pa.Table:
    """The plan of a run, a row a pair, parts in order.

    Args:
        clips: kept clips; columns clip_id, key (uint64 of it), uri, role, label, caption, split, piece, part, variant, speaker, editable, leak_db,
            clap_label, duration, lufs, noise_floor_db, bandwidth_hz.
        run8: what every pair's id starts with.
        lacking: gets a line for each edit and split that had to be left out, if the configuration allows that.
        labels: what labels mean: none that could be taken for another stands beside it in a scene.

    Raises:
        RunError: an edit lacks clips or labels, and `missing` is "fail".
    """
    clips = clips.reset_index(drop=True)
    names = clips["label"].map({label: labels[label].name for label in clips["label"].unique()})
    codes, distinct = pd.factorize(names)
    clips = clips.assign(name=names, code=np.where(names == "", -1, codes), file=pd.factorize(clips["uri"])[0], event=_may_be_event(clips, config))
    clashes = clashing(list(distinct), labels)
    found: list[tuple[pd.DataFrame, np.ndarray]] = []
    for split in config.splits:
        rows = clips[clips["split"] == split]
        makers = {
            "soundscape": Soundscapes(rows, clips, clashes, config), "piece": Pieces(rows, clashes, config.seed),
            "separated": Recordings(rows, config.seed, config.audio.seconds, config.clips.clap_label),
            "remix": Remixes(rows, config.seed, config.clips.clap_label),
            "utterance": Utterances(rows, config.seed), "conversation": Conversations(rows, config.seed),
        }
        makers["solo"] = Solos(rows, config.seed, makers["soundscape"])
        for number, edits in enumerate(LANES):
            wanted = {e: n for e in edits if e in config.wanted and (n := quotas(config.wanted[e], config.splits)[split])}
            for kind, lane, edit, pairs in _read(number, wanted, makers, split, config, lacking):
                found.append((_frame(lane, *pairs, _absent(makers[kind], lane, edit, pairs, config), edit, split, kind), lane.clips))
    return _table(found, clips["clip_id"].to_numpy(object), config, run8)


def _may_be_event(clips: pd.DataFrame, config: Config) -> pd.Series:
    """Which clips can be events of a soundscape: those that ingest found to be one, and what is said, if it fits in, is as short and as clean."""
    low, high = config.clips.event_seconds[0], min(config.clips.event_seconds[1], config.audio.seconds)
    clean = (clips["lufs"] - clips["noise_floor_db"]).astype(float) >= config.clips.floor_db
    return (clips["role"] == "event") | ((clips["role"] == "utterance") & clips["duration"].between(low, high) & clean)


def _read(number: int, wanted: dict[str, int], makers: dict[str, Maker], split: str, config: Config,
          lacking: list[str]) -> list[tuple[str, Lane, str, tuple]]:
    """The pairs of a lane's edits: each kind of scene, its lane, an edit and that edit's pairs. What one kind of scene cannot give, another may."""
    most = {(edit, kind): makers[kind].most(edit) for edit in wanted for kind in KINDS[edit]}
    while True:
        shares = {edit: _by_kind(count, {kind: most[edit, kind] for kind in KINDS[edit] if most[edit, kind]}) for edit, count in wanted.items()}
        found = []
        for kind, maker in makers.items():
            counts = {edit: by_kind[kind] for edit, by_kind in shares.items() if by_kind.get(kind)}
            if counts:
                lane, made = _enough(maker, number, counts)
                found += [(kind, lane, edit, pairs) for edit, pairs in made.items()]
        short = {(edit, kind): len(pairs[0]) for kind, _, edit, pairs in found if len(pairs[0]) < shares[edit][kind]}
        if not short:
            break
        most |= short
    for edit, count in wanted.items():
        if (can := sum(shares[edit].values())) < count:
            holds = "; ".join(makers[kind].holds() for kind in KINDS[edit])
            apart = any(most[edit, kind] < makers[kind].most(edit) for kind in KINDS[edit])
            holds += f", too few that go together (labels told apart, clips.bandwidth), in at most {ROUNDS} scenes each" if apart else ""
            _lack(edit, can, count, split, holds, config, lacking)
    return found


def _by_kind(count: int, most: dict[str, int]) -> dict[str, int]:
    """Pairs shared out over kinds of scene that can give so many at most; of clips alone the share `ALONE`, if there are others.

    >>> _by_kind(40, {"soundscape": 99, "piece": 4, "solo": 99})
    {'soundscape': 16, 'piece': 4, 'solo': 20}
    """
    alone = (ALONE if len(most) > 1 else 1.0) * ("solo" in most)
    weights = {kind: alone if kind == "solo" else (1 - alone) / (len(most) - (alone > 0)) for kind in most}
    counts = {kind: min(n, most[kind]) for kind, n in quotas(count, weights).items()} if most else {}
    for kind in counts:
        counts[kind] += min(count - sum(counts.values()), most[kind] - counts[kind])
    return counts


def _lack(edit: str, can: int, count: int, split: str, holds: str, config: Config, lacking: list[str]) -> None:
    line = f"edit '{edit}' can have {can} of {count} pairs in split '{split}', which{config.under} holds {holds}"
    if config.missing == "fail":
        raise RunError(f"{line}: add recordings, ask for fewer, or set missing: skip")
    lacking.append(line)


def _enough(maker: Maker, number: int, counts: dict[str, int]) -> tuple[Lane, dict[str, tuple]]:
    """A lane long enough for all its edits (not every scene suits every edit), and each edit's pairs."""
    length = max(counts.values())
    while True:
        lane = maker.lane(number, length)
        made = {edit: tuple(column[:count] for column in maker.pairs(lane, edit)) for edit, count in counts.items()}
        if len(lane.scene) < length or all(len(made[edit][0]) == count for edit, count in counts.items()):
            return lane, made
        length *= 2


def _absent(maker: Maker, lane: Lane, edit: str, pairs: tuple, config: Config) -> np.ndarray:
    """Which pairs of an edit name a sound that is not there, bool (pairs,); their `other` is set to a clip of its label."""
    scene, subject, other = pairs
    if edit not in NOOPS or not isinstance(maker, Soundscapes | Pieces):
        return np.zeros(len(scene), bool)
    noop = uniform(config.seed, key("noop", edit), lane.scenes[scene], subject) < config.scenes.noops
    if edit == "remove":
        other[noop] = maker.absent(lane, scene[noop], subject[noop])
    return noop & (other >= 0)  # what is to replace a sound is absent already


def _frame(lane: Lane, scene, subject, other, noop, edit: str, split: str, kind: str) -> pd.DataFrame:
    return pd.DataFrame({"key": lane.scenes[scene], "kind": kind, "split": split, "edit": edit, "subject": subject.astype(np.int8),
                         "other": other, "noop": noop, "row": scene})


def _table(found: list[tuple[pd.DataFrame, np.ndarray]], ids: np.ndarray, config: Config, run8: str) -> pa.Table:
    """Pairs put in order: splits, parts, scenes; whole scenes in a part, as many as one shard holds."""
    if not found:
        return SCHEMA.empty_table()
    width = max(rows.shape[1] for _, rows in found)
    rows = np.concatenate([np.pad(rows[pairs["row"]], ((0, 0), (0, width - rows.shape[1])), constant_values=-1) for pairs, rows in found])
    pairs = pd.concat([pairs for pairs, _ in found], ignore_index=True).assign(row=range(len(rows)))
    pairs["shuffled"] = mix(config.seed, key("shuffle"), pairs["key"].to_numpy(np.uint64))
    pairs["place"] = pairs["split"].map({name: n for n, name in enumerate(config.splits)})
    pairs = pairs.sort_values(["place", "shuffled", "edit", "subject"], kind="stable").reset_index(drop=True)
    starts = np.flatnonzero((pairs["key"] != pairs["key"].shift()) | (pairs["place"] != pairs["place"].shift()))
    sizes = np.diff(np.append(starts, len(pairs)))
    part, load, before, numbers = -1, 0, None, []
    for size, place in zip(sizes.tolist(), pairs["place"].to_numpy()[starts].tolist()):
        if place != before or load + size > config.shards.pairs:
            part, load, before = part + 1, 0, place
        load += size
        numbers.append(part)
    ids, rows = np.append(ids, ""), rows[pairs["row"]]
    offsets = np.append(0, np.cumsum((rows >= 0).sum(axis=1)))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(ids[rows[rows >= 0]], pa.string()))
    scene_ids = [f"{scene:016x}" for scene in pairs["key"]]
    pair_ids = [f"{run8}-{scene}-{edit}-{subject}" for scene, edit, subject in zip(scene_ids, pairs["edit"], pairs["subject"])]
    columns = [pair_ids, scene_ids, pairs["kind"], pairs["split"], np.repeat(numbers, sizes), pairs["edit"], pairs["subject"], lists, ids[pairs["other"]],
               pairs["noop"]]
    return pa.table([c if isinstance(c, pa.Array) else pa.array(c, type=field.type) for c, field in zip(columns, SCHEMA)], schema=SCHEMA)


def parts(table: pa.Table) -> list[tuple[Part, pa.Table]]:
    """Parts that a plan asks for, each with its rows; items are filled in when the part is started."""
    numbers = table["part"].to_numpy()
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    ends = np.append(starts[1:], len(numbers))
    return [(Part("pairs", int(numbers[a]), [], table["split"][int(a)].as_py()), table.slice(a, b - a)) for a, b in zip(starts, ends)]

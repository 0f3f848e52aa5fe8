"""Check the sources: what their names and labels alone show to be missing is told before any work."""

from collections import Counter

import pandas as pd

from manifests.clip import EXCLUDED, Clip
from manifests.errors import RequestError
from manifests.labels import Labels
from pipeline.config import Config
from pipeline.lanes import clashing
from pipeline.sources import Listing
from pipeline.split import components
from stages.engines import soundfont

SHOWN = 3  # labels that a line names


def check_sources(config: Config, listing: Listing, labels: Labels) -> list[str]:
    """Refuse what the sources' names and labels alone show to be missing; exact counts need the clips.

    Returns:
        Lines about what can be made, but not as it was asked for.

    Raises:
        RequestError: naming the edit, what it lacks, and what would be right.
    """
    if config.missing == "skip":
        return []
    named = [clip for clip in listing.named if clip.reason is None and clip.role != EXCLUDED and listing.files[clip.uri].status == "ok"]
    for edit in config.wanted:
        if fault := _fault(edit, named, config):
            raise RequestError(f"edit '{edit}' needs {fault}, or set missing: skip")
    _check_units(named, config)
    return _check_apart(named, config, labels)


def _fault(edit: str, named: list[Clip], config: Config) -> str | None:
    """What an edit lacks, and what to do about it."""
    roles = {clip.role for clip in named}
    if edit == "generate":
        told = config.labeler or any(clip.label or clip.caption or clip.piece or clip.role == "utterance" or _played(clip) for clip in named)
        return None if told else f"sounds with a label or a caption, speech, or pieces of music{config.under}: give the sources' recordings labels"
    if edit.endswith("_speaker"):
        return None if "conversation" in roles else f"conversations{config.under}: set conversation: true on a source of speech and name a diarizer"
    if edit.startswith("speech_"):
        return None if "utterance" in roles else f"speech{config.under}: add a source of domain speech (with a transcriber) or of kind espeak"
    fewest = 3 if edit == "replace" else 2  # a background, an event, and what takes its place; made into another sound, it may be alone
    labels = len({clip.label if _settled(clip, config) else clip.uri for clip in _sounds(named)})
    other = any(clip.piece for clip in named) and edit != "replace" or "stem" in roles and edit not in ("replace", "transfer")
    return None if labels >= fewest or other else f"sounds of {fewest} labels, the sources{config.under} name {labels}: add recordings"


def _sounds(named: list[Clip]) -> list[Clip]:
    """What may stand in soundscapes."""
    return [clip for clip in named if not clip.piece and (clip.role not in ("utterance", "conversation", "stem") or clip.role == "utterance" and clip.label)]


def _played(clip: Clip) -> bool:
    return clip.uri.startswith(soundfont.SCHEME)


def _settled(clip: Clip, config: Config) -> bool:
    """Whether a clip's label is known: each that is played, or that an engine is to label, may turn out to be of another."""
    return not _played(clip) and (config.labeler is None or bool(clip.label))


def _check_units(named: list[Clip], config: Config) -> None:
    """Refuse recordings that cannot be split, since they are of too few groups or speakers."""
    tied = pd.DataFrame([(clip.uri, clip.group, clip.speaker, "") for clip in named], columns=["uri", "group", "speaker", "clip_id"])
    units, files = len(set(components(tied))), tied["uri"].nunique()
    if units < len(config.splits) <= files:
        raise RequestError(f"sources: their {files} recordings are of {units} group{'s' * (units > 1)} (column group or speaker), which cannot stand on "
                           f"{len(config.splits)} sides of the split: give groups to what belongs together only, or set shares of split to 0")


def _check_apart(named: list[Clip], config: Config, labels: Labels) -> list[str]:
    """Refuse labels of which no two can be told apart; tell where they are too few for the scenes that were asked for."""
    sounds = _sounds(named)
    if not all(_settled(clip, config) for clip in sounds) or not set(config.wanted) & {"add", "remove", "extract", "replace"}:
        return []
    said = sorted({clip.label for clip in sounds if clip.label})
    names = sorted({labels[label].name for label in said})
    grounds = any(not clip.label and clip.role != "event" for clip in sounds)  # what has no label may lie under any
    asked = max(n for n, share in enumerate(config.scenes.events, 1) if share)
    clashes, apart = set(clashing(names, labels).tolist()), []
    clashing_with = Counter(pair // 2**32 for pair in clashes)
    for n in sorted(range(len(names)), key=lambda n: clashing_with[n]):  # what could mean many others comes last
        if len(apart) <= asked and not any(m * 2**32 + n in clashes for m in apart):  # more than are asked for need not be counted
            apart.append(n)
    shown = ", ".join(said[:SHOWN]) + (", …" if len(said) > SHOWN else "")
    if len(apart) == 1 and not grounds and not any(clip.piece or clip.role == "stem" for clip in named):
        raise RequestError(f"sources: each of their {len(said)} labels ({shown}) could be meant by another's name, so that no two can stand in one scene: "
                           "add sounds of other kinds, or say in a file of your own (labels) what they mean")
    if len(apart) <= asked:
        return [f"scenes: the sources{config.under} name {len(apart)} labels that can be told apart ({shown}); scenes of {asked} different sounds over "
                f"a background want {asked + 1}, so that many will have fewer: add sounds of other kinds"]
    return []

"""Check the sources: what their names and labels alone show to be missing is told before any work."""

from manifests.clip import EXCLUDED
from manifests.errors import RequestError
from pipeline.config import Config
from pipeline.lanes.soundscapes import INSTEAD
from pipeline.sources import Listing
from stages.engines import soundfont


def check_sources(config: Config, listing: Listing) -> None:
    """Refuse what the sources' names and labels alone show to be missing; exact counts need the clips.

    Raises:
        RequestError: naming the edit, what it lacks, and what would be right.
    """
    if config.missing == "skip":
        return
    named = [clip for clip in listing.named if clip.reason is None and clip.role != EXCLUDED and listing.files[clip.uri].status == "ok"]
    played = {clip.uri for clip in named if clip.uri.startswith(soundfont.SCHEME)}  # each may turn out to be of another label
    spoken = ("utterance", "conversation")
    open_ = [clip.uri in played or (config.labeler is not None and not clip.label) for clip in named]  # of any label
    under = config.under
    labels = len({clip.uri if any_ else clip.label for clip, any_ in zip(named, open_) if not clip.piece and clip.role not in (*spoken, "stem")})
    pieces, stems, speech = any(clip.piece for clip in named), *(any(clip.role == role for clip in named) for role in ("stem", "utterance"))
    for edit in config.wanted:
        if edit == "generate":
            if not (config.labeler or any(clip.label or clip.caption or clip.piece or clip.role == "utterance" or clip.uri in played for clip in named)):
                raise RequestError(f"edit 'generate' needs sounds with a label or a caption, speech, or pieces of music{under}: give the sources' recordings "
                                   "labels, or set missing: skip")
            continue
        if edit.endswith("_speaker"):
            if not any(clip.role == "conversation" for clip in named):
                raise RequestError(f"edit '{edit}' needs conversations{under}: set conversation: true on a source of speech and name a diarizer, "
                                   "or set missing: skip")
            continue
        if edit.startswith("speech_"):
            if not speech:
                raise RequestError(f"edit '{edit}' needs speech{under}: add a source of domain speech (with a transcriber) or of kind espeak, "
                                   "or set missing: skip")
            continue
        fewest = 3 if edit in INSTEAD else 2  # an event, a background, and what takes the event's place
        if labels < fewest and not (pieces and edit != "replace" or stems and edit not in INSTEAD):
            raise RequestError(f"edit '{edit}' needs sounds of {fewest} labels, the sources{under} name {labels}: add recordings, or set missing: skip")

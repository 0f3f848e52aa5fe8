"""A Clip: a stretch of a recording with what is known of it."""

from dataclasses import dataclass

ROLES = ("event", "background", "either", "track", "stem", "utterance", "conversation")

EXCLUDED = "excluded"  # role of what never enters a run: it is listened to, to be known again

TIERS = ("demo", "synthetic", "real")  # from low to high


@dataclass
class Clip:
    """One row of clips/clips.parquet, and of quality/clips.parquet where it may have been rejected.

    Levels are in dBFS or LUFS, times in seconds of the file it came from, offsets in bytes.
    """

    uri: str  # the file, or soundfont:NAME for what the embedded synthesizer plays
    start: float
    end: float
    source: int  # which of the configuration's sources
    domain: str  # sound | music | speech
    tier: str  # one of TIERS; a pair has the lowest of its clips
    label: str = ""
    caption: str = ""
    transcript: str = ""
    speaker: str = ""
    language: str = ""
    role: str = ""  # one of ROLES; "" until ingest infers it
    license: str = ""
    group: str = ""  # recordings of one group never stand in two splits
    metadata: str = ""  # further columns of the manifest, JSON text
    piece: str = ""  # of a track or a stem: the piece, or the window of a recording, that it belongs to
    part: str = ""  # of a track or a stem: its part in the piece ("melody"); one part may have a second, other timbre
    variant: int = 0  # of a track: 0 as composed, 1 by another program

    clip_id: str = ""  # hash of the decoded samples
    duration: float = 0.0
    lufs: float | None = None  # BS.1770, short sounds repeated up to 0.4 s
    peak_dbfs: float | None = None
    noise_floor_db: float | None = None  # level of the quietest tenth of its frames
    active_ratio: float | None = None
    dc_offset: float | None = None
    clip_ratio: float | None = None  # share of samples at full scale
    bandwidth_hz: float | None = None  # up to which it reaches, see stages.measure
    leak_db: float | None = None  # of a stem: what a second separation finds of it in the rest, over the stem itself
    separation_error_db: float | None = None  # of a stem: what its recording's stems leave over, under the recording
    fingerprint: str = ""  # of a recording, see stages.fingerprint
    words: str = ""  # of an utterance: its words and where it may be cut, see speech.to_json
    turns: str = ""  # of a conversation: who speaks when, see stages.diarize
    editable: int = 0  # of an utterance: stretches of words that can be taken out; of a conversation: its speakers
    speaker_overlap: float | None = None  # of a conversation: share of what is said in which two speak at once
    transcribed_by: str = ""  # the engine that gave the transcript, where the source gave none
    alignment_confidence: float | None = None  # how sure the aligner is of the words, 0 to 1
    chars_per_second: float | None = None  # of the transcript, over the time from first to last word
    clap_label: float | None = None  # similarity of its sound with its label, -1 to 1
    reason: str | None = None  # why it was rejected; null if it was kept

    tar: str = ""  # the file that holds it, relative to the run, or a URI
    offset: int = 0
    size: int = 0
    gain_db: float = 0.0  # applied when it was stored; reading takes it off again
    unit: str = ""  # a clip of the same unit of the split: what must stand on one side
    split: str = ""

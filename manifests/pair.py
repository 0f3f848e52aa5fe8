"""A Pair: which stems of a scene stand before and which after, and the instruction that leads from one to the other."""

import json
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa

from manifests.tables import schema_of

EDITS = ("add", "remove", "extract", "replace", "transfer", "speech_delete", "speech_insert", "speech_substitute", "extract_speaker", "remove_speaker",
         "generate")
LICENSES = ("cc0-1.0", "public-domain", *(f"cc-{terms}-{version}" for terms in ("by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd")
                                          for version in ("1.0", "2.0", "2.5", "3.0", "4.0")))  # from lax to strict


@dataclass
class QualityRow:
    """One row of quality/pairs.parquet. A score that was not computed is null, never 0."""

    pair_id: str
    scene_id: str
    edit: str
    branch: str  # synthetic | real
    tier: str  # real | synthetic | demo
    domain: str
    language: str
    split: str
    part: int
    kept: bool = False
    reason: str | None = None  # null, the rule it broke, or the error
    instruction: str = ""
    label: str = ""
    noop: bool = False
    duration_s: float | None = None  # of the target
    n_events: int = 0
    overlap_ratio: float | None = None  # share of the edited spans in which another event sounds
    source_lufs: float | None = None
    target_lufs: float | None = None
    source_peak_dbfs: float | None = None
    target_peak_dbfs: float | None = None
    change_db: float | None = None  # power of target less source, over the stronger of the two in the edited spans; speech of other length has none
    snr_db: float | None = None  # the edited sound over the background, LU
    local_snr_db: float | None = None  # the edited sound over all else in its own span, LU
    active_ratio: float | None = None  # share of the pair in which the edited sound is within 30 dB of its loudest
    leak_db: float | None = None  # of a stem that stands alone as the target: what is found of it again in the rest
    join_level_db: float | None = None  # the loudest join, under the speech
    join_f0_semitones: float | None = None  # the widest step of pitch over a join
    floor_step_db: float | None = None  # the widest step of the noise floor between joined pieces
    alignment_confidence: float | None = None
    chars_per_second: float | None = None
    clap_source: float | None = None  # similarity of the source with all that is heard on it
    clap_target: float | None = None
    clap_gain: float | None = None  # how far the edited span moved toward what the instruction asks for
    clap_background: float | None = None  # of a background without a label: the likest of the scene's labels in any 2 s of it
    wer_source: float | None = None  # word error rate of what is heard there; character error rate in scripts without spaces
    wer_target: float | None = None
    asr_choice: str | None = None  # whose text is heard on the target: source | target | neither
    speaker_overlap: float | None = None
    separation_error_db: float | None = None
    transcribed_by: str = ""  # the engine, where the source gave no transcript
    license: str = ""
    clip_ids: list[str] = field(default_factory=list)
    seconds_render: float | None = None
    seconds_score: float | None = None


@dataclass
class Pair(QualityRow):
    """A pair on its way through the stages."""

    before: list[int] = field(default_factory=list)  # stems of the source
    after: list[int] = field(default_factory=list)  # stems of the target
    edited: list[int] = field(default_factory=list)  # the stems that the edit is about
    instructions: list[str] = field(default_factory=list)
    wordings: list[str] = field(default_factory=list)  # what each instruction was made of, its places not yet filled
    source_text: str = ""
    target_text: str = ""
    edit_spans: list[list[float]] = field(default_factory=list)
    clips: list[dict] = field(default_factory=list)
    gain_db: float = 0.0
    params: dict = field(default_factory=dict)
    sample_rate: int = 0
    source: np.ndarray | None = None  # int16 (channels, samples)
    target: np.ndarray | None = None

    def quality(self) -> dict:
        """Its row of quality/pairs.parquet."""
        return {f.name: getattr(self, f.name) for f in fields(QualityRow)}

    def sample(self) -> dict:
        """Its KEY.json in a shard: the same keys with the same types in every sample, no nulls."""
        return {
            "id": self.pair_id, "scene_id": self.scene_id, "edit": self.edit, "branch": self.branch, "tier": self.tier,
            "domain": self.domain, "language": self.language, "instruction": self.instruction,
            "instructions": self.instructions, "label": self.label, "noop": self.noop, "split": self.split,
            "sample_rate": self.sample_rate, "duration": float(self.duration_s),
            "source_text": self.source_text, "target_text": self.target_text,
            "edit_start": self.edit_spans[0][0], "edit_end": self.edit_spans[-1][1], "edit_spans": self.edit_spans,
            "n_events": self.n_events, "clips": self.clips, "gain_db": float(self.gain_db),
            "params": json.dumps(self.params, sort_keys=True, allow_nan=False),
            "scores": json.dumps({name: getattr(self, name) for name in SCORES}, sort_keys=True, allow_nan=False),
        }


def speaks(sample: dict) -> bool:
    """Whether a pair, by its KEY.json, is about what is said: then `target_text` is what is said in its target."""
    return sample["edit"].startswith("speech_") or sample["edit"] == "generate" and json.loads(sample["params"])["stems"][0]["role"] == "speech"


SCORES = tuple(f.name for f in fields(QualityRow) if f.type == float | None and not f.name.startswith("seconds_"))
QUALITY: pa.Schema = schema_of(QualityRow)


def strictest(licenses: list[str]) -> str:
    """The strictest of some licences; one that is not known ("") counts as stricter than all that are."""
    return max(licenses, key=lambda name: LICENSES.index(name.lower()) if name.lower() in LICENSES else len(LICENSES))

"""The configuration: what a run is made of, checked strictly."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from manifests.pair import EDITS
from manifests.strict import Strict, nearest
from pipeline.source_kinds import Folder, Licenses, Manifest, Source
from stages.filter import Rule
from stages.ingest import Gates

PART_BYTES = 1_000_000_000  # audio of a part's pairs, at most: a part is rendered whole, by one process
SPLITS = ("train", "val", "test")

Share = Annotated[float, Field(ge=0, le=1)]


class Audio(Strict):
    """Every sample of a run has this rate (Hz), these channels, and a scene this length (s)."""

    sample_rate: int = Field(44100, ge=8000, le=192000)
    channels: Literal[1, 2] = 1
    seconds: float = Field(10.0, ge=1.0, le=600.0)


class Engine(BaseModel):
    """An outside model by name, or as package.module:Class; what stands beside the name are its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    engine: str


class Scenes(Strict):
    """How soundscapes are made up.

    `events`: shares of those with one, two, three and four events of different labels; `overlap`: of events made to overlap the one that the scene is made
    for; `repeats`: of soundscapes in which that one sounds twice; `rooms`: of events that sound in a simulated room. `noops`: share of remove and replace
    pairs, of pieces too, that name a sound that is not there, so that nothing is to be done.
    """

    events: tuple[Share, Share, Share, Share] = (0.2, 0.35, 0.3, 0.15)
    overlap: Share = 0.5
    repeats: Share = 0.2
    rooms: Share = 0.3
    noops: Share = 0.03

    @field_validator("events")
    @classmethod
    def _whole(cls, events: tuple) -> tuple:
        if abs(sum(events) - 1) > 1e-6:
            raise ValueError(f"the shares add up to {sum(events):g}, not 1")
        return events


class Scorers(Strict):
    """What listens to finished pairs."""

    clap: Engine | None = None
    asr: Engine | None = Engine(engine="pocketsphinx")


class Edit(Strict):
    """How many pairs of an edit to plan."""

    pairs: int = Field(ge=0)


class Stop(Strict):
    """When a build gives up: an edit stands in that many parts, and a smaller share of its pairs there was kept."""

    kept: float = Field(0.5, ge=0, le=1)
    parts: int = Field(20, ge=1)


class Filters(Strict):
    rules: list[Rule] = [
        Rule(score="target_peak_dbfs", min=-60.0, max=-0.9),
        Rule(score="change_db", min=-40.0),
        Rule(score="local_snr_db", min=-5.0, domain="sound"),
        Rule(score="local_snr_db", min=-25.0, domain="music"),
        Rule(score="join_level_db", max=-25.0),
        Rule(score="join_f0_semitones", max=5.0),
        Rule(score="floor_step_db", max=3.0),
        Rule(score="wer_source", max=0.0),
        Rule(score="asr_choice", equals="target"),
        Rule(score="clap_gain", min=0.001),
        Rule(score="clap_background", max=0.25),
    ]
    store_rejected: bool = False
    stop: Stop | None = Stop()


class Split(Strict):
    train: float = Field(0.8, ge=0, le=1)
    val: float = Field(0.1, ge=0, le=1)
    test: float = Field(0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _whole(self):
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}, not 1")
        return self


class Shards(Strict):
    pairs: int = Field(64, ge=1, le=10_000)


class Resources(Strict):
    """What one task of a stage reserves; with `actors`, a pool of that many processes that stay."""

    cpus: float = Field(1, ge=0, le=1024)
    gpus: float = Field(0, ge=0, le=64)
    actors: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _a_gpu_has_a_pool(self):
        if self.gpus and not self.actors:
            raise ValueError("gpus needs actors, e.g. {gpus: 0.5, actors: 2}: processes that hold a model and stay")
        return self


class Stages(Strict):
    ingest: Resources = Resources()
    separate: Resources = Resources()
    diarize: Resources = Resources()
    transcribe: Resources = Resources()
    label: Resources = Resources()
    clap: Resources = Resources()
    render: Resources = Resources()
    score: Resources = Resources()
    hear: Resources = Resources()
    shard: Resources = Resources()


class Config(Strict):
    """A whole run. `resources` and `filters.stop` are not part of a run's identity: they change no byte."""

    seed: int = Field(0, ge=0)
    audio: Audio = Audio()
    sources: list[Source] = Field(min_length=1)
    licenses: Licenses = Licenses()
    exclude: list[Annotated[Folder | Manifest, Field(discriminator="kind")]] = []  # recordings that never enter
    separator: Engine = Engine(engine="hpss")
    transcriber: Engine = Engine(engine="pocketsphinx")
    diarizer: Engine | None = None
    labeler: Engine | None = None
    synthesizer: Engine = Engine(engine="espeak")
    scorers: Scorers = Scorers()
    clips: Gates = Gates()
    scenes: Scenes = Scenes()
    labels: str | None = None  # a file of what labels mean, over manifests/labels.yaml
    missing: Literal["fail", "skip"] = "fail"
    edits: dict[str, Edit]
    filters: Filters = Filters()
    split: Split = Split()
    shards: Shards = Shards()
    resources: Stages = Stages()

    @field_validator("edits", mode="before")
    @classmethod
    def _known_edits(cls, edits: Any) -> Any:
        if not isinstance(edits, dict):
            return edits
        for name in edits:
            if name not in EDITS:
                raise ValueError(f"unknown edit '{name}'{nearest(str(name), EDITS)}; one of {', '.join(EDITS)}")
        return {name: {"pairs": value} if type(value) is int else value for name, value in edits.items()}

    @field_validator("edits")
    @classmethod
    def _some_edits(cls, edits: dict[str, Edit]) -> dict[str, Edit]:
        if not any(edit.pairs for edit in edits.values()):
            raise ValueError("asks for no pairs; say how many, e.g. add: 40")
        return edits

    @property
    def wanted(self) -> dict[str, int]:
        """Pairs to plan of each edit that is asked for."""
        return {name: edit.pairs for name, edit in self.edits.items() if edit.pairs}

    @property
    def splits(self) -> dict[str, float]:
        """The share of each split that is wanted."""
        return {name: share for name in SPLITS if (share := getattr(self.split, name)) > 0}

    @model_validator(mode="after")
    def _fits(self):
        longest = max(self.audio.seconds, self.clips.utterance_seconds[1] if any(name.startswith("speech_") for name in self.wanted) else 0.0)
        pair = 4 * round(longest * self.audio.sample_rate) * self.audio.channels  # bytes of both sides, 16 bits
        if self.shards.pairs * pair > PART_BYTES:
            raise ValueError(f"shards.pairs: {self.shards.pairs} pairs of this length take {self.shards.pairs * pair / 1e9:.1f} GB at once; "
                             f"at most {max(1, PART_BYTES // pair)} fit into {PART_BYTES / 1e9:g} GB")
        return self

    @model_validator(mode="after")
    def _gates_have_their_engines(self):
        if self.clips.clap_label is not None and self.scorers.clap is None:
            raise ValueError("clips.clap_label: no scorer tells it; name one as scorers.clap, e.g. {engine: laion_clap}, or leave it out")
        return self

    @model_validator(mode="after")
    def _conversations_are_told_apart(self):
        for n, source in enumerate(self.sources):
            if getattr(source, "conversation", False) and (source.domain != "speech" or source.separate or self.diarizer is None):
                raise ValueError(f"sources.{n}: conversation: true is for domain: speech without separate, and needs a diarizer, e.g. {{engine: pyannote}}")
        return self

    @property
    def under(self) -> str:
        """What a line about missing clips says of what keeps some out."""
        kept = [name for name, given in (("licenses.allow", self.licenses.allow is not None), ("exclude", bool(self.exclude))) if given]
        return f" under {' and '.join(kept)}" if kept else ""

    @property
    def engines(self) -> dict[str, Engine]:
        """The engines that the configuration names, by kind."""
        labeler = self.labeler
        if labeler is not None and labeler.engine == "clap" and self.scorers.clap is not None:
            labeler = Engine.model_validate({"scorer": self.scorers.clap.model_dump(), **labeler.model_dump()})  # the same, held once
        named = {"separator": self.separator, "diarizer": self.diarizer, "transcriber": self.transcriber, "labeler": labeler,
                 "scorer": self.scorers.clap, "recognizer": self.scorers.asr, "synthesizer": self.synthesizer}
        return {kind: engine for kind, engine in named.items() if engine is not None}

    def identity(self) -> dict:
        """All of it that decides the bytes of a run: not how many items an engine takes at once, nor where it runs, nor when it gives up."""
        return _without(self.model_dump(mode="json", exclude={"resources": True, "filters": {"stop"}}), ("batch", "device"))


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _without(each, names) for key, each in value.items() if key not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value

"""The configuration: YAML, read safely, checked strictly, in the user's words where it is wrong."""

import difflib
import os
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from manifests.errors import RequestError
from manifests.pair import EDITS
from stages.filter import Rule
from stages.ingest import Gates

PART_BYTES = 1_000_000_000  # audio of a part's pairs, at most: a part is rendered whole, by one process
SPLITS = ("train", "val", "test")
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's names of one fault


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Audio(Strict):
    """Every sample of a run has this rate (Hz), these channels, and a scene this length (s)."""

    sample_rate: int = Field(44100, ge=8000, le=192000)
    channels: Literal[1, 2] = 1
    seconds: float = Field(10.0, ge=1.0, le=600.0)


class Folder(Strict):
    """All files in a folder and its folders; the label is the folder's name or the file's own."""

    kind: Literal["folder"]
    path: str
    domain: Literal["sound", "music", "speech"] = "sound"
    label: Literal["parent", "stem"] | None = None
    role: Literal["event", "background", "either"] | None = None
    license: str = ""
    separate: bool = False


class Manifest(Strict):
    """A table of files: csv, jsonl or parquet."""

    kind: Literal["manifest"]
    path: str
    domain: Literal["sound", "music", "speech"] = "sound"
    separate: bool = False


class Soundfont(Strict):
    """Embedded: pieces of music with known stems, and single sounds, played by a General MIDI soundfont."""

    kind: Literal["soundfont"]
    pieces: int = Field(0, ge=0)
    sounds: int = Field(0, ge=0)


class Espeak(Strict):
    """Embedded: sentences of a built-in grammar, spoken by a synthesizer's voices in turn."""

    kind: Literal["espeak"]
    utterances: int = Field(0, ge=0)


Source = Annotated[Folder | Manifest | Soundfont | Espeak, Field(discriminator="kind")]
SOURCES = ("folder", "manifest", "soundfont", "espeak")


class Engine(BaseModel):
    """An outside model by name, or as package.module:Class; what stands beside the name are its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    engine: str


class Scorers(Strict):
    """What listens to finished pairs."""

    clap: None = None
    asr: Engine | None = Engine(engine="pocketsphinx")


class Edit(Strict):
    """How many pairs of an edit to plan."""

    pairs: int = Field(ge=0)


class Filters(Strict):
    rules: list[Rule] = [
        Rule(score="target_peak_dbfs", max=0.0),
        Rule(score="local_snr_db", min=-5.0, domain="sound"),
        Rule(score="local_snr_db", min=-25.0, domain="music"),
        Rule(score="join_level_db", max=-25.0),
        Rule(score="join_f0_semitones", max=5.0),
        Rule(score="floor_step_db", max=3.0),
        Rule(score="wer_source", max=0.0),
        Rule(score="asr_choice", equals="target"),
    ]


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


class Stages(Strict):
    ingest: Resources = Resources()
    separate: Resources = Resources()
    transcribe: Resources = Resources()
    render: Resources = Resources()
    score: Resources = Resources()
    shard: Resources = Resources()


class Config(Strict):
    """A whole run. `resources` is not part of a run's identity: it changes no byte."""

    seed: int = Field(0, ge=0)
    audio: Audio = Audio()
    sources: list[Source] = Field(min_length=1)
    separator: Engine = Engine(engine="hpss")
    transcriber: Engine = Engine(engine="pocketsphinx")
    synthesizer: Engine = Engine(engine="espeak")
    scorers: Scorers = Scorers()
    clips: Gates = Gates()
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
                raise ValueError(f"unknown edit '{name}'{_nearest(str(name), EDITS)}; one of {', '.join(EDITS)}")
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

    def identity(self) -> dict:
        """All of it that decides the bytes of a run."""
        return self.model_dump(mode="json", exclude={"resources"})


def load(path: str, overrides: list[str] = ()) -> Config:
    """Read a configuration; paths in it are made absolute, relative ones from the file's folder.

    Args:
        path: of the YAML file.
        overrides: ``key.sub=value`` each, the value in YAML; a number in a key counts a list's places.

    Raises:
        RequestError: naming the file and the key, and what would be right.
    """
    try:
        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a date that is none
        raise RequestError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise RequestError(f"{path}: a configuration is a table of keys such as sources and edits")
    for override in overrides:
        _override(value, override)
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        raise RequestError(f"{path}: {_in_words(error)}") from None
    base = os.path.dirname(os.path.abspath(path))
    sources = [
        source.model_copy(update={"path": source.path if "://" in source.path else os.path.normpath(os.path.join(base, os.path.expanduser(source.path)))})
        if hasattr(source, "path") else source
        for source in config.sources
    ]
    return config.model_copy(update={"sources": sources})


def _override(value: Any, override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals:
        raise RequestError(f"--set {override}: write key.sub=value")
    *parents, last = [int(key) if key.isdecimal() else key for key in name.split(".")]
    try:
        for key in parents:
            value = value.setdefault(key, {}) if isinstance(value, dict) else value[key]
        value[last] = yaml.safe_load(text)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise RequestError(f"--set {override}: there is no {name} to set") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise RequestError(f"--set {override}: the value is not YAML") from None


def _in_words(error: ValidationError) -> str:
    """The first fault in one line: the key, what is wrong, what would be right."""
    faults = error.errors(include_url=False)
    fault = next((f for f in faults if f["type"] in UNKNOWN), faults[0])  # a misspelt key is also a missing one
    place = [" ".join(str(p).split()) for p in fault["loc"] if p not in SOURCES]
    key, kind = ".".join(place) or "configuration", fault["type"]
    if kind in UNKNOWN:
        return f"{key}: unknown key{_nearest(place[-1], _all_keys()) if place else ''}"
    if kind.startswith("union_tag"):
        return f"{key}: kind must be one of {', '.join(SOURCES)}"
    message = fault["msg"].removeprefix("Value error, ")
    if not place and kind == "value_error":
        return message  # of the whole: it names its key itself
    given = "" if kind in ("missing", "value_error") or isinstance(fault["input"], (dict, list)) else f", not {fault['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}{given}"


def _nearest(word: str, known) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _all_keys() -> set[str]:
    models = [Config, *Strict.__subclasses__()]
    return {key for model in models for key in model.model_fields} | set(Gates.__dataclass_fields__) | set(Rule.__dataclass_fields__)

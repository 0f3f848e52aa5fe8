"""Reading a run's configuration: paths made absolute, and what a misspelt key may have meant."""

import os
from typing import Any

from manifests import strict
from manifests.strict import Strict
from pipeline.config import Config, Engine
from pipeline.source_kinds import SOURCES, Espeak, Folder, Manifest, Soundfont, Source
from stages.filter import Rule
from stages.ingest import Gates


def load(path: str, overrides: list[str] = ()) -> Config:
    """Read a configuration; paths in it are made absolute, relative ones from the file's folder.

    Args:
        path: of the YAML file.
        overrides: as `manifests.strict.load` takes them.

    Raises:
        RequestError: naming the file and the key, and what would be right.
    """
    config = strict.load(path, overrides, Config, _keys_at, SOURCES)
    base = os.path.dirname(os.path.abspath(path))
    sources, exclude = ([_placed(source, base) for source in named] for named in (config.sources, config.exclude))
    labels = config.labels and _absolute(config.labels, base)
    scorers = config.scorers.model_copy(update={name: _located(getattr(config.scorers, name), base) for name in ("clap", "asr")})
    located = {name: _located(getattr(config, name), base) for name in ("separator", "transcriber", "diarizer", "labeler", "synthesizer")}
    return config.model_copy(update={"sources": sources, "exclude": exclude, "scorers": scorers, "labels": labels, **located})


def _placed(source: Source, base: str) -> Source:
    return source.model_copy(update={key: _absolute(path, base) for key in ("path", "font") if (path := getattr(source, key, None)) is not None})


def _absolute(path: str, base: str) -> str:
    return path if "://" in path else os.path.normpath(os.path.join(base, os.path.expanduser(path)))


def _located(value: Any, base: str) -> Any:
    """An engine, or one of its options, with paths made absolute: text that begins with ./, ../ or ~/ is one."""
    if isinstance(value, Engine):
        return Engine.model_validate(_located(value.model_dump(), base))
    if isinstance(value, dict):
        return {key: _located(each, base) for key, each in value.items()}
    if isinstance(value, list):
        return [_located(each, base) for each in value]
    if isinstance(value, str) and value.startswith(("./", "../", "~/")):
        return _absolute(value, base)
    return value


def _keys_at(place: list[str]) -> set[str]:
    """The keys that may be meant at a place: of the whole, of a source, or all."""
    if len(place) == 1:
        return set(Config.model_fields)
    rooms = (Config.__module__, Folder.__module__)  # a training's, where it is imported too, are not meant
    ours = [kind for kind in Strict.__subclasses__() if kind.__module__ in rooms]
    models = [Folder, Manifest, Soundfont, Espeak] if place[0] in ("sources", "exclude") else ours
    return {key for model in models for key in model.model_fields} | set(Gates.__dataclass_fields__) | set(Rule.__dataclass_fields__)

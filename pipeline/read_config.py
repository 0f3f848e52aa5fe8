"""Reading a configuration: YAML, read safely; what is wrong with it in the user's words."""

import os
from typing import Any

import yaml
from pydantic import ValidationError

from manifests.errors import RequestError
from pipeline.config import SOURCES, Config, Engine, Espeak, Folder, Manifest, Soundfont, Strict, nearest
from stages.filter import Rule
from stages.ingest import Gates

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's names of one fault


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
    scorers = config.scorers.model_copy(update={name: _located(getattr(config.scorers, name), base) for name in ("clap", "asr")})
    located = {name: _located(getattr(config, name), base) for name in ("separator", "transcriber", "diarizer", "labeler", "synthesizer")}
    return config.model_copy(update={"sources": sources, "scorers": scorers, **located})


def _located(value: Any, base: str) -> Any:
    """An engine, or one of its options, with paths made absolute: text that begins with ./, ../ or ~/ is one."""
    if isinstance(value, Engine):
        return Engine.model_validate(_located(value.model_dump(), base))
    if isinstance(value, dict):
        return {key: _located(each, base) for key, each in value.items()}
    if isinstance(value, list):
        return [_located(each, base) for each in value]
    if isinstance(value, str) and value.startswith(("./", "../", "~/")):
        return os.path.normpath(os.path.join(base, os.path.expanduser(value)))
    return value


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
        return f"{key}: unknown key{nearest(place[-1], _keys_at(place)) if place else ''}"
    if kind.startswith("union_tag"):
        return f"{key}: kind must be one of {', '.join(SOURCES)}"
    message = fault["msg"].removeprefix("Value error, ")
    if not place and kind == "value_error":
        return message  # of the whole: it names its key itself
    given = "" if kind in ("missing", "value_error") or isinstance(fault["input"], (dict, list)) else f", not {fault['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}{given}"


def _keys_at(place: list[str]) -> set[str]:
    """The keys that may be meant at a place: of the whole, of a source, or all."""
    if len(place) == 1:
        return set(Config.model_fields)
    models = [Folder, Manifest, Soundfont, Espeak] if place[0] == "sources" else [Config, *Strict.__subclasses__()]
    return {key for model in models for key in model.model_fields} | set(Gates.__dataclass_fields__) | set(Rule.__dataclass_fields__)

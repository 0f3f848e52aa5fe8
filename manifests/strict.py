"""Configurations: YAML, read safely and checked strictly; what is wrong with one in the user's words."""

import dataclasses
import difflib
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from manifests.errors import RequestError

LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEPTH = 100  # of tables and lists within each other; thousands would overflow the stack of the parser in C
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's names of one fault


class Strict(BaseModel):
    """Part of a configuration: no key but its own, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=BaseModel)


def load(path: str, overrides: Iterable[str], kind: type[Kind], keys: Callable[[list[str]], Iterable[str]] | None = None, tags: tuple[str, ...] = ()) -> Kind:
    """Read a configuration.

    Args:
        path: of the YAML file.
        overrides: ``key.sub=value`` each, the value in YAML; a number in a key counts a list's places.
        kind: what it is checked against.
        keys: those that may be meant at a place where an unknown one stands; None: all that `kind` has anywhere.
        tags: values of a `kind` key that tells one table from another; pydantic names them in its places.

    Raises:
        RequestError: naming the file and the key, and what would be right.
    """
    value = read_yaml(path)
    if not isinstance(value, dict):
        raise RequestError(f"{path}: a configuration is a table of keys such as {', '.join(list(kind.model_fields)[:2])}")
    return _checked(value, overrides, kind, f"{path}: ", keys, tags)


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds, read safely, and in C where PyYAML has that.

    Raises:
        RequestError: it cannot be read, is no YAML, or a key stands twice in one table; names it.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        _check_depth(text)
        loader = LOADER(text)
        root = loader.get_single_node()
        if twice := _twice(root):
            raise RequestError(f"{path}: {twice}")
        return None if root is None else loader.construct_document(root)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a date that is none
        raise RequestError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise RecursionError(f"more than {DEPTH} tables and lists within each other")


def _twice(root: yaml.Node | None) -> str | None:
    """The first key that stands twice in its table, in words; of two, PyYAML would drop one without a word."""
    seen, open_ = set(), [root]
    while open_:
        node = open_.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            open_ += node.value[::-1]
            continue
        (name, times), = Counter(str(key.value) for key, _ in node.value).most_common(1) or [("", 0)]
        if times > 1:
            return f"'{' '.join(name.split())}' stands twice in the table that begins in line {node.start_mark.line + 1}"
        open_ += [part for pair in node.value[::-1] for part in pair]
    return None


def checked(overrides: Iterable[str], kind: type[Kind]) -> Kind:
    """A configuration of overrides alone; see `load`."""
    return _checked({}, overrides, kind, "--set ", None, ())


def _checked(
    value: dict, overrides: Iterable[str], kind: type[Kind], where: str, keys: Callable[[list[str]], Iterable[str]] | None, tags: tuple[str, ...]
) -> Kind:
    for override in overrides:
        _override(value, override)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise RequestError(where + _in_words(error, keys or (lambda place: _keys(kind)), tags)) from None


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is most like one that is not."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


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


def _in_words(error: ValidationError, keys: Callable[[list[str]], Iterable[str]], tags: tuple[str, ...]) -> str:
    """The first fault in one line: the key, what is wrong, what would be right."""
    faults = error.errors(include_url=False)
    fault = next((f for f in faults if f["type"] in UNKNOWN), faults[0])  # a misspelt key is also a missing one
    place = [" ".join(str(p).split()) for p in fault["loc"] if p not in tags]
    key, kind = ".".join(place) or "configuration", fault["type"]
    if kind in UNKNOWN:
        return f"{key}: unknown key{nearest(place[-1], keys(place)) if place else ''}"
    if kind.startswith("union_tag"):
        return f"{key}: kind must be one of {', '.join(tags)}"
    message = fault["msg"].removeprefix("Value error, ")
    if not place and kind == "value_error":
        return message  # of the whole: it names its key itself
    given = "" if kind in ("missing", "value_error") or isinstance(fault["input"], (dict, list)) else f", not {fault['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}{given}"


def _keys(kind: Any) -> set[str]:
    """All keys of a table and of the tables in it."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union, typing.Annotated):
        return set().union(*(_keys(option) for option in typing.get_args(kind)))
    if not isinstance(kind, type) or not (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)):
        return set()
    hints = typing.get_type_hints(kind)
    names = list(kind.model_fields) if issubclass(kind, BaseModel) else [field.name for field in dataclasses.fields(kind)]
    return set(names).union(*(_keys(hints[name]) for name in names))

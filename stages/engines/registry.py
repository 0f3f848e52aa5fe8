"""Engines by name, or as package.module:Class; each is loaded once a process and kept."""

import importlib
import json
from functools import lru_cache
from typing import Any

from manifests.errors import RequestError

EMBEDDED = {
    "separator": {"hpss": "stages.engines.hpss:Hpss"},
    "transcriber": {"pocketsphinx": "stages.engines.pocketsphinx:Aligner"},
    "recognizer": {"pocketsphinx": "stages.engines.pocketsphinx:Chooser"},
    "synthesizer": {"espeak": "stages.engines.espeak:Espeak"},
}


def load(kind: str, spec: dict[str, Any]) -> Any:
    """The engine that a configuration names.

    Args:
        kind: separator | transcriber | recognizer | synthesizer.
        spec: `engine`, and beside it the options that its class takes.

    Raises:
        RequestError: there is no such engine, it lacks a package, or it does not take these options.
    """
    return _load(kind, json.dumps(spec, sort_keys=True))


@lru_cache
def _load(kind: str, spec: str) -> Any:
    options = json.loads(spec)
    name = options.pop("engine")
    path = EMBEDDED[kind].get(name, name)
    module, colon, member = path.partition(":")
    if not colon:
        raise RequestError(f"{kind}: unknown engine '{name}'; one of {', '.join(EMBEDDED[kind])}, or package.module:Class")
    try:
        made = getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # the last two: a path that names no module
        raise RequestError(f"{kind}: engine '{name}' cannot be loaded: {error}") from None
    try:
        return made(**options)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{kind}: engine '{name}' does not take these options: {error}") from None

"""Engines by name, or as package.module:Class; each is loaded once a process and kept."""

import importlib
import json
from functools import lru_cache
from typing import Any

from manifests.clip import TIERS
from manifests.errors import RequestError

NAMED = {
    "separator": {"hpss": "stages.engines.hpss:Hpss", "demucs": "stages.engines.demucs:Demucs"},
    "transcriber": {"pocketsphinx": "stages.engines.pocketsphinx:Aligner", "whisperx": "stages.engines.whisperx:WhisperX"},
    "recognizer": {"pocketsphinx": "stages.engines.pocketsphinx:Chooser", "whisperx": "stages.engines.whisperx:WhisperX"},
    "diarizer": {"pyannote": "stages.engines.pyannote:Pyannote"},
    "scorer": {"laion_clap": "stages.engines.laion_clap:LaionClap"},
    "labeler": {"clap": "stages.engines.zero_shot:ZeroShot", "qwen_omni": "stages.engines.qwen_omni:QwenOmni", "openai": "stages.engines.openai:OpenAI"},
    "synthesizer": {"espeak": "stages.engines.espeak:Espeak"},
}
EXTRA = ("torch", "torchaudio", "torchvision", "demucs", "whisperx", "faster_whisper", "laion_clap", "pyannote", "transformers")  # of the extra [engines]
METHODS = {"separator": "separate", "transcriber": "transcribe", "recognizer": "hear", "diarizer": "diarize", "scorer": "score", "labeler": "label",
           "synthesizer": "speak"}


def load(kind: str, spec: dict[str, Any]) -> Any:
    """The engine that a configuration names. No package that it brings reports usage to anyone, unless the environment asks for it.

    Args:
        kind: one of `NAMED`.
        spec: `engine`, and beside it the options that its class takes.

    Raises:
        RequestError: there is no such engine, it lacks a package or a checkpoint, or it does not take these options.
    """
    return _load(kind, json.dumps(spec, sort_keys=True))


@lru_cache
def _load(kind: str, spec: str) -> Any:
    options = json.loads(spec)
    name = options.pop("engine")
    path = NAMED[kind].get(name, name)
    module, colon, member = path.partition(":")
    if not colon:
        raise RequestError(f"{kind}: unknown engine '{name}'; one of {', '.join(NAMED[kind])}, or package.module:Class")
    try:
        return _fit(kind, getattr(importlib.import_module(module), member)(**options))
    except ModuleNotFoundError as error:
        if name in NAMED[kind] and error.name and error.name.partition(".")[0] in EXTRA:
            raise RequestError(f"{kind}: engine '{name}' needs {error.name}: pip install 'audioedit[engines]'") from None
        raise RequestError(f"{kind}: engine '{name}' cannot be loaded: {error}") from None
    except RequestError as error:
        raise RequestError(f"{kind}: engine '{name}': {error}") from None
    except (ImportError, AttributeError) as error:
        raise RequestError(f"{kind}: engine '{name}' cannot be loaded: {error}") from None
    except (TypeError, ValueError) as error:  # of a path that names no module too
        raise RequestError(f"{kind}: engine '{name}' does not take these options: {error}") from None


def _fit(kind: str, engine: Any) -> Any:
    """An engine, once it is sure that it has what its protocol asks for."""
    if not callable(getattr(engine, METHODS[kind], None)):
        raise RequestError(f"it is no {kind}: it has no method {METHODS[kind]}")
    if kind == "separator" and getattr(engine, "tier", None) not in TIERS:
        raise RequestError(f"it is no separator: its attribute tier is none of {', '.join(TIERS)}")
    return engine

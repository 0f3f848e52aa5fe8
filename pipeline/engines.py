"""Engines of a run: which ones it needs, and that each loads, before any work."""

import json
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from manifests.errors import RequestError
from pipeline.config import Config, Resources
from pipeline.sources import Listing
from stages.engines import espeak, registry


def specification(engine: Any) -> str:
    """What an engine is in a part's work: JSON text."""
    return engine.model_dump_json()


def needed(config: Config, listing: Listing, clips_at_hand: bool) -> list[tuple[str, str, Resources]]:
    """Kind, specification and resources of each engine that a run will use."""
    stages, found = config.resources, []
    if not clips_at_hand:
        roles = {clip.role for clip in listing.named}
        if "stem" in roles:
            found.append(("separator", specification(config.separator), stages.separate))
        if any(source.kind == "espeak" for source in config.sources):
            found.append(("synthesizer", specification(config.synthesizer), stages.ingest))
        if any(clip.role == "utterance" and not clip.uri.startswith(espeak.SCHEME) for clip in listing.named):  # a synthesizer tells its words
            found.append(("transcriber", specification(config.transcriber), stages.transcribe))
    if config.scorers.asr and any(edit.startswith("speech_") for edit in config.wanted):
        found.append(("recognizer", specification(config.scorers.asr), stages.score))
    return found


def check(engines: list[tuple[str, str, Resources]]) -> None:
    """Load each engine once, on the resources of its stage.

    Raises:
        RequestError: one cannot be loaded, or takes its process down.
    """
    tries = [(kind, spec, _load.options(num_cpus=r.cpus, num_gpus=r.gpus, max_retries=0).remote(kind, spec)) for kind, spec, r in engines]
    for kind, spec, loading in tries:
        try:
            ray.get(loading)
        except RayTaskError as error:
            if isinstance(error.cause, RequestError):
                raise error.cause from None
            raise RequestError(f"{kind}: engine '{json.loads(spec)['engine']}' cannot be loaded: {type(error.cause).__name__}: {error.cause}") from None
        except RayError as death:
            raise RequestError(f"{kind}: engine '{json.loads(spec)['engine']}' takes its process down when it is loaded ({type(death).__name__})") from None


@ray.remote
def _load(kind: str, spec: str) -> None:
    registry.load(kind, json.loads(spec))

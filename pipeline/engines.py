"""Engines of a run: which ones it needs, and that each loads, before any work."""

import json

import ray
from ray.exceptions import RayError, RayTaskError

from manifests.errors import RequestError
from pipeline.config import Config, Resources
from pipeline.sources import Listing
from stages.engines import espeak, registry


def specifications(config: Config) -> dict[str, str]:
    """What the engines are in a part's work: JSON text by kind."""
    return {kind: engine.model_dump_json() for kind, engine in config.engines.items()}


def needed(config: Config, listing: Listing, clips_at_hand: bool) -> list[tuple[str, str, Resources]]:
    """Kind, specification and resources of each engine that a run will use."""
    stages, speech = config.resources, any(edit.startswith("speech_") for edit in config.wanted)
    roles = {clip.role for clip in listing.named}
    told = any(clip.role == "utterance" and not clip.uri.startswith(espeak.SCHEME) for clip in listing.named)  # a synthesizer tells its words
    used = {
        "separator": (stages.separate, not clips_at_hand and "stem" in roles),
        "diarizer": (stages.diarize, not clips_at_hand and "conversation" in roles),
        "synthesizer": (stages.ingest, not clips_at_hand and any(source.kind == "espeak" for source in config.sources)),
        "transcriber": (stages.transcribe, not clips_at_hand and told),
        "labeler": (stages.label, not clips_at_hand and any(not clip.label and clip.role in ("", "either", "event") for clip in listing.named)),
        "scorer": (stages.clap, True),
        "recognizer": (stages.hear, speech),
    }
    specs = specifications(config)
    return [(kind, specs[kind], resources) for kind, (resources, wanted) in used.items() if wanted and kind in specs]


def check(engines: list[tuple[str, str, Resources]]) -> None:
    """Load each engine once, on the resources of its stage.

    Raises:
        RequestError: one cannot be loaded, or takes its process down.
    """
    tries = []
    for kind, spec, r in engines:
        load = _load_and_end if r.actors else _load  # what a pool is to hold, no other process keeps
        tries.append((kind, spec, load.options(num_cpus=r.cpus, num_gpus=r.gpus, max_retries=0).remote(kind, spec)))
    for kind, spec, loading in tries:
        try:
            ray.get(loading)
        except RayTaskError as error:
            if isinstance(error.cause, RequestError):
                raise error.cause from None
            why = " ".join(f"{type(error.cause).__name__}: {error.cause}".split())
            raise RequestError(f"{kind}: engine '{json.loads(spec)['engine']}' cannot be loaded: {why[:400]}{'…' if len(why) > 400 else ''}") from None
        except RayError as death:
            raise RequestError(f"{kind}: engine '{json.loads(spec)['engine']}' takes its process down when it is loaded ({type(death).__name__})") from None


@ray.remote
def _load(kind: str, spec: str) -> None:
    registry.load(kind, json.loads(spec))


@ray.remote(max_calls=1)
def _load_and_end(kind: str, spec: str) -> None:
    registry.load(kind, json.loads(spec))

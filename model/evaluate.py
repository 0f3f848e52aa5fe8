"""Evaluate: the outputs of systems held against the targets of pairs."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from manifests.audio import decode_flac
from manifests.errors import Rejected
from model.evaluation.distances import Spectra, energy, error_db, log_spectral_distance, multi_resolution_stft, si_sdr
from model.evaluation.siblings import sibling_test
from model.evaluation.task import Task
from model.recording import Recording, fitted, resampled
from model.training.shards import Sample

ONE_TO_MANY = ("add", "replace", "transfer", "generate")  # the target is one of many that would do, so that no waveform is right
METRICS = ("si_sdr_db", "lsd_db", "mr_stft", "inside_db", "outside_db", "sibling", "sibling_chance", "clap", "wer")

System = Callable[[Task], Recording | None]  # None: it is not for this edit; Rejected: it has no output for this pair


@dataclass(frozen=True)
class Listeners:
    """Engines that listen, where there are any; None in the place of a value: it could not be told.

    Attributes:
        clap: similarity of audio (channels, samples) at a rate (Hz) with a label.
        wer: word error rate of what is heard on an output of a speech edit against the target's text; is given the audio and the task.
    """

    clap: Callable[[np.ndarray, int, str], float | None] | None = None
    wer: Callable[[np.ndarray, Task], float | None] | None = None


NOBODY = Listeners()


def scores(output: np.ndarray, task: Task, listeners: Listeners = NOBODY, others: Sequence[Task] = ()) -> dict[str, float | bool | None]:
    """METRICS of an output (channels, samples) that has its target's shape. What does not apply is None.

    `si_sdr_db`: not of ONE_TO_MANY, nor where nothing is to be done. `lsd_db`, `mr_stft`: as in `distances`. `inside_db`, `outside_db`: energy
    of output less target where the edit is, and elsewhere, over that of the stronger of source and target there; -80 where nothing is wrong. `sibling`,
    `sibling_chance`: see `sibling_test`. `clap`: see `_change`. `wer`: of speech edits; of speech made
    out of silence none, for a recogniser that chooses between texts would have no other to choose.

    Args:
        others: pairs of the same scene.
    """
    edited, was, made = task.edited(), task.edited("source"), Spectra(output)
    found = {
        "si_sdr_db": None if task.edit in ONE_TO_MANY or task.facts["noop"] else si_sdr(output, task.target),
        "lsd_db": log_spectral_distance(made, task.wanted), "mr_stft": multi_resolution_stft(made, task.wanted),
    }
    for name, here, there in (("inside_db", edited, was), ("outside_db", ~edited, ~was)):
        reference = max(energy(task.target[:, here]), energy(task.source[:, there]))
        found[name] = error_db(output[:, here], task.target[:, here], reference) if here.any() else None
    found["sibling"], found["sibling_chance"] = sibling_test(made, task, others) or (None, None)
    audio, label = _change(output, task)
    found["clap"] = listeners.clap(audio, task.rate, label) if listeners.clap and label and audio.any() else None
    found["wer"] = listeners.wer(output, task) if listeners.wer and task.edit.startswith("speech_") else None
    return found


def _change(output: np.ndarray, task: Task) -> tuple[np.ndarray, str]:
    """What is to sound like a label, from the first edited sample to the last, and that label.

    What came (add, replace, transfer, generate), what went (remove), or what is left (extract).
    """
    label = task.facts["label"]
    if task.facts["noop"]:
        return output[:, :0], ""
    if task.edit in ("replace", "transfer"):
        recipe = json.loads(task.facts["params"])
        label = recipe["stems"][recipe["edited"][-1]]["label"]
    if task.edit == "generate":
        label = "" if task.speaks else task.facts["target_text"]
    places = np.flatnonzero(task.edited())
    if task.edit not in (*ONE_TO_MANY, "remove", "extract") or not len(places):
        return output[:, :0], ""
    change = {"remove": task.source - output, "extract": output}.get(task.edit, output - task.source)
    return change[:, places[0] : places[-1] + 1], label


def evaluate(samples: Iterable[Sample], systems: dict[str, System], listeners: Listeners = NOBODY, limit: int | None = None,
             tell: Callable[[], None] = lambda: None) -> Iterator[dict]:
    """A row for each pair and each system that is for its edit: pair_id, system, METRICS, and a note where the output is not as the target is.

    Args:
        samples: of runs, siblings one after the other, as runs hold them.
        limit: of pairs that are judged.
        tell: is called when a pair is done.
    """
    left = limit
    for _, scene in groupby(samples, key=lambda sample: sample.facts["scene_id"]):
        if left == 0:
            return
        tasks = [Task(*(decode_flac(sample.members[f"{side}.flac"]) for side in ("source", "target")), sample.facts["sample_rate"], sample.facts)
                 for sample in scene]
        for number, task in enumerate(tasks[:left]):
            others = [*tasks[:number], *tasks[number + 1 :]]
            for name, system in systems.items():
                if (row := _row(name, system, task, others, listeners)) is not None:
                    yield row
            tell()
        left = None if left is None else max(0, left - len(tasks))


def _row(name: str, system: System, task: Task, others: list[Task], listeners: Listeners) -> dict | None:
    row = {"pair_id": task.facts["id"], "system": name, "note": None, **dict.fromkeys(METRICS)}
    try:
        made = system(task)
        if made is None:
            return None
        output, row["note"] = conform(made, task)
    except Rejected as fault:
        return {**row, "note": str(fault)}
    return row | scores(output, task, listeners, others)


def conform(made: Recording, task: Task) -> tuple[np.ndarray, str | None]:
    """An output at the rate, in the channels and of the length of its target, and what had to be done for that.

    Raises:
        Rejected: its channels cannot be mixed, or its samples are not finite.
    """
    audio, (channels, samples), done = made.audio, task.target.shape, []
    if not np.isfinite(audio).all():
        raise Rejected("holds samples that are not finite")
    if len(audio) != channels:
        if 1 not in (len(audio), channels):
            raise Rejected(f"has {len(audio)} channels, the target {channels}")
        done.append(f"{len(audio)} channels made {channels}")
        audio = audio.mean(axis=0, keepdims=True) if channels == 1 else np.repeat(audio, channels, axis=0)
    if made.rate != task.rate:
        done.append(f"resampled from {made.rate} Hz")
        audio = resampled(audio, made.rate, task.rate)
    if audio.shape[1] != samples:
        done.append(f"{'cut' if audio.shape[1] > samples else 'padded'} by {abs(audio.shape[1] - samples) / task.rate:.3f} s")
    return fitted(audio, samples), ", ".join(done) or None

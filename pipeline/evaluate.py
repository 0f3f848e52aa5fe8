"""Evaluate: the test split of a run through a model, or another system's outputs, and how good they are."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from manifests import audio as files
from manifests.errors import Rejected, RequestError
from manifests.storage import Storage, split_uri
from manifests.strict import nearest
from manifests.tables import read_table, write_table
from model.evaluate import Listeners, System, evaluate
from model.evaluation.baselines import BASELINES
from model.evaluation.summary import slices, table
from model.evaluation.task import Task
from model.recording import Recording
from model.training.shards import Sample, Shards
from pipeline.select import selected
from pipeline.status import open_run
from stages.engines import registry
from stages.engines.protocols import Recognizer, Speech, TextAudioScorer
from stages.hear import error_rate
from stages.score_clap import HEARD_AS, PROMPT

FOUND = (".wav", ".flac")


@dataclass(frozen=True)
class Request:
    """What is to be evaluated, as the command line has it; at least one of `model` and `outputs` is given."""

    data: str
    output: str
    split: str = "test"
    model: str | None = None
    outputs: str | None = None
    select: str | None = None
    limit: int | None = None
    by: tuple[str, ...] = ()
    overwrite: bool = False
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    mllm: str | None = None


def run(request: Request) -> str:
    """Write a row a pair and system, with the pair's row of quality/pairs.parquet; gives the tables to show.

    Raises:
        RequestError: what is wrong with the request, before any work.
    """
    if request.model is None and request.outputs is None:
        raise RequestError("nothing to evaluate: give a MODEL, or --outputs DIR with a system's recordings")
    if request.limit is not None and request.limit < 1:
        raise RequestError(f"--limit {request.limit}: at least 1 is wanted")
    place, name = _writable(request.output, request.overwrite)
    storage, facts = open_run(request.data)
    if facts["state"] != "done":
        raise RequestError(f"--data {request.data}: the run is {facts['state']}, not done; audioedit status says how far it is")
    quality = read_table(storage, "quality/pairs.parquet")
    for column in request.by:
        _check_column(column, quality.schema)
    shards = Shards([request.data], request.split, None if request.select is None else selected(request.select))
    systems: dict[str, System] = {}
    if request.outputs is not None:
        systems["outputs"] = _recorded(Path(request.outputs))
    if request.model is not None:
        from model.editor import Editor
        from model.evaluation.generator import codec_of, editing

        editor = Editor.from_pretrained(request.model, mllm=request.mllm)
        systems |= {"model": editing(editor, request.steps, request.guidance, request.seed), "codec": codec_of(editor)}
    listeners = listeners_of(facts["configuration"].get("scorers", {}), set(shards.edit.tolist()))
    total = len(shards) if request.limit is None else min(request.limit, len(shards))
    with tqdm(total=total, unit=" pair", desc="evaluate", file=sys.stderr, mininterval=0.5 if sys.stderr.isatty() else 10) as bar:
        rows = list(evaluate(_read(shards), {**systems, **BASELINES}, listeners, request.limit, bar.update))
    if not rows:
        raise RequestError(f"--data {request.data}: no sample of the split {request.split} can be read")
    kept = quality.to_pandas().query("kept").drop_duplicates("pair_id")
    joined = pd.DataFrame(rows).astype({"note": "string", "sibling": "boolean"}).merge(kept, on="pair_id", how="left", validate="many_to_one")
    try:
        write_table(place, name, pa.Table.from_pandas(joined, preserve_index=False))
    except OSError as error:
        raise RequestError(f"-o {request.output}: cannot be written: {error}") from None
    return "\n\n".join([table(joined), *(slices(joined, column) for column in request.by), *_told(joined, shards)])


def _writable(path: str, overwrite: bool) -> tuple[Storage, str]:
    """The folder and name of the file to write, once it is sure that it can be."""
    place, name = split_uri(path)
    if not name.endswith(".parquet"):
        raise RequestError(f"-o {path}: write a .parquet file")
    if place.exists(name) and not overwrite:
        raise RequestError(f"-o {path}: exists already; --overwrite writes it again")
    try:
        place.write(f".{name}.probe", b"")
        place.remove(f".{name}.probe")
    except OSError as error:
        raise RequestError(f"-o {path}: cannot be written: {error.strerror or error}") from None
    return place, name


def _check_column(column: str, schema: pa.Schema) -> None:
    if column not in schema.names:
        raise RequestError(f"--by {column}: quality/pairs.parquet has no such column{nearest(column, schema.names)}")
    if pa.types.is_list(schema.field(column).type):
        raise RequestError(f"--by {column}: it holds several values a pair; name a column that holds one")


def _recorded(folder: Path) -> System:
    """A system whose outputs lie in a folder, named by pair id."""
    if not folder.is_dir():
        raise RequestError(f"--outputs {folder}: there is no such folder")
    if not any(path.suffix in FOUND for path in folder.iterdir()):
        raise RequestError(f"--outputs {folder}: holds no {' or '.join(FOUND)} files; they are named by pair id")

    def read(task: Task) -> Recording:
        path = next((path for suffix in FOUND if (path := folder / f"{task.facts['id']}{suffix}").is_file()), None)
        if path is None:
            raise Rejected(f"there is no {task.facts['id']}.wav or .flac")
        try:
            seconds, rate, channels = files.probe(str(path))
            return Recording(files.decode(str(path), 0, seconds, rate, channels), rate)
        except OSError as error:
            raise Rejected(f"cannot be read: {error}") from None

    return read


def _read(shards: Shards) -> Iterator[Sample]:
    """Samples in their order; those that are damaged are told and left out."""
    for line in shards.damaged:
        tqdm.write(line, file=sys.stderr)
    for number in range(len(shards)):
        try:
            yield shards.read(number)
        except (Rejected, OSError) as error:
            tqdm.write(str(error), file=sys.stderr)


def listeners_of(scorers: dict, edits: set[str]) -> Listeners:
    """A run's own engines, as far as its edits need them; one that is not here is told, and its column stays empty.

    Args:
        scorers: of its configuration.
    """
    found = {}
    for name, kind, needed in (("clap", "scorer", edits & set(HEARD_AS)), ("asr", "recognizer", any(edit.startswith("speech_") for edit in edits))):
        if scorers.get(name) and needed:
            try:
                found[name] = registry.load(kind, scorers[name])
            except RequestError as error:
                tqdm.write(f"no {'CLAP' if name == 'clap' else 'WER'}: {error}", file=sys.stderr)
    return Listeners(_clap(found["clap"]) if "clap" in found else None, _wer(found["asr"]) if "asr" in found else None)


def _clap(scorer: TextAudioScorer):
    def similarity(audio: np.ndarray, rate: int, label: str) -> float | None:
        (found,) = scorer.score([audio], rate, [[PROMPT.format(label)]])
        return None if isinstance(found, Rejected) or not np.isfinite(found).all() else float(found[0])

    return similarity


def _wer(recognizer: Recognizer):
    def rate_of(audio: np.ndarray, task: Task) -> float | None:
        texts = (task.facts["source_text"], task.facts["target_text"])
        (heard,) = recognizer.hear([Speech(audio, texts, task.facts["language"])], task.rate)
        return None if isinstance(heard, Rejected) else error_rate(texts[1], heard)

    return rate_of


def _told(rows: pd.DataFrame, shards: Shards) -> Iterator[str]:
    """What the tables do not say: outputs without scores, and shards that could not be read to their ends."""
    for system, lost in rows[rows["lsd_db"].isna()].groupby("system"):
        yield f"  {system}: {len(lost)} of {(rows['system'] == system).sum()} have no scores, the first since: {lost['note'].iloc[0]}"
    if shards.damaged:
        yield f"  {len(shards.damaged)} shards are damaged: audioedit verify says which"

"""Who speaks when, by the pipelines for speaker diarization of pyannote.audio 4.

Bredin (2023, "pyannote.audio 2.1 speaker diarization pipeline: principle, benchmark, and recipe"): a network tells, in windows of some
seconds, when each of a few voices speaks; another makes an embedding of each voice of each window; the embeddings are clustered, a
cluster a speaker. Networks, clustering and thresholds are what the pipeline's config.yaml says.

What loading may run. The package unpickles its checkpoints without limits (`Model.from_pretrained` has weights_only=False written in
it), and a config.yaml names classes to import and call: a pipeline is to be trusted as code is. Only a PLDA (.npz) is read as data.

What reaches the network. A pipeline that is named as on the hub is fetched, with the token that huggingface_hub has (HF_TOKEN). So is
what a local config.yaml leaves to the hub: models that it names as on the hub, and those of its segmentation, embedding and plda that
it does not name, the plda even where the clustering needs none. In a local folder name them all, as $model/segmentation and so on; with
HF_HUB_OFFLINE=1 a name of the hub is looked for in its cache alone. The package reports each model and pipeline that is loaded, and the
length of each recording, to otel.pyannote.ai unless PYANNOTE_METRICS_ENABLED=0 is set before it is imported, which `stages.engines.SILENCE`
does; its thread for that is started all the same, and has nothing to send.
"""

import contextlib
import io
import logging
import pickle
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from manifests.errors import Rejected, RequestError
from stages.engines import loading
from stages.engines.protocols import Turn

RATE = 16_000  # Hz, of the models
CONFIG = "config.yaml"
MOST = 127  # speakers: the package counts them in 8 bits


class Pyannote:
    """Diarizer by a pipeline of pyannote.audio; see `protocols.Diarizer`.

    Recordings are worked on one after another, in windows; a batch is one of windows of the same recording.

    Args:
        pipeline: a name on the hub; or the path of a folder with a config.yaml and the checkpoints beside it, or of such a file.
        speakers: how many speak in each recording, if that is known. The clustering comes as near to it as it can.
        min_speakers: how many speak at least; None: one.
        max_speakers: how many speak at most; None: any number.
        windows: of a recording, how many the networks are given at once, in place of what config.yaml says.
        batch: recordings at once.
        device: where torch runs: auto, cpu, cuda, cuda:0, ...

    Raises:
        ValueError: an option is out of its range.
        RequestError: the pipeline or one of its models is not there, is not one for diarization, or must be told how many speak.
    """

    def __init__(self, *, pipeline: str = "pyannote/speaker-diarization-community-1", speakers: int | None = None, min_speakers: int | None = None,
                 max_speakers: int | None = None, windows: int = 32, batch: int = 8, device: str = "auto"):
        for name, count in {"speakers": speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}.items():
            if count is not None and (count != int(count) or not 1 <= count <= MOST):
                raise ValueError(f"{name} is {count}; a whole number from 1 to {MOST}")
        for name, count in {"windows": windows, "batch": batch}.items():
            if count != int(count) or count < 1:
                raise ValueError(f"{name} is {count}; a whole number of at least 1")
        if speakers is not None and (min_speakers is not None or max_speakers is not None):
            raise ValueError("speakers is how many speak exactly; leave min_speakers and max_speakers out")
        if min_speakers is not None and max_speakers is not None and min_speakers > max_speakers:
            raise ValueError(f"min_speakers is {min_speakers}; at most max_speakers, {max_speakers}")
        name = loading.checkpoint("pipeline", pipeline)
        if Path(name).is_dir() and not (Path(name) / CONFIG).is_file():
            raise RequestError(f"pipeline: there is no {CONFIG} in {name}")
        torch_device = loading.device(device)
        with _undisturbed():
            import torch

            self._pipeline = _loaded(name)
            if self._pipeline._expects_num_speakers and speakers is None:
                raise RequestError(f"speakers: the clustering of {name} must be told how many there are")
            self._pipeline.segmentation_batch_size = self._pipeline.embedding_batch_size = int(windows)
            self._pipeline.to(torch.device(torch_device))
        asked = {"num_speakers": speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
        self._counts = {name: int(count) for name, count in asked.items() if count is not None}
        self.batch = int(batch)

    def diarize(self, recordings: list[np.ndarray], rate: int) -> list[list[Turn] | Rejected]:
        """Turns of "speaker 1", "speaker 2", ..., who are named in the order in which they are first heard.

        Returns:
            An empty list for digital silence, and for what is too short to leave a sample at the models' rate. `Rejected` where
            the clustering cannot part so little speech among as many speakers as the options ask for.
        """
        return [self._turns(audio, rate) for audio in recordings]

    def _turns(self, audio: np.ndarray, rate: int) -> list[Turn] | Rejected:
        import torch

        heard = loading.mono(audio, rate, RATE)
        if not heard.any():
            return []
        with _undisturbed():
            try:
                found = self._pipeline({"waveform": torch.from_numpy(heard)[None], "sample_rate": RATE}, **self._counts)
            except ValueError as error:
                if "n_clusters" not in str(error):  # of scikit-learn's KMeans: fewer embeddings than clusters
                    raise
                return Rejected("there is too little speech in it to part it among as many speakers as are asked for")
        annotation = getattr(found, "speaker_diarization", found)  # of pipelines with `legacy: true`, that itself
        end, names, turns = audio.shape[1] / rate, {}, []
        for segment, _, label in annotation.itertracks(yield_label=True):  # in order of start, then of end
            first, last = max(0.0, float(segment.start)), min(end, float(segment.end))
            if first < last:  # windows are filled up with silence, in which turns may lie
                turns.append(Turn(names.setdefault(label, f"speaker {len(names) + 1}"), first, last))
        return turns


def _loaded(name: str) -> Any:
    """The pipeline, on the CPU, as the package loads it."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from pyannote.audio import Pipeline
    from pyannote.audio.pipelines import SpeakerDiarization

    log = logging.getLogger("lightning.pytorch")  # tells of checkpoints by its earlier versions
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        pipeline = Pipeline.from_pretrained(name)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled) as error:
        first = str(error).strip().partition("\n")[0]
        raise RequestError(f"pipeline: {name}, or a model that it needs, does not come from the hub: {first} (What a {CONFIG} does not name of segmentation, "
                           "embedding and plda is left to the hub; a gated model needs its conditions accepted there, and HF_TOKEN.)") from None
    except FileNotFoundError as error:
        raise RequestError(f"pipeline: there is no {error.filename}, which {name} names") from None
    except (KeyError, pickle.UnpicklingError, EOFError) as error:
        raise RequestError(f"pipeline: {name}, or a checkpoint that it names, is not of pyannote.audio: {type(error).__name__}: {error}") from None
    finally:
        log.setLevel(level)
    if not isinstance(pipeline, SpeakerDiarization):
        raise RequestError(f"pipeline: {name} is for {type(pipeline).__name__}; one for SpeakerDiarization is needed")
    return pipeline


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """What the package says, on stdout and in warnings, goes unheard, and what it changes for the process is changed back.

    It draws random numbers that its answers do not depend on, and switches TF32 off where it works on a GPU.
    """
    import torch

    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    tf32, chance = [switch.allow_tf32 for switch in switches], random.getstate()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        for switch, allowed in zip(switches, tf32):
            switch.allow_tf32 = allowed
        random.setstate(chance)

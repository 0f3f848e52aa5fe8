"""Music taken apart by Demucs (Défossez 2021, "Hybrid spectrogram and waveform source separation"; Rouard, Massa and Défossez 2023,
"Hybrid transformers for music source separation"), as the package demucs 4.1 runs it.

Where a model is found. Without `repo`, by its name in the cache of huggingface_hub, which fetches what it lacks (of adefossez/HTDemucs
for htdemucs) unless HF_HUB_OFFLINE is set; what that has not is looked for in torch's cache of downloads ($TORCH_HOME/hub/checkpoints),
where demucs 4.0 kept it. With `repo`, in that folder alone. `demucs.pretrained.get_model` is not called: it hides what the hub
answered and then downloads from another server, HF_HUB_OFFLINE or not, with a progress bar.

What loading may run. The package loads its .th files as free pickles (weights_only=False). Here they are loaded with
weights_only=True, and what they may name beside tensors is the three model classes, Fraction, and NumPy's numbers. A file of the hub
is of safetensors, but it names the class to import and call, so it is to be trusted as code is. Nothing reports usage; of
`stages.engines.SILENCE`, HF_HUB_DISABLE_TELEMETRY is what concerns huggingface_hub.
"""

import contextlib
import pickle
import random
import re
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from manifests.errors import Rejected, RequestError
from stages.engines.loading import device as torch_device

LABELS = {"other": "accompaniment"}  # of stems that people call otherwise than the models do
REST = "rest"
CHANNELS = 2  # of every published model
DELAYS = 0.5  # s over which the passes of `shifts` are spread, as in the package
NOTHING = 1e-8  # added to the standard deviation, as in the package
SHORTEST, LONGEST = 0.1, 600.0  # s, of a segment


class Demucs:
    """Separator into vocals, drums, bass and accompaniment; htdemucs_6s tells guitar and piano too.

    Args:
        model: a name, such as htdemucs, htdemucs_ft (a bag of four, four times as slow), htdemucs_6s; or the signature of one model.
        repo: a folder of .th files as `demucs.states.save_with_checksum` writes and as were once downloaded (955717e8-8726e21a.th),
            and of the .yaml files of bags; the package's own bags need none. None: the caches, see above.
        only: the label of one stem to give, beside "rest", the sum of all others. None: all stems.
        segment: seconds that the model is given at once, 0.1 to 600 and at most what a hybrid transformer was trained on; None: the
            model's own, 7.8 for htdemucs.
        overlap: of neighbouring segments, as a share of them, 0 to 0.9.
        shifts: 0, or how many passes, each on the recording delayed by another part of half a second, are averaged. The package draws
            the delays; here they are the middles of as many equal parts, so that nothing is left to chance.
        batch: recordings at once.
        device: where torch runs: auto, cpu, cuda, cuda:0, ...

    Raises:
        ValueError: an option is out of its range, or `only` is no stem of the model's.
        RequestError: the model is not there, or is not of Demucs.
    """

    tier = "real"

    def __init__(self, *, model: str = "htdemucs", repo: str | None = None, only: str | None = None, segment: float | None = None,
                 overlap: float = 0.25, shifts: int = 0, batch: int = 8, device: str = "auto"):
        if not 0 <= overlap <= 0.9:
            raise ValueError(f"overlap is {overlap}; at least 0 and at most 0.9")
        if shifts != int(shifts) or shifts < 0:
            raise ValueError(f"shifts is {shifts}; a whole number of at least 0")
        if batch != int(batch) or batch < 1:
            raise ValueError(f"batch is {batch}; a whole number of at least 1")
        self._device = torch_device(device)
        loaded = _load(model, repo)
        if loaded.audio_channels != CHANNELS:
            raise RequestError(f"model: {model} takes {loaded.audio_channels} channels; only models of {CHANNELS} are run")
        self._labels = [LABELS.get(source, source) for source in loaded.sources]
        if only is not None and only not in self._labels:
            raise ValueError(f"only is '{only}'; {model} gives {', '.join(self._labels)}")
        members = list(getattr(loaded, "models", [loaded]))
        # A hybrid transformer works on whole segments, whatever it is given; the older models work on what they are given.
        whole = [member for member in members if getattr(member, "use_train_segment", False)]
        longest = min((member.segment for member in whole), default=LONGEST)
        if segment is not None and not SHORTEST <= segment <= longest:
            raise ValueError(f"segment is {segment} s; at least {SHORTEST:g} and, for {model}, at most {float(longest):g}")
        self._segment = min(member.segment for member in members) if segment is None else segment
        self._overlap, self._shifts, self._only = overlap, int(shifts), only
        self._rate = int(loaded.samplerate)
        self._step = int((1 - overlap) * int(self._rate * self._segment)) if len(whole) == len(members) else 1
        self._model = loaded.eval().requires_grad_(False).to(self._device)
        self.batch = int(batch)

    def separate(self, recordings: list[np.ndarray], rate: int) -> list[dict[str, np.ndarray] | Rejected]:
        """See `protocols.Separator`.

        As in the package, a recording is resampled to the model's rate and is given to it less the mean of its channels' mean and over the
        standard deviation of that. Unlike there the mean is not added to each stem, which would give it as many times as there are
        stems: an offset belongs to none. Mono is given on both channels, and both of what comes back are averaged.

        A hybrid transformer is given recordings that end in silence, up to a whole number of the steps from segment to segment, so
        that those of as many steps make one batch; the older models are given only recordings of one length together. How far one
        is padded depends on its own length alone.

        Returns:
            Float32 stems of the recording's shape, in the model's order. What is shorter than a sample at the model's rate, and
            silence, has silent stems. `Rejected` in the place of a recording of more than two channels.
        """
        answers: list = [Rejected(f"it has {len(audio)} channels; Demucs takes one or two") for audio in recordings]
        alike = defaultdict(list)
        for place, audio in enumerate(recordings):
            if len(audio) <= CHANNELS:
                mix, samples, scale = self._prepared(audio, rate)
                alike[mix.shape[1]].append((place, mix, samples, scale))
        for items in alike.values():
            found = self._apply(np.stack([mix for _, mix, _, _ in items]))
            for (place, _, samples, scale), stems in zip(items, found, strict=True):
                answers[place] = self._stems(stems[..., :samples] * scale, recordings[place], rate)
        return answers

    def _prepared(self, audio: np.ndarray, rate: int) -> tuple[np.ndarray, int, np.float32]:
        """A recording as the model is given it, float32 (2, samples), with its samples less padding and what its stems are to be times."""
        mix = _resampled(audio, rate, self._rate)
        samples = max(1, mix.shape[1])
        mix = np.broadcast_to(_of_length(mix, samples), (CHANNELS, samples))
        middle = mix.mean(axis=0, dtype=np.float64)
        scale = np.float32(middle.std(ddof=min(1, samples - 1)) + NOTHING)
        return _of_length((mix - np.float32(middle.mean())) / scale, -(-samples // self._step) * self._step), samples, scale

    def _apply(self, mixes: np.ndarray) -> np.ndarray:
        """Float32 (recordings, stems, 2, samples) of float32 (recordings, 2, samples)."""
        import torch
        from demucs.apply import apply_model

        delays = [round((part + 0.5) * DELAYS * self._rate / self._shifts) for part in range(self._shifts)] or [0]
        with torch.inference_mode():
            mix, found = torch.from_numpy(mixes).to(self._device), 0
            for delay in delays:
                delayed = torch.nn.functional.pad(mix, (delay, 0))
                with _the_same_chance():
                    given = apply_model(self._model, delayed, shifts=0, split=True, overlap=self._overlap, segment=self._segment)
                found += given[..., delay:]
            return (found / len(delays)).cpu().numpy()

    def _stems(self, stems: np.ndarray, audio: np.ndarray, rate: int) -> dict[str, np.ndarray]:
        """Stems as the recording is, of float32 (stems, 2, samples) at the model's rate."""
        if len(audio) == 1:
            stems = stems.mean(axis=1, keepdims=True)
        named = {label: _of_length(_resampled(stem, self._rate, rate), audio.shape[1]) for label, stem in zip(self._labels, stems, strict=True)}
        if self._only is None:
            return named
        return {self._only: named.pop(self._only), REST: np.sum(list(named.values()), axis=0)}


@contextlib.contextmanager
def _the_same_chance():
    """Python's own generator, of which a hybrid transformer draws for every segment, begins anew and is then put back."""
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)


def _resampled(audio: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Float32 (channels, samples) at another rate; may be of no samples."""
    return audio if rate == to else soxr.resample(audio.T, rate, to).T


def _of_length(audio: np.ndarray, samples: int) -> np.ndarray:
    """Its first so many samples, or all and then silence; contiguous, and never a view."""
    return np.pad(audio[:, :samples], ((0, 0), (0, max(0, samples - audio.shape[1]))))


def _load(name: str, repo: str | None) -> Any:
    """A model, or a bag of them, on the CPU; torch's chance, of which its first weights are drawn, is left as it was."""
    import torch
    from demucs.hf import get_hf_model, hf_repo_name
    from huggingface_hub.errors import HFValidationError

    if repo is not None and not Path(repo).is_dir():
        raise RequestError(f"repo: there is no folder at {repo}; put the model's .th file there (and the bag's .yaml), or leave repo out")
    try:
        with torch.random.fork_rng(devices=[]):
            if repo is not None:
                return _of_folder(Path(repo), name)
            try:
                return get_hf_model(name)
            except (OSError, HFValidationError) as error:
                cache = Path(torch.hub.get_dir()) / "checkpoints"
                with contextlib.suppress(RequestError, FileNotFoundError):
                    return _of_folder(cache, name)
                raise RequestError(
                    f"model: {name} is in no cache and does not come from the hub ({type(error).__name__}): fetch adefossez/{hf_repo_name(name)} "
                    f"into the cache of huggingface_hub, or put its .th files into a folder and name that as repo") from None
    except SystemExit:  # how the package says it
        raise RequestError(f"model: {name} is quantized, and needs diffq to be installed") from None


def _of_folder(folder: Path, name: str) -> Any:
    """A model by its signature, or a bag by its name: the folder's own, or the package's of models in the folder."""
    import yaml
    from demucs.apply import BagOfModels
    from demucs.pretrained import REMOTE_ROOT
    from demucs.repo import LocalRepo

    files = LocalRepo(folder).list_model()
    if name in files:
        return _of_file(files[name])
    for bags in (folder, REMOTE_ROOT):
        if (bags / f"{name}.yaml").is_file():
            bag = yaml.safe_load((bags / f"{name}.yaml").read_text())
            members = bag.get("models") if isinstance(bag, dict) else None
            if not members:
                raise RequestError(f"repo: {bags / name}.yaml names no models; demucs writes a list of their signatures there, as models")
            missing = [f"{signature}-*.th" for signature in members if signature not in files]
            if missing:
                raise RequestError(f"repo: {name} is made of {', '.join(members)}; put {' and '.join(missing)} into {folder}")
            models = [_of_file(files[signature]) for signature in members]
            try:
                return BagOfModels(models, bag.get("weights"), bag.get("segment"))
            except AssertionError:  # without a word
                raise RequestError(f"repo: the models of {bags / name}.yaml differ in stems, rate or channels, or do not fit its weights") from None
    there = sorted({*files, *(path.stem for path in folder.glob("*.yaml"))})
    raise RequestError(f"repo: there is no {name}-*.th and no {name}.yaml in {folder}; it holds {', '.join(there) or 'no models'}")


def _of_file(file: Path) -> Any:
    """A model of a .th file whose name ends in its checksum, or has none."""
    import torch
    from demucs.demucs import Demucs as Waveform
    from demucs.hdemucs import HDemucs
    from demucs.htdemucs import HTDemucs
    from demucs.repo import check_checksum
    from demucs.states import load_model

    _, dash, checksum = file.stem.rpartition("-")
    if dash:
        check_checksum(file, checksum)
    classes, scalar = (Waveform, HDemucs, HTDemucs), np.float64(0).__reduce__()[0]
    numbers = [Fraction, np.dtype, np.dtypes.Float64DType, scalar, (scalar, "numpy.core.multiarray.scalar")]  # of NumPy 2, and of 1
    unknown = [each for each in (*classes, *numbers) if each not in torch.serialization.get_safe_globals()]  # what was known stays so
    try:
        with torch.serialization.safe_globals(unknown):
            package = torch.load(file, "cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError) as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        raise RequestError(f"repo: {file} is not a model that demucs saved" + (f": it holds {foreign[1]}" if foreign else "")) from None
    if not isinstance(package, dict) or package.get("klass") not in classes:
        raise RequestError(f"repo: {file} is not a model that demucs saved: it names none of its classes")
    return load_model(package)

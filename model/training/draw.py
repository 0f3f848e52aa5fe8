"""What a training draws: which sample stands at a position, and all that is chance about it. A function of seed and position alone.

So a training that goes on sees what it would have seen, on however many ranks and from however many worker processes.
"""

import io
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from soundfile import LibsndfileError, SoundFile
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from manifests.chance import generator
from manifests.errors import Rejected, RequestError
from manifests.pair import speaks
from model.flow import shifted
from model.mllm import sentence
from model.recording import fitted, resampled
from model.sizes import Sizes
from model.training.config import TrainConfig
from model.training.order import Order
from model.training.shards import Sample, Shards

LATENTS = "latents.safetensors"  # of a sample that was encoded
SIDES = ("source", "target")
TOLD = ("edit", "instructions", "edit_spans")
TRIES = 50  # samples after a broken one
HIDDEN = (0.7, 1.0)  # share of a voice


class Batch(NamedTuple):
    """Samples side by side. Of a raw one `source` and `target` are audio (batch, channels, samples); of an encoded one their `latents` are there.

    Args:
        keys: of the samples.
        edits: of each.
        prompts: what the MLLM reads of each.
        tasks: which it is then told to be at (`mllm.ROLES`).
        said: what each is to say, None for nothing.
        source, target: audio, or None. In the place of a source, which is silence, of one that is to say something stands its target: the voice to say it with.
        hidden: (batch, frames of the spectrogram that the source is heard as), True where it is hidden; None where the model hears none.
        latents: of the source, of the target, and the target's deviations, None where the codec has none; each (batch, latent channels, frames).
        states: of the MLLM for each wording (tokens, width), or None.
        noise: (batch, latent channels, frames).
        posterior: noise for the target's deviations (batch, latent channels, frames), or None.
        t: (batch,) in (0, 1).
        weight: (batch, frames), of the loss; mean of one.
        without_source, without_instruction: (batch,) bool: which are trained without.
        broken: what was wrong with samples for which others stand.
    """

    keys: list[str]
    edits: list[str]
    prompts: list[str]
    tasks: list[str]
    said: list[str | None]
    source: Tensor | None
    target: Tensor | None
    hidden: Tensor | None
    latents: tuple[Tensor, Tensor, Tensor | None] | None
    states: list[Tensor] | None
    noise: Tensor
    posterior: Tensor | None
    t: Tensor
    weight: Tensor
    without_source: Tensor
    without_instruction: Tensor
    broken: list[str]

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(_moved(value, device) for value in self))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(each, device) for each in value)
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


class Draws(Dataset):
    """By position: one sample, cut to the model's window, with its wording, noise, time and dropouts.

    Args:
        shards: to draw from.
        order: of them.
        sizes: of the model.
        config: of the training.
    """

    def __init__(self, shards: Shards, order: Order, sizes: Sizes, config: TrainConfig):
        self.shards, self.order, self.sizes, self.config = shards, order, sizes, config

    def __getitem__(self, position: int) -> Batch:
        """One sample as a batch of one.

        Raises:
            RequestError: so many samples on end are broken that it is no accident.
        """
        broken = []
        for ahead in range(TRIES):
            try:
                return self.draw(self.shards.read(self.order(position + ahead)), position, broken)
            except Rejected as rejected:
                broken.append(" ".join(str(rejected).split())[:160])
            except OSError as error:
                raise RequestError(f"the data cannot be read any more: {error}") from None
        raise RequestError(f"{TRIES} samples on end cannot be read; the last: {broken[-1]}")

    def draw(self, sample: Sample, position: int, broken: list[str]) -> Batch:
        """All that is chance about a sample at a position.

        Raises:
            Rejected: it is damaged.
        """
        try:
            return self._drawn(sample, position, broken)
        except (LibsndfileError, SafetensorError) as error:
            raise Rejected(f"{sample.key} is damaged: {getattr(error, 'error_string', error)}") from None

    def _drawn(self, sample: Sample, position: int, broken: list[str]) -> Batch:
        chance, facts, config, sizes = generator("draw", self.config.seed, position), sample.facts, self.config, self.sizes
        if missing := [name for name in TOLD if name not in facts or name == "instructions" and not facts[name]]:
            raise Rejected(f"{sample.key} does not tell its {missing[0]}")
        wording = int(chance.integers(len(facts["instructions"])))
        t = chance.random() if config.times == "uniform" else 1 / (1 + np.exp(-chance.standard_normal()))
        t = shifted(t, config.time_shift)
        without = chance.random(2) < (config.dropout.source, config.dropout.instruction)
        frame, window = sizes.downsampling, sizes.edit_window
        sides = {side: SoundFile(io.BytesIO(sample.members[f"{side}.flac"])) for side in SIDES if f"{side}.flac" in sample.members}
        tensors = load(sample.members[LATENTS]) if LATENTS in sample.members else None
        if tensors is None and len(sides) < len(SIDES):
            raise Rejected(f"{sample.key} lacks its source or its target")
        length = facts["samples"] if tensors is not None else max(round(sound.frames * sizes.sample_rate / sound.samplerate) for sound in sides.values())
        if facts["edit"] == "generate" and length > window and speaks(facts):
            raise Rejected(f"{sample.key} says more than fits into the model's window of {window / sizes.sample_rate:.1f} s")
        begin = _begin(facts, length, window, chance, sizes.sample_rate) // frame
        weight = _weight(facts, begin, sizes, config.span_weight)
        noise = chance.standard_normal((1, sizes.dit.latent_channels, sizes.latent_frames), np.float32)
        posterior = chance.standard_normal(noise.shape, np.float32) if sizes.codec["kind"] == "oobleck" else None
        whole = sizes.latent_frames * frame - window  # what is made beyond what is heard is silent, as the editor has it
        audio = {side: pad(window_of(sound, begin * frame, window, sizes, sample.key), (0, whole)) for side, sound in sides.items()}
        latents = states = None
        if tensors is not None:
            if not {f"states.{wording}", *SIDES} <= tensors.keys() or tensors["target"].shape[1] < begin + sizes.latent_frames:
                raise Rejected(f"{sample.key} was not encoded whole")
            states = [tensors[f"states.{wording}"].float()]
            latents = tuple(_frames(tensors.get(name), begin, sizes.latent_frames) for name in ("source", "target", "target_deviation"))
        text, task, said = asked(facts, wording, sizes)
        if said is not None and "target" in audio:
            audio["source"] = audio["target"]
        hidden = _hidden(said, length, chance, sizes)
        return Batch(
            [sample.key], [facts["edit"]], [text], [task], [said], audio.get("source"), audio.get("target"), hidden, latents, states,
            torch.from_numpy(noise), None if posterior is None else torch.from_numpy(posterior), torch.tensor([t], dtype=torch.float32), weight,
            torch.tensor([bool(without[0])]), torch.tensor([bool(without[1])]), broken,
        )


def _hidden(said: str | None, length: int, chance: np.random.Generator, sizes: Sizes) -> Tensor | None:
    """Of a voice, most, so that what is said is not heard but gone on from (Le et al. 2023, Voicebox; Audio-Omni: 70 to 100 %); of a source, nothing."""
    heard = sizes.conditioners.audio_input_prompt
    if heard is None:
        return None
    hidden = torch.zeros(1, heard.frames, dtype=torch.bool)
    if said is not None:
        frames = min(heard.frames, 1 + length // heard.hop)
        count = round(frames * chance.uniform(*HIDDEN))
        first = int(chance.integers(0, frames - count + 1))
        hidden[:, first : first + count] = True
    return hidden


def asked(facts: dict, wording: int, sizes: Sizes) -> tuple[str, str, str | None]:
    """What the MLLM reads of a sample under one of its wordings, at which task, and what is to be said, as `Editor` asks for it.

    A model with a conditioner for what is to be said is told it there; another only finds it quoted in the wording.
    """
    text = facts["instructions"][wording]
    if facts["edit"] != "generate":
        return text, "edit", None
    if sizes.conditioners.speech_prompt is not None and speaks(facts):
        return "", "speech", facts["target_text"]
    return sentence(text), "music" if facts["domain"] == "music" else "sound", None


def collate(batches: list[Batch]) -> Batch:
    """Batches of one as one batch."""
    columns = {}
    for name, values in zip(Batch._fields, zip(*batches)):
        first = values[0]
        if isinstance(first, list):
            columns[name] = [each for value in values for each in value]
        elif isinstance(first, tuple):
            columns[name] = tuple(None if kind[0] is None else torch.cat(kind) for kind in zip(*values))
        else:
            columns[name] = None if first is None else torch.cat(values)
    return Batch(**columns)


def _begin(facts: dict, length: int, window: int, chance: np.random.Generator, rate: int) -> int:
    """Where the window begins in a sample that is longer: half the time with as much as it holds of one of the edit's spans, else anywhere.

    For a long recording is edited window by window, and most of them have nothing of the edit; what is made out of silence is made at once.
    Source and target of speech edits run apart from the edit on, so that their window begins before it.
    """
    last = max(0, length - window)
    spans = facts["edit_spans"]
    if facts["edit"].startswith("speech_") and spans:
        last = min(last, round(spans[0][0] * rate))
    lowest, highest = 0, last
    if (chance.random() < 0.5 or facts["edit"] == "generate") and spans:
        first, end = (round(second * rate) for second in spans[int(chance.integers(len(spans)))])
        lowest, highest = sorted((min(max(0, end - window), last), min(first, last)))
    return int(chance.integers(lowest, highest + 1))


def _weight(facts: dict, begin: int, sizes: Sizes, inside: float) -> Tensor:
    """(1, frames) of the loss, `inside` in the spans to 1 elsewhere, with a mean of one."""
    weight = torch.ones(sizes.latent_frames)
    for first, end in facts["edit_spans"]:
        low, high = (round(second * sizes.sample_rate / sizes.downsampling) - begin for second in (first, end))
        weight[max(0, low) : max(0, high)] = inside
    return (weight / weight.mean())[None]


def window_of(sound: SoundFile, begin: int, length: int, sizes: Sizes, key: str) -> Tensor:
    """Audio (1, channels, length) at the model's rate and channels, from `begin` on at that rate; silence where it has ended."""
    if sound.channels not in (1, sizes.channels):
        raise RequestError(f"the data has {sound.channels} channels ({key}) and the model {sizes.channels}; build with audio.channels={sizes.channels}")
    start, ratio = round(begin / sizes.sample_rate * sound.samplerate), sound.samplerate / sizes.sample_rate
    sound.seek(min(start, sound.frames))
    audio = sound.read(round(length * ratio), dtype="float32", always_2d=True).T
    if audio.shape[1]:
        audio = resampled(audio, sound.samplerate, sizes.sample_rate)
    return torch.from_numpy(fitted(audio, length)).expand(sizes.channels, -1)[None]


def _frames(latents: Tensor | None, begin: int, length: int) -> Tensor | None:
    """A window (1, latent channels, length) in float32 of latents (latent channels, frames)."""
    return None if latents is None else latents[:, begin : begin + length].float()[None]

"""What a training computes again at every step though it never changes: latents of the codec and states of the MLLM. Here, once a sample.

A sample of `audioedit encode` holds LATENTS, tensors by name: `source`, `target` (latent channels, frames) in float16, `target_deviation` where the
codec has one, and `states.N` (tokens, width) in bfloat16 of wording N; its KEY.json, with `samples`, the longer side's
at the model's rate; and its source, where the model hears it otherwise than by latents. Of a sample that is longer than the window, the outer frames
of a window are those of the whole, and not, as of a raw one, of the window by itself.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from soundfile import LibsndfileError, SoundFile

from manifests.errors import Rejected, RequestError
from manifests.storage import Storage
from model import codec as codecs
from model import folder
from model.mllm import Mllm, Prompt
from model.recording import resampled
from model.sizes import Sizes
from model.training.draw import LATENTS, SIDES, asked, window_of
from model.training.shards import Sample

MADE_WITH = "encoded.json"  # in a folder of what was encoded


class Encoder:
    """Codec and MLLM of a MODEL folder; its DiT is not read.

    Args:
        path: of the MODEL folder.
        device: to work on.

    Raises:
        RequestError: the folder or its MLLM cannot be read.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu"):
        self.sizes = folder.read_sizes(path)
        codec = codecs.from_folder(path, self.sizes.codec, self.sizes.sample_rate, self.sizes.channels)
        self.codec = codec.requires_grad_(False).eval().to(device)
        asked = self.sizes.mllm
        self.mllm = Mllm(asked["path"], asked["layer"], device, roles=asked.get("roles"))

    @torch.no_grad()
    def encode(self, sample: Sample) -> tuple[dict, dict[str, bytes]]:
        """Facts and members of an encoded sample.

        Raises:
            Rejected: the sample is damaged.
        """
        if missing := [side for side in SIDES if f"{side}.flac" not in sample.members]:
            raise Rejected(f"{sample.key} is damaged: it lacks its {missing[0]}")
        try:
            return self._encoded(sample, {side: SoundFile(io.BytesIO(sample.members[f"{side}.flac"])) for side in SIDES})
        except LibsndfileError as error:
            raise Rejected(f"{sample.key} is damaged: {error}") from None

    def _encoded(self, sample: Sample, sounds: dict[str, SoundFile]) -> tuple[dict, dict[str, bytes]]:
        sizes, facts = self.sizes, sample.facts
        samples = max(round(sound.frames * sizes.sample_rate / sound.samplerate) for sound in sounds.values())
        if samples > sizes.edit_window and (sizes.mllm["hear_source"] or sizes.edit_window < sizes.latent_frames * sizes.downsampling):
            window = sizes.edit_window / sizes.sample_rate
            raise Rejected(f"{sample.key} is longer than the window of {window:.2f} s, and this model hears a part of it at a time")
        frames = -(-max(samples, sizes.latent_frames * sizes.downsampling) // sizes.downsampling)
        tensors = {}
        for side, sound in sounds.items():
            audio = window_of(sound, 0, frames * sizes.downsampling, sizes, sample.key).to(self.mllm.device)
            if side == "source":
                heard = resampled(audio[0, :, : sizes.edit_window].mean(dim=0, keepdim=True).cpu().numpy(), sizes.sample_rate, self.mllm.rate)[0]
            mean, deviation = self.codec.encode_posterior(audio)
            tensors[side] = mean[0].half()
            if deviation is not None and side == "target":
                tensors[f"{side}_deviation"] = deviation[0].half()
        told = (asked(facts, wording, sizes)[:2] for wording in range(len(facts["instructions"])))
        prompts = [Prompt(text, task, heard if sizes.mllm["hear_source"] and task == "edit" else None) for text, task in told]
        states, mask = self.mllm.states(prompts)
        tensors |= {f"states.{number}": state[counted].bfloat16() for number, (state, counted) in enumerate(zip(states, mask))}
        side = "source" if asked(facts, 0, sizes)[2] is None else "target"  # of what is to be said, the voice
        members = {"source.flac": sample.members[f"{side}.flac"]} if sizes.conditioners.audio_input_prompt is not None else {}
        return facts | {"samples": samples}, members | {LATENTS: save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})}


def made_with(path: str | Path) -> dict[str, Any]:
    """What must be the same of a model for what was encoded with another to serve it."""
    return _made_with(folder.read_sizes(path), _digest(Path(path) / folder.CODEC))


def check(run: Storage, sizes: Sizes, codec_folder: str | Path | None) -> bool:
    """Whether a run is an encoded one; then that a model can train on it.

    Args:
        sizes: of the model.
        codec_folder: of its codec's weights; None where it has none.

    Raises:
        RequestError: it was encoded with another codec, MLLM, rate or window.
    """
    if not run.exists(MADE_WITH):
        return False
    held, wanted = run.read_json(MADE_WITH), _made_with(sizes, _digest(codec_folder))
    if differs := [name for name, value in wanted.items() if held.get(name) != value]:
        name = differs[0]
        raise RequestError(f"--data {run.root} was encoded with another {name} ({held.get(name)}) than the model's ({wanted[name]}); encode it with this model")
    return True


def _made_with(sizes: Sizes, digest: str) -> dict[str, Any]:
    named = {name: getattr(sizes, name) for name in ("sample_rate", "channels", "window", "codec", "mllm")}
    return named | {"speaks": sizes.conditioners.speech_prompt is not None, "codec_weights": digest}


def _digest(codec_folder: str | Path | None) -> str:
    """Of the weights of a codec, in hex; empty where there are none."""
    digest = hashlib.sha256()
    files = sorted(Path(codec_folder).glob("*.safetensors")) if codec_folder is not None else []
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest() if files else ""

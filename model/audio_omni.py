"""The whole generator as one module: conditioners, diffusion transformer and codec."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from manifests.errors import RequestError
from model import codec as codecs
from model import folder
from model.conditioners import Conditioning
from model.sizes import Sizes
from model.speech_text import Vocabulary


class AudioOmni(nn.Module):
    """Conditioners and DiT of some sizes, with random weights unless given, and a codec, which is frozen: neither trained nor in `weights`.

    The MLLM is no part of it (`model.mllm`): its states come in from outside.

    Args:
        sizes: of everything.
        vocabulary: of what is to be said, if the model speaks.
        codec: None: an untrained one of the sizes.
        modules: `dit` and `conditioners`, as `folder.read` gives them; None: untrained ones of the sizes.

    Raises:
        RequestError: the parts do not fit each other.
    """

    def __init__(self, sizes: Sizes, vocabulary: Vocabulary | None = None, codec: codecs.Codec | None = None, modules: nn.ModuleDict | None = None):
        super().__init__()
        self.sizes, self.vocabulary = sizes, vocabulary
        made = modules or folder.modules(sizes)
        self.conditioners, self.dit = made["conditioners"], made["dit"]
        self.codec = (codec or codecs.untrained(sizes.codec, sizes.sample_rate, sizes.channels)).requires_grad_(False).eval()
        speech, heard = sizes.conditioners.speech_prompt, sizes.conditioners.audio_input_prompt
        if speech is not None and (vocabulary is None or len(vocabulary) != speech.vocabulary):
            given = "none" if vocabulary is None else f"one of {len(vocabulary)} lines"
            raise RequestError(f"the model speaks with a vocabulary of {speech.vocabulary} lines; got {given}")
        found = (self.codec.latent_channels, self.codec.channels, self.codec.sample_rate, self.codec.downsampling)
        if found != (sizes.dit.latent_channels, sizes.channels, sizes.sample_rate, sizes.downsampling):
            raise RequestError(
                f"the codec has {found[0]} latent channels, {found[1]} channels, {found[2]} Hz and {found[3]} samples a frame; "
                f"the model has {sizes.dit.latent_channels}, {sizes.channels}, {sizes.sample_rate} Hz and {sizes.downsampling}")
        if heard is not None and heard.sample_rate != sizes.sample_rate:
            raise RequestError(f"the source is heard at {heard.sample_rate} Hz and the model makes {sizes.sample_rate} Hz; they must be the same")
        if not sizes.latent_frames:
            raise RequestError(f"a window of {sizes.window} samples is shorter than a latent frame of {sizes.downsampling}")

    @classmethod
    def from_folder(cls, path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> "AudioOmni":
        """Read a MODEL folder (`model.folder`); `dtype` is that of DiT and conditioners, while the codec stays in float32.

        Raises:
            RequestError: there is none, or one that is not whole.
        """
        sizes = folder.read_sizes(path)
        codec = codecs.from_folder(path, sizes.codec, sizes.sample_rate, sizes.channels)
        return cls(sizes, folder.read_vocabulary(path, sizes), codec, folder.read(path, device, dtype)).to(device).eval()

    def save(self, path: str | Path) -> None:
        """Write a MODEL folder, which must not exist or be empty."""
        folder.write(path, self.sizes, self.weights(), self.codec, self.vocabulary)

    def weights(self) -> dict[str, Tensor]:
        """What is trained and saved: conditioners and DiT, without the codec."""
        return {name: weight for name, weight in self.state_dict().items() if not name.startswith("codec.")}

    def train(self, mode: bool = True) -> "AudioOmni":
        """As ever, but for the codec, which never trains."""
        super().train(mode)
        self.codec.eval()
        return self

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """Latents (batch, latent channels, latent frames) of a window of audio (batch, channels, samples), padded with silence or cut to it."""
        samples = self.sizes.latent_frames * self.sizes.downsampling
        audio = audio[..., :samples]
        with torch.autocast(audio.device.type, enabled=False):
            return self.codec.encode(pad(audio.float(), (0, samples - audio.shape[-1])))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Audio (batch, channels, frames · downsampling) in float32."""
        with torch.autocast(latents.device.type, enabled=False):
            return self.codec.decode(latents.float())

    def condition(
        self,
        hidden: Tensor,
        mask: Tensor,
        speech: list[str | None] | None = None,
        audio: Tensor | None = None,
        sync: Tensor | None = None,
        *,
        hidden_frames: Tensor | None = None,
        source: Tensor | None = None,
    ) -> Conditioning:
        """All that the DiT is conditioned on.

        Args:
            hidden, mask: the MLLM's states (batch, tokens, MLLM's width), and True (batch, tokens) where they count.
            speech: what each sample is to say, None for nothing.
            audio: the source, or the voice (batch, channels, samples), silence where there is none.
            sync: the video's features (batch, frames, width), zeros where there is none.
            hidden_frames: see `Conditioners`.
            source: latents of the source, in the stead of those of `audio`, where the DiT is given such; zeros where there is none.
        """
        ids = None
        if speech is not None and self.vocabulary is not None:
            ids = [None if text is None else self.vocabulary.ids(text) for text in speech]
        elif speech is not None and any(text is not None for text in speech):
            raise RequestError("this model does not speak: it has no speech_prompt")
        heard = audio if self.conditioners.audio_input_prompt is not None else None
        made = self.conditioners(hidden.float(), mask, ids, heard, sync, hidden_frames)
        if self.sizes.dit.source_channels and source is None and audio is not None:
            source = self.encode(audio)
        return dataclasses.replace(made, source=source)

"""Codecs between audio and latents, behind one protocol, by kind: `oobleck` (diffusers) and `mdct` (no weights)."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from manifests.errors import RequestError
from model.mdct import Mdct

OOBLECK_KEYS = {"kind", "width", "multiples", "strides", "latent_channels"}


class Codec(Protocol):
    """Audio (batch, channels, samples) at `sample_rate` Hz to latents (batch, latent_channels, frames) of `downsampling` samples each, and back.

    `encode` gives the mean of what `encode_posterior` gives mean and deviation of, None where there is none.
    """

    sample_rate: int
    channels: int
    latent_channels: int
    downsampling: int

    def encode(self, audio: Tensor) -> Tensor: ...

    def encode_posterior(self, audio: Tensor) -> tuple[Tensor, Tensor | None]: ...

    def decode(self, latents: Tensor) -> Tensor: ...


class Oobleck(nn.Module):
    """The variational autoencoder of Stable Audio (Evans et al. 2024), as diffusers has it.

    Args:
        autoencoder: a diffusers.AutoencoderOobleck.
    """

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.autoencoder = autoencoder
        config = autoencoder.config
        self.sample_rate, self.channels = config.sampling_rate, config.audio_channels
        self.latent_channels, self.downsampling = config.decoder_input_channels, math.prod(config.downsampling_ratios)

    @classmethod
    def of_sizes(cls, codec: dict[str, Any], sample_rate: int, channels: int) -> "Oobleck":
        """Untrained, of Sizes.codec."""
        if set(codec) != OOBLECK_KEYS:
            raise RequestError(f"codec: an oobleck has {', '.join(sorted(OOBLECK_KEYS))}, got {', '.join(sorted(codec))}")
        with _unwarned():
            return cls(_diffusers()(
                encoder_hidden_size=codec["width"],
                downsampling_ratios=codec["strides"],
                channel_multiples=codec["multiples"],
                decoder_channels=codec["width"],
                decoder_input_channels=codec["latent_channels"],
                audio_channels=channels,
                sampling_rate=sample_rate,
            ))

    @classmethod
    def from_folder(cls, folder: str | Path) -> "Oobleck":
        """From a folder in diffusers' own format.

        Raises:
            RequestError: there is none there.
        """
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise RequestError(f"{folder} holds no codec: config.json is missing")
        kind = _diffusers()
        try:
            with _unwarned():
                codec, loaded = kind.from_pretrained(folder, local_files_only=True, low_cpu_mem_usage=False, output_loading_info=True)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise RequestError(f"{folder} holds no whole codec: {str(error).strip().splitlines()[0]}") from None
        if loaded["missing_keys"] or loaded["unexpected_keys"]:
            raise RequestError(f"{folder} holds no whole codec: missing {loaded['missing_keys'][:20]}, unexpected {loaded['unexpected_keys'][:20]}")
        return cls(codec)

    def save(self, folder: str | Path) -> None:
        self.autoencoder.save_pretrained(folder)

    def encode(self, audio: Tensor) -> Tensor:
        """Mean latents (batch, latent channels, frames) of audio (batch, channels, samples), padded with silence to whole frames."""
        return self.encode_moments(audio)[0]

    def encode_moments(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, and scale before its softplus: the deviation is softplus(scale) + 1e-4. Both (batch, latent channels, frames)."""
        if audio.ndim != 3 or audio.shape[1] != self.channels or audio.shape[2] == 0:
            raise ValueError(f"the codec takes audio (batch, {self.channels}, samples of at least 1), got {tuple(audio.shape)}")
        moments = self.autoencoder.encode(pad(audio, (0, -audio.shape[2] % self.downsampling))).latent_dist
        return moments.mean, moments.scale

    def encode_posterior(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, both (batch, latent channels, frames)."""
        mean, scale = self.encode_moments(audio)
        return mean, softplus(scale) + 1e-4

    def decode(self, latents: Tensor) -> Tensor:
        """Audio (batch, channels, frames · downsampling)."""
        if latents.ndim != 3 or latents.shape[1] != self.latent_channels or latents.shape[2] == 0:
            raise ValueError(f"the codec takes latents (batch, {self.latent_channels}, frames of at least 1), got {tuple(latents.shape)}")
        return self.autoencoder.decode(latents).sample


def untrained(codec: dict[str, Any], sample_rate: int, channels: int) -> Oobleck | Mdct:
    """The codec of Sizes.codec; one with weights has random ones.

    Raises:
        RequestError: another kind, or keys that it does not have.
    """
    if codec.get("kind") == "oobleck":
        return Oobleck.of_sizes(codec, sample_rate, channels)
    if codec.get("kind") == "mdct" and set(codec) == {"kind", "hop"}:
        try:
            return Mdct(codec["hop"], channels, sample_rate)
        except (TypeError, ValueError) as error:
            raise RequestError(f"codec is {codec}: {error}") from None
    raise RequestError(f'codec is {codec}; wanted: kind "oobleck" with its sizes, or "mdct" with its hop')


def from_folder(folder: str | Path, codec: dict[str, Any], sample_rate: int, channels: int) -> Oobleck | Mdct:
    """The codec of a MODEL folder, whose Sizes.codec is `codec`."""
    return Oobleck.from_folder(Path(folder) / "codec") if codec.get("kind") == "oobleck" else untrained(codec, sample_rate, channels)


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without torch's notice to who wrote the autoencoder that it builds on an older function."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.nn\.utils\.weight_norm` is deprecated", FutureWarning)
        yield


def _diffusers() -> type:
    try:
        from diffusers import AutoencoderOobleck
    except ImportError:
        raise RequestError("the codec oobleck needs diffusers: pip install audioedit[model]") from None
    return AutoencoderOobleck

"""A codec without weights: an orthonormal lapped transform (MDCT), of which every sample comes back.

So that a model can be trained and heard where no trained codec can be had. The transform is that of Princen, Johnson and Bradley 1987 with the sine window,
written as Malvar 1992 ("Signal Processing with Lapped Transforms") does: a rotation of each sample with its mirror at each border of two blocks, then a DCT-IV
of each block. The outer borders are not rotated, so that there are as many coefficients as samples, and energy in is energy out.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

LEVEL = 0.06  # RMS of the recording that comes out with unit variance: -24.4 dB of full scale, about what a mixture of -23 LUFS has
PINK, DULL = 100.0, 4_000.0  # Hz; its power falls by 3 dB an octave above the first, by 9 above the second


def band_scale(hop: int, sample_rate: int) -> Tensor:
    """Standard deviation of each coefficient for a recording of `LEVEL` whose power density is 1 / ((1 + f / PINK) · (1 + (f / DULL)²)).

    A choice, in the manner of long-term averages of music (Elowsson and Friberg 2017) and speech (Byrne et al. 1994). Returns (hop,), from low to high.
    """
    f = (torch.arange(hop, dtype=torch.float64) + 0.5) * sample_rate / 2 / hop
    power = 1 / ((1 + f / PINK) * (1 + (f / DULL) ** 2))
    return (LEVEL * (power / power.mean()).sqrt()).float()


class Mdct(nn.Module):
    """Codec whose latents are the scaled coefficients of each channel: `channels · hop` of them a frame of `hop` samples.

    A hop of 512 is 11.6 ms at 44.1 kHz: short enough that the echo before an attack is masked (some 5 to 20 ms), long enough to part the harmonics of a voice
    (bands of 43 Hz). A velocity comes out of a space as wide as the DiT, so `channels · hop` must not exceed its width: 512 mono fits a width of 512, 1,024
    stereo one of 2,048.

    Args:
        hop: samples a block, a power of two.
        channels: of the audio.
        sample_rate: Hz; sets the constants of the bands.
    """

    def __init__(self, hop: int = 512, channels: int = 1, sample_rate: int = 44_100):
        super().__init__()
        if hop < 2 or hop & (hop - 1):
            raise ValueError(f"hop is {hop}; a power of two of at least 2 is wanted")
        self.downsampling, self.channels, self.sample_rate = hop, channels, sample_rate
        self.latent_channels = channels * hop
        place = torch.arange(hop, dtype=torch.float64) + 0.5
        self.register_buffer("basis", (math.sqrt(2 / hop) * torch.cos(math.pi / hop * place[:, None] * place)).float(), persistent=False)  # its own inverse
        angle = math.pi / 4 + math.pi / (2 * hop) * place[: hop // 2]
        self.register_buffer("near", torch.sin(angle).float(), persistent=False)  # the sine window on this side of a border, from it outwards
        self.register_buffer("far", torch.cos(angle).float(), persistent=False)  # and on the other side
        self.register_buffer("scale", band_scale(hop, sample_rate), persistent=False)

    def encode(self, audio: Tensor) -> Tensor:
        """Latents (batch, channels · hop, frames) in float32 of audio (batch, channels, samples), padded with silence to whole blocks."""
        if audio.ndim != 3 or audio.shape[1] != self.channels or audio.shape[2] == 0:
            raise ValueError(f"the codec takes audio (batch, {self.channels}, samples of at least 1), got {tuple(audio.shape)}")
        hop = self.downsampling
        blocks = pad(audio.float(), (0, -audio.shape[2] % hop)).unflatten(2, (-1, hop))
        coefficients = self._rotate(blocks, -self.far) @ self.basis / self.scale
        return coefficients.transpose(2, 3).flatten(1, 2)

    def encode_posterior(self, audio: Tensor) -> tuple[Tensor, None]:
        """As `encode`: nothing about the latents is uncertain."""
        return self.encode(audio), None

    def decode(self, latents: Tensor) -> Tensor:
        """Audio (batch, channels, frames · hop) in float32 of latents (batch, channels · hop, frames)."""
        if latents.ndim != 3 or latents.shape[1] != self.latent_channels or latents.shape[2] == 0:
            raise ValueError(f"the codec takes latents (batch, {self.latent_channels}, frames of at least 1), got {tuple(latents.shape)}")
        coefficients = latents.float().unflatten(1, (self.channels, -1)).transpose(2, 3) * self.scale
        return self._rotate(coefficients @ self.basis, self.far).flatten(2)

    def _rotate(self, blocks: Tensor, far: Tensor) -> Tensor:
        """Each sample left of a border with its mirror right of it; blocks (batch, channels, frames, hop)."""
        half = self.downsampling // 2
        left, right = blocks[:, :, :-1, half:].flip(3), blocks[:, :, 1:, :half]
        left, right = self.near * left + far * right, self.near * right - far * left
        first = torch.cat([blocks[:, :, :1, :half], right], 2)
        last = torch.cat([left.flip(3), blocks[:, :, -1:, half:]], 2)
        return torch.cat([first, last], 3)

"""From what a user gives to tokens that the DiT reads: instruction, words to say, source, video.

Each conditioner gives tokens (batch, tokens, width) and a mask (batch, tokens), True where a token counts. Audio-Omni's own (arXiv 2604.10708).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.sizes import AudioInputSizes, ConditionerSizes, OmniPromptSizes, SpeechPromptSizes, SyncFeatureSizes

QUIETEST = 1e-5  # of a mel band's magnitude; its logarithm is silence
FAINTEST = 0.02  # of the strongest component's deviation: what varies by less is not made as strong as the others
KEPT_IN = 64  # tokens; what is left of a context is a multiple of it, so that few different shapes arise


@dataclass(frozen=True)
class Conditioning:
    """What the DiT is conditioned on.

    Args:
        context: (batch, tokens, width): instruction, then words to say.
        context_mask: (batch, tokens), True where a token counts.
        low_level: (batch, tokens, width): video, then source; or None.
        source: latents (batch, latent channels, frames) of the source, or None.
        pooled: (batch, components) of the instruction as a whole, or None.
    """

    context: Tensor
    context_mask: Tensor
    low_level: Tensor | None = None
    source: Tensor | None = None
    pooled: Tensor | None = None

    def without_instruction(self, where: Tensor) -> "Conditioning":
        """With nothing in the place of the instruction where a sample (batch,) is True: zeros under the same mask."""
        pooled = None if self.pooled is None else self.pooled * ~where[:, None]
        return replace(self, context=self.context * ~where[:, None, None], pooled=pooled)

    def trimmed(self) -> "Conditioning":
        """Without the tokens that count for no sample, which the mask keeps from having any weight; all but the fewest that fill a multiple of 64."""
        counts = self.context_mask.any(dim=0)
        wanted = min(len(counts), -(-max(1, int(counts.sum())) // KEPT_IN) * KEPT_IN)
        kept = torch.argsort(counts, descending=True, stable=True)[:wanted].sort().values
        return replace(self, context=self.context[:, kept], context_mask=self.context_mask[:, kept])


def rms_norm(x: Tensor) -> Tensor:
    """To a root mean square of one over the last dimension, without gain (eps 1e-6)."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-6)


class OmniPrompt(nn.Module):
    """The MLLM's hidden states of the instruction."""

    def __init__(self, sizes: OmniPromptSizes, width: int):
        super().__init__()
        self.sizes = sizes
        self.project = nn.Linear(sizes.width, width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        if sizes.pooled:
            self.register_buffer("center", torch.zeros(sizes.width))
            self.register_buffer("components", torch.zeros(sizes.pooled, sizes.width))

    def begin(self) -> None:
        """Weights for a training from nothing. With zeros here and in the cross-attention's output, neither would ever have a gradient."""
        nn.init.normal_(self.project.weight, std=self.sizes.width**-0.5)

    def mean(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Of the normed states that count (batch, MLLM's width), in float32; of states as bfloat16 has them, in which they are stored."""
        states = rms_norm(hidden.bfloat16().float()) * mask[..., None]
        return states.sum(dim=1) / mask.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def fit(self, means: Tensor) -> None:
        """Set what `pool` makes of a mean, by those (prompts, MLLM's width) of the prompts of a training.

        Most of what an MLLM makes of two instructions is the same; what tells them apart is small, and a training would be long in finding it.
        """
        held = means.double()
        center = held.mean(dim=0)
        variance, directions = torch.linalg.eigh((held - center).T @ (held - center) / len(held))  # from weak to strong
        deviation = variance.clamp(min=0).sqrt().flip(0)[: self.sizes.pooled]
        self.center.copy_(center)
        self.components.copy_(directions.T.flip(0)[: self.sizes.pooled] / deviation.clamp(min=max(FAINTEST * float(deviation[0]), 1e-6))[:, None])

    def pool(self, hidden: Tensor, mask: Tensor) -> Tensor | None:
        """The mean of the states that count, as principal components of unit variance (batch, components); None where the model has none."""
        return (self.mean(hidden, mask) - self.center.float()) @ self.components.float().T if self.sizes.pooled else None

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Of states (batch, places, MLLM's width) with a bool mask (batch, places); those that count come first, longer ones are resampled in time."""
        if hidden.ndim != 3 or hidden.shape[2] != self.sizes.width or mask.shape != hidden.shape[:2] or mask.dtype != torch.bool:
            got = f"{tuple(hidden.shape)}, {mask.dtype} {tuple(mask.shape)}"
            raise ValueError(f"MLLM states are (batch, places, {self.sizes.width}) with a bool mask, got {got}")
        length = self.sizes.length
        states, counts = hidden.new_zeros(len(hidden), length, hidden.shape[2]), mask.new_zeros(len(hidden), length)
        for i, (of_one, counted) in enumerate(zip(hidden, mask)):
            real = of_one[counted]
            if len(real) > length:
                real = F.interpolate(real.T[None].float(), length, mode="linear")[0].T.to(hidden.dtype)
            states[i, : len(real)], counts[i, : len(real)] = real, True
        return self.project(rms_norm(states.float()).to(self.project.weight.dtype)), counts


class TextBlock(nn.Module):
    """A block of ConvNeXt V2 (Woo et al. 2023) along time, as in F5-TTS: (batch, places, width) both ways."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up = nn.Linear(width, 2 * width)
        self.gain = nn.Parameter(torch.zeros(2 * width))  # of the global response normalisation, with its bias
        self.bias = nn.Parameter(torch.zeros(2 * width))
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.gelu(self.up(self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))))
        response = torch.linalg.vector_norm(inner, dim=1, keepdim=True)
        response = response / (response.mean(dim=-1, keepdim=True) + 1e-6)
        return x + self.down(self.gain * (inner * response) + self.bias + inner)


class SpeechPrompt(nn.Module):
    """What is to be said, from characters and pinyin syllables (`model.speech_text`)."""

    def __init__(self, sizes: SpeechPromptSizes, width: int):
        super().__init__()
        self.sizes = sizes
        self.embed = nn.Embedding(sizes.vocabulary + 1, sizes.width)  # 0 pads
        self.blocks = nn.ModuleList(TextBlock(sizes.width) for _ in range(sizes.blocks))
        self.project = nn.Linear(sizes.width, width)
        self.project_time = nn.Linear(sizes.length, sizes.tokens)
        self.empty = nn.Parameter(torch.zeros(1, sizes.tokens, width))

    def forward(self, texts: list[Tensor | None]) -> tuple[Tensor, Tensor]:
        """Of the ids (characters,) of each sample, None for one that says nothing. What is longer than the places for it is cut."""
        empty = self.empty.expand(len(texts), -1, -1)
        resting = rms_norm(empty) if self.sizes.norm_empty else empty
        mask = torch.ones(empty.shape[:2], dtype=torch.bool, device=empty.device)
        if all(text is None for text in texts):
            if self.training and self.embed.weight.requires_grad:  # processes that train together have a gradient for the same weights at each step
                resting = resting + 0 * sum(weight.sum() for weight in self.parameters())
            return resting, mask
        ids = torch.zeros(len(texts), self.sizes.length, dtype=torch.long, device=empty.device)
        for i, text in enumerate(texts):
            if text is not None:
                text = text[: self.sizes.length]
                ids[i, : len(text)] = text.to(ids) + 1
        padding = (ids == 0)[..., None]
        x = (self.embed(ids) + self._places().to(empty)).masked_fill(padding, 0)
        for block in self.blocks:
            x = block(x).masked_fill(padding, 0)
        x = self.project_time(self.project(rms_norm(x)).transpose(1, 2)).transpose(1, 2)
        silent = torch.tensor([text is None for text in texts], device=x.device)[:, None, None]
        if self.training:  # what a sample is given does not depend on the others of its batch
            return torch.where(silent, resting, rms_norm(x)), mask
        return rms_norm(torch.where(silent, empty, x)), mask

    def _places(self) -> Tensor:
        """Cosines, then sines, of each place at frequencies of base 10,000: (length, width)."""
        device, width = self.empty.device, self.sizes.width
        frequency = 1 / 10_000.0 ** (torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
        angle = torch.arange(self.sizes.length, device=device, dtype=torch.float32)[:, None] * frequency
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


def mel_filters(sizes: AudioInputSizes) -> Tensor:
    """Triangles on the HTK mel scale, each with a peak of one, as torchaudio's default has them: (window / 2 + 1, mels), on the CPU."""
    hertz = torch.linspace(0, sizes.sample_rate / 2, sizes.window // 2 + 1, dtype=torch.float64)
    mels = torch.linspace(0, 2595 * math.log10(1 + sizes.sample_rate / 2 / 700), sizes.mels + 2, dtype=torch.float64)
    corners = 700 * (10 ** (mels / 2595) - 1)
    rise, slope = corners.diff(), hertz[:, None] - corners
    return torch.minimum(slope[:, :-2] / rise[:-1], -slope[:, 2:] / rise[1:]).clamp(min=0).float()


def log_mel(audio: Tensor, sizes: AudioInputSizes) -> Tensor:
    """Natural logarithm of mel magnitudes (batch, mels, frames), in float32, of audio (batch, channels, samples) mixed down and padded or cut to the window."""
    if audio.ndim != 3 or audio.shape[1] == 0 or audio.shape[2] == 0:
        raise ValueError(f"audio is (batch, channels, samples) with at least one of each, got {tuple(audio.shape)}")
    mono = audio.float().mean(dim=1)[:, : sizes.samples]
    mono = F.pad(mono, (0, sizes.samples - mono.shape[1]))
    hann = torch.hann_window(sizes.window, device=audio.device)
    with torch.autocast(audio.device.type, enabled=False):
        magnitude = torch.stft(mono, sizes.window, sizes.hop, window=hann, center=True, return_complex=True).abs()
        return (mel_filters(sizes).to(audio.device).T @ magnitude).clamp(min=QUIETEST).log()


class AudioInputPrompt(nn.Module):
    """The source to edit, or the voice to speak with, as a log-mel spectrogram."""

    def __init__(self, sizes: AudioInputSizes, width: int):
        super().__init__()
        self.sizes = sizes
        self.project_time = nn.Linear(sizes.frames, sizes.tokens)
        self.project = nn.Linear(sizes.mels, width)

    def forward(self, audio: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of audio (batch, channels, samples) at the model's rate, zeros where there is none.

        `hidden`, bool (batch, frames), is True where the spectrogram is put to silence: a training step does so to a span of what is to be spoken.
        """
        mel = log_mel(audio, self.sizes)
        if hidden is not None:
            if hidden.shape != mel.shape[::2]:
                raise ValueError(f"what is hidden is bool {tuple(mel.shape[::2])}, got {tuple(hidden.shape)}")
            mel = mel.masked_fill(hidden[:, None], math.log(QUIETEST))
        mel = mel.to(self.project.weight.dtype)
        tokens = rms_norm(self.project(self.project_time(mel).transpose(1, 2)))
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


class SyncFeature(nn.Module):
    """Synchformer's features of a video."""

    def __init__(self, sizes: SyncFeatureSizes, width: int):
        super().__init__()
        self.sizes = sizes
        self.norm = nn.LayerNorm(sizes.width)
        self.project = nn.Linear(sizes.width, width)
        self.project_time = nn.Linear(sizes.frames, sizes.tokens)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Of features (batch, frames, width), zeros where there is no video."""
        if features.ndim != 3 or features.shape[1:] != (self.sizes.frames, self.sizes.width):
            raise ValueError(f"video features are (batch, {self.sizes.frames}, {self.sizes.width}), got {tuple(features.shape)}")
        x = self.project(self.norm(features.to(self.project.weight.dtype)))
        tokens = self.project_time(x.transpose(1, 2)).transpose(1, 2)
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


class Conditioners(nn.Module):
    """All that a model has of them, and what they say together."""

    def __init__(self, sizes: ConditionerSizes):
        super().__init__()
        self.omni_prompt = OmniPrompt(sizes.omni_prompt, sizes.width)
        self.speech_prompt = SpeechPrompt(sizes.speech_prompt, sizes.width) if sizes.speech_prompt else None
        self.audio_input_prompt = AudioInputPrompt(sizes.audio_input_prompt, sizes.width) if sizes.audio_input_prompt else None
        self.sync_feature = SyncFeature(sizes.sync_feature, sizes.width) if sizes.sync_feature else None

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor,
        speech: list[Tensor | None] | None = None,
        audio: Tensor | None = None,
        sync: Tensor | None = None,
        hidden_frames: Tensor | None = None,
    ) -> Conditioning:
        """Context of instruction and speech, low-level tokens of video and source; what is not given counts as empty, silence, no video.

        Args:
            hidden, mask: the MLLM's states, as OmniPrompt takes them.
            speech: ids of each sample, as SpeechPrompt takes them.
            audio: the source, as AudioInputPrompt takes it, with `hidden_frames` of its spectrogram put to silence.
            sync: the video's features, as SyncFeature takes them.

        Raises:
            ValueError: something is given for which the model has no conditioner, or of a wrong shape.
        """
        for name, given in (("speech_prompt", speech), ("audio_input_prompt", audio), ("sync_feature", sync)):
            if given is not None and getattr(self, name) is None:
                raise ValueError(f"this model has no {name}")
            if given is not None and len(given) != len(hidden):
                raise ValueError(f"{len(hidden)} instructions, but {len(given)} of {name}")
        high, low = [self.omni_prompt(hidden, mask)], []
        if self.speech_prompt is not None:
            high.append(self.speech_prompt([None] * len(hidden) if speech is None else speech))
        if self.sync_feature is not None:
            sizes = self.sync_feature.sizes
            low.append(self.sync_feature(hidden.new_zeros(len(hidden), sizes.frames, sizes.width) if sync is None else sync)[0])
        if self.audio_input_prompt is not None:
            low.append(self.audio_input_prompt(hidden.new_zeros(len(hidden), 1, 1) if audio is None else audio, hidden_frames)[0])
        tokens, masks = zip(*high)
        return Conditioning(torch.cat(tokens, dim=1), torch.cat(masks, dim=1), torch.cat(low, dim=1) if low else None,
                            pooled=self.omni_prompt.pool(hidden, mask))

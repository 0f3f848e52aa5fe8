"""Tiny MODEL folders of the real structure with random weights, and one whose weights give back what they are given; and made audio."""

import string
from pathlib import Path

import numpy as np
import torch

from model.audio_omni import AudioOmni
from model.sizes import AudioInputSizes, ConditionerSizes, DitSizes, OmniPromptSizes, SamplingSizes, Sizes, SpeechPromptSizes, SyncFeatureSizes
from model.speech_text import Vocabulary

RATE, WINDOW, HOP = 16_000, 16_384, 64


def sizes(mllm: str, *, channels: int = 1, source: bool = True, mel: bool = True, speech: bool = True, video: bool = True, hear: bool = False,
          pooled: int = 0) -> Sizes:
    """About a second at 16 kHz through the codec without weights; with or without each way to be conditioned."""
    latent = HOP * channels
    return Sizes(
        sample_rate=RATE, channels=channels, window=WINDOW,
        dit=DitSizes(width=latent, layers=2, heads=2, latent_channels=latent, context_width=32, low_level_width=32 if mel or video else 0,
                     source_channels=latent if source else 0, pooled_width=pooled),
        conditioners=ConditionerSizes(
            width=32, omni_prompt=OmniPromptSizes(width=64, length=200, pooled=pooled),
            speech_prompt=SpeechPromptSizes(vocabulary=len(lines()), length=64, tokens=8, width=32, blocks=1) if speech else None,
            audio_input_prompt=AudioInputSizes(sample_rate=RATE, samples=RATE, window=512, hop=160, mels=20, tokens=16) if mel else None,
            sync_feature=SyncFeatureSizes(frames=24, width=16, tokens=8) if video else None),
        codec={"kind": "mdct", "hop": HOP}, mllm={"path": mllm, "layer": -2, "hear_source": hear}, sampling=SamplingSizes(steps=2, guidance=3.0))


def lines() -> list[str]:
    return [" ", *string.ascii_letters, *",.!?'"]


def build(folder: Path, of: Sizes, seed: int = 0) -> AudioOmni:
    """A model in memory with weights drawn so that everything that goes in counts; `folder` is for its vocabulary."""
    (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
    made = AudioOmni(of, Vocabulary(folder / "vocab.txt") if of.conditioners.speech_prompt else None)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (*made.dit.parameters(), *made.conditioners.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=chance) / max(1, weight[0].numel()) ** 0.5)
    return made.eval()


def make_model(folder: Path, mllm: str, seed: int = 0, **options) -> str:
    """A MODEL folder with random weights; for `options` see `sizes`."""
    build(folder, sizes(mllm, **options), seed).save(folder / "MODEL")
    return str(folder / "MODEL")


def make_echo(folder: Path, mllm: str, channels: int = 1) -> str:
    """A MODEL folder whose velocity is noise less source: one step at guidance 1 gives the source."""
    of = sizes(mllm, channels=channels)
    made = build(folder, of)
    with torch.no_grad():
        for weight in made.dit.parameters():
            weight.zero_()
        one = torch.eye(of.dit.width)
        made.dit.project_in.weight.copy_(one)
        made.dit.project_source.weight.copy_(-one)
        made.dit.project_out.weight.copy_(one)
    made.save(folder / "MODEL")
    return str(folder / "MODEL")


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Float32 (channels, samples)."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)

"""What is minimised: how far the velocity that the model tells of is from that of the rectified flow, under conditions of which some are left out."""

import torch
from torch import Tensor, nn

from model.audio_omni import AudioOmni
from model.training.draw import Batch


class Objective(nn.Module):
    """Loss of each sample of a batch.

    Args:
        model: whose conditioners and DiT are trained.
        precision: of the arithmetic; the weights stay as they are.
    """

    def __init__(self, model: AudioOmni, precision: torch.dtype = torch.float32):
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, batch: Batch, hidden: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of the velocity (batch,), weighted in time.

        Args:
            batch: on the model's device.
            hidden, mask: the MLLM's states of its wordings (batch, tokens, width) and True where they count.
        """
        source, target = self._latents(batch)
        x = target + batch.t[:, None, None] * (batch.noise - target)
        with torch.autocast(x.device.type, self.precision, enabled=self.precision != torch.float32):
            told = self.velocity(batch, hidden, mask, source, x, batch.t)
        error = (told.float() - (batch.noise - target)).square().mean(dim=1)
        return (error * batch.weight).mean(dim=1)

    def velocity(self, batch: Batch, hidden: Tensor, mask: Tensor, source: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Of the conditional model, less the conditions that a sample goes without."""
        silent = torch.tensor([edit == "generate" for edit in batch.edits], device=x.device)
        speaks = torch.tensor([text is not None for text in batch.said], device=x.device)
        with_source, with_voice = (~(batch.without_source | without)[:, None, None] for without in (silent, silent & ~speaks))
        audio = None if batch.source is None else batch.source * with_voice
        latents = source * with_source if self.model.sizes.dit.source_channels else None
        given = self.model.condition(hidden, mask, batch.said if speaks.any() else None, audio, hidden_frames=batch.hidden, source=latents)
        given = given.without_instruction(batch.without_instruction).trimmed()
        return self.model.dit(x, t, given.context, given.context_mask, given.low_level, given.source, given.pooled)

    @torch.no_grad()
    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The source's as the editor has them, and the target's drawn from what the codec is sure of."""
        if batch.latents is not None:
            source, target, deviation = batch.latents
        else:
            source, (target, deviation) = self.model.codec.encode(batch.source), self.model.codec.encode_posterior(batch.target)
        return source, target if deviation is None else target + deviation * batch.posterior

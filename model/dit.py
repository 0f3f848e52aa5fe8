"""The diffusion transformer: noisy latents, time and conditions in, velocity out.

Audio-Omni's (arXiv 2604.10708): the instruction is attended to; what stands in time (video, source) is prepended, with the time embedding added to it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import FourierFeatures, Layer, embedding, rotary_turns
from model.sizes import DitSizes

TIME_FEATURES = 256


@dataclass(frozen=True)
class Prepared:
    """What of the conditions depends neither on x nor on t, computed once a sample.

    Args:
        keys_values: a pair (batch, heads, tokens, head width) of each layer.
        mask: (batch, 1, 1, tokens), True where the context may be attended to.
        low_level: (batch, tokens, width), or None.
        source: (batch, frames, width), or None.
        pooled: (batch, width), or None.
    """

    keys_values: list[tuple[Tensor, Tensor]]
    mask: Tensor
    low_level: Tensor | None
    source: Tensor | None
    pooled: Tensor | None = None


class DiT(nn.Module):
    """Velocity of a rectified flow at time t, under conditions."""

    def __init__(self, sizes: DitSizes):
        super().__init__()
        self.sizes = sizes
        width, channels = sizes.width, sizes.latent_channels
        self.time_features = FourierFeatures(TIME_FEATURES)
        self.embed_time = embedding(TIME_FEATURES, width, bias=True)
        self.embed_context = embedding(sizes.context_width, width)
        self.embed_low_level = embedding(sizes.low_level_width, width) if sizes.low_level_width else None
        self.conv_in = nn.Conv1d(channels, channels, 1, bias=False)
        self.project_in = nn.Linear(channels, width, bias=False)
        self.project_source = nn.Linear(sizes.source_channels, width, bias=False) if sizes.source_channels else None
        self.embed_pooled = embedding(sizes.pooled_width, width, bias=True) if sizes.pooled_width else None
        self.layers = nn.ModuleList(Layer(width, sizes.heads, bool(sizes.pooled_width)) for _ in range(sizes.layers))
        self.project_out = nn.Linear(width, channels, bias=False)
        self.conv_out = nn.Conv1d(channels, channels, 1, bias=False)
        for layer in (self.conv_in, self.conv_out, self.project_source):
            if layer is not None:
                nn.init.zeros_(layer.weight)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.5)

    def begin(self) -> "DiT":
        """Weights for a training from nothing: the conditions come in at full strength.

        Where it is given the source, the velocity is x less the source, so that one step from noise gives the source; x and source stand in places of their
        own where the width has room for both.
        """
        for part in (self.embed_time, self.embed_context, self.embed_pooled):
            if part is not None:
                for linear in (part[0], part[2]):
                    nn.init.normal_(linear.weight, std=(2.5 / linear.in_features) ** 0.5)  # about what SiLU takes away
        for layer in self.layers:
            layer.begin()
        if self.project_source is not None:
            channels, width = self.sizes.latent_channels, self.sizes.width
            with torch.no_grad():
                places = nn.init.orthogonal_(torch.empty(width, min(width, 2 * channels)))
                mine, its = places[:, :channels], places[:, channels:] if width >= 2 * channels else -places[:, :channels]
                self.project_in.weight.copy_(mine)
                self.project_source.weight.copy_(its)
                self.project_out.weight.copy_((mine - its).T if width >= 2 * channels else mine.T)
        return self

    def cast(self, dtype: torch.dtype) -> "DiT":
        """To another precision, all but the frequencies of time: rounded to bfloat16 they would turn it by up to a twentieth of a radian."""
        frequencies = self.time_features.weight.data
        self.to(dtype)
        self.time_features.weight.data = frequencies.float()
        return self

    def compile_layers(self) -> None:
        """Let torch compile each layer, which is all of the arithmetic; what stands around them need not be traced."""
        for layer in self.layers:
            layer.compile()

    def prepare(
        self, context: Tensor, context_mask: Tensor, low_level: Tensor | None = None, source: Tensor | None = None, pooled: Tensor | None = None
    ) -> Prepared:
        """What `forward` would compute of the conditions at every step.

        Args:
            context: (batch, tokens, context width).
            context_mask: (batch, tokens), True where a token counts.
            low_level: (batch, tokens, low-level width), of any number of tokens.
            source: latents (batch, latent channels, frames) of what is to be edited, of as many frames as x.
            pooled: (batch, pooled width) of the instruction.
        """
        self._check(context, context_mask, low_level, source, pooled)
        dtype = self.project_in.weight.dtype
        context = self.embed_context(context.to(dtype))
        return Prepared(
            keys_values=[layer.cross_attention.keys_values(context) for layer in self.layers],
            mask=context_mask[:, None, None, :],
            low_level=None if low_level is None else self.embed_low_level(low_level.to(dtype)),
            source=None if source is None else self.project_source(source.to(dtype).transpose(1, 2)),
            pooled=None if pooled is None else self.embed_pooled(pooled.to(dtype)),
        )

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        low_level: Tensor | None = None,
        source: Tensor | None = None,
        pooled: Tensor | None = None,
        prepared: Prepared | None = None,
    ) -> Tensor:
        """Velocity (batch, latent channels, frames), of x's type.

        Args:
            x: latents (batch, latent channels, frames) on the way from noise (t = 1) to data (t = 0).
            t: (batch,) in [0, 1].
            context, context_mask, low_level, source, pooled: as in `prepare`.
            prepared: what `prepare` gave for them, in their stead.

        Raises:
            ValueError: a shape that does not fit, with what was got.
        """
        if x.ndim != 3 or x.shape[1] != self.sizes.latent_channels or x.shape[2] == 0:
            raise ValueError(f"x is (batch, {self.sizes.latent_channels}, frames), got {tuple(x.shape)}")
        if t.shape != x.shape[:1]:
            raise ValueError(f"t is (batch of {len(x)},), got {tuple(t.shape)}")
        if prepared is None:
            if context is None or context_mask is None:
                raise ValueError("the DiT wants a context and its mask, or what was prepared of them")
            prepared = self.prepare(context, context_mask, low_level, source, pooled)
        if len(prepared.mask) != len(x):
            raise ValueError(f"x holds {len(x)} samples, its conditions {len(prepared.mask)}")
        if prepared.source is not None and prepared.source.shape[1] != x.shape[2]:
            raise ValueError(f"x has {x.shape[2]} frames, the source {prepared.source.shape[1]}")
        dtype = self.project_in.weight.dtype
        time = self.embed_time(self.time_features(t).to(dtype))[:, None]
        modulation = None if prepared.pooled is None else F.silu(time[:, 0] + prepared.pooled)
        first = time if prepared.low_level is None else prepared.low_level + time
        latents = x.to(dtype)
        latents = self.project_in((latents + self.conv_in(latents)).transpose(1, 2))
        if prepared.source is not None:
            latents = latents + prepared.source
        hidden = torch.cat([first, latents], dim=1)
        turns = rotary_turns(hidden.shape[1], self.sizes.width // self.sizes.heads, hidden.device)
        for layer, keys_values in zip(self.layers, prepared.keys_values, strict=True):
            hidden = layer(hidden, turns, keys_values, prepared.mask, modulation)
        velocity = self.project_out(hidden[:, first.shape[1] :]).transpose(1, 2)
        return (velocity + self.conv_out(velocity)).to(x.dtype)

    def _check(self, context: Tensor, mask: Tensor, low_level: Tensor | None, source: Tensor | None, pooled: Tensor | None) -> None:
        sizes, batch = self.sizes, len(context)
        if context.ndim != 3 or context.shape[2] != sizes.context_width or context.shape[1] == 0:
            raise ValueError(f"the context is (batch, tokens, {sizes.context_width}), got {tuple(context.shape)}")
        if mask.shape != context.shape[:2] or mask.dtype != torch.bool:
            raise ValueError(f"the context's mask is bool {tuple(context.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}")
        if low_level is not None and (not sizes.low_level_width or low_level.ndim != 3 or low_level.shape[::2] != (batch, sizes.low_level_width)):
            raise ValueError(f"low-level tokens are ({batch}, tokens, {sizes.low_level_width}), got {tuple(low_level.shape)}")
        if source is not None and (not sizes.source_channels or source.ndim != 3 or source.shape[:2] != (batch, sizes.source_channels)):
            raise ValueError(f"source latents are ({batch}, {sizes.source_channels}, frames), got {tuple(source.shape)}")
        if (tuple(pooled.shape) if pooled is not None else None) != ((batch, sizes.pooled_width) if sizes.pooled_width else None):
            raise ValueError(f"the pooled instruction is ({batch}, {sizes.pooled_width}), or None where that width is 0; got "
                             f"{'None' if pooled is None else tuple(pooled.shape)}")

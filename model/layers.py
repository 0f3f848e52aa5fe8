"""The DiT's layers: Fourier features of time, rotary positions, attention to itself and to the context, feed-forward.

As in stable-audio-tools' continuous transformer, which Audio-Omni uses: pre-norm, every branch added, output projections that start at zero.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROTARY_BASE = 10_000.0
ROTATED_AT_LEAST = 32  # of a head's places, where it has as many; else half of them


class FourierFeatures(nn.Module):
    """Cosines, then sines, of 2π·t·w for learned frequencies w (features / 2, 1), in float32: (batch,) → (batch, features)."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features // 2, 1))

    def forward(self, t: Tensor) -> Tensor:
        with torch.autocast(t.device.type, enabled=False):
            angle = 2 * math.pi * t.float()[:, None] @ self.weight.float().T
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class GainNorm(nn.Module):
    """LayerNorm with a gain and no bias."""

    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gain)


def rotary_turns(length: int, head_width: int, device: torch.device) -> Tensor:
    """Cosines and sines (2, length, rotated places) by which positions turn a head (Su et al. 2021), in float32; its two halves are turned together."""
    rotated = max(head_width // 2, min(head_width, ROTATED_AT_LEAST))
    frequency = ROTARY_BASE ** -(torch.arange(0, rotated, 2, device=device, dtype=torch.float32) / rotated)
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequency
    angle = torch.cat([angle, angle], dim=-1)
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """The first places of each head turned, in float32: (batch, heads, length, head width)."""
    turned, rest = x.split([turns.shape[-1], x.shape[-1] - turns.shape[-1]], dim=-1)
    turned = turned.float()
    first, second = turned.chunk(2, dim=-1)
    turned = turned * turns[0] + torch.cat([-second, first], dim=-1) * turns[1]
    return torch.cat([turned.to(x.dtype), rest], dim=-1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(batch, length, width) → (batch, heads, length, head width)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Every position to every other, with rotary positions; no biases."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = _zero(nn.Linear(width, width, bias=False))

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(rotate(q, turns), rotate(k, turns), v)
        return self.out(attended.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Every position to the context; no positions, no biases. Keys and values are the same at every step, so they are made apart."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = _zero(nn.Linear(width, width, bias=False))

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Of a context (batch, tokens, width): twice (batch, heads, tokens, head width)."""
        k, v = self.kv(context).chunk(2, dim=-1)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """The mask (batch, 1, 1, tokens) is True where a token may be attended to."""
        attended = F.scaled_dot_product_attention(split_heads(self.q(x), self.heads), *keys_values, attn_mask=mask)
        return self.out(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020) with biases, four times as wide inside; the projection's first half is the value, its second the gate."""

    def __init__(self, width: int):
        super().__init__()
        self.up = nn.Linear(width, 8 * width)
        self.down = _zero(nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(value * F.silu(gate))


class Layer(nn.Module):
    """Self-attention, cross-attention, feed-forward: each of the normed x, and added to it.

    Where it is modulated, each normed x is scaled and shifted and what is added is scaled, by what time and instruction are (adaLN-Zero, Peebles and Xie 2023).
    """

    def __init__(self, width: int, heads: int, modulated: bool = False):
        super().__init__()
        self.modulate = _zero(nn.Linear(width, 9 * width)) if modulated else None
        self.self_norm, self.self_attention = GainNorm(width), SelfAttention(width, heads)
        self.cross_norm, self.cross_attention = GainNorm(width), CrossAttention(width, heads)
        self.feed_norm, self.feed_forward = GainNorm(width), FeedForward(width)

    def begin(self) -> None:
        """Weights for a training from nothing: the context is attended to at full strength, and where it is modulated, that alone holds the branches back."""
        heard = [self.cross_attention.q, self.cross_attention.kv]
        outputs = [] if self.modulate is None else [self.self_attention.out, self.cross_attention.out, self.feed_forward.down]
        for linear in heard + outputs:
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)

    def forward(self, x: Tensor, turns: Tensor, keys_values: tuple[Tensor, Tensor], mask: Tensor, modulation: Tensor | None = None) -> Tensor:
        """`modulation`: (batch, width), where it is modulated."""
        if self.modulate is None:
            x = x + self.self_attention(self.self_norm(x), turns)
            x = x + self.cross_attention(self.cross_norm(x), keys_values, mask)
            return x + self.feed_forward(self.feed_norm(x))
        scale, shift, gate = self.modulate(modulation)[:, None].unflatten(-1, (3, 3, -1)).unbind(dim=-2)  # each (batch, 1, branches, width)
        x = x + gate[..., 0, :] * self.self_attention(self.self_norm(x) * (1 + scale[..., 0, :]) + shift[..., 0, :], turns)
        x = x + gate[..., 1, :] * self.cross_attention(self.cross_norm(x) * (1 + scale[..., 1, :]) + shift[..., 1, :], keys_values, mask)
        return x + gate[..., 2, :] * self.feed_forward(self.feed_norm(x) * (1 + scale[..., 2, :]) + shift[..., 2, :])


def embedding(width_in: int, width: int, bias: bool = False) -> nn.Sequential:
    """Linear, SiLU, Linear."""
    return nn.Sequential(nn.Linear(width_in, width, bias=bias), nn.SiLU(), nn.Linear(width, width, bias=bias))


def _zero(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear

"""Every size of a model in one frozen record, and how it stands in config.json."""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from manifests.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class DitSizes:
    """Of the diffusion transformer.

    `low_level_width` 0: no low-level tokens; `source_channels` 0: no source latents beside x; `pooled_width` 0: layers are not modulated by time and by
    what of the instruction is pooled, as the published ones are not.
    """

    width: int = 2048
    layers: int = 36
    heads: int = 32
    latent_channels: int = 64
    context_width: int = 768
    low_level_width: int = 768
    source_channels: int = 0
    pooled_width: int = 0

    def __post_init__(self):
        if (min(self.width, self.layers, self.heads, self.latent_channels, self.context_width) < 1
                or min(self.low_level_width, self.source_channels, self.pooled_width) < 0):
            raise ValueError("a size of the DiT is below 1")
        if self.width % self.heads or self.width // self.heads % 4:
            raise ValueError(f"a width of {self.width} does not part into {self.heads} heads whose width is a multiple of 4")
        if self.source_channels not in (0, self.latent_channels):
            raise ValueError(f"source_channels is {self.source_channels}; 0, or the {self.latent_channels} latent channels")


@dataclass(frozen=True, kw_only=True)
class OmniPromptSizes:
    """Of the instruction: the MLLM's width, the places its states are padded to, and of how many components their mean is given besides (0: it is not)."""

    width: int = 2048
    length: int = 2048
    pooled: int = 0

    def __post_init__(self):
        if not 0 <= self.pooled <= self.width:
            raise ValueError(f"pooled is {self.pooled}; states {self.width} wide have 0 to {self.width} components")


@dataclass(frozen=True, kw_only=True)
class SpeechPromptSizes:
    """Of what is to be said: lines of vocab.txt, places for characters, tokens that come out, width and blocks in between.

    `norm_empty`: the learned block that stands for no speech is always normed. The published model norms it only where another sample of the batch speaks.
    """

    vocabulary: int
    length: int = 2584
    tokens: int = 256
    width: int = 512
    blocks: int = 4
    norm_empty: bool = True


@dataclass(frozen=True, kw_only=True)
class AudioInputSizes:
    """Of the source as a log-mel spectrogram: rate (Hz), samples it is padded or cut to, window and hop (samples), bands, tokens that come out."""

    sample_rate: int = 44_100
    samples: int = 441_000
    window: int = 1024
    hop: int = 256
    mels: int = 100
    tokens: int = 236

    @property
    def frames(self) -> int:
        return 1 + self.samples // self.hop


@dataclass(frozen=True, kw_only=True)
class SyncFeatureSizes:
    """Of the video's features: frames and width as Synchformer gives them, tokens that come out."""

    frames: int = 240
    width: int = 768
    tokens: int = 128


@dataclass(frozen=True, kw_only=True)
class ConditionerSizes:
    """Of all conditioners; one that is None is not there. `width` is that of the tokens they give."""

    width: int = 768
    omni_prompt: OmniPromptSizes = field(default_factory=OmniPromptSizes)
    speech_prompt: SpeechPromptSizes | None = None
    audio_input_prompt: AudioInputSizes | None = None
    sync_feature: SyncFeatureSizes | None = None


@dataclass(frozen=True, kw_only=True)
class SamplingSizes:
    """How many steps, how strong the guidance, and the shift of the times (`flow.times`), where the user does not say."""

    steps: int = 100
    guidance: float = 7.0
    shift: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a whole model.

    Args:
        sample_rate: Hz.
        channels: of the audio.
        window: samples that are made at once.
        codec: {"kind": "oobleck", "width", "multiples", "strides", "latent_channels"} or {"kind": "mdct", "hop"}.
        mllm: {"path": folder or hub name, "layer": which hidden state, "hear_source": whether it hears what is to be edited}, and "roles" where they differ.
    """

    sample_rate: int = 44_100
    channels: int = 2
    window: int = 485_100
    dit: DitSizes = field(default_factory=DitSizes)
    conditioners: ConditionerSizes = field(default_factory=ConditionerSizes)
    codec: dict[str, Any]
    mllm: dict[str, Any]
    sampling: SamplingSizes = field(default_factory=SamplingSizes)

    def __post_init__(self):
        if self.dit.pooled_width != self.conditioners.omni_prompt.pooled:
            raise ValueError(f"the DiT takes {self.dit.pooled_width} components of the pooled instruction (pooled_width), and the conditioner gives "
                             f"{self.conditioners.omni_prompt.pooled} (omni_prompt: pooled)")
        if self.codec.get("kind") == "oobleck" and not isinstance(self.codec.get("strides"), list):
            raise ValueError(f"codec is {json.dumps(self.codec)}; an oobleck has strides")
        wanted = {"path": str, "layer": int, "hear_source": bool}
        if set(self.mllm) - {"roles"} != set(wanted) or any(type(self.mllm[name]) is not kind for name, kind in wanted.items()):
            raise ValueError(f"mllm is {json.dumps(self.mllm)}; wanted: path, layer (whole number), hear_source (true or false), and roles if need be")

    @property
    def downsampling(self) -> int:
        """Samples a latent frame."""
        return math.prod(self.codec["strides"]) if self.codec["kind"] == "oobleck" else self.codec["hop"]

    @property
    def latent_frames(self) -> int:
        """Whole latent frames in the window."""
        return self.window // self.downsampling

    @property
    def edit_window(self) -> int:
        """Samples of a recording that are edited at once: what is made, but no more than is heard of it."""
        heard, made = self.conditioners.audio_input_prompt, self.latent_frames * self.downsampling
        return min(made, heard.samples) if heard is not None else made

    @classmethod
    def published(cls, vocabulary: int = 2545) -> "Sizes":
        """Audio-Omni's; `vocabulary` lines stand in F5-TTS' vocab.txt."""
        conditioners = ConditionerSizes(
            speech_prompt=SpeechPromptSizes(vocabulary=vocabulary, norm_empty=False), audio_input_prompt=AudioInputSizes(), sync_feature=SyncFeatureSizes()
        )
        codec = {"kind": "oobleck", "width": 128, "multiples": [1, 2, 4, 8, 16], "strides": [2, 4, 4, 8, 8], "latent_channels": 64}
        return cls(conditioners=conditioners, codec=codec, mllm={"path": "Qwen/Qwen2.5-Omni-3B", "layer": -2, "hear_source": False})

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "config.json") -> "Sizes":
        """Read strictly.

        Raises:
            RequestError: not JSON, a key that is unknown or missing, or a value of another type or out of range; it names the key.
        """
        try:
            return _read(cls, json.loads(text), where)
        except json.JSONDecodeError as error:
            raise RequestError(f"{where} is not JSON: {error}") from None


def _read(kind: type, value: Any, where: str) -> Any:
    """The value as `kind`, a dataclass, or that or None, or a plain type."""
    if isinstance(kind, types.UnionType):
        inner = next(option for option in typing.get_args(kind) if option is not types.NoneType)
        return None if value is None else _read(inner, value, where)
    if not dataclasses.is_dataclass(kind):
        plain = typing.get_origin(kind) or kind
        if not (type(value) is plain or plain is float and type(value) is int):
            raise RequestError(f"{where} is {json.dumps(value)}; wanted: {plain.__name__}")
        return plain(value)
    if not isinstance(value, dict):
        raise RequestError(f"{where} is {json.dumps(value)}; wanted: an object")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise RequestError(f"{where}: unknown key {name}; known: {', '.join(fields)}")
    for name in fields:
        if name not in value:
            raise RequestError(f"{where}: {name} is missing")
    hints = typing.get_type_hints(kind)
    read = {name: _read(hints[name], value[name], f"{where}: {name}") for name in fields}
    try:
        return kind(**read)
    except ValueError as error:
        raise RequestError(f"{where}: {error}") from None

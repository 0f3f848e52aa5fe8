"""Audio-Omni's published files and ours: the one place that knows the names and sizes of the published format."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manifests.errors import RequestError
from model import checkpoint as checkpoints
from model import folder
from model.codec import Oobleck
from model.sizes import AudioInputSizes, ConditionerSizes, DitSizes, OmniPromptSizes, Sizes, SpeechPromptSizes, SyncFeatureSizes
from model.speech_text import Vocabulary

MLLM = "conditioner.conditioners.omni_prompt.model."  # the frozen MLLM's own weights, which are had from its own folder
NEVER_READ = "conditioner.conditioners.audio_input_prompt.empty_audio_feat"  # by the original
INVERSE_FREQUENCIES = "model.model.transformer.rotary_pos_emb.inv_freq"
SECONDS = 10  # of source that the original's linear over time takes
ORDER = {"high_level_cond_ids": ["omni_prompt", "speech_prompt"], "low_level_cond_ids": ["sync_feature", "audio_input_prompt"]}
TYPES = {"omni_prompt": "qwen_omni", "sync_feature": "sync_feature", "speech_prompt": "tts-f5", "audio_input_prompt": "mel_spec"}

NAMES = [  # of ours, in order, what to put in place of what
    (r"^dit\.time_features", "model.model.timestep_features"),
    (r"^dit\.embed_time", "model.model.to_timestep_embed"),
    (r"^dit\.embed_context", "model.model.to_cond_embed"),
    (r"^dit\.embed_low_level", "model.model.to_global_embed"),
    (r"^dit\.conv_in", "model.model.preprocess_conv"),
    (r"^dit\.conv_out", "model.model.postprocess_conv"),
    (r"^dit\.(layers|project)", r"model.model.transformer.\1"),
    (r"self_norm\.gain", "pre_norm.gamma"),
    (r"cross_norm\.gain", "cross_attend_norm.gamma"),
    (r"feed_norm\.gain", "ff_norm.gamma"),
    (r"(self|cross)_attention\.", r"\1_attn.to_"),
    (r"feed_forward\.up", "ff.ff.0.proj"),
    (r"feed_forward\.down", "ff.ff.2"),
    (r"^conditioners\.", "conditioner.conditioners."),
    (r"(omni|speech)_prompt\.project\.", r"\1_prompt.proj_features."),
    (r"audio_input_prompt\.project\.", "audio_input_prompt.proj_features."),
    (r"audio_input_prompt\.project_time", "audio_input_prompt.proj_sequence_features"),
    (r"speech_prompt\.project_time", "speech_prompt.proj_seq_len"),
    (r"sync_feature\.project\.", "sync_feature.proj."),
    (r"sync_feature\.project_time", "sync_feature.dim_project"),
    (r"speech_prompt\.empty", "speech_prompt.empty_speech_feat"),
    (r"speech_prompt\.embed", "speech_prompt.text_embed.text_embed"),
    (r"speech_prompt\.blocks\.(\d+)", r"speech_prompt.text_embed.text_blocks.\1"),
    (r"(text_blocks\.\d+)\.depthwise", r"\1.dwconv"),
    (r"(text_blocks\.\d+)\.up", r"\1.pwconv1"),
    (r"(text_blocks\.\d+)\.down", r"\1.pwconv2"),
    (r"(text_blocks\.\d+)\.gain", r"\1.grn.gamma"),
    (r"(text_blocks\.\d+)\.bias", r"\1.grn.beta"),
]
UNIT = {"snake1": 0, "conv1": 1, "snake2": 2, "conv2": 3}  # places in a residual unit
BLOCK = {  # places in a block
    "encoder": {"res_unit1": 0, "res_unit2": 1, "res_unit3": 2, "snake1": 3, "conv1": 4},
    "decoder": {"snake1": 0, "conv_t1": 1, "res_unit1": 2, "res_unit2": 3, "res_unit3": 4},
}


def published_name(ours: str) -> str:
    """
    >>> published_name("dit.layers.3.self_attention.qkv.weight")
    'model.model.transformer.layers.3.self_attn.to_qkv.weight'
    """
    for pattern, replacement in NAMES:
        ours = re.sub(pattern, replacement, ours)
    return ours


def published_codec_name(ours: str, blocks: int) -> str:
    """Of diffusers' names, in a codec of so many blocks.

    >>> published_codec_name("encoder.block.0.res_unit2.conv1.bias", 5)
    'pretransform.model.encoder.layers.1.layers.1.layers.1.bias'
    """
    side, part, *rest = ours.split(".")
    places = [{"conv1": 0, "snake1": blocks + 1, "conv2": blocks + 2}.get(part)]
    if part == "block":
        places = [int(rest[0]) + 1, BLOCK[side][rest[1]]] + ([UNIT[rest[2]]] if rest[1].startswith("res_unit") else [])
    return f"pretransform.model.{side}." + "".join(f"layers.{place}." for place in places) + rest[-1]


def sizes_of(config: dict[str, Any], vocabulary: int, mllm_width: int = 2048) -> Sizes:
    """Sizes of a published configuration; what it does not say is as the original has it.

    Args:
        vocabulary: lines of vocab.txt.
        mllm_width: of the MLLM's states, which the configuration does not say.

    Raises:
        RequestError: a key that is missing, or asks for something that the published model does not have.
    """
    try:
        return _sizes_of(config, vocabulary, mllm_width)
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"the configuration is not of Audio-Omni's form: {type(error).__name__} {error}") from None
    except ValueError as error:
        raise RequestError(f"the configuration: {error}") from None


def import_official(checkpoint: str | Path, config: str | Path, output: str | Path, vocab: str | Path | None = None, mllm: str | None = None) -> Sizes:
    """Turn Audio-Omni's published files into a MODEL folder.

    Args:
        checkpoint: `.safetensors`, or what torch.save wrote, of which nothing but tensors is read.
        config: its configuration, JSON.
        output: the folder, which must not exist or be empty.
        vocab: the speech vocabulary; without it, the file that the configuration names, from the configuration's folder.
        mllm: folder or hub name of the MLLM; without it, what the configuration names.

    Raises:
        RequestError: a file that is missing or of another form, or tensors that are missing, unexpected or of another shape.
    """
    folder.vacant(output)
    described = _json(Path(config))
    vocabulary = _vocabulary(described, Path(config), vocab)
    tensors = checkpoints.read(checkpoint, but=MLLM)
    states = tensors.get("conditioner.conditioners.omni_prompt.proj_features.weight")
    sizes = sizes_of(described, len(vocabulary) if vocabulary else 0, 2048 if states is None else states.shape[-1])
    if mllm is not None:
        sizes = dataclasses.replace(sizes, mllm={**sizes.mllm, "path": str(mllm)})
    codec = Oobleck.of_sizes(sizes.codec, sizes.sample_rate, sizes.channels)
    ours = {published_name(name): (name, tuple(tensor.shape)) for name, tensor in folder.modules(sizes, "meta").state_dict().items()}
    blocks = len(sizes.codec["strides"])
    theirs = {published_codec_name(name, blocks): (name, tuple(tensor.shape)) for name, tensor in codec.autoencoder.state_dict().items()}
    wanted = {name: _published_shape(name, shape) for name, (_, shape) in {**ours, **theirs}.items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not _is_constant(name)}
    checkpoints.check(found, wanted, str(checkpoint))
    _check_constants(tensors)
    codec.autoencoder.load_state_dict({name: tensors[published].reshape(shape) for published, (name, shape) in theirs.items()})
    weights = {name: tensors[published].reshape(shape) for published, (name, shape) in ours.items()}
    folder.write(output, sizes, weights, codec, vocabulary)
    return sizes


def _sizes_of(config: dict[str, Any], vocabulary: int, mllm_width: int) -> Sizes:
    model = config["model"]
    encoder, decoder = (model["pretransform"]["config"][side]["config"] for side in ("encoder", "decoder"))
    parts = {entry["id"]: entry for entry in model["conditioning"]["configs"]}
    diffusion, dit = model["diffusion"], model["diffusion"]["config"]
    for name, entry in parts.items():
        _same(f"the type of the conditioner {name}", entry["type"], TYPES.get(name))
    for level, order in ORDER.items():
        _same(level, diffusion[level], [name for name in order if name in parts])
    _same("diffusion_objective", diffusion["diffusion_objective"], "rectified_flow")
    _same("transformer_type", dit["transformer_type"], "continuous_transformer")
    _same("project_cond_tokens", dit.get("project_cond_tokens", True), True)
    _same("the codec's kind", [model["pretransform"]["config"][side]["type"] for side in ("encoder", "decoder")], ["oobleck", "oobleck"])
    _same("the codec's use_snake and final_tanh", [encoder["use_snake"], decoder["use_snake"], decoder.get("final_tanh", True)], [True, True, False])
    for key in ("channels", "c_mults", "strides"):
        _same(f"the decoder's {key}", decoder[key], encoder[key])
    omni, width = parts["omni_prompt"]["config"], model["conditioning"]["cond_dim"]
    speech, audio, sync = (parts[name]["config"] if name in parts else None for name in ("speech_prompt", "audio_input_prompt", "sync_feature"))
    return Sizes(
        sample_rate=config["sample_rate"],
        channels=config["audio_channels"],
        window=config["sample_size"],
        dit=DitSizes(
            width=dit["embed_dim"],
            layers=dit["depth"],
            heads=dit["num_heads"],
            latent_channels=dit["io_channels"],
            context_width=dit["cond_token_dim"],
            low_level_width=dit.get("global_cond_dim", 0),
        ),
        conditioners=ConditionerSizes(
            width=width,
            omni_prompt=OmniPromptSizes(width=mllm_width, length=omni["pad_length"]),
            speech_prompt=speech and SpeechPromptSizes(vocabulary=vocabulary, length=speech["seq_len"], tokens=speech["proj_seq_len"], norm_empty=False),
            audio_input_prompt=audio and AudioInputSizes(
                sample_rate=audio["target_sample_rate"],
                samples=SECONDS * audio["target_sample_rate"],
                window=audio["n_fft"],
                hop=audio["hop_length"],
                mels=audio["n_mel_channels"],
                tokens=audio["seq_len"],
            ),
            sync_feature=sync and SyncFeatureSizes(frames=sync["sync_seq_dim"], width=width),
        ),
        codec={
            "kind": "oobleck",
            "width": encoder["channels"],
            "multiples": encoder["c_mults"],
            "strides": encoder["strides"],
            "latent_channels": decoder["latent_dim"],
        },
        mllm={"path": omni["qwen_omni_model_name"], "layer": omni["layer_idx"], "hear_source": False},
    )


def _same(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise ValueError(f"{what} is {json.dumps(found)}; this project knows {json.dumps(wanted)}")


def _published_shape(name: str, shape: tuple) -> tuple:
    """Vectors that the one stores with dimensions of size one, and the other without."""
    if ".grn." in name:
        return (1, 1, *shape)
    return (shape[1],) if name.startswith("pretransform.") and name.endswith((".alpha", ".beta")) else shape


def _is_constant(name: str) -> bool:
    return name in (INVERSE_FREQUENCIES, NEVER_READ) or name.startswith("model.model.transformer.") and name.endswith("norm.beta")


def _check_constants(tensors: dict[str, Tensor]) -> None:
    """What the original stores but never trains is what this project takes it to be."""
    for name, tensor in tensors.items():
        if _is_constant(name) and name.endswith("norm.beta") and tensor.any():
            raise RequestError(f"{name} is not zero, as it should be: a constant in the published model")
    if INVERSE_FREQUENCIES in tensors:
        found = tensors[INVERSE_FREQUENCIES].float()
        if not torch.allclose(found, 10_000.0 ** -(torch.arange(len(found)) / len(found)), rtol=1e-2):
            raise RequestError(f"{INVERSE_FREQUENCIES} is not of base 10,000")


def _vocabulary(config: dict[str, Any], path: Path, given: str | Path | None) -> Vocabulary | None:
    try:
        named = [entry["config"]["vocab_file"] for entry in config["model"]["conditioning"]["configs"] if entry["id"] == "speech_prompt"]
    except (KeyError, TypeError) as error:
        raise RequestError(f"{path} is not of Audio-Omni's form: {type(error).__name__} {error}") from None
    if not named:
        return None
    vocab = Path(given) if given is not None else path.parent / named[0]
    if not vocab.is_file():
        raise RequestError(f"there is no speech vocabulary {vocab}" + ("" if given else f", which {path} names; give one with --vocab FILE"))
    return Vocabulary(vocab)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot read the configuration {path}: {error}") from None

"""The frozen multimodal language model that reads an instruction, and hears a recording: the thinker of Qwen2.5-Omni (Xu et al. 2025).

What the generator learns from are the hidden states of one of its layers, so that only its body runs; its head runs to answer a question. Weights are read from
safetensors only, no code of a checkpoint is run, and a path asks no network.
"""

import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from manifests.errors import RequestError
from model.quiet import quiet
from model.tiny_mllm import TINY, make_tiny_thinker

ROLES = {  # what the MLLM is told to be, by task
    "sound": "You are a sound designer. Make the sound that the text describes, in high fidelity.",
    "music": "You are a music producer and composer. Make the piece of music that the text asks for, with its melody, harmony, rhythm, instruments and mood.",
    "video": "You are a foley artist. Watch the video and make the sounds that belong to it.",
    "edit": "You are a sound engineer. Edit the given audio precisely as the instruction says.",
    "speech": "Speak the given text.",
    "question": "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and visual inputs, "
                "as well as generating text and speech.",  # what it was trained with
}
KINDS = ("qwen2_5_omni", "qwen2_5_omni_thinker")  # a whole checkpoint, and the thinker saved alone
SHORTEST = 0.1  # s; the encoder makes nothing of less than two frames, so silence is put after


def sentence(text: str) -> str:
    """A text that ends as a sentence does.

    >>> sentence("rain on a roof"), sentence("Let it rain!"), sentence("下雨。"), sentence("")
    ('rain on a roof.', 'Let it rain!', '下雨。', '')
    """
    return text if not text or text.endswith((".", "!", "?", "。", "!", "?")) else f"{text}."


class Prompt(NamedTuple):
    """One request: its words, its task (of `ROLES`), and what is heard with it, float32 (samples,) at the MLLM's own rate."""

    text: str
    task: str = "edit"
    audio: np.ndarray | None = None


class Mllm:
    """Qwen2.5-Omni's thinker, frozen. Not a torch module, so that it is in no state dictionary, optimizer or checkpoint of what holds it.

    Args:
        path: local path (told by what it begins with: /, ./, ../), or name on the hub; "tiny-random": the one of `model.tiny_mllm`, made on the spot.
        layer: whose states are taken, counted as transformers does: 0 the embeddings, -1 the last after its norm.
        device, dtype: of the weights; None: the checkpoint's own.
        roles: system prompts by task, in the place of those of `ROLES`.

    Raises:
        RequestError: the checkpoint is not there or damaged, is of another kind or lacks weights, or it has no such layer.

    Attributes:
        width: of its hidden states.
        rate: Hz of what it hears.
        longest: s that it hears at once.
    """

    def __init__(self, path: str, layer: int = -2, device: str | torch.device = "cpu", dtype: torch.dtype | None = None, roles: dict[str, str] | None = None):
        from transformers import GenerationConfig

        if path.startswith(("/", "./", "../")) and not os.path.exists(path):
            raise RequestError(f"mllm: there is no checkpoint at {path}; put it there, or give the name that it has on its hub")
        if unknown := set(roles or {}) - set(ROLES):
            raise RequestError(f"mllm: there is no task '{min(unknown)}' to give a role; one of {', '.join(ROLES)}")
        self.path, self.layer, self.device, self.roles = path, layer, torch.device(device), ROLES | (roles or {})
        try:
            with tempfile.TemporaryDirectory() as made, quiet(made if path == TINY else path):
                self._tokenizer, self._extractor, thinker = _load(make_tiny_thinker(made) if path == TINY else path, dtype)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise RequestError(f"mllm: cannot read the checkpoint {path}: {(str(error).strip() or type(error).__name__).splitlines()[0]}") from None
        part = thinker if hasattr(thinker, "visual") else thinker.model  # where transformers 5 has it
        part.visual = None  # nothing is shown to it
        # In the place of the checkpoint's, which may ask for sampling and need not tell where a turn ends.
        ends = {self._number("<|im_end|>"), self._tokenizer.eos_token_id, self._tokenizer.pad_token_id} - {None}
        thinker.generation_config = GenerationConfig(do_sample=False, eos_token_id=sorted(ends), pad_token_id=self._tokenizer.pad_token_id)
        self._thinker = thinker.to(self.device).eval().requires_grad_(False)
        text = thinker.config.text_config
        if not -text.num_hidden_layers - 1 <= layer <= text.num_hidden_layers:
            raise RequestError(f"mllm: {path} has no layer {layer}; it has {text.num_hidden_layers}, and 0 are the embeddings")
        self.width, self._window = text.hidden_size, text.max_position_embeddings
        self.rate, self.longest = self._extractor.sampling_rate, self._extractor.n_samples / self._extractor.sampling_rate

    @property
    def thinker(self) -> torch.nn.Module:
        """The weights, to look at."""
        return self._thinker

    @torch.no_grad()
    def states(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, tokens, width), zero where padded, and their mask (batch, tokens), True at tokens.

        Each prompt's are the same alone and in any batch. Padding follows the tokens, which see only what comes before.

        Raises:
            RequestError: a prompt is longer than the window, or audio longer than it hears at once, or not finite.
        """
        inputs = self._inputs(prompts)
        mask = inputs["attention_mask"]
        embedded = self._thinker.get_input_embeddings()(inputs["input_ids"])
        if "input_features" in inputs:
            heard = self._thinker.get_audio_features(inputs["input_features"], feature_attention_mask=inputs["feature_attention_mask"])
            heard = getattr(heard, "last_hidden_state", heard)  # transformers 5 gives more than the features
            places = (inputs["input_ids"] == self._number("<|AUDIO|>"))[..., None].expand_as(embedded)
            embedded = embedded.masked_scatter(places, heard.to(embedded))
        body = self._thinker.get_decoder()(inputs_embeds=embedded, attention_mask=mask, use_cache=False, output_hidden_states=True)
        mask = mask.bool()
        return body.hidden_states[self.layer].masked_fill(~mask[..., None], 0), mask

    @torch.no_grad()
    def understand(self, question: str, audio: np.ndarray | None = None, max_new_tokens: int = 512) -> str:
        """What it answers, greedily, of audio (samples,) at its own rate if there is any.

        Raises:
            RequestError: see `states`.
        """
        inputs = self._inputs([Prompt(question, "question", audio)])
        said = self._thinker.generate(**inputs, max_new_tokens=max_new_tokens)
        return self._tokenizer.decode(said[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()

    def _number(self, token: str) -> int:
        return self._tokenizer.convert_tokens_to_ids(token)

    def _inputs(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """Token numbers and log-mel features, each padded at its end, as Qwen2.5-Omni's own processor makes them."""
        prompts = [Prompt(*prompt) for prompt in prompts]
        heard = [self._heard(prompt.audio) for prompt in prompts if prompt.audio is not None]
        found, lengths = {}, iter(())
        if heard:
            features = self._extractor(heard, sampling_rate=self.rate, padding="max_length", return_attention_mask=True, return_tensors="pt")
            found = {"input_features": features["input_features"].to(self._thinker.dtype), "feature_attention_mask": features["attention_mask"]}
            lengths = iter((((features["attention_mask"].sum(1) - 1) // 2 - 1) // 2 + 1).tolist())  # two strides of 2
        tokens = [self._tokenizer(self._chat(prompt, lengths), add_special_tokens=False)["input_ids"] for prompt in prompts]
        longest = max(map(len, tokens))
        if longest > self._window:
            raise RequestError(f"an instruction of {longest} tokens is longer than the {self._window} that the MLLM reads at once; shorten it")
        found["input_ids"] = torch.tensor([one + [self._tokenizer.pad_token_id] * (longest - len(one)) for one in tokens])
        found["attention_mask"] = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in tokens])
        return {name: tensor.to(self.device) for name, tensor in found.items()}

    def _chat(self, prompt: Prompt, lengths) -> str:
        """A conversation in Qwen's format, up to the opening of the answer."""
        if prompt.task not in self.roles:
            raise ValueError(f"there is no task '{prompt.task}'; one of {', '.join(self.roles)}")
        said = prompt.text.strip().replace("<|", "< |")  # what a user writes is no control token
        heard = "" if prompt.audio is None else f"<|audio_bos|>{'<|AUDIO|>' * next(lengths)}<|audio_eos|>"
        return f"<|im_start|>system\n{self.roles[prompt.task]}<|im_end|>\n<|im_start|>user\n{heard}{said}<|im_end|>\n<|im_start|>assistant\n"

    def _heard(self, audio: np.ndarray) -> np.ndarray:
        if audio.ndim != 1:
            raise ValueError(f"the MLLM hears audio (samples,), got {audio.shape}")
        if len(audio) > self._extractor.n_samples:
            raise RequestError(f"the MLLM hears {self.longest:g} s at once, and the recording has {len(audio) / self.rate:.1f} s; give a part of it")
        if not np.isfinite(audio).all():
            raise RequestError("the audio holds samples that are not finite (NaN or infinite)")
        return np.pad(audio.astype(np.float32), (0, max(0, round(SHORTEST * self.rate) - len(audio))))


def _load(path: str, dtype: torch.dtype | None) -> tuple:
    """Tokenizer, feature extractor and thinker of a checkpoint."""
    from transformers import AutoTokenizer, PretrainedConfig, Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor

    kind = PretrainedConfig.get_config_dict(path)[0].get("model_type")
    if kind not in KINDS:
        raise RequestError(f"mllm: the checkpoint {path} is of kind '{kind}'; wanted is Qwen2.5-Omni ({KINDS[0]})")
    thinker, found = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        path, dtype=dtype or "auto", use_safetensors=True, trust_remote_code=False, output_loading_info=True)
    if found["missing_keys"]:
        raise RequestError(f"mllm: the checkpoint {path} lacks {len(found['missing_keys'])} weights, such as {min(found['missing_keys'])}")
    return AutoTokenizer.from_pretrained(path, trust_remote_code=False), WhisperFeatureExtractor.from_pretrained(path), thinker

"""Labels by Qwen2.5-Omni (Xu et al. 2025, "Qwen2.5-Omni Technical Report"), of which only the part that hears and writes is loaded.

Weights are read from safetensors only, and no code of a checkpoint is run. A hub name without safetensors makes transformers ask the
hub to convert it; local paths, and everything under HF_HUB_OFFLINE=1, ask nobody.
"""

import numpy as np

from manifests.errors import Rejected, RequestError
from stages.engines import loading
from stages.engines.prompting import REMINDER, UNREADABLE, Answers, parse, prompt
from stages.engines.protocols import Described

SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and visual inputs, "
    "as well as generating text and speech."
)  # what it was trained with; with another, its processor complains through Python's root logger
KINDS = ("qwen2_5_omni", "qwen2_5_omni_thinker")  # a whole checkpoint, and the thinker saved alone
DTYPES = ("auto", "bfloat16", "float16", "float32")
SHORTEST = 0.1  # s; the encoder makes nothing of less than two frames, so silence is put after


class QwenOmni:
    """Labeler by the thinker of Qwen2.5-Omni: greedy, without chance; an answer of the wrong form is asked for once more, with a reminder.

    Args:
        model: path or hub name.
        dtype: of the weights; "auto": that of the checkpoint.
        batch: recordings at once.
        max_new_tokens: of an answer.
        cache: folder of answers, by model, question and recording; whoever puts another model at the same path empties it.
        device: "auto", or a torch device.

    Raises:
        ValueError: an option is out of its range.
        RequestError: the checkpoint is not there, is of another kind, or lacks weights.
    """

    def __init__(self, *, model: str = "Qwen/Qwen2.5-Omni-7B", dtype: str = "auto", batch: int = 4, max_new_tokens: int = 128, cache: str | None = None,
                 device: str = "auto"):
        if dtype not in DTYPES:
            raise ValueError(f"dtype is '{dtype}'; one of {', '.join(DTYPES)}")
        if batch < 1:
            raise ValueError(f"batch is {batch}; at least 1")
        if not 16 <= max_new_tokens <= 4096:
            raise ValueError(f"max_new_tokens is {max_new_tokens}; 16 to 4096")
        self._answers = Answers(cache, engine="qwen_omni", model=model, dtype=dtype, max_new_tokens=max_new_tokens)
        name = loading.checkpoint("model", model)

        from transformers import GenerationConfig, PretrainedConfig, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

        self.model, self.batch, self._device = model, batch, loading.device(device)
        kind = PretrainedConfig.get_config_dict(name)[0].get("model_type")
        if kind not in KINDS:
            raise RequestError(f"model: the checkpoint {model} is of kind '{kind}'; wanted is Qwen2.5-Omni ({KINDS[0]})")
        self._processor = Qwen2_5OmniProcessor.from_pretrained(name, trust_remote_code=False)
        thinker, found = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
            name, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True)
        if found["missing_keys"]:
            raise RequestError(f"model: the checkpoint {model} lacks {len(found['missing_keys'])} weights, such as {min(found['missing_keys'])}")
        tokenizer = self._processor.tokenizer
        ends = {tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}
        # In the place of the checkpoint's, which may ask for sampling and need not tell where a turn ends.
        thinker.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=sorted(ends), pad_token_id=tokenizer.pad_token_id)
        self._thinker = thinker.to(self._device).eval().requires_grad_(False)
        extractor = self._processor.feature_extractor
        self._rate, self._most = extractor.sampling_rate, extractor.n_samples

    def label(self, recordings: list[np.ndarray], rate: int, labels: list[str]) -> list[Described | Rejected]:
        """See `protocols.Labeler`."""
        question = prompt(labels)
        heard = [loading.mono(audio, rate, self._rate) for audio in recordings]
        names = [self._answers.name(question, audio.tobytes()) for audio in heard]
        found = [self._answers.find(name) if len(audio) <= self._most else self._too_long() for name, audio in zip(names, heard)]
        for asked in (question, question + REMINDER):
            missing = [place for place, one in enumerate(found) if one is None]
            answers = self._ask([heard[place] for place in missing], asked) if missing else []
            for place, answer in zip(missing, answers):
                found[place] = parse(answer, self.model)
                if found[place] is not None:
                    self._answers.keep(names[place], found[place])
        return [one if one is not None else Rejected(UNREADABLE) for one in found]

    def _ask(self, heard: list[np.ndarray], question: str) -> list[str]:
        """What the model says of each recording, float32 (samples,) at its own rate."""
        import torch

        conversation = [
            {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
            {"role": "user", "content": [{"type": "audio", "audio": ""}, {"type": "text", "text": question}]},
        ]
        text = self._processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        shortest = round(SHORTEST * self._rate)
        inputs = self._processor(
            text=[text] * len(heard), audio=[np.pad(audio, (0, max(0, shortest - len(audio)))) for audio in heard], return_tensors="pt",
            text_kwargs={"padding": True, "padding_side": "left"}, audio_kwargs={"sampling_rate": self._rate})
        with torch.inference_mode():
            said = self._thinker.generate(**inputs.to(self._device))
        return self._processor.tokenizer.batch_decode(
            said[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _too_long(self) -> Rejected:
        return Rejected(f"longer than {self._most / self._rate:g} s, the most that the model hears at once")

"""How well a text describes a sound, by CLAP of LAION.

Wu, Chen, Zhang, Hui, Berg-Kirkpatrick and Dubnov (2023), "Large-scale contrastive language-audio pretraining with feature fusion
and keyword-to-caption augmentation": one network for sounds and one for texts, trained so that a sound and what describes it lie
close together; the cosine between the two is the similarity.

Of the package, laion-clap, only the networks are loaded, which are its folder `clap_module`. `import laion_clap` itself reads the
command line of whatever program runs, fetches RoBERTa by name, and brings code for training. What the package does around its
networks is done here as it does it, save that nothing is chosen by chance: it takes a random crop of a sound of more than 10 s,
which is here taken in pieces instead. A checkpoint is read with weights_only. The networks report nothing to anyone.
"""

import importlib
import importlib.util
import json
import os
import pathlib
import pickle
import sys
import zipfile
from typing import Any

import numpy as np

from manifests.errors import RequestError
from stages.engines import loading

HUB = "lukewys/laion_clap"  # on Hugging Face; the package, too, fetches its checkpoints there
PUBLISHED = {False: "630k-audioset-best.pt", True: "630k-audioset-fusion-best.pt"}  # of either `fusion`, that the package takes by default
TOKENS = 77  # of a text; what is more is cut off
KEPT = 100_000  # texts whose embeddings are kept: 200 MB


class LaionClap:
    """Scorer of sounds against texts; see `protocols.TextAudioScorer`.

    A sound is mixed to mono at 48 kHz and rounded to 16 bits. One of less than 10 s is repeated as often as it fits whole into 10 s
    and filled up with zeros; a longer one is cut into pieces of 10 s, the last of them ending where the sound ends, whose
    embeddings are averaged. Silence has an embedding like any sound; what it is similar to means nothing.

    Args:
        checkpoint: path of a .pt file as published, or its name on the hub; None: the one that the package takes by default.
        amodel: the audio network, by the package's name of it; the checkpoints named music_* have "HTSAT-base".
        text_model: path of a folder with RoBERTa's config.json and tokenizer, or the model's name on the hub. Its weights are not
            needed: they are in the checkpoint.
        fusion: whether the checkpoint is one for feature fusion. What fusion would add for sounds of more than 10 s is not used.
        batch: how many pieces, or texts, go through a network at once.
        device: of torch; "auto" is the GPU where there is one.

    Attributes:
        texts: embeddings of the latest texts, float32 (512,) each. They are kept to save time; clearing it changes no answer.

    Raises:
        ValueError: an option is out of its range.
        RequestError: the checkpoint or the text model is not there, or they do not fit each other and the audio network.
    """

    def __init__(self, *, checkpoint: str | None = None, amodel: str = "HTSAT-tiny", text_model: str = "roberta-base",
                 fusion: bool = False, batch: int = 32, device: str = "auto"):
        if batch < 1:
            raise ValueError(f"batch is {batch}; at least 1")
        place, path = loading.device(device), _fetched(checkpoint or PUBLISHED[fusion])
        self.batch, self.texts = batch, {}
        self._fusion = fusion
        folder = _networks()
        known = sorted(file.stem for file in folder.glob("model_configs/HTSAT-*.json"))
        if amodel not in known:
            raise ValueError(f"amodel is '{amodel}'; one of {', '.join(known)}")
        config = json.loads((folder / "model_configs" / f"{amodel}.json").read_text())
        self._audio = config["audio_cfg"]
        roberta, self._tokenizer = _text_model(loading.checkpoint("text_model", text_model))
        weights = _weights(path)
        self._model = _built(config, roberta, fusion)
        if misfit := _misfit(self._model, weights):
            raise RequestError(f"checkpoint: {path} does not fit amodel '{amodel}', fusion {fusion} and text_model '{text_model}': {misfit}")
        self._model.load_state_dict(weights)
        self._model.to(place).eval().requires_grad_(False)

    def score(self, recordings: list[np.ndarray], rate: int, texts: list[list[str]]) -> list[np.ndarray]:
        """Cosines of each recording with each of its own texts, in -1 to 1: float32 (texts,)."""
        known = self._embed_texts(dict.fromkeys(text for some in texts for text in some))
        sounds = self._embed_audio(recordings, rate)
        return [np.clip(np.stack([known[text] for text in some]) @ sound, -1, 1) if some else np.zeros(0, np.float32)
                for sound, some in zip(sounds, texts)]

    def _embed_audio(self, recordings: list[np.ndarray], rate: int) -> list[np.ndarray]:
        """Embeddings of recordings, float32 (512,) each, of length one."""
        import torch

        cut = [pieces(_rounded(loading.mono(audio, rate, self._audio["sample_rate"])), self._audio["clip_samples"]) for audio in recordings]
        flat, embedded = [piece for some in cut for piece in some], []
        for first in range(0, len(flat), self.batch):
            with torch.inference_mode():
                embedded += [*self._model.get_audio_embedding([self._features(piece) for piece in flat[first : first + self.batch]]).cpu().numpy()]
        ends = np.cumsum([len(some) for some in cut])
        means = [np.mean(embedded[end - len(some) : end], axis=0) for some, end in zip(cut, ends)]
        return [mean / max(np.linalg.norm(mean), np.float32(1e-12)) for mean in means]

    def _features(self, piece: np.ndarray) -> dict[str, Any]:
        """What the audio network is given of a piece (samples,) of at most 10 s: a waveform, or for fusion a spectrogram."""
        import torch

        length, config = self._audio["clip_samples"], self._audio
        repeated = np.tile(piece, length // len(piece))
        wave = torch.from_numpy(np.pad(repeated, (0, length - len(repeated))))
        if not self._fusion:
            return {"waveform": wave}
        from torchaudio import transforms

        mel = transforms.MelSpectrogram(config["sample_rate"], config["window_size"], hop_length=config["hop_size"], f_min=config["fmin"],
                                        f_max=config["fmax"], n_mels=config["mel_bins"])(wave)
        decibel = transforms.AmplitudeToDB(top_db=None)(mel).T  # (frames, bands)
        return {"mel_fusion": decibel.expand(4, -1, -1), "longer": torch.tensor([False])}

    def _embed_texts(self, wanted: dict[str, None]) -> dict[str, np.ndarray]:
        """Embeddings by text, float32 (512,) each, of length one."""
        import torch

        found = {text: self.texts[text] for text in wanted if text in self.texts}
        new = [text for text in wanted if text not in found]
        for first in range(0, len(new), self.batch):
            some = new[first : first + self.batch]
            tokens = self._tokenizer(some, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
            with torch.inference_mode():
                found.update(zip(some, self._model.get_text_embedding(dict(tokens)).cpu().numpy()))
        self.texts.update({text: found[text] for text in new})
        while len(self.texts) > KEPT:
            del self.texts[next(iter(self.texts))]
        return found


def pieces(audio: np.ndarray, length: int) -> list[np.ndarray]:
    """Audio (..., samples) in pieces of `length` samples, the last ending where it ends; what is shorter is one piece."""
    last = max(0, audio.shape[-1] - length)
    return [audio[..., first : first + length] for first in (*range(0, last, length), last)]


def _rounded(audio: np.ndarray) -> np.ndarray:
    """Audio (samples,) as 16 bits hold it, float32, of one sample at least: resampling can leave none of a few."""
    if not len(audio):
        return np.zeros(1, np.float32)
    return (np.clip(audio, -1, 1) * 32_767).astype(np.int16).astype(np.float32) / np.float32(32_767)


def _fetched(name: str) -> str:
    """The path of a checkpoint, fetched from the hub if it is not a path."""
    if os.path.exists(loading.checkpoint("checkpoint", name)):
        return name
    from huggingface_hub import hf_hub_download

    try:
        return hf_hub_download(HUB, name)
    except (OSError, ValueError) as error:  # the hub's own are of either kind
        first = str(error).strip().partition("\n")[0]
        raise RequestError(f"checkpoint: '{name}' is no file here and does not come from the hub ({HUB}): {first}") from None


def _networks() -> pathlib.Path:
    """The folder of the package's networks, which can be imported from then on under the name that the package has for them."""
    found = importlib.util.find_spec("laion_clap")
    if found is None:
        raise ModuleNotFoundError("No module named 'laion_clap'", name="laion_clap")
    folder, numba = found.submodule_search_locations[0], os.environ.get("NUMBA_CACHE_DIR")
    sys.path.append(folder)
    try:
        return pathlib.Path(importlib.import_module("clap_module").__file__).parent
    finally:
        sys.path.remove(folder)
        os.environ.pop("NUMBA_CACHE_DIR", None)  # to which the package gives a folder that anyone may write
        if numba is not None:
            os.environ["NUMBA_CACHE_DIR"] = numba


def _text_model(name: str) -> tuple[Any, Any]:
    """Configuration and tokenizer of RoBERTa."""
    from transformers import RobertaConfig, RobertaTokenizerFast

    local = os.path.isdir(name)
    if local:
        there = {*os.listdir(name)}
        if "config.json" not in there or not ("tokenizer.json" in there or {"vocab.json", "merges.txt"} <= there):
            raise RequestError(f"text_model: {name} lacks config.json, or tokenizer.json (or vocab.json and merges.txt), of RoBERTa")
    try:
        return RobertaConfig.from_pretrained(name, local_files_only=local), RobertaTokenizerFast.from_pretrained(name, local_files_only=local)
    except OSError as error:
        first = str(error).strip().partition("\n")[0]
        raise RequestError(f"text_model: '{name}' does not come from the hub: {first}") from None


def _built(config: dict[str, Any], roberta: Any, fusion: bool) -> Any:
    """CLAP without its weights.

    The package's own class would fetch RoBERTa by its name on the hub, weights and all. It is therefore made with another text
    network of the same width, whose place RoBERTa then takes.
    """
    import torch
    from clap_module.model import CLAP
    from transformers import RobertaModel

    other = {"model_type": "transformer", "width": roberta.hidden_size, "heads": 1, "layers": 1, "vocab_size": 1, "context_length": TOKENS}
    with torch.random.fork_rng(devices=[]):  # layers are made with random weights
        model = CLAP(config["embed_dim"], config["audio_cfg"], other, enable_fusion=fusion, fusion_type="aff_2d" if fusion else "None")
        model.text_branch, model.text_branch_type = RobertaModel(roberta), "roberta"
    del model.token_embedding, model.positional_embedding, model.ln_final
    return model


def _weights(path: str) -> dict[str, Any]:
    """Tensors by name of a checkpoint as published: of a model wrapped for training, beside what the optimizer knew.

    Raises:
        RequestError: it is not a file of torch, or holds anything but tensors, numbers and texts.
    """
    import torch

    numbers = [type(np.dtype(name)) for name in ("f4", "f8", "i8")]
    scalar = np.float64(0).__reduce__()[0]
    allowed = [np.dtype, *numbers, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]  # scores of that epoch
    try:
        with torch.serialization.safe_globals([*{*allowed}.difference(torch.serialization.get_safe_globals())]):  # those it takes away again
            held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if "Unsupported" in line), type(error).__name__)
        raise RequestError(f"checkpoint: {path} cannot be read as weights of torch: {reason}") from None
    state = held.get("state_dict", held) if isinstance(held, dict) else None
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise RequestError(f"checkpoint: {path} holds no weights by name")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    state.pop("text_branch.embeddings.position_ids", None)  # 0, 1, 2, ...: RoBERTa stored them once
    return state


def _misfit(model: Any, weights: dict[str, Any]) -> str:
    """In what weights differ from those that a model needs; "": in nothing."""
    own = model.state_dict()
    found = {
        "missing": own.keys() - weights.keys(), "unknown": weights.keys() - own.keys(),
        "of another shape": {name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape},
    }
    return "; ".join(f"{len(names)} of its tensors {'is' if len(names) == 1 else 'are'} {how}, such as {min(names)}"
                     for how, names in found.items() if names)

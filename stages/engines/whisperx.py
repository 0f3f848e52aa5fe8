"""Words heard by Whisper and placed by wav2vec2, as WhisperX runs them (Bain, Huh, Han and Zisserman 2023, "WhisperX: time-accurate
speech transcription of long-form audio"; package whisperx 3.8).

Of the package: its voice activity detector and the chunks that it cuts, faster-whisper in batches, and its search (`get_trellis`,
`backtrack`) of a text's path through what a wav2vec2 model hears. `whisperx.align` is not called: it downloads NLTK's sentence splitter
and drops sentences that it cannot place; the times here are those that it would give. Nor is `load_align_model`, which prints to
stdout, hides why a checkpoint cannot be loaded, and leaves out the normalisation that a checkpoint asks for.

`model` and `align` by path need no network, nor does the detector, which the package carries. Names need it, or the caches of
huggingface_hub; for de, en, es, fr and it the package's choice are torchaudio's aligners, whose cache is $TORCH_HOME and which know no
HF_HUB_OFFLINE. All pickles are loaded with weights_only=True but the detector's: pyannote loads that freely, so it is to be trusted as
the code of whisperx is. pyannote reports usage unless PYANNOTE_METRICS_ENABLED is 0, as `stages.engines.SILENCE` has it.
"""

import logging
import os
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from manifests.errors import Rejected, RequestError
from manifests.speech import Word, text_of, words_of
from stages.engines.loading import checkpoint, mono
from stages.engines.loading import device as torch_device
from stages.engines.protocols import Speech, Transcript

RATE = 16_000  # Hz, of all its models
CHUNK = 30  # s that Whisper hears at once
ONSET, OFFSET = 0.5, 0.363  # of the detector's probability, where speech begins and ends: the package's
LEAST = 400  # samples that wav2vec2 needs for one frame


@dataclass(frozen=True)
class _Aligner:
    letters: dict[str, int]  # lower case, with the place of each in what is heard
    blank: int
    gap: str  # stands between words; "": nothing does
    listen: Callable[[np.ndarray], Any]  # logits, a tensor (frames, letters), of float32 (samples,)


class WhisperX:
    """Transcriber and recognizer of the languages of Whisper.

    What it hears is told in the form of `words_of`, as the words of texts are: one normalisation for hypothesis and reference. Tokens
    with digits and the signs %, $ and £ are suppressed, so that numbers are heard as the words that are said. Decoding is a beam
    search of 5 at temperature 0, without fallback, and without what was heard before: the same audio is always heard the same.
    The language is `language`, else what the utterance says, else what Whisper detects in its first 30 s.

    Args:
        model: a size (large-v3), a name on the hub, or a folder of CTranslate2's format with its tokenizer.json.
        align: wav2vec2 checkpoints (transformers' with a CTC head, or a bundle of torchaudio's by its name) by language; for languages
            that are not named, the package's, each loaded when it is first needed.
        language: of every utterance, ISO 639-1.
        compute_type: of CTranslate2; "default" is float16 on a GPU and float32 on a CPU.
        batch: utterances at once, and chunks of them.
        device: where it runs: auto, cpu, cuda, cuda:0, ...

    Raises:
        ValueError: an option is out of its range.
        RequestError: a checkpoint is not there, or is of another format.
    """

    def __init__(self, *, model: str = "large-v3", align: dict[str, str] | None = None, language: str | None = None,
                 compute_type: str = "default", batch: int = 16, device: str = "auto"):
        if batch != int(batch) or batch < 1:
            raise ValueError(f"batch is {batch}; a whole number of at least 1")
        self.batch, self._language, self._aligners = int(batch), language, {}
        self._names = {tongue: checkpoint(f"align of {tongue}", name) for tongue, name in (align or {}).items()}
        for file in ("model.bin", "tokenizer.json"):  # without the second faster-whisper asks the network for one
            if os.path.isdir(checkpoint("model", model)) and not os.path.exists(os.path.join(model, file)):
                raise RequestError(f"model: {model} has no {file}; convert the checkpoint with ct2-transformers-converter --copy_files tokenizer.json")
        self._device = torch_device(device)
        if not logging.getLogger("whisperx").handlers:
            logging.getLogger("whisperx").addHandler(logging.NullHandler())  # else the package logs to stdout
        with warnings.catch_warnings(action="ignore"):  # of FFmpeg; and what the packages add to the filters goes again
            import ctranslate2
            import torch
            from whisperx.asr import find_numeral_symbol_tokens, load_model
            from whisperx.utils import LANGUAGES

            kind = torch.device(self._device)
            types = {"default", *ctranslate2.get_supported_compute_types(kind.type, kind.index or 0)}
            if compute_type not in types:
                raise ValueError(f"compute_type is '{compute_type}'; on this device one of {', '.join(sorted(types))}")
            with torch.random.fork_rng(devices=[]):
                loaded = load_model(model, kind.type, kind.index or 0, compute_type, threads=0)  # 0: OMP_NUM_THREADS
        self._whisper, self._detector = loaded.model, loaded.vad_model
        known = LANGUAGES if self._whisper.model.is_multilingual else ()
        self._tongues = {name for name in known if self._whisper.hf_tokenizer.token_to_id(f"<|{name}|>") is not None} or {"en"}
        if language is not None and language not in self._tongues:
            raise ValueError(f"language is '{language}'; {model} knows {', '.join(sorted(self._tongues))}")
        numerals = find_numeral_symbol_tokens(self._tokenizer(min(self._tongues)))
        self._options = replace(loaded.options, suppress_tokens=[-1, *numerals])  # -1: those that the checkpoint suppresses
        for tongue in self._names:
            self._aligner(tongue)

    def transcribe(self, speech: list[Speech], rate: int) -> list[Transcript | Rejected]:
        """See `protocols.Transcriber`.

        A text is aligned with the whole utterance; without one, what is heard in a chunk is aligned with that chunk. A word's confidence is
        the mean probability of its letters in the frames in which they are placed, an utterance's that of its least likely word. (The
        package's scores count the blank frames after a letter too, and so are high for words that are not said.) A letter that the
        aligner does not know counts as the one that it hears best; a word with a digit that it does not know, or without a letter that it
        knows, cannot be placed.

        Gives the language that was used, too; or `Rejected`: no words are heard, one (which is named) cannot be placed, there is no aligner
        of the language, or the audio is too short for the words.
        """
        audio = [mono(one.audio, rate, RATE) for one in speech]
        tongues = self._tongues_of(speech, audio)
        free = [n for n, one in enumerate(speech) if not one.texts]
        heard = dict(zip(free, self._heard([audio[n] for n in free], [tongues[n] for n in free])))
        answers = []
        for n, one in enumerate(speech):
            try:
                chunks = [(0, len(audio[n]), words_of(one.texts[0]))] if one.texts else heard[n]
                if isinstance(chunks, Rejected):
                    raise chunks
                chunks = [chunk for chunk in chunks if chunk[2]]
                if not chunks:
                    raise Rejected("its transcript holds no words" if one.texts else "no words are heard")
                aligned = [self._placed(words, audio[n][first:last], first / RATE, tongues[n]) for first, last, words in chunks]
                words = [word for words, _ in aligned for word in words]
                answers.append(Transcript(words, min(confidence for _, confidence in aligned), tongues[n]))
            except Rejected as rejected:
                answers.append(rejected)
        return answers

    def hear(self, speech: list[Speech], rate: int) -> list[str | Rejected]:
        """See `protocols.Recognizer`: what is heard, whatever the texts are, in the form of `words_of`, with no digits; "" in silence."""
        audio = [mono(one.audio, rate, RATE) for one in speech]
        heard = self._heard(audio, self._tongues_of(speech, audio))
        return [one if isinstance(one, Rejected) else " ".join(word for *_, words in one for word in words) for one in heard]

    def _tongues_of(self, speech: list[Speech], audio: list[np.ndarray]) -> list[str]:
        """The language of each utterance."""
        tongues = [self._language or one.language or ("" if self._whisper.model.is_multilingual else "en") for one in speech]
        unknown = [n for n, tongue in enumerate(tongues) if not tongue]
        if unknown:
            found = self._whisper.model.detect_language(self._whisper.encode(self._features([audio[n] for n in unknown])))
            for n, likely in zip(unknown, found, strict=True):
                tongues[n] = likely[0][0].strip("<|>")
        return tongues

    def _heard(self, audio: list[np.ndarray], tongues: list[str]) -> list[list[tuple[int, int, list[str]]] | Rejected]:
        """Chunks of each utterance, from a sample to a sample, with their words; as many at once as utterances, so that fewer need less memory."""
        found = [[] if tongue in self._tongues else Rejected(f"the checkpoint of Whisper does not know the language '{tongue}'") for tongue in tongues]
        chunks = [(n, *chunk) for n, one in enumerate(audio) if found[n] == [] for chunk in self._chunks(one)]
        for tongue in dict.fromkeys(tongues[n] for n, *_ in chunks):
            alike = [chunk for chunk in chunks if tongues[chunk[0]] == tongue]
            for begin in range(0, len(alike), len(audio)):
                some = alike[begin : begin + len(audio)]
                features = self._features([audio[n][first:last] for n, first, last in some])
                texts = self._whisper.generate_segment_batched(features, self._tokenizer(tongue), self._options)["text"]
                for (n, first, last), text in zip(some, texts, strict=True):
                    found[n].append((first, last, words_of(text)))
        return found

    def _chunks(self, audio: np.ndarray) -> list[tuple[int, int]]:
        """Stretches with speech, of at most 30 s, from a sample to a sample."""
        if not len(audio):
            return []
        likely = self._detector({"waveform": self._detector.preprocess_audio(audio), "sample_rate": RATE})
        merged = self._detector.merge_chunks(likely, CHUNK, onset=ONSET, offset=OFFSET)
        places = [(int(chunk["start"] * RATE), min(int(chunk["end"] * RATE), len(audio))) for chunk in merged]
        return [(first, min(last, first + CHUNK * RATE)) for first, last in places if first < last]

    def _features(self, audio: list[np.ndarray]) -> Any:
        """Log mel spectrograms of the first 30 s of each, a tensor (items, bands, frames)."""
        import torch
        from whisperx.audio import log_mel_spectrogram

        whole = [np.pad(one[: CHUNK * RATE], (0, max(0, CHUNK * RATE - len(one)))) for one in audio]
        return torch.stack([log_mel_spectrogram(one, self._whisper.model.n_mels) for one in whole])

    def _tokenizer(self, tongue: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self._whisper.hf_tokenizer, self._whisper.model.is_multilingual, task="transcribe", language=tongue)

    def _placed(self, said: list[str], audio: np.ndarray, begin: float, tongue: str) -> tuple[list[Word], float]:
        """Words where they are heard in audio that begins at so many seconds, and how likely the least likely is."""
        import torch
        from whisperx.alignment import backtrack, get_trellis

        aligner = self._aligner(tongue)
        apart = [" " in text_of(said[max(0, place - 1) : place + 1]) for place in range(len(said))]
        spelled = [(place, letter) for place, word in enumerate(said) for letter in _spelled(word, apart[place], aligner, tongue)]
        with torch.random.fork_rng(devices=[]), torch.inference_mode():  # wav2vec2 draws for each layer, even where it drops none
            heard = torch.log_softmax(aligner.listen(np.pad(audio, (0, max(0, LEAST - len(audio))))).float(), dim=-1).cpu()
            any_letter = heard[:, [n for n in range(heard.shape[1]) if n != aligner.blank]].amax(dim=1, keepdim=True)
            heard = torch.cat([heard, any_letter], dim=1)
            tokens = [aligner.letters.get(letter, heard.shape[1] - 1) for _, letter in spelled]
            path = backtrack(get_trellis(heard, tokens, aligner.blank), heard, tokens, aligner.blank)
        if path is None or not len(audio):
            raise Rejected(f"its {len(said)} words do not fit into {len(audio) / RATE:.2f} s of sound")
        placed = {}  # each letter's first frame, which is where it is heard; blanks follow
        for point in path:
            placed.setdefault(point.token_index, point)
        starts = [placed[n].time_index for n in range(len(spelled))] + [path[-1].time_index + 1]
        words, least, frame = [], 1.0, len(audio) / RATE / len(heard)
        for place, word in enumerate(said):
            own = [n for n, (owner, letter) in enumerate(spelled) if owner == place and letter != aligner.gap]
            words.append(Word(word, begin + starts[own[0]] * frame, begin + starts[own[-1] + 1] * frame))
            least = min(least, float(np.mean([placed[n].score for n in own if spelled[n][1] in aligner.letters])))
        return words, least

    def _aligner(self, tongue: str) -> _Aligner:
        if tongue not in self._aligners:
            from whisperx.alignment import DEFAULT_ALIGN_MODELS_HF, DEFAULT_ALIGN_MODELS_TORCH, LANGUAGES_WITHOUT_SPACES

            name = self._names.get(tongue) or DEFAULT_ALIGN_MODELS_TORCH.get(tongue) or DEFAULT_ALIGN_MODELS_HF.get(tongue)
            if name is None:
                raise Rejected(f"there is no aligner of the language '{tongue}'; name one in align")
            self._aligners[tongue] = _load_aligner(name, self._device, tongue not in LANGUAGES_WITHOUT_SPACES)
        return self._aligners[tongue]


def _spelled(word: str, apart: bool, aligner: _Aligner, tongue: str) -> list[str]:
    """What of a word is to be heard, with what stands before it where a space does; marks that the aligner does not know are not."""
    unknown = [letter for letter in word if letter not in aligner.letters]
    if len(unknown) == len(word) or any(unicodedata.category(letter)[0] == "N" for letter in unknown):
        raise Rejected(f"'{word}' cannot be placed: the aligner of '{tongue}' does not know '{unknown[0]}'")
    said = [letter for letter in word if letter in aligner.letters or unicodedata.category(letter)[0] == "L"]
    return [aligner.gap, *said] if apart and aligner.gap else said


def _load_aligner(name: str, device: str, spaced: bool) -> _Aligner:
    import torch
    import torchaudio
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

    bundle = getattr(torchaudio.pipelines, name, None)
    with torch.random.fork_rng(devices=[]):
        if isinstance(bundle, torchaudio.pipelines.Wav2Vec2ASRBundle):
            _check_bundle(name, bundle)
            model = bundle.get_model(dl_kwargs={"weights_only": True, "progress": False}).to(device).requires_grad_(False)
            letters = {letter.lower(): n for n, letter in enumerate(bundle.get_labels())}
            return _Aligner(letters, 0, "|" if spaced else "", lambda audio: model(torch.from_numpy(audio)[None].to(device))[0][0])
        try:
            processor = Wav2Vec2Processor.from_pretrained(name)
            model, info = Wav2Vec2ForCTC.from_pretrained(name, output_loading_info=True)
        except (OSError, ValueError) as error:
            raise RequestError(f"align: {name} cannot be loaded as a wav2vec2 model: {str(error).splitlines()[0]}") from None
    if any(key.startswith("lm_head") for key in info["missing_keys"]):
        raise RequestError(f"align: {name} is no wav2vec2 model that was trained to write letters: it has no lm_head")
    model = model.eval().requires_grad_(False).to(device)
    letters = {letter.lower(): n for letter, n in processor.tokenizer.get_vocab().items()}
    blank, gap, prepare = letters.get("[pad]", letters.get("<pad>", 0)), "|" if spaced and "|" in letters else "", processor.feature_extractor
    return _Aligner(letters, blank, gap, lambda audio: model(prepare(audio, sampling_rate=RATE, return_tensors="pt").input_values.to(device)).logits[0])


def _check_bundle(name: str, bundle: Any) -> None:
    """Refuse to fetch what torchaudio would fetch whether or not the hub may be asked."""
    import torch
    from huggingface_hub.constants import HF_HUB_OFFLINE

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(bundle._path).name
    if HF_HUB_OFFLINE and not file.exists():
        raise RequestError(f"align: {name} of torchaudio is not at {file}, and HF_HUB_OFFLINE is set; put it there, or name an aligner's folder in align")

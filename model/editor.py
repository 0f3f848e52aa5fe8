"""What a user asks of the model: edit a recording, make a sound or music, speak, answer a question. Nothing that goes in or comes out is normalised."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from manifests.errors import RequestError
from model import windows
from model.audio_omni import AudioOmni
from model.flow import SAMPLERS, guided, sample, times
from model.mllm import Mllm, Prompt, sentence
from model.recording import Recording, fitted, given, groups, resampled

KINDS = ("sound", "music", "video")

Progress = Callable[[int, int], None]  # of steps done, and steps in all
Audio = np.ndarray | str | Path  # float (channels, samples), or a file


class Editor:
    """A model that is ready to be asked. What it gives depends on what it is asked and on the seed alone.

    Of all its requests: `steps`, `guidance` and `shift` are the model's own where they are None; `sampler` and `shift` are those of `flow.sample`; `progress`
    is called with the steps that are done and all that there are; what is wrong with a request is a RequestError.
    """

    def __init__(self, model: AudioOmni, mllm: Mllm):
        if mllm.width != model.sizes.conditioners.omni_prompt.width:
            raise RequestError(f"the MLLM {mllm.path} gives states {mllm.width} wide; this model takes {model.sizes.conditioners.omni_prompt.width}")
        if model.sizes.mllm["hear_source"] and model.sizes.edit_window > mllm.longest * model.sizes.sample_rate:
            window = model.sizes.edit_window / model.sizes.sample_rate
            raise RequestError(f"this model lets its MLLM hear windows of {window:.1f} s, and {mllm.path} hears at most {mllm.longest:g} s at once")
        self.model, self.mllm = model, mllm
        self.rate, self.channels = model.sizes.sample_rate, model.sizes.channels
        self._frames, self._step = model.sizes.latent_frames, model.sizes.downsampling

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str = "auto", dtype: torch.dtype = torch.float32, compile: bool = False, mllm: str | None = None
    ) -> "Editor":
        """Read a MODEL folder, and its MLLM.

        Args:
            path: of the folder.
            device: "auto": the GPU that this process may see, else the CPU.
            dtype: of DiT and conditioners; the MLLM has its checkpoint's, the codec float32.
            compile: whether torch compiles the DiT; the first steps then take longer, the others less.
            mllm: path or hub name of the MLLM, in the place of the one that the folder names.

        Raises:
            RequestError: the folder, the MLLM or the device is not there, or they do not fit each other.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        _check_device(device)
        model = AudioOmni.from_folder(path, device, dtype)
        if compile:
            model.dit.compile_layers()
        asked = model.sizes.mllm
        return cls(model, Mllm(mllm or asked["path"], asked["layer"], device, roles=asked.get("roles")))

    def edit(
        self, audio: Audio, instruction: str, *, rate: int | None = None, steps: int | None = None, guidance: float | None = None,
        source_guidance: float = 1.0, seed: int = 0, sampler: str = "euler", shift: float | None = None, progress: Progress | None = None,
    ) -> Recording:
        """A recording after what the instruction says, of the same length, rate and channels.

        What is longer than the window is edited window by window, with the same noise where two overlap, and faded from one into the next. Channels that the
        model does not take at once are edited in turns, under the same noise.

        Args:
            rate: Hz, of an array; a file tells its own.
            source_guidance: scale of the guidance by the source; other than 1 only of a model that was trained without its source now and then.
        """
        audio, rate = given(audio, rate)
        if self.model.conditioners.audio_input_prompt is None and not self.model.sizes.dit.source_channels:
            raise RequestError("this model cannot edit: its configuration gives it nothing to hear the source with")
        instruction, turns = _words(instruction, "an instruction"), groups(len(audio), self.channels)
        source = resampled(audio, rate, self.rate)[turns.ravel()]
        samples, window = source.shape[1], self.model.sizes.edit_window
        begins = windows.starts(samples, window, self._step)
        path = _Path(self, steps, guidance, sampler, shift, progress, len(begins), source_guidance)
        noise = self._noise(seed, begins[-1] // self._step + self._frames)
        hears = self.model.sizes.mllm["hear_source"]
        read = None if hears else self.mllm.states([Prompt(instruction)])

        def edited():
            for begin in begins:
                piece = windows.cut(source, begin, window)
                heard = resampled(piece.mean(axis=0, keepdims=True), self.rate, self.mllm.rate)[0] if hears else None
                states = self.mllm.states([Prompt(instruction, "edit", heard)]) if hears else read
                frames = noise[..., begin // self._step :][..., : self._frames]
                made = path.walk(states, frames, len(turns), audio=self._tensor(piece.reshape(*turns.shape, window)))
                yield made.reshape(turns.size, -1)[:, :window]

        made = windows.join(edited(), begins, samples)
        made = np.stack([made[turns.ravel() == channel].mean(axis=0) for channel in range(len(audio))])
        return Recording(fitted(resampled(made, self.rate, rate), audio.shape[1]), rate)

    def generate(
        self, text: str, seconds: float | None = None, kind: str = "sound", *, video: np.ndarray | None = None, steps: int | None = None,
        guidance: float | None = None, seed: int = 0, sampler: str = "euler", shift: float | None = None, progress: Progress | None = None,
    ) -> Recording:
        """A sound or a piece of music, at the model's rate and channels.

        Args:
            text: what it is; may be empty with a video.
            seconds: its length; None: all that the model makes at once, which is the most.
            kind: "sound", "music" or "video".
            video: Synchformer's features of a video (frames, width).
        """
        if kind not in KINDS:
            raise RequestError(f"there is no kind '{kind}' of sound; one of {', '.join(KINDS)}")
        if video is None and kind == "video":
            raise RequestError("kind is 'video', and no video is given")
        sync = None if video is None else self._video(video)
        text = _words(text, "a text") if video is None else text.strip()
        samples, path = self._samples(seconds), _Path(self, steps, guidance, sampler, shift, progress)
        states = self.mllm.states([Prompt(sentence(text), kind)])
        return Recording(path.walk(states, self._noise(seed, self._frames), sync=sync)[0][:, :samples], self.rate)

    def speak(
        self, text: str, voice: Audio | None = None, *, rate: int | None = None, voice_text: str = "", seconds: float | None = None,
        steps: int | None = None, guidance: float | None = None, seed: int = 0, sampler: str = "euler", shift: float | None = None,
        progress: Progress | None = None,
    ) -> Recording:
        """Speech of a text, at the model's rate and channels.

        Args:
            text: what is to be said.
            voice: a recording of who is to say it.
            rate: Hz, of a voice that is an array.
            voice_text: what the voice says in its recording. The model then goes on from there, and that beginning is cut off.
            seconds: its length; None: all that the model makes at once.
        """
        sizes, said, heard, begin = self.model.sizes.conditioners.speech_prompt, _words(text, "a text"), None, 0
        if sizes is None:
            raise RequestError("this model does not speak: its configuration has no speech_prompt")
        if voice is not None:
            if self.model.conditioners.audio_input_prompt is None and not self.model.sizes.dit.source_channels:
                raise RequestError("a voice is given, and this model's configuration gives it nothing to hear one with")
            recorded, rate = given(voice, rate)
            heard = resampled(recorded.mean(axis=0, keepdims=True), rate, self.rate)
            if heard.shape[1] >= self.model.sizes.edit_window:
                most = self.model.sizes.edit_window / self.rate
                raise RequestError(f"the voice is {heard.shape[1] / self.rate:.1f} s long; less than {most:.1f} s are taken")
            if voice_text.strip():
                said, begin = f"{voice_text.strip().rstrip('.')}. {said}", heard.shape[1]
            heard = self._tensor(np.repeat(heard, self.channels, axis=0))[None]
        if (symbols := len(self.model.vocabulary.ids(said))) > sizes.length:
            raise RequestError(f"what is to be said has {symbols} symbols; at most {sizes.length} can be said at once")
        samples, path = self._samples(seconds, begin), _Path(self, steps, guidance, sampler, shift, progress)
        made = path.walk(self.mllm.states([Prompt("", "speech")]), self._noise(seed, self._frames), speech=[said], audio=heard)[0]
        return Recording(made[:, begin : begin + samples], self.rate)

    def understand(self, question: str, audio: Audio | None = None, *, rate: int | None = None, max_new_tokens: int = 512) -> str:
        """What the MLLM answers in at most so many tokens, of a recording if one is given, of an array at `rate` Hz."""
        question = _words(question, "a question")
        if audio is None:
            return self.mllm.understand(question, None, max_new_tokens)
        audio, rate = given(audio, rate)
        return self.mllm.understand(question, resampled(audio.mean(axis=0, keepdims=True), rate, self.mllm.rate)[0], max_new_tokens)

    def _noise(self, seed: int, frames: int) -> Tensor:
        """(1, latent channels, frames), the same for the same seed on every device, and in its first frames whatever their number."""
        if not -(2**63) <= seed < 2**64:
            raise RequestError(f"the seed is {seed}; a whole number of 64 bits is wanted")
        chance = torch.Generator().manual_seed(seed)
        return torch.stack([torch.randn(self.model.sizes.dit.latent_channels, generator=chance) for _ in range(frames)], dim=1)[None]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.mllm.device)

    def _samples(self, seconds: float | None, after: int = 0) -> int:
        """Of a length in seconds that follows `after` samples."""
        most = self._frames * self._step - after
        if seconds is None:
            return most
        if not 0 < seconds * self.rate < most + 1:
            raise RequestError(f"{seconds:g} seconds are asked for; more than 0 and at most {most / self.rate:.2f} can be made")
        return min(most, max(1, round(seconds * self.rate)))

    def _video(self, video: np.ndarray) -> Tensor:
        sizes = self.model.sizes.conditioners.sync_feature
        if sizes is None:
            raise RequestError("a video is given, and this model has no video conditioner (sync_feature)")
        got = getattr(video, "shape", type(video).__name__)
        if got != (sizes.frames, sizes.width) or not np.isfinite(video).all():
            raise RequestError(f"a video is given by Synchformer's features ({sizes.frames}, {sizes.width}), all finite; got {got}")
        return self._tensor(video)[None]


class _Path:
    """From noise to audio under the settings of a request, window after window."""

    def __init__(
        self, editor: Editor, steps: int | None, guidance: float | None, sampler: str, shift: float | None, progress: Progress | None, count: int = 1,
        source_guidance: float = 1.0,
    ):
        defaults = editor.model.sizes.sampling
        self.model, self.device = editor.model, editor.mllm.device
        self.steps, self.guidance = defaults.steps if steps is None else steps, defaults.guidance if guidance is None else guidance
        self.shift = defaults.shift if shift is None else shift
        self.sampler, self.progress, self.done, self.count = sampler, progress, 0, count
        self.source_guidance = source_guidance
        times(self.steps, self.shift)  # before anything is computed
        if sampler not in SAMPLERS:
            raise RequestError(f"there is no sampler {sampler}; there are {', '.join(SAMPLERS)}")
        for scale in (self.guidance, source_guidance):
            if not np.isfinite(scale):
                raise RequestError(f"guidance is {scale}; a finite number is wanted")

    @torch.inference_mode()
    def walk(self, states: tuple[Tensor, Tensor], noise: Tensor, batch: int = 1, **conditions) -> np.ndarray:
        """Audio (batch, channels, samples) of states of one prompt and noise (1, latent channels, frames), under conditions as `AudioOmni.condition` takes."""
        hidden, mask = (state.expand(batch, *state.shape[1:]) for state in states)
        silent = None
        if self.source_guidance != 1:
            silent = self.model.condition(hidden, mask, **conditions | {"audio": torch.zeros_like(conditions["audio"])})
        velocity = guided(self.model.dit, self.model.condition(hidden, mask, **conditions), self.guidance, silent=silent, source_scale=self.source_guidance)
        x = sample(velocity, noise.to(self.device, copy=True).expand(batch, -1, -1), self.steps, self.sampler, self.shift, self._tell)
        self.done += 1
        return self.model.decode(x).cpu().numpy()

    def _tell(self, step: int, steps: int) -> None:
        if self.progress is not None:
            self.progress(self.done * steps + step, self.count * steps)


def _check_device(device: str) -> None:
    try:
        place = torch.device(device)
    except RuntimeError:
        raise RequestError(f"there is no device '{device}'; one of auto, cpu, cuda, cuda:1, and so on") from None
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise RequestError(f"device {device} is asked for, and this process sees {torch.cuda.device_count() or 'no'} GPU")


def _words(text: str, what: str) -> str:
    if not text.strip():
        raise RequestError(f"{what} is wanted, and the one given is empty")
    return text.strip()

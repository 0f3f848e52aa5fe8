"""Training: from shards to a model that edits. An ordinary function; with torch.distributed it is one of the processes that train together."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from manifests.errors import RequestError, RunError
from model.audio_omni import AudioOmni
from model.editor import Editor
from model.mllm import Mllm, Prompt
from model.recording import resampled
from model.sizes import Sizes
from model.training import lora, record, validate
from model.training.average import Average
from model.training.check import check, left_out
from model.training.checkpoints import Checkpoints, model_weights
from model.training.config import TrainConfig
from model.training.draw import Batch, Draws, collate
from model.training.ending import asked_to_end, unheard
from model.training.objective import Objective
from model.training.order import Order, Positions
from model.training.parallel import Group, apart, spread
from model.training.progress import Progress, Tally
from model.training.shards import Shards, has_split

BETAS = (0.9, 0.95)
FITTED = 1024  # samples whose wordings say what of an instruction tells it from others


def train(
    config: TrainConfig, data: dict[str, float], folder: str | Path, *, init: str | Path | None = None, keys: set[str] | None = None,
    device: torch.device | None = None, report: Callable[[dict], None] | None = None,
) -> Path:
    """Train, or go on where an earlier call with the same folder ended.

    Args:
        config: of the training.
        data: runs, or what was encoded of them, each with the weight of its samples.
        folder: of checkpoints, metrics and edited samples; all processes that train together see it.
        init: a MODEL folder to begin with, in the place of the sizes in `config`.
        keys: ids of the pairs to train on; None: all.
        device: None: a GPU if there is one.
        report: called with what was measured, by every process of a group at the same steps.

    Returns:
        The last checkpoint: a MODEL folder.

    Raises:
        RequestError: configuration, data, model and folder do not fit each other.
        RunError: too many steps in a row without a finite gradient.
        KeyboardInterrupt: the process was asked to end; the step was finished and a checkpoint written.
    """
    return _Training(config, data, Path(folder), init, keys, Group.here(device)).run(report or (lambda values: None))


class _Training:
    def __init__(self, config: TrainConfig, data: dict[str, float], folder: Path, init: str | Path | None, keys: set[str] | None, group: Group):
        self.config, self.folder, self.group = config, folder, group
        sizes, shards, weights = check(config, data, folder, init, keys)
        model = AudioOmni.from_folder(init) if init is not None else _fresh(sizes, config.seed)
        if model.conditioners.speech_prompt is not None and not weights[shards.speaks].any():
            _freeze_speech(model)
        if config.lora is not None:
            lora.add(model, config.lora, config.seed)
        asked = sizes.mllm
        self.mllm = Mllm(asked["path"], asked["layer"], group.device, roles=asked.get("roles"))
        self.model = model.to(group.device)
        self.editor = Editor(self.model, self.mllm)
        self.draws = Draws(shards, Order(weights, config.seed), sizes, config)
        self.val = self._val(list(data))
        self.objective = Objective(self.model, getattr(torch, config.precision))
        self.trained = spread(self.objective, group, config.ranks.parallel, config.checkpoint_activations, config.compile)
        weights = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        self.optimizer = torch.optim.AdamW(weights.values(), lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay)
        self.average = Average(weights, config.ema)
        self.parameters = list(weights.values())
        self._asked = (config, data, init, keys, len(shards))

    def _val(self, runs: list[str]) -> Draws | None:
        """None where the data has no val split."""
        if not has_split(runs, "val"):
            return None
        shards = Shards(runs, "val")
        return Draws(shards, Order(np.ones(len(shards)), self.config.seed), self.model.sizes, self.config)

    def run(self, report: Callable[[dict], None]) -> Path:
        self.group.wait()  # all have checked what the first is about to change
        with record.held(self.folder) if self.group.first else nullcontext():
            if self.group.first:
                record.check(self.folder, *self._asked)  # again: who was waited for may have begun another
                record.write(self.folder, *self._asked)
            self.checkpoints = Checkpoints(self.folder, self.group, self.config.keep)
            return self._steps(report)

    def _steps(self, report: Callable[[dict], None]) -> Path:
        config, group = self.config, self.group
        step = max(self.checkpoints.steps(), default=0)
        if step:
            self.checkpoints.restore(step, self.trained, self.optimizer, self.average)
        elif self.model.sizes.dit.pooled_width and not self.model.conditioners.omni_prompt.components.any():
            self._fit()
        if step >= config.steps:
            return self.checkpoints.of(step)
        progress = Progress(self.folder, step, config.steps) if group.first else None
        shards = self.draws.shards
        told, bad_in_row = Tally([*shards.damaged, *(why for _, why in left_out(config, self.model.sizes, shards))]), 0
        with unheard():  # by worker processes, which have the loop end them
            batches = iter(self._loader(step))
        self.trained.train()
        try:
            with asked_to_end() as asked, _attention(group.device):
                while step < config.steps:
                    loss, norm, waited = self._step(step + 1, batches, told)
                    step += 1
                    ending = group.sums([asked()])[0] > 0
                    bad_in_row = 0 if np.isfinite(norm) else bad_in_row + 1
                    if bad_in_row >= config.bad_steps:
                        raise RunError(f"step {step}: {bad_in_row} steps in a row without a finite gradient; the last checkpoint is of step "
                                       f"{max(self.checkpoints.steps(), default=0)}. A lower learning_rate may help")
                    told.step(loss, norm, waited)
                    self._tell(step, told, progress, report)
                    if step % config.every.checkpoint == 0 or step == config.steps or ending:
                        with told.aside():
                            self._save(step, progress)
                    if ending:
                        raise KeyboardInterrupt
        finally:
            if progress is not None:
                progress.close()
        return self.checkpoints.of(step)

    @torch.no_grad()
    def _fit(self) -> None:
        """Measure what of the instruction tells one from another, by the samples that stand first."""
        prompt = self.model.conditioners.omni_prompt
        if self.group.first:
            batches = DataLoader(self.draws, batch_size=32, sampler=range(FITTED), collate_fn=collate)
            prompt.fit(torch.cat([prompt.mean(*self._read(batch.to(self.group.device))) for batch in batches]))
        for measured in (prompt.center, prompt.components):
            self.group.share(measured)

    def _loader(self, step: int) -> DataLoader:
        config = self.config
        positions = Positions(step, config.steps, config.batch, config.accumulate, self.group.rank, self.group.count)
        return DataLoader(self.draws, batch_sampler=positions, collate_fn=collate, num_workers=config.workers,
                          multiprocessing_context="spawn" if config.workers else None, pin_memory=self.group.device.type == "cuda")

    def _step(self, step: int, batches: Iterator[Batch], told: Tally) -> tuple[float, float, float]:
        """Loss, gradient norm and seconds waited for data."""
        config, waited, total = self.config, 0.0, torch.zeros((), device=self.group.device)
        rate = config.learning_rate * min(1.0, step / max(1, config.warmup), (config.steps + 1 - step) / max(1.0, config.cooldown * config.steps))
        for turn in range(config.accumulate):
            began = time.perf_counter()
            batch = _next(batches).to(self.group.device)
            waited += time.perf_counter() - began
            told.broken(batch.broken)
            with apart(self.trained, last=turn == config.accumulate - 1):
                loss = self.trained(batch, *self._read(batch)).mean() / config.accumulate
                loss.backward()
            total += loss.detach()
        norm = clip_grad_norm_(self.parameters, config.clip)
        norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        if np.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.average.update(step)
        self.optimizer.zero_grad(set_to_none=True)
        return float(self.group.mean(total)), norm, waited

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The MLLM's states of a batch's wordings, and their mask."""
        if batch.states is not None:
            mask = pad_sequence([torch.ones(len(state), dtype=torch.bool, device=self.group.device) for state in batch.states], batch_first=True)
            return pad_sequence(batch.states, batch_first=True), mask
        heard: list[Any] = [None] * len(batch.prompts)
        if self.model.sizes.mllm["hear_source"]:
            mono = batch.source.mean(dim=1, keepdim=True).cpu().numpy()
            mono = mono[..., : self.model.sizes.edit_window]
            heard = [resampled(one, self.editor.rate, self.mllm.rate)[0] if task == "edit" and not without else None
                     for one, task, without in zip(mono, batch.tasks, batch.without_source.tolist())]
        return self.mllm.states([Prompt(*told) for told in zip(batch.prompts, batch.tasks, heard)])

    def _tell(self, step: int, told: Tally, progress: Progress | None, report: Callable[[dict], None]) -> None:
        every, values = self.config.every, {}
        if step % every.log == 0 or step == self.config.steps:
            values |= told.since(self.group, self.config, self.model.sizes)
        if self.val is not None and every.val and step % every.val == 0:
            with told.aside(), self.average.applied():
                values |= validate.losses(self.objective, self.val, self.config.batch // self.config.ranks.count // self.config.accumulate, self._read)
        if self.val is not None and every.listen and step % every.listen == 0 and self.config.ranks.parallel == "ddp":
            with told.aside():
                values |= self._listen(step, told, progress)
        if not values:
            return
        report({"step": step, **values, "said": list(told.lines)})
        if progress is not None:
            progress.tell(step, values)
            progress.show(step, **{name: f"{values[name]:.3g}" for name in ("loss", "val_loss", "audio_per_second", "data_wait") if name in values})
            if told.lines:
                progress.say("\n".join(told.lines))
        told.lines.clear()

    def _listen(self, step: int, told: Tally, progress: Progress | None) -> dict[str, float]:
        """Edits of val samples, heard by the first process alone."""
        gains = []
        if progress is not None:
            self.trained.eval()
            folder = self.folder / "samples" / f"step-{step:08d}"
            with self.average.applied():
                for heard in validate.listen(self.editor, self.val.shards, self.config.listen, self.config.listen_steps, folder):
                    progress.hear(step, heard.key, heard.output, heard.rate)
                    if heard.gain is not None:
                        gains.append(heard.gain)
            self.trained.train()
        total, count = self.group.sums([sum(gains), len(gains)])
        if not count:
            return {}
        if total <= 0 and step >= self.config.copying and self.group.first:
            told.lines.append(f"step {step}: the model does no better than copying its input (SI-SDR {total / count:+.1f} dB over the source's, "
                              f"{count:g} val samples); listen to {self.folder / 'samples'}")
        return {"gain_over_copying_db": total / count}

    def _save(self, step: int, progress: Progress | None) -> None:
        weights = model_weights(self.model, self.average, self.config.lora, self.group.first)
        if progress is not None:
            progress.save()  # first: who goes on from the checkpoint finds the rows up to it, whenever this one was killed
        self.checkpoints.save(step, self.model, weights, self.trained, self.optimizer, self.average)


def _attention(device: torch.device):
    """Plain products on a CPU, whose fused kernel takes longer to go back through than all other of a small step together."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _next(batches: Iterator[Batch]) -> Batch:
    try:
        return next(batches)
    except RequestError as error:  # of a worker process: with the whole of its traceback
        raise RequestError(str(error).strip().splitlines()[-1].removeprefix("manifests.errors.RequestError: ")) from None


def _freeze_speech(model: AudioOmni) -> None:
    """Where no sample is to say anything, nothing of that conditioner has a gradient but what stands for no speech."""
    for name, weight in model.conditioners.speech_prompt.named_parameters():
        weight.requires_grad_(name == "empty")


def _fresh(sizes: Sizes, seed: int) -> AudioOmni:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AudioOmni(sizes)
        model.dit.begin()
        model.conditioners.omni_prompt.begin()
        return model

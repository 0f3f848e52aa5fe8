"""How fast training is: each figure beside what it could be at best, taken in turn. Figures and ratios are medians of the rounds.

    python benchmarks/train.py                                   # without a GPU: ten minutes and more on two cores, with a run made on the spot
    python benchmarks/train.py --data runs/demo --only loader    # a finished run in a folder (`encoded` encodes all of it); some parts alone
    python benchmarks/train.py --only published                  # on a GPU: the DiT at its published width; torch and numpy suffice

- loader: samples/s of the trainer's DataLoader of `Draws` against bare reading: as many processes, which go through the same tars with tarfile, decode both
  sides with soundfile, and keep nothing; all from the system's cache. "whole": a model at the run's own rate whose window is as long as the first sample, so
  that both decode as many seconds; the codec mdct wants as much noise as there is audio, the published oobleck a tenth of it. "tiny": tiny.yaml, which takes
  windows of 1 s and resamples them where the run's rate is another; bare reading seeks and decodes as long a window, and does not resample.
- wait: for data, in tiny.yaml as it is. Trainings are told without their first interval, in which processes start.
- encoded: what `audioedit encode` made, against raw. Little can be won in tiny.yaml, with its codec of one product and MLLM of 3 narrow layers. "oobleck":
  a codec of published sizes, a thinker of 8 layers and width 256, weights random, windows of 1 s, batches of 1; once.
- ranks: two (gloo) against one, one global batch of tiny.yaml, no loader processes. "same cores": the one has as many threads as the two together.
- step: forward, backward and AdamW of tiny.yaml's DiT against its matrix products alone, of both directions, in the same shapes, strides and types, less the
  convolutions of width 1 (under 1 %). MFU: FLOP/s, by torch.utils.flop_counter, against those of one large square product.
- published: as step, in bfloat16 over float32 weights, with and without `compile_layers`; 236 latent frames, 364 low-level tokens, 320 of context. Layers are
  halved until they fit into memory. Conditioners, MLLM and codec are left out. `--width` and `--layers` make it small enough for a CPU.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sampling import compilable, drawn, machine
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torch.utils.flop_counter import FlopCounterMode

from manifests.chance import generator
from model.dit import DiT
from model.sizes import ConditionerSizes, DitSizes, OmniPromptSizes, Sizes

TINY, BIG = Path(__file__).parents[1] / "configs" / "train" / "tiny.yaml", Sizes.published().codec
BATCH, WORKERS, SECONDS = 8, (1, 2), 4.0  # of the loader's measurements
PRODUCTS = {torch.ops.aten.mm.default: torch.mm, torch.ops.aten.addmm.default: torch.mm, torch.ops.aten.bmm.default: torch.bmm}


def row(name: str, ours: list[float], other: list[float], unit: str, wanted: str = "–", upside_down: bool = False) -> list[str]:
    ratios = [b / a if upside_down else a / b for a, b in zip(ours, other)]
    return [name, *(f"{statistics.median(values):.3g} {unit}" for values in (ours, other)),
            f"{statistics.median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})", wanted]


def made(folder: Path, pairs: int, seconds: float, rate: int = 44_100, tar_of: int = 16) -> str:
    """A finished run: swelling noise, and a tone to be removed. Gives its path."""
    from manifests.pair import Pair
    from stages.shard import shard

    found, index, t = [], [], np.arange(round(rate * seconds)) / rate
    for n in range(pairs):
        noise = 0.05 * generator("train", n).standard_normal((1, len(t)), np.float32) * (1.2 + np.sin(t))
        tone = 0.2 * np.sin(2 * np.pi * (200 + 10 * n) * t) * (t > seconds / 3)
        source, target = (np.round(32_767 * side).clip(-32_768, 32_767).astype(np.int16) for side in (noise + tone, noise))
        found.append(Pair(
            pair_id=f"pair{n:04d}", scene_id=f"scene{n}", edit="remove", branch="synthetic", tier="demo", domain="sound", language="en", split="train", part=0,
            instructions=[f"Remove the 'tone {n}'."], duration_s=seconds, edit_spans=[[seconds / 3, seconds]], sample_rate=rate, source=source, target=target))
    (folder / "shards").mkdir(parents=True)
    for first in range(0, pairs, tar_of):
        index.append({"name": f"shards/train-{first:06d}.tar", "split": "train", "pairs": len(found[first : first + tar_of]), "sha256": ""})
        (folder / index[-1]["name"]).write_bytes(shard(found[first : first + tar_of]))
    (folder / "shards" / "index.json").write_text(json.dumps(index))
    return str(folder)


class Bare(IterableDataset):
    """Samples of a run's train tars, without end, both sides decoded and thrown away: whole, or `seconds` from a random place on. A number for each batch."""

    def __init__(self, run: str, seconds: float | None):
        self.tars, self.seconds = sorted(map(str, Path(run, "shards").glob("train-*.tar"))), seconds

    def __iter__(self) -> Iterator[int]:
        import soundfile

        chance, count = generator("bare"), 0
        for tar in itertools.cycle(self.tars[get_worker_info().id :] + self.tars[: get_worker_info().id]):
            with tarfile.open(tar) as file:
                for member in file:
                    data = file.extractfile(member).read()
                    if member.name.endswith(".json"):
                        json.loads(data)
                        if (count := count + 1) % BATCH == 0:
                            yield count
                        continue
                    with soundfile.SoundFile(io.BytesIO(data)) as sound:
                        frames = sound.frames if self.seconds is None else min(sound.frames, round(self.seconds * sound.samplerate))
                        sound.seek(int(chance.integers(sound.frames - frames + 1)))
                        sound.read(frames, dtype="float32", always_2d=True)


def configured(steps: int, log: int, *overrides: str):
    from manifests.strict import load
    from model.training.config import TrainConfig

    return load(str(TINY), [f"steps={steps}", f"every={{log: {log}, val: 0, listen: 0, checkpoint: {steps}}}", *overrides], TrainConfig)


def loader(run: str, rounds: int) -> Iterator[list[str]]:
    from soundfile import SoundFile

    from model.training.draw import Draws, collate
    from model.training.order import Order, Positions
    from model.training.shards import Shards

    def rate(batches: Iterator) -> float:
        list(itertools.islice(batches, 4 * workers))  # what was fetched ahead
        began, ends = time.perf_counter(), [0.0]
        while ends[-1] < SECONDS or len(ends) <= 4 * workers:
            next(batches)
            ends.append(time.perf_counter() - began)
        return (len(ends) - 1) * BATCH / ends[-1]

    config, shards = configured(1, 1), Shards([run], "train")
    sound = SoundFile(io.BytesIO(shards.read(0).members["source.flac"]))
    for name, codec, channels in (("whole, mdct", {"kind": "mdct", "hop": 512}, 512 * sound.channels), ("whole, oobleck", BIG, 64), ("tiny", None, 0)):
        sizes = config.model
        if codec:
            sizes = replace(sizes, sample_rate=sound.samplerate, channels=sound.channels, window=sound.frames, codec=codec,
                            dit=replace(sizes.dit, latent_channels=channels, source_channels=channels))
        draws = Draws(shards, Order(np.ones(len(shards)), config.seed), sizes, config)
        for workers in WORKERS:
            common = {"num_workers": workers, "multiprocessing_context": "spawn"}
            ours = iter(DataLoader(draws, batch_sampler=Positions(0, 10**9, BATCH, 1, 0, 1), collate_fn=collate, **common))
            bare = iter(DataLoader(Bare(run, None if codec else sizes.window / sizes.sample_rate), batch_size=None, **common))
            found = [(rate(ours), rate(bare)) for _ in range(rounds)]
            yield row(f"loader: {name}, processes: {workers}", *zip(*found), "samples/s", "≥ 0.9")


def trained(folder: Path, config, run: str, init: str | None = None, ranks: int = 1, threads: int | None = None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        torch.multiprocessing.spawn(rank_of, (ranks, threads or torch.get_num_threads(), config, run, init, place), nprocs=ranks)
        told = json.loads(Path(place, "0.json").read_text())[1:]
    return {name: statistics.median(values[name] for values in told) for name in ("steps_per_second", "data_wait")}


def rank_of(rank: int, ranks: int, threads: int, config, run: str, init: str | None, place: str) -> None:
    from model.train import train

    torch.set_num_threads(threads)
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}/store", rank=rank, world_size=ranks)
    told = []
    train(config, {run: 1.0}, Path(place, "training"), init=init, device=torch.device("cpu"), report=told.append)
    Path(place, f"{rank}.json").write_text(json.dumps(told))


def encodings(run: str, folder: Path, tiny) -> dict[str, dict]:
    import ray

    from model.audio_omni import AudioOmni
    from model.tiny_mllm import make_tiny_thinker
    from pipeline.config import Resources
    from pipeline.encode import encode

    sizes, raw = tiny.model, made(folder / "short", 4, 1.0)
    heard, thinker = ConditionerSizes(width=64, omni_prompt=OmniPromptSizes(width=256, length=256)), make_tiny_thinker(folder / "thinker", 256, 8)
    big = replace(sizes, sample_rate=44_100, channels=2, window=44_032, codec=BIG, conditioners=heard, mllm=sizes.mllm | {"path": thinker},
                  dit=replace(sizes.dit, latent_channels=64, source_channels=64))
    for name, of, data in (("tiny", sizes, run), ("oobleck", big, raw)):
        AudioOmni(of).save(folder / name)
        encode(str(folder / name), data, str(folder / f"{name} encoded"), Resources())
        ray.shutdown()
    once = {"config": configured(5, 1, "batch=1").model_copy(update={"model": None}), "init": str(folder / "oobleck")}
    tiny_one, big_one = ({"run": str(folder / f"{name} encoded")} for name in ("tiny", "oobleck"))
    return {"encoded": {"config": tiny} | tiny_one, "oobleck raw": once | {"run": raw}, "oobleck encoded": once | big_one}


def trainings(run: str, folder: Path, options: argparse.Namespace) -> Iterator[list[str]]:
    tiny, half = configured(options.steps, 10), max(1, torch.get_num_threads() // 2)
    each = {"raw": {"config": tiny, "run": run}} if {"wait", "encoded"} & options.only else {}
    each |= encodings(run, folder, tiny) if "encoded" in options.only else {}
    for name, ranks, threads in (("one", 1, half), ("one, same cores", 1, 2 * half), ("two", 2, half)) if "ranks" in options.only else ():
        config = configured(options.steps, 10, "workers=0", f"ranks={{count: {ranks}}}")
        each[name] = {"config": config, "run": run, "threads": threads, "ranks": ranks}
    found = {name: [] for name in each}
    for number, name in itertools.product(range(options.rounds), each):
        found[name] += [trained(folder, **each[name])] if number == 0 or not name.startswith("oobleck") else []
    rates = {name: [one["steps_per_second"] for one in values] for name, values in found.items()}
    if "wait" in options.only:
        waits = [1000 * one["data_wait"] / one["steps_per_second"] for one in found["raw"]]
        yield row("wait: for data, of a step, tiny, 2 workers", waits, [1000 / rate for rate in rates["raw"]], "ms", "< 0.05")
    for name, ours, other, wanted in (
            ("encoded: tiny, against raw", "encoded", "raw", "> 1"), ("encoded: oobleck, against raw", "oobleck encoded", "oobleck raw", "> 1"),
            (f"ranks: two against one, threads of each: {half}", "two", "one", "≤ 2"), ("ranks: two against one, same cores", "two", "one, same cores", "1")):
        if ours in rates:
            yield row(name, rates[ours], rates[other], "steps/s", wanted)


class Recorder(TorchDispatchMode):
    """Products of matrices as they are made: which, and of what: shape, strides, type."""

    found = ()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in PRODUCTS:
            self.found += ((PRODUCTS[function], [(tuple(one.shape), one.stride(), one.dtype) for one in args[-2:]]),)
        return function(*args, **(kwargs or {}))


def steps(name: str, sizes: DitSizes, shape: tuple[int, int, int, int], device: str, dtype: torch.dtype, compiles: bool, rounds: int) -> Iterator[list[str]]:
    """Shape: batch, latent frames, low-level tokens, context tokens."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    def inputs(batch: int, frames: int, low: int, context: int) -> dict:
        latents, mask = torch.randn(batch, sizes.latent_channels, frames), torch.ones(batch, context, dtype=torch.bool)
        return {"x": latents, "t": torch.rand(batch), "context": torch.randn(batch, context, sizes.context_width), "context_mask": mask,
                "low_level": torch.randn(batch, low, sizes.low_level_width) if low else None, "source": latents.clone() if sizes.source_channels else None}

    def gradients(dit: DiT, given: dict) -> None:
        with torch.autocast(given["x"].device.type, dtype, enabled=dtype != torch.float32):
            velocity = dit(**given)
        (velocity.float() - given["x"]).square().mean().backward()

    # Counted on tensors without numbers, and with attention as plain products: what stands for them on the CPU is not counted.
    with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, Recorder() as recorder:
        gradients(DiT(sizes), inputs(*shape))
    with torch.device(device):
        dit, given, side = drawn(DiT(sizes)).requires_grad_(True).train(), inputs(*shape), 8192 if device == "cuda" else 2048
        large, held = torch.randn(side, side).to(dtype), {}
        for like in {like for _, operands in recorder.found for like in operands}:
            held[like] = torch.randn(1 + sum((length - 1) * stride for length, stride in zip(*like[:2]))).to(like[2]).as_strided(*like[:2])
    optimizer, dits = torch.optim.AdamW(dit.parameters(), lr=1e-6), {name: dit}
    if compiles:
        with torch.device("meta"):
            dits[f"{name}, compiled"] = twin = DiT(sizes)
        twin.load_state_dict(dit.state_dict(keep_vars=True), assign=True)  # one set of weights: one optimizer
        twin.compile_layers()

    def step(of: DiT) -> None:
        gradients(of, given)
        optimizer.step()
        optimizer.zero_grad()

    def timed(one: Callable[[], object]) -> float:
        began = time.perf_counter()
        one()
        torch.cuda.synchronize() if device == "cuda" else None
        return time.perf_counter() - began

    products = [(product, [held[operand] for operand in operands]) for product, operands in recorder.found]
    work = [lambda: torch.mm(large, large), lambda: [product(*operands) for product, operands in products], *(lambda of=of: step(of) for of in dits.values())]
    found = [[timed(one) for one in work] for _ in range(2 + 5 * rounds)][2:]  # the first compile
    best = [[1000 * statistics.median(values) for values in zip(*found[first : first + 5])] for first in range(0, len(found), 5)]
    peaks, bare, *walks = map(list, zip(*best))
    for of, walk in zip(dits, walks):
        yield row(f"{of}: its products' share", walk, bare, "ms", upside_down=True)
        yield row(f"{of}: MFU", [counter.get_total_flops() / one / 1e9 for one in walk], [2 * side**3 / one / 1e9 for one in peaks], "TFLOP/s")


def measured(run: str | None, folder: Path, options: argparse.Namespace, device: str) -> Iterator[list[str]]:
    if "loader" in options.only:
        yield from loader(run, options.rounds)
    if {"wait", "encoded", "ranks"} & options.only:
        yield from trainings(run, folder, options)
    if "step" in options.only:
        dit = configured(10, 10).model.dit  # 192: an instruction and the role, in bytes
        yield from steps("step: tiny, float32", dit, (8, 128, 0, 192), "cpu", torch.float32, False, options.rounds)
    for layers in (options.layers >> halved for halved in range(options.layers.bit_length() if "published" in options.only else 0)):
        sizes = replace(Sizes.published().dit, width=options.width, heads=options.width // 64, layers=layers)
        name, shape = f"published: {sizes.width} wide, {layers} layers, batch {options.batch}", (options.batch, 236, 364, 320)
        with contextlib.suppress(torch.OutOfMemoryError):
            yield from steps(name, sizes, shape, device, torch.bfloat16, compilable(device) is None, options.rounds)
            return
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["loader", "wait", "encoded", "ranks", "step", "published"]
    parser.add_argument("--only", nargs="+", choices=parts, help="default: published where there is a GPU, else all the others")
    parser.add_argument("--data", metavar="RUN", help="a finished run (default: one of noise and tones, 48 samples of 10 s)")
    for name, value, of in (("rounds", 3, "all"), ("steps", 50, "training"), ("width", 2048, "the DiT"), ("layers", 36, "the DiT"), ("batch", 8, "the DiT")):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"of {of}; default: {value}")
    options, began = parser.parse_args(), time.perf_counter()
    if min(options.steps // 20, options.width // 64, options.rounds, options.layers, options.batch) < 1:
        parser.error("at least 20 steps, a width of 64, and 1 of the others")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options.only = set(options.only or (parts[-1:] if device == "cuda" else parts[:-1]))
    with tempfile.TemporaryDirectory() as place:
        run = options.data or (made(Path(place, "run"), 48, 10.0) if options.only - {"step", "published"} else None)
        for cells in itertools.chain([["", "ours", "against", "ratio", "wanted"], ["---"] * 5], measured(run, Path(place), options, device)):
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n{machine(device)}; {os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}; data: {options.data or 'made'}; {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

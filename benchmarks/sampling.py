"""How long the model takes for 10 s of audio, and what each measure for its speed is worth.

    python benchmarks/sampling.py                            # on the CPU: a narrow DiT of few layers, so that it ends
    python benchmarks/sampling.py --width 512 --layers 8     # a larger one
    python benchmarks/sampling.py --published                # on a GPU: the published sizes in bfloat16 (weights of 18 GB)

Weights are random, 1/√(numbers that go in) in deviation. What goes in and comes out has the published shapes: 236 latent frames, which is the one window
that an edit of 10 s takes, 364 low-level tokens, an instruction of 64 tokens padded to 2,048 places, 256 tokens for no speech; guidance 7. Conditioners
are timed once, apart; MLLM and codec are left out. Neither ray nor diffusers is needed. A row differs from the first by what it names:

- nothing kept: keys, values and low-level tokens are computed at every step; one half after the other: guidance takes two passes of one sample, not one
  of two; untrimmed: the context keeps all its 2,304 places; none of these: all three, as the published code samples.
- Heun: of about as many evaluations as Euler has, 2 n − 1 in n steps. Only its time is told, not how well it samples.
- time: as a multiple of the first row's, for an evaluation: median, least and most of all walks. Rows walk in turn, as many steps each, so that these
  hold on a busy machine where seconds do not.
- of the peak: the FLOP/s of the whole walk, as a share of what one large square product of matrices reaches in the same type, measured in the same turn.
  Counted is one evaluation of the first row, both halves: what a row computes beyond that does not count as work.
- memory: the most allocated on the GPU in a walk, weights included.

Rows that must not change numbers are compared with the first in float32, compiled too; if a velocity differs by more than 1e-4, this ends with status 1.
"""

import argparse
import copy
import platform
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.conditioners import Conditioners, Conditioning
from model.dit import DiT
from model.flow import guided, sample
from model.sizes import Sizes

INSTRUCTION = 64  # tokens
SAME, CLOSE = 1e-4, 2e-2  # relative: of a float32 velocity that must not change, and of one in bfloat16
SHORT = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


@dataclass(frozen=True)
class Row:
    """What is on and what is off."""

    name: str
    dtype: torch.dtype
    cached: bool = True
    together: bool = True
    trimmed: bool = True
    compiled: bool = False
    sampler: str = "euler"

    def evaluations(self, steps: int) -> int:
        """Of a walk that has as many as `steps` of Euler's, or one less."""
        return steps if self.sampler == "euler" else 2 * self.steps(steps) - 1

    def steps(self, steps: int) -> int:
        return steps if self.sampler == "euler" else (steps + 1) // 2


class Untrimmed(Conditioning):
    def trimmed(self) -> Conditioning:
        return self


class Bench:
    """A model of random weights in both types, and what it is conditioned on."""

    def __init__(self, sizes: Sizes, device: str):
        torch.manual_seed(0)
        self.sizes, self.device, self.guidance = sizes, device, sizes.sampling.guidance
        with torch.device(device):
            dit, self.conditioners = drawn(DiT(sizes.dit)), drawn(Conditioners(sizes.conditioners))
        self.parameters = sum(weight.numel() for weight in dit.parameters())
        half = copy.deepcopy(dit).cast(torch.bfloat16)
        self.dits = {(torch.float32, False): dit, (torch.bfloat16, False): half}
        for dtype in SHORT:
            with torch.device("meta"):
                twin = DiT(sizes.dit)
            twin.load_state_dict(self.dits[dtype, False].state_dict(keep_vars=True), assign=True)  # the same weights, in layers of its own
            twin.eval().compile_layers()  # as Editor.from_pretrained does
            self.dits[dtype, True] = twin
        heard = sizes.conditioners.audio_input_prompt
        self.given = {"hidden": self.random(1, INSTRUCTION, sizes.conditioners.omni_prompt.width), "audio": self.random(1, sizes.channels, heard.samples) / 10}
        self.given["mask"] = torch.ones(1, INSTRUCTION, dtype=torch.bool, device=device)
        whole = self.conditioners(**self.given)
        self.conditioning = {True: whole, False: Untrimmed(whole.context, whole.context_mask, whole.low_level)}
        self.noise = self.random(1, sizes.dit.latent_channels, sizes.latent_frames)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self.device)

    def now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def guided(self, row: Row, guidance: float):
        return guided(self.dits[row.dtype, row.compiled], self.conditioning[row.trimmed], guidance, cached=row.cached, together=row.together)

    def velocity(self, row: Row, guidance: float | None = None) -> Tensor:
        """Under guidance, unless it is 1."""
        return self.guided(row, self.guidance if guidance is None else guidance)(self.noise, self.noise.new_full((1,), 0.7))

    def walk(self, row: Row, steps: int) -> tuple[float, float]:
        """Seconds, and bytes at most (0 on the CPU)."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = self.now()
        sample(self.guided(row, self.guidance), self.noise, row.steps(steps), row.sampler)
        seconds = self.now() - began
        other = sum(weight.nbytes for (dtype, compiled), dit in self.dits.items() if dtype != row.dtype and not compiled for weight in dit.parameters())
        return seconds, torch.cuda.max_memory_allocated() - other if self.device == "cuda" else 0

    def conditioned(self) -> float:
        began = self.now()
        self.conditioners(**self.given)
        return self.now() - began

    def peak(self, dtype: torch.dtype) -> float:
        """FLOP/s of a product of matrices: the best of five."""
        side = 8192 if self.device == "cuda" else 2048
        one, best = self.random(side, side).to(dtype), float("inf")
        torch.mm(one, one)
        for _ in range(5):
            began = self.now()
            torch.mm(one, one)
            best = min(best, self.now() - began)
        return 2 * side**3 / best

    def flops(self, row: Row) -> int:
        """Of an evaluation, once the conditions are prepared."""
        velocity, t = self.guided(row, self.guidance), self.noise.new_full((1,), 0.7)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the CPU's own attention is not counted
            velocity(self.noise, t)
        return counter.get_total_flops()


def drawn(module: nn.Module) -> nn.Module:
    """Matrices drawn, vectors shaken, so that nothing is zero."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn_like(weight) / weight[0].numel() ** 0.5 if weight.ndim > 1 else weight + 0.02 * torch.randn_like(weight))
    return module.requires_grad_(False).eval()


def compilable(device: str) -> str | None:
    """Why torch cannot compile here; None where it can."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except torch._dynamo.exc.TorchDynamoException as error:
        return str(error).splitlines()[0]


def rows(dtype: torch.dtype, compiles: bool) -> list[Row]:
    first = Row(f"all on, {SHORT[dtype]}, not compiled", dtype)
    other = next(one for one in SHORT if one != dtype)
    found = [
        first, replace(first, name="nothing kept", cached=False), replace(first, name="one half after the other", together=False),
        replace(first, name="untrimmed", trimmed=False), replace(first, name="none of these", cached=False, together=False, trimmed=False),
        replace(first, name=SHORT[other], dtype=other), replace(first, name="compiled", compiled=True),
        replace(first, name=f"compiled, {SHORT[other]}", dtype=other, compiled=True), replace(first, name="Heun", sampler="heun")]
    return [row for row in found if compiles or not row.compiled]


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def compare(bench: Bench, table: list[Row]) -> tuple[list[str], list[str]]:
    """What there is to tell of numbers, and names of rows that change them."""
    whole, checked, told, wrong = Row("", torch.float32), {}, [], []
    for row in table:
        checked.setdefault(replace(row, name="", dtype=torch.float32, sampler="euler"), row.name.partition(",")[0])
    wanted = bench.velocity(whole)
    for row, name in list(checked.items())[1:]:
        began = bench.now()
        difference = apart(bench.velocity(row), wanted)
        told.append(f"{name} {difference:.1e}" + (f" (its first took {bench.now() - began:.0f} s)" if row.compiled else ""))
        wrong += [] if difference <= SAME else [name]
    near, far = (apart(bench.velocity(replace(whole, dtype=torch.bfloat16), scale), bench.velocity(whole, scale)) for scale in (1, bench.guidance))
    return [f"In float32, velocities differ from the first row's by (at most {SAME:g} is wanted): {', '.join(told)}.",
            f"In bfloat16 the DiT's velocity differs by {near:.1e} (at most {CLOSE:g} is wanted), under guidance {bench.guidance:g} by {far:.1e}."], wrong


def measure(bench: Bench, table: list[Row], steps: list[int], rounds: int) -> list[list[str]]:
    """Cells of each row."""
    for row in table:
        bench.walk(row, 2)
    flops, laps = bench.flops(table[0]), []
    for number in range(rounds):
        for count in steps:
            peak = {dtype: bench.peak(dtype) for dtype in SHORT}
            laps.append((count, peak, [bench.walk(row, count) for row in table]))
            print(f"round {number + 1} of {rounds}, {count} steps: {sum(seconds for seconds, _ in laps[-1][2]):.0f} s", file=sys.stderr)
    lines = []
    for place, row in enumerate(table):
        each = {count: [] for count in steps}
        ratios, shares, most = [], [], 0
        for count, peak, walks in laps:
            one, first = walks[place][0] / row.evaluations(count), walks[0][0] / table[0].evaluations(count)
            each[count].append(walks[place][0])
            ratios.append(one / first)
            shares.append(flops / one / peak[row.dtype])
            most = max(most, walks[place][1])
        spread = f"{statistics.median(ratios):.2f}" + ("" if row is table[0] else f" ({min(ratios):.2f} to {max(ratios):.2f})")
        lines.append([row.name, *(f"{statistics.median(each[count]):.3g}" for count in steps), spread, f"{100 * statistics.median(shares):.0f} %",
                      f"{most / 2**30:.1f}" if most else "–"])
    peaks = " and ".join(f"{statistics.median(peak[dtype] for _, peak, _ in laps) / 1e12:.3g} in {SHORT[dtype]}" for dtype in SHORT)
    print(f"An evaluation, both halves: {flops / 1e12:.3g} TFLOP; the peak: {peaks} TFLOP/s; "
          f"conditioners, once: {statistics.median(bench.conditioned() for _ in range(rounds)):.3g} s.\n")
    return lines


def machine(device: str) -> str:
    try:
        names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    cpu = f"{names[0] if names else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    return f"{torch.cuda.get_device_name() if device == 'cuda' else cpu}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256, help="of the DiT, a multiple of 64 (default: 256)")
    parser.add_argument("--layers", type=int, default=4, help="of the DiT (default: 4)")
    parser.add_argument("--published", action="store_true", help="width 2,048, 36 layers; the first row in bfloat16")
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 50, 100], help="default: 25 50 100")
    parser.add_argument("--rounds", type=int, default=3, help="in each every row walks once with each number of steps (default: 3)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    if options.width < 64 or options.width % 64 or min(options.layers, options.rounds, *options.steps) < 1:
        parser.error("a width is a multiple of 64; layers, rounds and steps are 1 or more")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this process sees no GPU")
    sizes = Sizes.published()
    if not options.published:
        sizes = replace(sizes, dit=replace(sizes.dit, width=options.width, layers=options.layers, heads=options.width // 64))
    missing = "--no-compile" if options.no_compile else compilable(device)
    table = rows(torch.bfloat16 if options.published else torch.float32, missing is None)
    with torch.inference_mode():
        bench = Bench(sizes, device)
        told, wrong = compare(bench, table)
        found = measure(bench, table, options.steps, options.rounds)
    print(f"Seconds for 10 s of audio; DiT {sizes.dit.width} wide, {sizes.dit.layers} layers, {bench.parameters / 1e6:.4g} million weights; "
          f"rounds: {options.rounds}; {machine(device)}.\n")
    heads = ["", *(f"{count} steps" for count in options.steps), "time", "of the peak", "GiB"]
    for line in (heads, ["---"] * len(heads), *found):
        print(f"| {' | '.join(line)} |")
    print("\n" + "\n".join(told + ([f"Nothing is compiled: {missing}"] if missing else [])))
    if wrong:
        sys.exit(f"numbers change: {', '.join(wrong)}")


if __name__ == "__main__":
    main()

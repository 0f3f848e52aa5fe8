"""The DiT compiled as Editor.from_pretrained does it: the same velocity, and no compiling anew for every shape."""

import copy

import pytest

torch = pytest.importorskip("torch")

from model.conditioners import Conditioning  # noqa: E402
from model.dit import DiT  # noqa: E402
from model.flow import guided  # noqa: E402
from model.sizes import DitSizes  # noqa: E402


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def dit():
    made = DiT(DitSizes(width=32, layers=1, heads=1, latent_channels=4, context_width=8, low_level_width=8)).requires_grad_(False)
    for seed, weight in enumerate(made.parameters()):
        weight.copy_(drawn(*weight.shape, seed=seed) / max(1, weight[0].numel()) ** 0.5)
    return made.eval()


@pytest.fixture(scope="module")
def compiled(dit):
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2))
    except torch._dynamo.exc.TorchDynamoException as error:
        pytest.skip(f"torch cannot compile here: {str(error).splitlines()[0]}")
    torch._dynamo.reset()
    made = copy.deepcopy(dit)
    made.compile_layers()
    yield made
    torch._dynamo.reset()


def test_compiled_it_gives_the_same_velocity_and_a_third_shape_compiles_nothing(dit, compiled):
    graphs, stats = [], torch._dynamo.utils.counters["stats"]
    for batch, tokens in ((1, 64), (2, 128), (3, 192)):
        conditioning = Conditioning(drawn(batch, tokens, 8, seed=1), torch.ones(batch, tokens, dtype=torch.bool), drawn(batch, 3, 8, seed=2))
        x, t, before = drawn(batch, 4, 9, seed=3), torch.linspace(0.9, 0.4, batch), stats["unique_graphs"]
        with torch.inference_mode():
            wanted, found = (guided(one, conditioning, 3.0)(x, t) for one in (dit, compiled))
        assert (found - wanted).norm() <= 1e-4 * wanted.norm()
        graphs.append(stats["unique_graphs"] - before)
    assert graphs == [1, 1, 0]  # one of the first shape, one of any

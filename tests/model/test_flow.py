"""Samplers, the shift of times, and guidance: what is done once or in one batch changes no numbers."""

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from manifests.errors import RequestError  # noqa: E402
from model.conditioners import Conditioning  # noqa: E402
from model.dit import DiT  # noqa: E402
from model.flow import guided, sample, times  # noqa: E402
from model.sizes import DitSizes  # noqa: E402


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def dit():
    made = DiT(DitSizes(width=64, layers=2, heads=2, latent_channels=6, context_width=10, low_level_width=12, source_channels=6))
    chance = torch.Generator().manual_seed(0)
    for weight in made.requires_grad_(False).parameters():
        weight.copy_(torch.randn(weight.shape, generator=chance) / max(1, weight[0].numel()) ** 0.5)
    return made.eval()


@pytest.fixture(scope="module")
def conditioning():
    mask = torch.zeros(2, 150, dtype=torch.bool)
    mask[0, :7], mask[1, :3], mask[:, 140:] = True, True, True
    return Conditioning(drawn(2, 150, 10, seed=2), mask, drawn(2, 4, 12, seed=3), drawn(2, 6, 9, seed=4))


X, T = drawn(2, 6, 9), torch.tensor([0.9, 0.2])


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_a_straight_way_is_walked_exactly_in_any_steps(sampler):
    data, noise = drawn(2, 3, 4), drawn(2, 3, 4, seed=5)
    for steps in (1, 3):
        assert torch.allclose(sample(lambda x, t: noise - data, noise, steps, sampler, shift=2.0), data, atol=1e-5)


def test_heun_errs_with_the_square_of_the_step_and_euler_with_the_step():
    noise = torch.ones(1, 1, 1, dtype=torch.float64)  # dx/dt = x, from t = 1 to 0: x falls to 1/e

    def error(sampler, steps):
        return abs(float(sample(lambda x, t: x, noise, steps, sampler)) - torch.e**-1)

    assert error("euler", 10) / error("euler", 20) == pytest.approx(2, rel=0.1)
    assert error("heun", 10) / error("heun", 20) > 3  # its last step is Euler's no more
    assert error("heun", 10) < error("euler", 10) / 10


def test_times_go_from_one_to_zero_and_a_shift_bends_them():
    assert times(4) == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert times(4, 3.0) == pytest.approx([1, 0.9, 0.75, 0.5, 0])
    assert times(1) == [1, 0]


def test_every_step_is_told_and_sees_its_time():
    told, seen = [], []

    def velocity(x, t):
        assert t.shape == (2,)
        seen.append(float(t[0]))
        return x

    sample(velocity, X, 4, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)] and seen == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("wrong", [dict(steps=0), dict(steps=-1), dict(steps=2, shift=0.0), dict(steps=2, shift=float("nan")), dict(steps=2, sampler="rk4")])
def test_what_cannot_be_sampled_is_told_in_one_line(wrong):
    with pytest.raises(RequestError) as told:
        sample(lambda x, t: x, X, **wrong)
    assert "\n" not in str(told.value)


def test_guidance_of_one_is_the_conditional_pass(dit, conditioning):
    alone = dit(X, T, conditioning.context, conditioning.context_mask, conditioning.low_level, conditioning.source)
    assert torch.allclose(guided(dit, conditioning, 1.0)(X, T), alone, atol=1e-5)


def test_guidance_goes_from_the_empty_context_through_the_given_one(dit, conditioning):
    empty = torch.zeros_like(conditioning.context)
    conditional = dit(X, T, conditioning.context, conditioning.context_mask, conditioning.low_level, conditioning.source)
    unconditional = dit(X, T, empty, conditioning.context_mask, conditioning.low_level, conditioning.source)
    assert not torch.allclose(conditional, unconditional, atol=1e-2)
    wanted = unconditional + 4 * (conditional - unconditional)
    assert torch.allclose(guided(dit, conditioning, 4.0)(X, T), wanted, atol=1e-4)
    assert torch.allclose(guided(dit, conditioning, 0.0)(X, T), unconditional, atol=1e-5)


def test_the_source_has_a_scale_of_its_own(dit, conditioning):
    silent = dataclasses.replace(conditioning, source=torch.zeros_like(conditioning.source))
    both, source, neither = (
        dit(X, T, context, of.context_mask, of.low_level, of.source)
        for of, context in ((conditioning, conditioning.context), (conditioning, 0 * conditioning.context), (silent, 0 * conditioning.context)))
    wanted = neither + 1.5 * (source - neither) + 4 * (both - source)
    for how in (dict(), dict(together=False), dict(cached=False)):
        assert torch.allclose(guided(dit, conditioning, 4.0, silent=silent, source_scale=1.5, **how)(X, T), wanted, atol=1e-4)
    assert torch.allclose(guided(dit, conditioning, 0.0, silent=silent, source_scale=0.0)(X, T), neither, atol=1e-5)


@pytest.mark.parametrize("slower", [dict(cached=False), dict(together=False), dict(cached=False, together=False)])
def test_what_makes_it_fast_changes_no_numbers(dit, conditioning, slower):
    fast = sample(guided(dit, conditioning, 3.0), X, 3)
    slow = sample(guided(dit, conditioning, 3.0, **slower), X, 3)
    assert (fast - slow).abs().max() <= 1e-5 * slow.abs().max()


def test_conditions_are_embedded_once_a_sample_and_both_halves_go_together(dit, conditioning):
    calls = {"context": 0, "low level": 0, "keys": 0, "layers": []}

    def count(name):
        def hook(*_):
            calls[name] += 1
        return hook

    hooks = [
        dit.embed_context.register_forward_hook(count("context")),
        dit.embed_low_level.register_forward_hook(count("low level")),
        dit.layers[0].cross_attention.kv.register_forward_hook(count("keys")),
        dit.layers[0].register_forward_hook(lambda module, given, result: calls["layers"].append(len(result))),
    ]
    try:
        sample(guided(dit, conditioning, 3.0), X, 5)
    finally:
        for hook in hooks:
            hook.remove()
    assert calls == {"context": 1, "low level": 1, "keys": 1, "layers": [4] * 5}


def test_tokens_that_count_for_nobody_are_left_out_without_a_trace(dit, conditioning):
    trimmed = conditioning.trimmed()
    assert trimmed.context.shape == (2, 64, 10) and trimmed.context_mask.sum() == conditioning.context_mask.sum()
    whole = dit(X, T, conditioning.context, conditioning.context_mask, conditioning.low_level, conditioning.source)
    assert torch.allclose(dit(X, T, trimmed.context, trimmed.context_mask, trimmed.low_level, trimmed.source), whole, atol=1e-5)

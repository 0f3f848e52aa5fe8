"""The DiT: the published size, shapes, masks, what is computed once, and the source beside x."""

import pytest

torch = pytest.importorskip("torch")

from model.dit import DiT  # noqa: E402
from model.layers import CrossAttention, SelfAttention, rotary_turns, rotate  # noqa: E402
from model.sizes import DitSizes  # noqa: E402

SIZES = dict(width=64, layers=2, heads=2, latent_channels=6, context_width=10, low_level_width=12)


def randomised(module, seed=0):
    """Every weight drawn anew, so that nothing is zero: as after training."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=chance) / max(1, weight[0].numel()) ** 0.5)
    return module.eval()


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def given(batch=2, frames=9, tokens=5, low=4):
    mask = torch.ones(batch, tokens, dtype=torch.bool)
    mask[-1, tokens // 2 + 1 :] = False
    return dict(
        x=drawn(batch, 6, frames), t=torch.linspace(0.2, 0.9, batch), context=drawn(batch, tokens, 10, seed=2), context_mask=mask,
        low_level=drawn(batch, low, 12, seed=3) if low else None,
    )


@pytest.fixture(scope="module")
def dit():
    return randomised(DiT(DitSizes(**SIZES))).requires_grad_(False)


def test_the_published_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        published = DiT(DitSizes())
    assert sum(weight.numel() for weight in published.parameters()) == 3_037_311_104
    assert sum(weight.numel() for weight in published.layers[0].parameters()) == 83_910_656


def test_branches_start_at_zero_and_all_else_halved():
    fresh = DiT(DitSizes(**SIZES, source_channels=6))
    for name, weight in fresh.named_parameters():
        if name.endswith((".out.weight", ".down.weight", ".down.bias")) or name.startswith(("conv_", "project_source")):
            assert not weight.any(), name
        else:
            assert weight.any(), name
        if name.endswith(".gain"):
            assert (weight == 0.5).all(), name
    assert fresh.layers[0].self_attention.qkv.weight.abs().max() <= 0.5 / 64**0.5


@pytest.mark.parametrize(("batch", "frames", "tokens", "low"), [(1, 1, 1, 0), (1, 7, 3, 1), (3, 13, 11, 5), (2, 2, 1, 9)])
def test_velocity_has_the_shape_of_x(dit, batch, frames, tokens, low):
    asked = given(batch, frames, tokens, low)
    velocity = dit(**asked)
    assert velocity.shape == asked["x"].shape and velocity.dtype == torch.float32 and velocity.isfinite().all()


def test_what_was_prepared_gives_the_same_numbers(dit):
    asked = given()
    whole = dit(**asked)
    prepared = dit.prepare(asked["context"], asked["context_mask"], asked["low_level"])
    assert torch.allclose(dit(asked["x"], asked["t"], prepared=prepared), whole, atol=1e-5)
    assert not torch.allclose(dit(asked["x"], asked["t"] / 2, prepared=prepared), whole, atol=1e-2)  # time is not in it


def test_masked_tokens_weigh_nothing_and_others_something(dit):
    asked = given()
    whole = dit(**asked)
    changed = asked["context"].clone()
    changed[-1, -1] = 100
    assert torch.equal(dit(**{**asked, "context": changed}), whole)
    changed[-1, 0] = 100
    assert not torch.allclose(dit(**{**asked, "context": changed})[-1], whole[-1], atol=1e-2)
    cut = {**asked, "context": asked["context"][1:, :3], "context_mask": asked["context_mask"][1:, :3]}
    cut |= {name: asked[name][1:] for name in ("x", "t", "low_level")}
    assert torch.allclose(dit(**cut), whole[1:], atol=1e-5)


def test_a_context_that_is_masked_whole_gives_numbers(dit):
    asked = given()
    asked["context_mask"][0] = False
    assert dit(**asked).isfinite().all()


def test_a_sample_does_not_depend_on_the_others(dit):
    asked = given(3)
    whole = dit(**asked)
    for i in range(3):
        assert torch.allclose(dit(**{name: value[i : i + 1] for name, value in asked.items()}), whole[i : i + 1], atol=1e-5)


def test_attention_is_the_softmax_of_scaled_products():
    width, heads, x, context = 64, 2, drawn(1, 5, 64), drawn(1, 4, 64, seed=5)
    alone, across = randomised(SelfAttention(width, heads)), randomised(CrossAttention(width, heads))
    turns = rotary_turns(5, 32, x.device)

    def plain(q, k, v, mask=None):
        scores = q @ k.transpose(-1, -2) / 32**0.5
        return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1) @ v

    q, k, v = (part.unflatten(-1, (heads, 32)).transpose(1, 2) for part in alone.qkv(x).chunk(3, -1))
    wanted = alone.out(plain(rotate(q, turns), rotate(k, turns), v).transpose(1, 2).flatten(2))
    assert torch.allclose(alone(x, turns), wanted, atol=1e-5)
    mask = torch.tensor([True, True, False, True])[None, None, None]
    k, v = across.keys_values(context)
    q = across.q(x).unflatten(-1, (heads, 32)).transpose(1, 2)
    assert torch.allclose(across(x, (k, v), mask), across.out(plain(q, k, v, mask).transpose(1, 2).flatten(2)), atol=1e-5)


def test_rotary_positions_turn_the_first_32_places_and_tell_only_distances():
    q, k = drawn(1, 1, 1, 64).expand(1, 1, 9, 64), drawn(1, 1, 1, 64, seed=4).expand(1, 1, 9, 64)
    turns = rotary_turns(9, 64, q.device)
    products = (rotate(q, turns) @ rotate(k, turns).transpose(-1, -2))[0, 0]
    assert turns.shape == (2, 9, 32) and torch.equal(rotate(q, turns)[..., 32:], q[..., 32:])
    assert torch.allclose(products[3, 1], products[8, 6], atol=1e-4) and not torch.allclose(products[3, 1], products[3, 2], atol=1e-2)


def test_a_source_beside_x_leaves_the_published_path_untouched_until_it_is_trained(dit):
    asked = given()
    with_source = DiT(DitSizes(**SIZES, source_channels=6)).eval()
    missing = with_source.load_state_dict(dit.state_dict(), strict=False)
    assert missing.missing_keys == ["project_source.weight"] and not missing.unexpected_keys
    source = drawn(2, 6, 9, seed=6)
    assert torch.equal(with_source(**asked, source=source), dit(**asked))
    randomised(with_source.project_source)
    assert not torch.allclose(with_source(**asked, source=source), dit(**asked), atol=1e-2)
    prepared = with_source.prepare(asked["context"], asked["context_mask"], asked["low_level"], source)
    assert torch.allclose(with_source(asked["x"], asked["t"], prepared=prepared), with_source(**asked, source=source), atol=1e-5)
    with pytest.raises(ValueError, match="9 frames, the source 8"):
        with_source(**asked, source=source[..., :8])


def test_bfloat16_is_near_float32_and_keeps_the_frequencies_of_time():
    whole, asked = randomised(DiT(DitSizes(**SIZES))), given()
    with torch.no_grad():
        wanted = whole(**asked)
        rounded = whole.cast(torch.bfloat16)
        found = rounded(**asked)
    assert rounded.time_features.weight.dtype == torch.float32 and rounded.project_in.weight.dtype == torch.bfloat16
    assert found.dtype == torch.float32 and (found - wanted).abs().max() < 2e-2 * wanted.abs().max()


@pytest.mark.parametrize(("changed", "told"), [
    (dict(x=torch.zeros(2, 5, 9)), r"x is \(batch, 6, frames\), got \(2, 5, 9\)"),
    (dict(x=torch.zeros(2, 6, 0)), r"got \(2, 6, 0\)"),
    (dict(t=torch.zeros(3)), r"t is .* got \(3,\)"),
    (dict(context=torch.zeros(2, 5, 11)), r"context is .* got \(2, 5, 11\)"),
    (dict(context_mask=torch.ones(2, 5)), "bool"),
    (dict(low_level=torch.zeros(2, 4, 10)), r"low-level .* got \(2, 4, 10\)"),
    (dict(source=torch.zeros(2, 6, 9)), "source latents"),
    (dict(context=None), "wants a context"),
])
def test_a_wrong_shape_is_told(dit, changed, told):
    with pytest.raises(ValueError, match=told):
        dit(**{**given(), **changed})


def test_sizes_that_do_not_fit_are_refused():
    for wrong in (dict(heads=3), dict(layers=0), dict(source_channels=5)):
        with pytest.raises(ValueError):
            DitSizes(**{**SIZES, **wrong})


def fresh(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DiT(DitSizes(**{**SIZES, "latent_channels": 8, "low_level_width": 0, "source_channels": 8, **changes})).begin()


@pytest.mark.parametrize("changes", [dict(width=64), dict(width=12, heads=1), dict(pooled_width=5)])
def test_a_fresh_model_that_is_given_the_source_begins_as_one_that_copies_it(changes):
    x, source, pooled = drawn(2, 8, 5), drawn(2, 8, 5, seed=2), drawn(2, 5) if "pooled_width" in changes else None
    with torch.no_grad():
        velocity = fresh(**changes)(x, torch.tensor([0.3, 1.0]), drawn(2, 4, 10), torch.ones(2, 4, dtype=torch.bool), source=source, pooled=pooled)
    torch.testing.assert_close(velocity, x - source, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooled_width", [0, 5])
def test_a_few_steps_of_training_change_every_weight_of_a_fresh_model(pooled_width):
    dit = fresh(pooled_width=pooled_width)
    before = {name: weight.detach().clone() for name, weight in dit.named_parameters()}
    optimizer = torch.optim.SGD(dit.parameters(), lr=0.1)
    for step in range(4):
        pooled = drawn(2, pooled_width, seed=step) if pooled_width else None
        velocity = dit(drawn(2, 8, 5), torch.tensor([0.3, 0.9]), drawn(2, 4, 10), torch.ones(2, 4, dtype=torch.bool),
                       source=drawn(2, 8, 5, seed=2), pooled=pooled)
        (velocity - drawn(2, 8, 5, seed=3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert [name for name, weight in dit.named_parameters() if torch.equal(weight, before[name])] == []


def test_a_modulated_model_reads_the_pooled_instruction_and_computes_it_once():
    dit, x, t = randomised(fresh(pooled_width=5)), drawn(2, 8, 9), torch.tensor([0.3, 0.9])
    asked = dict(context=drawn(2, 4, 10), context_mask=torch.ones(2, 4, dtype=torch.bool), source=drawn(2, 8, 9, seed=2))
    one, other = (dit(x, t, **asked, pooled=drawn(2, 5, seed=seed)) for seed in (5, 6))
    assert not torch.allclose(one, other, atol=1e-2)
    prepared = dit.prepare(**asked, pooled=drawn(2, 5, seed=5))
    assert torch.allclose(dit(x, t, prepared=prepared), one, atol=1e-5)
    for wrong in (None, drawn(2, 4)):
        with pytest.raises(ValueError, match=r"pooled instruction is \(2, 5\)"):
            dit(x, t, **asked, pooled=wrong)

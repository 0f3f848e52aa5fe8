"""Chance depends on names only: stable for ever, the same for arrays as for one, and a new item wins only its own."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.chance import Ring, generator, key, mix, uniform

light = settings(max_examples=40, deadline=None)
uint64 = st.integers(0, 2**64 - 1)


def test_known_values():
    """What was built with one version is built the same by the next: these numbers never change."""
    assert key(7, "scene") == 7203556342791661402
    assert key() == 16476032584258269876
    assert generator(7, "scene").integers(0, 2**62, 3).tolist() == [2852508783565948118, 3875767056689030668, 2475854436831732444]
    np.testing.assert_allclose(generator(7, "scene").random(2), [0.6185392414, 0.8404230101], atol=1e-9)
    assert mix(0).tolist() == [9248179162272254404]
    assert mix(1, 2, 3).tolist() == [656557405206149708]
    np.testing.assert_allclose(uniform(7, np.arange(3)), [0.3395421743, 0.7739280578, 0.4923972543], atol=1e-9)


@light
@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4), st.integers(0, 9))
def test_one_name_more_is_another_key_and_another_generator(names, more):
    assert key(*names) == key(*names) < 2**64
    assert key(*names, more) != key(*names)
    np.testing.assert_array_equal(generator(*names).random(4), generator(*names).random(4))
    assert generator(*names, more).random() != generator(*names).random()


def test_names_do_not_run_together():
    assert key("ab", "c") != key("a", "bc") != key("abc")


@light
@given(st.lists(uint64, min_size=1, max_size=20), uint64)
def test_arrays_are_mixed_as_single_keys_are(keys, other):
    array = np.array(keys, np.uint64)
    np.testing.assert_array_equal(mix(other, array), [mix(other, k)[0] for k in keys])
    np.testing.assert_array_equal(mix(array, other), [mix(k, other)[0] for k in keys])
    np.testing.assert_array_equal(mix(array[:, None], array), [[mix(a, b)[0] for b in keys] for a in keys])


@light
@given(uint64, uint64)
def test_the_order_of_keys_counts(one, other):
    assert one == other or mix(one, other) != mix(other, one)


def test_uniform_is_uniform_and_open():
    draws = uniform(3, np.arange(100_000))
    assert 0 < draws.min() and draws.max() < 1
    counts = np.histogram(draws, 20, (0, 1))[0]
    assert abs(counts / 5000 - 1).max() < 0.06
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.015


def picks(groups, keys, asked, by, weights=None) -> np.ndarray:
    """The keys of the items that are picked."""
    return np.asarray(keys)[Ring(np.asarray(groups), np.asarray(keys, np.uint64), weights).pick(asked, by)]


@light
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 5))
def test_a_pick_stays_in_its_group(seed, items, kinds):
    rng = np.random.default_rng(seed)
    groups = np.append(np.arange(kinds), rng.integers(0, kinds, items))
    ring = Ring(groups, rng.integers(0, 2**63, len(groups)).astype(np.uint64))
    asked = rng.integers(0, kinds, 200)
    np.testing.assert_array_equal(groups[ring.pick(asked, rng.integers(0, 2**63, 200).astype(np.uint64))], asked)


@light
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 3), st.booleans())
def test_one_item_more_changes_only_the_picks_it_wins(seed, items, kinds, weighted):
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 2**63, kinds + items + 1).astype(np.uint64)
    groups = np.append(np.arange(kinds), rng.integers(0, kinds, items + 1))
    weights = rng.uniform(0.1, 3, len(keys)) if weighted else None
    asked, by = rng.integers(0, kinds, 500), rng.integers(0, 2**63, 500).astype(np.uint64)
    without = picks(groups[:-1], keys[:-1], asked, by, None if weights is None else weights[:-1])
    place = np.append(rng.permutation(len(keys) - 1), len(keys) - 1)
    rng.shuffle(place)  # wherever the new one stands, and in whatever order the old ones come
    found = picks(groups[place], keys[place], asked, by, None if weights is None else weights[place])
    assert (found[found != without] == keys[-1]).all()


def test_a_new_item_wins_its_share():
    rng = np.random.default_rng(0)
    keys, by = rng.integers(0, 2**63, 101).astype(np.uint64), rng.integers(0, 2**63, 50_000).astype(np.uint64)
    asked = np.zeros(len(by), int)
    changed = picks(np.zeros(100, int), keys[:100], asked, by) != picks(np.zeros(101, int), keys, asked, by)
    assert 0.3 / 101 < changed.mean() < 2.5 / 101


def test_picks_are_in_proportion_to_weights():
    rng = np.random.default_rng(1)
    keys, by = rng.integers(0, 2**63, 900).astype(np.uint64), rng.integers(0, 2**63, 100_000).astype(np.uint64)
    weights = np.repeat([0.5, 1.0, 3.0], 300)
    index = Ring(np.zeros(900, int), keys, weights).pick(np.zeros(len(by), int), by)
    shares = np.bincount(index // 300, minlength=3) / len(by)
    np.testing.assert_allclose(shares, np.array([0.5, 1, 3]) / 4.5, atol=0.03)


def test_all_items_of_a_group_are_picked_about_alike():
    rng = np.random.default_rng(2)
    keys, by = rng.integers(0, 2**63, 50).astype(np.uint64), rng.integers(0, 2**63, 100_000).astype(np.uint64)
    counts = np.bincount(Ring(np.zeros(50, int), keys).pick(np.zeros(len(by), int), by), minlength=50)
    assert counts.min() > 0.3 * 2000 and counts.max() < 2.5 * 2000


def test_one_item_alone_is_always_picked():
    ring = Ring(np.array([3]), np.array([9], np.uint64), np.array([0.0]))
    assert (ring.pick(np.full(50, 3), np.arange(50, dtype=np.uint64)) == 0).all()


def test_no_picks_of_none():
    assert len(Ring(np.zeros(3, int), np.arange(3, dtype=np.uint64)).pick(np.zeros(0, int), np.zeros(0, np.uint64))) == 0

"""Which sample stands where: every sample its share, the same on any number of ranks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.errors import RequestError
from model.training.order import Order, Positions


@given(st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_of_equal_weights_is_a_permutation_and_the_next_is_another(count, seed):
    order = Order(np.ones(count), seed)
    epochs = [[order(epoch * count + place) for place in range(count)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert count < 8 or len({tuple(epoch) for epoch in epochs}) == 3


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=20), st.integers(0, 3))
def test_each_sample_is_drawn_its_share_of_an_epoch_rounded_down_or_up(weights, seed):
    order = Order(np.array(weights), seed)
    found = Counter(order(place) for place in range(len(weights)))
    for number, weight in enumerate(weights):
        share = weight / sum(weights) * len(weights)
        assert np.floor(share - 1e-9) <= found[number] <= np.ceil(share + 1e-9)


def test_over_many_epochs_shares_are_those_asked_for():
    order = Order(np.array([1.0, 2.0, 0.0, 5.0]), 3)
    found = Counter(order(place) for place in range(3 * 4000))
    assert found[2] == 0
    assert found[3] / found[0] == pytest.approx(5, rel=0.1)
    assert found[1] / found[0] == pytest.approx(2, rel=0.1)


def test_the_order_needs_no_history():
    there, back = Order(np.ones(7), 1), Order(np.ones(7), 1)
    assert [there(place) for place in range(21)] == [back(place) for place in reversed(range(21))][::-1]


def test_weights_that_leave_nothing_are_refused():
    with pytest.raises(RequestError, match="no sample"):
        Order(np.zeros(3), 0)


@given(st.sampled_from([1, 2, 3, 6]), st.sampled_from([1, 2]), st.integers(0, 4))
def test_ranks_share_out_what_one_would_take_in_equal_steps(ranks, turns, first):
    of_ranks = [list(Positions(first, 6, 12, turns, rank, ranks)) for rank in range(ranks)]
    assert {len(batches) for batches in of_ranks} == {(6 - first) * turns}
    for step in range(6 - first):
        taken = sorted(position for batches in of_ranks for batch in batches[step * turns : (step + 1) * turns] for position in batch)
        assert taken == list(range((first + step) * 12, (first + step + 1) * 12))

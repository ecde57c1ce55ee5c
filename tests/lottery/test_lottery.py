"""The algorithm itself, with training and pruning that can be done by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from lth_jax.lottery import rounds
from lth_jax.training import Start

THETA_0 = np.array([[1.0, -2.0, 3.0, -4.0]])


def saved(step=0):
  masks = {"w": jnp.ones((1, 4), bool), "b": None}
  params = {"w": jnp.asarray(THETA_0), "b": jnp.full(2, 0.5)}
  return Start(params, {"mean": jnp.zeros(1)}, jnp.int32(step), masks)


def make_train(diverged=()):
  """Fake training that adds 10 to what is kept; and a list of its calls."""
  calls = []

  def train(arm, index, start):
    calls.append((arm, index, start))
    params = {
      "w": start.params["w"] + 10 * start.masks["w"],
      "b": start.params["b"] + 1,
    }
    return rounds.Trained(
      params, {"mean": start.stats["mean"] + 1}, (arm, index) in diverged
    )

  return train, calls


def order(calls):
  return [(arm, index) for arm, index, _ in calls]


def prune(trained, masks, _):
  """Removes the last survivor; asks for trained weights of these masks."""
  assert ((np.asarray(trained["w"]) != 0) == np.asarray(masks["w"])).all()
  mask = np.array(masks["w"])
  mask[0, mask.sum() - 1] = False
  return {"w": jnp.asarray(mask), "b": None}


def prune_at_once(trained, masks, index):
  assert np.asarray(masks["w"]).all()
  mask = np.arange(4)[None] < 4 - index
  return {"w": jnp.asarray(mask), "b": None}


def check_starts(found, origin):
  """Every round starts from theta_0 under nested masks, one weight fewer."""
  for index, one in enumerate(found):
    assert one.index == index
    mask = np.arange(4)[None] < 4 - index
    np.testing.assert_array_equal(one.start.masks["w"], mask)
    np.testing.assert_array_equal(one.start.params["w"], THETA_0 * mask)
    np.testing.assert_array_equal(one.start.params["b"], origin.params["b"])
    np.testing.assert_array_equal(one.start.stats["mean"], 0)
    assert int(one.start.step) == int(origin.step)
    np.testing.assert_array_equal(
      one.trained.params["w"], (THETA_0 + 10) * mask
    )


@pytest.mark.parametrize("step", [0, 500])
def test_rounds_reset_the_survivors_every_time(step):
  (train, calls), origin = make_train(), saved(step)
  found = list(rounds.rounds(origin, train, prune, 3))
  assert order(calls) == [("ticket", index) for index in range(4)]
  check_starts(found, origin)


@pytest.mark.parametrize("step", [0, 500])
@pytest.mark.parametrize(
  ("series", "trained"),
  [(rounds.rounds, (10, 20, 30)), (rounds.one_shot_rounds, (10, 10, 10))],
)
def test_survivors_may_keep_their_trained_weights(series, trained, step):
  (train, _), origin = make_train(), saved(step)
  choose = prune if series is rounds.rounds else prune_at_once
  dense, *found = series(origin, train, choose, 3, keep_trained=True)
  np.testing.assert_array_equal(dense.start.params["w"], THETA_0)
  for one, moved in zip(found, trained, strict=True):
    expected = (THETA_0 + moved) * one.start.masks["w"]
    np.testing.assert_array_equal(one.start.params["w"], expected)
    assert int(one.start.step) == step


@pytest.mark.parametrize("step", [0, 500])
def test_one_shot_prunes_the_dense_network_to_every_density(step):
  (train, calls), origin = make_train(), saved(step)
  seen = []

  def at_once(trained, masks, index):
    np.testing.assert_array_equal(trained["w"], THETA_0 + 10)
    seen.append(index)
    return prune_at_once(trained, masks, index)

  found = list(rounds.one_shot_rounds(origin, train, at_once, 3))
  assert order(calls) == [("ticket", index) for index in range(4)]
  assert seen == [1, 2, 3]
  check_starts(found, origin)


@pytest.mark.parametrize("step", [0, 500])
def test_continued_rounds_search_on_and_reset_to_evaluate(step):
  (train, calls), origin = make_train(), saved(step)
  found = list(rounds.continued_rounds(origin, train, prune, 3))
  assert order(calls) == [
    ("ticket", 0),
    ("ticket", 1),
    ("search", 1),
    ("ticket", 2),
    ("search", 2),
    ("ticket", 3),  # no search: nothing is pruned after the last density
  ]
  check_starts(found, origin)
  for arm, index, start in calls:
    if arm == "search":
      mask = np.arange(4)[None] < 4 - index
      current = (THETA_0 + 10 * index) * mask  # trained on index times
      np.testing.assert_array_equal(start.params["w"], current)
      np.testing.assert_array_equal(start.params["b"], 0.5 + index)
      np.testing.assert_array_equal(start.stats["mean"], index)
      assert int(start.step) == step


ALL = (
  (rounds.rounds, prune),
  (rounds.one_shot_rounds, prune_at_once),
  (rounds.continued_rounds, prune),
)


@pytest.mark.parametrize("function, fake", ALL)
def test_no_rounds_are_the_dense_network(function, fake):
  train, calls = make_train()
  found = list(function(saved(), train, fake, 0))
  assert order(calls) == [("ticket", 0)]
  assert [one.index for one in found] == [0]


@pytest.mark.parametrize("function, fake", ALL)
def test_rounds_are_trained_as_they_are_asked_for(function, fake):
  train, calls = make_train()
  series = function(saved(), train, fake, 3)
  assert calls == []
  next(series)
  assert order(calls) == [("ticket", 0)]


@pytest.mark.parametrize("function, fake", ALL)
def test_a_dense_network_that_diverges_ends_every_series(function, fake):
  train, calls = make_train(diverged=[("ticket", 0)])
  found = list(function(saved(), train, fake, 3))
  assert [one.trained.diverged for one in found] == [True]
  assert order(calls) == [("ticket", 0)]


def test_a_ticket_that_diverges_is_shown_and_ends_its_series():
  train, _ = make_train(diverged=[("ticket", 2)])
  found = list(rounds.rounds(saved(), train, prune, 3))
  assert [one.trained.diverged for one in found] == [False, False, True]


def test_one_shot_tickets_diverge_each_for_itself():
  train, _ = make_train(diverged=[("ticket", 1)])
  found = list(rounds.one_shot_rounds(saved(), train, prune_at_once, 3))
  assert [one.trained.diverged for one in found] == [False, True, False, False]


def test_continued_rounds_end_with_their_search():
  train, calls = make_train(diverged=[("ticket", 1), ("search", 2)])
  found = list(rounds.continued_rounds(saved(), train, prune, 4))
  assert [one.index for one in found] == [0, 1, 2]
  assert order(calls)[-1] == ("search", 2)

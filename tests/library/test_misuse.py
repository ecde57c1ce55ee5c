"""Wrong arguments of every public function: one line that says what is meant.

The tables cross every function with every kind of mistake, so that a new
function needs one line here.
"""

import decimal
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lth_jax import masks as masks_lib
from lth_jax import optim, pruning, rewinding, scores


class Tensor:
  """Stands in for an array of another library, such as torch."""

  shape = (2, 3)
  dtype = object()

  def __repr__(self):
    return "tensor"  # no address, which pytest-xdist would not find again


KEY = jax.random.key(0)
W = jnp.arange(6.0).reshape(2, 3)
PARAMS = {"w": W - 2, "b": jnp.zeros(3)}
SCORES = {"w": W, "b": None}
MASK = jnp.ones((2, 3), bool)
MASKS = {"w": MASK, "b": None}


def update(masks):
  optimizer = optim.masked(optax.sgd(0.1))
  optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS, masks=masks)


OF_MASKS = {
  "check": lambda masks: masks_lib.check(masks, PARAMS),
  "apply": lambda masks: masks_lib.apply(PARAMS, masks),
  "map": lambda masks: masks_lib.map(lambda p, m: p, PARAMS, masks),
  "by_name": masks_lib.by_name,
  "num_kept": masks_lib.num_kept,
  "density": masks_lib.density,
  "density_by_name": masks_lib.density_by_name,
  "intersection": lambda masks: masks_lib.intersection(masks, MASKS),
  "union": lambda masks: masks_lib.union(MASKS, masks),
  "difference": lambda masks: masks_lib.difference(MASKS, masks),
  "overlap": lambda masks: masks_lib.overlap(masks, MASKS),
  "hamming": lambda masks: masks_lib.hamming(MASKS, masks),
  "permute": lambda masks: masks_lib.permute(KEY, masks),
  "pack": masks_lib.pack,
  "prune": lambda masks: pruning.prune(SCORES, masks, 0.2),
  "keep": lambda masks: pruning.keep(SCORES, masks, {"w": 1}),
  "fractions": lambda masks: pruning.fractions(masks, [(".", 0.2)]),
  "count_schedule": lambda masks: pruning.count_schedule(masks, 0.2, 1),
  "density_schedule": lambda masks: pruning.density_schedule(masks, 0.2, 1),
  "rewind": lambda masks: rewinding.rewind(PARAMS, masks),
  "reinitialize": lambda masks: rewinding.reinitialize(
    KEY, lambda key: PARAMS, masks
  ),
  "masked": update,
  "project": lambda masks: optim.project(optax.sgd(0.1), masks),
}


@pytest.mark.parametrize("function", OF_MASKS)
@pytest.mark.parametrize(
  ("masks", "given"),
  [
    (None, "a NoneType, hold no mask"),
    ({}, "a dict, hold no mask"),
    ({"w": None, "b": None}, "a dict, hold no mask"),
    (0.2, "'' is float"),
    (KEY, "'' is key"),
    (PARAMS, "is float32"),
    ({"w": True}, "'w' is bool"),
    ({"w": "yes"}, "'w' is str"),
    ({"w": np.ones((2, 3), int)}, "'w' is int64"),
    ({"w": Tensor()}, "'w' is a .*Tensor"),
  ],
)
def test_what_is_no_mask_is_named(function, masks, given):
  with pytest.raises((ValueError, TypeError), match=given):
    OF_MASKS[function](masks)


OF_TWO_TREES = {
  "check": lambda tree: masks_lib.check(MASKS, tree),
  "apply": lambda tree: masks_lib.apply(tree, MASKS),
  "map": lambda tree: masks_lib.map(lambda p, m: p, tree, MASKS),
  "by_name": lambda tree: masks_lib.by_name(MASKS, tree),
  "unpack": lambda tree: masks_lib.unpack(masks_lib.pack(MASKS), tree),
  "prune": lambda tree: pruning.prune(tree, MASKS, 0.2),
  "keep": lambda tree: pruning.keep(tree, MASKS, {"w": 1}),
  "rewind": lambda tree: rewinding.rewind(tree, MASKS),
  "reinitialize": lambda tree: rewinding.reinitialize(
    KEY, lambda key: tree, MASKS
  ),
}


@pytest.mark.parametrize("function", OF_TWO_TREES)
@pytest.mark.parametrize(
  "tree",
  [
    *(None, {}, 0.2, [W], {"v": W}, {"w": None}, {"w": "yes"}, {"w": 1.0}),
    *({"w": W.T}, {"w": W.ravel()}, {"w": W[0]}, {"w": {"w": W}}),
    {"w": Tensor()},
  ],
)
def test_another_tree_than_that_of_the_masks_is_an_error(function, tree):
  with pytest.raises((ValueError, TypeError), match="'w'"):
    OF_TWO_TREES[function](tree)


@pytest.mark.parametrize(
  "function",
  [
    masks_lib.full,
    scores.magnitude,
    lambda params: scores.random(KEY, params),
  ],
)
def test_arrays_of_another_library_are_not_passed_over(function):
  with pytest.raises(TypeError, match=r"'v' is a .*Tensor.*convert"):
    function({"w": W, "v": Tensor()})


OF_RATES = {
  "prune": lambda rate: pruning.prune(SCORES, MASKS, rate),
  "global": lambda rate: pruning.prune(SCORES, MASKS, rate, scope="global"),
  "one_shot": lambda rate: pruning.one_shot(rate, 2),
  "count_schedule": lambda rate: pruning.count_schedule(MASKS, rate, 1),
  "density_schedule": lambda rate: pruning.density_schedule(MASKS, rate, 1),
  "num_removed": lambda rate: pruning.num_removed(5, rate),
  "num_removed of arrays": lambda rate: pruning.num_removed(
    jnp.arange(5), rate
  ),
  "fractions": lambda rate: pruning.fractions(MASKS, [("w", rate)]),
}
OUTSIDE = [20, 1, 1.0, -0.1, math.nan, math.inf, np.float32(20)]
NO_NUMBER = [
  *("0.2", b"0.2", decimal.Decimal("0.2"), None, True, False, 1j, {}, ()),
  *(Tensor(), np.array("0.2"), np.array([0.2, 0.3]), np.array(True)),
]


TREES = {"by leaf " + name: OF_RATES[name] for name in list(OF_RATES)[:5]}


@pytest.mark.parametrize("function", [*OF_RATES, *TREES])
@pytest.mark.parametrize("rate", OUTSIDE + NO_NUMBER, ids=repr)
def test_a_rate_is_a_number_below_one(function, rate):
  with pytest.raises((ValueError, TypeError), match=r"rate|fraction"):
    if function in TREES:
      TREES[function]({"w": rate, "b": None})
    else:
      OF_RATES[function](rate)


@pytest.mark.parametrize(
  ("rules", "given"),
  [
    ({"w0": 0.3}, "a dict"),
    (None, "a NoneType"),
    (0.2, "a float"),
    ("w0", "'w' is no"),
    (["w0"], "'w0' is no"),
    ([("w",)], r"\('w',\) is no"),
    ([(b"w", 0.2)], "b'w' is no"),
    ([(None, 0.2)], "None is no"),
    ([(0.2, "w")], "0.2 is no"),
    ([], "no rule matches leaf 'w1'"),
    ([("v", 0.2)], "no rule matches leaf 'w1'"),
    ([(".", 0.2), ("w", 0.1)], "rule 'w' decides no leaf"),
    ([("w(", 0.2)], r"rule 'w\(' is no regular expression"),
    ([("w1", 0.2), (".", 0.1)], "'w1' matches only a part of a number"),
  ],
)
def test_rules_are_pairs_of_a_pattern_and_a_rate(rules, given):
  with pytest.raises((ValueError, TypeError), match=given):
    pruning.fractions({"w1": MASK, "w12": MASK, "b": None}, rules)


@pytest.mark.parametrize("rounds", [1.5, 2.0, "3", None, -1, {}, 0.2])
@pytest.mark.parametrize(
  "function",
  [
    lambda rounds: pruning.one_shot(0.2, rounds),
    lambda rounds: pruning.count_schedule(MASKS, 0.2, rounds),
    lambda rounds: pruning.density_schedule(MASKS, 0.2, rounds),
  ],
)
def test_rounds_are_a_number_of_rounds(function, rounds):
  with pytest.raises((ValueError, TypeError), match=r"rounds: must be"):
    function(rounds)


@pytest.mark.parametrize(
  "kept",
  [True, 5.7, None, "5", np.array([0.5]), np.array([True]), [5], Tensor()],
)
def test_counts_are_integers(kept):
  with pytest.raises(TypeError, match="no integers"):
    pruning.num_removed(kept, 0.2)


def test_counts_beyond_int32_do_not_wrap():
  with pytest.raises(ValueError, match="int32"):
    pruning.num_removed(np.array([2**31 + 5]), 0.2)
  with pytest.raises(ValueError, match="-5 is negative"):
    pruning.num_removed(-5, 0.2)


@pytest.mark.parametrize(
  ("call", "given"),
  [
    (lambda: pruning.prune(MASKS, SCORES, 0.2), "'w' is float32, not a bool"),
    (lambda: pruning.prune(SCORES, 0.2, MASKS), "is float, not a bool"),
    (lambda: pruning.prune(MASKS, MASKS, 0.2), "'w' are bool, not real floats"),
    (lambda: pruning.prune(PARAMS, MASKS, 0.2), "'w'.*negative.*magnitude"),
    (lambda: pruning.prune({"w": 1j * W}, MASKS, 0.2), "'w' are complex64"),
    (lambda: pruning.prune({"w": W / 0}, MASKS, 0.2), "'w' of kept .* NaN"),
    (lambda: pruning.prune(SCORES, MASKS, {"v": 0.2}), "'v'"),
    (lambda: pruning.prune(SCORES, MASKS, {"w": None}), "'w', fractions have"),
    (
      lambda: pruning.prune([W, W], [MASK] * 2, [0.1, 0.2], scope="global"),
      r"one nonzero rate, not \[0.1, 0.2\]",
    ),
    (lambda: pruning.prune(SCORES, MASKS, [0.2]), "'0'"),
    (lambda: pruning.prune(SCORES, MASKS, 0.2, scope=None), "scope None"),
    (lambda: pruning.one_shot(3, 0.2), "0.2 rounds"),
    (lambda: pruning.one_shot(0.5, 100), "leaves nothing after 100 rounds"),
    (lambda: pruning.fractions([("w", 0.2)], MASKS), "'0/0' is str"),
    (lambda: masks_lib.full(MASKS), r"no prunable leaf among \['w'\]"),
    (lambda: masks_lib.full(None), "no prunable leaf"),
    (lambda: masks_lib.full(PARAMS, prunable="w"), "'w', not a function"),
    (lambda: masks_lib.check(PARAMS, MASKS), "float32, not a bool"),
    (lambda: masks_lib.permute(MASKS, KEY), "key.*not a bool"),
    (lambda: masks_lib.permute(KEY, MASKS, scope="all"), "'layer' or 'global'"),
    (lambda: masks_lib.unpack(MASKS, PARAMS), "'w' is a .*not from pack"),
    (lambda: masks_lib.unpack({}, PARAMS), "no packed mask"),
    (lambda: rewinding.reinitialize(dict, KEY, MASKS), "init is a .*function"),
    (lambda: scores.random(PARAMS, KEY), "key.*dict"),
    (lambda: scores.random(W, KEY), "key"),
    (lambda: scores.random(0, PARAMS), "PRNG key.*0"),
    (lambda: optim.masked(MASKS), "a dict, not an optax optimizer"),
    (lambda: optim.masked(optax.adam), "a function, not an optax optimizer"),
    (lambda: optim.project(MASKS, optax.sgd(0.1)), "a dict, not an optax"),
    (lambda: optim.create("sdg"), "'sdg': use one of adam, sgd, momentum, nes"),
  ],
)
def test_swapped_and_other_arguments(call, given):
  with pytest.raises((ValueError, TypeError), match=given):
    call()


@pytest.mark.parametrize("shape", [(6,), (3, 2), (2, 4), (1, 6), (2, 3, 1)])
def test_packed_masks_keep_their_shape(shape):
  with pytest.raises(ValueError, match=r"'w' has shape \(2, 3\)"):
    masks_lib.unpack(masks_lib.pack(MASKS), {"w": jnp.ones(shape)})


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_no_rate_empties_what_is_ranked_together(scope):
  with pytest.raises(ValueError, match=r"all 6 weights of \['w'\]"):
    pruning.prune(SCORES, MASKS, 0.95, scope=scope)
  empty = {"w": jnp.zeros((2, 3), bool)}
  assert not pruning.prune(SCORES, empty, 0.95, scope=scope)["w"].any()

"""Every public transformation of optax as installed, inside and around ours."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lth_jax import masks as masks_lib
from lth_jax import optim

# Optax's own: names on their way out, and scalars of one axis.
pytestmark = [
  pytest.mark.filterwarnings("ignore::DeprecationWarning"),
  pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def rank_promotion():
  with jax.numpy_rank_promotion("allow"):
    yield


PARAMS = {
  "v": jnp.array([[0.5, -0.25, 7.0], [-0.0, 0.0, 2.0]]),
  "w": jnp.array([[1.5, -2.0, 0.75], [3.0, -1.0, 1.25]]),
  "b": jnp.array([0.1, 0.2]),
}
MASKS = {
  "v": jnp.array([[True, True, False], [False, False, True]]),
  "w": jnp.array([[False, True, True], [True, False, True]]),
  "b": None,
}


def loss(params):
  hidden = jnp.tanh(params["w"] @ params["v"].T + params["b"][None])
  return jnp.mean((hidden - 0.3) ** 2)


def labels(params):
  return {name: "one" if name == "w" else "two" for name in params}


def arguments(inner):
  """For required parameters of all transformations, by name."""
  return {
    "adv_optimizer": optax.sgd(0.1),
    "clipping": 0.1,
    "decay": 0.9,
    "eta": 0.1,
    "f": lambda updates, params: jax.tree.map(lambda u: -0.1 * u, updates),
    "freeze_mask": jax.tree.map(lambda _: False, PARAMS),
    "gamma": 0.5,
    "key": jax.random.key(0),
    "l2_norm_clip": 1.0,
    "learning_rate": 0.01,
    "mask": jax.tree.map(lambda p: p.ndim > 1, PARAMS),
    "max_backtracking_steps": 3,
    "max_consecutive_errors": 2,
    "max_delta": 0.1,
    "max_linesearch_steps": 3,
    "max_norm": 0.1,
    "measure": lambda updates, *args, **extra: optax.tree.norm(updates),
    "measure_name": "norm",
    "noise_multiplier": 0.1,
    "param_labels": labels,
    "seed": 0,
    "should_transform_fn": lambda step, **extra: step % 2 == 0,
    "slow_step_size": 0.5,
    "step_size": -0.1,
    "step_size_fn": lambda step: -0.1,
    "sync_period": 2,
    "threshold": 0.1,
    "transforms": {"one": inner, "two": inner},
  } | dict.fromkeys(
    ("inner", "fast_optimizer", "optimizer", "base_optimizer", "tx"), inner
  )


def is_transformation(function):
  # Some that have no annotation are in the table of names.
  made = inspect.signature(function).return_annotation
  names = {"dog", "dowg", "scale_by_factored_rms"}
  return "GradientTransformation" in str(made) or function.__name__ in names


ALL = {
  name: function
  for module in (optax, optax.contrib)
  for name, function in inspect.getmembers(module, inspect.isfunction)
  if is_transformation(function) and not name.startswith("_")
} | {"MultiSteps": lambda inner: optax.MultiSteps(inner, 2)}
# Its updates are a measurement, and the other needs axes named for each leaf.
NO_OPTIMIZER = {"measure_with_ema", "scale_by_muon"}


def build(name, inner):
  """The transformation of a name, around `inner` where it is a wrapper."""
  match name:
    case "chain":
      return optax.chain(optax.clip(0.5), inner)
    case "named_chain":
      return optax.named_chain(("clip", optax.clip(0.5)), ("inner", inner))
    case "inject_hyperparams" | "inject_stateful_hyperparams":
      return ALL[name](lambda: inner)()
    case "stateless_with_tree_map":
      return ALL[name](lambda update, param: -0.1 * update)
  required = [
    parameter.name
    for parameter in inspect.signature(ALL[name]).parameters.values()
    if parameter.default is parameter.empty
  ]
  return ALL[name](**{key: arguments(inner)[key] for key in required})


def gradients(name, params):
  """Gradients, and what the update of this optimizer takes besides."""
  grads = jax.grad(loss)(params)
  if name in ("dpsgd", "differentially_private_aggregate"):  # of two examples
    return jax.tree.map(lambda g: jnp.stack([g, -2 * g]), grads), {}
  if name in ("sam", "sophia"):
    return grads, {"obj_fn": loss} if name == "sophia" else {}
  return grads, {"value": loss(params), "grad": grads, "value_fn": loss}


def assert_frozen(before, after):
  """Bits of pruned weights, of both trees of lookahead."""
  for one, other in zip(
    jax.tree.leaves(before, is_leaf=lambda x: isinstance(x, dict)),
    jax.tree.leaves(after, is_leaf=lambda x: isinstance(x, dict)),
    strict=True,
  ):
    for name in ("v", "w"):
      pruned = ~np.asarray(MASKS[name])
      old, new = np.asarray(one[name]), np.asarray(other[name])
      assert old[pruned].tobytes() == new[pruned].tobytes()


@pytest.mark.parametrize("name", sorted(ALL.keys() - NO_OPTIMIZER))
def test_masked_freezes_under_all_of_optax(name):
  """Also with the state of a dense step, such as its momentum."""
  optimizer = optim.masked(build(name, optax.sgd(0.1, 0.9)))
  params = PARAMS
  if name == "lookahead":
    params = optax.LookaheadParams.init_synced(PARAMS)
  state = optimizer.init(params)
  for masks in (masks_lib.full(PARAMS), MASKS, MASKS):
    before = params
    fast = params.fast if name == "lookahead" else params
    grads, extra = gradients(name, fast)
    updates, state = optimizer.update(
      grads, state, params, masks=masks, **extra
    )
    params = optax.apply_updates(params, updates)
  assert_frozen(before, params)


def keep(how, inner):
  return optim.masked(inner) if how == "masked" else optim.project(inner, MASKS)


def train(how, optimizer, params):
  if isinstance(optimizer, optax.GradientTransformation):  # not MultiSteps
    optimizer = optax.with_extra_args_support(optimizer)
  state = optimizer.init(params)
  for _ in range(3):
    grads = jax.grad(loss)(getattr(params, "fast", params))
    extra = {"masks": MASKS} if how == "masked" else {}
    updates, state = optimizer.update(grads, state, params, **extra)
    params = optax.apply_updates(params, updates)
  return params


BOTH = (
  *("MultiSteps", "apply_if_finite", "chain", "conditionally_mask"),
  *("inject_hyperparams", "inject_stateful_hyperparams", "masked", "mechanize"),
  *("multi_transform", "named_chain", "partition", "schedule_free"),
  *("selective_transform", "with_extra_args_support"),
)


@pytest.mark.parametrize(
  ("name", "how"),
  [
    *itertools.product(BOTH, ("masked", "project")),
    ("lookahead", "project"),
  ],
)
def test_wrappers_around_keep_pruned_weights_at_zero(name, how):
  params = masks_lib.apply(PARAMS, MASKS)
  if name == "lookahead":
    params = optax.LookaheadParams.init_synced(params)
  trained = train(how, build(name, keep(how, optax.sgd(0.1, 0.9))), params)
  assert_frozen(params, trained)
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), params, trained)
  assert any(jax.tree.leaves(moved))


@pytest.mark.parametrize(
  ("name", "how"),
  [("flatten", "masked"), ("flatten", "project"), ("lookahead", "masked")],
)
def test_wrappers_that_cannot_be_around_say_so(name, how):
  params = PARAMS
  if name == "lookahead":
    params = optax.LookaheadParams.init_synced(PARAMS)
  optimizer = build(name, keep(how, optax.sgd(0.1)))
  with pytest.raises(ValueError, match=rf"{name}.*inside masked"):
    train(how, optimizer, params)


@pytest.mark.parametrize("name", ["lookahead", "MultiSteps", "flatten"])
def test_project_removes_weights_under_wrappers(name):
  params = PARAMS
  if name == "lookahead":
    params = optax.LookaheadParams.init_synced(PARAMS)
  optimizer = optim.project(build(name, optax.adam(0.1)), MASKS)
  trained = train("project", optimizer, params)
  removed = jax.tree.map(jnp.abs, trained)
  zero = jax.tree.map(jnp.zeros_like, params)
  assert_frozen(zero, removed)


def test_averaged_weights_of_a_dense_run_are_pruned_too():
  inner = optax.contrib.schedule_free_adamw(0.1, weight_decay=0.1)
  optimizer = optim.masked(inner)
  params, state = PARAMS, optimizer.init(PARAMS)
  for masks in (masks_lib.full(PARAMS), MASKS):
    params = masks_lib.apply(params, masks)
    grads = jax.grad(loss)(params)
    updates, state = optimizer.update(grads, state, params, masks=masks)
    params = optax.apply_updates(params, updates)
  averaged = optax.contrib.schedule_free_eval_params(state, params)
  assert_frozen(jax.tree.map(jnp.zeros_like, PARAMS), averaged)
  assert (averaged["w"] != params["w"]).any()


def test_groups_of_a_partition_may_have_no_mask():
  optimizer = optax.partition(
    {axes: optim.masked(optax.adam(0.1)) for axes in (1, 2)},
    lambda params: jax.tree.map(jnp.ndim, params),
  )
  trained = train("masked", optimizer, PARAMS)
  assert_frozen(PARAMS, trained)
  assert (trained["b"] != PARAMS["b"]).all()

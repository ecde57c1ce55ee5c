"""What is prunable by default, layer by layer of four libraries.

The table names the weights of every public layer. A layer that a library adds
fails the first test until the table has it.
"""

import inspect
import warnings

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lth_jax import masks as masks_lib

KEY = jax.random.key(0)
X = jnp.ones((2, 6, 4))
IMAGES = jnp.ones((1, 32, 32, 3))
TOKENS = jnp.ones((2,), int)


def kernels(*layers):
  return " ".join(f"{layer}/kernel" for layer in layers)


def gates(letters):
  """Kernels of a recurrent Linen cell, of its inputs and its hidden state."""
  return kernels(*(f"cell/{side}{gate}" for side in "ih" for gate in letters))


def two_ways(names):
  ways = "forward_rnn", "backward_rnn"
  return kernels(*(f"{way}/cell/{name}" for way in ways for name in names))


ATTENTION = kernels("key", "out", "query", "value")


def linen(module, inputs=X):
  return jax.eval_shape(module.init, KEY, inputs)["params"]


class Spectral(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.SpectralNorm(nn.Dense(3))(x, update_stats=True)


# Of each layer its arguments, or a function that makes its params; and the
# names of its weights.
LINEN = {
  "Bidirectional": (
    [nn.RNN(nn.SimpleCell(3)), nn.RNN(nn.SimpleCell(3))],
    two_ways("hi"),
  ),
  "BatchNorm": (lambda: linen(nn.BatchNorm(False, axis=(-2, -1))), ""),
  "Conv": ([3, (3,)], "kernel"),
  "ConvLSTMCell": (
    lambda: linen(
      nn.RNN(nn.ConvLSTMCell(3, (3,))), inputs=jnp.ones((2, 6, 4, 3))
    ),
    kernels("cell/hh", "cell/ih"),
  ),
  "ConvLocal": ([3, (3,)], "kernel"),
  "ConvTranspose": ([3, (3,)], "kernel"),
  "Dense": ([3], "kernel"),
  "DenseGeneral": ([(3, 2), (-2, -1)], "kernel"),
  "Einsum": ([(4, 2, 3), "...a,abc->...bc"], "kernel"),
  "Embed": (lambda: linen(nn.Embed(5, 3), TOKENS), "embedding"),
  "GRUCell": (lambda: linen(nn.RNN(nn.GRUCell(3))), gates("nrz")),
  "GroupNorm": ([2], ""),
  "InstanceNorm": ([], ""),
  "LSTMCell": (lambda: linen(nn.RNN(nn.LSTMCell(3))), gates("fgio")),
  "LayerNorm": (lambda: linen(nn.LayerNorm(feature_axes=(-2, -1))), ""),
  "MGUCell": (lambda: linen(nn.RNN(nn.MGUCell(3))), gates("fn")),
  "MultiHeadAttention": (
    lambda: linen(nn.MultiHeadAttention(2, normalize_qk=True)),
    ATTENTION,
  ),
  "MultiHeadDotProductAttention": ([2], ATTENTION),
  "OptimizedLSTMCell": (
    lambda: linen(nn.RNN(nn.OptimizedLSTMCell(3))),
    gates("fgio"),
  ),
  "PReLU": ([], ""),
  "RMSNorm": ([], ""),
  "RNN": ([nn.SimpleCell(3)], kernels("cell/h", "cell/i")),
  "SelfAttention": ([2], ATTENTION),
  "Sequential": ([[nn.Dense(3)]], "layers_0/kernel"),
  "SimpleCell": (
    lambda: linen(nn.RNN(nn.SimpleCell(3))),
    kernels("cell/h", "cell/i"),
  ),
  "SpectralNorm": (lambda: linen(Spectral()), "Dense_0/kernel"),
  "WeightNorm": ([nn.Dense(3)], "layer_instance/kernel"),
}
LINEN_WITHOUT = {
  *("Dropout", "Module", "RNNCellBase", "Fp8DirectDotGeneralOp", "Fp8Einsum"),
  *("Fp8DotGeneral", "Fp8DotGeneralOp", "NANOOFp8DotGeneralOp"),
}


def rngs():
  return nnx.Rngs(0)


def nnx_linear():
  return nnx.Linear(4, 3, rngs=rngs())


def simple_rnn():
  return nnx.RNN(nnx.SimpleCell(4, 3, rngs=rngs()), rngs=rngs())


BOTH = kernels("dense_h", "dense_i")
NNX = {
  "BatchNorm": ([4], ""),
  "Bidirectional": (
    lambda: nnx.Bidirectional(simple_rnn(), simple_rnn(), rngs=rngs()),
    two_ways(("dense_h", "dense_i")),
  ),
  "Conv": ([4, 3, (3,)], "kernel"),
  "ConvTranspose": ([4, 3, (3,)], "kernel"),
  "Dict": (lambda: nnx.Dict(a=nnx_linear()), "a/kernel"),
  "Einsum": (["...a,abc->...bc", (4, 2, 3), (2, 3)], "kernel"),
  "Embed": ([5, 3], "embedding"),
  "GRUCell": ([4, 3], BOTH),
  "GroupNorm": ([4, 2], ""),
  "InstanceNorm": ([4], ""),
  "LSTMCell": (
    [4, 3],
    kernels("hf", "hg", "hi", "ho", "if_", "ig", "ii", "io"),
  ),
  "LayerNorm": ([4], ""),
  "Linear": ([4, 3], "kernel"),
  "LinearGeneral": ([(4,), (2, 3)], "kernel"),
  "List": (lambda: nnx.List([nnx_linear()]), "0/kernel"),
  "LoRA": ([4, 2, 3], "lora_a lora_b"),
  "LoRALinear": (
    lambda: nnx.LoRALinear(4, 3, lora_rank=2, rngs=rngs()),
    "kernel lora/lora_a lora/lora_b",
  ),
  "MultiHeadAttention": (
    lambda: nnx.MultiHeadAttention(
      2, 4, normalize_qk=True, decode=False, rngs=rngs()
    ),
    ATTENTION,
  ),
  "OptimizedLSTMCell": ([4, 3], BOTH),
  "PReLU": (nnx.PReLU, ""),
  "RMSNorm": ([4], ""),
  "RNN": (simple_rnn, kernels("cell/dense_h", "cell/dense_i")),
  "Sequential": (lambda: nnx.Sequential(nnx_linear()), "layers/0/kernel"),
  "SimpleCell": ([4, 3], BOTH),
  "SpectralNorm": (
    lambda: nnx.SpectralNorm(nnx_linear(), rngs=rngs()),
    "layer_instance/kernel",
  ),
  "WeightNorm": (
    lambda: nnx.WeightNorm(nnx_linear(), rngs=rngs()),
    "layer_instance/kernel",
  ),
}
NNX_WITHOUT = {"Dropout", "Module", "RNNCellBase", "RoPE"}  # RoPE is of 0.12.12


def haiku(call, inputs=X):
  init = hk.transform_with_state(call).init
  return jax.eval_shape(init, KEY, inputs)[0]


def haiku_cell(cell, *arguments):
  def call(x):
    core = cell(*arguments)
    return core(x[0], core.initial_state(6))

  return haiku(call)


def conv_lstm(x):
  core = hk.Conv1DLSTM((6,), 3, 3)
  return core(x, core.initial_state(2))


def haiku_attention(x):
  spread = hk.initializers.VarianceScaling()
  return hk.MultiHeadAttention(2, 3, w_init=spread)(x, x, x)


def layer_norm(x):
  return hk.LayerNorm((1, 2), True, True, param_axis=(1, 2))(x)


HAIKU = {
  "BatchNorm": (
    lambda: haiku(lambda x: hk.BatchNorm(True, True, 0.9)(x, True)),
    "",
  ),
  "Bias": ([], ""),
  "Conv1D": ([3, 3], "conv1_d/w"),
  "Conv1DLSTM": (
    lambda: haiku(conv_lstm),
    "conv1_dlstm/hidden_to_hidden/w conv1_dlstm/input_to_hidden/w",
  ),
  "Conv1DTranspose": ([3, 3], "conv1_d_transpose/w"),
  "DepthwiseConv1D": ([3, 3], "depthwise_conv1_d/w"),
  "DepthwiseConv2D": (
    lambda: haiku(lambda x: hk.DepthwiseConv2D(2, 3)(x), IMAGES),
    "depthwise_conv2_d/w",
  ),
  "Embed": (
    lambda: haiku(lambda x: hk.Embed(5, 3)(x), TOKENS),
    "embed/embeddings",
  ),
  "GRU": (lambda: haiku_cell(hk.GRU, 3), "gru/w_h gru/w_i"),
  "GroupNorm": ([2], ""),
  "InstanceNorm": ([True, True], ""),
  "LSTM": (lambda: haiku_cell(hk.LSTM, 3), "lstm/linear/w"),
  "LayerNorm": (lambda: haiku(layer_norm), ""),
  "Linear": ([3], "linear/w"),
  "MultiHeadAttention": (
    lambda: haiku(haiku_attention),
    "multi_head_attention/key/w multi_head_attention/linear/w "
    "multi_head_attention/query/w multi_head_attention/value/w",
  ),
  "RMSNorm": ([-1], ""),
  "SeparableDepthwiseConv2D": (
    lambda: haiku(lambda x: hk.SeparableDepthwiseConv2D(2, (3, 3))(x), IMAGES),
    "separable_depthwise_conv2_d/~/depthwise_conv2_d/w "
    "separable_depthwise_conv2_d/~/depthwise_conv2_d_1/w",
  ),
  "VanillaRNN": (
    lambda: haiku_cell(hk.VanillaRNN, 3),
    "vanilla_rnn/linear/w vanilla_rnn/linear_1/w",
  ),
  "VectorQuantizer": (
    lambda: haiku(lambda x: hk.nets.VectorQuantizer(4, 5, 0.1)(x, True)),
    "vector_quantizer/embeddings",
  ),
}
# Bases, containers, states, and the same layer for other ranks.
HAIKU_WITHOUT = {
  *("AvgPool", "MaxPool", "Flatten", "Reshape", "Sequential", "Module"),
  *("EMAParamsTree", "ExponentialMovingAverage", "SNParamsTree"),
  *("SpectralNorm", "DeepRNN", "IdentityCore", "ResetCore", "RNNCore"),
  *("Conv2D", "Conv3D", "ConvND", "Conv2DTranspose", "Conv3DTranspose"),
  *("ConvNDTranspose", "DepthwiseConv3D", "Conv2DLSTM", "Conv3DLSTM"),
}


def linear():
  return eqx.nn.Linear(4, 3, key=KEY)


def with_biases():
  used = ("query", "key", "value", "output")
  biases = {f"use_{name}_bias": True for name in used}
  return eqx.nn.MultiheadAttention(2, 4, **biases, key=KEY)


def shared():
  return eqx.nn.Shared(
    (eqx.nn.Embedding(5, 4, key=KEY), eqx.nn.Linear(4, 5, key=KEY)),
    lambda pair: pair[1].weight,
    lambda pair: pair[0].weight,
  )


EQUINOX = {
  "BatchNorm": (lambda: eqx.nn.BatchNorm(4, "b", mode="batch"), ""),
  "Conv": ([2, 1, 4, 3], "weight"),
  **{f"Conv{n}d": ([1, 4, 3], "weight") for n in (1, 2, 3)},
  "ConvTranspose": ([2, 1, 4, 3], "weight"),
  **{f"ConvTranspose{n}d": ([1, 4, 3], "weight") for n in (1, 2, 3)},
  "Embedding": ([5, 3], "weight"),
  "GRUCell": ([4, 3], "weight_ih weight_hh"),
  "GroupNorm": (lambda: eqx.nn.GroupNorm(2, 4), ""),
  "LSTMCell": ([4, 3], "weight_ih weight_hh"),
  "LayerNorm": (lambda: eqx.nn.LayerNorm((3, 4)), ""),
  "Linear": (linear, "weight"),
  "MLP": ([3, 2, 4, 1], "layers/0/weight layers/1/weight"),
  "MultiheadAttention": (
    with_biases,
    "query_proj/weight key_proj/weight value_proj/weight output_proj/weight",
  ),
  "PReLU": (eqx.nn.PReLU, ""),
  "RMSNorm": (lambda: eqx.nn.RMSNorm((3, 4)), ""),
  "Sequential": (lambda: eqx.nn.Sequential([linear()]), "layers/0/weight"),
  "Shared": (shared, "pytree/0/weight"),
  "SpectralNorm": (
    lambda: eqx.nn.SpectralNorm(linear(), "weight", key=KEY),
    "layer/weight",
  ),
  "WeightNorm": (lambda: eqx.nn.WeightNorm(linear(), "weight"), "layer/weight"),
}
EQUINOX_WITHOUT = {
  *(f"Adaptive{kind}Pool{n}d" for kind in ("Avg", "Max") for n in (1, 2, 3)),
  *(f"{kind}Pool{n}d" for kind in ("Avg", "Max") for n in (1, 2, 3)),
  *("AdaptivePool", "Pool", "Dropout", "Identity", "Lambda"),
  *("RotaryPositionalEmbedding", "StateIndex", "StatefulLayer"),
}

LIBRARIES = {
  "linen": (nn, nn.Module, LINEN, LINEN_WITHOUT),
  "nnx": (nnx, nnx.Module, NNX, NNX_WITHOUT),
  "haiku": (hk, hk.Module, HAIKU, HAIKU_WITHOUT),
  "equinox": (eqx.nn, eqx.Module, EQUINOX, EQUINOX_WITHOUT),
}
MAKE = {
  "linen": lambda layer, arguments: linen(layer(*arguments)),
  "nnx": lambda layer, arguments: layer(*arguments, rngs=rngs()),
  "haiku": lambda layer, arguments: haiku(lambda x: layer(*arguments)(x)),
  "equinox": lambda layer, arguments: layer(*arguments, key=KEY),
}
LAYERS = [
  (library, name) for library, row in LIBRARIES.items() for name in row[2]
]


def params_of(library, name):
  """Params without numbers, which would be compiled."""
  module, _, table, _ = LIBRARIES[library]
  made, _ = table[name]

  def build():
    if callable(made):
      return made()
    return MAKE[library](getattr(module, name), made)

  evaluate = {"nnx": nnx.eval_shape, "equinox": eqx.filter_eval_shape}
  return evaluate[library](build) if library in evaluate else build()


def prunable(tree):
  try:
    masks = jax.eval_shape(lambda: masks_lib.full(tree))
    return sorted(masks_lib.by_name(masks))
  except ValueError as error:
    assert "no prunable leaf" in str(error)
    return []


def stack(tree):
  """A new first axis for each array, as nn.scan and vmap make."""
  return jax.tree.map(
    lambda leaf: (
      np.zeros((2, *leaf.shape), leaf.dtype) if is_float(leaf) else leaf
    ),
    tree,
  )


def is_float(leaf):
  return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_table_has_every_public_layer(library):
  module, base, table, without = LIBRARIES[library]
  public = {
    name
    for name, member in vars(module).items()
    if inspect.isclass(member) and issubclass(member, base)
    if not name.startswith("_")
  }
  extra = {"VectorQuantizer"} if library == "haiku" else set()
  assert (public | extra) - without == set(table)


@pytest.mark.parametrize(("library", "name"), LAYERS)
def test_weights_are_prunable_and_nothing_else(library, name):
  weights = LIBRARIES[library][2][name][1]
  with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    params = params_of(library, name)  # SelfAttention is deprecated
  views = [params]
  if isinstance(params, nnx.Module):
    state = nnx.state(params, nnx.Param)
    views += [nnx.state(params), state, nnx.to_pure_dict(state)]
  for view in views:
    for tree in (view, stack(view), stack(stack(view))):
      assert prunable(tree) == sorted(weights.split())


def test_a_scanned_network_and_a_vmapped_layer_lose_no_scale():
  class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
      x = nn.LayerNorm()(x)
      return x + nn.MultiHeadAttention(2)(x), None

  scanned = nn.scan(
    Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
  )
  names = prunable(jax.eval_shape(scanned().init, KEY, X, None)["params"])
  assert names == [f"MultiHeadAttention_0/{name}" for name in ATTENTION.split()]
  layers = eqx.filter_eval_shape(
    eqx.filter_vmap(lambda key: eqx.nn.Conv2d(1, 4, 3, key=key)),
    jax.random.split(KEY, 2),
  )
  assert prunable(layers) == ["weight"]


class Scaled(eqx.nn.LayerNorm):
  """Named unlike the norm that it is."""


class Running(nnx.BatchStat):
  """Statistics of a kind of its own."""


@pytest.mark.parametrize(
  "tree",
  [
    nnx.to_pure_dict(nnx.state(nnx.BatchNorm(3, rngs=nnx.Rngs(0)))),
    jax.eval_shape(nn.BatchNorm(False).init, KEY, X),  # also batch_stats
    Scaled(3),
    {"running": Running(jnp.ones((3, 4)))},
  ],
  ids=["pure dict", "variables", "subclass", "kind of variable"],
)
def test_norms_and_their_statistics_stay_whatever_holds_them(tree):
  assert prunable(tree) == prunable(stack(tree)) == []


def test_names_decide_only_as_whole_words():
  kernel = jnp.ones((2, 3))
  trees = [
    {"scale": {"kernel": kernel}},  # a network that computes scales
    {"b": (kernel,)},
    {"unbiased": kernel},
    {"pos_embedding": kernel},
    [kernel],
  ]
  for tree in trees:
    assert len(prunable(tree)) == 1
  for name in ("query_bias", "bias_n", "kernel_scale", "gamma", "b"):
    assert prunable({"layer": {name: kernel}}) == []

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
ATTENTION = "key/kernel out/kernel query/kernel value/kernel"


def linen(module, inputs=X):
  return lambda: jax.eval_shape(module.init, KEY, inputs)["params"]


def recurrent(cell):
  return linen(nn.RNN(cell))


class Spectral(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.SpectralNorm(nn.Dense(3))(x, update_stats=True)


LINEN = {
  "Bidirectional": (
    linen(nn.Bidirectional(*[nn.RNN(nn.SimpleCell(3)) for _ in range(2)])),
    "backward_rnn/cell/h/kernel backward_rnn/cell/i/kernel "
    "forward_rnn/cell/h/kernel forward_rnn/cell/i/kernel",
  ),
  "BatchNorm": (linen(nn.BatchNorm(False, axis=(-2, -1))), ""),
  "Conv": (linen(nn.Conv(3, (3,))), "kernel"),
  "ConvLSTMCell": (
    linen(nn.RNN(nn.ConvLSTMCell(3, (3,))), jnp.ones((2, 6, 4, 3))),
    "cell/hh/kernel cell/ih/kernel",
  ),
  "ConvLocal": (linen(nn.ConvLocal(3, (3,))), "kernel"),
  "ConvTranspose": (linen(nn.ConvTranspose(3, (3,))), "kernel"),
  "Dense": (linen(nn.Dense(3)), "kernel"),
  "DenseGeneral": (linen(nn.DenseGeneral((3, 2), axis=(-2, -1))), "kernel"),
  "Einsum": (linen(nn.Einsum((4, 2, 3), "...a,abc->...bc")), "kernel"),
  "Embed": (linen(nn.Embed(5, 3), TOKENS), "embedding"),
  "GRUCell": (
    recurrent(nn.GRUCell(3)),
    "cell/hn/kernel cell/hr/kernel cell/hz/kernel "
    "cell/in/kernel cell/ir/kernel cell/iz/kernel",
  ),
  "GroupNorm": (linen(nn.GroupNorm(2)), ""),
  "InstanceNorm": (linen(nn.InstanceNorm()), ""),
  "LSTMCell": (
    recurrent(nn.LSTMCell(3)),
    "cell/hf/kernel cell/hg/kernel cell/hi/kernel cell/ho/kernel "
    "cell/if/kernel cell/ig/kernel cell/ii/kernel cell/io/kernel",
  ),
  "LayerNorm": (linen(nn.LayerNorm(feature_axes=(-2, -1))), ""),
  "MGUCell": (
    recurrent(nn.MGUCell(3)),
    "cell/hf/kernel cell/hn/kernel cell/if/kernel cell/in/kernel",
  ),
  "MultiHeadAttention": (
    linen(nn.MultiHeadAttention(2, normalize_qk=True)),
    ATTENTION,
  ),
  "MultiHeadDotProductAttention": (
    linen(nn.MultiHeadDotProductAttention(2)),
    ATTENTION,
  ),
  "OptimizedLSTMCell": (
    recurrent(nn.OptimizedLSTMCell(3)),
    "cell/hf/kernel cell/hg/kernel cell/hi/kernel cell/ho/kernel "
    "cell/if/kernel cell/ig/kernel cell/ii/kernel cell/io/kernel",
  ),
  "PReLU": (linen(nn.PReLU()), ""),
  "RMSNorm": (linen(nn.RMSNorm()), ""),
  "RNN": (recurrent(nn.SimpleCell(3)), "cell/h/kernel cell/i/kernel"),
  "SelfAttention": (linen(nn.SelfAttention(2)), ATTENTION),
  "Sequential": (linen(nn.Sequential([nn.Dense(3)])), "layers_0/kernel"),
  "SimpleCell": (recurrent(nn.SimpleCell(3)), "cell/h/kernel cell/i/kernel"),
  "SpectralNorm": (linen(Spectral()), "Dense_0/kernel"),
  "WeightNorm": (linen(nn.WeightNorm(nn.Dense(3))), "layer_instance/kernel"),
}
LINEN_WITHOUT = {
  "Dropout",
  "Fp8DirectDotGeneralOp",
  "Fp8DotGeneral",
  "Fp8DotGeneralOp",
  "Fp8Einsum",
  "Module",
  "NANOOFp8DotGeneralOp",
  "RNNCellBase",
}

RNGS = nnx.Rngs(0)


def simple_rnn():
  return nnx.RNN(nnx.SimpleCell(4, 3, rngs=RNGS), rngs=RNGS)


NNX = {
  "BatchNorm": (lambda: nnx.BatchNorm(4, rngs=RNGS), ""),
  "Bidirectional": (
    lambda: nnx.Bidirectional(simple_rnn(), simple_rnn(), rngs=RNGS),
    "backward_rnn/cell/dense_h/kernel backward_rnn/cell/dense_i/kernel "
    "forward_rnn/cell/dense_h/kernel forward_rnn/cell/dense_i/kernel",
  ),
  "Conv": (lambda: nnx.Conv(4, 3, (3,), rngs=RNGS), "kernel"),
  "ConvTranspose": (lambda: nnx.ConvTranspose(4, 3, (3,), rngs=RNGS), "kernel"),
  "Dict": (lambda: nnx.Dict(a=nnx.Linear(4, 3, rngs=RNGS)), "a/kernel"),
  "Einsum": (
    lambda: nnx.Einsum("...a,abc->...bc", (4, 2, 3), (2, 3), rngs=RNGS),
    "kernel",
  ),
  "Embed": (lambda: nnx.Embed(5, 3, rngs=RNGS), "embedding"),
  "GRUCell": (
    lambda: nnx.GRUCell(4, 3, rngs=RNGS),
    "dense_h/kernel dense_i/kernel",
  ),
  "GroupNorm": (lambda: nnx.GroupNorm(4, 2, rngs=RNGS), ""),
  "InstanceNorm": (lambda: nnx.InstanceNorm(4, rngs=RNGS), ""),
  "LSTMCell": (
    lambda: nnx.LSTMCell(4, 3, rngs=RNGS),
    "hf/kernel hg/kernel hi/kernel ho/kernel "
    "if_/kernel ig/kernel ii/kernel io/kernel",
  ),
  "LayerNorm": (lambda: nnx.LayerNorm(4, rngs=RNGS), ""),
  "Linear": (lambda: nnx.Linear(4, 3, rngs=RNGS), "kernel"),
  "LinearGeneral": (
    lambda: nnx.LinearGeneral((4,), (2, 3), rngs=RNGS),
    "kernel",
  ),
  "List": (lambda: nnx.List([nnx.Linear(4, 3, rngs=RNGS)]), "0/kernel"),
  "LoRA": (lambda: nnx.LoRA(4, 2, 3, rngs=RNGS), "lora_a lora_b"),
  "LoRALinear": (
    lambda: nnx.LoRALinear(4, 3, lora_rank=2, rngs=RNGS),
    "kernel lora/lora_a lora/lora_b",
  ),
  "MultiHeadAttention": (
    lambda: nnx.MultiHeadAttention(
      2, 4, normalize_qk=True, decode=False, rngs=RNGS
    ),
    ATTENTION,
  ),
  "OptimizedLSTMCell": (
    lambda: nnx.OptimizedLSTMCell(4, 3, rngs=RNGS),
    "dense_h/kernel dense_i/kernel",
  ),
  "PReLU": (nnx.PReLU, ""),
  "RMSNorm": (lambda: nnx.RMSNorm(4, rngs=RNGS), ""),
  "RNN": (simple_rnn, "cell/dense_h/kernel cell/dense_i/kernel"),
  "Sequential": (
    lambda: nnx.Sequential(nnx.Linear(4, 3, rngs=RNGS)),
    "layers/0/kernel",
  ),
  "SimpleCell": (
    lambda: nnx.SimpleCell(4, 3, rngs=RNGS),
    "dense_h/kernel dense_i/kernel",
  ),
  "SpectralNorm": (
    lambda: nnx.SpectralNorm(nnx.Linear(4, 3, rngs=RNGS), rngs=RNGS),
    "layer_instance/kernel",
  ),
  "WeightNorm": (
    lambda: nnx.WeightNorm(nnx.Linear(4, 3, rngs=RNGS), rngs=RNGS),
    "layer_instance/kernel",
  ),
}
NNX_WITHOUT = {"Dropout", "Module", "RNNCellBase", "RoPE"}  # RoPE is of 0.12.12


def haiku(call, inputs=X):
  init = hk.transform_with_state(call).init
  return lambda: jax.eval_shape(init, KEY, inputs)[0]


def haiku_cell(make):
  def call(x):
    core = make()
    return core(x[0], core.initial_state(6))

  return haiku(call)


HAIKU = {
  "BatchNorm": (haiku(lambda x: hk.BatchNorm(True, True, 0.9)(x, True)), ""),
  "Bias": (haiku(lambda x: hk.Bias()(x)), ""),
  "Conv1D": (haiku(lambda x: hk.Conv1D(3, 3)(x)), "conv1_d/w"),
  "Conv1DLSTM": (
    haiku(
      lambda x: (lambda c: c(x, c.initial_state(2)))(hk.Conv1DLSTM((6,), 3, 3))
    ),
    "conv1_dlstm/hidden_to_hidden/w conv1_dlstm/input_to_hidden/w",
  ),
  "Conv1DTranspose": (
    haiku(lambda x: hk.Conv1DTranspose(3, 3)(x)),
    "conv1_d_transpose/w",
  ),
  "DepthwiseConv1D": (
    haiku(lambda x: hk.DepthwiseConv1D(3, 3)(x)),
    "depthwise_conv1_d/w",
  ),
  "DepthwiseConv2D": (
    haiku(lambda x: hk.DepthwiseConv2D(2, 3)(x), IMAGES),
    "depthwise_conv2_d/w",
  ),
  "Embed": (haiku(lambda x: hk.Embed(5, 3)(x), TOKENS), "embed/embeddings"),
  "GRU": (haiku_cell(lambda: hk.GRU(3)), "gru/w_h gru/w_i"),
  "GroupNorm": (haiku(lambda x: hk.GroupNorm(2)(x)), ""),
  "InstanceNorm": (haiku(lambda x: hk.InstanceNorm(True, True)(x)), ""),
  "LSTM": (haiku_cell(lambda: hk.LSTM(3)), "lstm/linear/w"),
  "LayerNorm": (
    haiku(
      lambda x: hk.LayerNorm((1, 2), True, True, param_axis=(1, 2))(x),
    ),
    "",
  ),
  "Linear": (haiku(lambda x: hk.Linear(3)(x)), "linear/w"),
  "MultiHeadAttention": (
    haiku(
      lambda x: hk.MultiHeadAttention(
        2, 3, w_init=hk.initializers.VarianceScaling()
      )(x, x, x)
    ),
    "multi_head_attention/key/w multi_head_attention/linear/w "
    "multi_head_attention/query/w multi_head_attention/value/w",
  ),
  "RMSNorm": (haiku(lambda x: hk.RMSNorm(-1)(x)), ""),
  "SeparableDepthwiseConv2D": (
    haiku(lambda x: hk.SeparableDepthwiseConv2D(2, (3, 3))(x), IMAGES),
    "separable_depthwise_conv2_d/~/depthwise_conv2_d/w "
    "separable_depthwise_conv2_d/~/depthwise_conv2_d_1/w",
  ),
  "VanillaRNN": (
    haiku_cell(lambda: hk.VanillaRNN(3)),
    "vanilla_rnn/linear/w vanilla_rnn/linear_1/w",
  ),
  "VectorQuantizer": (
    haiku(lambda x: hk.nets.VectorQuantizer(4, 5, 0.1)(x, True)),
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


EQUINOX = {
  "BatchNorm": (lambda: eqx.nn.BatchNorm(4, "b", mode="batch"), ""),
  "Conv": (lambda: eqx.nn.Conv(2, 1, 4, 3, key=KEY), "weight"),
  "Conv1d": (lambda: eqx.nn.Conv1d(1, 4, 3, key=KEY), "weight"),
  "Conv2d": (lambda: eqx.nn.Conv2d(1, 4, 3, key=KEY), "weight"),
  "Conv3d": (lambda: eqx.nn.Conv3d(1, 4, 3, key=KEY), "weight"),
  "ConvTranspose": (
    lambda: eqx.nn.ConvTranspose(2, 1, 4, 3, key=KEY),
    "weight",
  ),
  "ConvTranspose1d": (
    lambda: eqx.nn.ConvTranspose1d(1, 4, 3, key=KEY),
    "weight",
  ),
  "ConvTranspose2d": (
    lambda: eqx.nn.ConvTranspose2d(1, 4, 3, key=KEY),
    "weight",
  ),
  "ConvTranspose3d": (
    lambda: eqx.nn.ConvTranspose3d(1, 4, 3, key=KEY),
    "weight",
  ),
  "Embedding": (lambda: eqx.nn.Embedding(5, 3, key=KEY), "weight"),
  "GRUCell": (
    lambda: eqx.nn.GRUCell(4, 3, key=KEY),
    "weight_ih weight_hh",
  ),
  "GroupNorm": (lambda: eqx.nn.GroupNorm(2, 4), ""),
  "LSTMCell": (
    lambda: eqx.nn.LSTMCell(4, 3, key=KEY),
    "weight_ih weight_hh",
  ),
  "LayerNorm": (lambda: eqx.nn.LayerNorm((3, 4)), ""),
  "Linear": (linear, "weight"),
  "MLP": (
    lambda: eqx.nn.MLP(3, 2, 4, 1, key=KEY),
    "layers/0/weight layers/1/weight",
  ),
  "MultiheadAttention": (
    lambda: eqx.nn.MultiheadAttention(
      2,
      4,
      use_query_bias=True,
      use_key_bias=True,
      use_value_bias=True,
      use_output_bias=True,
      key=KEY,
    ),
    "query_proj/weight key_proj/weight value_proj/weight output_proj/weight",
  ),
  "PReLU": (eqx.nn.PReLU, ""),
  "RMSNorm": (lambda: eqx.nn.RMSNorm((3, 4)), ""),
  "Sequential": (lambda: eqx.nn.Sequential([linear()]), "layers/0/weight"),
  "Shared": (
    lambda: eqx.nn.Shared(
      (eqx.nn.Embedding(5, 4, key=KEY), eqx.nn.Linear(4, 5, key=KEY)),
      lambda pair: pair[1].weight,
      lambda pair: pair[0].weight,
    ),
    "pytree/0/weight",
  ),
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
LAYERS = [
  pytest.param(*layer, id=f"{library}-{name}")
  for library, (_, _, table, _) in LIBRARIES.items()
  for name, layer in table.items()
]


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


@pytest.mark.parametrize(("build", "weights"), LAYERS)
def test_weights_are_prunable_and_nothing_else(build, weights):
  with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    params = build()  # SelfAttention is deprecated
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
  layers = eqx.filter_vmap(lambda key: eqx.nn.Conv2d(1, 4, 3, key=key))(
    jax.random.split(KEY, 2)
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
    nn.BatchNorm(False).init(KEY, X),  # also the collection batch_stats
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

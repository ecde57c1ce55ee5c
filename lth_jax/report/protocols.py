"""The paper's protocol of each network, which runs are compared with.

Frankle & Carbin (2019), figure 2, sections 2 to 4, appendices G to I.
"""

from typing import Any

_SCALED_DOWN = "scaled down"
_MORE_IS_FINE = ("rounds", "reinits", "randoms", "replicates")

LENET = {
  "dataset": "mnist",
  "num_valid": 5000,
  "num_train": 0,
  "num_test": 0,
  "scaling": "unit",
  "augment": "none",
  "model": "lenet",
  "hidden": [300, 100],
  "width": 1.0,
  "dropout": 0.0,
  "init_std": 0.0,
  "steps": 50000,
  "batch_size": 60,
  "optimizer": "adam",
  "learning_rate": 1.2e-3,
  "warmup": 0,
  "drops": [],
  "weight_decay": 0.0,
  "eval_every": 100,
  "matmul_precision": "highest",
  "rounds": 20,
  "rates": ["output=0.1", "kernel=0.2"],
  "scope": "layer",
  "reset": "every_round",
  "rewind_step": 0,
  "retrain": "rewind",
  "score": "magnitude",
  "densities": [],
  "code": "",
  # The paper does not say; the authors' released code shuffles without a seed
  # (google-research/lottery-ticket-hypothesis, foundations/dataset_base.py).
  "order": "per_round",
  "arms": ["ticket", "reinit", "random"],
  "control_rounds": [],
  "reinits": 3,
  "randoms": 2,  # ten trials (figure 1)
  "replicates": 5,
}

# (steps, learning rate) without and with dropout, and the pruning rate of the
# convolutions.
_CONV = {
  "conv2": ((20000, 2e-4), (60000, 3e-4), 0.1),
  "conv4": ((25000, 3e-4), (75000, 2e-4), 0.1),
  "conv6": ((30000, 3e-4), (90000, 2e-4), 0.15),
}
# The paper does not say how often it evaluated these, nor how often it trained.
_FREE = ("hidden", "eval_every", "rounds", "replicates", "reinits", "randoms")
_RESIDUAL = {
  **{name: value for name, value in LENET.items() if name not in _FREE},
  "dataset": "cifar10",
  "augment": "crop_flip",
  "scaling": "standard",
  "optimizer": "momentum",
  "momentum": 0.9,
  "weight_decay": 1e-4,
  "scope": "global",
}
_RESNET20 = {
  "model": "resnet20",
  "steps": 30000,
  "batch_size": 128,
  "drops": [20000, 25000],
  "rates": ["shortcut=0", "output=0", "kernel=0.2"],
}
_VGG19 = {
  "model": "vgg19",
  "steps": 112480,
  "batch_size": 64,
  "drops": [56240, 84360],
  "rates": ["output=0", "kernel=0.2"],
}
# For these the paper reports no early stop, but test accuracies at these shares
# of the training (figures 7 and 8).
MILESTONES = {
  "resnet20": (10_000 / 30_000, 20_000 / 30_000),
  "vgg19": (30_000 / 112_480, 60_000 / 112_480),
}
# Accuracy of dense networks in percent. LeNet, and the lowest value for each of
# the last two: test accuracy, Frankle et al. (2019b, arXiv 1903.01611). Conv-2,
# -4 and -6: validation accuracy at early stop (appendix H).
DENSE_ACCURACY = {
  "lenet": 98.0,
  "conv2": 67.6,
  "conv4": 74.9,
  "conv6": 79.1,
  "resnet20": 89.1,
  "vgg19": 91.5,
}
# The paper's pairs of learning rate and warm-up.
_RATES = {
  "resnet20": ((0.1, 0), (0.01, 0), (0.03, 20000)),
  "vgg19": ((0.1, 0), (0.01, 0), (0.1, 10000)),
}


def of(config: dict[str, Any]) -> dict[str, Any]:
  """Returns the paper's protocol for a run's network, one of the paper.

  The flat configuration of the run selects among the variants of the paper,
  such as dropout or learning rates.
  """
  model = config["model"]
  if model == "lenet":
    return LENET
  if model in _CONV:
    plain, dropped, rate = _CONV[model]
    steps, learning_rate = dropped if config["dropout"] else plain
    paper = LENET | {
      "dataset": "cifar10",
      "model": model,
      "dropout": 0.5 if config["dropout"] else 0.0,
      "steps": steps,
      "learning_rate": learning_rate,
      "rates": ["output=0.1", f"Conv={rate:g}", "Dense=0.2"],
    }
    del paper["hidden"]
    return paper
  asked = config["learning_rate"], config["warmup"]
  rate, warmup = min(
    _RATES[model],
    key=lambda known: (known[0] != asked[0], bool(known[1]) != bool(asked[1])),
  )
  paper = _RESIDUAL | (_RESNET20 if model == "resnet20" else _VGG19)
  return paper | {"learning_rate": rate, "warmup": warmup}


def differences(
  config: dict[str, Any], original: dict[str, Any] | None = None
) -> str:
  """Returns how a run differs from the paper's protocol; "" if it does not.

  For example "scaled down: steps 15,000 instead of 50,000".

  Args:
    config: the flat configuration of the run.
    original: the configuration of the paper's run, if it is not the main run
      of its network; only the fields of a protocol are compared.
  """
  if config["model"] not in DENSE_ACCURACY:
    return f"not a network of the paper: {config['model']}"
  ours, paper = _with_plain_rates(config), of(config)
  if original is not None:
    given = _with_plain_rates(original)
    paper = {field: given[field] for field in paper}
  elif config["pruning"] == "oneshot":
    paper = paper | {"arms": ["ticket", "reinit"]}
  differing = [field for field in paper if _differs(field, ours, paper)]
  if not differing:
    return ""
  smaller = (
    ours["dataset"] == "mnist_10k"
    or ours["width"] < 1
    or not {"num_train", "num_test"}.isdisjoint(differing)
    or ours["steps"] < paper["steps"]
  )
  label = _SCALED_DOWN if smaller else "not the paper's main protocol"
  return f"{label}: " + "; ".join(
    f"{field} {_plain(field, ours[field])} instead of "
    f"{_plain(field, paper[field])}"
    for field in differing
  )


def is_scaled_down(config: dict[str, Any]) -> bool:
  """Returns whether the run of a configuration is smaller than the paper's."""
  return differences(config).startswith(_SCALED_DOWN)


def _with_plain_rates(config: dict[str, Any]) -> dict[str, Any]:
  rules = [rule.rpartition("=") for rule in config["rates"]]
  plain = [f"{pattern}={float(rate):g}" for pattern, _, rate in rules]
  return config | {"rates": plain}


def _differs(field: str, ours: dict[str, Any], paper: dict[str, Any]) -> bool:
  if field == "arms":
    return not set(paper["arms"]) <= set(ours["arms"])
  if field == "control_rounds":
    chosen = set(ours[field]) if len(ours["arms"]) > 1 else set()
    return bool(chosen) and not set(range(1, ours["rounds"] + 1)) <= chosen
  arm = {"reinits": "reinit", "randoms": "random"}.get(field)
  if arm is not None and arm not in ours["arms"]:
    return False
  if field in _MORE_IS_FINE:
    return ours[field] < paper[field]
  return ours[field] != paper[field]


def _plain(field: str, value: Any) -> str:
  if isinstance(value, list):
    between = "-" if field == "hidden" else ", "
    empty = "all" if field == "control_rounds" else "none"
    return between.join(str(each) for each in value) or empty
  if field in ("num_train", "num_test") and value == 0:
    return "all"
  return f"{value:,}" if isinstance(value, int) else str(value)

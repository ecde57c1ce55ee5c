"""The paper's figures: what each shows, and which drawing of ours is beside it.

Drawings come from the reports of the runs of `catalog`, or set several runs
beside each other.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments._paper import catalog
from lth_jax.report import statistics


class Figure(NamedTuple):
  """A figure of the paper.

  Attributes:
    title: what it shows.
    drawings: (run of the catalog, name of a drawing of its report).
    arms: if the figure's runs are to be drawn beside each other, their arms; of
      several runs solid, dashed, dotted.
    quantities: of that drawing; empty for the usual ones.
    by_weights: whether its axis is the number of weights.
    whole: whether its vertical axes show controls that collapse, too.
    names: what it calls runs of the catalog; others keep their names.
    remark: what was found where we differ.
  """

  title: str
  drawings: tuple[tuple[str, str], ...] = ()
  arms: tuple[str, ...] = ()
  quantities: Sequence[statistics.Quantity] = ()
  by_weights: bool = False
  whole: bool = False
  names: Mapping[str, str] = {}
  remark: str = ""


class Beside(NamedTuple):
  """Runs that are drawn beside each other.

  Attributes:
    name: of the drawing.
    title: likewise.
    runs: names of runs, by the names to show.
  """

  name: str
  title: str
  runs: dict[str, str]


def beside(number: str, scale: str) -> list[Beside]:
  """Returns the comparisons that a figure is shown by.

  A sweep is one, and so are the other runs on a data set: accuracies on MNIST
  and on CIFAR-10 share no axis.

  Args:
    number: of the figure.
    scale: of the runs.
  """
  figure, found = FIGURES[number], []
  if not figure.arms:
    return []
  groups: dict[str, dict[str, str]] = {}
  for row in catalog.find(number):
    runs = catalog.runs(row, scale)
    if row.points:
      points = {point.name: run.name for point, run in zip(row.points, runs)}
      name, title = (
        f"figure_{number}_{row.name}",
        f"Figure {number}. {row.what}",
      )
      found.append(Beside(name, title, points))
    else:
      kind = "mnist" if row.name.startswith(_ON_MNIST) else "cifar10"
      shown = figure.names.get(row.name, row.name)
      groups.setdefault(kind, {})[shown] = row.name
  title = f"Figure {number}. {figure.title}"
  for kind, runs in groups.items():
    suffix = f"_{kind}" if len(groups) > 1 else ""
    found.append(Beside(f"figure_{number}{suffix}", title, runs))
  return found


# Rows of runs on MNIST, at their scale of the paper.
_ON_MNIST = ("mnist_", "lenet_")
_EARLY = statistics.EARLY_STEP, statistics.EARLY_TEST
_ENDS = *_EARLY, statistics.EARLY_TRAIN, statistics.END_TEST
# What appendices B, G and H show.
ON_VALIDATION = statistics.EARLY_STEP, statistics.EARLY_VALID
_TICKETS, _AND_REINIT = ("ticket",), ("ticket", "reinit")
_NOISE = "noise 0.5", "noise 1", "noise 2", "noise 3"


def _convs(suffix: str = "", what: str = "") -> dict[str, str]:
  """What to call the runs of Conv-2, -4 and -6 whose names end alike."""
  return {f"conv{n}{suffix}": f"Conv-{n}{what}" for n in (2, 4, 6)}


_LENET = {
  "mnist_lenet": "LeNet",
  "lenet_controls": "LeNet",
  "lenet_sgd_controls": "LeNet, gradient descent",
}


def _drawn(run: str, *names: str) -> tuple[tuple[str, str], ...]:
  return tuple((run, name) for name in names)


FIGURES = {
  "1": Figure(
    "Tickets and random masks",
    arms=("ticket", "random"),
    quantities=_EARLY,
    whole=True,
    names=_LENET | _convs(),
  ),
  "2": Figure("Networks and how they are trained"),
  "3": Figure(
    "Test accuracy while LeNet trains", _drawn("mnist_lenet", "figure_3")
  ),
  "4a": Figure(
    "LeNet at early stopping, iterative pruning",
    _drawn("mnist_lenet", "figure_4a"),
  ),
  "4b": Figure(
    "LeNet at the end of training", _drawn("mnist_lenet", "figure_4b")
  ),
  "4c": Figure(
    "LeNet, one-shot pruning",
    _drawn("lenet_oneshot", "figure_4c"),
    arms=_TICKETS,
    names={"mnist_lenet": "iterative", "lenet_oneshot": "one-shot"},
  ),
  "5": Figure(
    "Conv-2, -4 and -6",
    arms=_AND_REINIT,
    quantities=_ENDS,
    names=_convs(),
    remark="At cpu scale 9,000 images are overfitted after about 1,000 steps, "
    "which is what the early stop then marks. Tickets reach the dense "
    "network's lowest validation loss 1.4, 2.0 and 2.2 times as soon "
    "at 8.9% of the weights, 1.9, 2.9 and 3.0 times at 17.1%, and go "
    "on to lower ones.",
  ),
  "6": Figure(
    "Conv-2, -4 and -6 with dropout",
    arms=_TICKETS,
    names=_convs() | _convs("_dropout", ", dropout"),
  ),
  "7": Figure(
    "VGG-19, pruned globally",
    arms=_AND_REINIT,
    names={
      "vgg19": "rate 0.1",
      "vgg19_low": "rate 0.01",
      "vgg19_warmup": "rate 0.1, warm-up",
    },
    remark="At cpu scale the network has an eighth of the width and 1,200 of "
    "112,480 steps, 8 epochs, at the end of which the dense one is far from "
    "what it could reach; the paper's claims are about networks trained to the "
    "end. At 0.1 without warm-up tickets are 5 to 13 points above the dense "
    "network, and 5 to 7 above reinits; that reinits differ from the dense "
    "network is clear at one of three densities. Warm-up gives the dense "
    "network 4.5 points and tickets as much down to 7% (3.6 to 4.9), but 5.7 "
    "at 4.6% and 9.2 at 3.0%.",
  ),
  "8": Figure(
    "ResNet-20, pruned globally",
    arms=_AND_REINIT,
    names={
      "resnet20": "rate 0.1",
      "resnet20_low": "rate 0.01",
      "resnet20_warmup": "rate 0.03, warm-up",
      "resnet20_warmup_high": "rate 0.1, warm-up",
    },
    remark="At cpu scale the network has half of the width and 1,200 of 30,000 "
    "steps, 8 epochs, at the end of which validation loss still falls; the "
    "paper's claims are about networks trained to the end.",
  ),
  "9": Figure(
    "LeNet: reset, or continued training",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
    names={"mnist_lenet": "reset", "lenet_continued": "continued"},
  ),
  "10": Figure(
    "Conv-2, -4 and -6: reset, or continued",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
    names=_convs("", ", reset") | _convs("_continued", ", continued"),
  ),
  "11": Figure(
    "Validation loss while LeNet trains", _drawn("mnist_lenet", "figure_11")
  ),
  "12": Figure(
    "LeNet: train accuracy at the end", _drawn("mnist_lenet", "figure_4b")
  ),
  "13": Figure(
    "Conv-2, -4 and -6: train accuracy at the end",
    arms=_AND_REINIT,
    quantities=(statistics.END_TRAIN,),
    names=_convs(),
    remark="At cpu scale a quarter of the width and 13 epochs are too few to "
    "learn the training images by heart.",
  ),
  "14": Figure(
    "Tickets, reinits and random masks at the end",
    arms=("ticket", "reinit", "random"),
    quantities=(statistics.END_TEST,),
    whole=True,
    names=_LENET | _convs(),
  ),
  "15": Figure(
    "Initial weights of tickets, Adam",
    _drawn("mnist_lenet", "initial_weights"),
  ),
  "16": Figure(
    "Initial weights of tickets, gradient descent",
    _drawn("lenet_sgd", "initial_weights"),
    remark="At cpu scale the second hidden layer favours positive weights from "
    "13.5% of the weights on (54.7%; at 7.0% 60.5%), not yet at 21.1%; the "
    "paper does not name its densities. The output layer has slightly fewer "
    "positive weights at 13.5% and above (47% to 50%), slightly more at 7.0% "
    "(52%).",
  ),
  "17": Figure(
    "Initial weights redrawn from the ticket's own",
    arms=("ticket", "redraw", "reinit"),
    quantities=_EARLY,
    names=_LENET,
  ),
  "18": Figure(
    "Weights pruned by magnitude before training",
    arms=("ticket", "reinit", "magnitude_at_start"),
    quantities=_EARLY,
    names=_LENET,
    remark="At cpu scale reinit is ahead by 0.59 points (0.18 to 0.99) at "
    "7.0%; at 51.3% there is no difference.",
  ),
  "19": Figure("How far weights move", _drawn("mnist_lenet", "moved")),
  "20": Figure("How weights grow", _drawn("mnist_lenet", "grown")),
  "21": Figure(
    "Connections into each unit, Adam",
    _drawn("mnist_lenet", "incoming"),
    remark="The paper judges by the eye, on fractions. Fewer connections "
    "spread more by chance alone; in excess of that, at cpu scale, the first "
    "hidden layer is less even on its inputs' side than on its outputs'.",
  ),
  "22": Figure(
    "Connections into each unit, gradient descent",
    _drawn("lenet_sgd", "incoming"),
  ),
  "23": Figure(
    "Connections out of each unit, Adam",
    _drawn("mnist_lenet", "outgoing"),
    remark="The paper speaks of two peaks for the input layer. At cpu scale "
    "there is one, and pixels that keep nothing: 67 of 784 are never lit.",
  ),
  "24": Figure(
    "Connections out of each unit, gradient descent",
    _drawn("lenet_sgd", "outgoing"),
  ),
  "25": Figure(
    "Noise on the initial weights of tickets",
    arms=("ticket", *_NOISE, "reinit"),
    quantities=_EARLY,
    names=_LENET,
    remark="At cpu scale and 7.0% noise of half a standard deviation costs "
    "nothing (a gain of 0.01 points, \N{MINUS SIGN}0.19 to 0.21). Noise of "
    "three of them is level with reinit there (0.06 points above, "
    "\N{MINUS SIGN}0.31 to 0.42), and at 51.3% below it, by 0.36 points (0.28 "
    "to 0.44), other than in the paper, whose densities are not in its text.",
  ),
  "26": Figure(
    "LeNet: learning rate of Adam",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
    remark="At cpu scale there are 6,000 of 50,000 steps. At 2.5e-5 validation "
    "loss still falls at their end, where the dense network has 94% of the "
    "test images right, and networks with fewer weights are not as far by "
    "then. At 2e-3 the dense network stops earlier than at 1.2e-3 and less "
    "accurate, by 0.4 points; its tickets are as accurate.",
  ),
  "27": Figure(
    "LeNet: learning rate of gradient descent",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "28": Figure(
    "LeNet: learning rate with momentum",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "29": Figure(
    "LeNet: weights pruned a round", arms=_TICKETS, quantities=ON_VALIDATION
  ),
  "30": Figure(
    "LeNet: deviation of the initial weights",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "31": Figure(
    "LeNet: size of the network",
    arms=_TICKETS,
    by_weights=True,
    quantities=ON_VALIDATION,
  ),
  "32": Figure(
    "Conv-2, -4 and -6: learning rate of Adam",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "33": Figure(
    "Conv-2, -4 and -6: learning rate of gradient descent",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "34": Figure(
    "Conv-2, -4 and -6: learning rate, momentum",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "35": Figure(
    "Conv-2, -4 and -6: convolutions' pruning rate",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "36": Figure(
    "Conv-2, -4 and -6: learning rate, dropout",
    arms=_TICKETS,
    quantities=ON_VALIDATION,
  ),
  "37": Figure(
    "Only convolutions or only dense layers pruned",
    arms=_TICKETS,
    by_weights=True,
    quantities=ON_VALIDATION,
    names=_convs("", ", all layers")
    | _convs("_conv_only", ", convolutions only")
    | _convs("_fc_only", ", dense layers only"),
    remark="At cpu scale the early stop marks overfitting (figure 5) and is "
    "read every 50 steps, 5% of the dense network's 1,083: that only dense "
    "layers are pruned and tickets stop 5.4% sooner is one such step.",
  ),
  "38": Figure(
    "VGG-19: pruned globally or by layer",
    arms=_TICKETS,
    names={"vgg19_warmup": "globally", "vgg19_layerwise": "by layer"},
    remark="At cpu scale the runs end before tickets pruned globally are less "
    "accurate than the dense network, so that nothing is decided; but as "
    "published, tickets pruned by layer are the first to fall off: they are "
    "6.4 points below those pruned globally at 4.6%, and 10.0 at 3.0%.",
  ),
  "39": Figure(
    "ResNet-20: pruned globally or by layer",
    arms=_TICKETS,
    names={"resnet20_warmup": "globally", "resnet20_layerwise": "by layer"},
  ),
  "40": Figure(
    "VGG-19, pruned by layer",
    arms=_AND_REINIT,
    names={
      "vgg19_layerwise_high": "rate 0.1",
      "vgg19_layerwise_low": "rate 0.01",
      "vgg19_layerwise": "rate 0.1, warm-up",
    },
  ),
  "41": Figure(
    "ResNet-20, pruned by layer",
    arms=_AND_REINIT,
    names={
      "resnet20_layerwise_high": "rate 0.1",
      "resnet20_layerwise_low": "rate 0.01",
      "resnet20_layerwise": "rate 0.03, warm-up",
    },
  ),
  "42": Figure("ResNet-20: learning rate", arms=_TICKETS),
  "43": Figure("VGG-19: learning rate", arms=_TICKETS),
  "44": Figure("ResNet-20: warm-up", arms=_TICKETS),
  "45": Figure("VGG-19: warm-up", arms=_TICKETS),
}

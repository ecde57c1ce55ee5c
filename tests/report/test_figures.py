"""Which figures a network has, and what their lines show."""

import itertools
import math

import numpy as np
import pytest
from helpers import drawings, results, synthetic_runs
from matplotlib import figure

from lth_jax.report import statistics
from lth_jax.report.figures import canvas, curves, layout, panels

_RESNET = {"model": "resnet20", "scope": "global"}
_RESNET |= {"steps": 30000, "test_every": 5000}
_VGG = {"model": "vgg19", "scope": "global"}
_VGG |= {"steps": 112480, "eval_every": 703, "test_every": 10_000}


@pytest.mark.parametrize("lost", [[0], [-1], range(151)])
def test_validation_losses_that_are_not_finite_are_left_out(lost):
  def lose(trial):
    curve = trial.valid_curve.copy()
    curve[[*lost]] = np.nan
    return trial if trial.replicate else trial._replace(valid_curve=curve)

  run = results.change(synthetic_runs.read(), lose)
  for panel in curves.draw(run, statistics.VALID_CURVE, 15000):
    low, high = drawings.axes_of(panel).get_ylim()
    assert low < high


_STOP, _END = "At early stopping", "At the end of training"
_LEARNING = ("learning", "Test accuracy while training", 3)
_VALIDATION = ("validation", "Validation loss while training", 3)


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    (
      {},
      [
        ("figure_4a", f"Figure 4a. {_STOP}, iterative pruning", 3),
        ("figure_3", "Figure 3. Test accuracy while training", 3),
        ("figure_11", "Figure 11. Validation loss while training", 3),
        ("figure_4b", f"Figures 4b and 12. {_END}, iterative pruning", 2),
      ],
    ),
    (
      {"pruning": "oneshot", "num_valid": 0, "arms": ["ticket"]},
      [
        ("figure_3", "Figure 3. Test accuracy while training", 2),
        ("figure_4b", f"Figures 4b and 12. {_END}, one-shot pruning", 2),
      ],
    ),
    (
      {"model": "conv2"},
      [
        ("figure_5", "Figures 5 and 13. Conv-2, iterative pruning", 5),
        _LEARNING,
        _VALIDATION,
      ],
    ),
    (
      {"model": "conv6", "dropout": 0.5, "num_valid": 0},
      [
        ("figure_6", "Figure 6. Conv-6 with dropout, iterative pruning", 2),
        _LEARNING,
      ],
    ),
    (
      _RESNET,
      [
        (
          "figure_8",
          "Figure 8. Test accuracy of ResNet-20, iterative pruning over all "
          "layers",
          3,
        ),
        _LEARNING,
        _VALIDATION,
      ],
    ),
    (
      _VGG | {"scope": "layer", "num_valid": 0},
      [
        (
          "figure_40",
          "Figure 40. Test accuracy of VGG-19, iterative pruning layer by "
          "layer",
          3,
        ),
        _LEARNING,
      ],
    ),
  ],
)
def test_each_network_has_its_figures_of_the_paper(changes, expected):
  found = layout.of(synthetic_runs.read(rounds=1, **changes))
  assert [(x.name, x.title, len(x.panels)) for x in found] == expected
  assert {each.name for each in found} <= set(layout.NAMES)
  assert not any("{" in each.title + each.caption for each in found)


@pytest.mark.parametrize(
  ("changes", "main"),
  [
    (_RESNET | {"scope": "layer"}, "figure_41"),
    (_VGG, "figure_7"),
    ({"model": "conv4"}, "figure_5"),
    ({"pruning": "oneshot"}, "figure_4a"),
  ],
)
def test_the_main_figure_comes_first(changes, main):
  assert layout.of(synthetic_runs.read(rounds=1, **changes))[0].name == main


def test_one_shot_pruning_is_drawn_on_a_linear_axis_too():
  last = layout.of(synthetic_runs.read(pruning="oneshot"))[-1]
  assert last.name == "figure_4c"
  assert drawings.axes_of(last.panels[0]).get_xscale() == "linear"


@pytest.mark.parametrize(
  ("changes", "where"),
  [
    (_RESNET, ["step 10,000 (%)", "step 20,000 (%)", "the end (%)"]),
    (_VGG, ["step 30,000 (%)", "step 60,000 (%)", "the end (%)"]),
    # What is recorded: 4,000 lies nearer to a third than 8,000 does, and both
    # thirds of the last are nearest to one step.
    (
      _RESNET | {"steps": 12000, "test_every": 4000},
      ["step 4,000 (%)", "step 8,000 (%)", "the end (%)"],
    ),
    (
      _RESNET | {"steps": 12000, "test_every": 6000},
      ["step 6,000 (%)", "the end (%)"],
    ),
    (_RESNET | {"steps": 12000, "test_every": 12000}, ["the end (%)"]),
  ],
)
def test_deep_networks_are_shown_at_their_milestones(changes, where):
  run = synthetic_runs.read(rounds=1, **changes)
  parts = layout.of(run)[0].panels
  titles = [drawings.axes_of(panel).get_title() for panel in parts]
  assert titles == [f"Test accuracy at {each}" for each in where]


def test_accuracy_at_a_milestone_is_read_from_the_curve():
  run = synthetic_runs.read(arms=["ticket"], **_RESNET)
  [bars] = drawings.lines_of(
    drawings.axes_of(layout.of(run)[0].panels[0])
  ).values()
  curve = [
    [100 * trial.test_curve[trial.test_steps == 10000][0] for trial in trials]
    for _, trials in itertools.groupby(
      sorted(run.results, key=lambda trial: trial.round),
      lambda trial: trial.round,
    )
  ]
  np.testing.assert_allclose(bars.get_ydata(), np.mean(curve, axis=1))
  np.testing.assert_allclose(bars.get_xdata(), 100 * run.grid.density)


def test_curves_of_lenet_show_the_beginning_those_of_others_everything():
  for model, last in (("lenet", 15000), ("conv2", 20000)):
    run = synthetic_runs.read(model=model, steps=20000)
    for figure_ in layout.of(run)[1:3]:
      for panel in figure_.panels:
        assert drawings.axes_of(panel).get_xlim() == (0, last)


def test_validation_loss_shows_the_minimum_and_the_rise():
  run = synthetic_runs.read(rounds=7)
  limits = set()
  for panel in curves.draw(run, statistics.VALID_CURVE, 15000):
    axes = drawings.axes_of(panel)
    low, high = axes.get_ylim()
    limits.add((low, high))
    assert axes.get_ylabel() == "Validation loss"
    for line in axes.lines:
      loss = line.get_ydata()
      assert low < loss.min() < loss[-1] <= high < loss[0]
      # The rise, or as much of the fall, is not a sliver.
      assert loss.min() - low < 0.2 * (high - low)
  assert len(limits) == 1


def test_a_loss_that_only_falls_and_one_that_explodes_are_seen():
  run = synthetic_runs.read(arms=["ticket"])
  steps = run.results[0].valid_steps
  for loss in (1 + np.exp(-steps / 3000), 1 + steps / 100):
    shown = results.change(
      run, lambda x, loss=loss: x._replace(valid_curve=loss)
    )
    [panel, _] = curves.draw(shown, statistics.VALID_CURVE, 15000)
    low, high = drawings.axes_of(panel).get_ylim()
    assert low < loss.min() < high
    assert high - low < 3 * max(loss[6] - loss.min(), loss[:7].max() - 1)


@pytest.mark.parametrize("rounds", [0, 3, 7, 10, 14, 15, 20, 21, 30])
def test_labels_of_densities_are_few_and_equally_far_apart(rounds):
  left = np.arange(rounds + 1)
  percent = (265200 * 0.8**left + 1000 * 0.9**left) / 2662
  axes = figure.Figure().subplots()
  panels.density_axis(axes, percent, log=True)
  labels = axes.xaxis.get_major_locator().locs
  assert labels[0] == 100
  assert len(labels) <= 8
  places = [percent.tolist().index(label) for label in labels]
  assert len(set(np.diff(places))) <= 1


def test_a_row_has_three_panels_but_four_are_two_rows_of_two():
  sizes = []
  for count in (3, 5, 2, 4):
    svg = canvas.draw_parts("x", "", count * [lambda axes: None], "").svg
    box = svg.decode().split('viewBox="0 0 ')[1].split('"')[0]
    sizes.append([float(size) for size in box.split()])
  (wide, low), (as_wide, high), (two, _), (four, _) = sizes
  assert wide == as_wide and two == four < wide
  assert high - low > low / 2


def _laid_out(title, labels, count=1):
  """Title, legend and the first panel's title as drawn."""
  found = []

  def part(axes):
    found.append(axes.set_title("Test accuracy"))
    for label in labels:
      axes.plot([0, 1], label=label)

  canvas.draw_parts("x", title, count * [part], "")
  whole = found[0].axes.figure
  whole.draw_without_rendering()  # at the scale that it is asked about
  return whole.texts[0], whole.legends[0], found[0]


@pytest.mark.parametrize(
  ("title", "labels", "count"),
  [
    ("Figure 1", ["ticket"], 1),
    (
      "Figure 14. Tickets, reinits and random masks at the end (LeNet)",
      ["ticket", "reinit", "random", "random_global", "magnitude_at_start"],
      2,
    ),
    *(
      (
        "Figure 41. Test accuracy of ResNet-20, iterative pruning over all "
        "layers (rate 0.03, warm-up) and something that makes it longer yet",
        [f"Conv-{n}, convolutions only" for n in range(9)],
        count,
      )
      for count in (1, 3)
    ),
  ],
)
def test_title_and_legend_are_inside_and_above_the_panels(title, labels, count):
  parts = _laid_out(title, labels, count)
  boxes = [each.get_window_extent() for each in parts]
  whole = parts[-1].axes.figure.bbox
  for box in boxes:
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert box.y1 <= whole.y1
  for above, below in itertools.pairwise(boxes):
    assert above.y0 >= below.y1


def test_a_short_legend_is_one_row_and_the_grid_is_behind_the_lines():
  labels = ["dense", "ticket", "reinit", "random"]
  _, legend, title = _laid_out("Title", labels)
  assert len({text.get_window_extent().y0 for text in legend.get_texts()}) == 1
  assert title.axes.get_axisbelow() is True


@pytest.mark.parametrize("rounds", [1, 20])
def test_markers_are_inside_of_their_panel(rounds):
  arms = ["ticket", "reinit", "random"]
  run = synthetic_runs.read(rounds=rounds, arms=arms)
  axes = drawings.axes_of(layout.of(run)[0].panels[0])
  left, right = np.log(axes.get_xlim())
  for bars in axes.containers:
    x = np.log(bars[0].get_xdata())
    # Half of a marker of 4.5 points in a panel of 3.5 inches.
    assert (left - x).max() / (left - right) < 1 - 2.25 / (72 * 3.5)


@pytest.mark.parametrize(
  ("same", "step"), [("accuracy", 0.0), ("loss", 900.0), ("both", 0.0)]
)
def test_a_curve_whose_values_are_all_equal_is_drawn(same, step):
  """Warnings are errors here."""

  def flatten(each):
    stop, end = each.early_stop._replace(step=step), each.end
    if same != "loss":
      flat = {"test_accuracy": 0.1, "train_accuracy": 0.1}
      stop, end = stop._replace(**flat), end._replace(**flat)
      each = each._replace(test_curve=np.full_like(each.test_curve, 0.1))
    if same != "accuracy":
      each = each._replace(valid_curve=np.full_like(each.valid_curve, 2.3))
    return each._replace(early_stop=stop, end=end)

  run = results.change(synthetic_runs.read(rounds=1), flatten)
  for each in layout.of(run):
    for panel in each.panels:
      drawings.axes_of(panel).figure.draw_without_rendering()


def test_arms_are_shifted_but_not_the_dense_network():
  percent = 100 * 0.8 ** np.arange(21)
  for log in (True, False):
    assert panels.shift(percent, 0, log).tolist() == percent.tolist()
    right, left = (panels.shift(percent, n, log) for n in (1, -1))
    assert right[0] == left[0] == 100
    assert (right[1:] < percent[1:]).all()
    assert (left[1:] > percent[1:]).all()
  moved = panels.shift(percent, 1, True)[1:] / percent[1:]
  axis = 1.05 * math.log(100 / percent[-1])
  np.testing.assert_allclose(np.log(moved), -0.005 * axis)


def test_the_shift_is_mentioned_where_there_is_one():
  for arms in (["ticket"], ["ticket", "reinit"]):
    found = layout.of(synthetic_runs.read(arms=arms))
    shifted = ["moved sideways" in each.caption for each in found]
    assert shifted == [len(arms) > 1, False, False, len(arms) > 1]

"""Several runs in one figure and one table."""

import dataclasses
import math

import numpy as np
import pytest
from helpers import drawings, results, synthetic_runs
from matplotlib import colors

from lth_jax.report import comparison, statistics, tables
from lth_jax.report.figures import panels


def _two(**changes):
  return {
    name: synthetic_runs.read(seed=seed, **changes)
    for seed, name in enumerate(("a", "b"))
  }


@pytest.fixture
def draw(shown):
  """Draws runs as `comparison.draw` and returns what is shown."""

  def show(runs, title="Title", **view):
    comparison.draw(runs, title, comparison.View(**view))
    return shown["comparison"]

  return show


def test_colours_are_runs_and_dashes_are_arms(draw):
  arms = "ticket", "reinit"
  shown = draw(_two(), arms=arms, quantities=statistics.QUANTITIES)
  titles = [axes.get_title() for axes in shown.axes]
  assert titles == [each.title for each in statistics.QUANTITIES]
  for axes in shown.axes:
    lines = drawings.lines_of(axes)
    assert len(lines) == 4
    assert {dash for _, dash in lines} == {"-", "--"}
    assert len({colour for colour, _ in lines}) == 2
    labels = set(axes.get_legend_handles_labels()[1])
    assert labels == {"a", "b", "ticket", "reinit"}
    # Only tickets begin with the dense network.
    for (_, dash), line in lines.items():
      assert len(line.get_xdata()) == (3 if dash == "-" else 2)
      assert (line.get_xdata()[0] == 100) == (dash == "-")
    places = [bars[0].get_xdata()[-1] for bars in axes.containers]
    assert len(set(places)) == 4  # lines do not overlap


def test_three_arms_have_three_dashes(draw):
  arms = ["ticket", "reinit", "random"]
  quantities = [statistics.END_TEST]
  [axes] = draw(_two(arms=arms), arms=arms, quantities=quantities).axes
  assert {dash for _, dash in drawings.lines_of(axes)} == {"-", "--", ":"}


def test_arms_of_a_single_run_look_as_in_its_report(draw):
  arms = "ticket", "random", "reinit", "noise 1", "noise 2"
  run = synthetic_runs.read(
    arms=["ticket", "reinit", "noise"], noise=[1.0, 2.0]
  )
  shown = draw({"LeNet": run}, "Figure 1", arms=arms)
  assert shown.title == "Figure 1 (LeNet)"
  there = ["ticket", "reinit", "noise 1", "noise 2"]
  for axes in shown.axes:
    assert axes.get_legend_handles_labels()[1] == there
    drawn = [
      (colors.to_hex(bars[0].get_color()).upper(), bars[0].get_marker())
      for bars in axes.containers
    ]
    assert drawn == [panels.arm_style(arm, arms) for arm in there]
    assert {bars[0].get_linestyle() for bars in axes.containers} == {"-"}


@pytest.mark.parametrize(
  ("changes", "arms", "titles"),
  [
    (
      {},
      ["ticket"],
      [
        "Early-stop step",
        "Test accuracy at early stop (%)",
        "Test accuracy at the end (%)",
      ],
    ),
    (
      # An arm that no run has is left out.
      {"num_valid": 0, "arms": ["ticket"]},
      ["ticket", "random"],
      ["Test accuracy at the end (%)", "Train accuracy at the end (%)"],
    ),
    (
      {"model": "resnet20", "steps": 30000, "test_every": 5000},
      ["ticket"],
      [
        "Test accuracy at step 10,000 (%)",
        "Test accuracy at step 20,000 (%)",
        "Test accuracy at the end (%)",
      ],
    ),
  ],
)
def test_panels_are_what_all_runs_have(draw, changes, arms, titles):
  shown = draw(_two(**changes), arms=arms)
  assert [axes.get_title() for axes in shown.axes] == titles
  for axes in shown.axes:
    # The arm is not named where there are only tickets.
    assert axes.get_legend_handles_labels()[1] == ["a", "b"]
    assert axes.get_xlabel() == "Percent of weights left"
    assert len(drawings.lines_of(axes)) == 2


def test_the_axis_may_be_the_number_of_weights(draw):
  runs = _two()
  runs["b"] = results.change(
    runs["b"], lambda each: each._replace(counted=1000)
  )
  density = runs["a"].grid.density
  for axes in draw(runs, by_weights=True).axes:
    assert axes.get_xlabel() == "Weights left in the layers that are pruned"
    found = [bars[0].get_xdata() for bars in axes.containers]
    np.testing.assert_allclose(found, [266200 * density, 1000 * density])
    left, right = axes.get_xlim()
    assert left > 266200 > 1000 * density[-1] > right
    assert axes.xaxis.get_major_formatter()(2_000_000) == "2M"


def test_layers_that_are_not_pruned_are_not_on_the_axis_of_weights(draw):
  runs = _two()
  share = np.array([1.0, 0.8, 0.64])  # of a tenth of the weights
  runs["b"] = results.change(
    dataclasses.replace(
      runs["b"],
      config=runs["b"].config | {"rates": ["Dense_0=0.2", "kernel=0"]},
    ),
    lambda each: each._replace(
      counted=1000, density=0.9 + 0.1 * share[each.round]
    ),
  )
  [axes, *_] = draw(runs, by_weights=True).axes
  found = axes.containers[1][0].get_xdata()
  np.testing.assert_allclose(found, 100 * share)


def test_a_run_that_is_far_below_the_others_does_not_squeeze_them(draw):
  runs = _two()
  for name, lower in (("c", 0.0), ("d", 0.3)):
    runs[name] = results.change(
      runs["a"],
      lambda each, lower=lower: each._replace(
        end=each.end._replace(test_accuracy=each.end.test_accuracy - lower),
        early_stop=each.early_stop._replace(step=each.early_stop.step * 9),
      ),
    )
  quantities = statistics.EARLY_STEP, statistics.END_TEST
  steps, accuracy = draw(runs, quantities=quantities).axes
  assert accuracy.get_ylim()[0] > 90
  assert steps.get_yscale() == "log"


def test_controls_that_collapse_leave_a_comparison(draw):
  arms = ["ticket", "random"]
  runs = _two(rounds=20, arms=arms, replicates=1)
  lines = drawings.lines_of(axes := draw(runs, arms=arms).axes[1])
  every = np.concatenate([x.get_ydata() for x in lines.values()])
  tickets = [x.get_ydata() for (_, dash), x in lines.items() if dash == "-"]
  low, high = axes.get_ylim()
  assert every.min() < low < np.min(tickets) < np.max(tickets) < high
  whole = draw(runs, arms=arms, whole=True).axes[1]
  assert whole.get_ylim()[0] < every.min()


def test_differences_that_all_runs_share_are_noted_once(draw):
  note = draw(_two() | {"c": synthetic_runs.read(learning_rate=0.1)}).note
  assert note.startswith("scaled down: ")
  assert note.count("steps 15,000 instead of 50,000") == 1
  assert note.endswith(". c: learning_rate 0.1 instead of 0.0012")


@pytest.mark.parametrize(
  ("gains", "down_to"),
  [
    ([0, 1, 1, -1], "51.2%"),
    ([0, -1, 1, 1], "100.0%"),
    ([0, 1, math.nan, 1], "41.0%"),
    ([math.nan] * 4, tables.DASH),
  ],
)
def test_a_comparison_goes_down_to_the_first_density_that_is_worse(
  gains, down_to
):
  density = (1.0, 0.8, 0.512, 0.41)
  accuracy = [[98.0 + gain for gain in gains]] * 3
  run = results.tickets([[500.0] * 4] * 3, accuracy, density)
  [row] = comparison.table({"x": run}).rows
  assert row[-1] == down_to


def test_runs_are_compared_in_one_table_and_figure(tmp_path):
  runs = {
    name: synthetic_runs.write(
      tmp_path / str(replicates), replicates=replicates, rounds=1
    )
    for name, replicates in (("0.1", 3), ("a|b", 2))
  }
  path = comparison.write(runs, tmp_path / "both", "Sizes")
  lines = path.read_text().splitlines()
  assert lines[0].startswith("Sizes.")
  assert [line.split(" | ")[1] for line in lines[-2:]] == ["3", "2"]
  assert "a\\|b" in lines[-1]
  for kind, head in (("png", b"\x89PNG"), ("svg", b"<?xml")):
    found = (tmp_path / "both" / f"comparison.{kind}").read_bytes()
    assert found.startswith(head)

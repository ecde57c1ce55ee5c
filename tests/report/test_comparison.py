"""Several runs in one figure and one table."""

import math

import numpy as np
import pytest
from helpers import drawings, results, synthetic_runs
from matplotlib import colors

from lth_jax.report import comparison, records, statistics, tables
from lth_jax.report.figures import canvas, panels

_SMALL = {"rounds": 2, "replicates": 2, "arms": ["ticket", "reinit"]}
_RESNET = {
  "model": "resnet20",
  "scope": "global",
  "steps": 30000,
  "test_every": 5000,
}


@pytest.fixture
def shown(monkeypatch):
  """What `comparison` draws: {"axes": a list, "title" and "note": strings}."""
  kept = {}

  def draw_parts(name, title, parts, note):
    axes = [drawings.axes_of(part) for part in parts]
    kept.update(axes=axes, title=title, note=note)
    return canvas.Drawn(name, title, b"", b"", ())

  monkeypatch.setattr(canvas, "draw_parts", draw_parts)
  return kept


def _read(folder, **changes):
  return records.read(synthetic_runs.write(folder, **{**_SMALL, **changes}))


def _two(folder, **changes):
  return {
    name: _read(folder / name, seed=seed, **changes)
    for seed, name in enumerate(("a", "b"))
  }


def test_colours_are_runs_and_dashes_are_arms(tmp_path, shown):
  comparison.draw(
    _two(tmp_path),
    "Figure 5",
    comparison.View(("ticket", "reinit"), statistics.QUANTITIES),
  )
  titles = [axes.get_title() for axes in shown["axes"]]
  assert titles == [each.title for each in statistics.QUANTITIES]
  for axes in shown["axes"]:
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


def test_three_arms_have_three_dashes(tmp_path, shown):
  arms = ("ticket", "reinit", "random")
  comparison.draw(
    _two(tmp_path, arms=list(arms)),
    "Figure 14",
    comparison.View(arms, [statistics.END_TEST]),
  )
  [axes] = shown["axes"]
  assert {dash for _, dash in drawings.lines_of(axes)} == {"-", "--", ":"}


def test_arms_of_a_single_run_look_as_in_its_report(tmp_path, shown):
  arms = "ticket", "random", "reinit", "noise 1", "noise 2"
  run = _read(tmp_path, arms=["ticket", "reinit", "noise"], noise=[1.0, 2.0])
  comparison.draw({"LeNet": run}, "Figure 1", comparison.View(arms))
  assert shown["title"] == "Figure 1 (LeNet)"
  there = ["ticket", "reinit", "noise 1", "noise 2"]
  for axes in shown["axes"]:
    assert axes.get_legend_handles_labels()[1] == there
    drawn = [
      (colors.to_hex(bars[0].get_color()).upper(), bars[0].get_marker())
      for bars in axes.containers
    ]
    assert drawn == [panels.arm_style(arm, arms) for arm in there]
    assert {bars[0].get_linestyle() for bars in axes.containers} == {"-"}


def test_lines_of_a_comparison_do_not_overlap(tmp_path, shown):
  comparison.draw(_two(tmp_path), "x", comparison.View(("ticket", "reinit")))
  for axes in shown["axes"]:
    places = [bars[0].get_xdata() for bars in axes.containers]
    assert all(x[0] == 100 for x in places if len(x) == 3)
    assert len({x[-1] for x in places}) == 4


def test_legend_of_tickets_alone_does_not_name_the_arm(tmp_path, shown):
  comparison.draw(_two(tmp_path), "Sizes")
  titles = [axes.get_title() for axes in shown["axes"]]
  assert titles == [
    "Early-stop step",
    "Test accuracy at early stop (%)",
    "Test accuracy at the end (%)",
  ]
  for axes in shown["axes"]:
    assert axes.get_legend_handles_labels()[1] == ["a", "b"]
    assert axes.get_xlabel() == "Percent of weights left"


def test_an_arm_that_a_run_lacks_is_left_out(tmp_path, shown):
  runs = _two(tmp_path, arms=["ticket"])
  comparison.draw(runs, "Some", comparison.View(("ticket", "random")))
  assert all(len(drawings.lines_of(axes)) == 2 for axes in shown["axes"])
  for axes in shown["axes"]:
    assert axes.get_legend_handles_labels()[1] == list(runs)


def test_the_axis_may_be_the_number_of_weights(tmp_path, shown):
  runs = _two(tmp_path)
  runs["b"] = results.change(
    runs["b"], lambda each: each._replace(counted=1000)
  )
  comparison.draw(runs, "Figure 31", comparison.View(by_weights=True))
  density = runs["a"].grid.density
  for axes in shown["axes"]:
    assert axes.get_xlabel() == "Number of weights left"
    found = [bars[0].get_xdata() for bars in axes.containers]
    np.testing.assert_allclose(found, [266200 * density, 1000 * density])
    left, right = axes.get_xlim()
    assert left > 266200 > 1000 * density[-1] > right
    assert axes.xaxis.get_major_formatter()(2_000_000) == "2M"


def test_deep_networks_are_compared_at_their_milestones(tmp_path, shown):
  comparison.draw(_two(tmp_path, **_RESNET), "Figure 8")
  titles = [axes.get_title() for axes in shown["axes"]]
  assert titles == [
    "Test accuracy at step 10,000 (%)",
    "Test accuracy at step 20,000 (%)",
    "Test accuracy at the end (%)",
  ]


def test_controls_that_collapse_leave_a_comparison(tmp_path, shown):
  arms = ["ticket", "random"]
  runs = _two(tmp_path, rounds=20, arms=arms, replicates=1)
  comparison.draw(runs, "Figure 1", comparison.View(arms))
  axes = shown["axes"][1]
  every = np.concatenate(
    [x.get_ydata() for x in drawings.lines_of(axes).values()]
  )
  tickets = [
    x.get_ydata()
    for (_, dash), x in drawings.lines_of(axes).items()
    if dash == "-"
  ]
  low, high = axes.get_ylim()
  assert every.min() < low < np.min(tickets) < np.max(tickets) < high
  comparison.draw(runs, "Figure 1", comparison.View(arms, whole=True))
  assert shown["axes"][1].get_ylim()[0] < every.min()


def test_differences_that_all_runs_share_are_noted_once(tmp_path, shown):
  runs = _two(tmp_path)
  runs["c"] = _read(tmp_path / "c", learning_rate=0.1)
  comparison.draw(runs, "Rates")
  assert shown["note"].startswith("scaled down: ")
  assert shown["note"].count("steps 15,000 instead of 50,000") == 1
  assert shown["note"].endswith(". c: learning_rate 0.1 instead of 0.0012")


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
  runs = {}
  for name, replicates in (("0.1", 3), ("a|b", 2)):
    runs[name] = synthetic_runs.write(
      tmp_path / name.replace("|", ""), replicates=replicates, seed=replicates
    )
  path = comparison.write(runs, tmp_path / "both", "Sizes")
  lines = path.read_text().splitlines()
  assert lines[0].startswith("Sizes.")
  assert [line.split(" | ")[1] for line in lines[-2:]] == ["3", "2"]
  assert "a\\|b" in lines[-1]
  for kind, head in (("png", b"\x89PNG"), ("svg", b"<?xml")):
    found = (tmp_path / "both" / f"comparison.{kind}").read_bytes()
    assert found.startswith(head)

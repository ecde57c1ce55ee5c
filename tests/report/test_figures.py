"""Which figures a network has, and what their lines show."""

import itertools

import numpy as np
import pytest
from helpers import synthetic_runs
from matplotlib import colors, figure

from lth_jax import report
from lth_jax.report import comparison, records, statistics
from lth_jax.report.figures import canvas as canvas_lib
from lth_jax.report.figures import curves, layout, panels

_SMALL = {"rounds": 2, "replicates": 2, "arms": ["ticket", "reinit"]}
_RESNET = {
  "model": "resnet20",
  "scope": "global",
  "steps": 30000,
  "test_every": 5000,
}
_VGG = {
  "model": "vgg19",
  "scope": "global",
  "steps": 112480,
  "eval_every": 703,
  "test_every": 10_000,
}


def _read(folder, **changes):
  return records.read(synthetic_runs.write(folder, **{**_SMALL, **changes}))


def _drawn(panel):
  axes = figure.Figure().subplots()
  panel(axes)
  return axes


def _lines(axes):
  """{(colour, dash): line} of the means over replicates."""
  return {
    (colors.to_hex(bars[0].get_color()), bars[0].get_linestyle()): bars[0]
    for bars in axes.containers
    if len(bars[0].get_xdata()) > 0
  }


@pytest.mark.parametrize("lost", [[0], [-1], range(151)])
def test_validation_losses_that_are_not_finite_are_left_out(tmp_path, lost):
  run = _read(tmp_path)

  def without(trial):
    curve = trial.valid_curve.copy()
    curve[[*lost]] = np.nan
    return trial._replace(valid_curve=curve)

  trials = [x if x.replicate else without(x) for x in run.trials]
  run = run._replace(trials=tuple(trials))
  for panel in curves.draw(run, statistics.VALID_CURVE, 15000):
    low, high = _drawn(panel).get_ylim()
    assert low < high


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    (
      {},
      {
        "figure_4a": "Figure 4a. At early stopping, iterative pruning",
        "figure_3": "Figure 3. Test accuracy while training",
        "figure_11": "Figure 11. Validation loss while training",
        "figure_4b": "Figures 4b and 12. At the end of training, iterative "
        "pruning",
      },
    ),
    (
      {"pruning": "oneshot", "num_valid": 0},
      {
        "figure_3": "Figure 3. Test accuracy while training",
        "figure_4b": "Figures 4b and 12. At the end of training, one-shot "
        "pruning",
      },
    ),
    (
      {"model": "conv2"},
      {
        "figure_5": "Figures 5 and 13. Conv-2, iterative pruning",
        "learning": "Test accuracy while training",
        "validation": "Validation loss while training",
      },
    ),
    (
      {"model": "conv6", "dropout": 0.5, "num_valid": 0},
      {
        "figure_6": "Figure 6. Conv-6 with dropout, iterative pruning",
        "learning": "Test accuracy while training",
      },
    ),
    (
      _RESNET | {"num_valid": 0},
      {
        "figure_8": "Figure 8. Test accuracy of ResNet-20, iterative pruning "
        "over all layers",
        "learning": "Test accuracy while training",
      },
    ),
    (
      _VGG | {"scope": "layer", "num_valid": 0},
      {
        "figure_40": "Figure 40. Test accuracy of VGG-19, iterative pruning "
        "layer by layer",
        "learning": "Test accuracy while training",
      },
    ),
  ],
)
def test_a_network_has_the_figures_that_the_paper_has_of_it(
  tmp_path, changes, expected
):
  found = layout.of(_read(tmp_path, **changes))
  assert {each.name: each.title for each in found} == expected
  assert [each.name for each in found] == list(expected)
  assert set(expected) <= set(layout.NAMES)
  assert not any("{" in each.title + each.caption for each in found)


@pytest.mark.parametrize(
  ("changes", "main"),
  [
    (_RESNET, "figure_8"),
    (_RESNET | {"scope": "layer"}, "figure_41"),
    (_VGG, "figure_7"),
    (_VGG | {"scope": "layer"}, "figure_40"),
    ({"model": "conv4"}, "figure_5"),
    ({"model": "conv4", "dropout": 0.5}, "figure_6"),
    ({"pruning": "oneshot"}, "figure_4a"),
  ],
)
def test_the_main_figure_comes_first(tmp_path, changes, main):
  assert layout.of(_read(tmp_path, rounds=1, **changes))[0].name == main


def test_one_shot_pruning_is_drawn_on_a_linear_axis_too(tmp_path):
  last = layout.of(_read(tmp_path, pruning="oneshot"))[-1]
  assert last.name == "figure_4c"
  assert _drawn(last.panels[0]).get_xscale() == "linear"


@pytest.mark.parametrize(
  ("changes", "count"),
  [
    ({}, [3, 3, 3, 2]),
    ({"arms": ["ticket"]}, [3, 2, 2, 2]),
    ({"model": "conv2"}, [5, 3, 3]),
    ({"model": "conv2", "num_valid": 0}, [2, 3]),
    (_RESNET, [3, 3, 3]),
  ],
)
def test_number_of_panels(tmp_path, changes, count):
  found = layout.of(_read(tmp_path, **changes))
  assert [len(each.panels) for each in found] == count


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
def test_deep_networks_are_shown_on_the_way(tmp_path, changes, where):
  run = _read(tmp_path, rounds=1, **changes)
  parts = layout.of(run)[0].panels
  titles = [_drawn(panel).get_title() for panel in parts]
  assert titles == [f"Test accuracy at {each}" for each in where]


def test_accuracy_on_the_way_is_that_of_the_curve(tmp_path):
  run = _read(tmp_path, arms=["ticket"], **_RESNET)
  [bars] = _lines(_drawn(layout.of(run)[0].panels[0])).values()
  curve = [
    [100 * trial.test_curve[trial.test_steps == 10000][0] for trial in trials]
    for _, trials in itertools.groupby(
      sorted(run.trials, key=lambda trial: trial.round),
      lambda trial: trial.round,
    )
  ]
  np.testing.assert_allclose(bars.get_ydata(), np.mean(curve, axis=1))
  np.testing.assert_allclose(
    bars.get_xdata(), 100 * statistics.grid(run).density
  )


def test_curves_of_lenet_show_the_beginning_those_of_others_everything(
  tmp_path,
):
  for model, last in (("lenet", 15000), ("conv2", 20000)):
    run = _read(tmp_path / model, model=model, steps=20000)
    for figure_ in layout.of(run)[1:3]:
      for panel in figure_.panels:
        assert _drawn(panel).get_xlim() == (0, last)


def test_validation_loss_shows_the_minimum_and_the_rise(tmp_path):
  run = _read(tmp_path, rounds=7)
  limits = set()
  for panel in curves.draw(run, statistics.VALID_CURVE, 15000):
    axes = _drawn(panel)
    low, high = axes.get_ylim()
    limits.add((low, high))
    assert axes.get_ylabel() == "Validation loss"
    for line in axes.lines:
      loss = line.get_ydata()
      assert low < loss.min() < loss[-1] <= high < loss[0]
      # The rise, or as much of the fall, is not a sliver.
      assert loss.min() - low < 0.2 * (high - low)
  assert len(limits) == 1


def test_a_loss_that_only_falls_and_one_that_explodes_are_seen(tmp_path):
  run = _read(tmp_path, arms=["ticket"])
  steps = run.trials[0].valid_steps
  for loss in (1 + np.exp(-steps / 3000), 1 + steps / 100):
    trials = tuple(trial._replace(valid_curve=loss) for trial in run.trials)
    [panel, _] = curves.draw(
      run._replace(trials=trials), statistics.VALID_CURVE, 15000
    )
    low, high = _drawn(panel).get_ylim()
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


def test_panels_stand_three_in_a_row():
  sizes = []
  for count in (3, 4):
    svg = canvas_lib.draw_parts("x", "", count * [lambda axes: None], "").svg
    box = svg.decode().split('viewBox="0 0 ')[1].split('"')[0]
    sizes.append([float(size) for size in box.split()])
  (wide, low), (as_wide, high) = sizes
  assert wide == as_wide
  assert high - low > low / 2


def _laid_out(title, labels, count=1):
  """Title, legend and the first panel's title as drawn."""
  found = []

  def part(axes):
    found.append(axes.set_title("Test accuracy"))
    for label in labels:
      axes.plot([0, 1], label=label)

  canvas_lib.draw_parts("x", title, count * [part], "")
  canvas = found[0].axes.figure
  canvas.draw_without_rendering()  # at the scale that it is asked about
  return canvas.texts[0], canvas.legends[0], found[0]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
  ("title", "labels"),
  [
    ("Figure 1", ["ticket"]),
    (
      "Figure 14. Tickets, reinits and random masks at the end (LeNet)",
      ["ticket", "reinit", "random", "random_global", "magnitude_at_start"],
    ),
    (
      "Figure 41. Test accuracy of ResNet-20, iterative pruning over all "
      "layers (rate 0.03, warm-up) and something that makes it longer yet",
      [f"Conv-{n}, convolutions only" for n in range(9)],
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


def test_a_short_legend_is_one_row():
  _, legend, _ = _laid_out("Title", ["dense", "ticket", "reinit", "random"])
  assert len({text.get_window_extent().y0 for text in legend.get_texts()}) == 1


def test_no_grid_runs_across_what_is_drawn():
  *_, title = _laid_out("Title", ["ticket"])
  assert title.axes.get_axisbelow() is True


def test_report_of_a_deep_network(tmp_path):
  workdir = synthetic_runs.write(
    tmp_path, **{**_SMALL, **_RESNET, "num_valid": 0}
  )
  folder = workdir / "report"
  folder.mkdir()
  for name in ("figure_4a.png", "figure_41.svg", "validation.png"):
    (folder / name).write_bytes(b"of an earlier report")
  page = report.write(workdir).read_text()
  assert {path.name for path in folder.glob("*.png")} == {
    "figure_8.png",
    "learning.png",
  }
  assert not (folder / "figure_41.svg").exists()
  assert page.index("<h2>Figure 8. Test") < page.index("<h2>Winning tickets")
  assert page.index("<h2>Published claims") < page.index("<h2>Test accuracy")
  assert page.count("<svg") == 6
  assert "figure 4a" not in page.lower()


@pytest.fixture
def shown(monkeypatch):
  """What `comparison` draws: {"axes": a list, "title" and "note": strings}."""
  kept = {}

  def draw_parts(name, title, parts, note):
    axes = [_drawn(part) for part in parts]
    kept.update(axes=axes, title=title, note=note)
    return canvas_lib.Drawn(name, title, b"", b"", ())

  monkeypatch.setattr(canvas_lib, "draw_parts", draw_parts)
  return kept


def _two(folder, **changes):
  return {
    name: synthetic_runs.write(
      folder / name, **{**_SMALL, "seed": seed, **changes}
    )
    for seed, name in enumerate(("a", "b"))
  }


def test_colour_says_the_run_and_dash_says_the_arm(tmp_path, shown):
  comparison.write(
    _two(tmp_path),
    tmp_path,
    "Figure 5",
    arms=("ticket", "reinit"),
    quantities=statistics.QUANTITIES,
  )
  titles = [axes.get_title() for axes in shown["axes"]]
  assert titles == [each.title for each in statistics.QUANTITIES]
  for axes in shown["axes"]:
    lines = _lines(axes)
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
  comparison.write(
    _two(tmp_path, arms=list(arms)),
    tmp_path,
    "Figure 14",
    arms=arms,
    quantities=[statistics.END_TEST],
  )
  [axes] = shown["axes"]
  assert {dash for _, dash in _lines(axes)} == {"-", "--", ":"}


def test_arms_of_a_single_run_look_as_in_its_report(tmp_path, shown):
  arms = "ticket", "random", "reinit", "noise 1", "noise 2"
  run = _read(tmp_path, arms=["ticket", "reinit", "noise"], noise=[1.0, 2.0])
  comparison.draw({"LeNet": run}, "Figure 1", arms=arms)
  assert shown["title"] == "Figure 1 (LeNet)"
  there = ["ticket", "reinit", "noise 1", "noise 2"]
  for axes in shown["axes"]:
    assert axes.get_legend_handles_labels()[1] == there
    drawn = [
      (colors.to_hex(bars[0].get_color()).upper(), bars[0].get_marker())
      for bars in axes.containers
    ]
    assert drawn == [panels.look(arm, arms) for arm in there]
    assert {bars[0].get_linestyle() for bars in axes.containers} == {"-"}


def test_lines_of_a_comparison_stand_beside_each_other(tmp_path, shown):
  comparison.write(_two(tmp_path), tmp_path, "x", arms=("ticket", "reinit"))
  for axes in shown["axes"]:
    places = [bars[0].get_xdata() for bars in axes.containers]
    assert all(x[0] == 100 for x in places if len(x) == 3)
    assert len({x[-1] for x in places}) == 4


@pytest.mark.parametrize("rounds", [1, 5, 20])
def test_markers_are_inside_of_their_panel(tmp_path, rounds):
  arms = ["ticket", "reinit", "random"]
  run = _read(tmp_path, rounds=rounds, arms=arms)
  axes = _drawn(layout.of(run)[0].panels[0])
  left, right = np.log(axes.get_xlim())
  for bars in axes.containers:
    x = np.log(bars[0].get_xdata())
    # Half of a marker of 4.5 points in a panel of 3.5 inches.
    assert (left - x).max() / (left - right) < 1 - 2.25 / (72 * 3.5)


def test_tickets_alone_need_no_word_for_the_arm(tmp_path, shown):
  comparison.write(_two(tmp_path), tmp_path, "Sizes")
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
  comparison.write(runs, tmp_path, "Some", arms=("ticket", "random"))
  assert all(len(_lines(axes)) == 2 for axes in shown["axes"])
  for axes in shown["axes"]:
    assert axes.get_legend_handles_labels()[1] == list(runs)


def test_weights_may_be_counted(tmp_path, shown):
  runs = {name: records.read(path) for name, path in _two(tmp_path).items()}
  small = tuple(trial._replace(counted=1000) for trial in runs["b"].trials)
  runs["b"] = runs["b"]._replace(trials=small)
  comparison.draw(runs, "Figure 31", by_weights=True)
  density = statistics.grid(runs["a"]).density
  for axes in shown["axes"]:
    assert axes.get_xlabel() == "Number of weights left"
    found = [bars[0].get_xdata() for bars in axes.containers]
    np.testing.assert_allclose(found, [266200 * density, 1000 * density])
    left, right = axes.get_xlim()
    assert left > 266200 > 1000 * density[-1] > right
    assert axes.xaxis.get_major_formatter()(2_000_000) == "2M"


def test_deep_networks_are_compared_on_the_way(tmp_path, shown):
  comparison.write(_two(tmp_path, **_RESNET), tmp_path, "Figure 8")
  titles = [axes.get_title() for axes in shown["axes"]]
  assert titles == [
    "Test accuracy at step 10,000 (%)",
    "Test accuracy at step 20,000 (%)",
    "Test accuracy at the end (%)",
  ]


def test_controls_that_collapse_leave_a_comparison(tmp_path, shown):
  runs = _two(tmp_path, rounds=20, arms=["ticket", "random"], replicates=1)
  comparison.write(runs, tmp_path, "Figure 1", arms=("ticket", "random"))
  axes = shown["axes"][1]
  every = np.concatenate([x.get_ydata() for x in _lines(axes).values()])
  tickets = [
    x.get_ydata() for (_, dash), x in _lines(axes).items() if dash == "-"
  ]
  low, high = axes.get_ylim()
  assert every.min() < low < np.min(tickets) < np.max(tickets) < high
  comparison.write(
    runs, tmp_path, "Figure 1", arms=("ticket", "random"), whole=True
  )
  assert shown["axes"][1].get_ylim()[0] < every.min()


def test_what_all_runs_share_is_noted_once(tmp_path, shown):
  runs = _two(tmp_path)
  runs["c"] = synthetic_runs.write(
    tmp_path / "c", **{**_SMALL, "learning_rate": 0.1}
  )
  comparison.write(runs, tmp_path, "Rates")
  assert shown["note"].startswith("scaled down: ")
  assert shown["note"].count("steps 15,000 instead of 50,000") == 1
  assert shown["note"].endswith(". c: learning_rate 0.1 instead of 0.0012")

"""Statistics and distributions of tickets."""

import dataclasses
import json
import math

import numpy as np
import pytest
from helpers import results
from matplotlib import figure

from lth_jax import errors
from lth_jax.analysis import summary
from lth_jax.report import structure
from lth_jax.report.figures import canvas, distributions
from lth_jax.storage import files

_TICKETS = [(replicate, k) for replicate in range(2) for k in range(2)]


def _initial_and_masks():
  """784 pixels into 10 units: small weights and border pixels are pruned."""
  rng = np.random.default_rng(0)
  initial = rng.normal(size=(784, 10)) * math.sqrt(2 / 794)
  mask = np.abs(initial) > np.quantile(np.abs(initial), 0.4)
  inside = np.zeros((28, 28), bool)
  inside[4:-4, 4:-4] = True
  mask &= inside.reshape(784, 1) | (rng.random((784, 10)) < 0.5)
  return {"w": initial}, {"w": mask}


def test_ticket_statistics_show_how_a_layer_was_pruned():
  initial, masks = _initial_and_masks()
  trained = {"w": np.where(masks["w"], 3 * initial["w"], 0.9 * initial["w"])}
  full = {"w": np.ones_like(masks["w"])}
  rounds = {
    str(index): summary.describe(initial, trained, each)
    for index, each in enumerate((full, masks))
  }
  dense, sparse = structure.measure({2: rounds})
  assert (sparse.replicate, sparse.round, sparse.leaf) == (2, 1, "w")
  assert dense.valley > 1.3 and sparse.valley < 0.1
  assert abs(dense.positive - 50) < 2 and abs(sparse.positive - 50) < 3
  assert abs(sparse.grown - 100) < 1e-9 and sparse.moved > 10
  assert abs(dense.border - 1) < 1e-9 and 0.4 < sparse.border < 0.6
  np.testing.assert_allclose(sparse.kept, masks["w"].mean())
  assert math.isnan(dense.uneven_in)  # nothing is left to chance
  # By chance 1; whole rows were treated alike, columns were not.
  assert 0.3 < sparse.uneven_in < 2 and 1.05 < sparse.uneven_out < 3


def test_two_kinds_of_pixels_have_two_peaks():
  rng = np.random.default_rng(0)
  inside = np.zeros((28, 28), bool)
  inside[4:-4, 4:-4] = True
  found = []
  for border, spread in ((0.2, 0.05), (0.4, 0.3)):
    part = np.where(inside, 0.5, border) + spread * rng.normal(size=(28, 28))
    masks = {"w": rng.random((784, 300)) < part.reshape(784, 1)}
    weights = {"w": rng.normal(size=(784, 300))}
    described = summary.describe(weights, weights, masks)
    found.append(structure.measure({0: {"1": described}})[0].trough)
  assert found[0] < 0.5 < 0.8 < found[1]


def test_unevenness_of_random_masks_is_that_of_chance():
  rng = np.random.default_rng(0)
  weights = {"w": rng.normal(size=(300, 100))}
  described = summary.describe(
    weights, weights, {"w": rng.random((300, 100)) < 0.2}
  )
  [ticket] = structure.measure({0: {"1": described}})
  assert abs(ticket.uneven_in - 1) < 0.2 and abs(ticket.uneven_out - 1) < 0.2


def test_least_and_most_ignore_replicates_without_statistics():
  run = results.run(ticket=[[(9, 98), (9, 98)]] * 2)
  found = tuple(
    structure.TicketStatistics(0, 1, leaf, 0.5, value, *[math.nan] * 6)
    for leaf, value in (("a", 1.5), ("b", 0.9))
  )
  run = dataclasses.replace(run, tickets=found)
  sample = results.sample("level", "valley least", "ticket 50%", "", run)
  assert sample.note == "b"
  np.testing.assert_array_equal(sample.values, [0.9, math.nan])


def test_statistics_are_found_by_density_leaf_and_replicate():
  run = results.run(ticket=[[(9, 98), (9, 98)]] * 2)
  found = tuple(
    structure.TicketStatistics(r, 1, leaf, 0.5, r + value, *[math.nan] * 6)
    for r in (1, 0)
    for leaf, value in (("a/kernel", 0.1), ("b/kernel", 0.2))
  )
  run = dataclasses.replace(run, tickets=found)
  for leaf, density, values in (
    ("b", 50, [0.2, 1.2]),
    ("least", 50, [0.1, 1.1]),
    ("most", 50, [0.2, 1.2]),
    ("c", 50, [math.nan] * 2),
    ("b", 10, [math.nan] * 2),
  ):
    sample = results.sample(
      "level", f"valley {leaf}", f"ticket {density}%", "", run
    )
    np.testing.assert_array_equal(sample.values, values)


def test_fractions_that_units_keep_are_spread_as_described():
  rng = np.random.default_rng(0)
  masks = {"Dense_1/kernel": rng.random((300, 100)) < rng.random((300, 1))}
  weights = {"Dense_1/kernel": rng.normal(size=(300, 100))}
  described = summary.describe(weights, weights, masks)
  run = results.run(ticket=[[(9, 98), (9, 98)]])
  found = structure.measure({0: {"1": described}})
  others = [found[0]._replace(leaf=f"Dense_{i}/kernel") for i in (0, 2)]
  run = dataclasses.replace(run, tickets=(*found, *others))
  for way, axis in (("in", 0), ("out", 1)):
    kept = masks["Dense_1/kernel"].mean(axis=axis)
    sample = results.sample(
      "level", f"spread_{way} Dense_1", "ticket 50%", "", run
    )
    np.testing.assert_allclose(sample.values, kept.std() / kept.mean())


def _described(folder, replicate, kept):
  """A description of one layer with some connections, `[in, out]`."""
  masks = {"w": np.array(kept, bool)}
  full = {"w": np.ones_like(masks["w"])}
  initial = {"w": np.linspace(-1, 1, full["w"].size).reshape(full["w"].shape)}
  rounds = {
    str(index): summary.describe(initial, {"w": 2 * initial["w"]}, each)
    for index, each in enumerate((full, masks))
  }
  path = folder / f"replicate_{replicate}" / "structure.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  content = {"format": 3, "replicate": replicate, "rounds": rounds}
  content |= {"theta_0": "0", "trained": "0", "masks": {}}
  path.write_text(json.dumps(files.add_checksum(content)))
  return path


def test_structure_is_pooled_over_replicates(tmp_path):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  _described(tmp_path, 1, [[1, 1], [0, 0], [0, 0]])
  dense, sparse = distributions.pool(structure.load(tmp_path, _TICKETS))
  assert dense.percent == 100 and abs(sparse.percent - 100 / 3) < 1e-9
  leaf = sparse.leaves["w"]
  assert leaf["num_incoming"].tolist() == [2, 0, 1, 1]
  assert leaf["num_outgoing"].tolist() == [1, 1, 0, 2, 0, 0]
  assert leaf["moved"]["kept"].sum() == 4
  assert leaf["moved"]["pruned"].sum() == 8
  drawn = distributions.draw((dense, sparse), "note")
  assert tuple(each.name for each in drawn) == distributions.NAMES
  assert all(len(each.panels) == 1 for each in drawn)


@pytest.fixture
def shown(monkeypatch):
  """{name of a figure: axes of its first panel}, once it is drawn."""
  kept = {}

  def draw_parts(name, title, parts, note):
    kept[name] = figure.Figure().subplots()
    parts[0](kept[name])
    return canvas.Drawn(name, title, b"", b"", ())

  monkeypatch.setattr(canvas, "draw_parts", draw_parts)
  return kept


@pytest.mark.parametrize("shape", [(1, 2), (12, 10), (7, 24), (30, 100)])
def test_bins_of_units_hold_equally_many_fractions(tmp_path, shown, shape):
  kept = np.arange(math.prod(shape)).reshape(shape) % 3 == 0
  _described(tmp_path, 0, kept)
  distributions.draw(distributions.pool(structure.load(tmp_path, _TICKETS)), "")
  for name, fan in zip(("incoming", "outgoing"), shape):
    [stairs] = shown[name].patches
    counts, edges, _ = stairs.get_data()
    fractions = np.arange(fan + 1) / fan
    *inside, last = np.histogram(fractions, edges)[0]
    assert len(counts) <= min(25, fan + 1)
    assert len(set(inside)) <= 1 and last <= max(inside, default=last)
    assert edges[0] < 0 and edges[-1] > 1
    assert (counts * np.diff(edges)).sum() == pytest.approx(1)


def test_movement_is_shown_at_the_density_of_its_claims(tmp_path, shown):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  dense, _ = distributions.pool(structure.load(tmp_path, _TICKETS))
  rounds = tuple(dense._replace(percent=100 * 0.8**k) for k in range(21))
  for count in (8, 13, 21):
    drawn = distributions.draw(rounds[:count], "")
    titles = {each.name: each.title for each in drawn}
    assert titles["moved"].endswith("ticket at 21.0%")
    assert titles["grown"].endswith("ticket at 21.0%")
  labels = shown["initial_weights"].get_legend_handles_labels()[1]
  assert labels == ["100%", "41.0%", "21.0%", "6.9%"]


@pytest.mark.parametrize(
  "harm",
  [
    lambda text: text[: len(text) // 2],
    lambda text: text.replace('"num_kept": 6', '"num_kept": 5'),
    lambda text: text.replace('"kept"', '"cept"'),
    lambda text: "[]",
  ],
)
def test_a_damaged_description_is_an_error_that_names_it(tmp_path, harm):
  path = _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  path.write_text(harm(path.read_text()))
  with pytest.raises(errors.InputError, match=r"structure.json: damaged"):
    distributions.pool(structure.load(tmp_path, _TICKETS))

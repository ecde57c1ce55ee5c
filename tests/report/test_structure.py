"""Statistics and distributions of tickets."""

import dataclasses
import json
import math

import numpy as np
import pytest
from helpers import results, synthetic_runs

from lth_jax import errors
from lth_jax.analysis import summary
from lth_jax.report import pooling, records, structure
from lth_jax.report.figures import canvas, distributions
from lth_jax.storage import files

_TICKETS = [(replicate, k) for replicate in range(2) for k in range(2)]


def _inside():
  """Where a digit may be, not the border of the image, `[28, 28]`."""
  inside = np.zeros((28, 28), bool)
  inside[4:-4, 4:-4] = True
  return inside


def _measure(*masks, initial=None, trained=None):
  """Statistics of the one leaf of tickets, by default of random weights."""
  if initial is None:
    initial = np.random.default_rng(1).normal(size=masks[0].shape)
  weights = {"w": initial}, {"w": initial if trained is None else trained}
  rounds = {
    index: summary.describe(*weights, {"w": mask})
    for index, mask in enumerate(masks)
  }
  return structure.measure(2, rounds)


def test_ticket_statistics_show_how_a_layer_was_pruned():
  """784 pixels into 10 units: small weights and border pixels are pruned."""
  rng = np.random.default_rng(0)
  initial = rng.normal(size=(784, 10)) * math.sqrt(2 / 794)
  mask = np.abs(initial) > np.quantile(np.abs(initial), 0.4)
  mask &= _inside().reshape(784, 1) | (rng.random((784, 10)) < 0.5)
  trained = np.where(mask, 3 * initial, 0.9 * initial)
  full = np.ones_like(mask)
  dense, sparse = _measure(full, mask, initial=initial, trained=trained)
  assert (sparse.replicate, sparse.round, sparse.leaf) == (2, 1, "w")
  assert dense.valley > 1.3 and sparse.valley < 0.1
  assert abs(dense.positive - 50) < 2 and abs(sparse.positive - 50) < 3
  assert abs(sparse.grown - 100) < 1e-9 and sparse.moved > 10
  assert abs(dense.border - 1) < 1e-9 and 0.4 < sparse.border < 0.6
  np.testing.assert_allclose(sparse.kept, mask.mean())
  assert math.isnan(dense.uneven_in)  # nothing is left to chance
  # By chance 1; whole rows were treated alike, columns were not.
  assert 0.3 < sparse.uneven_in < 2 and 1.05 < sparse.uneven_out < 3


def test_two_kinds_of_pixels_have_two_peaks():
  rng = np.random.default_rng(0)
  found = []
  for border, spread in ((0.2, 0.05), (0.4, 0.2)):
    part = np.where(_inside(), 0.5, border)
    part += spread * rng.normal(size=(28, 28))
    found += _measure(rng.random((784, 300)) < part.reshape(784, 1))
  assert found[0].trough < 0.5 < 0.8 < found[1].trough


def test_unevenness_of_random_masks_is_that_of_chance():
  [ticket] = _measure(np.random.default_rng(0).random((300, 100)) < 0.2)
  assert abs(ticket.uneven_in - 1) < 0.2 and abs(ticket.uneven_out - 1) < 0.2


def _with_tickets(*tickets, replicates=2):
  """A run with statistics (replicate, leaf, valley) of its round 1."""
  run = results.run(ticket=[[(9, 98), (9, 98)]] * replicates)
  found = tuple(
    structure.TicketStatistics(replicate, 1, leaf, 0.5, valley, *[math.nan] * 6)
    for replicate, leaf, valley in tickets
  )
  return dataclasses.replace(run, tickets=found)


def test_least_and_most_ignore_replicates_without_statistics():
  run = _with_tickets((0, "a", 1.5), (0, "b", 0.9))
  sample = results.sample("level", "valley least", "ticket 50%", "", run)
  assert sample.note == "b"
  np.testing.assert_array_equal(sample.values, [0.9, math.nan])


@pytest.mark.parametrize(
  ("leaf", "density", "values"),
  [
    ("b", 50, [0.2, 1.2]),
    ("least", 50, [0.1, 1.1]),
    ("most", 50, [0.2, 1.2]),
    ("c", 50, [math.nan] * 2),
    ("b", 10, [math.nan] * 2),
  ],
)
def test_statistics_are_found_by_density_leaf_and_replicate(
  leaf, density, values
):
  run = _with_tickets(
    *((1, "a/kernel", 1.1), (1, "b/kernel", 1.2)),
    *((0, "a/kernel", 0.1), (0, "b/kernel", 0.2)),
  )
  asked = "level", f"valley {leaf}", f"ticket {density}%", ""
  np.testing.assert_array_equal(results.sample(*asked, run).values, values)


def test_fractions_that_units_keep_are_spread_as_described():
  rng = np.random.default_rng(0)
  mask = rng.random((300, 100)) < rng.random((300, 1))
  [ticket] = _measure(mask)
  ticket = ticket._replace(replicate=0, round=1)
  tickets = tuple(ticket._replace(leaf=f"Dense_{i}/kernel") for i in range(3))
  run = dataclasses.replace(_with_tickets(replicates=1), tickets=tickets)
  for way, axis in (("in", 0), ("out", 1)):
    kept = mask.mean(axis=axis)
    sample = results.sample(
      "level", f"spread_{way} Dense_1", "ticket 50%", "", run
    )
    np.testing.assert_allclose(sample.values, kept.std() / kept.mean())


def _described(folder, replicate, kept):
  """A description of one layer with some connections, `[in, out]`."""
  mask = np.array(kept, bool)
  initial = np.linspace(-1, 1, mask.size).reshape(mask.shape)
  rounds = {
    str(index): summary.describe(
      {"w": initial}, {"w": 2 * initial}, {"w": each}
    )
    for index, each in enumerate((np.ones_like(mask), mask))
  }
  path = folder / f"replicate_{replicate}" / "structure.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  content = {"format": 3, "replicate": replicate, "rounds": rounds}
  content |= {"theta_0": "0", "trained": "0", "masks": {}}
  path.write_text(json.dumps(files.add_checksum(content)))
  return path


def _pooled(folder):
  found = structure.load(folder, _TICKETS)
  return pooling.pool([each.rounds for each in found.values()])


def _draw(rounds, **config):
  run = records.Run("", synthetic_runs.config(**config), (), (), tuple(rounds))
  return [
    canvas.draw_parts(each.name, each.title, each.panels, "")
    for each in distributions.of(run)
  ]


def test_a_ticket_that_is_trained_again_has_no_statistics(tmp_path):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  found = structure.load(tmp_path, [(0, 0), (1, 1)])[0]
  assert list(found.rounds) == [0]
  assert {each.round for each in found.tickets} == {0}


def test_structure_is_pooled_over_replicates(tmp_path, shown):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  _described(tmp_path, 1, [[1, 1], [0, 0], [0, 0]])
  dense, sparse = _pooled(tmp_path)
  assert dense.percent == 100 and abs(sparse.percent - 100 / 3) < 1e-9
  leaf = sparse.leaves["w"]
  # Of three inputs and of two outputs.
  assert leaf["incoming"].kept.tolist() == [1, 2, 1, 0]
  assert leaf["outgoing"].kept.tolist() == [3, 2, 1]
  assert leaf["moved"].kept.sum() == 4
  assert leaf["moved"].pruned.sum() == 8
  again = pooling.from_json(json.loads(json.dumps(pooling.to_json([sparse]))))
  for kind, found in again[0].leaves["w"].items():
    for ours, theirs in zip(found, leaf[kind]):
      np.testing.assert_allclose(ours, theirs, atol=1e-5)
  _draw((dense, sparse))
  assert tuple(shown) == distributions.NAMES
  assert all(len(each.axes) == 1 for each in shown.values())


@pytest.mark.parametrize("shape", [(1, 2), (12, 10), (7, 24), (30, 100)])
def test_bins_of_units_hold_equally_many_fractions(tmp_path, shown, shape):
  kept = np.arange(math.prod(shape)).reshape(shape) % 3 == 0
  _described(tmp_path, 0, kept)
  _draw(_pooled(tmp_path))
  for name, fan in zip(("incoming", "outgoing"), shape):
    [stairs] = shown[name].axes[0].patches
    counts, edges, _ = stairs.get_data()
    fractions = np.arange(fan + 1) / fan
    *inside, last = np.histogram(fractions, edges)[0]
    assert len(counts) <= min(25, fan + 1)
    assert len(set(inside)) <= 1 and last <= max(inside, default=last)
    assert edges[0] < 0 and edges[-1] > 1
    assert (counts * np.diff(edges)).sum() == pytest.approx(1)


def test_movement_is_shown_at_the_density_of_its_claims(tmp_path, shown):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  dense, _ = _pooled(tmp_path)
  rounds = tuple(dense._replace(percent=100 * 0.8**k) for k in range(21))
  for count in (8, 13, 21):
    _draw(rounds[:count])
    for name in ("moved", "grown"):
      assert shown[name].title.endswith("ticket at 21.0%")
  [axes] = shown["initial_weights"].axes
  labels = axes.get_legend_handles_labels()[1]
  assert labels == ["100%", "41.0%", "21.0%", "6.9%"]


@pytest.mark.parametrize(
  ("config", "numbers"),
  [
    ({}, ("15", "19", "20", "21", "23")),
    ({"optimizer": "sgd"}, ("16", "", "", "22", "24")),
    ({"model": "conv2"}, ("",) * 5),
  ],
)
def test_distributions_have_the_papers_numbers(
  tmp_path, shown, config, numbers
):
  _described(tmp_path, 0, [[1, 0], [1, 0], [0, 0]])
  [_, ticket] = _pooled(tmp_path)
  leaves = {"Dense_1/kernel": ticket.leaves["w"]}
  _draw([ticket._replace(leaves=leaves)], **config)
  titles = [each.title for each in shown.values()]
  for title, number in zip(titles, numbers, strict=True):
    assert title.startswith(f"Figure {number}. " if number else ("I", "H", "C"))
  names = [shown[x].axes[0].get_title() for x in ("incoming", "outgoing")]
  lenet = ["Second hidden layer", "First hidden layer"]
  assert names == (["Dense_1/kernel"] * 2 if "model" in config else lenet)


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
    structure.load(tmp_path, _TICKETS)

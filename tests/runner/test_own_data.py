"""A run on data of one's own."""

import shutil

import numpy as np
from helpers import commands, workdirs

from lth_jax import report


def save(path, size, num_classes, seed=0):
  rng = np.random.default_rng(seed)
  np.savez(
    path,
    x_train=rng.integers(0, 256, [2 * num_classes, size, size], np.uint8),
    y_train=np.arange(2 * num_classes) % num_classes,
    x_test=rng.integers(0, 256, [num_classes, size, size], np.uint8),
    y_test=np.arange(num_classes),
  )


def start(folder, dataset, *flags):
  return commands.call(
    f"--workdir={folder}",
    *commands.TINY,
    f"--dataset={dataset}",
    *("--num_valid=4", "--batch_size=8", "--rounds=1", "--replicates=1"),
    *("--arms=ticket", "--devices=1"),
    *flags,
  )


def test_a_run_goes_on_where_its_data_were_moved_to(tmp_path, monkeypatch):
  monkeypatch.setattr(report, "write", lambda folder: folder)
  save(tmp_path / "a.npz", 6, 20)
  result = start(tmp_path / "run", f"npz:{tmp_path}/a.npz")
  assert result.returncode == 0, result.stderr
  assert (
    "npz:a.npz: 40 training and 20 test images of 6x6x1, 20" in result.stderr
  )
  assert workdirs.results(tmp_path / "run")
  (tmp_path / "else").mkdir()
  shutil.move(tmp_path / "a.npz", tmp_path / "else")
  moved = start(tmp_path / "run", "npz:a.npz", f"--data_dir={tmp_path}/else")
  assert "nothing to train" in moved.stderr, moved.stderr
  save(tmp_path / "a.npz", 6, 20, seed=1)
  other = start(tmp_path / "run", f"npz:{tmp_path}/a.npz")
  commands.assert_one_line(other, "npz:a.npz", "not the ones", "--data_dir")
  missing = start(tmp_path / "run", f"npz:{tmp_path}/b.npz")
  commands.assert_one_line(missing, "b.npz", "'a.npz'")
  assert missing.returncode == 2

"""Makes the bundled subset of MNIST from the original files.

  python -m lth_jax.data.bundle FOLDER_OF_THE_ORIGINAL_FILES OUTPUT_FILE

The same originals give the same contents, and with liblzma 5.4 the same file.
"""

import argparse
import hashlib
import lzma
import pathlib

import numpy as np

from lth_jax.data import bundled, idx

SEED = 2019


def pick(labels: np.ndarray, num_picked: int, seed: int) -> np.ndarray:
  """Picks examples at random with the class proportions of the whole.

  Class sizes are rounded by largest remainder. The generator is NumPy's
  `RandomState`, whose stream is frozen for good.

  >>> pick(np.array([0, 0, 0, 0, 1, 1]), 3, seed=0)
  array([1, 2, 5])

  Args:
    labels: `[N]`, the class of each example.
    num_picked: number of examples to pick, at most N.
    seed: of the shuffle; within a class, those first in it are picked.

  Returns:
    `[num_picked]` indices, ascending.
  """
  shuffled = np.random.RandomState(seed).permutation(labels.size)
  sizes = class_sizes(np.bincount(labels), num_picked)
  picked = [
    shuffled[labels[shuffled] == label][:size]
    for label, size in enumerate(sizes)
  ]
  return np.sort(np.concatenate(picked))


def class_sizes(counts: np.ndarray, total: int) -> np.ndarray:
  """Shares `total` out in proportion to `counts`, by largest remainder.

  >>> class_sizes(np.array([5, 3, 2]), 4)
  array([2, 1, 1])

  Args:
    counts: `[K]`, examples of each class.
    total: number of examples to share out, at most `counts.sum()`.

  Returns:
    `[K]`; sums to `total`.
  """
  sizes, remainders = np.divmod(counts * total, counts.sum())
  largest = np.argsort(-remainders, kind="stable")[: total - sizes.sum()]
  sizes[largest] += 1
  return sizes


def main() -> None:
  """Writes the packed subset and prints what is recorded about it."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("folder", help="the four original .gz files of MNIST")
  parser.add_argument("output", type=pathlib.Path, help="file to write")
  args = parser.parse_args()
  original = idx.load("mnist", args.folder)
  contents = b""
  for split, size in (
    (original.train, bundled.NUM_TRAIN),
    (original.test, bundled.NUM_TEST),
  ):
    picked = pick(split.labels, size, SEED)
    contents += split.images[picked].tobytes()
    contents += split.labels[picked].astype(np.uint8).tobytes()
  part = args.output.with_name(args.output.name + ".part")
  part.write_bytes(_compress(contents))
  part.replace(args.output)
  print(f"sha256 of the contents: {hashlib.sha256(contents).hexdigest()}")
  print(f"bytes: {args.output.stat().st_size:,} (of {len(contents):,})")


def _compress(contents):
  # Pixels are single bytes, so no position bits; 4 bits of the last pixel are
  # the best context that was tried.
  lzma2 = {
    "id": lzma.FILTER_LZMA2,
    "preset": 9 | lzma.PRESET_EXTREME,
    "lc": 4,
    "lp": 0,
    "pb": 0,
  }
  return lzma.compress(contents, filters=[lzma2])


if __name__ == "__main__":
  main()

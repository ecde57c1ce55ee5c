import gzip
import hashlib
import struct

import numpy as np
import pytest

from lth_jax.data import idx


def _idx_bytes(array):
  header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
  return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
  """A folder of four small IDX files that pass for MNIST."""
  rng = np.random.default_rng(0)
  folder = tmp_path / "tiny"
  folder.mkdir()
  arrays = (
    rng.integers(0, 256, [30, 28, 28]),
    np.arange(30) % 10,
    rng.integers(0, 256, [20, 28, 28]),
    np.arange(20) // 2,
  )
  contents = [_idx_bytes(array) for array in arrays]
  for file, content in zip(idx.FILES, contents):
    (folder / f"{file}.gz").write_bytes(gzip.compress(content))
  digests = tuple(hashlib.sha256(content).hexdigest() for content in contents)
  monkeypatch.setitem(idx.SHA256, "mnist", digests)
  return folder

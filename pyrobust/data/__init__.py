"""Images on disk: data sets in their published layouts, sample stores, selection."""

from pyrobust.data.dataset import Dataset
from pyrobust.data.raw import RawDataset, array_split
from pyrobust.data.store import SampleStore, StoreWriter

__all__ = ["Dataset", "RawDataset", "SampleStore", "StoreWriter", "array_split"]

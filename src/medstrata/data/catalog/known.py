"""What is known of a data set."""

from medstrata.data.catalog.dataset import Dataset


def find_dataset(name: str) -> Dataset:
    raise ValueError(name)

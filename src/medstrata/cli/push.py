"""Put a store into object storage, such as s3://bucket/cxr.store, to be opened from there.

Interrupted, the same command goes on.
"""

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("store", type=str, help="Store.")
    parser.add_argument("address", type=str, help="Where to: s3://, gs://, az:// or file://.")
    parser.add_argument("--overwrite", action="store_true", help="Replace another store there.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.data.store.push import push

    push(arguments.store, arguments.address, overwrite=arguments.overwrite)

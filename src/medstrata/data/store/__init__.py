"""Prepared images as memory-mapped arrays with their manifest, on a disk or in object storage.

Read: layout, remote, shard_cache, shards, store, open, push.
Imports: nothing.
"""

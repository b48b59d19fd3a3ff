"""Prepared images as memory-mapped arrays with their manifest, on a disk or in object storage.

Read: shards, store, shard_cache, remote, open, push.
Imports: nothing.
"""

"""Weights files of other programs: read safely, recognised, matched tensor by tensor.

Read: architecture, config_json, conversions, layouts, read_tensors, find_encoder, match.
Imports: preprocessing.
"""

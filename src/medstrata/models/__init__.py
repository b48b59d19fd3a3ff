"""Networks: backbones with taps on their stages, heads, weights on disk, features of stored images.

Read: stages, backbones, pooling, heads, preprocessing, encoders, features, cpu_convolutions, cost,
importing, settings, import_weights.
Imports: runtime, metrics, runs, data.
"""

"""The statistics: arrays of predictions or features in, numbers and intervals out; no files.

Read: kinds, defaults, resampling, scores, metric, intervals, paired_difference, label_efficiency,
learning_curve, operating_curves, threshold, knn, ks_distance, kernels, cka, spectrum, legacy.
Imports: runtime.
"""

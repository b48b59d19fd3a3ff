"""Trained encoders and classifiers on new images: features, predictions, scikit-learn.

Read: settings, feature_file, inputs, forward, embed, predict, transformer.
Imports: runtime, runs, data, models, evaluation.
"""

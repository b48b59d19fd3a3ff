"""What an encoder is worth: fine-tuning, linear and layer-wise probing, feature reuse, atlas.

Read: settings, rows, result_tables, feature_cache, seeded_encoder, setup, fit_result,
linear_probe, tuned_network, tuning_optimizer, tuning_batches, finetune_full, thresholds,
classifier_card, classifier, wrong_images, forecast, finetune, probe, feature_reuse, atlas, tsne,
neighbour_sheet.
Imports: runtime, metrics, runs, data, models, pretraining.
"""

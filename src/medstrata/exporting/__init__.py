"""A run's encoder for other programs, a file a format, each checked by loading it there.

Read: citations, settings, source, scores, target, card, state_dict_target, graph_target, to_monai,
to_timm, to_huggingface, to_onnx, to_torch_export, to_torchvision, export.
Imports: runtime, metrics, runs, models, evaluation.
"""

"""How programs lay an encoder out in a file, as data: where it lies, how its tensors are named.

A place is written as `read_tensors` writes it, containers set off by `/`. A new layout is
a record here, and a test on a file of its program.
"""

from typing import NamedTuple

from medstrata.models.preprocessing import Normalisation

# Containers that say nothing of whose weights they hold, and those of an average over training.
_STATE = (
    r"(?:(?:state_dict|model|model_state|model_state_dict|network|net|weights|params|"
    r"encoder|backbone)/)*"
)
_AVERAGE = r"(?:state_dict_ema|model_ema|ema|ema_state_dict|ema_model)/"
# What a network is called within a larger one.
_PREFIX = (
    r"(?:(?:model|net|network|backbone|encoder|base_model|trunk|feature_extractor|base_encoder|"
    r"timm_model|image_encoder|visual|vit|resnet|cnn|student|base)\.)+"
)
_MOMENTUM_PREFIX = (
    r"(?:(?:momentum|target|teacher|ema)_(?:model|net|network|backbone|encoder)|"
    r"(?:backbone|encoder)_momentum)\."
)
_INSIDE = r"(?:(?:encoder|net|backbone)\.)?"


class Layout(NamedTuple):
    """Where a program keeps its encoders.

    `module.` (DataParallel), `_orig_mod.` (torch.compile) and their like are taken off first.
    """

    name: str
    signs: tuple[str, ...]  # patterns; each must be found at the start of some place
    encoders: tuple[tuple[str, str], ...]  # name, pattern of its prefix; the first is the default
    normalisation: Normalisation = "imagenet"  # what its encoders are trained on, as a rule


class KeyNames(NamedTuple):
    """How a program names an encoder's tensors, where timm has other names."""

    name: str
    sign: str  # pattern, found at the start of some name within the encoder
    renames: tuple[tuple[str, str], ...]  # pattern, replacement
    caution: str = ""  # what the tensors do not tell


# The first that fits is taken, so the more specific stand first.
LAYOUTS = (
    Layout(
        "checkpoint of a run",
        (r"model/query_encoder\.backbone\.model\.",),
        (
            ("query", r"model/query_encoder\.backbone\.model\."),
            ("key", r"model/key_encoder\.backbone\.model\."),
        ),
        normalisation="none",
    ),
    Layout(
        "VISSL",
        (r"(?:classy_state_dict/)?base_model/model/trunk/",),
        (("trunk", r"(?:classy_state_dict/)?base_model/model/trunk/(?:_feature_blocks\.)?"),),
    ),
    Layout(
        "MoCo in Lightning",
        (r"pytorch-lightning_version$", r"state_dict/encoder_q\."),
        (("query", r"state_dict/encoder_q\."), ("key", r"state_dict/encoder_k\.")),
        # The paper's authors trained on values in 0..1 (docs/how/paper_map.md).
        normalisation="none",
    ),
    Layout(
        "MoCo v2",
        (_STATE + r"encoder_q\.fc\.2\.",),
        (("query", _STATE + r"encoder_q\."), ("key", _STATE + r"encoder_k\.")),
    ),
    Layout(
        "MoCo",
        (_STATE + r"encoder_q\.",),
        (("query", _STATE + r"encoder_q\."), ("key", _STATE + r"encoder_k\.")),
    ),
    Layout(
        "MoCo v3",
        (_STATE + r"base_encoder\.", _STATE + r"momentum_encoder\."),
        (("base", _STATE + r"base_encoder\."), ("momentum", _STATE + r"momentum_encoder\.")),
    ),
    Layout(
        "DINOv2",
        (_STATE + r"(?:teacher|student)[/.](?:dino|ibot)_head\.",),
        (
            ("teacher", _STATE + r"teacher[/.]backbone\."),
            ("student", _STATE + r"student[/.]backbone\."),
        ),
    ),
    Layout(
        "DINO",
        (_STATE + r"(?:teacher|student)[/.]backbone\.",),
        (
            ("teacher", _STATE + r"teacher[/.]backbone\."),
            ("student", _STATE + r"student[/.]backbone\."),
        ),
    ),
    Layout("MAE", (_STATE + r"decoder_embed\.",), (("encoder", _STATE),)),
    Layout(
        "stable-pretraining",
        (r"(?:state_dict/)?(?:callbacks_(?:modules|metrics)|backbone\.(?:student|teacher))\.",),
        (
            ("teacher", _STATE + r"backbone\.teacher\."),
            ("student", _STATE + r"backbone\.student\."),
            ("backbone", _STATE + r"backbone\.(?!student\.|teacher\.|\w*ema_coefficient)"),
        ),
    ),
    Layout(
        "solo-learn",
        (r"state_dict/classifier\.", r"state_dict/(?:backbone|encoder)\."),
        (
            ("backbone", r"state_dict/(?:backbone|encoder)\."),
            ("momentum", r"state_dict/momentum_(?:backbone|encoder)\."),
        ),
    ),
    Layout(
        "lightly",
        (
            _STATE + r"(?:projection|student)_head",
            _STATE + r"(?:(?:query|student|online)_)?backbone\.",
        ),
        (
            ("backbone", _STATE + r"(?:(?:query|student|online)_)?backbone\."),
            (
                "momentum",
                _STATE + r"(?:(?:key|teacher|target|momentum)_backbone|backbone_momentum)\.",
            ),
        ),
    ),
    Layout(
        "BYOL",
        (_STATE + r"online_(?:network|encoder)",),
        (
            ("online", _STATE + r"online_(?:network|encoder)(?:_state_dict)?[/.]" + _INSIDE),
            ("target", _STATE + r"target_(?:network|encoder)(?:_state_dict)?[/.]" + _INSIDE),
        ),
    ),
    Layout(
        "torchxrayvision",
        (_STATE + r"op_threshs$",),
        (("", _STATE + r"(?:model\.)?"),),
        normalisation="torchxrayvision",
    ),
    Layout("torchvision ViT", (_STATE + r"conv_proj\.",), (("", _STATE),)),
    Layout(
        "prefixed",
        (_STATE + _PREFIX,),
        (
            ("main", _STATE + _PREFIX),
            ("averaged", _AVERAGE + _PREFIX),
            ("momentum", _STATE + _MOMENTUM_PREFIX),
        ),
    ),
    Layout("plain", ("",), (("main", _STATE), ("averaged", _AVERAGE))),
)

# Applied in turn, each where its sign is found.
SPELLINGS = (
    KeyNames(
        "a ResNet's children in order",
        r"4\.0\.conv1\.weight",
        (
            (r"0\.", "conv1."),
            (r"1\.", "bn1."),
            *((rf"{stage + 3}\.(?=\d)", f"layer{stage}.") for stage in (1, 2, 3, 4)),
        ),
    ),
    KeyNames(
        "MONAI's ResNet",
        r"layer\d\.0\.downsample\.0\.bias",
        (),
        caution="MONAI's ResNet starts with stride 1 unless conv1_t_stride=2 was given, timm's "
        "with 2; the tensors fit both, and the features are the same only with 2",
    ),
    KeyNames(
        "MONAI's DenseNet",
        r"features\.denseblock1\.denselayer1\.layers\.",
        ((r"(features\.denseblock\d\.denselayer\d+)\.layers\.", r"\1."),),
    ),
    KeyNames(
        "DenseNet of torchvision's files",
        r"features\.denseblock1\.denselayer1\.norm\.1\.",
        ((r"(features\.denseblock\d\.denselayer\d+\.(?:norm|conv))\.", r"\1"),),
    ),
    KeyNames(
        "torchvision's ViT",
        r"encoder\.layers\.encoder_layer_0\.",
        (
            (r"conv_proj\.", "patch_embed.proj."),
            (r"class_token$", "cls_token"),
            (r"encoder\.pos_embedding$", "pos_embed"),
            (r"encoder\.ln\.", "norm."),
            (r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.", r"blocks.\1.norm\2."),
            (
                r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_",
                r"blocks.\1.attn.qkv.",
            ),
            (
                r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.",
                r"blocks.\1.attn.proj.",
            ),
            (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.", r"blocks.\1.mlp.fc1."),
            (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.", r"blocks.\1.mlp.fc2."),
        ),
    ),
    KeyNames(
        "DINOv2's blocks in chunks",
        r"blocks\.\d+\.\d+\.",
        ((r"blocks\.\d+\.(\d+)\.", r"blocks.\1."),),
    ),
    KeyNames("DINOv2's registers", r"register_tokens$", ((r"register_tokens$", "reg_token"),)),
)

# What stands behind an encoder or trains it: dropped where the backbone has no such tensor.
HEADS = (
    r"(?:fc|heads?|head_dist|classifier|class_layers|last_linear|linear|projection_head|"
    r"projection|projector|projetion|prediction_head|predictor|prototypes|(?:dino|ibot)_head|"
    r"decoder\w*|mask_token|op_threshs|n_averaged|queue\w*|p[1-4]|contrastive_head)(?:\.|$)"
)
# Parts of a place that wrappers of a module add.
WRAPPERS = (
    r"(?:(?<=^)|(?<=[./]))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)

"""Depthwise convolutions that a CPU is slow at in bfloat16, computed in float32."""

from accelerate import Accelerator
from timm.layers import Conv2dSame
from torch import Tensor, autocast, nn

from medstrata.runtime.devices import compute_precision


class _InFloat32(nn.Conv2d):
    """Computes in float32 where autocast would take bfloat16, and gives the type it was given."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, C, H, W)."""
        with autocast(maps.device.type, enabled=False):
            return super().forward(maps.float()).to(maps.dtype)


class Float32Conv2d(_InFloat32):
    """`nn.Conv2d` in float32."""


class Float32Conv2dSame(_InFloat32, Conv2dSame):
    """timm's `Conv2dSame`, which pads as TensorFlow does, in float32."""


_IN_FLOAT32: dict[type[nn.Module], type[nn.Conv2d]] = {
    nn.Conv2d: Float32Conv2d,
    Conv2dSame: Float32Conv2dSame,
}


def replace_slow_convolutions(accelerator: Accelerator, network: nn.Module) -> None:
    """Let depthwise convolutions that a CPU is slow at in bfloat16 compute in float32.

    The backward pass of a depthwise convolution with a stride, or with a kernel of 5 and more,
    takes up to twelve times as long in bfloat16 as in float32; with 3 x 3 and no stride bfloat16
    is the faster one (docs/results/performance.md). The weights, and their keys in the state dict,
    stay as they are.

    Args:
        accelerator: On a GPU, or in float32, nothing is changed.
        network: Changed in place; one that was built here, never a caller's.
    """
    if accelerator.device.type != "cpu" or compute_precision(accelerator) != "bf16":
        return
    for name, module in list(network.named_modules()):
        if type(module) in _IN_FLOAT32 and _is_slow_in_bf16(module):
            network.set_submodule(name, _in_float32(module))


def _is_slow_in_bf16(convolution: nn.Conv2d) -> bool:
    depthwise = 1 < convolution.groups == convolution.in_channels
    return depthwise and (max(convolution.stride) > 1 or max(convolution.kernel_size) > 3)


def _in_float32(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same layer, on the same weights, in float32."""
    kind = _IN_FLOAT32[type(convolution)]
    layer = kind.__new__(kind)
    layer.__setstate__(vars(convolution))
    return layer

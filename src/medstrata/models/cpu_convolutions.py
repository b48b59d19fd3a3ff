"""Convolutions that a CPU is slow at, or dies of, computed another way on the same weights."""

from accelerate import Accelerator
from timm.layers import Conv2dSame
from torch import Tensor, autocast, nn
from torch.nn import functional

from medstrata.runtime.devices import compute_precision

# Fewer channels than this do not fill a register of AVX-512.
_FULL_VECTOR = 16


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


class SubsampledConv2d(nn.Conv2d):
    """A convolution of single pixels with a stride, given only the pixels that it reads."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of shape (B, C, H, W)."""
        rows, columns = self.stride
        return functional.conv2d(maps[..., ::rows, ::columns], self.weight, self.bias)


_IN_FLOAT32: dict[type[nn.Module], type[nn.Conv2d]] = {
    nn.Conv2d: Float32Conv2d,
    Conv2dSame: Float32Conv2dSame,
}


def replace_convolutions(accelerator: Accelerator, network: nn.Module) -> None:
    """Let a CPU compute some convolutions another way.

    The backward pass of a depthwise convolution with a stride, or with a kernel of 5 and more,
    takes up to twelve times as long in bfloat16 as in float32; with 3 x 3 and no stride bfloat16
    is the faster one (docs/results/performance.md). That of a 1 x 1 convolution with a stride and
    few channels, which FastViT and RepVGG have first, writes beyond its memory in channels-last
    layout (oneDNN of PyTorch 2.14): the process dies, or the gradient is wrong. The weights, and
    their keys in the state dict, stay as they are.

    Args:
        accelerator: On a GPU nothing is changed.
        network: Changed in place; one that was built here, never a caller's.
    """
    if accelerator.device.type != "cpu":
        return
    in_bf16 = compute_precision(accelerator) == "bf16"
    for name, module in list(network.named_modules()):
        # Subclasses, whose forward pass may be another, are left alone.
        if not isinstance(module, nn.Conv2d) or type(module) not in _IN_FLOAT32:
            continue
        if _is_broken(module):
            network.set_submodule(name, _recast(module, SubsampledConv2d))
        elif in_bf16 and _is_slow_in_bf16(module):
            network.set_submodule(name, _recast(module, _IN_FLOAT32[type(module)]))


def _is_broken(convolution: nn.Conv2d) -> bool:
    single, strided = convolution.kernel_size == (1, 1), max(convolution.stride) > 1
    return (
        (single and strided and convolution.groups == 1)
        and convolution.in_channels < _FULL_VECTOR
        and convolution.padding == (0, 0)
    )


def _is_slow_in_bf16(convolution: nn.Conv2d) -> bool:
    depthwise = 1 < convolution.groups == convolution.in_channels
    return depthwise and (max(convolution.stride) > 1 or max(convolution.kernel_size) > 3)


def _recast(convolution: nn.Conv2d, kind: type[nn.Conv2d]) -> nn.Conv2d:
    """The same layer, on the same weights, of another kind."""
    layer = kind.__new__(kind)
    layer.__setstate__(vars(convolution))
    return layer

"""Images from NumPy, which has their channels last, as torch takes them: channels first."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def channels_first(pixels: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """Copy images, uint8 (N, H, W, C), to `device` as a contiguous tensor, uint8 (N, C, H, W)."""
    return channels_first_view(pixels, device).contiguous()


def channels_first_view(pixels: npt.NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """View images, uint8 (N, H, W, C), as a tensor, uint8 (N, C, H, W), whose channels still lie last in memory.

    Convolutions may round otherwise in that layout, so callers keep to the one that their stored numbers are of.

    Args:
        pixels: the images; on the CPU the tensor shares their memory.
        device: where the tensor is to be; None for the CPU.
    """
    tensor = torch.from_numpy(pixels)
    return (tensor if device is None else tensor.to(device)).permute(0, 3, 1, 2)

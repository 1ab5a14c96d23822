"""Image towers of open_clip, with embeddings of each patch of an image."""

from typing import Any

from torch import Tensor, nn


class OpenClipTower(nn.Module):
    """The image tower of a model of open_clip (`model.visual`), for a `TextNetwork`.

    Of its vision transformers the patches come as well, as they leave the last block, through the norm and the
    projection that the whole image goes through. Towers that pool by attention, residual networks and those that
    open_clip takes from timm give the whole image alone.

    Args:
        visual: open_clip's; it takes normalised images.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual: Any = visual

    def forward(self, normalised: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings (N, D), and tokens (N, D, h, w) or None, of images float (N, 3, H, W)."""
        if not self._tells_patches():
            given = self.visual(normalised)
            return (given[0] if isinstance(given, tuple) else given), None
        result = self.visual.forward_intermediates(normalised, indices=1, normalize_intermediates=True)
        patches: Tensor = result["image_intermediates"][-1]
        if self.visual.proj is not None:
            patches = (patches.movedim(1, -1) @ self.visual.proj).movedim(-1, 1)
        return result["image_features"], patches

    def _tells_patches(self) -> bool:
        """Whether it is a transformer whose patches stand where the whole image does, before norm and projection."""
        wanted = ("forward_intermediates", "ln_post", "proj")
        return all(hasattr(self.visual, name) for name in wanted) and getattr(self.visual, "attn_pool", None) is None

"""Configuration of MPMA: AMiF's, and what reconstructs images and reports."""

from typing import Any

from .configuration_amif import VISIBLE_PATCH_ENCODERS, AmifConfig

FUSIONS = ("attention", "addition", "none")


class MpmaConfig(AmifConfig):
    """Configuration of `MpmaForPreTraining`.

    Args:
        alignment_size: Width e in which tokens and patches are aligned.
        memory_size: Rows of the memory that both modalities read; 0 leaves it out.
        memory_top_k: How many rows each head reads, the most similar ones; 0 reads all.
        fusion: How the report reads the image: "attention" in layers, "addition" of the mean image state to every
            token, or "none".
        num_fusion_layers: Layers of "attention".
        image_decoder_layers: Blocks of the image decoder.
        image_decoder_size: Its width, a multiple of 4.
        image_decoder_heads: Its attention heads.
        mask_token_id: Token that stands for a hidden one ([MASK]).
        **kwargs: Fields of `AmifConfig`.

    Raises:
        ValueError: If `fusion` is unknown, more rows are to be read than there are, a width does not fit, patches are
            to be pooled, `pooling_mode` is not "cls", or the image encoder cannot read a part of the patches.
    """

    model_type = "amif_mpma"

    def __init__(
        self,
        alignment_size: int = 256,
        memory_size: int = 2048,
        memory_top_k: int = 0,
        fusion: str = "attention",
        num_fusion_layers: int = 2,
        image_decoder_layers: int = 4,
        image_decoder_size: int = 512,
        image_decoder_heads: int = 8,
        mask_token_id: int = 103,
        **kwargs: Any,
    ) -> None:
        self.alignment_size = alignment_size
        self.memory_size = memory_size
        self.memory_top_k = memory_top_k
        self.fusion = fusion
        self.num_fusion_layers = num_fusion_layers
        self.image_decoder_layers = image_decoder_layers
        self.image_decoder_size = image_decoder_size
        self.image_decoder_heads = image_decoder_heads
        self.mask_token_id = mask_token_id
        # The report is predicted with the word embeddings themselves.
        kwargs["tie_word_embeddings"] = True
        super().__init__(**kwargs)

    def _check(self) -> None:
        super()._check()
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion={self.fusion!r} is unknown; choose one of {FUSIONS}.")
        if not 0 <= self.memory_top_k <= self.memory_size:
            raise ValueError(f"memory_top_k={self.memory_top_k} is not from 0 to memory_size={self.memory_size}.")
        if self.image_decoder_size % 4 or self.image_decoder_size % self.image_decoder_heads:
            raise ValueError(
                f"image_decoder_size={self.image_decoder_size} is not a multiple of 4 and of "
                f"image_decoder_heads={self.image_decoder_heads}."
            )
        if self.image_pooling != 1:
            raise ValueError("MPMA hides single patches: image_pooling must be 1.")
        if self.pooling_mode != "cls":
            raise ValueError("MPMA aligns class tokens: pooling_mode must be 'cls'.")
        if self.vision_config.model_type not in VISIBLE_PATCH_ENCODERS:
            raise ValueError(
                f"The image encoder {self.vision_config.model_type!r} cannot read a part of the patches; use one of "
                f"{VISIBLE_PATCH_ENCODERS}."
            )


MpmaConfig.register_for_auto_class()

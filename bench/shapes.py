"""Sizes of models that the planning and the GPU scripts speak of, with what follows from them by counting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A decoder with grouped-query attention and a gated feed-forward layer, biases on q, k and v (Qwen2)."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    tied: bool

    @property
    def head_size(self) -> int:
        """Dimensions of an attention head."""
        return self.hidden // self.heads

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer."""
        keys = self.kv_heads * self.head_size
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * keys + self.hidden + 2 * keys
        return attention + 3 * self.hidden * self.feed_forward + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All weights, a tied head counted once."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + self.hidden + embeddings

    @property
    def matmul_parameters(self) -> int:
        """Weights that every token is multiplied by: all but the embedding, whose rows are only looked up."""
        return self.layers * self.layer_parameters + self.vocabulary * self.hidden

    def kv_bytes(self, itemsize: int = 2) -> int:
        """Key-value cache of one token."""
        return 2 * self.layers * self.kv_heads * self.head_size * itemsize

    def training_flops(self, tokens: int, context: float) -> float:
        """Floating-point operations of forward and backward over `tokens` that see `context` tokens on average.

        6 for each weight and token, and 12 * layers * hidden * context for attention's two products (Chowdhery et al. 2022,
        arXiv:2204.02311, appendix B). Operations that gradient checkpointing repeats are not counted, as MFU asks.
        """
        return tokens * (6 * self.matmul_parameters + 12 * self.layers * self.hidden * context)

    def config(self, **settings: object) -> object:
        """Its transformers configuration, dtype and lengths by `settings`."""
        from transformers import Qwen2Config

        return Qwen2Config(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            tie_word_embeddings=self.tied,
            **settings,
        )


SHAPES = {
    "tiny": Shape(2, 64, 2, 1, 128, 512, True),
    "0.5b": Shape(24, 896, 14, 2, 4864, 151_936, True),
    "1.5b": Shape(28, 1536, 12, 2, 8960, 151_936, True),
    "3b": Shape(36, 2048, 16, 2, 11_008, 151_936, True),
    "7b": Shape(28, 3584, 28, 4, 18_944, 152_064, False),
}
"""Those with a number are the shapes of Qwen2.5 (arXiv:2412.15115)."""

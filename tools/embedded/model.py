"""The embedded model in plain PyTorch: a small Llama, for training.

The parameter names are those of Hugging Face's ``LlamaForCausalLM``, so that a state
dictionary of this module is a checkpoint of that one. RMSNorm, rotary positions (the
half-split form), grouped-query attention, SwiGLU, no biases, head not tied.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    vocab: int = 2048
    hidden: int = 256
    intermediate: int = 640
    blocks: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 64
    positions: int = 512
    theta: float = 10000.0
    eps: float = 1e-5
    dropout: float = 0.0  # on what each branch adds to the residual stream; training only

    def config(self):
        """The Hugging Face config.json of this shape."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.blocks,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "max_position_embeddings": self.positions,
            "rope_theta": self.theta,
            "rms_norm_eps": self.eps,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "tie_word_embeddings": False,
            "use_cache": True,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "torch_dtype": "bfloat16",
        }


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, cos, sin):
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_size, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_size, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_size, bias=False)
        self.o_proj = nn.Linear(s.heads * s.head_size, s.hidden, bias=False)

    def forward(self, x, cos, sin):
        s, (batch, length, _) = self.s, x.shape

        def split(y, heads):
            return y.view(batch, length, heads, s.head_size).transpose(1, 2)

        q = rotate(split(self.q_proj(x), s.heads), cos, sin)
        k = rotate(split(self.k_proj(x), s.kv_heads), cos, sin)
        v = split(self.v_proj(x), s.kv_heads)
        group = s.heads // s.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.intermediate, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.intermediate, bias=False)
        self.down_proj = nn.Linear(s.intermediate, s.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.input_layernorm = Norm(s.hidden, s.eps)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = Norm(s.hidden, s.eps)
        self.mlp = Mlp(s)
        self.dropout = s.dropout

    def drop(self, y):
        """Drop whole channels of a sequence: a mask for every token would cost too much."""
        if not self.training or self.dropout == 0:
            return y
        return y * F.dropout(y.new_ones(y.shape[0], 1, y.shape[2]), self.dropout)

    def forward(self, x, cos, sin):
        x = x + self.drop(self.self_attn(self.input_layernorm(x), cos, sin))
        return x + self.drop(self.mlp(self.post_attention_layernorm(x)))


class Trunk(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.embed_tokens = nn.Embedding(s.vocab, s.hidden)
        self.layers = nn.ModuleList(Block(s) for _ in range(s.blocks))
        self.norm = Norm(s.hidden, s.eps)


class Llama(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.model = Trunk(s)
        self.lm_head = nn.Linear(s.hidden, s.vocab, bias=False)
        inverse = s.theta ** (-torch.arange(0, s.head_size, 2).float() / s.head_size)
        angle = torch.outer(torch.arange(s.positions).float(), inverse)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if name == "model.embed_tokens.weight":
                nn.init.normal_(weight, std=0.2)
            elif name == "lm_head.weight":
                nn.init.normal_(weight, std=0.005)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(weight)  # what writes to the residual stream starts at nothing
            elif weight.ndim == 2:
                nn.init.normal_(weight, std=s.hidden**-0.5)

    def forward(self, ids):
        """Logits of every position; ids are (batch, length)."""
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = self.model.embed_tokens(ids)
        for block in self.model.layers:
            x = block(x, cos, sin)
        return self.lm_head(self.model.norm(x))

    def loss(self, ids, targets):
        """Mean cross-entropy in nats."""
        return F.cross_entropy(self(ids).float().flatten(0, 1), targets.flatten())

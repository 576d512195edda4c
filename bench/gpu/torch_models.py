"""SD 1.5's three networks in plain torch.nn, random weights: modules and parameter names of diffusers and transformers.

Every name and shape is checked against the checkpoint's. What is run and timed is torch_peer.py's business.
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

KEYS = Path(__file__).resolve().parents[2] / 'test/golden/data/fullsize/keys.json'
TOKENS = 77


def conv3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def attention(q, k, v, heads, causal=False):
    """q [n, t, c], k and v [n, s, c] -> [n, t, c]."""
    split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v)]
    return F.scaled_dot_product_attention(*split, is_causal=causal).transpose(1, 2).flatten(2)


class ResnetBlock2D(nn.Module):
    def __init__(self, inputs, outputs, eps, temb_channels=None):
        super().__init__()
        self.norm1 = nn.GroupNorm(32, inputs, eps)
        self.conv1 = conv3(inputs, outputs)
        self.time_emb_proj = nn.Linear(temb_channels, outputs) if temb_channels else None
        self.norm2 = nn.GroupNorm(32, outputs, eps)
        self.conv2 = conv3(outputs, outputs)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x, temb=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None:
            h = h + self.time_emb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class Downsample2D(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv3(channels, channels, stride=2)

    def forward(self, x):
        return self.conv(x)


class Upsample2D(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode='nearest'))


class Attention(nn.Module):
    """Queries from x, keys and values from `context`."""

    def __init__(self, channels, context_channels, heads, bias=False, group_norm=False):
        super().__init__()
        self.heads = heads
        self.group_norm = nn.GroupNorm(32, channels, 1e-6) if group_norm else None
        self.to_q = nn.Linear(channels, channels, bias=bias)
        self.to_k = nn.Linear(context_channels, channels, bias=bias)
        self.to_v = nn.Linear(context_channels, channels, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x, context):
        return self.to_out[0](attention(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class GEGLU(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.proj = nn.Linear(channels, 2 * hidden)

    def forward(self, x):
        values, gate = self.proj(x).chunk(2, dim=-1)
        return values * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, channels):
        super().__init__()
        # Index 1 is diffusers' dropout: without parameters, and without effect when generating.
        self.net = nn.Sequential(GEGLU(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, x):
        return self.net(x)


class BasicTransformerBlock(nn.Module):
    def __init__(self, channels, context_channels, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, context_channels, heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x, context):
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer2DModel(nn.Module):
    def __init__(self, channels, context_channels, heads):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, 1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([BasicTransformerBlock(channels, context_channels, heads)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x, context):
        _, _, height, width = x.shape
        h = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)  # [n, h*w, c]
        for block in self.transformer_blocks:
            h = block(h, context)
        return x + self.proj_out(h.unflatten(1, (height, width)).permute(0, 3, 1, 2))


class UNetBlock(nn.Module):
    """Down, middle and up blocks, with and without attention: what differs is where their inputs come from."""

    def __init__(self, widths, channels, attentions, temb_channels=1280, context_channels=768, heads=8):
        super().__init__()
        self.resnets = nn.ModuleList([ResnetBlock2D(width, channels, 1e-5, temb_channels) for width in widths])
        self.attentions = nn.ModuleList(
            [Transformer2DModel(channels, context_channels, heads) for _ in range(attentions)]
        )


class UNet2DConditionModel(nn.Module):
    """Latents [n, 4, h, w], time [1], text states [n, 77, 768] -> prediction [n, 4, h, w]."""

    def __init__(self, channels=(320, 640, 1280, 1280), layers=2):
        super().__init__()
        last = len(channels) - 1
        self.channels = channels[0]
        self.conv_in = conv3(4, channels[0])
        temb = 4 * channels[0]
        self.time_embedding = nn.ModuleDict(
            {'linear_1': nn.Linear(channels[0], temb), 'linear_2': nn.Linear(temb, temb)}
        )
        skips = [channels[0]]
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(channels):
            block = UNetBlock([skips[-1]] + [width] * (layers - 1), width, layers if i < last else 0)
            skips += [width] * layers
            if i < last:
                block.downsamplers = nn.ModuleList([Downsample2D(width)])
                skips.append(width)
            self.down_blocks.append(block)
        self.mid_block = UNetBlock([channels[-1]] * 2, channels[-1], 1)
        self.up_blocks = nn.ModuleList()
        below = channels[-1]
        for i, width in enumerate(reversed(channels)):
            widths = [skips.pop() + (below if j == 0 else width) for j in range(layers + 1)]
            block = UNetBlock(widths, width, layers + 1 if i > 0 else 0)
            if i < last:
                block.upsamplers = nn.ModuleList([Upsample2D(width)])
            self.up_blocks.append(block)
            below = width
        self.conv_norm_out = nn.GroupNorm(32, channels[0], 1e-5)
        self.conv_out = conv3(channels[0], 4)

    def embed_time(self, timestep, dtype):
        half = self.channels // 2
        exponents = torch.arange(half, device=timestep.device, dtype=torch.float32) / half
        phases = timestep.float()[:, None] * torch.exp(-math.log(10000) * exponents)
        sinusoids = torch.cat([phases.cos(), phases.sin()], dim=-1).to(dtype)
        return self.time_embedding['linear_2'](F.silu(self.time_embedding['linear_1'](sinusoids)))

    def forward(self, sample, timestep, context):
        temb = self.embed_time(timestep, sample.dtype)
        h = self.conv_in(sample)
        skips = [h]
        for block in self.down_blocks:
            for i, resnet in enumerate(block.resnets):
                h = resnet(h, temb)
                if len(block.attentions) > 0:
                    h = block.attentions[i](h, context)
                skips.append(h)
            if hasattr(block, 'downsamplers'):
                h = block.downsamplers[0](h)
                skips.append(h)
        h = self.mid_block.resnets[0](h, temb)
        h = self.mid_block.attentions[0](h, context)
        h = self.mid_block.resnets[1](h, temb)
        for block in self.up_blocks:
            for i, resnet in enumerate(block.resnets):
                h = resnet(torch.cat([h, skips.pop()], dim=1), temb)
                if len(block.attentions) > 0:
                    h = block.attentions[i](h, context)
            if hasattr(block, 'upsamplers'):
                h = block.upsamplers[0](h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class Decoder(nn.Module):
    def __init__(self, channels=(128, 256, 512, 512), layers=2):
        super().__init__()
        below = channels[-1]
        self.conv_in = conv3(4, below)
        self.mid_block = nn.Module()
        self.mid_block.resnets = nn.ModuleList([ResnetBlock2D(below, below, 1e-6) for _ in range(2)])
        self.mid_block.attentions = nn.ModuleList([Attention(below, below, 1, bias=True, group_norm=True)])
        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(reversed(channels)):
            block = nn.Module()
            block.resnets = nn.ModuleList(
                [ResnetBlock2D(below if j == 0 else width, width, 1e-6) for j in range(layers + 1)]
            )
            if i < len(channels) - 1:
                block.upsamplers = nn.ModuleList([Upsample2D(width)])
            self.up_blocks.append(block)
            below = width
        self.conv_norm_out = nn.GroupNorm(32, channels[0], 1e-6)
        self.conv_out = conv3(channels[0], 3)

    def attend(self, x):
        """One head over all pixels."""
        layer = self.mid_block.attentions[0]
        _, _, height, width = x.shape
        tokens = layer.group_norm(x).permute(0, 2, 3, 1).flatten(1, 2)
        return x + layer(tokens, tokens).unflatten(1, (height, width)).permute(0, 3, 1, 2)

    def forward(self, z):
        h = self.mid_block.resnets[0](self.conv_in(z))
        h = self.mid_block.resnets[1](self.attend(h))
        for block in self.up_blocks:
            for resnet in block.resnets:
                h = resnet(h)
            if hasattr(block, 'upsamplers'):
                h = block.upsamplers[0](h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class AutoencoderKLDecoder(nn.Module):
    """Latents divided by the scaling factor [n, 4, h, w] -> picture [n, 3, 8h, 8w], about -1 ... 1."""

    def __init__(self):
        super().__init__()
        self.post_quant_conv = nn.Conv2d(4, 4, 1)
        self.decoder = Decoder()

    def forward(self, latents):
        return self.decoder(self.post_quant_conv(latents))


class CLIPEncoderLayer(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        names = ('q_proj', 'k_proj', 'v_proj', 'out_proj')
        self.self_attn = nn.ModuleDict({name: nn.Linear(channels, channels) for name in names})
        self.layer_norm1 = nn.LayerNorm(channels)
        self.mlp = nn.ModuleDict({'fc1': nn.Linear(channels, 4 * channels), 'fc2': nn.Linear(4 * channels, channels)})
        self.layer_norm2 = nn.LayerNorm(channels)

    def forward(self, x):
        h = self.layer_norm1(x)
        q, k, v = (self.self_attn[name](h) for name in ('q_proj', 'k_proj', 'v_proj'))
        x = x + self.self_attn['out_proj'](attention(q, k, v, self.heads, causal=True))
        h = self.mlp['fc1'](self.layer_norm2(x))
        return x + self.mlp['fc2'](h * torch.sigmoid(1.702 * h))  # quick_gelu


class CLIPTextModel(nn.Module):
    """Token ids [n, 77] -> last hidden states [n, 77, 768]."""

    def __init__(self, channels=768, layers=12, heads=12, vocabulary=49408):
        super().__init__()
        self.text_model = nn.Module()
        tables = {'token_embedding': vocabulary, 'position_embedding': TOKENS}
        self.text_model.embeddings = nn.ModuleDict({name: nn.Embedding(n, channels) for name, n in tables.items()})
        self.text_model.encoder = nn.Module()
        self.text_model.encoder.layers = nn.ModuleList([CLIPEncoderLayer(channels, heads) for _ in range(layers)])
        self.text_model.final_layer_norm = nn.LayerNorm(channels)

    def forward(self, ids):
        embeddings = self.text_model.embeddings
        x = embeddings['token_embedding'](ids) + embeddings['position_embedding'].weight
        for layer in self.text_model.encoder.layers:
            x = layer(x)
        return self.text_model.final_layer_norm(x)


def check_keys(name, model, expected):
    """Every parameter's name and shape against the checkpoint's; exits naming what differs."""
    have = {key: list(value.shape) for key, value in model.state_dict().items()}
    wrong = sorted(key for key in have.keys() | expected.keys() if have.get(key) != expected.get(key))
    if wrong:
        lines = [f'  {key}: {have.get(key)}, the checkpoint has {expected.get(key)}' for key in wrong[:10]]
        sys.exit('\n'.join([f'{name}: {len(wrong)} parameters differ from {KEYS}', *lines]))


def build_models():
    """The three networks without storage, their parameters checked: {text_encoder, unet, vae}."""
    keys = json.loads(KEYS.read_text())
    keys['vae'] = {k: v for k, v in keys['vae'].items() if k.startswith(('decoder.', 'post_quant_conv.'))}
    with torch.device('meta'):
        models = {'text_encoder': CLIPTextModel(), 'unet': UNet2DConditionModel(), 'vae': AutoencoderKLDecoder()}
    for name, model in models.items():
        check_keys(name, model, keys[name])
    return models


@torch.no_grad()
def fill(model, device, dtype):
    """Gives a network storage and random weights whose products keep the variance of what they multiply."""
    model = model.to(dtype).to_empty(device=device).to(memory_format=torch.channels_last).requires_grad_(False).eval()
    for key, value in model.named_parameters():
        if value.dim() > 1:
            value.normal_(0, math.prod(value.shape[1:]) ** -0.5)
        else:
            value.fill_(0 if key.endswith('bias') else 1)
    return model

"""SD 1.5 in PyTorch, timed on one CUDA device: the peer of step.ts. Prints one JSON object; progress goes to stderr.

f16, channels_last, scaled_dot_product_attention, 512x512, guidance as batch 2; medians. Networks: torch_models.py.
Usage: python3 bench/gpu/torch_peer.py [--compile] [--cudnn-benchmark]
"""

import argparse
import json
import statistics
import sys
import time

import torch
from torch_models import TOKENS, build_models, fill

STEPS = 20
GUIDANCE_SCALE = 7.5
SCALING_FACTOR = 0.18215


def ddim_table(device):
    """A row a step: timestep, and the factors of latents and prediction in DDIM (arXiv 2010.02502, eq. 12)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, dim=0).tolist()
    stride = 1000 // STEPS
    rows = []
    for t in range(1000 - stride + 1, 0, -stride):
        now, then = alphas[t], alphas[t - stride] if t > stride else alphas[0]
        # A fourth value, unused, keeps every row on a 16-byte boundary.
        rows.append([t, (then / now) ** 0.5, (1 - then) ** 0.5 - (then * (1 - now) / now) ** 0.5, 0])
    return torch.tensor(rows, dtype=torch.float32, device=device)


def guided_step(unet, latents, row, context):
    """Latents [1, 4, h, w] one step on; `row` is one of `ddim_table`, `context` has the negative prompt first."""
    both = torch.cat([latents, latents]).contiguous(memory_format=torch.channels_last)
    negative, positive = unet(both, row[0:1], context).chunk(2)
    return row[1] * latents + row[2] * torch.lerp(negative, positive, GUIDANCE_SCALE)


def to_bytes(picture):
    """[1, 3, h, w], about -1 ... 1 -> bytes [h, w, 3]."""
    return (picture[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)


def decode(vae, latents):
    return vae((latents / SCALING_FACTOR).contiguous(memory_format=torch.channels_last))


def eager_picture(models, ids, noise, table):
    """The bytes of a picture, on the host."""
    context = models['text_encoder'](ids)
    latents = noise
    for row in table:
        latents = guided_step(models['unet'], latents, row, context)
    return to_bytes(decode(models['vae'], latents)).cpu()


def graphed(run):
    """Captures `run` in a CUDA graph. Returns the graph and what `run` returned, which every replay overwrites."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries choose kernels and reserve memory before the capture
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph, result


def graphed_picture(models, ids, noise, table):
    """The same as `eager_picture`, as three graphs that share their buffers: returns a function."""
    text, context = graphed(lambda: models['text_encoder'](ids))
    text.replay()  # a capture runs nothing, and the next one's warm-up reads this
    row, latents = table[0].clone(), noise.clone()
    step, _ = graphed(lambda: latents.copy_(guided_step(models['unet'], latents, row, context)))
    last, picture = graphed(lambda: to_bytes(decode(models['vae'], latents)))

    def run():
        text.replay()
        latents.copy_(noise)
        for each in table:
            row.copy_(each)
            step.replay()
        last.replay()
        return picture.cpu()

    return run


def wall_ms(run, runs, warm_seconds=0.5):
    """Median milliseconds from call to result, each run by itself, after a warm-up that brings the clocks up."""
    end = time.perf_counter() + warm_seconds
    while time.perf_counter() < end:
        run()
        torch.cuda.synchronize()
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - begin))
    return round(statistics.median(times), 3)


def gpu_ms(graph, runs):
    """Median milliseconds of a graph's replay between two CUDA events, replays queued so that the GPU never idles."""
    for _ in range(runs):
        graph.replay()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
    events[0].record()
    for event in events[1:]:
        graph.replay()
        event.record()
    torch.cuda.synchronize()
    return round(statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:])), 3)


def check_close(name, got, want):
    """Two ways to compute the same must agree: a time of wrong or overflowed numbers would mean nothing."""
    error = ((got.float() - want.float()).norm() / want.float().norm()).item()
    if not error < 0.05:  # NaN too
        sys.exit(f'{name} differs from eager: relative error {error}')


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--compile', action='store_true', help='also time torch.compile (adds minutes)')
    parser.add_argument('--cudnn-benchmark', action='store_true', help='let cuDNN time its convolutions first')
    args = parser.parse_args()
    started = time.perf_counter()

    def report(message):
        print(f'[{time.perf_counter() - started:6.1f} s] {message}', file=sys.stderr, flush=True)

    models = build_models()
    report(f'parameters: {", ".join(f"{name} {len(model.state_dict())}" for name, model in models.items())}')
    if not torch.cuda.is_available():
        sys.exit('torch_peer.py needs a CUDA device')
    device, dtype = torch.device('cuda'), torch.float16
    torch.backends.cudnn.benchmark = args.cudnn_benchmark
    torch.manual_seed(0)
    models = {name: fill(model, device, dtype) for name, model in models.items()}
    report('weights made')

    ids = torch.randint(0, 49408, (2, TOKENS), device=device)
    noise = torch.randn(1, 4, 64, 64, device=device, dtype=dtype)
    table = ddim_table(device)
    sample = torch.cat([noise, noise]).contiguous(memory_format=torch.channels_last)
    time_now = table[0, 0:1].clone()
    context = models['text_encoder'](ids)
    unet_input = (sample, time_now, context)
    result = {'torch': torch.__version__, 'device': torch.cuda.get_device_name(device)}

    want = models['unet'](*unet_input)
    picture = decode(models['vae'], noise)
    if not (torch.isfinite(want).all() and torch.isfinite(picture).all()):
        sys.exit('the random networks overflow f16')
    report('first run')

    result['unetEagerMs'] = wall_ms(lambda: models['unet'](*unet_input), 20)
    graph, got = graphed(lambda: models['unet'](*unet_input))
    result['unetGraphMs'] = gpu_ms(graph, 50)
    check_close('the captured UNet', got, want)
    report(f'UNet: eager {result["unetEagerMs"]} ms, graph {result["unetGraphMs"]} ms')
    result['vaeMs'] = wall_ms(lambda: decode(models['vae'], noise), 10)
    result['textMs'] = wall_ms(lambda: models['text_encoder'](ids), 20)
    result['pictureEagerMs'] = wall_ms(lambda: eager_picture(models, ids, noise, table), 5)
    report(f'VAE {result["vaeMs"]} ms, text {result["textMs"]} ms, picture {result["pictureEagerMs"]} ms')

    if args.compile:
        compiled = {name: torch.compile(model, dynamic=False) for name, model in models.items()}
        check_close('the compiled UNet', compiled['unet'](*unet_input), want)
        report('UNet compiled')
        graph, got = graphed(lambda: compiled['unet'](*unet_input))
        result['unetCompileGraphMs'] = gpu_ms(graph, 50)
        check_close('the compiled and captured UNet', got, want)
        report(f'UNet: compiled, graph {result["unetCompileGraphMs"]} ms')
        run = graphed_picture(compiled, ids, noise, table)
        report('picture compiled and captured')
        result['pictureCompileMs'] = wall_ms(run, 9)
    report('done')
    print(json.dumps(result))


if __name__ == '__main__':
    main()

#!/usr/bin/env bash
# Packs what a bare GPU machine needs (Node, Dawn, ONNX Runtime, the Vulkan loaders, the built project) into .bundle/.
# Usage: bench/gpu/pack.sh [--with-onnxruntime]
set -euo pipefail
cd "$(dirname "$0")/../.."
out=.bundle
mkdir -p "$out/debs"
if [ ! -f "$out/node.xz" ]; then
  cp "$(readlink -f "$(command -v node)")" "$out/node" && strip "$out/node"
  xz -9 -T2 -f "$out/node"
fi
[ -f "$out/dawn.node.xz" ] || xz -9 -kc node_modules/webgpu/dist/linux-x64/dawn.node > "$out/dawn.node.xz"
if [ "${1:-}" = --with-onnxruntime ]; then
  cp node_modules/onnxruntime-node/bin/napi-v6/linux/x64/onnxruntime_binding.node "$out/"
  [ -f "$out/libonnxruntime.so.1.xz" ] || xz -9 -kc node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1 > "$out/libonnxruntime.so.1.xz"
else
  rm -f "$out/libonnxruntime.so.1.xz"
fi
# The NVIDIA driver's ICD needs the whole set of loaders, not libvulkan1 alone.
(cd "$out/debs" && [ -n "$(ls 2>/dev/null)" ] || apt-get download libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2 >/dev/null)
npx tsc -p bench/gpu/tsconfig.json
# Only what runs: no maps, no declarations, no other platforms.
tar -C node_modules --exclude='*.map' --exclude='*.d.ts' --exclude='webgpu/dist' --exclude='onnxruntime-node/bin' -cJf "$out/modules.tar.xz" \
  webgpu debug ms onnxruntime-node onnxruntime-common valibot @huggingface/tokenizers \
  commander cli-progress string-width strip-ansi ansi-regex emoji-regex is-fullwidth-code-point
du -sh "$out"

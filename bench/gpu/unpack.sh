#!/usr/bin/env bash
# On the GPU machine, in the project's root: makes .bundle/ runnable. Then: .bundle/run/node .bundle/js/bench/gpu/<script>.js
set -euo pipefail
cd "$(dirname "$0")/../.."
for deb in .bundle/debs/*.deb; do dpkg -x "$deb" /; done
ldconfig
mkdir -p .bundle/run node_modules
xz -dc .bundle/node.xz > .bundle/run/node && chmod +x .bundle/run/node
tar -C node_modules -xJf .bundle/modules.tar.xz
mkdir -p node_modules/webgpu/dist/linux-x64
xz -dc .bundle/dawn.node.xz > node_modules/webgpu/dist/linux-x64/dawn.node
mkdir -p .bundle/js/test/golden && cp package.json .bundle/js/package.json
ln -sfn ../../../../test/golden/data .bundle/js/test/golden/data
if [ -f .bundle/libonnxruntime.so.1.xz ]; then
  mkdir -p node_modules/onnxruntime-node/bin/napi-v6/linux/x64
  cp .bundle/onnxruntime_binding.node node_modules/onnxruntime-node/bin/napi-v6/linux/x64/
  xz -dc .bundle/libonnxruntime.so.1.xz > node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1
fi

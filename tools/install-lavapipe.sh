#!/usr/bin/env bash
# Installs lavapipe, Mesa's Vulkan driver that computes on the CPU and knows f16 natively: what the f16 kernels are tested on.
# Debian and its children, as root. Debian 12's own Mesa (22.3) is too old for WebGPU, so there it comes from backports.
set -euo pipefail

oldest=24

version() { dpkg-query --showformat='${Version}' --show mesa-vulkan-drivers 2>/dev/null | cut -d. -f1 | grep -oE '[0-9]+$' || echo 0; }

if [ "$(version)" -ge "$oldest" ] && dpkg -s libvulkan1 >/dev/null 2>&1; then
  echo "lavapipe is here already (Mesa $(version))"
  exit 0
fi

. /etc/os-release
release=()
extra=()
if [ "${VERSION_CODENAME:-}" = bookworm ]; then
  # The mirror and the key that this machine uses already, whichever they are.
  sources=/etc/apt/sources.list.d/debian.sources
  mirror=$(awk '/^URIs:/ { print $2; exit }' "$sources")
  key=$(awk '/^Signed-By:/ { print $2; exit }' "$sources")
  printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' "$mirror" "$key" \
    >/etc/apt/sources.list.d/bookworm-backports.sources
  release=(--target-release bookworm-backports)
  extra=(libdrm2 libdrm-amdgpu1)
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends "${release[@]}" mesa-vulkan-drivers "${extra[@]}"
apt-get install --quiet --yes --no-install-recommends libvulkan1

if [ "$(version)" -lt "$oldest" ]; then
  echo "lavapipe needs Mesa $oldest or later; the package sources offer $(version)" >&2
  exit 1
fi
echo "lavapipe: Mesa $(version)"

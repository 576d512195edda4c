#!/usr/bin/env bash
# On the GPU machine, in the project's root: unpacks .bundle/, checks, measures, and writes what each script printed into a folder,
# from which summary.ts makes the JSON of bench/results. One stage is made to take less than ten minutes on an H200.
# Usage: bench/gpu/all.sh <results folder> [stage…]   stages: check measure kernels peers report (all, unless named)
#   MODEL: the full-size folder, written where it is missing (out/full-size). KIND=software: a rehearsal without a GPU.
set -uo pipefail
cd "$(dirname "$0")/../.."
results=$1
shift
stages=("${@:-}")
[ -n "${stages[0]}" ] || stages=(check measure kernels peers report)
model=${MODEL:-out/full-size}
kind=${KIND:-gpu}
mkdir -p "$results"

# gpu NAME SCRIPT ARGUMENT…: what the script prints goes to NAME.log and, its progress apart, to NAME.out.
gpu() {
  local name=$1 script=$2
  shift 2
  echo "== $name"
  local before=$SECONDS
  .bundle/run/node ".bundle/js/bench/gpu/$script.js" "$@" >"$results/$name.out" 2>"$results/$name.log" ||
    echo "exit $? of $name: $(tail -n 3 "$results/$name.log")"
  echo "   $((SECONDS - before)) s: $(tail -n 1 "$results/$name.out" | cut -c 1-300)"
}

check() {
  local k=(--kind "$kind" --full "$model")
  echo '== doctor'
  .bundle/run/node .bundle/js/src/cli/main.js doctor --json >"$results/doctor.json" 2>"$results/doctor.log" ||
    tail -n 3 "$results/doctor.log"
  gpu check-f16 check f16 tiny/ "${k[@]}"
  gpu check-f16-browser check f16 tiny/ --browser "${k[@]}"
  gpu check-f32 check f32 tiny/ "${k[@]}"
  gpu check-f32-browser check f32 tiny/ --browser "${k[@]}"
}

# Compiling is what takes the time: each part is a process.
kernels() {
  local part
  for part in 1 2 3 4; do
    gpu "kernels-$part" kernels f16,f32 --part "$part/4" --seconds 480 --kind "$kind" &
    gpu "kernels-browser-$part" kernels f16,f32 --part "$part/4" --browser --seconds 480 --kind "$kind" &
  done
  wait
}

measure() {
  local k=(--kind "$kind")
  # The first of each kind compiles: with an empty cache of the driver's, where none was asked for before.
  __GL_SHADER_DISK_CACHE_PATH=$(mktemp -d) gpu picture-cold picture "$model" --rows 1 "${k[@]}"
  gpu picture-warming picture "$model" --rows 1 "${k[@]}"
  gpu picture picture "$model" --rows 100 "${k[@]}"
  gpu picture-warming-browser picture "$model" --rows 1 --browser "${k[@]}"
  gpu picture-browser picture "$model" --rows 20 --browser "${k[@]}"
  gpu step step "$model" --json "$results/step.json" --profile "$results/step" "${k[@]}"
  gpu step-browser step "$model" --browser --json "$results/step-browser.json" --profile "$results/step-browser" "${k[@]}"
  gpu micro tune micro --json "$results/micro.json" "${k[@]}"
}

peers() {
  gpu peer peer "$model" --rounds 5 --kind "$kind"
  echo '== torch'
  python3 bench/gpu/torch_peer.py --compile >"$results/torch.out" 2>"$results/torch.log" || tail -n 3 "$results/torch.log"
}

report() {
  local k=(--kind "$kind")
  gpu ablation report ablation "$model" "${k[@]}" --svg "$results/ablation.svg"
  gpu ablation-browser report ablation "$model" --browser "${k[@]}" --svg "$results/ablation-browser.svg"
  gpu report-kernels report kernels "$model" --measured-limits "${k[@]}"
  gpu report-kernels-browser report kernels "$model" --measured-limits --browser "${k[@]}"
  gpu trace report trace "$model" "${k[@]}"
}

[ -x .bundle/run/node ] || bench/gpu/unpack.sh
ln -sfn ../../../../test/golden/data .bundle/js/test/golden/data
[ -f "$model/model_index.json" ] || .bundle/run/node .bundle/js/tools/make-full-size.js "$model"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >"$results/machine.out" 2>/dev/null || true
for stage in "${stages[@]}"; do
  case $stage in
    check | measure | kernels | peers | report) "$stage" ;;
    *) echo "no stage $stage" && exit 2 ;;
  esac
done

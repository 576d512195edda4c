// Whatever a GPU's kernels ask for is bound as they want it, when they are measured: on Dawn's null backend, which checks sizes and
// usages and computes nothing.
import { expect, it } from 'vitest'
import { Device, type DeviceDescription } from '../src/device/device.ts'
import { rankedChoices } from '../src/kernels/choose.ts'
import { likeliest } from '../src/plan/measured-choices.ts'
import { timeKernels } from '../src/run/webgpu/time-kernels.ts'
import { allCases } from './cases/all.ts'
import { buildCase, type OpCase } from './cases/case.ts'
import { gpuCapabilities, nullDevice } from './gpu.ts'
import { quantisedCases } from './quantised-cases.ts'
import { plannedNodes } from './run-planned.ts'

const gpu = await nullDevice()
const description: DeviceDescription = {
  ...{ name: 'null', vendor: '', architecture: '', kind: 'gpu', driver: undefined, timestamps: false },
  ...{ shaderF16: true, subgroups: true, subgroupSize: [32, 32], matrixShapes: gpuCapabilities.matrixShapes },
}
const device = new Device(gpu, description, () => {})
/** The null adapter's own limits: what needs more workgroup storage does not compile there. */
const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = gpu.limits
const limits = { ...gpuCapabilities.limits, maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup }

/** One of three cases in each storage, in turn, every other one as in a browser: without matrix units. */
const inTurn = (all: readonly OpCase[], turn: number) => all.filter((_, i) => i % 3 === turn)

const kernelCases = Object.entries(allCases).filter(([op]) => op !== 'reshape') // which has no kernel

it.each([
  ...kernelCases.flatMap(([op, cases]) => [
    { what: `${op} in f32`, cases: inTurn(cases, 0), dtype: 'f32' as const, weights: undefined },
    { what: `${op} in f16`, cases: inTurn(cases, 1), dtype: 'f16' as const, weights: undefined },
  ]),
  { what: 'quantised to int8', cases: inTurn(quantisedCases, 0), dtype: 'f16' as const, weights: 'int8' as const },
  { what: 'quantised to int4', cases: inTurn(quantisedCases, 1), dtype: 'f16' as const, weights: 'int4' as const },
])('$what', async ({ cases, dtype, weights }) => {
  const failures: string[] = []
  for (const [i, opCase] of cases.entries()) {
    const capabilities = { ...gpuCapabilities, limits, matrixShapes: i % 2 === 0 ? gpuCapabilities.matrixShapes : [] }
    for (const { family, request } of plannedNodes(buildCase(opCase).graph, dtype, capabilities, weights)) {
      const choices = likeliest(rankedChoices(family, request), 2 ** 28).map((each) => each.choice())
      gpu.pushErrorScope('validation')
      const times = await timeKernels(device, request, choices, { deadline: performance.now() + 60_000 })
      const error = await gpu.popErrorScope()
      const name = `${opCase.name}, ${choices.map(({ variant }) => variant)}`
      if (error) failures.push(`${name}: ${error.message}`)
      if (!times?.every((time) => time > 0 && Number.isFinite(time))) failures.push(`${name}: took ${times}`)
    }
  }
  expect(failures).toEqual([])
  expect(device.bufferBytes).toBe(0)
})

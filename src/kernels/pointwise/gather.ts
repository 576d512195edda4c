// The skeleton of kernels that compute every element of the output by itself: for each (row, group), y = result(row, group).
// What an element is made of is the caller's text. Loses nowhere: such kernels wait for memory alone.
import type { Kernel, Request } from '../family.ts'
import { epilogueText } from '../wgsl/epilogue.ts'
import { splitGrid } from '../wgsl/grid.ts'
import { bindable, elementBytes, ioText, type NamedOperand, type NamedScratch, requestOperands } from '../wgsl/io.ts'
import { sizeText, u32Text } from '../wgsl/number.ts'

export interface GatherParams {
  readonly lanes: number
  /** Elements of four channels an invocation; neighbours in a workgroup take neighbouring elements. */
  readonly perLane: number
}

export const gatherTunings = {
  software: [{ lanes: 64, perLane: 4 }],
  gpu: [
    { lanes: 256, perLane: 1 },
    { lanes: 256, perLane: 4 },
  ],
} as const

export function gatherSupports<A>(request: Request<A>, params: GatherParams): boolean {
  const { limits } = request.capabilities
  return (
    bindable(request) &&
    params.lanes <= Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX)
  )
}

/** Bytes moved over bandwidth; several elements a lane only pay once the device is full anyway. */
export function gatherCost<A>(request: Request<A>, params: GatherParams, operations = 1): number {
  const { output, capabilities } = request
  const elements = output.rows * output.groups4
  const operands = [...request.inputs, ...(request.epilogue?.inputs ?? [])]
  const bytes = elements * (1 + operands.length) * elementBytes[output.storage]
  if (capabilities.kind === 'software') return bytes / 2 + elements * operations * 3 + 20_000
  const filled = elements / params.perLane / 262_144
  return bytes / 1500 + 3000 / Math.min(1, Math.max(filled, 0.01)) ** 0.1
}

/** The name of an operation is its label; `result` is text that defines `fn result(row: u32, group: u32) -> vec4<f32>`. */
export function gatherDispatch<A>(
  label: string,
  request: Request<A>,
  params: GatherParams,
  operands: readonly NamedOperand[],
  result: string,
  scratch: readonly NamedScratch[] = [],
): Kernel['dispatches'][number] {
  const { output, capabilities } = request
  const io = ioText(operands, scratch)
  const elements = output.rows * output.groups4
  const grid = splitGrid(Math.ceil(elements / (params.lanes * params.perLane)), capabilities.limits)
  const groups = sizeText(output.groups4)
  const wgsl = `${io.enables}${io.text}
${result}
@compute @workgroup_size(${params.lanes})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = ${grid.index} * ${u32Text(params.lanes * params.perLane)} + lane;
  for (var j = 0u; j < ${sizeText(params.perLane)}; j++) {
    let i = first + j * ${u32Text(params.lanes)};
    if (i < ${sizeText(elements)}) {
      let row = i / ${groups};
      let group = i % ${groups};
      store_y(row, group, result(row, group));
    }
  }
}
`
  return { label, wgsl, bindings: io.bindings, workgroups: grid.workgroups }
}

/** A kernel of one such dispatch: `value` defines `fn value(row, group) -> vec4<f32>`, the epilogue follows it. */
export function gatherKernel<A>(
  label: string,
  request: Request<A>,
  params: GatherParams,
  names: readonly string[],
  value: string,
): Kernel {
  const result = `${value}
${epilogueText(request)}
fn result(row: u32, group: u32) -> vec4<f32> { return epilogue(row, group, value(row, group)); }`
  const operands = requestOperands(request, names)
  return { dispatches: [gatherDispatch(label, request, params, operands, result)], scratch: [] }
}

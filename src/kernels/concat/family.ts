// Channels one after another. `groups` where all boundaries are multiples of four, `channels` (one channel at a time) elsewhere.
import type { ConcatAttrs } from '../../ops/attrs.ts'
import type { Family, Request, Variant } from '../family.ts'
import { type GatherParams, gatherCost, gatherKernel, gatherSupports, gatherTunings } from '../pointwise/gather.ts'
import { sizeText } from '../wgsl/number.ts'

/** First channel of each input. */
function starts(request: Request<ConcatAttrs>): number[] {
  let start = 0
  return request.inputs.map(({ channels }) => {
    start += channels
    return start - channels
  })
}

const nameOf = (_: unknown, i: number) => `x${i}`

/** A chain of tests, last input first, each giving `take(input, start)` for places from `start` on. */
function select(places: readonly number[], place: string, take: (name: string, start: string) => string): string {
  return places
    .map((start, i) => `  if (${place} >= ${sizeText(start)}) { return ${take(nameOf(start, i), sizeText(start))}; }\n`)
    .slice(1)
    .reverse()
    .join('')
    .concat(`  return ${take('x0', '0u')};`)
}

const groups: Variant<ConcatAttrs, GatherParams> = {
  name: 'groups',
  tunings: gatherTunings,
  supports: (request, params) => gatherSupports(request, params) && starts(request).every((start) => start % 4 === 0),
  cost: gatherCost,
  emit(request, params) {
    const places = starts(request).map((start) => start / 4)
    const value = `fn value(row: u32, group: u32) -> vec4<f32> {
${select(places, 'group', (name, start) => `load_${name}(row, group - ${start})`)}
}`
    return gatherKernel('concat', request, params, request.inputs.map(nameOf), value)
  },
  // A copy: exact but for the epilogue and the store.
  tolerance: { f32: 1, f16: 1 },
}

const channels: Variant<ConcatAttrs, GatherParams> = {
  name: 'channels',
  tunings: gatherTunings,
  supports: gatherSupports,
  cost: (request, params) => 3 * gatherCost(request, params),
  emit(request, params) {
    const last = sizeText(request.output.channels - 1)
    const take = (name: string, start: string) => `load_${name}(row, (c - ${start}) / 4u)[(c - ${start}) % 4u]`
    const value = `fn channel(row: u32, place: u32) -> f32 {
  let c = min(place, ${last});
${select(starts(request), 'c', take)}
}
fn value(row: u32, group: u32) -> vec4<f32> {
  let c = group * 4u;
  return vec4<f32>(channel(row, c), channel(row, c + 1u), channel(row, c + 2u), channel(row, c + 3u));
}`
    return gatherKernel('concat', request, params, request.inputs.map(nameOf), value)
  },
  tolerance: { f32: 1, f16: 1 },
}

export const concatFamily: Family<ConcatAttrs> = { op: 'concat', variants: [groups, channels] }

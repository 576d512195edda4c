// One choice of kernel for all nodes that ask for the same: most layers of a model repeat, and choosing emits their text.
import { type Candidate, rankedChoices } from '../kernels/choose.ts'
import type { Family, Request } from '../kernels/family.ts'
import { type IsOff, remaining } from './switches.ts'

export type SharedChoices = typeof rankedChoices<unknown>

/**
 * The choices for a request, cheapest first, of variants that are on. Remembers them for one device: capabilities are no part of
 * what it compares.
 */
export function sharedChoices(isOff?: IsOff): SharedChoices {
  const known = new Map<string, readonly Candidate[]>()
  return (family, request, forced) => {
    const key = requestKey(family, request)
    const choices = known.get(key) ?? rankedChoices(isOff ? remaining(family, request, isOff) : family, request, forced)
    known.set(key, choices)
    return choices
  }
}

/** Everything of a request that its kernel depends on, but for the device. Of slots that is only which ones are equal. */
export function requestKey({ op }: Family<unknown>, { attrs, inputs, output, epilogue }: Request<unknown>): string {
  const slots: unknown[] = []
  const text = JSON.stringify([attrs, inputs, output, epilogue], (key, value: unknown) => {
    if (typeof value === 'number' && !Number.isFinite(value)) return String(value) // JSON would call them all null
    if (key !== 'slot') return value
    if (!slots.includes(value)) slots.push(value)
    return slots.indexOf(value)
  })
  return `${op} ${text}`
}

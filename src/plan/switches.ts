// Kinds of kernels that can be switched off: to compare, or to do without what a driver gets wrong.
import { tuningsFor } from '../kernels/choose.ts'
import type { Family, Request } from '../kernels/family.ts'

/**
 * 'plain': logits, their softmax and its product with the values, each by itself. 'pfsm': partially fused softmax, logits stored
 * once. 'flash': logits never stored.
 */
export const attentionKinds = ['plain', 'pfsm', 'flash'] as const
type AttentionKind = (typeof attentionKinds)[number]

/** What is left out is on, and any kind of attention may be chosen. */
export interface KernelSwitches {
  readonly winograd?: boolean | undefined
  /** Kernels on an adapter's matrix units. */
  readonly matrixUnits?: boolean | undefined
  /** The only kind of attention to use. */
  readonly attention?: AttentionKind | undefined
}

export type IsOff = (op: string, variant: string) => boolean

export function attentionKindOf(variant: string): AttentionKind {
  if (variant === 'plain') return 'plain'
  return variant.startsWith('partial-softmax') ? 'pfsm' : 'flash'
}

/** Undefined where everything is on. */
export function switchedOff({ winograd = true, matrixUnits = true, attention }: KernelSwitches): IsOff | undefined {
  if (winograd && matrixUnits && attention === undefined) return undefined
  return (op, variant) =>
    (!winograd && op === 'conv2d' && variant.startsWith('winograd')) ||
    (!matrixUnits && variant.includes('matrix')) ||
    (attention !== undefined && op === 'attention' && attentionKindOf(variant) !== attention)
}

/** The family without what is off; the whole of it where nothing that is on takes the request, so that every layer is computed. */
export function remaining<A>(family: Family<A>, request: Request<A>, isOff: IsOff): Family<A> {
  const variants = family.variants.filter(({ name }) => !isOff(family.op, name))
  const able = variants.some((variant) =>
    tuningsFor(variant, request, false).some((tuning) => variant.supports(request, tuning)),
  )
  return able ? { ...family, variants } : family
}

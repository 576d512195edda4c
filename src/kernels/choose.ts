// Picks the variant and the parameters of a node by estimated cost. Measuring instead is the caller's business.
import { PhospheneError } from '../error.ts'
import type { Family, Kernel, PreparedWeight, Request, Variant } from './family.ts'

export interface Choice {
  readonly variant: string
  readonly params: unknown
  readonly kernel: Kernel
  readonly cost: number
  /** How weight input `index` must lie; undefined: rows of channels. */
  prepared(index: number): PreparedWeight | undefined
}

/** The parameter rows of a variant for the kind of adapter; a forced variant that has none there borrows the other's. */
export function tuningsFor<A>(variant: Variant<A, unknown>, request: Request<A>, borrow: boolean): readonly unknown[] {
  const { software, gpu } = variant.tunings
  const [own, other] = request.capabilities.kind === 'software' ? [software, gpu] : [gpu, software]
  return own.length > 0 || !borrow ? own : other
}

/**
 * The cheapest supported (variant, params) pair with its kernel. `forced` names the only variant to consider.
 * Raises 'plan/unsupported' when nothing can compute the request on this device.
 */
export function chooseVariant<A>(family: Family<A>, request: Request<A>, forced?: string): Choice {
  let best: { variant: Variant<A, unknown>; params: unknown; cost: number } | undefined
  for (const variant of family.variants) {
    if (forced !== undefined && variant.name !== forced) continue
    for (const params of tuningsFor(variant, request, forced !== undefined)) {
      if (!variant.supports(request, params)) continue
      const cost = variant.cost(request, params)
      if (!best || cost < best.cost) best = { variant, params, cost }
    }
  }
  if (!best) throw unsupported(family, request, forced)
  const { variant, params, cost } = best
  return {
    variant: variant.name,
    params,
    cost,
    kernel: variant.emit(request, params),
    prepared: (index) => variant.prepare?.(request, params, index),
  }
}

function unsupported<A>(family: Family<A>, request: Request<A>, forced: string | undefined): PhospheneError {
  const shapes = request.inputs.map((o) => `[${o.shape}] ${o.storage}`).join(', ')
  const names = family.variants.map((v) => v.name).join(', ')
  return new PhospheneError({
    code: 'plan/unsupported',
    message: `no kernel of ${family.op} (${forced ?? names}) takes ${shapes} → [${request.output.shape}] on this device`,
    fix: forced
      ? `Name another variant (${names}), or none to let the plan choose.`
      : 'Choose another adapter (`phosphene doctor` lists them), a smaller picture or --dtype f32.',
  })
}

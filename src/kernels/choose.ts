// Picks the variant and the parameters of a node by estimated cost. Measuring instead is the caller's business.
import { PhospheneError } from '../error.ts'
import type { Family, Kernel, PreparedWeight, Request, Variant } from './family.ts'
import { withSharedTexts } from './wgsl/shared-text.ts'

export interface Choice {
  readonly variant: string
  readonly params: unknown
  readonly kernel: Kernel
  readonly cost: number
  /** Multiply-adds, where they are not the op's own number. */
  readonly macs?: number | undefined
  /** Bytes moved beside the operands'. */
  readonly bytes?: number | undefined
  /** How weight input `index` must lie; undefined: rows of channels. */
  prepared(index: number): PreparedWeight | undefined
}

/** The parameter rows of a variant for the kind of adapter; a forced variant that has none there borrows the other's. */
export function tuningsFor<A>(variant: Variant<A, unknown>, request: Request<A>, borrow: boolean): readonly unknown[] {
  const { software, lavapipe = software, gpu } = variant.tunings
  const { kind, driver } = request.capabilities
  const [own, other] = kind === 'gpu' ? [gpu, software] : [driver === 'lavapipe' ? lavapipe : software, gpu]
  return own.length > 0 || !borrow ? own : other
}

/** A way to compute a request; its kernel is made when it is asked for. */
export interface Candidate extends Pick<Choice, 'variant' | 'params' | 'cost' | 'macs'> {
  /** Bytes that the kernel takes beside its operands, buffer by buffer. */
  scratch(): readonly number[]
  choice(): Choice
}

/**
 * The supported (variant, params) pairs by cost, cheapest first. `forced` names the only variant to consider.
 * Raises 'plan/unsupported' when nothing can compute the request on this device.
 */
export function rankedChoices<A>(family: Family<A>, request: Request<A>, forced?: string): readonly Candidate[] {
  const candidates: { variant: Variant<A, unknown>; params: unknown; cost: number }[] = []
  for (const variant of family.variants) {
    if (forced !== undefined && variant.name !== forced) continue
    for (const params of tuningsFor(variant, request, forced !== undefined))
      if (variant.supports(request, params)) candidates.push({ variant, params, cost: variant.cost(request, params) })
  }
  if (candidates.length === 0) throw unsupported(family, request, forced)
  return candidates
    .sort((a, b) => a.cost - b.cost)
    .map(({ variant, params, cost }) => {
      const macs = variant.macs?.(request, params)
      const choice = once(
        (): Choice => ({
          variant: variant.name,
          params,
          cost,
          macs,
          bytes: variant.bytes?.(request, params),
          kernel: emitted(variant, request, params),
          prepared: (index) => variant.prepare?.(request, params, index),
        }),
      )
      const scratch = once(() => variant.scratch?.(request, params) ?? choice().kernel.scratch)
      return { variant: variant.name, params, cost, macs, choice, scratch }
    })
}

/** Adapters that compute on the CPU compile there as well, and slowly: they get one text for all shapes. */
function emitted<A>(variant: Variant<A, unknown>, request: Request<A>, params: unknown): Kernel {
  const kernel = variant.emit(request, params)
  return request.capabilities.kind === 'software' ? withSharedTexts(kernel) : kernel
}

/** The cheapest of `rankedChoices`. */
export function chooseVariant<A>(family: Family<A>, request: Request<A>, forced?: string): Choice {
  return rankedChoices(family, request, forced)[0]!.choice()
}

function once<T>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
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

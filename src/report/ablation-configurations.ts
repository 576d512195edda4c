// The engine with some of what makes it fast switched off: kernel variants by name, fusion by the passes that do it.
import { families } from '../kernels/families.ts'
import { sharedChoices } from '../plan/shared-choices.ts'
import { attentionKindOf } from '../plan/switches.ts'
import type { PlanningOptions } from './bench-device.ts'

/** One thing that can be switched off. */
export interface Switch {
  readonly name: string
  /** What runs in its place. */
  readonly instead: string
  /** Variants that it consists of. */
  isOff(op: string, variant: string): boolean
  readonly planning?: Pick<PlanningOptions, 'fuse' | 'merge' | 'hold'>
}

/** In the paper's order (arXiv:2304.11267, section 3), what is ours beside it in between. */
const all: readonly Switch[] = [
  { name: 'fusion', instead: 'every layer of the model stays a node', isOff: () => false, planning: { fuse: false } },
  {
    name: 'merged products',
    instead: 'linear layers of one input are products of their own',
    isOff: () => false,
    planning: { merge: false },
  },
  {
    name: 'conditions held',
    instead: 'what depends on the prompt alone is computed at every step',
    isOff: () => false,
    planning: { hold: false },
  },
  {
    name: 'split GroupNorm',
    instead: 'one workgroup for each group of channels',
    isOff: (op, variant) => op === 'groupNorm' && variant === 'split',
  },
  {
    name: 'partially fused softmax',
    instead: 'the other kinds of attention',
    isOff: (op, variant) => op === 'attention' && attentionKindOf(variant) === 'pfsm',
  },
  {
    name: 'flash attention',
    instead: 'logits that are stored',
    isOff: (op, variant) => op === 'attention' && attentionKindOf(variant) === 'flash',
  },
  {
    name: 'tiles',
    instead: 'products and convolutions straight from memory',
    isOff: (op, variant) => isProduct(op) && /tiled|matrix/.test(variant),
  },
  {
    name: 'matrix units',
    instead: 'the vector units, as in browsers',
    isOff: (_op, variant) => /matrix/.test(variant),
  },
  {
    name: 'Winograd',
    instead: 'convolutions multiply every weight with every pixel',
    isOff: (op, variant) => op === 'conv2d' && /winograd/.test(variant),
  },
]

function isProduct(op: string): boolean {
  return op === 'matmul' || op === 'conv2d'
}

/** The switches that this build has variants for. */
export const switches: readonly Switch[] = all.filter(
  (each) =>
    each.planning !== undefined ||
    Object.values(families).some(({ op, variants }) => variants.some(({ name }) => each.isOff(op, name))),
)

export interface Configuration {
  readonly name: string
  readonly off: readonly Switch[]
}

/** 'removed': the full engine, then without each switch alone; 'added': without any, then one more on at a time, to the full one. */
export function configurations(order: 'removed' | 'added'): readonly Configuration[] {
  const full: Configuration = { name: 'full', off: [] }
  const baseline: Configuration = { name: 'baseline', off: switches }
  if (order === 'removed')
    return [full, ...switches.map((each) => ({ name: `without ${each.name}`, off: [each] })), baseline]
  const added = switches.slice(0, -1).map((each, i) => ({ name: `+ ${each.name}`, off: switches.slice(i + 1) }))
  return [baseline, ...added, full]
}

/** How the plan is made in a configuration. Where nothing that is on can compute a node, what is off does. */
export function planningOf({ off }: Configuration): PlanningOptions {
  return {
    ...Object.assign({}, ...off.map((each) => each.planning)),
    ranked: sharedChoices((op, variant) => off.some((each) => each.isOff(op, variant))),
  }
}

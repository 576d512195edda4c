// Texts that differ only in the numbers of their shapes made one: the numbers become data, a uniform binding of each dispatch.
// For adapters that compile on the CPU, where each text costs 0.1 s and more: a model has some 150, of some 30 kinds. It also
// hides the turns of loops from a driver that would write them out (lavapipe: seconds for a single kernel).
import type { Dispatch, Kernel } from '../family.ts'

/** What `sizeText` prints. */
const size = /\bu32\((\d+)\)/g

/** The kernel with the sizes of each dispatch among its constants. */
export function withSharedTexts(kernel: Kernel): Kernel {
  const constants = [...(kernel.constants ?? [])]
  const dispatches = kernel.dispatches.map((dispatch) => {
    const { wgsl, values } = sharedText(dispatch)
    if (values.length === 0) return dispatch
    constants.push(values)
    const binding = { kind: 'constant', index: constants.length - 1 } as const
    return { ...dispatch, wgsl, bindings: [...dispatch.bindings, binding] }
  })
  return { ...kernel, dispatches, constants }
}

/** The text with its sizes in a binding after its others, and what that holds: whole vec4s. */
function sharedText({ wgsl, bindings }: Dispatch): { readonly wgsl: string; readonly values: readonly number[] } {
  const [, enables, functions, head, body] = wgsl.match(
    /^((?:enable [^\n]*\n)*)(.*)(@compute .*?\bfn main\([^{]*\{)(.*)$/s,
  )!
  const values: number[] = []
  const named = (text: string) =>
    text.replace(size, (_, digits: string) => {
      values.push(Number(digits))
      return `size${values.length - 1}`
    })
  const shared = named(functions!)
  const inFunctions = values.length
  const main = named(body!)
  const quads = Math.ceil(values.length / 4)
  const place = (i: number) => `numbers[${Math.floor(i / 4)}].${'xyzw'[i % 4]}`
  const text = [
    enables,
    `@group(0) @binding(${bindings.length}) var<uniform> numbers: array<vec4<u32>, ${quads}>;\n`,
    ...values.slice(0, inFunctions).map((_, i) => `var<private> size${i}: u32;\n`),
    shared,
    head,
    // Loaded once. Those of `main` stay constants, so that what they bound is known to be uniform.
    ...values.map((_, i) => `\n  ${i < inFunctions ? '' : 'let '}size${i} = ${place(i)};`),
    main,
  ]
  while (values.length < 4 * quads) values.push(0)
  return { wgsl: text.join(''), values }
}

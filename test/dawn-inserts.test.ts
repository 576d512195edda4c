// What Dawn adds to a kernel so that no access leaves its array and every loop ends (FIELD: robustness) costs most where it stands
// in an innermost loop, and a browser cannot switch it off. Kernels are written so that Dawn can prove both there; this holds
// them to it: each text is translated twice, with robustness and without, and its innermost loops must come out the same.
//
// Not covered: kernels on matrix units, since no software adapter has any for Dawn to translate them for; loops around the innermost
// ones; indices into storage buffers (see `checksIn`); kernels for software adapters (`broadcast`, `direct`, `per-query`), whose sizes
// are hidden from the compiler for the sake of shared texts, so that each loop has its countdown and each subgroupBroadcast a
// select.
import { beforeAll, describe, expect, it } from 'vitest'
import type { Node } from '../src/graph/graph.ts'
import type { Capabilities } from '../src/kernels/family.ts'
import type { Conv2dAttrs, MatmulAttrs } from '../src/ops/attrs.ts'
import { groupNormOnLoad } from '../src/passes/group-norm-on-load.ts'
import { normaliseOnLoad } from '../src/passes/normalise-on-load.ts'
import { optimise } from '../src/passes/passes.ts'
import { planGraph } from '../src/plan/plan.ts'
import { layerCases } from '../src/report/layer-cases.ts'
import type { StorageDType } from '../src/tensor/dtype.ts'
import { dump, manifestOf } from './dumped-shaders.ts'
import { gpuCapabilities, lavapipeCapabilities, softwareCapabilities } from './gpu.ts'
import { checksIn, loopsOf, readsStorage, type SpirvLoop } from './spirv-loops.ts'

/** A layer and kernels to force for it beside those that the plan chooses. */
const layers: readonly (readonly [layer: string, variants: readonly Readonly<Record<string, string>>[]])[] = [
  ['conv 3×3 4→320', [{}]],
  ['conv 3×3 320→320', [{}, { conv2d: 'winograd-2' }, { conv2d: 'winograd-4' }, { conv2d: 'tiled' }]],
  ['conv 3×3 1280→1280', [{}]],
  ['upsample + conv 3×3 1280', [{}, { conv2d: 'winograd-4' }, { conv2d: 'tiled' }]],
  ['conv 1×1 1920→640', [{}]],
  ['GroupNorm + SiLU + conv 3×3 + residual 1280', [{}, { groupNorm: 'chunked' }, { groupNorm: 'single' }]],
  ['GroupNorm + SiLU + conv 3×3 320→320', [{}]],
  ['LayerNorm + queries 640', [{}, { layerNorm: 'workgroup', rowMoments: 'workgroup' }]],
  ['self-attention 8 × 40', [{}, { attention: 'tiled' }, { attention: 'partial-softmax' }]],
  ['self-attention 8 × 160', [{}, { attention: 'tiled' }]],
  ['self-attention 1 × 512', [{}]],
  ['cross-attention 8 × 40', [{}]],
  ['causal attention 12 × 64', [{}, { attention: 'tiled' }]],
  ['GEGLU 320→1280', [{}]],
  ['time embedding 320→1280→1280', [{}]],
]

/** Kernels whose last loops join what lanes hold in workgroup memory, once: there, only loops over storage count. */
const joining = /^(matmul few-rows|groupNorm\.moments)$/

interface Text {
  readonly name: string
  readonly label: string
  readonly wgsl: string
}

function textsFor(capabilities: Capabilities, dtype: StorageDType): Text[] {
  const found = new Map<string, Text>()
  for (const [name, variants] of layers) {
    const layer = layerCases.find((each) => each.name === name)!
    const graph = optimise(layer.graph(layer.side ?? 1))
    const onLoad = groupNormOnLoad(normaliseOnLoad(graph, 1), 1)
    const forms = onLoad.nodes.some(isNormalised) ? [graph, onLoad] : [graph]
    for (const [form, forced] of forms.flatMap((each) => variants.map((forced) => [each, forced] as const)))
      for (const { node, variant, dispatches } of planGraph(form, { dtype, capabilities, variants: forced }).steps)
        for (const { label, wgsl } of dispatches) {
          const op = isNormalised(node) ? `normalised ${node.op.name}` : node.op.name
          if (!found.has(wgsl)) found.set(wgsl, { name: `${op} ${variant}: ${label}, ${name}`, label, wgsl })
        }
  }
  // A variant's first text for a layer: other dispatches of the same label differ in numbers.
  return [...new Map([...found.values()].reverse().map((text) => [text.name, text])).values()].reverse()
}

const isNormalised = ({ attrs }: Node) => (attrs as Partial<MatmulAttrs & Conv2dAttrs>).normalised !== undefined

/** A GPU without matrix units and f16, as far as SwiftShader can follow: what browsers offer. */
const plainGpu: Capabilities = { ...softwareCapabilities, kind: 'gpu' }
const halfGpu: Capabilities = {
  ...lavapipeCapabilities,
  driver: undefined,
  kind: 'gpu',
  limits: gpuCapabilities.limits,
}

function innermost(disassembly: string, label: string): SpirvLoop[] {
  return loopsOf(disassembly).filter((loop) => loop.innermost && (!joining.test(label) || readsStorage(loop)))
}

function check(title: string, texts: readonly Text[], manifest: string | undefined): void {
  describe.skipIf(manifest === undefined)(title, () => {
    const dumps = new Map<Text, { readonly robust: string; readonly bare: string }>()
    beforeAll(async () => {
      const found = await dump(
        texts.map(({ wgsl }) => wgsl),
        manifest!,
      )
      for (const [i, text] of texts.entries()) dumps.set(text, found[i]!)
    }, 600_000)

    it.each(texts.map((text) => [text.name, text] as const))('%s', (_, text) => {
      const { robust, bare } = dumps.get(text)!
      expect(innermost(robust, text.label).map(checksIn)).toEqual(innermost(bare, text.label).map(checksIn))
    })
  })
}

/** One text of each dispatch of a variant: SwiftShader compiles what it is handed, seconds a text, and lavapipe does not. */
function oneOfEach(texts: readonly Text[]): Text[] {
  const kind = ({ name }: Text) => name.split(',')[0]!
  return texts.filter((text, i) => texts.findIndex((each) => kind(each) === kind(text)) === i)
}

const f32 = textsFor(plainGpu, 'f32')
check('f32, SwiftShader: one of each', oneOfEach(f32), manifestOf('swiftshader'))
check('f32, lavapipe (skipped where it is not installed)', f32, manifestOf('lavapipe'))
// SwiftShader has no shader-f16.
check('f16, lavapipe (skipped where it is not installed)', textsFor(halfGpu, 'f16'), manifestOf('lavapipe'))

describe('the comparison', () => {
  it('sees a clamp and a countdown where Dawn can prove nothing', async () => {
    const wgsl = `@group(0) @binding(0) var<storage, read_write> x: array<u32>;
var<workgroup> tile: array<u32, 64>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {
  for (var i = lane; i < x[0]; i += 64u) { x[i] = tile[x[i] & 63u]; }
}`
    const [{ robust, bare }] = (await dump([wgsl], manifestOf('swiftshader')!)) as [{ robust: string; bare: string }]
    const [checked, plain] = [robust, bare].map((each) => innermost(each, '').map(checksIn)[0]!)
    expect(plain).toMatchObject({ 'min and max': 0, select: 0, countdown: 0 })
    expect(checked!['min and max']).toBeGreaterThan(0)
    expect(checked!.countdown).toBeGreaterThan(0)
  })
})

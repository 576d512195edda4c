// Writes the error table of docs/winograd.md: Winograd's arithmetic in f32, step by step as the kernels do it, against f64, for
// every tile size and point set. Run from the repository's root, bundled as bench/gpu/README.md says:
// node .bundle/js/tools/winograd-errors.js
import { readFile, writeFile } from 'node:fs/promises'
import { linearSteps } from '../src/kernels/winograd/linear.ts'
import {
  amplification,
  bestTransforms,
  finitePoints,
  type Matrix,
  type Transforms,
  toomCook,
} from '../src/kernels/winograd/matrices.ts'
import { f16ToF32, f32ToF16, fromF16Bits } from '../src/tensor/dtype.ts'
import { openFile } from '../src/weights/node-files.ts'
import { openSafetensors } from '../src/weights/safetensors.ts'

/** Side of the results computed, a multiple of all tile sizes, and their channels: a cut of the layer, whose sums are whole. */
const [side, outputs] = [24, 8]

interface Layer {
  readonly name: string
  readonly channels: number
  /** [channel][ky][kx] by outputs: `kernel[ky * 3 + kx][channel * outputs + output]`, halves. */
  readonly kernel: readonly Float32Array[]
}

const halves = (values: Float32Array) => f16ToF32(f32ToF16(values))

let state = 0x9e3779b9
function uniform(): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return ((state >>> 0) + 0.5) / 2 ** 32
}
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
const silu = (x: number) => x / (1 + Math.exp(-x))

function generatedLayer(name: string, channels: number): Layer {
  const spread = 1 / Math.sqrt(9 * channels)
  const tap = () => halves(Float32Array.from({ length: channels * outputs }, () => spread * normal()))
  return { name, channels, kernel: Array.from({ length: 9 }, tap) }
}

/** The first output channels of every 3×3 convolution of a file that has as many. */
async function trainedLayers(path: string): Promise<Layer[]> {
  const source = await openSafetensors(await openFile(path))
  const layers: Layer[] = []
  for (const { name, shape } of source.tensors.values()) {
    const [o, channels, kh, kw] = shape
    if (shape.length !== 4 || kh !== 3 || kw !== 3 || o! < outputs || channels! < 16 || name.includes('downsamplers'))
      continue
    const bytes = await source.read(name)
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    const value = (output: number, channel: number, tap: number) =>
      fromF16Bits(view.getUint16(((output * channels! + channel) * 9 + tap) * 2, true))
    const kernel = Array.from({ length: 9 }, (_, tap) =>
      Float32Array.from({ length: channels! * outputs }, (_, i) => value(i % outputs, Math.floor(i / outputs), tap)),
    )
    layers.push({ name, channels: channels!, kernel })
  }
  await source.close()
  return layers
}

/** Matrix times a column of vectors, in f32, in the kernels' steps. */
function transformed(matrix: Matrix, column: readonly Float32Array[]): Float32Array[] {
  const known = new Map(column.map((vector, k) => [`x${k}`, vector]))
  const [inputs, results] = [column.map((_, k) => `x${k}`), matrix.map((_, i) => `y${i}`)]
  for (const { name, terms } of linearSteps(matrix, inputs, results)) {
    const sum = new Float32Array(column[0]!.length)
    for (const [at, [coefficient, term]] of terms.entries()) {
      const [c, vector] = [Math.fround(coefficient), known.get(term)!]
      for (let l = 0; l < sum.length; l++) {
        const product = Math.fround(c * vector[l]!)
        sum[l] = at === 0 ? product : Math.fround(sum[l]! + product)
      }
    }
    known.set(name, sum)
  }
  return results.map((name) => known.get(name)!)
}

/** matrix · x · acrossᵀ, columns first: `x[i][j]` to `[row][column]`. */
function bothWays(matrix: Matrix, across: Matrix, x: readonly (readonly Float32Array[])[]): Float32Array[][] {
  const columns = x[0]!.map((_, j) => transformed(matrix, x.map((row) => row[j]!))) // biome-ignore format: short
  return matrix.map((_, r) => transformed(across, columns.map((column) => column[r]!))) // biome-ignore format: short
}

/** Σ over channels of v · u, in f32, in order. */
function product(v: Float32Array, u: Float32Array): Float32Array {
  const sums = new Float32Array(outputs)
  for (let k = 0; k < v.length; k++)
    for (let o = 0; o < outputs; o++) sums[o] = Math.fround(sums[o]! + Math.fround(v[k]! * u[k * outputs + o]!))
  return sums
}

/** Inputs [y][x] of one layer, a vector of channels each: what a SiLU makes of a norm's results. */
type Picture = readonly (readonly Float32Array[])[]

/** Results [y][x], vectors of output channels. `narrow` rounds V and U. */
function winograd(
  layer: Layer,
  picture: Picture,
  down: Transforms,
  across: Transforms,
  narrow: boolean,
): Float32Array[][] {
  const kept = (vectors: Float32Array[][]) => (narrow ? vectors.map((row) => row.map(halves)) : vectors)
  const u = kept(bothWays(down.g, across.g, [0, 1, 2].map((ky) => layer.kernel.slice(ky * 3, ky * 3 + 3)))) // biome-ignore format: short
  const results: Float32Array[][] = Array.from({ length: side }, () => [])
  for (let y = 0; y < side; y += down.m)
    for (let x = 0; x < side; x += across.m) {
      const v = kept(bothWays(down.bt, across.bt, picture.slice(y, y + down.t).map((row) => row.slice(x, x + across.t)))) // biome-ignore format: short
      const tile = bothWays(down.at, across.at, v.map((row, r) => row.map((vector, s) => product(vector, u[r]![s]!)))) // biome-ignore format: short
      for (const [i, row] of tile.entries()) results[y + i]!.splice(x, across.m, ...row)
    }
  return results
}

/** The convolution term by term: in f64 with Σ|terms|, and in f32. */
function direct({ kernel, channels }: Layer, picture: Picture) {
  const [values, scale, single] = [0, 1, 2].map(() => new Float64Array(side * side * outputs)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  for (let at = 0; at < values.length; at++) {
    const o = at % outputs
    const [y, x] = [Math.floor(at / outputs / side), Math.floor(at / outputs) % side]
    let [sum, terms, narrow] = [0, 0, 0]
    for (let tap = 0; tap < 9; tap++) {
      const [vector, weights] = [picture[y + Math.floor(tap / 3)]![x + (tap % 3)]!, kernel[tap]!]
      for (let k = 0; k < channels; k++) {
        const term = vector[k]! * weights[k * outputs + o]!
        sum += term
        terms += Math.abs(term)
        narrow = Math.fround(narrow + Math.fround(term))
      }
    }
    values[at] = sum
    scale[at] = terms
    single[at] = narrow
  }
  return { values, scale, single }
}

interface Errors {
  /** RMS of the error over that of the result. */
  readonly relative: number
  /** Largest error in eps of Σ|terms|: what `tolerance` bounds. */
  readonly units: number
}

function errorsOf(got: ArrayLike<number>, { values, scale }: { values: Float64Array; scale: Float64Array }): Errors {
  let [errors, squares, units] = [0, 0, 0]
  for (const [i, want] of values.entries()) {
    const error = Math.abs(got[i]! - want)
    errors += error * error
    squares += want * want
    units = Math.max(units, error / (2 ** -23 * scale[i]!))
  }
  return { relative: Math.sqrt(errors / squares), units }
}

interface Method {
  readonly name: string
  readonly amplification: number
  results(layer: Layer, picture: Picture, narrow: boolean): Float32Array | undefined
}

const method = (set: string, down: Transforms, across = down): Method => ({
  name: `F(${down.m}×${across.m}), ${set}`,
  amplification: Math.sqrt(amplification(down) * amplification(across)),
  results: (layer, picture, narrow) =>
    Float32Array.from(
      winograd(layer, picture, down, across, narrow)
        .flat()
        .flatMap((vector) => [...vector]),
    ),
})

const sets = [
  ...([2, 4, 6, 8] as const).flatMap((m) =>
    Object.entries(finitePoints[m]).map(([set, points]) => method(set, toomCook(m, points))),
  ),
  method('roots', bestTransforms[4], bestTransforms[8]),
]

const generated = [
  ...[320, 640, 1280, 2560].map((c) => generatedLayer(`UNet, ${c} channels`, c)),
  ...[128, 256, 512].map((c) => generatedLayer(`VAE, ${c} channels`, c)),
]
const trained = (
  await Promise.all(
    ['unet', 'vae'].map((part) => trainedLayers(`models/starter/${part}/diffusion_pytorch_model.safetensors`)),
  )
).flatMap((layers) => layers.filter((_, i) => i % 4 === 0))

interface Column {
  readonly single: Errors[]
  readonly stored: Errors[]
  readonly narrow: Errors[]
}
const column = (): Column => ({ single: [], stored: [], narrow: [] })
const rows = new Map(['direct', ...sets.map(({ name }) => name)].map((name) => [name, [column(), column()] as const]))
for (const [which, layers] of [generated, trained].entries())
  for (const layer of layers) {
    const picture = Array.from({ length: side + 2 }, () =>
      Array.from({ length: side + 2 }, () =>
        halves(Float32Array.from({ length: layer.channels }, () => silu(normal()))),
      ),
    )
    const want = direct(layer, picture)
    const note = (name: string, single: Float32Array, narrow?: Float32Array) => {
      const into = rows.get(name)![which]!
      into.single.push(errorsOf(single, want))
      into.stored.push(errorsOf(halves(single), want))
      if (narrow) into.narrow.push(errorsOf(narrow, want))
    }
    note('direct', Float32Array.from(want.single))
    for (const { name, results } of sets)
      note(name, results(layer, picture, false)!, halves(results(layer, picture, true)!))
    console.log(`${layer.name}: done`)
  }

const short = (value: number) => value.toExponential(1)
const range = (errors: readonly Errors[]) => {
  const all = errors.map(({ relative }) => relative)
  return `${short(Math.min(...all))} … ${short(Math.max(...all))}`
}
const most = (errors: readonly Errors[], of: keyof Errors) => Math.max(...errors.map((each) => each[of]))
const lines = [...rows].map(([name, [a, b]]) => {
  const method = sets.find((set) => set.name === name)
  const all = { stored: [...a.stored, ...b.stored], narrow: [...a.narrow, ...b.narrow] }
  const units = most([...a.single, ...b.single], 'units')
  return `| ${[
    name,
    method ? method.amplification.toFixed(1) : '1',
    range(a.single),
    range(b.single),
    units.toFixed(1),
    short(most(all.stored, 'relative')),
    method ? short(most(all.narrow, 'relative')) : '',
  ].join(' | ')} |`
})
const table = `| | amplification | f32, SD 1.5's shapes | f32, trained weights | worst, eps of Σ\\|terms\\| | result in f16 | V, U in f16 too |
|---|---|---|---|---|---|---|
${lines.join('\n')}`
const path = 'docs/winograd.md'
const text = await readFile(path, 'utf8')
await writeFile(
  path,
  text.replace(/(<!-- errors -->\n)[\s\S]*?(<!-- end of errors -->)/, (_, a, b) => `${a}${table}\n${b}`),
)
console.log(table)

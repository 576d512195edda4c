// How a tiled product (tiled-text.ts) gets a tile of a and of b from memory through registers into workgroup memory.
//   a, and b where it is rows of k: an invocation takes four rows × four k and transposes them, so that a vec4 of workgroup
//   memory holds one k of four rows; b otherwise: vec4s as they are, one k of four columns
// Invocations take neighbouring k of a row (memory likes that), whose vec4s lie a whole line of the tile apart in workgroup
// memory; each fours of k is therefore turned by some vec4s, so that eight neighbours write to different banks.
import type { Storage } from '../family.ts'
import { elementType } from '../wgsl/io.ts'
import type { TiledNorm, TiledProduct } from './tiled-text.ts'

/** Text of one operand's way into workgroup memory. */
export interface Staging {
  /** Declarations of what the items of an invocation have in common from step to step. */
  readonly setup: readonly string[]
  /** Declarations of what is under way. */
  readonly registers: readonly string[]
  /** Memory → registers, for step `t`. */
  readonly fetch: readonly string[]
  /** Registers → workgroup memory. */
  readonly put: readonly string[]
  /** Index of k = 4·q + j of the fours (rows or columns) `fours`, an expression. */
  index(j: number, fours: string): string
}

interface TileSize {
  readonly tileK4: number
  readonly invocations: number
  /** Whether the splits' steps end exactly at k. */
  readonly whole: boolean
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i)
const lane = ['x', 'y', 'z', 'w'] as const

function asF32(storage: Storage, element: string): string {
  if (storage === 'f16') return `vec4<f32>(${element})`
  return storage === 'f16-packed' ? `unpackHalves(${element})` : element
}

/** Lines for the items of an invocation, which may not come out even: `text` for item i, given its number. */
function forItems(items: number, invocations: number, text: (i: number, item: string) => readonly string[]): string[] {
  return range(Math.ceil(items / invocations)).flatMap((i) => {
    const item = i === 0 ? 'li' : `(li + ${i * invocations}u)`
    const lines = text(i, item)
    return (i + 1) * invocations <= items ? lines : [`if (${item} < ${items}u) {`, ...lines, '}']
  })
}

/** Statements that normalise the items of an invocation. */
interface StagedNorm {
  row(item: number, fours: string, c: number): string
  registers(item: number): readonly string[]
  fetch(item: number, kq: string): readonly string[]
  value(item: number, c: number, element: string): string
}

/** An operand that lies as rows of k: `load` gives four k, `kq` of the step, of row `c` of the fours `fours` of the tile. */
function transposed(
  into: string,
  fours: number,
  storage: Storage,
  { tileK4, invocations }: TileSize,
  load: (item: number, fours: string, c: number, kq: string) => string,
  setup: (item: number, fours: string) => string = () => '',
  norm?: StagedNorm | undefined,
): Staging {
  const items = fours * tileK4
  const turn = Math.max(1, 8 / tileK4)
  const name = (i: number, c: number) => `${into}${i}_${c}`
  const all = range(Math.ceil(items / invocations))
  return {
    setup: all.map((i) => {
      const fours = `(li + ${i * invocations}u) / ${tileK4}u`
      return `${setup(i, fours)}${
        norm
          ? range(4)
              .map((c) => norm.row(i, fours, c))
              .join('')
          : ''
      }`
    }),
    registers: all.flatMap((i) => [
      ...range(4).map((c) => `var ${name(i, c)}: ${elementType[storage]};`),
      ...(norm?.registers(i) ?? []),
    ]),
    fetch: forItems(items, invocations, (i, item) => [
      ...range(4).map((c) => `${name(i, c)} = ${load(i, `${item} / ${tileK4}u`, c, `${item} % ${tileK4}u`)};`),
      ...(norm?.fetch(i, `${item} % ${tileK4}u`) ?? []),
    ]),
    put: forItems(items, invocations, (i, item) => [
      '{',
      ...range(4).map((c) => {
        const value = asF32(storage, name(i, c))
        return `let v${c} = ${norm ? norm.value(i, c, value) : value};`
      }),
      ...range(4).map((j) => {
        const k = `(${item} % ${tileK4}u * 4u + ${j}u)`
        const place = `(${item} / ${tileK4}u + ${item} % ${tileK4}u * ${turn}u) % ${fours}u`
        return `${into}[${k} * ${fours}u + ${place}] = vec4<f32>(${range(4)
          .map((c) => `v${c}.${lane[j]}`)
          .join(', ')});`
      }),
      '}',
    ]),
    index: (j, at) => `(q * 4u + ${j}u) * ${fours}u + (${at} + q * ${turn}u) % ${fours}u`,
  }
}

export function stageA(size: TileSize & { readonly tileM4: number }, product: TiledProduct): Staging {
  const { tileM4, tileK4, whole } = size
  const { m, k4, fours: together } = product
  const storage = product.storage?.a ?? 'f32'
  const even = m % (tileM4 * 4) === 0
  const lastStep = Math.ceil(k4 / tileK4) - 1
  const rowOf = (fours: string, c: number) => {
    const row = `(m0 / 4u + ${fours}) * 4u + ${c}u`
    return even ? row : `min(${row}, ${m - 1}u)`
  }
  // Rows beyond the last are computed and not stored; beyond k, a is zero.
  return transposed(
    'as_',
    tileM4,
    storage,
    size,
    (item, fours, c, column) => {
      const kg = `t * ${tileK4}u + ${column}`
      const inside = whole ? kg : `min(${kg}, ${k4 - 1}u)`
      const value = together
        ? together.load(item, c, { column, kg: inside, t: whole ? 't' : `min(t, ${lastStep}u)` })
        : `tileA(batch, ${rowOf(fours, c)}, ${inside})`
      return whole ? value : `select(${elementType[storage]}(), ${value}, ${kg} < ${k4}u)`
    },
    (item, fours) => together?.setup(item, `min(m0 / 4u + ${fours}, ${Math.ceil(m / 4) - 1}u)`) ?? '',
    product.norm && stagedNorm(product.norm, size, k4, rowOf),
  )
}

/** Beyond k, gamma and beta are zero as a is. */
function stagedNorm(
  norm: TiledNorm,
  { tileK4, invocations, whole }: TileSize,
  k4: number,
  rowOf: (fours: string, c: number) => string,
): StagedNorm {
  // All items of an invocation lie at the same fours of k then.
  const alike = invocations % tileK4 === 0
  const own = (i: number) => (alike ? 0 : i)
  return {
    row: (i, fours, c) => `let moments${i}_${c} = ${norm.moments(rowOf(fours, c))};`,
    registers: (i) => (own(i) === i ? [`var gamma${i}: vec4<f32>;`, `var beta${i}: vec4<f32>;`] : []),
    fetch(i, kq) {
      if (own(i) !== i) return []
      const kg = `t * ${tileK4}u + ${kq}`
      const inside = (text: (kg: string) => string) =>
        whole ? text(kg) : `select(vec4<f32>(), ${text(`min(${kg}, ${k4 - 1}u)`)}, ${kg} < ${k4}u)`
      return [`gamma${i} = ${inside(norm.gamma)};`, `beta${i} = ${inside(norm.beta)};`]
    },
    value: (i, c, element) => `(${element} - moments${i}_${c}.x) * moments${i}_${c}.y * gamma${own(i)} + beta${own(i)}`,
  }
}

export function stageB(size: TileSize & { readonly tileN4: number }, product: TiledProduct): Staging {
  const { tileN4, tileK4, invocations, whole } = size
  const { n4, k4, halves } = product
  const storage = product.storage?.b ?? 'f32'
  const fours = tileN4 * halves
  const group = (column: string) => {
    const text = `n0 + ${halves === 1 ? column : `${column} % ${tileN4}u`}`
    return n4 % tileN4 === 0 ? text : `min(${text}, ${n4 - 1}u)`
  }
  const half = (column: string) => (halves === 1 ? '0u' : `${column} / ${tileN4}u`)
  if (product.bRows) {
    return transposed('bs', fours, storage, size, (_, column, c, kq) => {
      const kg = `t * ${tileK4}u + ${kq}`
      return `tileB(batch, ${half(`(${column})`)}, (${group(`(${column})`)}) * 4u + ${c}u, ${whole ? kg : `min(${kg}, ${k4 - 1}u)`})`
    })
  }
  const items = fours * tileK4 * 4
  return {
    setup: [],
    registers: range(Math.ceil(items / invocations)).map((i) => `var bs${i}: ${elementType[storage]};`),
    fetch: forItems(items, invocations, (i, item) => {
      const column = `(${item} % ${fours}u)`
      const k = `t * ${tileK4 * 4}u + ${item} / ${fours}u`
      // Beyond k, where a is zero, any finite value will do.
      const inside = whole ? k : `min(${k}, ${k4 * 4 - 1}u)`
      return [`bs${i} = tileB(batch, ${half(column)}, ${inside}, ${group(column)});`]
    }),
    put: forItems(items, invocations, (i, item) => [`bs[${item}] = ${asF32(storage, `bs${i}`)};`]),
    index: (j, at) => `(q * 4u + ${j}u) * ${fours}u + ${at}`,
  }
}

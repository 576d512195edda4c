// Quantised weights as WGSL: integers turned into numbers while they are loaded. A weight is one buffer of u32: the integers of
// its matrix [k][columns], four a word ('int8') or eight ('int4'), then the scales, halves: [blocks of k][columns], or of a token
// table, whose blocks lie within a row, [rows][blocks].
import { type QuantisedFormat, quantisedRules } from '../../tensor/quantise.ts'
import type { Operand, QuantisedLayout, Storage } from '../family.ts'
import { sizeText } from './number.ts'

/** Expressions for what else comes from the layout. */
export interface QuantisedPlaces {
  /** Groups of four columns. */
  readonly columns4: string
  /** The word at which scales begin. */
  readonly scales: string
}

/** The word at which the scales begin. */
export function scalesAt(storage: Storage, { rows, columns4 }: QuantisedLayout): number {
  return storage === 'int8' ? rows * columns4 : Math.ceil((rows * columns4) / 2)
}

/** Bytes of integers and scales, whole words. */
export function quantisedBytes(format: QuantisedFormat, layout: QuantisedLayout): number {
  const { rows, columns4, blocks } = layout
  const { block } = quantisedRules[format]
  const scales = blocks === 'rows' ? Math.ceil(rows / block) * columns4 * 4 : rows * Math.ceil((columns4 * 4) / block)
  return scalesAt(format, layout) * 4 + Math.ceil(scales / 2) * 4
}

/** Four integers of `word`, from bit `first` on, in units of 1 / levels. */
function integers(format: QuantisedFormat, word: string, first: string): string {
  const { bits, levels } = quantisedRules[format]
  const shifts = [0, 1, 2, 3].map((i) => `${32 - bits * (i + 1)}u`).join(', ')
  const shifted = `vec4<u32>(${word}) << (vec4<u32>(${shifts}) - vec4<u32>(${first}))`
  return `vec4<f32>(bitcast<vec4<i32>>(${shifted}) >> vec4<u32>(${32 - bits}u)) * ${1 / levels}f`
}

/** `at_x`, `load_x`; with `wide` also `units_x(i)`, eight columns as halves, which hold them exactly. */
export function quantisedAccessors(
  name: string,
  { storage, quantised, offset4, stride4 }: Operand,
  variable: string,
  { wide, columns4, scales }: { readonly wide: boolean } & Partial<QuantisedPlaces>,
): string {
  const format = storage as QuantisedFormat
  const layout = quantised!
  const { block } = quantisedRules[format]
  const groups = columns4 ?? sizeText(layout.columns4)
  const firstScale = scales ?? sizeText(scalesAt(format, layout))
  const place = offset4 === 0 ? 'i' : `${sizeText(offset4)} + i`
  const [word, first] = format === 'int8' ? ['at', '0u'] : ['at / 2u', 'at % 2u * 16u']
  const scale = (k: number) =>
    `vec4<f32>(unpack2x16float(${variable}[scale + ${k}u]), unpack2x16float(${variable}[scale + ${k + 1}u]))`
  const inRow = sizeText(Math.ceil((layout.columns4 * 4) / block)) // blocks of a table's row
  const scaled =
    layout.blocks === 'rows'
      ? `let scale = ${firstScale} + (row / ${block}u * ${groups} + at - row * ${groups}) * 2u;
  return ${integers(format, `${variable}[${word}]`, first)} * ${scale(0)};`
      : `let scale = row * ${inRow} + (at - row * ${groups}) / ${block / 4}u;
  return ${integers(format, `${variable}[${word}]`, first)} * unpack2x16float(${variable}[${firstScale} + scale / 2u])[scale % 2u];`
  const lines = [
    `fn at_${name}(i: u32) -> vec4<f32> {
  let at = ${place};
  let row = at / ${groups};
  ${scaled}
}`,
    `fn load_${name}(row: u32, group: u32) -> vec4<f32> { return at_${name}(row * ${sizeText(stride4)} + group); }`,
  ]
  if (wide) {
    const value = (j: 0 | 1) => {
      const [at, from] = format === 'int8' ? [`i * 2u + ${j}u`, '0u'] : ['i', `${16 * j}u`]
      return `${integers(format, `${variable}[${at}]`, from)} * ${scale(2 * j)}`
    }
    lines.push(`fn units_${name}(i: u32) -> vec4<u32> {
  let row = i / (${groups} / 2u);
  let scale = ${firstScale} + (row / ${block}u * ${groups} + i * 2u - row * ${groups}) * 2u;
  let a = ${value(0)};
  let b = ${value(1)};
  return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}`)
  }
  return lines.join('\n')
}

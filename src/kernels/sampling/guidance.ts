// Classifier-free guidance as text: Ho, Salimans 2022, arXiv:2207.12598; branch 0 is the negative prompt, branch 1 the positive.
import { u32Text } from '../wgsl/number.ts'
import { places } from './coefficients.ts'

/** `fn guided(row, channel) -> f32`: the model's output after guidance; and fn conditional(row, channel). */
export function guidedText(rows: number, branches: 1 | 2): string {
  const channel = (row: string) => `load_m(${row}, channel / 4u)[channel % 4u]`
  return `fn conditional(row: u32, channel: u32) -> f32 {
  return ${channel(branches === 2 ? `row + ${u32Text(rows)}` : 'row')};
}
fn guided(row: u32, channel: u32) -> f32 {
${
  branches === 2
    ? `  let unconditional = ${channel('row')};
  return unconditional + coefficients[${places.guidanceScale}] * (conditional(row, channel) - unconditional);`
    : '  return conditional(row, channel);'
}
}`
}

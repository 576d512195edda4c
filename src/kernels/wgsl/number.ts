// The one printer of numbers in WGSL text: full digits, finite only, negatives in parentheses (`x--1` is not WGSL everywhere).
import { PhospheneError } from '../../error.ts'

/** An f32 literal, rounded to f32 first. Raises 'internal' for what f32 cannot hold. */
export function f32Text(value: number): string {
  const rounded = Math.fround(value)
  if (!Number.isFinite(rounded)) {
    throw new PhospheneError({
      code: 'internal',
      message: `the constant ${value} is not a finite f32 and cannot be written in WGSL`,
      fix: 'Report this with the command that led here; it is a fault of the engine.',
    })
  }
  const digits = String(Math.abs(rounded))
  const literal = `${/[.e]/.test(digits) ? digits : `${digits}.0`}f`
  return rounded < 0 || Object.is(rounded, -0) ? `(-${literal})` : literal
}

/** A u32 literal. Raises 'internal' for what u32 cannot hold. */
export function u32Text(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new PhospheneError({
      code: 'internal',
      message: `${value} is not a u32 and cannot be written in WGSL`,
      fix: 'Report this with the command that led here; it is a fault of the engine.',
    })
  }
  return `${value}u`
}

/**
 * A u32 that comes of the shapes, not of the kernel: constant where the driver may gain by it, data where one text is to serve
 * many shapes (shared-text.ts). No place for it: sizes of arrays and indices that must be constant.
 */
export function sizeText(value: number): string {
  return `u32(${u32Text(value).slice(0, -1)})`
}

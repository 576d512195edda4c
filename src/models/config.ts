// How a component's config.json becomes typed data: defaults are diffusers' own, and what the engine cannot do is refused here.
import * as v from 'valibot'
import { PhospheneError } from '../error.ts'

export const count = v.pipe(v.number(), v.integer(), v.minValue(1))
export const positive = v.pipe(v.number(), v.minValue(Number.MIN_VALUE))
/** A list of counts, one for each block. */
export const counts = v.pipe(v.array(count), v.minLength(1))

/** A key of which the engine knows one value (or its absence, or null): any other is refused as unsupported. */
export function only<const T extends string | number | boolean>(value: T) {
  return v.nullish(v.literal(value), value)
}

/** A key that must be absent or null: each value names a feature that the engine lacks. */
export const absent = v.nullish(v.never('null'))

/**
 * The config, checked and with defaults filled in. Keys that the schema does not name are ignored, as diffusers does.
 * Raises 'model/unsupported' for values of a right type that the engine does not know, 'model/config' for anything else.
 * @param file the file's path, for messages
 */
export function parseConfig<S extends v.GenericSchema>(schema: S, json: unknown, file: string): v.InferOutput<S> {
  if (Array.isArray(json)) throw configError(file, '(the whole file)', 'a list', 'expected an object')
  const result = v.safeParse(schema, json)
  if (result.success) return result.output
  const [issue] = result.issues
  const key = v.getDotPath(issue) ?? '(the whole file)'
  const found = JSON.stringify(issue.input) ?? 'missing'
  if (issue.type === 'literal' || issue.type === 'picklist' || issue.type === 'never')
    throw unsupported(file, key, found, issue.expected === 'never' ? 'null' : (issue.expected ?? 'another value'))
  throw configError(file, key, found, issue.message)
}

/** `value` is legal but belongs to a model that the engine cannot run. */
export function unsupported(file: string, key: string, value: string, known: string): PhospheneError {
  return new PhospheneError({
    code: 'model/unsupported',
    message: `${file}: ${key} is ${value}; supported: ${known}`,
    fix: 'Use a model of the Stable Diffusion 1.x, 2.x, XL or Turbo family; this one needs a feature that is not built.',
  })
}

/** `value` cannot be right for any model. */
export function configError(file: string, key: string, value: string, reason: string): PhospheneError {
  return new PhospheneError({
    code: 'model/config',
    message: `${file}: ${key} is ${value}: ${reason}`,
    fix: 'Download the file again from where the model came from, or correct this key.',
  })
}

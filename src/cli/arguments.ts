// Options of the command line that are numbers or one of a few words, checked where they are read.
import { PhospheneError } from '../error.ts'

/** Whether a number makes sense for the model is the pipeline's business; here it must be one. */
export function numberFor(option: string): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text)
    if (Number.isFinite(value)) return value
    throw invalid(option, text, 'Give a number.')
  }
}

export function wholeNumberFor(option: string, least = Number.MIN_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : Number.NaN
    if (Number.isSafeInteger(value) && value >= least) return value
    throw invalid(option, text, `Give a whole number${least === Number.MIN_SAFE_INTEGER ? '' : `, at least ${least}`}.`)
  }
}

/** Megabytes, more than none. */
export function memoryFor(option: string): (text: string) => number {
  return (text) => {
    const value = numberFor(option)(text)
    if (value > 0) return value
    throw invalid(option, text, 'Give the megabytes that may be used for everything but weights.')
  }
}

export function oneOfFor<const T extends string>(option: string, words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text.toLowerCase())
    if (found !== undefined) return found
    throw invalid(option, text, `Use one of: ${words.join(', ')}.`)
  }
}

function invalid(option: string, text: string, fix: string): PhospheneError {
  return new PhospheneError({ code: 'options/invalid', message: `${option} is ${JSON.stringify(text)}`, fix })
}

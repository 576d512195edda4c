// What kernels took on one device, as it is kept from run to run: by request, then by candidate. A time holds for the very texts it
// was measured with, so that no version of the engine has to be compared.
import type { Candidate } from '../kernels/choose.ts'
import { candidateName, type Times } from '../plan/measured-choices.ts'
import { textHash } from './text-hash.ts'

interface Entry {
  readonly kernel: string
  /** Null: the device cannot compile it. */
  readonly nanoseconds: number | null
}

/** Of the file, raised when it means something else. */
const format = 1

export class TuningRecord {
  private readonly device: string
  private readonly entries = new Map<string, Map<string, Entry>>()

  /** @param device everything that times depend on beside request and kernel */
  constructor(device: string) {
    this.device = device
  }

  /** What is known of these candidates of a request. Only what has a time is emitted, to be compared. */
  times(request: string, candidates: readonly Candidate[]): Times {
    const known = this.entries.get(textHash(request))
    const times = new Map<string, number>()
    for (const candidate of known ? candidates : []) {
      const name = candidateName(candidate)
      const entry = known!.get(name)
      if (entry?.kernel === kernelHash(candidate)) times.set(name, entry.nanoseconds ?? Number.POSITIVE_INFINITY)
    }
    return times
  }

  add(request: string, candidate: Candidate, nanoseconds: number): void {
    this.put(textHash(request), candidateName(candidate), {
      kernel: kernelHash(candidate),
      nanoseconds: Number.isFinite(nanoseconds) ? Math.max(1, Math.round(nanoseconds)) : null,
    })
  }

  /** Takes over what `text` holds and this does not. Whatever is not a record of this device is passed over. */
  merge(text: string | undefined): void {
    const parsed = parse(text)
    if (!isObject(parsed) || parsed.format !== format || parsed.device !== this.device || !isObject(parsed.times))
      return
    for (const [request, candidates] of Object.entries(parsed.times))
      for (const [name, entry] of isObject(candidates) ? Object.entries(candidates) : [])
        if (isEntry(entry) && !this.entries.get(request)?.has(name)) this.put(request, name, entry)
  }

  text(): string {
    const times = Object.fromEntries([...this.entries].map(([request, all]) => [request, Object.fromEntries(all)]))
    return `${JSON.stringify({ format, device: this.device, times }, undefined, 1)}\n`
  }

  private put(request: string, name: string, entry: Entry): void {
    const known = this.entries.get(request) ?? new Map<string, Entry>()
    this.entries.set(request, known.set(name, entry))
  }
}

function kernelHash(candidate: Candidate): string {
  const { dispatches, scratch, constants } = candidate.choice().kernel
  return textHash(JSON.stringify([dispatches, scratch, constants]))
}

function parse(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined // half a file, or another program's
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isEntry(value: unknown): value is Entry {
  if (!isObject(value) || typeof value.kernel !== 'string') return false
  const { nanoseconds } = value
  return nanoseconds === null || (typeof nanoseconds === 'number' && nanoseconds > 0 && Number.isFinite(nanoseconds))
}

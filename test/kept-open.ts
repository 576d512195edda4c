// A backend that several pipelines share, one after the other: one that is disposed leaves its executor, and so its device, open.
import type { Backend } from '../src/pipeline/backend-contract.ts'

export function keptOpen(backend: Backend): Backend {
  return { ...backend, executor: { ...backend.executor, dispose: async () => {} } }
}

// The order of test files: those that take long first, longest first, so that none runs alone at the end. Vitest orders by the
// durations of an earlier run, which a fresh clone has not.
import type { TestSpecification } from 'vitest/node'
import { BaseSequencer } from 'vitest/node'

/** By CPU seconds; what is not here takes less than ten. */
const longest = [
  'executors',
  'quantised-kernels',
  'golden/pipelines',
  'golden/starter',
  'wgsl-matrix',
  'wgsl-others',
  'wgsl-attention-partial',
  'wgsl-attention-matrix',
  'golden/models',
  'golden/optimisations',
  'quantised-models',
  'wgsl-tiled',
  'golden/memory',
  'memory-budgets',
  'wgsl-matmul-conv',
  'frugal-executors',
  'cli-bench',
  'wgsl-winograd',
  'cli',
  'frugal-graphs',
].map((name) => `/test/${name}.test.ts`)

const place = ({ moduleId }: TestSpecification) => {
  const found = longest.findIndex((path) => moduleId.replaceAll('\\', '/').endsWith(path))
  return found < 0 ? longest.length : found
}

export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => place(a) - place(b))
  }
}

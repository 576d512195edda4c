// The executors that golden tests run on: a column each. PHOSPHENE_TEST_EXECUTORS chooses, e.g. `cpu,swiftshader,lavapipe`.
import { openDevice } from '../../src/device/node.ts'
import { webgpuBackend } from '../../src/pipeline/backend.ts'
import type { Backend } from '../../src/pipeline/backend-contract.ts'
import { cpuBackend } from '../../src/pipeline/open-node.ts'
import type { StorageDType } from '../../src/tensor/dtype.ts'
import { keptOpen } from '../kept-open.ts'

const openers = {
  cpu: cpuBackend,
  swiftshader: async () => webgpuBackend(await openDevice({ kind: 'software', adapter: 'swiftshader' })),
  lavapipe: async () => webgpuBackend(await openDevice({ kind: 'software', adapter: 'llvmpipe' })),
  gpu: async () => webgpuBackend(await openDevice({ kind: 'gpu' })),
} as const satisfies Record<string, () => Promise<Backend>>

type ExecutorName = keyof typeof openers

export interface TestExecutor {
  readonly name: ExecutorName
  /** Open already, and shared by all cases: a pipeline that is disposed leaves it open. */
  readonly backend: Backend
}

/** The chosen executors, opened. Throws where one that was asked for is not there: a test never skips silently. */
export async function testExecutors(): Promise<readonly TestExecutor[]> {
  const names = (process.env.PHOSPHENE_TEST_EXECUTORS ?? 'cpu,swiftshader').split(',').map((name) => name.trim())
  const executors: TestExecutor[] = []
  for (const name of names) {
    if (!(name in openers)) throw new Error(`no test executor ${name}; there are ${Object.keys(openers).join(', ')}`)
    const backend = await openers[name as ExecutorName]()
    executors.push({ name: name as ExecutorName, backend: keptOpen(backend) })
  }
  return executors
}

/** Executor × storage type, as vitest's `describe.each` takes it. */
export async function testColumns(): Promise<readonly (TestExecutor & { readonly dtype: StorageDType })[]> {
  const executors = await testExecutors()
  return executors.flatMap((each) => (['f32', 'f16'] as const).map((dtype) => ({ ...each, dtype })))
}

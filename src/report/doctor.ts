// What this machine can run on, each proved by computing something. Node only.
import { cpus, release, totalmem } from 'node:os'
import { type AdapterReport, listAdapters, openDevice } from '../device/node.ts'
import type { Executor } from '../run/executor.ts'
import { onnxExecutor } from '../run/onnx/executor.ts'
import { webgpuExecutor } from '../run/webgpu/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { type Proof, prove } from './proof.ts'

export interface ExecutorReport {
  readonly device: 'gpu' | 'software' | 'cpu'
  readonly name: string
  /** Undefined for the CPU. */
  readonly adapter: AdapterReport | undefined
  readonly proofs: Readonly<Record<StorageDType, Proof>>
}

export interface DoctorReport {
  readonly node: string
  readonly platform: string
  readonly cpu: string
  readonly memoryBytes: number
  readonly executors: readonly ExecutorReport[]
  /** What to install or do, where something is missing. */
  readonly advice: readonly string[]
}

export async function examine(): Promise<DoctorReport> {
  const executors: ExecutorReport[] = []
  for (const adapter of await listAdapters()) {
    const { kind, name } = adapter
    const executor = await opened(async () => webgpuExecutor(await openDevice({ kind, adapter: name })))
    executors.push({ device: kind, name, adapter, proofs: await proofs(executor) })
  }
  const cpu = await opened(onnxExecutor)
  const name = cpu instanceof Error ? 'ONNX Runtime' : cpu.description
  executors.push({ device: 'cpu', name, adapter: undefined, proofs: await proofs(cpu) })
  const processor = cpus()
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}, ${release()}`,
    cpu: `${processor[0]?.model ?? 'unknown'} × ${processor.length}`,
    memoryBytes: totalmem(),
    executors,
    advice: adviceFor(executors),
  }
}

async function opened(open: () => Promise<Executor>): Promise<Executor | Error> {
  try {
    return await open()
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

async function proofs(executor: Executor | Error): Promise<Record<StorageDType, Proof>> {
  if (executor instanceof Error) {
    const failed: Proof = { ok: false, reason: executor.message }
    return { f32: failed, f16: failed }
  }
  const result = { f32: await prove(executor, 'f32'), f16: await prove(executor, 'f16') }
  await executor.dispose()
  return result
}

function adviceFor(executors: readonly ExecutorReport[]): string[] {
  const advice: string[] = []
  const works = (device: ExecutorReport['device']) =>
    executors.some((each) => each.device === device && each.proofs.f32.ok)
  if (!works('gpu'))
    advice.push(
      process.platform === 'linux'
        ? "No GPU was found. On Linux, install the GPU's Vulkan driver and loader (Debian, Ubuntu: libvulkan1 with mesa-vulkan-drivers, or NVIDIA's driver), then run this again. Until then pictures are drawn on the CPU."
        : 'No GPU was found. Update the graphics driver, then run this again. Until then pictures are drawn on the CPU.',
    )
  if (!works('software'))
    advice.push(
      'No software adapter was found, which only tests need: `npm install --save-dev @sparticuz/chromium` brings SwiftShader (Linux on x64).',
    )
  if (!works('cpu'))
    advice.push(
      'ONNX Runtime does not run, so there is no --device cpu. Install again with ONNXRUNTIME_NODE_INSTALL=skip set if its install script failed.',
    )
  return advice
}

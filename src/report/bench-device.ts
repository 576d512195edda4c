// A WebGPU adapter and a model, ready to be measured. Node only.

import type { Device } from '../device/device.ts'
import { listAdapters, openDevice } from '../device/node.ts'
import { PhospheneError } from '../error.ts'
import { optimised } from '../pipeline/memory-limit.ts'
import { type Model, openModel } from '../pipeline/model.ts'
import { nodeModel } from '../pipeline/node-model.ts'
import type { Optimisations } from '../pipeline/optimisations.ts'
import type { TuningOptions } from '../pipeline/tune-options.ts'
import { tunerFor } from '../pipeline/tuning.ts'
import type { Plan } from '../plan/plan.ts'
import { planWithin } from '../plan/within.ts'
import { nodeTuningStore } from '../run/node-tuning-store.ts'
import { capabilitiesOf } from '../run/webgpu/capabilities.ts'
import { type WebGpuOptions, webgpuExecutor } from '../run/webgpu/executor.ts'
import { WebGpuSession } from '../run/webgpu/session.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import { checkParams } from '../weights/check.ts'
import { openComponent } from '../weights/folder.ts'
import { type ModelComponent, type ModelComponents, modelComponents, type PictureSize } from './components.ts'
import { planningWith } from './planned.ts'

export interface BenchOptions extends PictureSize {
  /** A diffusers folder. */
  readonly model: string
  /** 'auto': a real GPU, else a software adapter. */
  readonly device?: 'auto' | 'gpu' | 'software' | 'cpu' | undefined
  readonly adapter?: string | undefined
  /** 'auto': f16 on a GPU, else f32. */
  readonly dtype?: 'auto' | StorageDType | undefined
  /** No more of the adapter's features than a browser would offer. */
  readonly browserLike?: boolean | undefined
  /** What of the engine is switched off. */
  readonly optimisations?: Optimisations | undefined
  readonly signal?: AbortSignal | undefined
  /** Told what is being done, for people who wait. */
  readonly onProgress?: ((what: string) => void) | undefined
}

/** What was measured on what: the head of every report. */
export interface BenchHead {
  readonly model: string
  readonly adapter: string
  readonly device: 'gpu' | 'software' | 'cpu'
  readonly browserLike: boolean
  readonly dtype: StorageDType
  readonly width: number
  readonly height: number
  readonly count: number
}

export interface Bench extends ModelComponents {
  readonly head: BenchHead
  readonly model: Model
  readonly device: Device
  /** The plan that `load` would carry out. */
  plan(component: ModelComponent, options?: PlanningOptions): Plan
  /** Loads a component with its weights, inputs filled. */
  load(component: ModelComponent, options?: PlanningOptions): Promise<WebGpuSession>
}

/** How a component's graph is planned; by default as for a picture. */
export interface PlanningOptions extends WebGpuOptions {
  /** Whether nodes may be fused, and linear layers of one input merged. */
  readonly fuse?: boolean | undefined
  readonly merge?: boolean
  /** Whether products normalise what they load (false unless said). */
  readonly normaliseOnLoad?: boolean | undefined
  /** Whether what stays from step to step is computed once a picture. */
  readonly hold?: boolean
}

/** Raises 'options/invalid' for the CPU, whose kernels are not the engine's; 'device/none', 'model/…', 'options/size'. */
export async function openBench(options: BenchOptions, tuning: TuningOptions = { tune: 'off' }): Promise<Bench> {
  const model = await openModel(nodeModel(options.model))
  const size = modelComponents(model, options)
  const device = await openBenchDevice(options)
  const { kind, name } = device.description
  const dtype = resolveDType(options.dtype, kind)
  const switched = planningWith(options.optimisations)
  const tuner = tunerFor(device, tuning, nodeTuningStore)
  return {
    ...size,
    head: {
      model: options.model,
      adapter: name,
      device: kind,
      browserLike: options.browserLike ?? false,
      dtype,
      width: size.width,
      height: size.height,
      count: size.count,
    },
    model,
    device,
    plan: (component, planning = switched) => {
      const { graph, frugal } = partsOf(component, planning)
      return planWithin(graph, frugal, { dtype, capabilities: capabilitiesOf(device), ...planning })
    },
    async load(component, planning = switched) {
      const source = await openComponent(model.files, component.folder)
      try {
        checkParams(component.graph.params.values(), source)
        const { graph, prelude, frugal } = partsOf(component, planning)
        const { signal, onProgress = () => {} } = options
        const onTuning = (done: number, total: number) =>
          onProgress(`${component.folder}: tuning kernels, ${done} of ${total}`)
        const load = { dtype, prelude, frugal, signal, onTuning, onWarning: onProgress }
        const session = await webgpuExecutor(device, { ...planning, tuner }).load(graph, source, load)
        if (!(session instanceof WebGpuSession)) throw new TypeError('a WebGPU executor loads WebGPU sessions')
        await session.hold(component.inputs(), options.signal)
        return session
      } finally {
        await source.close()
      }
    },
  }
}

function partsOf({ graph, held }: ModelComponent, planning: PlanningOptions) {
  const { fuse = true, merge = fuse, hold = true, normaliseOnLoad } = planning
  return optimised(graph, hold ? held : [], { fuse, merge, normaliseOnLoad })
}

export function resolveDType(dtype: BenchOptions['dtype'], kind: BenchHead['device']): StorageDType {
  if (dtype !== undefined && dtype !== 'auto') return dtype
  return kind === 'gpu' ? 'f16' : 'f32'
}

export async function openBenchDevice({
  device = 'auto',
  adapter,
  browserLike,
}: Pick<BenchOptions, 'device' | 'adapter' | 'browserLike'>): Promise<Device> {
  if (device === 'cpu')
    throw new PhospheneError({
      code: 'options/invalid',
      message: 'this measures kernels on a WebGPU adapter; those of the CPU are not the engine’s own',
      fix: 'Use --device gpu or software, or `phosphene bench picture --device cpu`.',
    })
  if (device !== 'auto') return openDevice({ kind: device, adapter, browserLike })
  const wanted = adapter?.toLowerCase() ?? ''
  const fitting = (await listAdapters()).filter(({ name }) => name.toLowerCase().includes(wanted))
  const kind = fitting.some((each) => each.kind === 'gpu') || fitting.length === 0 ? 'gpu' : 'software'
  return openDevice({ kind, adapter, browserLike })
}

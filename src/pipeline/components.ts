// The model's loaded components: each is loaded when it is first needed, or before where the executor can, kept for the next
// picture, and loaded anew when another shape is asked for.
import type { OptimiseOptions } from '../passes/passes.ts'
import type { Executor, Session } from '../run/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WeightFormat } from '../tensor/quantise.ts'
import type { WantedParam } from '../weights/check.ts'
import { checkParams } from '../weights/check.ts'
import { openComponent } from '../weights/folder.ts'
import type { Component, ModelFiles } from '../weights/model-files.ts'
import type { Graph } from './backend-contract.ts'
import type { LoadEvent, ProgressListener, TuneEvent } from './events.ts'
import { optimised } from './memory-limit.ts'
import type { Recorder } from './recorder.ts'
import type { GenerationResult } from './result.ts'

export interface ComponentRequest {
  readonly folder: string
  /** Everything that the graph depends on. */
  readonly key: string
  graph(): Graph
  /** Inputs that stay from run to run: what depends on them alone is computed when they are held (Session.hold). */
  readonly held?: readonly string[]
  /** What lives on the device beside it while it runs, in bytes: of the memory allowed, that much is not its own. */
  readonly besideBytes?: number
  /** Parameters that the files may hold beside the graph's own, e.g. the encoder's of an autoencoder. */
  readonly alsoKnown?: () => Iterable<WantedParam>
}

export interface LoadContext {
  readonly emit: ProgressListener
  readonly signal?: AbortSignal | undefined
  readonly recorder?: Recorder | undefined
}

/** A component that is loaded or about to be. */
interface Entry {
  readonly key: string
  readonly session: Promise<Session>
  /** The same, once it is there. */
  ready?: Session
  /** How far loading is. */
  progress?: LoadEvent | TuneEvent
  /** Who hears of it: whoever asked for the component first, nobody before. */
  listener?: ProgressListener
}

type MemoryTaken = Pick<Session, 'weightBytes' | 'arenaBytes'>

function together(all: readonly MemoryTaken[]): MemoryTaken {
  return {
    weightBytes: all.reduce((sum, { weightBytes }) => sum + weightBytes, 0),
    arenaBytes: all.reduce((most, { arenaBytes }) => Math.max(most, arenaBytes), 0),
  }
}

export interface ComponentSettings {
  readonly files: ModelFiles
  readonly executor: Executor
  readonly dtype: StorageDType
  /** Allowed for everything but weights. */
  readonly memoryBytes?: number | undefined
  /** As the files have them unless said. */
  readonly weights?: WeightFormat | undefined
  readonly passes?: OptimiseOptions | undefined
}

export class LoadedComponents {
  private readonly settings: ComponentSettings
  private readonly entries = new Map<string, Entry>()
  private readonly warned = new Set<string>()
  /** Milliseconds spent on loading, by component. Where components load beside each other, so do these. */
  readonly loadMs = new Map<string, number>()
  /** Milliseconds for which callers of `session` waited, by component. */
  readonly waitMs = new Map<string, number>()

  /** What was loaded since `mark` takes, by component. */
  private readonly taken = new Map<string, MemoryTaken>()
  private peakWeightBytes = 0

  constructor(settings: ComponentSettings) {
    this.settings = settings
  }

  /** A session for the request. Raises what opening, checking and loading weights raises. */
  async session(request: ComponentRequest, context: LoadContext): Promise<Session> {
    const start = performance.now()
    const entry = this.begin(request, context)
    if (!entry.listener) {
      entry.listener = context.emit
      if (entry.progress) context.emit(entry.progress)
    }
    try {
      return await entry.session
    } finally {
      const { folder } = request
      this.waitMs.set(folder, (this.waitMs.get(folder) ?? 0) + performance.now() - start)
    }
  }

  /**
   * Begins to load what `session` will be asked for, where the executor loads beside its other work and there is memory for what
   * is on its way. Raises nothing.
   */
  prefetch(request: ComponentRequest, context: LoadContext): void {
    const { executor, memoryBytes } = this.settings
    if (executor.loadsBeside && memoryBytes === undefined) this.begin(request, context)
  }

  /** Waits until nothing is being loaded. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.entries.values()].map(({ session }) => session))
  }

  /** Bytes of weights of all that is loaded, and of planned intermediates: the most that one of them needs, since all share it. */
  get memory(): MemoryTaken {
    return together([...this.entries.values()].flatMap(({ ready }) => ready ?? []))
  }

  /** Begins to count anew what `memoryTaken` tells. */
  mark(): void {
    this.taken.clear()
    this.peakWeightBytes = 0
    for (const [folder, { ready }] of this.entries) if (ready) this.count(folder, ready)
  }

  /** As `memory`, of all that was loaded since `mark`, and the most bytes of weights that were there at the same time. */
  get memoryTaken(): GenerationResult['memory'] {
    return { ...together([...this.taken.values()]), peakWeightBytes: this.peakWeightBytes }
  }

  private count(folder: string, { weightBytes, arenaBytes }: Session): void {
    this.taken.set(folder, { weightBytes, arenaBytes })
    this.peakWeightBytes = Math.max(this.peakWeightBytes, this.memory.weightBytes)
  }

  /** Frees a component that is loaded: it is read again when it is asked for. */
  drop(folder: string): void {
    const entry = this.entries.get(folder)
    if (!entry?.ready) return
    this.entries.delete(folder)
    entry.ready.dispose()
  }

  /** Where memory is limited, a component that is not running keeps nothing but its weights. */
  release(session: Session): void {
    if (this.settings.memoryBytes !== undefined) session.release()
  }

  /** Nothing may be loading: see `idle`. */
  dispose(): void {
    for (const { ready } of this.entries.values()) ready?.dispose()
    this.entries.clear()
  }

  private begin(request: ComponentRequest, context: LoadContext): Entry {
    const { folder, key } = request
    const known = this.entries.get(folder)
    if (known?.key === key) return known
    const tell = (progress: LoadEvent | TuneEvent) => {
      entry.progress = progress
      entry.listener?.(progress)
    }
    const entry: Entry = { key, session: this.load(request, context, tell, known) }
    this.entries.set(folder, entry)
    entry.session.then(
      (session) => {
        entry.ready = session
        this.count(folder, session)
      },
      () => {
        if (this.entries.get(folder) === entry) this.entries.delete(folder)
      },
    )
    return entry
  }

  /** @param before what is loaded in its place and goes first */
  private async load(
    request: ComponentRequest,
    context: LoadContext,
    tell: (progress: LoadEvent | TuneEvent) => void,
    before: Entry | undefined,
  ): Promise<Session> {
    const { folder } = request
    await before?.session.then(
      (session) => session.dispose(),
      () => {},
    )
    const start = performance.now()
    const { files, executor, dtype, memoryBytes: bytes, weights, passes = {} } = this.settings
    const graph = request.graph()
    const source = await openComponent(files, folder as Component)
    try {
      const unknown = checkParams(graph.params.values(), source)
      this.warnOfUnknown(request, source.label, unknown, context.emit)
      // ONNX Runtime maps weights from their files as they are; joined ones would have to be read into memory.
      const merge = executor.name === 'onnx' ? false : passes.fuse
      const parts = optimised(graph, request.held, { ...passes, merge })
      const session = await executor.load(parts.graph, source, {
        prelude: parts.prelude,
        frugal: parts.frugal,
        memory: bytes === undefined ? undefined : { bytes, besideBytes: request.besideBytes ?? 0 },
        dtype,
        weights,
        signal: context.signal,
        onProgress: (doneBytes, totalBytes) => tell({ kind: 'load', component: folder, doneBytes, totalBytes }),
        onTuning: (done, total) => tell({ kind: 'tune', component: folder, done, total }),
        onWarning: (message) => void context.emit({ kind: 'warning', message }),
      })
      this.loadMs.set(folder, performance.now() - start)
      context.recorder?.ended(`load ${folder}`, start)
      return session
    } finally {
      await source.close()
    }
  }

  private warnOfUnknown(request: ComponentRequest, label: string, names: string[], emit: ProgressListener): void {
    if (this.warned.has(request.folder)) return
    this.warned.add(request.folder)
    const known = new Set([...(request.alsoKnown?.() ?? [])].map((param) => param.name))
    const unknown = names.filter((name) => !known.has(name))
    if (unknown.length === 0) return
    const some = unknown.slice(0, 5).join(', ')
    const rest = unknown.length > 5 ? ` and ${unknown.length - 5} more` : ''
    emit({ kind: 'warning', message: `${label} has tensors that the model does not know: ${some}${rest}` })
  }
}

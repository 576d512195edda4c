// The model's loaded components: each is loaded when it is first needed, kept for the next picture, and loaded anew when
// another shape is asked for.
import { optimise } from '../passes/passes.ts'
import type { Executor, Session } from '../run/executor.ts'
import type { StorageDType } from '../tensor/dtype.ts'
import type { WantedParam } from '../weights/check.ts'
import { checkParams } from '../weights/check.ts'
import { type Component, openComponent } from '../weights/folder.ts'
import type { ModelFiles } from '../weights/model-files.ts'
import type { Graph } from './backend-contract.ts'
import type { ProgressListener } from './events.ts'

export interface ComponentRequest {
  readonly folder: string
  /** Everything that the graph depends on. */
  readonly key: string
  graph(): Graph
  /** Parameters that the files may hold beside the graph's own, e.g. the encoder's of an autoencoder. */
  readonly alsoKnown?: () => Iterable<WantedParam>
}

export interface LoadContext {
  readonly emit: ProgressListener
  readonly signal?: AbortSignal | undefined
}

interface Loaded {
  readonly key: string
  readonly session: Session
}

export class LoadedComponents {
  readonly executor: Executor
  readonly dtype: StorageDType
  private readonly files: ModelFiles
  private readonly loaded = new Map<string, Loaded>()
  private readonly warned = new Set<string>()
  /** Milliseconds spent on loading, by component. */
  readonly loadMs = new Map<string, number>()

  constructor(files: ModelFiles, executor: Executor, dtype: StorageDType) {
    this.files = files
    this.executor = executor
    this.dtype = dtype
  }

  /** A session for the request. Raises what opening, checking and loading weights raises. */
  async session(request: ComponentRequest, context: LoadContext): Promise<Session> {
    const { folder, key } = request
    const known = this.loaded.get(folder)
    if (known?.key === key) return known.session
    known?.session.dispose()
    this.loaded.delete(folder)

    const start = performance.now()
    const graph = request.graph()
    const source = await openComponent(this.files, folder as Component)
    try {
      const unknown = checkParams(graph.params.values(), source)
      this.warnOfUnknown(request, source.label, unknown, context.emit)
      const session = await this.executor.load(optimise(graph), source, {
        dtype: this.dtype,
        signal: context.signal,
        onProgress: (doneBytes, totalBytes) => context.emit({ kind: 'load', component: folder, doneBytes, totalBytes }),
      })
      this.loaded.set(folder, { key, session })
      this.loadMs.set(folder, performance.now() - start)
      return session
    } finally {
      await source.close()
    }
  }

  /** Bytes of weights and of planned intermediates of all that is loaded. */
  get memory(): { readonly weightBytes: number; readonly arenaBytes: number } {
    let [weightBytes, arenaBytes] = [0, 0]
    for (const { session } of this.loaded.values()) {
      weightBytes += session.weightBytes
      arenaBytes += session.arenaBytes
    }
    return { weightBytes, arenaBytes }
  }

  dispose(): void {
    for (const { session } of this.loaded.values()) session.dispose()
    this.loaded.clear()
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

// The memory that the programs of an executor compute in. They run one after the other, and nothing in it outlives a run, so it
// is as large as the largest of those that have run, and made when it is first needed.
import type { Device } from '../../device/device.ts'
import type { Plan } from '../../plan/plan.ts'

const storage = 0x80 | 0x08 | 0x04 // STORAGE | COPY_DST | COPY_SRC

export class Arena {
  /** Changes when buffers are replaced: what was bound to them has to be bound again. */
  version = 0
  private readonly device: Device
  private readonly plans = new Set<Plan>()
  /** By page size: plans with tensors beyond the usual size have larger pages. */
  private readonly pages = new Map<number, GPUBuffer[]>()
  private growing: Promise<unknown> = Promise.resolve()

  constructor(device: Device) {
    this.device = device
  }

  /** A program of this plan will run here. */
  join(plan: Plan): void {
    this.plans.add(plan)
  }

  /** It will not run any more. What it left behind is given back once nobody needs as much. */
  leave(plan: Plan): void {
    if (!this.plans.delete(plan)) return
    const most = Math.max(0, ...[...this.plans].map(({ arenaBytes }) => arenaBytes))
    if (plan.arenaBytes > most) this.free([...this.pages.keys()])
  }

  /** Makes room for a run of the plan: call it before `page`. Raises 'device/out-of-memory'. */
  async prepare(plan: Plan): Promise<void> {
    while (!this.holds(plan)) {
      this.growing = this.growing.then(
        () => this.grow(plan),
        () => this.grow(plan),
      )
      await this.growing
    }
  }

  /** Gives all of it back until the next run is prepared. Nothing may be running. */
  release(): void {
    this.free([...this.pages.keys()])
  }

  /** Buffer `index` of the plan's arena. */
  page({ pageBytes }: Plan, index: number): GPUBuffer {
    return this.pages.get(pageBytes)![index]!
  }

  private holds(plan: Plan): boolean {
    const there = this.pages.get(plan.pageBytes) ?? []
    return pageSizes(plan).every((bytes, i) => (there[i]?.size ?? 0) >= bytes)
  }

  private async grow(plan: Plan): Promise<void> {
    if (this.holds(plan)) return
    // All of it goes before new buffers come: the two together would be more than either needs.
    this.free([...this.pages.keys()])
    const wanted = pageSizes(plan).map((bytes, i) => ({ label: `arena ${i}`, bytes }))
    const made = await this.device.allocate(`the intermediates of ${plan.graph.name}`, storage, wanted)
    this.pages.set(plan.pageBytes, made)
    this.version++
  }

  private free(sizes: readonly number[]): void {
    for (const size of sizes) {
      for (const page of this.pages.get(size) ?? []) this.device.free(page)
      this.pages.delete(size)
    }
    this.version++
  }
}

function pageSizes({ arenaBytes, pageBytes }: Plan): number[] {
  return Array.from({ length: Math.ceil(arenaBytes / pageBytes) }, (_, i) =>
    Math.min(pageBytes, arenaBytes - i * pageBytes),
  )
}

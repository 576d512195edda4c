// From plans to programs: pipelines compiled, weights uploaded, buffers made.
import type { Device } from '../../device/device.ts'
import type { Plan } from '../../plan/plan.ts'
import { unlessAborted } from '../aborted.ts'
import type { LoadOptions, ParameterSource } from '../executor.ts'
import { Arena } from './arena.ts'
import { Program } from './program.ts'
import { uploadWeights } from './upload.ts'

/** The plan's program and, where there is a prelude, the prelude's, whose outputs are inputs of the first. All or none. */
export async function loadPrograms(
  device: Device,
  plans: { readonly plan: Plan; readonly prelude?: Plan | undefined },
  parameters: ParameterSource,
  options: LoadOptions,
  arena = new Arena(device),
): Promise<{ readonly program: Program; readonly prelude?: Program | undefined }> {
  const all = plans.prelude ? [plans.plan, plans.prelude] : [plans.plan]
  const uploading = uploadWeights(device, all, parameters, options) // first: it asks for kernels of its own
  // A GPU's driver compiles while weights travel. On a CPU both want the same cores and the same memory: one after the other.
  const beside = device.description.kind === 'gpu' ? all.map((plan) => Program.pipelines(device, plan)) : []
  for (const pipelines of beside) pipelines.catch(() => {}) // reported by Program.create; uploading may fail first
  const weights = await uploading
  const programs: Program[] = []
  try {
    for (const [i, plan] of all.entries()) {
      // Drivers take their time, and cannot be stopped.
      const pipelines = unlessAborted(beside[i] ?? Program.pipelines(device, plan), options.signal)
      pipelines.catch(() => {}) // as above
      programs.push(await Program.create(device, plan, weights[i]!, pipelines, { after: programs[0], arena }))
    }
  } catch (error) {
    for (const program of programs) program.dispose()
    for (const buffer of weights.slice(programs.length + 1).flat()) device.free(buffer) // the failed one has freed its own
    throw error
  }
  return { program: programs[0]!, prelude: programs[1] }
}

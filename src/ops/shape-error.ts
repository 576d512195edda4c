// The one way an op complains about shapes.
import { PhospheneError } from '../error.ts'

/** Raises 'graph/shape'. `what` gives both values; `where` is the scope, e.g. `down_blocks.1.resnets.0.conv1`. */
export function shapeError(where: string, what: string): never {
  throw new PhospheneError({
    code: 'graph/shape',
    message: `${where}: ${what}`,
    fix: 'The config.json and the weights may belong to different models; run `phosphene inspect <model>` to see the shapes.',
  })
}

// Where the model that comes with the package lies.
import { fileURLToPath } from 'node:url'

/** The same from src/cli and from dist/cli. */
export const starterFolder = fileURLToPath(new URL('../../models/starter', import.meta.url))

// Serves the page and, beside it, the repository's models: `npx vite examples/browser`.
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const repository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export default defineConfig({
  root: repository('examples/browser'),
  base: './',
  publicDir: repository('models'), // models/starter becomes ./starter, in the built page too
  // A page of your own has `phosphene` in its node_modules and needs no alias.
  resolve: { alias: { phosphene: repository('src/index.ts') } },
  server: { fs: { allow: [repository('.')] } },
})

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const root = fileURLToPath(new URL('../../', import.meta.url))
const { compilerOptions } = JSON.parse(readFileSync(`${root}tsconfig.base.json`, 'utf8')) as { compilerOptions: { paths: Record<string, [string]> } }

/** With these two a page may share memory between threads. */
const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' }
/** What only Node loads stays behind an import that a browser never reaches. */
const external = (id: string): boolean => id.startsWith('node:')

export default defineConfig({
  // In this repository packages are their sources; a copy of the example needs no aliases.
  resolve: { alias: Object.entries(compilerOptions.paths).map(([name, [file]]) => ({ find: new RegExp(`^${name}$`), replacement: `${root}${file}` })) },
  server: { headers, fs: { allow: [root] } },
  preview: { headers },
  build: { target: 'es2022', rollupOptions: { external } },
  worker: { format: 'es', rollupOptions: { external } },
})

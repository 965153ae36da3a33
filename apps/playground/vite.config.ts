import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const root = fileURLToPath(new URL('../../', import.meta.url))
const { compilerOptions } = JSON.parse(readFileSync(`${root}tsconfig.base.json`, 'utf8')) as { compilerOptions: { paths: Record<string, [string]> } }

/** With these two a page may share memory between threads; hosts that cannot send them serve the same page, on one thread. */
const headers = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' }
/** What only Node loads stays behind an import that a browser never reaches. */
const external = (id: string): boolean => id.startsWith('node:')

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // Any folder of any host.
  base: './',
  // In this repository packages are their sources.
  resolve: { alias: Object.entries(compilerOptions.paths).map(([name, [file]]) => ({ find: new RegExp(`^${name}$`), replacement: `${root}${file}` })), conditions: ['onnxruntime-web-use-extern-wasm', 'module', 'browser', 'development|production'] },
  server: { headers, fs: { allow: [root] } },
  preview: { headers },
  // The runtime finds its WebAssembly by the addresses that it is given: bundling it anew would move it away.
  optimizeDeps: { exclude: ['onnxruntime-web'] },
  build: { target: 'es2022', rollupOptions: { external }, assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
  worker: { format: 'es', rollupOptions: { external } },
})

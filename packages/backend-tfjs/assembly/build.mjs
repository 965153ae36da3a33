// Compiles index.ts for a plain and for a shared heap (the threaded build of the tfjs wasm backend) and writes both as base64
// into src/gradients/compiled.ts. Run `npm run assembly -w packages/backend-tfjs` after a change.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const asc = createRequire(import.meta.url).resolve('assemblyscript/bin/asc.js')
const folder = mkdtempSync(join(tmpdir(), 'tfjs-kernels-'))

/** @param {string} name @param {string[]} flags */
function compile(name, flags) {
  const out = join(folder, `${name}.wasm`)
  const run = spawnSync(process.execPath, [asc, join(here, 'index.ts'), '--enable', 'simd', '--runtime', 'stub', '--importMemory', '--noExportMemory', '--noAssert', '-O3', '-o', out, ...flags], { stdio: 'inherit' })
  if (run.status !== 0) process.exit(run.status ?? 1)
  return readFileSync(out).toString('base64')
}

const plain = compile('plain', [])
const shared = compile('shared', ['--enable', 'threads', '--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536'])
rmSync(folder, { recursive: true })
const text = `// Generated from assembly/index.ts by assembly/build.mjs: do not edit.

/** Kernels for a heap of their own. */
export const PLAIN =
  '${plain}'

/** The same for a shared heap: the threaded build of the tfjs wasm backend. */
export const SHARED =
  '${shared}'
`
writeFileSync(process.argv[2] ?? join(here, '..', 'src', 'gradients', 'compiled.ts'), text)

/**
 * Compiles assembly/: the kernels once for each tier into src/generated/modules.ts, linear algebra into src/generated/linalg.ts.
 * `node scripts/build-wasm.mjs --check` only compares, and fails if the file is stale.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compile } from './compile.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

const simd128 = await compile([])
const relaxed = await compile(['--enable', 'relaxed-simd'])
const linalg = await compile([], 'assembly/products.ts')
const HEAD = '// Written by scripts/build-wasm.mjs from assembly/. Do not edit.\n'
const files = {
  'modules.ts': `${HEAD}
/** The simd128 tier, base64. */
export const SIMD128 =
  '${simd128}'

/** The relaxed SIMD tier, base64. */
export const RELAXED_SIMD =
  '${relaxed}'
`,
  'linalg.ts': `${HEAD}
/** Products of panels for linear algebra, base64. */
export const PRODUCTS =
  '${linalg}'
`,
}
for (const [name, text] of Object.entries(files)) {
  const target = join(root, 'src/generated', name)
  if (!process.argv.includes('--check')) writeFileSync(target, text)
  else if (readFileSync(target, 'utf8') !== text) {
    console.error(`src/generated/${name} is not what assembly/ compiles to; run \`npm run wasm -w @lowbit/kernels-wasm\``)
    process.exitCode = 1
  }
}

/**
 * Compiles assembly/: the kernels once for each tier into src/generated/modules.ts, linear algebra into src/generated/linalg.ts.
 * `node scripts/build-wasm.mjs --check` only compares, and fails if the file is stale.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * -O0: Binaryen's passes would move each sum next to its next use and so chain the dot products of one accumulator,
 * which makes V8 spill registers in the matrix kernels (65 instead of 75 GOPS). The engine optimizes the rest itself.
 */
const options = ['-O0', '--noAssert', '--runtime', 'stub', '--importMemory', '--initialMemory', '1', '--maximumMemory', '65536', '--uncheckedBehavior', 'always', '--enable', 'simd', '--enable', 'threads']

async function compile(features, entry = 'assembly/index.ts') {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-wasm-'))
  try {
    const out = join(folder, 'module.wasm')
    const { error, stderr } = await asc.main([entry, '--outFile', out, '--baseDir', root, ...options, ...features])
    if (error) throw new Error(`asc: ${error.message}\n${stderr.toString()}`)
    return readFileSync(out).toString('base64')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

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

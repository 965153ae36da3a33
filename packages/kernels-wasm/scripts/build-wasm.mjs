/**
 * Compiles assembly/ once for each tier and writes src/generated/modules.ts.
 * `node scripts/build-wasm.mjs --check` only compares, and fails if the file is stale.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = join(root, 'src/generated/modules.ts')

/**
 * -O0: Binaryen's passes would move each sum next to its next use and so chain the dot products of one accumulator,
 * which makes V8 spill registers in the matrix kernels (65 instead of 75 GOPS). The engine optimizes the rest itself.
 */
const options = ['-O0', '--noAssert', '--runtime', 'stub', '--importMemory', '--initialMemory', '1', '--maximumMemory', '65536', '--uncheckedBehavior', 'always', '--enable', 'simd', '--enable', 'threads']

async function compile(features) {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-wasm-'))
  try {
    const out = join(folder, 'module.wasm')
    const { error, stderr } = await asc.main(['assembly/index.ts', '--outFile', out, '--baseDir', root, ...options, ...features])
    if (error) throw new Error(`asc: ${error.message}\n${stderr.toString()}`)
    return readFileSync(out).toString('base64')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const simd128 = await compile([])
const relaxed = await compile(['--enable', 'relaxed-simd'])
const text = `// Written by scripts/build-wasm.mjs from assembly/. Do not edit.

/** The simd128 tier, base64. */
export const SIMD128 =
  '${simd128}'

/** The relaxed SIMD tier, base64. */
export const RELAXED_SIMD =
  '${relaxed}'
`
if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('src/generated/modules.ts is not what assembly/ compiles to; run `npm run wasm -w @lowbit/kernels-wasm`')
    process.exitCode = 1
  }
} else writeFileSync(target, text)

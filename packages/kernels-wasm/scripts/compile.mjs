import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
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

/** Compiles an entry of assembly/ with more flags of the compiler. @returns base64 */
export async function compile(features, entry = 'assembly/index.ts') {
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

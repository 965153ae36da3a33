import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as asc from 'assemblyscript/asc'

/** What one thread can do at most, in 10⁹ operations (a multiplication and an addition are two) and 10⁹ bytes a second. */
export interface Limit {
  /** int8 × 7-bit products with sums in 16 bits, 16 an instruction; 0 where the engine has no relaxed SIMD. */
  readonly bytes: number
  /** The same with sums in 32 bits by the four-way dot product; absent in figures from before. */
  readonly dots?: number
  /** 16-bit products, 8 an instruction. */
  readonly words: number
  /** Reading 64 MiB once: what a matrix that no cache holds costs. */
  readonly bandwidth: number
}

interface LimitExports {
  bytes(n: number, p: number): void
  dots(n: number, p: number): void
  words(n: number, p: number): void
  read(p: number, bytes: number): number
}

const ROUNDS = 100_000
const LARGE = 64 * 2 ** 20

/** Measures the limits in register loops of the same instructions. */
export async function measureLimit(relaxed: boolean): Promise<Limit> {
  const folder = mkdtempSync(join(tmpdir(), 'lowbit-limit-'))
  try {
    const out = join(folder, 'limit.wasm')
    const { error } = await asc.main([fileURLToPath(new URL('assembly/limit.ts', import.meta.url)), '--outFile', out, '-O0', '--runtime', 'stub', '--initialMemory', String(LARGE / 65536 + 2), '--enable', 'simd', ...(relaxed ? ['--enable', 'relaxed-simd'] : [])])
    if (error !== null) throw error
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(out)))
    const limit = exports as object as LimitExports
    return {
      bytes: relaxed ? (ROUNDS * 24 * 32) / best(() => limit.bytes(ROUNDS, 1024)) / 1e6 : 0,
      dots: relaxed ? (ROUNDS * 24 * 32) / best(() => limit.dots(ROUNDS, 1024)) / 1e6 : 0,
      words: (ROUNDS * 24 * 16) / best(() => limit.words(ROUNDS, 1024)) / 1e6,
      bandwidth: LARGE / best(() => limit.read(65536, LARGE)) / 1e6,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function best(body: () => void): number {
  let least = Infinity
  for (let i = 0; i < 25; i++) {
    const start = performance.now()
    body()
    least = Math.min(least, performance.now() - start)
  }
  return least
}

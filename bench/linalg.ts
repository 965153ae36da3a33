import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { gptq } from '@lowbit/algos-gptq'
import { fastLinAlg, int4, type LinAlg, type RoundingJob } from '@lowbit/core'
import { toyRandom } from '@lowbit/core/testkit'
import { wasmLinAlg } from '@lowbit/kernels-wasm'

const ROUNDS = 2
const RESULT = new URL('results/linalg.md', import.meta.url)

/** Linear algebra in WebAssembly beside core's own, operation by operation and in GPTQ; the least of a few alternating rounds. */
export async function benchLinAlg(): Promise<void> {
  const rows: string[] = []
  const row = (name: string, [fast, wasm]: readonly [number, number]): void => {
    rows.push(`| ${name} | ${fast.toFixed(0)} ms | ${wasm.toFixed(0)} ms | ${(fast / wasm).toFixed(1)} |`)
    console.log(rows.at(-1))
  }
  for (const n of [256, 1024, 2048]) {
    const x = Float32Array.from(uniform(n * n, 1))
    const a = uniform(n * n, 2)
    const h = new Float64Array(n * n)
    fastLinAlg.addGram(x, n, n, h)
    for (let i = 0; i < n; i++) h[i * n + i] += 0.01 * n
    row(`Gram matrix, ${n} rows of ${n} columns`, await both((l) => l.addGram(x, n, n, new Float64Array(n * n))))
    row(`product of ${n} × ${n} matrices`, await both((l) => l.matmul(a, h, n, n, n)))
    row(`reverse Cholesky factor, ${n} × ${n}`, await both((l) => l.reverseCholesky(h, n)))
  }
  for (const [name, scales] of [['published scales', 'range'], ['searched scales', 'gram']] as const) {
    const job = synthetic(256, 2048)
    row(`GPTQ of 256 × 2048 weights, int4 per channel, ${name}`, await both(async (linalg) => gptq({ scales }).round({ ...job, linalg })))
  }
  const text = `# Linear algebra\n\n\`npm run bench -- linalg\` on ${cpus()[0].model}, Node ${process.versions.node}: one thread, the least of ${ROUNDS} rounds.\n\n| | core | WebAssembly | times as fast |\n| --- | ---: | ---: | ---: |\n${rows.join('\n')}\n`
  writeFileSync(RESULT, text)
}

/** Milliseconds of core's and of WebAssembly's, in turn. */
async function both(work: (linalg: LinAlg) => unknown): Promise<readonly [number, number]> {
  const least = [Infinity, Infinity]
  const candidates = [fastLinAlg, wasmLinAlg()]
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, linalg] of candidates.entries()) {
      const start = performance.now()
      await work(linalg)
      least[i] = Math.min(least[i], performance.now() - start)
    }
  }
  return [least[0], least[1]]
}

/** Normal-like weights, and an input whose columns are correlated as activations are. */
function synthetic(rows: number, columns: number): Omit<RoundingJob, 'linalg'> {
  const x = Float32Array.from(uniform(2 * columns * columns, 3))
  for (let i = 1; i < x.length; i++) x[i] += 0.7 * x[i - 1]
  const data = new Float64Array(columns * columns)
  fastLinAlg.addGram(x, 2 * columns, columns, data)
  return {
    site: { id: 'synthetic', kind: 'linear', weight: { rows, columns, groups: 1, columnsPerChannel: 1 } },
    weight: { dtype: 'float32', shape: [rows, columns], data: Float32Array.from(uniform(rows * columns, 4)) },
    scheme: int4(),
    statistics: { gram: { data, groups: 1, size: columns, rows: 2 * columns } },
    seed: 0,
  }
}

function uniform(count: number, seed: number): Float64Array {
  const random = toyRandom(seed)
  return Float64Array.from({ length: count }, () => 2 * random() - 1)
}

import type { KernelBench, Row } from './kernels.ts'

/** The figures as Markdown: who does how much, how many times a peer's speed, and what share of the machine's limit. */
export function report(bench: KernelBench): string {
  const { limit } = bench
  const threads = [...new Set(bench.rows.map((r) => r.threads))]
  return [
    `# Kernels on ${bench.cpu}, Node ${bench.node}, tier ${bench.tier}`,
    '',
    `${bench.findings.join('; ')}. Written by \`npm run bench -- kernels\`; 10⁹ operations a second (a multiplication and an addition are two), least time of a call (by the clock, or with one thread by processor time, which other programs do not lengthen), contenders taking turns in one process (with several threads ours first and then the peers, on as many); ours include quantizing the activations and copying x and y. "×" is our speed over the peer's: below 1 we lose. int8 with 32 rows or more makes seven products where the count of operations says eight.`,
    '',
    `Limits of one thread: ${limit.bytes > 0 ? `${limit.bytes.toFixed(0)} GOPS with 8-bit products summed in 16 bits, ` : ''}${limit.dots === undefined || limit.dots === 0 ? '' : `${limit.dots.toFixed(0)} GOPS with the four-way dot product, `}${limit.words.toFixed(0)} GOPS with 16-bit products (register loops), ${limit.bandwidth.toFixed(1)} GB/s from memory.`,
    '',
    ...threads.flatMap((count) => [...table(bench, bench.rows.filter((r) => r.threads === count), count), '']),
    '## Prepacking 2048 × 2048',
    '',
    '| weights | ms | GEMVs |',
    '| --- | ---: | ---: |',
    ...bench.prepack.map((p) => `| ${p.weights} | ${p.ms.toFixed(2)} | ${p.gemvs.toFixed(1)} |`),
    '',
  ].join('\n')
}

function table(bench: KernelBench, rows: readonly Row[], threads: number): string[] {
  return [
    `## ${threads === 1 ? 'One thread' : `${threads} threads`}`,
    '',
    `| M×K×N | weights | lowbit | of the limit |${threads > 1 ? ' × one thread |' : ''} peers |`,
    `| --- | --- | ---: | ---: |${threads > 1 ? ' ---: |' : ''} --- |`,
    ...rows.map((row) => {
      const [our, ...others] = row.measured
      if (our === undefined) return ''
      const single = others.find((o) => o.name === 'lowbit, one thread')
      const peers = others.filter((o) => o !== single).map((o) => `${o.name} ${o.gops.toFixed(1)} (${times(our.gops / o.gops)})`)
      return `| ${row.shape.m}×${row.shape.k}×${row.shape.n} | ${row.weights} | ${our.gops.toFixed(1)} | ${share(bench, row, our.gops)} |${single === undefined ? '' : ` ${times(our.gops / single.gops)} |`} ${peers.join(', ')} |`
    }),
  ]
}

const times = (ratio: number): string => `${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}×`

/** The lower of what the instructions and, for one row, the memory allow. A matrix that a cache holds can exceed the latter. */
function share(bench: KernelBench, { weights, threads, shape }: Row, gops: number): string {
  const { limit } = bench
  if (weights === 'float32') return shape.m === 1 ? `${((100 * gops * 2) / (limit.bandwidth * threads)).toFixed(0)} % of memory` : '–'
  const { name, gops: most } = instruction(bench, weights)
  const compute = `${((100 * gops) / (most * threads)).toFixed(0)} % of ${name}`
  if (shape.m > 1) return compute
  const bits = weights.startsWith('int4') ? 5 : weights.startsWith('ternary') ? 2 : 8
  return `${compute}, ${((100 * gops * bits) / 16 / limit.bandwidth).toFixed(0)} % of memory`
}

/** The instruction that a product goes through on this machine, and what it allows. */
function instruction({ limit, tier, findings }: KernelBench, weights: string): { readonly name: string; readonly gops: number } {
  const fourWay = tier === 'relaxed-simd' && limit.dots !== undefined && !findings.some((finding) => finding.includes('saturate'))
  if (fourWay) return { name: 'the four-way dot product', gops: limit.dots ?? 0 }
  if (tier === 'relaxed-simd' && !weights.startsWith('int8')) return { name: 'the 8-bit products', gops: limit.bytes }
  return { name: 'the 16-bit products', gops: limit.words }
}

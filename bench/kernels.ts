import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import type { SyncKernelProvider } from '@lowbit/core'
import { createWasmKernels } from '@lowbit/kernels-wasm'
import { toyActivations, toyWeights, type ToyWeight } from '@lowbit/core/testkit'
import { onEngine } from './engine.ts'
import { measureLimit, type Limit } from './kernels-limit.ts'
import { onnxRuntime, tfjs, type Contender, type PeerProduct, type Shape } from './kernels-peers.ts'
import { report } from './kernels-report.ts'
import { machineName, slug } from './machine.ts'

/** One figure: the time of a call, in milliseconds, and what it is in 10⁹ operations a second. */
export interface Measured {
  readonly name: string
  readonly ms: number
  readonly gops: number
}

export interface Row {
  readonly shape: Shape
  readonly threads: number
  readonly weights: string
  readonly measured: readonly Measured[]
}

export interface KernelBench {
  readonly cpu: string
  readonly cores: number
  readonly node: string
  readonly tier: string
  readonly findings: readonly string[]
  readonly limit: Limit
  readonly rows: readonly Row[]
  readonly prepack: readonly { readonly weights: string; readonly ms: number; readonly gemvs: number }[]
}

const SHAPES: readonly Shape[] = [{ m: 1, k: 2048, n: 2048 }, { m: 1, k: 2048, n: 8192 }, { m: 128, k: 2048, n: 2048 }, { m: 1, k: 576, n: 1536 }]
const WEIGHTS: readonly { readonly title: string; readonly weight: ToyWeight; readonly peer: PeerProduct }[] = [
  { title: 'int4, groups of 32', weight: { name: '', dtype: 'int4', group: 32 }, peer: 'int4' },
  { title: 'ternary, one scale', weight: { name: '', dtype: 'ternary', perTensor: true }, peer: 'int2' },
  { title: 'int8, one scale a row', weight: { name: '', dtype: 'int8' }, peer: 'int8' },
]
/** A turn of one contender, and how many turns each gets: they take turns, so that a busy machine is busy for all. */
const TURN_MS = 25
const TURNS = 12
/** With several threads a turn counts only where no other program had a core, so there are more of them. */
const THREADED_TURNS = 16

/**
 * `npm run bench -- kernels [--node 22|24] [--threads 2] [--quick]`: the kernels beside ONNX Runtime (web, node) and tfjs.
 * `--node` runs on another engine (`npm run engines` installs them). With `--threads` only the products on so many threads are
 * measured, beside one thread, and join the figures that are there.
 */
export async function benchKernels(args: readonly string[]): Promise<void> {
  const at = args.indexOf('--node')
  if (at >= 0) return onEngine('kernels', args, at)
  const threads = args.includes('--threads') ? Number(args[args.indexOf('--threads') + 1]) : 1
  const quick = args.includes('--quick')
  const one = await createWasmKernels({ threads: 1 })
  const limit = await measureLimit(one.supports.tier === 'relaxed-simd')
  const rows: Row[] = []
  if (threads > 1) rows.push(...(await threaded(one, threads, quick)))
  for (const shape of threads > 1 ? [] : quick ? SHAPES.slice(0, 1) : SHAPES) {
    for (const { title, weight, peer } of WEIGHTS) {
      const peers = await Promise.all([onnxRuntime('web', peer, shape, 1), onnxRuntime('node', peer, shape, 1)])
      const row = { shape, threads, weights: title, measured: await race([ours(one, weight, shape), ...peers], shape, 1) }
      for (const p of peers) await p.close()
      rows.push(row)
      console.log(line(row))
    }
    const peers = [await onnxRuntime('web', 'float32', shape, 1), await onnxRuntime('node', 'float32', shape, 1), await tfjs(shape)]
    const row = { shape, threads, weights: 'float32', measured: await race([float(one, shape), ...peers], shape, 1) }
    for (const p of peers) await p.close()
    rows.push(row)
    console.log(line(row))
  }
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  // figures of one machine and one instruction stand in one file: rows of different CPUs are never put side by side
  const machine = machineName()
  const name = `kernels-node${process.versions.node.split('.')[0]}-${one.supports.tier}-${slug(machine)}${quick ? '.tmp' : ''}`
  const json = new URL(`${name}.json`, folder)
  const kept = existsSync(json) ? (JSON.parse(readFileSync(json, 'utf8')) as KernelBench) : undefined
  const before = kept?.cpu === machine && kept.findings.join() === one.supports.findings.join() ? kept : undefined
  const bench: KernelBench = {
    cpu: machine, cores: cpus().length, node: process.versions.node, tier: one.supports.tier, findings: one.supports.findings,
    limit: threads > 1 && before !== undefined ? before.limit : limit,
    rows: [...rows, ...(before?.rows ?? []).filter((row) => row.threads !== threads)].sort((a, b) => a.threads - b.threads),
    prepack: threads > 1 && before !== undefined ? before.prepack : prepacks(one),
  }
  writeFileSync(json, `${JSON.stringify(bench, null, 1)}\n`)
  writeFileSync(new URL(`${name}.md`, folder), report(bench))
  console.log(report(bench))
  process.exit(0)
}

/**
 * Several threads beside one, and then the peers on as many. The peers' threads look for work for a while after a product and
 * would take the cores from ours, so they are not started before ours are measured.
 */
async function threaded(one: SyncKernelProvider, threads: number, quick: boolean): Promise<Row[]> {
  const shapes = quick ? SHAPES.slice(0, 1) : SHAPES
  const products = shapes.flatMap((shape) => WEIGHTS.map((weights) => ({ shape, ...weights })))
  const kernels = await createWasmKernels({ threads })
  const rows: Row[] = []
  for (const { shape, title, weight } of products) {
    rows.push({ shape, threads, weights: title, measured: await race([ours(kernels, weight, shape), ours(one, weight, shape, 'lowbit, one thread')], shape, threads) })
    console.log(line(rows.at(-1)))
  }
  kernels.dispose()
  for (const [i, { shape, peer }] of products.entries()) {
    const peers = await Promise.all([onnxRuntime('web', peer, shape, threads), onnxRuntime('node', peer, shape, threads)])
    const row = rows[i]
    if (row !== undefined) rows[i] = { ...row, measured: [...row.measured, ...(await race(peers, shape, threads))] }
    for (const p of peers) await p.close()
    console.log(line(rows[i]))
  }
  return rows
}

export function ours(kernels: SyncKernelProvider, weight: ToyWeight, { m, k, n }: Shape, name = 'lowbit'): Contender {
  const packed = kernels.prepack(toyWeights(weight, n, k, 1))
  const x = toyActivations(m, k, 2)
  const out = kernels.matmul(x, packed)
  return { name, run: () => kernels.matmul(x, packed, out) }
}

function float(kernels: SyncKernelProvider, { m, k, n }: Shape): Contender {
  const packed = kernels.prepack(toyActivations(n, k, 1))
  const x = toyActivations(m, k, 2)
  const out = kernels.matmul(x, packed)
  return { name: 'lowbit', run: () => kernels.matmul(x, packed, out) }
}

/**
 * The least time of a call: by the clock, or, with one thread, by the processor time of a turn over its calls. The latter does not
 * count what other programs on a busy machine took, which for a call of many milliseconds the clock always does.
 */
export async function race(contenders: readonly Contender[], { m, k, n }: Shape, threads: number): Promise<Measured[]> {
  const least = contenders.map(() => Infinity)
  for (let turn = 0; turn < (threads === 1 ? TURNS : THREADED_TURNS); turn++) {
    for (const [i, contender] of contenders.entries()) {
      const cpu = process.cpuUsage()
      const stop = performance.now() + TURN_MS
      let now = performance.now()
      let calls = 0
      let best = Infinity
      do {
        const start = now
        await contender.run()
        now = performance.now()
        best = Math.min(best, now - start)
        calls++
      } while (now < stop)
      const { user, system } = process.cpuUsage(cpu)
      if (threads === 1) best = Math.min(best, (user + system) / 1000 / calls)
      least[i] = Math.min(least[i] ?? Infinity, best)
    }
  }
  return contenders.map(({ name }, i) => ({ name, ms: least[i] ?? NaN, gops: (2 * m * k * n) / (least[i] ?? NaN) / 1e6 }))
}

/** Prepacking 2048 × 2048, against one GEMV. */
function prepacks(kernels: SyncKernelProvider): KernelBench['prepack'] {
  return WEIGHTS.map(({ title, weight }) => {
    const q = toyWeights(weight, 2048, 2048, 1)
    const x = toyActivations(1, 2048, 2)
    using packed = kernels.prepack(q)
    let ms = Infinity
    let gemv = Infinity
    for (let i = 0; i < 8; i++) {
      ms = Math.min(ms, processorTime(8, () => kernels.prepack(q).dispose()))
      gemv = Math.min(gemv, processorTime(100, () => kernels.matmul(x, packed)))
    }
    return { weights: title, ms, gemvs: ms / gemv }
  })
}

/** Milliseconds of processor time a call, over `calls`. */
function processorTime(calls: number, body: () => void): number {
  const cpu = process.cpuUsage()
  for (let i = 0; i < calls; i++) body()
  const { user, system } = process.cpuUsage(cpu)
  return (user + system) / 1000 / calls
}

function line(row: Row | undefined): string {
  if (row === undefined) return ''
  const { shape, weights, measured, threads } = row
  return `${shape.m}×${shape.k}×${shape.n} ${weights}, ${threads} thread(s): ${measured.map((r) => `${r.name} ${r.gops.toFixed(1)}`).join(', ')} GOPS`
}

import { describe, expect, it } from 'vitest'
import { awq } from '@lowbit/algos-awq'
import { hqq } from '@lowbit/algos-hqq'
import { rotate } from '@lowbit/algos-rotate'
import { smoothQuant } from '@lowbit/algos-smoothquant'
import { fastLinAlg, int4, int8, quantize, rtn, sha256, updateInPieces, weightScheme, type JobStatistics, type RoundingAlgorithm, type Scheme, type TransformAlgorithm } from '@lowbit/core'
import { openOnnxGraph } from '@lowbit/onnx'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'

/** Numbers without chance, quickly. */
function numbers(count: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(count)
  for (let i = 0; i < count; i++) out[i] = ((Math.imul(i, 2654435761) >>> 8) / 2 ** 24 - 0.5) * 0.2
  return out
}

const site = (rows: number, columns: number): { readonly rows: number; readonly columns: number; readonly groups: number; readonly columnsPerChannel: number } => ({ rows, columns, groups: 1, columnsPerChannel: 1 })

function gram(size: number): JobStatistics['gram'] {
  const data = new Float64Array(size * size)
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) data[i * size + j] = (i === j ? 2 : 0) + 1 / (1 + Math.abs(i - j))
  return { data, groups: 1, size, rows: 2 * size }
}

/** Rounds one large site. */
const rounds = (algorithm: RoundingAlgorithm, scheme: Scheme, rows: number, columns: number) => {
  const data = numbers(rows * columns)
  return (signal?: AbortSignal): Promise<unknown> =>
    algorithm.round({ site: { id: 'large', kind: 'linear', weight: site(rows, columns) }, weight: { dtype: 'float32', shape: [rows, columns], data }, scheme, statistics: {}, linalg: fastLinAlg, seed: 0, ...(signal === undefined ? {} : { signal }) })
}

/** Plans a transform of one large site. */
const plans = (algorithm: TransformAlgorithm, rows: number, columns: number) => {
  const data = numbers(rows * columns)
  const channel = { dtype: 'float32', shape: [columns], data: numbers(columns).map((v) => Math.abs(v) + 0.01) } as const
  const statistics: JobStatistics = { gram: gram(columns), 'mean-abs-per-channel': channel, 'absmax-per-channel': channel, samples: { dtype: 'float32', shape: [48, columns], data: numbers(48 * columns) } } as JobStatistics
  return (signal?: AbortSignal): Promise<unknown> =>
    algorithm.plan({ group: { id: 'large', producer: 'norm', channels: columns }, sites: [{ id: 'large', kind: 'linear', weight: site(rows, columns), tensor: { dtype: 'float32', shape: [rows, columns], data }, scheme: int4({ group: 32 }) }], statistics, linalg: fastLinAlg, seed: 0, ...(signal === undefined ? {} : { signal }) })
}

/** Opens, rounds, packs and writes a model of one large site and some small ones. */
async function wholeRun(signal?: AbortSignal): Promise<unknown> {
  const host = await openOnnxGraph(LARGE)
  return quantize(host, { weights: int4({ group: 32 }), format: 'matmul-nbits', ...(signal === undefined ? {} : { signal }) })
}

const LARGE = writeOnnx(model(graph({
  nodes: [node('MatMul', ['x', 'w'], ['h'], {}, '', 'large'), node('MatMul', ['h', 'v'], ['y'], {}, '', 'small')],
  inputs: [valueInfo('x', 'float32', ['n', 2048])],
  outputs: [valueInfo('y', 'float32', ['n', 64])],
  initializers: [hostToTensor('w', { dtype: 'float32', shape: [2048, 2048], data: numbers(2048 * 2048) }), hostToTensor('v', { dtype: 'float32', shape: [2048, 64], data: numbers(2048 * 64) })],
}), { '': 17 }, 8))

const WORK: Readonly<Record<string, (signal?: AbortSignal) => Promise<unknown>>> = {
  'rounding to nearest in groups': rounds(rtn(), int4({ group: 32 }), 4096, 2560),
  'rounding to nearest, one scale for all': rounds(rtn(), int8({ perTensor: true }), 4096, 2560),
  'ternary rounding': rounds(rtn(), weightScheme('ternary'), 4096, 2560),
  'the search of scales': rounds(rtn({ range: 'search' }), int4({ group: 32 }), 512, 1024),
  HQQ: rounds(hqq(), { ...int4({ group: 32, symmetric: false }), zeroPoint: 'float' }, 1024, 1024),
  AWQ: plans(awq({ grid: 2 }), 256, 512),
  SmoothQuant: plans(smoothQuant({ alpha: 'search' }), 512, 512),
  'a rotation': plans(rotate(), 1024, 512),
  'a digest': (signal) => updateInPieces(sha256(), new Uint8Array(numbers(24_000_000).buffer), signal),
  'a whole run without data': wholeRun,
}

/** Longest time of this process's own work between two turns of the event loop, in milliseconds: what others do on the machine does not count. */
async function longestGap(work: Promise<unknown>): Promise<{ readonly longest: number; readonly whole: number }> {
  const spent = (): number => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  }
  const start = spent()
  let longest = 0
  let last = start
  let running = true
  const turn = (): void => {
    const now = spent()
    longest = Math.max(longest, now - last)
    last = now
    if (running) setImmediate(turn)
  }
  setImmediate(turn)
  await work
  running = false
  return { longest, whole: spent() - start }
}

describe.each(Object.entries(WORK))('%s', (name, work) => {
  it('leaves the event loop no longer than 50 ms without a turn', async () => {
    let least = Infinity
    // The collector's threads count too, and code is slow until it is compiled.
    for (let attempt = 0; attempt < 4 && least >= 50; attempt++) {
      const { longest, whole } = await longestGap(work())
      least = Math.min(least, longest)
      if (process.env['LOWBIT_GAPS'] !== undefined) console.info(`${name}: ${longest.toFixed(0)} of ${whole.toFixed(0)} ms`)
    }
    expect(least).toBeLessThan(50)
  })

  it('hears an abort, with its reason as the cause', async () => {
    const reason = new Error('changed my mind')
    const controller = new AbortController()
    setImmediate(() => controller.abort(reason))
    await expect(work(controller.signal)).rejects.toMatchObject({ code: 'LOWBIT_ABORTED', cause: reason })
  })
})

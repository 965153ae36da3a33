import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { rotate } from '@lowbit/algos-rotate'
import { smoothQuant } from '@lowbit/algos-smoothquant'
import { type Batch, type BatchSource, difference, type HostTensor, int4, int8, isLowbitError, type QuantizeOptions, quantize, sensitivity, type StatisticName, tensor, type Transform, type TransformAlgorithm, tune } from '@lowbit/core'
import { float, graph, hostToTensor, model, node, type NodeProto, readOnnx, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { saveOnnx } from '@lowbit/formats/node'
import { convolutions, matrices, normed, tied } from './support/models.js'
import { describe, expect, it } from 'vitest'
import { compareModels, measureRanges, openOnnx, type OnnxHost } from '../src/index.js'
import { randomTensor } from './support/random.js'

const weight = (name: string, shape: readonly number[], seed: number, scale = 0.4): TensorProto => hostToTensor(name, randomTensor(shape, seed, scale))
const values = (batch: Batch, name = 'y'): Float32Array => Float32Array.from((batch[name]?.data ?? []) as Float32Array)
const sqnr = (want: Float32Array, got: Float32Array): number => difference(want, got).sqnr
const powers = (count: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: count }, (_, i) => 2 ** ((i * 7) % 5 - 2))

interface Built {
  readonly bytes: Uint8Array
  readonly batch: Batch
}

/** Nodes from `x` to `y`, with what they read. */
function build(nodes: readonly NodeProto[], input: readonly (number | string)[], batch: HostTensor, initializers: readonly TensorProto[], outputs = ['y']): Built {
  const main = graph({ nodes: [...nodes], inputs: [valueInfo('x', 'float32', [...input])], outputs: outputs.map((name) => valueInfo(name, 'float32')), initializers: [...initializers] })
  return { bytes: writeOnnx(model(main, { '': 17 }, 8)), batch: { x: batch } }
}

/** Every group of a host divided by powers of two, its weights multiplied. */
async function scaleAll(host: OnnxHost): Promise<readonly string[]> {
  const how: string[] = []
  for (const { id, channels } of host.foldGroups()) how.push((await host.apply(id, { kind: 'scale', scales: powers(channels) })).how)
  return how
}

describe('a scale that is taken back', () => {
  const c = 6
  const image = randomTensor([2, 6, 5, 6], 1)
  const conv = node('Conv', ['n', 'w'], ['y'], {}, '', 'site')
  const dense = node('MatMul', ['n', 'w'], ['y'], {}, '', 'site')
  const kernel = weight('w', [4, c, 3, 3], 2)
  const matrix = weight('w', [c, 4], 2)
  const factors: readonly (readonly [string, readonly number[]])[] = [['[C,1,1]', [c, 1, 1]], ['[1,C,1]', [1, c - 1, 1]], ['[1,1,C]', [1, 1, c]], ['[1,C,1,1]', [1, c, 1, 1]], ['[C]', [c]], ['a scalar', []], ['[1]', [1]], ['[1,1,1,1]', [1, 1, 1, 1]]]

  it.each(factors.flatMap(([name, shape]) => (['Mul', 'Add', 'Mul, Add'] as const).flatMap((op) => (['conv', 'matrix'] as const).map((kind) => [op, name, kind, shape] as const))))('%s with %s before a %s changes nothing', async (op, _, kind, shape) => {
    const [first, second] = op.split(', ')
    const nodes = [node('Conv', ['x', 'k'], ['a'], { pads: [1, 1, 1, 1] }, '', 'before'), node(first ?? '', ['a', 'f'], second === undefined ? ['n'] : ['m']), ...(second === undefined ? [] : [node(second, ['m', 'f'], ['n'])]), kind === 'conv' ? conv : dense]
    const { bytes, batch } = build(nodes, ['n', 6, 5, 6], image, [weight('k', [c, 6, 3, 3], 5), kind === 'conv' ? kernel : matrix, weight('f', shape, 3)])
    const host = await openOnnx(bytes)
    const before = values(await host.run(batch))
    await scaleAll(host)
    expect(sqnr(before, values(await host.run(batch)))).toBeGreaterThan(100)
    await host.dispose()
  })

  it.each([
    ['a norm with two readers', [node('LayerNormalization', ['x', 'g', 'b'], ['n'], {}, '', 'norm'), node('MatMul', ['n', 'w'], ['p'], {}, '', 'one'), node('ReduceSum', ['n', 'axis'], ['q'], { keepdims: 1 }), node('Add', ['p', 'q'], ['y'])]],
    ['a norm that is an output', [node('LayerNormalization', ['x', 'g', 'b'], ['n'], {}, '', 'norm'), node('MatMul', ['n', 'w'], ['y'], {}, '', 'one')]],
    ['a norm whose gain is its bias', [node('LayerNormalization', ['x', 'g', 'g'], ['n'], {}, '', 'norm'), node('MatMul', ['n', 'w'], ['y'], {}, '', 'one')]],
    ['a gain that two norms share', [node('LayerNormalization', ['x', 'g', 'b'], ['n'], {}, '', 'norm'), node('LayerNormalization', ['x', 'g'], ['m'], {}, '', 'other'), node('MatMul', ['n', 'w'], ['p'], {}, '', 'one'), node('MatMul', ['m', 'w2'], ['q'], {}, '', 'two'), node('Add', ['p', 'q'], ['y'])]],
    ['a gate of one value a row', [node('ReduceMean', ['x'], ['r'], { axes: [-1], keepdims: 1 }), node('Relu', ['x'], ['h']), node('Mul', ['r', 'h'], ['s']), node('Mul', ['s', 'g'], ['n']), node('MatMul', ['n', 'w'], ['y'], {}, '', 'one')]],
    ['a linear layer, activated, with a bias apart', [node('MatMul', ['x', 'sq'], ['l'], {}, '', 'zero'), node('Add', ['l', 'b'], ['lb']), node('LeakyRelu', ['lb'], ['n'], { alpha: float(0.2) }), node('MatMul', ['n', 'w'], ['y'], {}, '', 'one')]],
    ['a linear layer used as its own gate', [node('MatMul', ['x', 'sq'], ['l'], {}, '', 'zero'), node('Mul', ['l', 'l'], ['n']), node('MatMul', ['n', 'w'], ['y'], {}, '', 'one')]],
    ['a Clip, which a scale does not go through', [node('MatMul', ['x', 'sq'], ['l'], {}, '', 'zero'), node('Clip', ['l', 'low', 'high'], ['n']), node('MatMul', ['n', 'w'], ['y'], {}, '', 'one')]],
    ['a norm over two axes', [node('LayerNormalization', ['x', 'g2'], ['n'], { axis: -2 }, '', 'norm'), node('MatMul', ['n', 'w'], ['y'], {}, '', 'one')]],
  ] as const)('%s: nothing changes', async (name, nodes) => {
    const scalar = (id: string, value: number): TensorProto => hostToTensor(id, { dtype: 'float32', shape: [], data: Float32Array.of(value) })
    const { bytes, batch } = build(nodes, ['n', 6, 6], randomTensor([3, 6, 6], 4), [weight('g', [6], 5), weight('b', [6], 6), weight('w', [6, 4], 7), weight('w2', [6, 4], 8), weight('sq', [6, 6], 9), weight('g2', [6, 6], 10), scalar('low', -0.3), scalar('high', 0.3), hostToTensor('axis', { dtype: 'int64', shape: [1], data: BigInt64Array.of(-1n) })], name.endsWith('output') ? ['y', 'n'] : ['y'])
    const host = await openOnnx(bytes)
    const before = await host.run(batch)
    await scaleAll(host)
    const after = await host.run(batch)
    for (const output of Object.keys(before)) expect(sqnr(values(before, output), values(after, output)), output).toBeGreaterThan(100)
    await host.dispose()
  })

  it.each([normed(), matrices(), convolutions(), tied()])('$name: nothing changes', async ({ bytes, batch }) => {
    const host = await openOnnx(bytes)
    const before = values(await host.run(batch))
    expect((await scaleAll(host)).length).toBeGreaterThan(0)
    expect(sqnr(before, values(await host.run(batch)))).toBeGreaterThan(90)
    await host.dispose()
  })
})

describe('a table that three read', () => {
  const width = 64
  const ids: readonly Batch[] = [1, 2, 3].map((s) => ({ ids: { dtype: 'int64', shape: [4, 8], data: BigInt64Array.from({ length: 32 }, (_, i) => BigInt((i * 7 * s + s) % 64)) } }))
  /** Looked up, transposed for the output, and multiplied in between; the norm before each has a few large gains. */
  const main = graph({
    nodes: [
      node('Gather', ['table', 'ids'], ['a'], {}, '', 'embed'),
      node('LayerNormalization', ['a', 'gain'], ['n'], {}, '', 'norm'),
      node('Transpose', ['table'], ['head'], { perm: [1, 0] }),
      node('MatMul', ['n', 'head'], ['between'], {}, '', 'between'),
      node('MatMul', ['n', 'own'], ['beside'], {}, '', 'beside'),
      node('Add', ['between', 'beside'], ['sum']),
      node('LayerNormalization', ['sum', 'gain'], ['m'], {}, '', 'last'),
      node('MatMul', ['m', 'head'], ['y'], {}, '', 'output'),
    ],
    inputs: [valueInfo('ids', 'int64', ['n', 't'])],
    outputs: [valueInfo('y', 'float32')],
    initializers: [weight('table', [width, width], 1), weight('own', [width, width], 2), hostToTensor('gain', { dtype: 'float32', shape: [width], data: Float32Array.from({ length: width }, (_, i) => (i % 9 === 2 ? 20 : 0.3)) })],
  })
  const bytes = writeOnnx(model(main, { '': 17 }, 8))

  it.each([['AWQ', awq()], ['SmoothQuant', smoothQuant()], ['rotations', rotate()]] as const)('%s: is rounded as well as without, and what the file holds is what was computed', async (_, transform) => {
    const [first = {}] = ids
    const options = { format: 'matmul-nbits', weights: int4({ group: 32 }), calibration: ids } as const
    const plain = await openOnnx(bytes)
    const want = values(await plain.run(first))
    await quantize(plain, options)
    const rounded = sqnr(want, values(await plain.run(first)))
    const host = await openOnnx(bytes)
    const { artifact, report } = await quantize(host, { ...options, transforms: [transform] })
    const got = values(await host.run(first))
    expect(sqnr(want, got)).toBeGreaterThan(rounded - 1)
    // The group of `between` and `beside` moves as a whole or not at all.
    expect(report.transforms.flatMap((t) => t.applied.filter((a) => /^(scale|rotate)/.test(a)))).toEqual([])
    const written = await openOnnx(artifact.bytes())
    expect(sqnr(got, values(await written.run(first)))).toBeGreaterThan(60)
    for (const h of [plain, host, written]) await h.dispose()
  })
})

describe('a plan of two transforms of which the second is refused', () => {
  const plan = (make: (channels: number) => Transform[]): TransformAlgorithm => ({ kind: 'transform', name: 'two', version: '1.0.0', apiVersion: 2, config: {}, needs: () => [], plan: ({ group }) => Promise.resolve({ transforms: make(group.channels) }) })

  it('changes nothing: a rotation of a convolution’s input, behind a scale', async () => {
    const { bytes } = convolutions()
    const two = plan((channels) => [{ kind: 'scale', scales: powers(channels) }, { kind: 'rotate', signs: new Int8Array(channels).fill(1), order: 1 }])
    const host = await openOnnx(bytes)
    const { report } = await quantize(host, { weights: int8(), transforms: [two] })
    expect(report.transforms.length).toBeGreaterThan(0)
    expect(report.transforms.map((t) => [t.applied, t.reason === undefined])).toEqual(report.transforms.map(() => [[], false]))
    await host.dispose()
  })
})

describe('AWQ', () => {
  it('is not worse than rounding on a model with loud channels', async () => {
    const width = 64
    const loud = hostToTensor('gain', { dtype: 'float32', shape: [width], data: Float32Array.from({ length: width }, (_, i) => (i % 13 === 5 ? 12 : 0.5)) })
    const nodes = [node('LayerNormalization', ['x', 'gain'], ['n'], {}, '', 'norm'), node('MatMul', ['n', 'up'], ['u'], {}, '', 'up'), node('Relu', ['u'], ['r']), node('MatMul', ['r', 'down'], ['d'], {}, '', 'down'), node('Add', ['d', 'x'], ['y'])]
    const { bytes } = build(nodes, ['n', width], randomTensor([8, width], 1), [loud, weight('up', [width, 96], 2), weight('down', [96, width], 3)])
    const calibration = [1, 2, 3].map((seed): Batch => ({ x: randomTensor([32, width], seed) }))
    const unseen: Batch = { x: randomTensor([32, width], 9) }
    const quality = async (transforms: readonly TransformAlgorithm[]): Promise<number> => {
      const host = await openOnnx(bytes)
      const want = values(await host.run(unseen))
      await quantize(host, { format: 'matmul-nbits', weights: int4({ group: 32 }), calibration, transforms })
      const result = sqnr(want, values(await host.run(unseen)))
      await host.dispose()
      return result
    }
    expect(await quality([awq()])).toBeGreaterThan((await quality([])) + 1)
  })
})

const small = (): Built => build([node('MatMul', ['x', 'w1'], ['a'], {}, '', 'one'), node('Relu', ['a'], ['r']), node('MatMul', ['r', 'w2'], ['y'], {}, '', 'two')], ['n', 32], randomTensor([4, 32], 1), [weight('w1', [32, 32], 2), weight('w2', [32, 16], 3)])
const rows = [1, 2, 3].map((seed): Batch => ({ x: randomTensor([4, 32], seed) }))
const spoiled = (bad: number): readonly Batch[] => rows.map((batch, b) => (b === 1 ? { x: tensor('float32', [4, 32], values(batch, 'x').map((v, i) => (i === 37 ? bad : v))) } : batch))

describe.each([NaN, Infinity, -Infinity])('%s in one batch', (bad) => {
  const STATISTICS: readonly StatisticName[] = ['range', 'absmax-per-channel', 'mean-abs-per-channel', 'mean', 'histogram', 'gram', 'cross-gram', 'samples']
  const errorOf = (work: Promise<unknown>): Promise<string> => work.then(() => 'taken', (e: unknown) => (isLowbitError(e, 'LOWBIT_NONFINITE') ? e.message : `other: ${String(e)}`))

  it('is refused by every statistic, with the sample', async () => {
    const host = await openOnnx(small().bytes)
    const [{ id }] = host.sites()
    for (const statistic of STATISTICS.filter((s) => host.supports.statistics.includes(s))) {
      expect(await errorOf(host.observe([{ statistic, target: { site: id } }], spoiled(bad))), statistic).toMatch(/sample 1\b/)
      if (['range', 'absmax-per-channel', 'mean-abs-per-channel', 'histogram'].includes(statistic)) expect(await errorOf(host.observe([{ statistic, target: { tensor: 'x' } }], spoiled(bad))), `${statistic} of a tensor`).toMatch(/sample 1\b/)
    }
    await host.dispose()
  })

  it('is refused by every observer, with the sample', async () => {
    for (const method of ['minmax', 'moving-average', 'percentile', 'entropy', 'mse'] as const) {
      const host = await openOnnx(small().bytes)
      expect(await errorOf(quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8', method }, calibration: spoiled(bad) })), method).toMatch(/sample \d/)
      await host.dispose()
    }
  })

  it('does not make a comparison a number that is none, nor hide the others', async () => {
    const [a, b] = [await openOnnx(small().bytes), await openOnnx(small().bytes)]
    await quantize(b, { weights: int8() })
    const { outputs: [y] } = await compareModels(a, b, spoiled(bad), { latency: false })
    expect(y.sqnr > 20 && y.sqnr < 100, `${y.sqnr}`).toBe(true)
    expect(y.maxError).toBeLessThan(1)
    for (const host of [a, b]) await host.dispose()
  })

  it('leaves sensitivities numbers, about what they are without it', async () => {
    const table = async (calibration: readonly Batch[]): Promise<number[]> => (await sensitivity(await openOnnx(small().bytes), { schemes: [int4(), int8()], calibration })).map((row) => row.damage)
    const clean = await table(rows)
    for (const [i, damage] of (await table(spoiled(bad))).entries()) expect(Math.abs(Math.log2(damage / clean[i]))).toBeLessThan(1)
  })

  it('leaves a range that says so', async () => {
    const range = (await measureRanges(small().bytes, spoiled(bad))).get('x')
    expect(range).toEqual(Number.isNaN(bad) ? { min: -Infinity, max: Infinity } : { min: bad < 0 ? bad : (expect.any(Number) as number), max: bad > 0 ? bad : (expect.any(Number) as number) })
  })
})

describe('batches that are given once', () => {
  async function* once(): AsyncGenerator<Batch> {
    for (const batch of rows) yield await Promise.resolve(batch)
  }
  function* onceSync(): Generator<Batch> {
    yield* rows
  }
  const SOURCES: readonly (readonly [string, () => BatchSource])[] = [['an async generator', once], ['a generator', onceSync], ['an iterator of an array', () => rows.values()]]

  it.each(SOURCES)('%s: every entrance gives what a list gives', async (_, make) => {
    const open = (): Promise<OnnxHost> => openOnnx(small().bytes)
    const schemes = [int4(), int8()]
    for (const measure of ['model', 'output'] as const) expect(await sensitivity(await open(), { schemes, measure, calibration: make() })).toEqual(await sensitivity(await open(), { schemes, measure, calibration: rows }))
    expect(await measureRanges(small().bytes, make())).toEqual(await measureRanges(small().bytes, rows))
    const host = await open()
    const requests = host.sites().flatMap(({ id }) => (['gram', 'range', 'histogram'] as const).map((statistic) => ({ statistic, target: { site: id } })))
    const [want, got] = [await host.observe(requests, rows, { maxMemory: 4096 }), await host.observe(requests, make(), { maxMemory: 4096 })]
    for (const request of requests) expect(got.get(request)).toEqual(want.get(request))
    const files: Uint8Array[] = []
    for (const calibration of [rows, make()]) {
      const options: QuantizeOptions = { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration }
      const ladder = [{ name: 'first', options: { ...options, weights: int8({ perTensor: true }) } }, { name: 'second', options }]
      let trial = 0
      await tune(open, { ladder, tolerance: 0.1, maxFloat: 1, metric: ({ artifact }) => { if (artifact !== undefined) files.push(artifact.bytes()); return Promise.resolve(artifact === undefined ? 1 : 0.1 * trial++) } })
    }
    expect(files.length).toBeGreaterThan(3)
    expect(files.slice(files.length / 2)).toEqual(files.slice(0, files.length / 2))
    await host.dispose()
  })

  it('and have been read already are no data', async () => {
    const used = onceSync()
    for (const batch of used) expect(batch).toBeDefined()
    await expect(measureRanges(small().bytes, used)).rejects.toThrow(/LOWBIT_DATA/)
  })
})

describe('tune', () => {
  it.each(['matmul-nbits', 'qdq', 'dynamic'])('%s: what quantize writes with the winner’s options is what was measured', async (format) => {
    const open = (): Promise<OnnxHost> => openOnnx(small().bytes)
    const seen = new Map<number, Uint8Array>()
    const ladder = [{ name: 'only', options: { format, weights: format === 'matmul-nbits' ? int4({ group: 32 }) : int8(), ...(format === 'qdq' ? { activations: { dtype: 'uint8' } as const } : {}), ...(format === 'dynamic' ? {} : { calibration: rows }) } satisfies QuantizeOptions }]
    let trials = 0
    const { best } = await tune(open, {
      ladder, tolerance: 0.5, maxFloat: 1,
      metric: ({ artifact }) => {
        if (artifact === undefined) return Promise.resolve(1)
        seen.set(artifact.size, artifact.bytes())
        return Promise.resolve(trials++ === 0 ? 0 : 1)
      },
    })
    expect(best?.trial.float).toHaveLength(1)
    const host = await open()
    const { artifact } = await quantize(host, best?.options ?? ladder[0].options)
    expect(artifact.size).toBe(best?.trial.bytes)
    expect(artifact.bytes()).toEqual(seen.get(best?.trial.bytes ?? 0))
    await host.dispose()
  })
})

describe('two models in one folder', () => {
  it('with external data: what one of them points at stays for as long as it does', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lowbit-two-'))
    const x = { x: randomTensor([1, 64], 1) }
    const made = (seed: number): Uint8Array => build([node('MatMul', ['x', 'w'], ['y'], {}, '', 'one')], ['n', 64], x.x, [weight('w', [64, 256], seed)]).bytes
    const at = (name: string): string => join(folder, name)
    const outputs = async (name: string): Promise<Batch> => {
      const host = await openOnnx(at(name))
      const result = await host.run(x)
      await host.dispose()
      return result
    }
    try {
      for (const [i, name] of ['a.onnx', 'b.onnx', 'model.onnx', 'c/model.onnx'].entries()) {
        if (name.includes('/')) await mkdir(at('c'))
        await saveOnnx(at(name), readOnnx(made(30 + i)), { external: true })
      }
      const before = await Promise.all(['a.onnx', 'b.onnx', 'model.onnx', 'c/model.onnx'].map(outputs))
      // A copy of the model file alone reads the data file of the first.
      await copyFile(at('a.onnx'), at('copy.onnx'))
      await saveOnnx(at('a.onnx'), readOnnx(made(40)), { external: true })
      expect(await Promise.all(['copy.onnx', 'b.onnx', 'model.onnx', 'c/model.onnx'].map(outputs))).toEqual(before)
      expect(await outputs('a.onnx')).not.toEqual(before[0])
      // Quantized beside where it came from, and over another.
      const host = await openOnnx(at('b.onnx'))
      const { artifact } = await quantize(host, { weights: int8(), include: [] , allowNothing: true })
      await artifact.save(at('a.onnx'))
      await host.dispose()
      expect(await outputs('a.onnx')).toEqual(before[1])
      expect(await Promise.all(['copy.onnx', 'b.onnx', 'model.onnx', 'c/model.onnx'].map(outputs))).toEqual(before)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('keep what each of them holds, whatever was there before', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lowbit-two-'))
    try {
      const wanted: Batch[] = []
      const names = ['a.onnx', 'b.onnx', 'a.onnx.onnx', 'a']
      for (const [i, name] of names.entries()) {
        const host = await openOnnx(build([node('MatMul', ['x', 'w'], ['y'], {}, '', 'one')], ['n', 64], randomTensor([1, 64], 1), [weight('w', [64, 256], 20 + i)]).bytes)
        const { artifact } = await quantize(host, { weights: int8(), format: 'matmul-nbits' })
        await artifact.save(join(folder, name))
        wanted.push(await host.run({ x: randomTensor([1, 64], 1) }))
        await host.dispose()
      }
      for (const [i, name] of names.entries()) {
        const again = await openOnnx(await readFile(join(folder, name)))
        expect(await again.run({ x: randomTensor([1, 64], 1) })).toEqual(wanted[i])
        await again.dispose()
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('the same bytes', () => {
  const batches = [1, 2, 3, 4, 5].map((seed): Batch => ({ x: randomTensor([4, 32], seed) }))
  const result = async (options: Partial<QuantizeOptions>, order: (host: OnnxHost) => void = () => undefined): Promise<{ readonly bytes: Uint8Array; readonly outputs: Batch; readonly report: object }> => {
    const host = await openOnnx(small().bytes)
    order(host)
    const { artifact, report } = await quantize(host, { calibration: batches, biasCorrection: true, ...options, weights: int4({ group: 32 }) })
    const outputs = await host.run(batches[0])
    await host.dispose()
    return { bytes: artifact.bytes(), outputs, report: { ...report, milliseconds: {} } }
  }
  const reversed = (host: OnnxHost): void => {
    const [sites, groups] = [host.sites.bind(host), host.foldGroups.bind(host)]
    host.sites = () => [...sites()].reverse()
    host.foldGroups = () => [...groups()].reverse()
  }

  it.each([
    ['GPTQ', { rounding: gptq() }],
    ['AWQ, then GPTQ', { transforms: [awq()], rounding: gptq() }],
    ['SmoothQuant, then static', { transforms: [smoothQuant()], format: 'qdq', activations: { dtype: 'uint8' } }],
  ] satisfies readonly (readonly [string, Partial<QuantizeOptions>])[])('%s: whatever memory there is, whatever the form of the data', async (_, options) => {
    const want = await result(options)
    // A statistic of 32 columns takes some 8 KB: one site at a time, two, all.
    for (const maxMemory of [40_000, 70_000, 2 ** 30]) expect(await result({ ...options, maxMemory }), `${maxMemory} bytes`).toEqual(want)
    expect(await result({ ...options, calibration: batches.values() })).toEqual(want)
  })

  it('GPTQ: whatever the order of the sites', async () => {
    // Biases are corrected one after another, each behind those before it: in the model's order.
    const options = { rounding: gptq(), biasCorrection: false }
    expect((await result(options, reversed)).bytes).toEqual((await result(options)).bytes)
  })
})

import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { type Batch, difference, fromFloat16, int4, int8, quantize, type QuantizeOptions, rtn, type StatisticName, type StatisticRequest, toFloat16 } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { compareModels, openOnnx } from '../src/index.js'
import { randomFloats } from './support/random.js'

type Half = 'float16' | 'float32'

/** Values that float16 holds, in either type: what differs between the two models is the arithmetic alone. */
function stored(type: Half, shape: readonly number[], data: Float32Array): Batch[string] {
  const bits = toFloat16(data)
  return type === 'float16' ? { dtype: type, shape, data: bits } : { dtype: type, shape, data: fromFloat16(bits) }
}

const K = 64
const N = 48

/** Neighbouring columns go together, as activations do: Gram matrices are far from diagonal. */
function mixed(rows: number, columns: number, seed: number): Float32Array {
  const noise = randomFloats(rows * columns, seed)
  const base = randomFloats(rows * 6, seed + 1)
  const mix = randomFloats(6 * columns, 77)
  return noise.map((v, i) => {
    let sum = 0.2 * v
    for (let j = 0; j < 6; j++) sum += base[Math.floor(i / columns) * 6 + j] * mix[j * columns + (i % columns)]
    return sum
  })
}

function product(type: Half): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const main = graph({
    nodes: [node('MatMul', ['x', 'w'], ['p'], {}, '', 'product'), node('Add', ['p', 'b'], ['y'])],
    inputs: [valueInfo('x', type, ['n', K])],
    outputs: [valueInfo('y', type, ['n', N])],
    initializers: [hostToTensor('w', stored(type, [K, N], randomFloats(K * N, 3).map((v) => v * 0.1))), hostToTensor('b', stored(type, [N], randomFloats(N, 4)))],
  })
  return { bytes: writeOnnx(model(main, { '': 17 }, 8)), batches: [1, 2, 3, 4].map((s) => ({ x: stored(type, [32, K], mixed(32, K, 10 * s)) })) }
}

function convolution(type: Half): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const main = graph({
    nodes: [node('Conv', ['x', 'k'], ['c'], { pads: [1, 1, 1, 1] }, '', 'conv'), node('Relu', ['c'], ['r']), node('ConvTranspose', ['r', 't'], ['y'], { strides: [2, 2] }, '', 'up')],
    inputs: [valueInfo('x', type, ['n', 4, 6, 6])],
    outputs: [valueInfo('y', type)],
    initializers: [hostToTensor('k', stored(type, [8, 4, 3, 3], randomFloats(288, 5).map((v) => v * 0.2))), hostToTensor('t', stored(type, [8, 6, 2, 2], randomFloats(192, 6).map((v) => v * 0.2)))],
  })
  return { bytes: writeOnnx(model(main, { '': 17 }, 8)), batches: [1, 2, 3].map((s) => ({ x: stored(type, [4, 4, 6, 6], mixed(16, 36, 10 * s)) })) }
}

/** Signal over noise of the quantized model against its own float model, on the calibration data. */
async function outcome(make: typeof product, type: Half, options: Partial<QuantizeOptions>): Promise<{ readonly sqnr: number; readonly predicted: readonly (number | undefined)[] }> {
  const { bytes, batches } = make(type)
  const float = await openOnnx(bytes)
  const host = await openOnnx(bytes)
  const { artifact, report } = await quantize(host, { weights: int4({ group: 16 }), calibration: batches, ...options })
  const small = await openOnnx(artifact.bytes())
  const { outputs } = await compareModels(float, small, batches, { latency: false, saturation: false })
  for (const h of [float, host, small]) await h.dispose()
  return { sqnr: outputs[0].sqnr, predicted: report.sites.map((s) => s.outputSqnr) }
}

describe('a float16 model and the same in float32', () => {
  it.each([
    ['a product', product],
    ['convolutions', convolution],
  ] as const)('have the same statistics: %s', async (_, make) => {
    const seen = await Promise.all((['float32', 'float16'] as const).map(async (type) => {
      const { bytes, batches } = make(type)
      const host = await openOnnx(bytes)
      const requests = host.sites().flatMap((site) => host.supports.statistics.map((statistic): StatisticRequest => ({ statistic, target: { site: site.id } })))
      const found = await host.observe(requests, batches)
      const values = requests.map((r) => flat(r.statistic, found.get(r)))
      await host.dispose()
      return { names: requests.map((r) => r.statistic), values }
    }))
    const [full, half] = seen
    for (const [i, name] of full.names.entries()) {
      expect(half.values[i].length, name).toBe(full.values[i].length)
      expect(full.values[i].some((v) => v !== 0), name).toBe(true)
      // What comes after a layer has been rounded to float16 in one of the two.
      expect(difference(full.values[i], half.values[i]).sqnr, name).toBeGreaterThan(50)
    }
  })

  it.each([
    ['GPTQ', product, { rounding: gptq() }],
    ['AWQ, then GPTQ', product, { transforms: [awq()], rounding: gptq() }],
    ['GPTQ behind DequantizeLinear', product, { rounding: gptq(), format: 'dequantize' }],
    ['GPTQ, bias corrected', product, { rounding: gptq(), biasCorrection: true }],
    ['GPTQ, block by block', product, { rounding: gptq(), mode: 'sequential' as const }],
    ['GPTQ of convolutions', convolution, { rounding: gptq(), weights: int4() }],
    ['GPTQ of convolutions, bias corrected', convolution, { rounding: gptq(), weights: int4(), biasCorrection: true }],
  ] as const)('are rounded alike by %s', async (_, make, options) => {
    const full = await outcome(make, 'float32', options)
    const half = await outcome(make, 'float16', options)
    expect(Math.abs(half.sqnr - full.sqnr)).toBeLessThan(1)
    for (const [i, predicted] of half.predicted.entries()) expect(Math.abs((predicted ?? NaN) - (full.predicted[i] ?? NaN))).toBeLessThan(1)
    const plain = await outcome(make, 'float16', { ...options, rounding: rtn(), transforms: [] })
    expect(half.sqnr).toBeGreaterThan(plain.sqnr + 1)
  })
})

describe('a channel whose scale float16 does not hold', () => {
  const tiny = (): Uint8Array<ArrayBuffer> => {
    const data = randomFloats(K * N, 3).map((v, i) => (i % N === 5 ? v * 3e-6 : i % N === 7 ? 0 : v * 0.1))
    const main = graph({
      nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'product')],
      inputs: [valueInfo('x', 'float16', ['n', K])],
      outputs: [valueInfo('y', 'float16', ['n', N])],
      initializers: [hostToTensor('w', stored('float16', [K, N], data))],
    })
    return writeOnnx(model(main, { '': 17 }, 8))
  }

  it.each(['dequantize', 'matmul-nbits', 'dynamic'] as const)('keeps its values in %s, and one of zeros stays zero', async (format) => {
    const [float, host] = [await openOnnx(tiny()), await openOnnx(tiny())]
    const { artifact } = await quantize(host, { weights: format === 'matmul-nbits' ? int8({ group: 32 }) : int8(), format })
    const small = await openOnnx(artifact.bytes())
    // Large enough that products of tiny weights are float16 numbers.
    const batch = { x: stored('float16', [16, K], randomFloats(16 * K, 8).map((v) => v * 100)) }
    const [want, got, run] = (await Promise.all([float, small, host].map((h) => h.run(batch)))).map((out) => Array.from(toNumbers(out['y'])))
    const column = (values: readonly number[], c: number): number[] => values.filter((_, i) => i % N === c)
    expect(difference(column(want, 5), column(got, 5)).sqnr).toBeGreaterThan(30)
    expect(difference(column(want, 0), column(got, 0)).sqnr).toBeGreaterThan(30)
    for (const v of column(got, 7)) expect(Math.abs(v)).toBeLessThan(1e-6)
    if (format !== 'dynamic') expect(difference(run, got).sqnr).toBeGreaterThan(55)
    for (const h of [float, host, small]) await h.dispose()
  })
})

/** Everything that a statistic holds, as numbers. */
function flat(name: StatisticName, value: unknown): number[] {
  if (typeof value !== 'object' || value === null) throw new Error(`no ${name}`)
  const parts = 'data' in value ? [value.data] : 'counts' in value && 'low' in value ? [[value.low, 'high' in value ? value.high : NaN]] : 'min' in value && 'max' in value ? [value.min, value.max] : []
  return parts.flatMap((p) => (ArrayBuffer.isView(p) || Array.isArray(p) ? Array.from(p as Float32Array, Number) : []))
}

/** Products between operators that stay in float16, two of them with one weight, and an output that others read too. */
function network(type: Half): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const main = graph({
    nodes: [
      node('MatMul', ['x', 'w'], ['a'], {}, '', 'first'), node('Add', ['a', 'b'], ['s']), node('Tanh', ['s'], ['t']), node('MatMul', ['t', 'w2'], ['c'], {}, '', 'second'),
      node('Relu', ['c'], ['h']), node('MatMul', ['h', 'w'], ['y'], {}, '', 'third'), node('Softmax', ['y'], ['z']),
    ],
    inputs: [valueInfo('x', type, ['n', K])],
    outputs: [valueInfo('y', type), valueInfo('z', type)],
    initializers: [
      hostToTensor('w', stored(type, [K, N], randomFloats(K * N, 3).map((v) => v * 0.1))), hostToTensor('b', stored(type, [N], randomFloats(N, 4))),
      hostToTensor('w2', stored(type, [N, K], randomFloats(K * N, 5).map((v) => v * 0.1))),
    ],
  })
  main.valueInfo = ['a', 's', 't', 'c', 'h'].map((name) => valueInfo(name, type))
  return { bytes: writeOnnx(model(main, { '': 17 }, 8)), batches: [1, 2, 3, 4].map((s) => ({ x: stored(type, [32, K], mixed(32, K, 10 * s)) })) }
}

/** A float16 product and one in float32, behind Casts. */
function mixedTypes(type: Half): { readonly bytes: Uint8Array<ArrayBuffer>; readonly batches: readonly Batch[] } {
  const main = graph({
    nodes: [node('MatMul', ['x', 'w'], ['a'], {}, '', 'first'), node('Cast', ['a'], ['f'], { to: 1 }), node('MatMul', ['f', 'w2'], ['y'], {}, '', 'second')],
    inputs: [valueInfo('x', type, ['n', K])],
    outputs: [valueInfo('y', 'float32')],
    initializers: [hostToTensor('w', stored(type, [K, N], randomFloats(K * N, 3).map((v) => v * 0.1))), hostToTensor('w2', stored('float32', [N, K], randomFloats(K * N, 5).map((v) => v * 0.1)))],
  })
  return { bytes: writeOnnx(model(main, { '': 17 }, 8)), batches: product(type).batches }
}

describe('static formats of a float16 model', () => {
  const makers = { product, convolution, network, mixedTypes }
  it.each((['product', 'convolution', 'network', 'mixedTypes'] as const).flatMap((name) => (['qdq', 'qoperator'] as const).flatMap((format) => (['default', 'all'] as const).map((operators) => [name, format, operators] as const))))('round activations as of the same in float32: %s, %s, operators %s', async (name, format, operators) => {
    const seen = await Promise.all((['float32', 'float16'] as const).map(async (type) => {
      const { bytes, batches } = makers[name](type)
      const [float, host] = [await openOnnx(bytes), await openOnnx(bytes, { prepare: true })]
      const { artifact, report } = await quantize(host, {
        format, weights: int8(), calibration: batches,
        // What is rescued hangs on a third of the noise: a float16 model may fall on the other side.
        activations: { dtype: 'uint8', method: 'mse', operators, rescue: name !== 'mixedTypes' },
      })
      const small = await openOnnx(artifact.bytes())
      expect(small.inputs()).toEqual(float.inputs())
      expect(small.outputs().map((o) => [o.name, o.dtype])).toEqual(float.outputs().map((o) => [o.name, o.dtype]))
      const { outputs } = await compareModels(float, small, batches, { latency: false, saturation: false })
      const [ran, wrote] = [await host.run(batches[0] ?? {}), await small.run(batches[0] ?? {})]
      for (const { name: output } of float.outputs()) expect(Array.from(toNumbers(ran[output]))).toEqual(Array.from(toNumbers(wrote[output])))
      for (const h of [float, host, small]) await h.dispose()
      return { outputs, rounded: report.activations.filter((a) => a.status === 'quantized').map((a) => a.id) }
    }))
    const [full, half] = seen
    expect(half.rounded).toEqual(full.rounded)
    expect(half.rounded.length).toBeGreaterThan(0)
    for (const [i, output] of half.outputs.entries()) {
      // Beyond that it is float16 itself that is seen.
      expect(output.sqnr).toBeGreaterThan(Math.min(full.outputs[i].sqnr - 1, 60))
      expect(output.sqnr).toBeGreaterThan(30)
    }
  })
})

describe('statistics of a model input', () => {
  it('need no run where nothing else is asked for', async () => {
    const { bytes, batches } = product('float16')
    const host = await openOnnx(bytes)
    const request: StatisticRequest<'histogram'> = { statistic: 'histogram', target: { tensor: 'x' }, options: { bins: 64 } }
    const found = (await host.observe([request], batches)).get(request)
    expect(found?.count).toBe(4 * 32 * K)
    expect(found?.max).toBe(Math.max(...batches.flatMap((b) => Array.from(toNumbers(b['x'])))))
    await host.dispose()
  })
})

describe('outputs that are no numbers', () => {
  it('are left out, and the rest works', async () => {
    const main = graph({
      nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'product'), node('Cast', ['y'], ['label'], { to: 8 }), node('SplitToSequence', ['y'], ['parts'], { axis: 0 })],
      inputs: [valueInfo('x', 'float32', ['n', K])],
      outputs: [valueInfo('label'), valueInfo('y', 'float32', ['n', N]), valueInfo('parts')],
      initializers: [hostToTensor('w', stored('float32', [K, N], randomFloats(K * N, 3)))],
    })
    const bytes = writeOnnx(model(main, { '': 17 }, 8))
    const { batches } = product('float32')
    const [float, host] = [await openOnnx(bytes), await openOnnx(bytes)]
    const { artifact } = await quantize(host, { weights: int8(), activations: { dtype: 'uint8' }, format: 'qdq', calibration: batches })
    const small = await openOnnx(artifact.bytes())
    const { outputs } = await compareModels(float, small, batches, { latency: false })
    expect(outputs.map((o) => o.name)).toEqual(['y'])
    expect(outputs[0].sqnr).toBeGreaterThan(35)
    for (const h of [float, host, small]) await h.dispose()
  })
})

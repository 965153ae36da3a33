import { expect } from 'vitest'
import { channelAbsMax, referenceLinAlg, scaleColumns, tensor, type HostTensor } from '@lowbit/core'
import { int8Error, smoothQuant, smoothScales } from '@lowbit/algos-smoothquant'
import { goldenNumbers, inputFloats, inputTensor, runGoldens, type GoldenResult } from '../../../tools/goldens.js'

const rint = (v: number): number => {
  const f = Math.floor(v)
  return v - f === 0.5 ? f + (f & 1) : Math.round(v)
}

/** int8 of each run of `length` values: codes times scale. */
function int8(values: Float64Array, length: number): Float64Array {
  return values.map((v, i) => {
    const from = i - (i % length)
    const s = values.subarray(from, from + length).reduce((a, b) => Math.max(a, Math.abs(b)), 0) / 127 || 1
    return rint(v / s) * s
  })
}

function product(x: Float64Array, w: Float64Array, k: number): Float64Array {
  const rows = w.length / k
  return Float64Array.from({ length: (x.length / k) * rows }, (_, i) => {
    let sum = 0
    for (let c = 0; c < k; c++) sum += x[Math.floor(i / rows) * k + c] * w[(i % rows) * k + c]
    return sum
  })
}

runGoldens('smoothquant', {
  async smoothQuant(golden, set) {
    const input = inputTensor(set, golden, 'x')
    const [samples, k] = input.shape
    const raw = goldenNumbers(input)
    const gamma = inputFloats(set, golden, 'gamma')
    const beta = 'beta' in golden.inputs ? inputFloats(set, golden, 'beta') : undefined
    const epsilon = Number(golden.params['epsilon'])
    const normed = raw.map((_, i) => {
      const row = raw.subarray(i - (i % k), i - (i % k) + k)
      const mean = golden.params['norm'] === 'layer-norm' ? row.reduce((a, b) => a + b, 0) / k : 0
      return (raw[i] - mean) / Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / k + epsilon)
    })
    const outputOf = (g: ArrayLike<number>, b: ArrayLike<number> | undefined): Float64Array => normed.map((v, i) => v * g[i % k] + (b?.[i % k] ?? 0))
    const x = tensor('float32', [samples, k], Float32Array.from(outputOf(gamma, beta)))
    const consumers = Object.keys(golden.inputs).filter((role) => /^W\d$/.test(role)).map((role) => {
      const { shape } = inputTensor(set, golden, role)
      const w: HostTensor<'float32'> = tensor('float32', shape, Float32Array.from(inputFloats(set, golden, role)))
      return { role, tensor: w, weight: { rows: shape[0], columns: k, groups: 1, columnsPerChannel: 1 } }
    })
    const actMax = Float32Array.from({ length: k }, (_, c) => x.data.reduce((m, v, i) => (i % k === c ? Math.max(m, Math.abs(v)) : m), 0))
    const weightMax = channelAbsMax(consumers.map(({ weight, tensor: t }) => ({ weight, data: t.data })), k)
    const alphas = golden.params['alphas'] as readonly number[]
    const perAlpha = alphas.map((alpha) => smoothScales(actMax, weightMax, alpha))
    const errorPerToken = perAlpha.map((s) => int8Error(x, consumers, s, 'token'))
    const before = golden.params['before'] as Readonly<Record<string, number>>
    const ones = new Float32Array(k).fill(1)
    expect(int8Error(x, consumers, ones, 'token') / before['errorPerToken']).toBeCloseTo(1, 1.7)
    expect(int8Error(x, consumers, ones, 'tensor') / before['errorPerTensor']).toBeCloseTo(1, 1.7)
    expect(alphas[errorPerToken.indexOf(Math.min(...errorPerToken))]).toBe(golden.params['bestAlphaPerToken'])

    const folded = perAlpha[alphas.indexOf(Number(golden.params['foldedAlpha']))]
    const sites = consumers.map(({ role, tensor: t, weight }) => ({ id: role, kind: 'linear' as const, weight, tensor: t, scheme: { dtype: 'int8' as const, granularity: { kind: 'channel' as const, axis: 0 }, symmetric: true } }))
    const planned = await smoothQuant({ alpha: Number(golden.params['foldedAlpha']) }).plan({
      group: { id: golden.id, producer: 'norm', channels: k },
      sites,
      statistics: { 'absmax-per-channel': tensor('float32', [k], actMax) },
      linalg: referenceLinAlg,
      seed: 0,
    })
    expect(planned.transforms).toEqual([{ kind: 'scale', scales: folded }])
    const gammaFolded = gamma.map((v, i) => v / folded[i])
    const betaFolded = beta?.map((v, i) => v / folded[i])
    const xFolded = outputOf(gammaFolded, betaFolded)
    const results: Record<string, GoldenResult> = {
      actMax,
      weightMax: weightMax.map((v) => Math.max(v, 1e-5)),
      scales: perAlpha.flatMap((s) => [...s]),
      errorPerToken,
      errorPerTensor: perAlpha.map((s) => int8Error(x, consumers, s, 'tensor')),
      gammaFolded,
      ...(betaFolded === undefined ? {} : { betaFolded }),
    }
    for (const { role, tensor: t, weight } of consumers) {
      const w = scaleColumns(t.data, weight, folded)
      results[`${role}Folded`] = w
      results[`y${role.slice(1)}`] = product(xFolded, Float64Array.from(w), k)
      results[`y${role.slice(1)}Int8`] = product(int8(xFolded, k), int8(Float64Array.from(w), k), k)
    }
    return results
  },
})

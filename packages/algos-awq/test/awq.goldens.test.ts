import { expect } from 'vitest'
import { codeGrid, dequantize, fastLinAlg, gridCode, rangeParams, roundHalfEven, rtn, scaleColumns, tensor, type GramStatistic, type QTensor, type RoundingAlgorithm, type Scheme } from '@lowbit/core'
import { CLIP_RATIOS, awq, searchClip, searchScales, type AwqSite, type WeightStat } from '@lowbit/algos-awq'
import { goldenNumbers, inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenResult, type GoldenSet } from '../../../tools/goldens.js'

function schemeOf(golden: GoldenCase): Scheme {
  const bits = Number(golden.params['bits'])
  return { dtype: bits === 2 ? 'uint2' : bits === 3 ? 'uint3' : 'uint4', granularity: { kind: 'group', axis: 1, size: Number(golden.params['groupSize']) }, symmetric: golden.params['symmetric'] === true }
}

function inputs(set: GoldenSet, golden: GoldenCase): { readonly gram: GramStatistic; readonly meanAbs: Float32Array; readonly samples: number; readonly sites: readonly AwqSite[] } {
  const [samples, k] = inputTensor(set, golden, 'X').shape
  const x = inputFloats(set, golden, 'X')
  const data = new Float64Array(k * k)
  fastLinAlg.addGram(x, samples, k, data)
  const meanAbs = Float32Array.from({ length: k }, (_, c) => x.reduce((sum, v, i) => (i % k === c ? sum + Math.abs(v) : sum), 0) / samples)
  const sites = Object.keys(golden.inputs).filter((role) => role.startsWith('W')).map((id) => {
    const { shape } = inputTensor(set, golden, id)
    return { id, kind: 'linear', weight: { rows: shape[0], columns: k, groups: 1, columnsPerChannel: 1 }, tensor: tensor('float32', shape, Float32Array.from(inputFloats(set, golden, id))), scheme: schemeOf(golden) } as const
  })
  return { gram: { data, groups: 1, size: k, rows: samples }, meanAbs, samples, sites }
}

/** Rounding as the paper's code has it: `clamp(rint(w / s) + zero)`. Clamped weights lie on ties, where core's rounding goes the other way. */
function roundOnGrid(w: Float32Array, rows: number, columns: number, scheme: Scheme): QTensor {
  const grid = codeGrid(scheme, 'golden')
  const size = scheme.granularity.kind === 'group' ? scheme.granularity.size : columns
  const codes = new Uint8Array(w.length)
  const scales = new Float32Array(w.length / size)
  const zeroPoints = new Int32Array(w.length / size)
  for (let g = 0; g < scales.length; g++) {
    const part = w.subarray(g * size, (g + 1) * size)
    const params = rangeParams(grid, Math.min(...part), Math.max(...part))
    scales[g] = params.scale
    zeroPoints[g] = params.zero
    part.forEach((v, i) => (codes[g * size + i] = gridCode(grid, params, v)))
  }
  return { scheme, shape: [rows, columns], codes, params: { scales, zeroPoints, shape: [rows, columns / size] } }
}

const onGrid: RoundingAlgorithm = { ...rtn(), round: async ({ weight, scheme, site }) => ({ q: roundOnGrid(weight.data, site.weight.rows, site.weight.columns, scheme) }) }

/** The same in float64: where clamped weights lie on ties, the last bit of the scale decides, and the golden data has float64 scales. */
function onGrid64(w: Float64Array, { scheme }: AwqSite): Readonly<Record<'codes' | 'values' | 'scales' | 'zeros', Float64Array>> {
  const { max } = codeGrid(scheme, 'golden')
  const size = scheme.granularity.kind === 'group' ? scheme.granularity.size : w.length
  const params = (i: number): { readonly scale: number; readonly zero: number } => {
    const group = w.subarray(i - (i % size), i - (i % size) + size)
    const low = Math.min(0, ...group)
    const scale = (Math.max(0, ...group) - low) / max
    return { scale, zero: roundHalfEven(-low / scale) }
  }
  const codes = w.map((v, i) => Math.min(Math.max(roundHalfEven(v / params(i).scale) + params(i).zero, 0), max))
  const groups = Array.from({ length: w.length / size }, (_, g) => params(g * size))
  return { codes, values: codes.map((c, i) => (c - params(i).zero) * params(i).scale), scales: Float64Array.from(groups, (p) => p.scale), zeros: Float64Array.from(groups, (p) => p.zero) }
}

const context = (gram: GramStatistic) => ({ gram, linalg: fastLinAlg, seed: 0, signal: undefined })

function product(x: ArrayLike<number>, w: ArrayLike<number>, k: number): Float64Array {
  const rows = w.length / k
  return Float64Array.from({ length: (x.length / k) * rows }, (_, i) => {
    let sum = 0
    for (let c = 0; c < k; c++) sum += x[Math.floor(i / rows) * k + c] * w[(i % rows) * k + c]
    return sum
  })
}

runGoldens('awq', {
  async awqScale(golden, set) {
    const { gram, meanAbs, samples, sites } = inputs(set, golden)
    const weightStat = golden.params['weightStat'] as WeightStat
    const found = await searchScales(sites, meanAbs, { grid: Number(golden.params['grid']), weightStat, rounding: onGrid }, context(gram))
    const outputs = samples * sites.reduce((sum, s) => sum + s.weight.rows, 0)
    const losses = found.candidates.map((c) => c.loss / outputs)
    expect(found.identity / outputs / Number(golden.params['lossIdentity'])).toBeCloseTo(1, 2)
    expect(found.best?.alpha).toBeCloseTo(Number(golden.params['chosenAlpha']), 12)
    expect(golden.extra['identityWins']).toBe(false)
    const scale = found.best?.scales ?? new Float32Array()
    const planned = await awq({ weightStat, clip: false, rounding: onGrid }).plan({
      group: { id: golden.id, producer: 'norm', channels: gram.size },
      sites,
      statistics: { gram, 'mean-abs-per-channel': tensor('float32', [gram.size], Float32Array.from(meanAbs)) },
      linalg: fastLinAlg,
      seed: 0,
    })
    expect(planned.transforms).toEqual([{ kind: 'scale', scales: scale }])
    const results: Record<string, GoldenResult> = { scales: found.candidates.flatMap((c) => [...c.scales]), losses, lossesFromGram: losses, scale }
    sites.forEach(({ weight, tensor: t, scheme, id }) => {
      const { codes, params } = roundOnGrid(scaleColumns(t.data, weight, scale), weight.rows, weight.columns, scheme)
      results[`codes${id.slice(1)}`] = codes
      results[`groupScale${id.slice(1)}`] = params.scales
      results[`groupZero${id.slice(1)}`] = params.zeroPoints ?? []
    })
    return results
  },

  async awqClip(golden, set) {
    const { gram, samples, sites } = inputs(set, golden)
    const [site] = sites
    const ratios = golden.params['ratios'] as readonly number[]
    if (ratios.length === CLIP_RATIOS.length) CLIP_RATIOS.forEach((r, i) => expect(r).toBeCloseTo(ratios[i], 12))
    const { weight, limits, chosen, errors } = await searchClip(site, gram, async (clamped) => onGrid64(clamped, site).values, ratios)
    const size = weight.length / limits.length
    const { codes, scales, zeros } = onGrid64(Float64Array.from(site.tensor.data, (w, i) => Math.min(Math.max(w, -limits[Math.floor(i / size)]), limits[Math.floor(i / size)])), site)
    return { errors: errors.map((e) => e / samples), best: chosen, clipLimit: limits, codes, groupScale: scales, groupZero: zeros }
  },

  awqFold(golden, set) {
    const [, k] = inputTensor(set, golden, 'W').shape
    const w = inputFloats(set, golden, 'W')
    const s = inputFloats(set, golden, 's')
    const raw = goldenNumbers(inputTensor(set, golden, 'x'))
    const layout = { rows: w.length / k, columns: k, groups: 1, columnsPerChannel: 1 }
    const WFolded = scaleColumns(w, layout, s)
    const scheme: Scheme = { ...schemeOf({ ...golden, params: { ...golden.params, symmetric: false } }) }
    const q = roundOnGrid(WFolded, layout.rows, k, scheme)
    const values = dequantize(q).data
    const results = (x: Float64Array, xFolded: Float64Array): Record<string, GoldenResult> => ({ WFolded, codes: q.codes, y: product(x, w, k), yFolded: product(xFolded, WFolded, k), yQuantized: product(xFolded, values, k) })
    if (golden.params['producer'] === 'linear') {
      const before = inputFloats(set, golden, 'producerWeight')
      const bias = inputFloats(set, golden, 'producerBias')
      const width = before.length / k
      const producerWeightFolded = before.map((v, i) => v / s[Math.floor(i / width)])
      const producerBiasFolded = bias.map((v, i) => v / s[i])
      const run = (weight: Float32Array, b: Float32Array): Float64Array => product(raw, weight, width).map((v, i) => Math.max(v + b[i % k], 0))
      return { producerWeightFolded, producerBiasFolded, ...results(run(before, bias), run(producerWeightFolded, producerBiasFolded)) }
    }
    const gamma = inputFloats(set, golden, 'gamma')
    const beta = 'beta' in golden.inputs ? inputFloats(set, golden, 'beta') : undefined
    const gammaFolded = gamma.map((v, i) => v / s[i])
    const betaFolded = beta?.map((v, i) => v / s[i])
    const norm = (g: Float32Array, b: Float32Array | undefined): Float64Array =>
      raw.map((v, i) => {
        const row = raw.subarray(i - (i % k), i - (i % k) + k)
        const mean = golden.params['producer'] === 'layer-norm' ? row.reduce((p, q) => p + q, 0) / k : 0
        return ((v - mean) / Math.sqrt(row.reduce((p, q) => p + (q - mean) ** 2, 0) / k + Number(golden.params['epsilon']))) * g[i % k] + (b?.[i % k] ?? 0)
      })
    return { gammaFolded, ...(betaFolded === undefined ? {} : { betaFolded }), ...results(norm(gamma, beta), norm(gammaFolded, betaFolded)) }
  },
})

import { describe, expect, it } from 'vitest'
import { holdVariables, int4, referenceOps, weightScheme, type FakeQuant, type ReferenceTensor, type TrainingAlgorithm } from '@lowbit/core'
import { balanced, dampeningLoss, distillationLoss, leastSquaresScales, lsq, lsqPaperScales, lsqPlus, oscillationReport, pact, ste, ttq, unsignedPerTensor, withOscillation } from '../src/index.js'

const { ops, vjp } = referenceOps()

function noise(count: number, seed: number, size = 1): Float32Array {
  let state = seed
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return size * (state / 2 ** 31 - 1)
  })
}

/** Adam on the trainable variables of a fake quantization, with a gradient that always pushes the scale down. */
function pushScalesDown(fakeQuant: FakeQuant, data: Float32Array, shape: readonly number[], learningRate: number, steps: number): ReturnType<typeof holdVariables<ReferenceTensor>> {
  const held = holdVariables(ops, fakeQuant, fakeQuant.variables(data).length > 0 ? data : undefined)
  const x = ops.constant(data, shape)
  fakeQuant.forward(ops, x, held.state(0, true))
  const names = held.definitions.filter((v) => v.trainable).map((v) => v.name)
  for (let step = 1; step <= steps; step++) {
    // Adam's step is the learning rate in the gradient's direction, once its means have settled.
    for (const name of names) held.set(name, ops.sub(held.get(name), ops.constant(learningRate)))
    const y = fakeQuant.forward(ops, x, held.state(step, true))
    if (!y.data.every((v) => Number.isFinite(v))) throw new Error(`step ${step}: forward is not finite`)
  }
  return held
}

describe('learned scales', () => {
  const shape = [4, 32]
  const small = noise(128, 3, 0.02)
  const cases: [string, TrainingAlgorithm, Parameters<TrainingAlgorithm['fakeQuant']>[0]][] = [
    ['lsq', lsq(), { scheme: int4({ group: 32 }), shape, role: 'weight' }],
    ['lsqPlus', lsqPlus(), { scheme: int4(), shape, role: 'weight' }],
    ['balanced', balanced(), { scheme: weightScheme('int2'), shape, role: 'weight' }],
    ['ttq', ttq({ tied: true }), { scheme: weightScheme('ternary', { perTensor: true }), shape, role: 'weight' }],
    ['lsq activations', lsq(), { scheme: unsignedPerTensor(4), shape: [null, 32], role: 'activation' }],
    ['pact', pact(), { scheme: unsignedPerTensor(4), shape: [null, 32], role: 'activation' }],
  ]
  for (const [name, algorithm, spec] of cases) {
    it(`of ${name} stay positive for 2,000 steps at a learning rate of 1e-2`, () => {
      const fakeQuant = algorithm.fakeQuant(spec)
      const x = spec.role === 'weight' ? small : small.map(Math.abs)
      const held = pushScalesDown(fakeQuant, x, shape, 1e-2, 2000)
      const { scales } = fakeQuant.quantize(ops, ops.constant(x, shape), held.state(2001, false))
      expect(Math.min(...scales.data)).toBeGreaterThan(0)
    })
  }
})

describe('the first scale of LSQ', () => {
  it('of least squared error is finer than the paper’s on int4 groups of 32, and nearer to the weights', () => {
    const weights = noise(32 * 64, 11, 0.1).map((v, i) => v * (1 + (i % 5) / 5))
    const range = { min: -8, max: 7 }
    const granularity = { kind: 'group', axis: 1, size: 32 } as const
    const errorOf = (scales: Float32Array): number =>
      weights.reduce((sum, w, i) => {
        const s = scales[Math.floor(i / 32)]
        return sum + (Math.min(range.max, Math.max(range.min, Math.round(w / s))) * s - w) ** 2
      }, 0)
    const best = leastSquaresScales(weights, [64, 32], granularity, range)
    const paper = lsqPaperScales(weights, [64, 32], granularity, range)
    const absmax = Float32Array.from({ length: 64 }, (_, g) => Math.max(...weights.subarray(32 * g, 32 * g + 32).map(Math.abs)) / 7)
    expect(errorOf(best)).toBeLessThanOrEqual(errorOf(absmax))
    expect(errorOf(best)).toBeLessThan(0.5 * errorOf(paper))
    expect(paper.reduce((a, b) => a + b) / best.reduce((a, b) => a + b)).toBeGreaterThan(1.5)
  })

  it('of a granule of zeros is positive', () => {
    expect(leastSquaresScales(new Float32Array(4), [1, 4], { kind: 'tensor' }, { min: -8, max: 7 })[0]).toBeGreaterThan(0)
  })

  it('at two bits beats -2…1 on balanced levels', () => {
    // Standard normal weights: the known optimum of four levels is symmetric.
    const weights = noise(4096, 5).map((v, i, all) => v + (all[(i * 7 + 1) % all.length] ?? 0) + (all[(i * 13 + 5) % all.length] ?? 0))
    const error = (offset: number): number => {
      const s = leastSquaresScales(weights, [1, 4096], { kind: 'tensor' }, { min: -2, max: 1 }, { offset })[0]
      return weights.reduce((sum, w) => {
        const level = Math.min(1 + offset, Math.max(-2 + offset, Math.round(w / s - offset) + offset))
        return sum + (level * s - w) ** 2
      }, 0)
    }
    expect(error(0.5)).toBeLessThan(error(0))
  })
})

describe('a short last group', () => {
  it('of 172 = 5·32 + 12 is quantized with a scale of its own, not left in float', () => {
    const data = noise(2 * 172, 9)
    data.fill(0.001, 160, 172)
    const spec = { scheme: int4({ group: 32 }), shape: [2, 172], role: 'weight' } as const
    for (const algorithm of [ste(), lsq()]) {
      const fakeQuant = algorithm.fakeQuant(spec)
      const { scales, codes } = fakeQuant.quantize(ops, ops.constant(data, [2, 172]), holdVariables(ops, fakeQuant, data).state(1, false))
      expect(scales.shape).toEqual([2, 6])
      expect(scales.data[5]).toBeLessThan(0.01 * scales.data[4])
      expect(Math.abs(codes.data[165])).toBeGreaterThan(0)
    }
  })
})

describe('oscillation control', () => {
  it('freezes a weight that jumps between two levels, and reports it', () => {
    const spec = { scheme: weightScheme('int4', { perTensor: true }), shape: [1, 2], role: 'weight' } as const
    const fakeQuant = withOscillation(ste(), { momentum: 0.2, freeze: { from: 0.3, to: 0.3, steps: 1 } }).fakeQuant(spec)
    const held = holdVariables(ops, fakeQuant)
    const read = (name: string): Float32Array => Float32Array.from(held.get(name).data)
    // The second weight sets the scale (1/7 of it); the first swings around a boundary.
    const at = (t: number): ReferenceTensor => ops.constant(Float32Array.of(t % 2 === 0 ? 0.49 : 0.51, 7), [1, 2])
    for (let t = 0; t < 12; t++) fakeQuant.forward(ops, at(t), held.state(t, true))
    const report = oscillationReport('a', read)
    expect(report).toMatchObject({ layer: 'a', weights: 2, frozen: 0.5 })
    const [even, odd] = [0, 1].map((t) => fakeQuant.forward(ops, at(t), held.state(13, false)).data[0])
    expect(even).toBe(odd)
    expect(ste().fakeQuant(spec).forward(ops, at(0), held.state(13, false)).data[0]).not.toBe(ste().fakeQuant(spec).forward(ops, at(1), held.state(13, false)).data[0])
  })

  it('only watches when freezing is off', () => {
    const fakeQuant = withOscillation(ste(), { freeze: false }).fakeQuant({ scheme: weightScheme('int4', { perTensor: true }), shape: [1, 2], role: 'weight' })
    const held = holdVariables(ops, fakeQuant)
    for (let t = 0; t < 50; t++) fakeQuant.forward(ops, ops.constant(Float32Array.of(t % 2 === 0 ? 0.49 : 0.51, 7), [1, 2]), held.state(t, true))
    const report = oscillationReport('a', (name) => Float32Array.from(held.get(name).data))
    expect(report?.frozen).toBe(0)
    expect(report?.oscillating).toBe(0.5)
  })

  it('dampening pulls a weight towards the middle of its bin, and lets clipped ones be', () => {
    const { gradients } = vjp(([w]) => dampeningLoss(ops, w, ops.constant(Float32Array.of(1, 7)), ops.constant(-8), ops.constant(7), 1), [ops.constant(Float32Array.of(1.4, 9))], ops.constant(1))
    expect(gradients[0].data[0]).toBeGreaterThan(0)
    expect(Math.abs(gradients[0].data[1])).toBe(0)
  })
})

describe('rescaled', () => {
  const [n, k] = [4, 20]
  const factors = Float32Array.of(0.5, 2, 1, 4)
  // Powers of two: multiplying rounds nothing, so that codes stay to the last one.
  const lying: [string, readonly number[], Parameters<TrainingAlgorithm['fakeQuant']>[0]['scheme']['granularity'], (i: number) => number][] = [
    ['a channel of [N, K]', [n, k], { kind: 'channel', axis: 0 }, (i) => Math.floor(i / k)],
    ['a channel of [K, N]', [k, n], { kind: 'channel', axis: 1 }, (i) => i % n],
    ['groups of [N, K], the last one short', [n, k], { kind: 'group', axis: 1, size: 8 }, (i) => Math.floor(i / k)],
    ['groups of [K, N], the last one short', [k, n], { kind: 'group', axis: 0, size: 8 }, (i) => i % n],
  ]
  const algorithms: [string, TrainingAlgorithm][] = [['lsq', lsq()], ['lsqPlus', lsqPlus()], ['balanced', balanced()], ['lsq with oscillation tracking', withOscillation(lsq())]]
  for (const [name, algorithm] of algorithms) {
    for (const [where, shape, granularity, channel] of lying) {
      it(`${name}: scales follow a weight whose channels are multiplied, ${where}`, () => {
        const fakeQuant = algorithm.fakeQuant({ scheme: { dtype: 'int3', granularity, symmetric: true }, shape, role: 'weight' })
        const data = noise(n * k, 8, 0.3)
        const held = holdVariables(ops, fakeQuant, data)
        const before = fakeQuant.quantize(ops, ops.constant(data, shape), held.state(1, false))
        const values = fakeQuant.rescaled?.((variable) => Float32Array.from(held.get(variable).data), factors) ?? {}
        expect(Object.keys(values)).toEqual(['log_scale'])
        for (const [variable, value] of Object.entries(values)) held.set(variable, ops.constant(value, held.get(variable).shape))
        const moved = data.map((v, i) => v * factors[channel(i)])
        const after = fakeQuant.quantize(ops, ops.constant(moved, shape), held.state(1, false))
        expect(Array.from(after.codes.data)).toEqual(Array.from(before.codes.data))
        const total = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b)
        expect(total(after.scales.data)).not.toBeCloseTo(total(before.scales.data), 2)
      })
    }
  }

  it('leaves one scale a tensor alone: it cannot follow', () => {
    const fakeQuant = lsq().fakeQuant({ scheme: weightScheme('int4', { perTensor: true }), shape: [n, k], role: 'weight' })
    expect(fakeQuant.rescaled?.(() => new Float32Array(1), factors)).toEqual({})
  })
})

describe('distillation', () => {
  it('is zero, with no gradient, where student and teacher agree, and positive elsewhere', () => {
    const teacher = ops.constant(noise(12, 4, 3), [3, 4])
    const same = vjp(([s]) => distillationLoss(ops, s, teacher, 2), [teacher], ops.constant(1))
    expect(Math.abs(same.y.data[0])).toBeLessThan(1e-6)
    expect(Math.max(...same.gradients[0].data.map(Math.abs))).toBeLessThan(1e-6)
    expect(distillationLoss(ops, ops.neg(teacher), teacher, 2).data[0]).toBeGreaterThan(0.1)
  })

  it('does not overflow on large logits', () => {
    expect(Number.isFinite(distillationLoss(ops, ops.constant(Float32Array.of(1000, -1000), [1, 2]), ops.constant(Float32Array.of(-1000, 1000), [1, 2])).data[0])).toBe(true)
  })
})

import { dequantize, referenceOps, type Layout, type QTensor, type ReferenceTensor } from '@lowbit/core'
import { ggmlTQ1_0, ggmlTQ2_0 } from '@lowbit/formats/layouts'
import { inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenHandler, type GoldenSet } from '../../../tools/goldens.js'
import { bitActivationCodes, bitActivationQuant, bitGemv, bitLinear, bitLinearInteger, bitWeightCodes, bitWeightQuant, hfTernary, i2s, rmsNorm, TERNARY_WEIGHTS, ternarise, type I2SVariant } from '../src/index.js'

const { ops, vjp } = referenceOps()
type T = ReferenceTensor

const tensorOf = (set: GoldenSet, name: string): T => {
  const t = set.tensor(name)
  return ops.constant(Float32Array.from(t.data as ArrayLike<number>), t.shape)
}
const input = (set: GoldenSet, c: GoldenCase, role: string): T => tensorOf(set, inputTensor(set, c, role).name)
const row = (t: T, i: number): T => ops.reshape(ops.slice(t, [i, 0, 0], [1, ...t.shape.slice(1)]), t.shape.slice(1))
const number = (source: unknown, name: string): number => {
  const value: unknown = typeof source === 'object' && source !== null && name in source ? Reflect.get(source, name) : undefined
  if (typeof value !== 'number') throw new Error(`param '${name}' is ${String(value)}`)
  return value
}
const ternary = (codes: ArrayLike<number>, shape: readonly number[], scale: number): QTensor => ({ scheme: TERNARY_WEIGHTS, shape, codes: Int8Array.from(codes), params: { scales: Float32Array.of(scale), shape: [] } })

const linear: GoldenHandler = async (c, set) => {
  const [x, w] = [input(set, c, 'x'), input(set, c, 'w')]
  const epsilon = number(c.params, 'rmsEpsilon')
  const lambda = number(c.params, 'lambda_')
  const extras = ['gain', 'bias'].filter((role) => role in c.inputs)
  const { y, gradients } = vjp(
    ([xv, wv, ...rest]) => bitLinear(ops, xv, wv, { epsilon, lambda, ...Object.fromEntries(rest.map((t, i) => [extras[i], t])) }),
    [x, w, ...extras.map((role) => input(set, c, role))],
    input(set, c, 'dy'),
  )
  const normed = rmsNorm(ops, x, extras.includes('gain') ? input(set, c, 'gain') : undefined, epsilon)
  const xq = bitActivationCodes(ops, normed)
  const wq = bitWeightCodes(ops, w)
  if (lambda === 1) {
    // What is deployed computes what was trained, within the rounding of the float product.
    const deployed = bitLinearInteger({ dtype: 'float32', shape: x.shape, data: Float32Array.from(x.data) }, await ternarise({ dtype: 'float32', shape: w.shape, data: Float32Array.from(w.data) }), {
      epsilon,
      ...(extras.includes('gain') ? { gain: inputFloats(set, c, 'gain') } : {}),
      ...(extras.includes('bias') ? { bias: inputFloats(set, c, 'bias') } : {}),
    })
    const largest = Math.max(...y.data.map(Math.abs))
    deployed.values.forEach((v, i) => {
      if (Math.abs(v - y.data[i]) > (w.shape[1] + 4) * 2 ** -24 * largest * 4) throw new Error(`deployed output ${i} is ${v}, prepared ${y.data[i]}`)
    })
  }
  return {
    y: y.data, xNorm: normed.data, xScale: xq.scale.data, xCodes: xq.codes.data, wScale: wq.scale.data, wCodes: wq.codes.data,
    dx: gradients[0].data, dw: gradients[1].data,
    ...Object.fromEntries(extras.map((role, i) => [`d${role}`, gradients[2 + i].data])),
  }
}

const train: GoldenHandler = (c, set) => {
  const optimizer = c.params['optimizer']
  const steps = number(c.params, 'steps')
  const epsilon = number(c.params, 'rmsEpsilon')
  const rate = number(optimizer, 'learningRate')
  const adam = typeof optimizer === 'object' && optimizer !== null && Reflect.get(optimizer, 'name') === 'adamw'
  const loss = (x: T, target: T, w1: T, w2: T): T => {
    const hidden = ops.maximum(bitLinear(ops, x, w1, { epsilon }), ops.constant(0))
    const difference = ops.sub(bitLinear(ops, ops.mul(hidden, hidden), w2, { epsilon }), target)
    return ops.mean(ops.mul(difference, difference))
  }
  let weights = [input(set, c, 'w1Start'), input(set, c, 'w2Start')]
  const moments = weights.map((w) => ({ m: new Float64Array(w.data.length), v: new Float64Array(w.data.length) }))
  const trace = { w1: [...weights[0].data], w2: [...weights[1].data], dw1: [] as number[], dw2: [] as number[], loss: [] as number[] }
  for (let t = 0; t < steps; t++) {
    const { y, gradients } = vjp(([w1, w2]) => loss(row(input(set, c, 'x'), t), row(input(set, c, 'target'), t), w1, w2), weights, ops.constant(1))
    trace.loss.push(y.data[0])
    trace.dw1.push(...gradients[0].data)
    trace.dw2.push(...gradients[1].data)
    weights = weights.map((w, i) => ops.constant(Float32Array.from(w.data, (value, e) => {
      const g = gradients[i].data[e]
      if (!adam) return value - rate * g
      const { m, v } = moments[i]
      const [b1, b2] = [number(optimizer, 'beta1'), number(optimizer, 'beta2')]
      m[e] = b1 * m[e] + (1 - b1) * g
      v[e] = b2 * v[e] + (1 - b2) * g * g
      const decayed = value * (1 - rate * number(optimizer, 'weightDecay'))
      return decayed - (rate * (m[e] / (1 - b1 ** (t + 1)))) / (Math.sqrt(v[e] / (1 - b2 ** (t + 1))) + number(optimizer, 'epsilon'))
    }), w.shape))
    trace.w1.push(...weights[0].data)
    trace.w2.push(...weights[1].data)
  }
  return trace
}

const ggml = (layout: Layout): GoldenHandler => (c, set) => {
  const codes = inputTensor(set, c, 'codes')
  const w = inputFloats(set, c, 'w')
  const [n, k] = codes.shape
  const scales = Float32Array.from({ length: (n * k) / 256 }, (_, block) => w.subarray(block * 256, (block + 1) * 256).reduce((m, v) => Math.max(m, Math.abs(v)), 0))
  const q: QTensor = { scheme: { dtype: 'ternary', granularity: { kind: 'group', axis: 1, size: 256 }, symmetric: true }, shape: codes.shape, codes: Int8Array.from(codes.data as ArrayLike<number>), params: { scales, shape: [n, k / 256] } }
  const packed = layout.pack(q)
  const { blocks } = packed.buffers
  return { bytes: blocks, dequantized: dequantize(layout.unpack(packed)).data }
}

runGoldens('bitnet', {
  bitLinear: linear,
  bitTrain: train,
  bitActivationQuant: (c, set) => {
    const x = input(set, c, 'x')
    const { codes, scale } = bitActivationCodes(ops, x)
    return { codes: codes.data, scale: scale.data, y: bitActivationQuant(ops, x).data }
  },
  bitWeightQuant: (c, set) => {
    const w = input(set, c, 'w')
    const { codes, scale } = bitWeightCodes(ops, w)
    return { codes: codes.data, scale: scale.data, y: bitWeightQuant(ops, w).data }
  },
  packTernaryHf: (c, set) => {
    const codes = inputTensor(set, c, 'codes')
    const packed = hfTernary.pack(ternary(codes.data as ArrayLike<number>, codes.shape, 1))
    return { bytes: packed.buffers['codes'], unpacked: hfTernary.unpack(packed).codes }
  },
  pack_tq1_0: ggml(ggmlTQ1_0),
  pack_tq2_0: ggml(ggmlTQ2_0),
  packI2S: (c, set) => {
    const codes = inputTensor(set, c, 'codes')
    const packed = i2s(c.params['layout'] as I2SVariant).pack(ternary(codes.data as ArrayLike<number>, codes.shape, 0.5))
    return { bytes: packed.buffers['bytes'].subarray(0, codes.data.length / 4) }
  },
  bitGemv: (c, set) => {
    const [xCodes, wCodes] = [inputTensor(set, c, 'xCodes'), inputTensor(set, c, 'wCodes')]
    const [xScale, wScale] = [inputFloats(set, c, 'xScale'), inputFloats(set, c, 'wScale')]
    const weight = ternary(wCodes.data as ArrayLike<number>, wCodes.shape, 1 / wScale[0])
    const { accumulators, values } = bitGemv(Int8Array.from(xCodes.data as ArrayLike<number>), xScale, weight)
    const x = ops.div(ops.constant(Float32Array.from(xCodes.data as ArrayLike<number>), xCodes.shape), ops.constant(xScale, [xCodes.shape[0], 1]))
    const w = ops.div(ops.constant(Float32Array.from(wCodes.data as ArrayLike<number>), wCodes.shape), ops.constant(wScale[0]))
    return { accumulator: accumulators, y: values, yFakeQuant: ops.matmul(x, w, false, true).data }
  },
})

import { batchMoments, convertWeight, foldBatchNorm, holdVariables, integerMatmul, referenceOps, updateRunning, type FakeQuant, type Ops, type ReferenceTensor, type Scheme } from '@lowbit/core'
import { inputTensor, runGoldens, type GoldenCase, type GoldenHandler, type GoldenSet } from '../../../tools/goldens.js'
import { fakeQuantizeAffine, logSoftmax, ste } from '../src/index.js'

const backend = referenceOps()
const { ops, vjp } = backend
type T = ReferenceTensor

interface TrainParams {
  readonly steps: number
  readonly dims: readonly number[]
  readonly batch: number
  readonly weights: { readonly bits: 4; readonly groupSize: number; readonly divisor: string; readonly eps: number }
  readonly activations: { readonly eps: number }
  readonly loss: string
  readonly optimizer: { readonly name: string; readonly learningRate: number; readonly beta1: number; readonly beta2: number; readonly epsilon: number }
}

const tensorOf = (set: GoldenSet, name: string): T => {
  const t = set.tensor(name)
  return ops.constant(Float32Array.from(t.data as ArrayLike<number>), t.shape)
}
const input = (set: GoldenSet, c: GoldenCase, role: string): T => tensorOf(set, inputTensor(set, c, role).name)
/** The case's configuration, whose fields the set's README states. */
function configuration<C>(c: GoldenCase): C {
  const params: unknown = c.params
  return params as C
}
const row = (t: T, i: number): T => ops.reshape(ops.slice(t, [i, ...t.shape.slice(1).map(() => 0)], [1, ...t.shape.slice(1)]), t.shape.slice(1))
const relu = (x: T): T => ops.maximum(x, ops.constant(0))

const TOKEN: Scheme = { dtype: 'int8', granularity: { kind: 'token' }, symmetric: false }

function fakeQuants(params: Pick<TrainParams, 'weights' | 'activations'>): { weight: (w: T) => FakeQuant; activation: FakeQuant } {
  const rule = params.weights.divisor === 'no-clipping' ? 'no-clipping' : 'half-range'
  const scheme: Scheme = { dtype: 'int4', granularity: { kind: 'group', axis: 1, size: params.weights.groupSize }, symmetric: true }
  return {
    weight: (w) => ste({ rule, epsilon: params.weights.eps }).fakeQuant({ scheme, shape: w.shape, role: 'weight' }),
    activation: ste({ epsilon: params.activations.eps }).fakeQuant({ scheme: TOKEN, shape: [null, null], role: 'activation' }),
  }
}

const none = { read: (): never => { throw new Error('no variables') }, write: (): never => { throw new Error('no variables') }, step: 0, training: true }

const train: GoldenHandler = (c, set) => {
  const params = configuration<TrainParams>(c)
  const { weight, activation } = fakeQuants(params)
  const names = ['w1', 'b1', 'w2', 'b2'] as const
  const layer = (x: T, w: T, b: T): T => ops.add(ops.matmul(activation.forward(ops, x, none), weight(w).forward(ops, w, none), false, true), b)
  const lossOf = (y: T, target: T): T => {
    if (params.loss.startsWith('mean squared')) {
      const d = ops.sub(y, target)
      return ops.mean(ops.mul(d, d))
    }
    return ops.neg(ops.mean(ops.sum(ops.mul(oneHot(target, y.shape), logSoftmax(ops, y)), [-1])))
  }
  const whole = c.extra['wholeTrace'] === true
  const stored = (role: string, t: number): T => row(tensorOf(set, c.outputs[role]), t)
  let values: T[] = names.map((name) => input(set, c, `${name}Start`))
  const moments = values.map((v) => ({ m: new Float64Array(v.data.length), s: new Float64Array(v.data.length) }))
  const trace: Record<string, number[]> = { loss: [] }
  for (const name of names) {
    trace[name] = []
    trace[`d${name}`] = []
  }
  for (let t = 0; t < params.steps; t++) {
    // Divisor 7.5: the extreme of a group lies on a tie, so each step starts from the recorded weights.
    if (!whole) values = names.map((name) => stored(name, t))
    values.forEach((v, i) => trace[names[i]].push(...v.data))
    const x = row(input(set, c, 'x'), t)
    const target = row(input(set, c, 'target'), t)
    const { y, gradients } = vjp(([w1, b1, w2, b2]) => lossOf(layer(relu(layer(x, w1, b1)), w2, b2), target), values, ops.constant(1))
    trace['loss'].push(y.data[0])
    gradients.forEach((g, i) => trace[`d${names[i]}`].push(...g.data))
    values = values.map((v, i) => ops.constant(Float32Array.from(v.data, (w, e) => step(w, gradients[i].data[e], moments[i], e, t + 1, params.optimizer)), v.shape))
  }
  values.forEach((v, i) => trace[names[i]].push(...v.data))
  return trace
}

function oneHot(target: T, shape: readonly number[]): T {
  if (target.shape.length === 2) return target
  const data = new Float32Array(shape[0] * shape[1])
  target.data.forEach((label, i) => (data[i * shape[1] + label] = 1))
  return ops.constant(data, shape)
}

function step(w: number, g: number, { m, s }: { m: Float64Array; s: Float64Array }, e: number, t: number, o: TrainParams['optimizer']): number {
  if (o.name === 'sgd') return w - o.learningRate * g
  m[e] = o.beta1 * m[e] + (1 - o.beta1) * g
  s[e] = o.beta2 * s[e] + (1 - o.beta2) * g * g
  return w - (o.learningRate * (m[e] / (1 - o.beta1 ** t))) / (Math.sqrt(s[e] / (1 - o.beta2 ** t)) + o.epsilon)
}

const convert: GoldenHandler = async (c, set) => {
  const params = configuration<TrainParams>(c)
  const { weight, activation } = fakeQuants(params)
  const [x, w, b] = ['x', 'w', 'b'].map((role) => input(set, c, role))
  const fakeQuant = weight(w)
  const q = await convertWeight(backend, fakeQuant, w, holdVariables(ops, fakeQuant).state(0, false))
  const rounded = activation.quantize(ops, x, none)
  const rows = { codes: rounded.codes.data, rows: x.shape[0], scales: rounded.scales.data, zeroPoints: rounded.zeroPoints?.data ?? [0] }
  const { accumulators, values } = integerMatmul(rows, q, b.data)
  const prepared = ops.add(ops.matmul(activation.forward(ops, x, none), fakeQuant.forward(ops, w, none), false, true), b)
  return { weightCodes: q.codes, weightScale: q.params.scales, inputCodes: rows.codes, inputScale: rows.scales, inputZeroPoint: rows.zeroPoints, accumulator: accumulators, y: values, yFakeQuant: prepared.data }
}

interface ConvParams {
  readonly pad: number
  readonly kernel: number
  readonly mode: 'running' | 'batch'
  readonly epsilon: number
  readonly momentum: number
  readonly input: { readonly scale: number; readonly zeroPoint: number; readonly qmin: number; readonly qmax: number }
  readonly weights: { readonly qmin: number; readonly qmax: number }
}

/** Convolution of NHWC with HWIO, stride 1: a sum of products over the kernel's offsets. */
function conv(o: Ops<T>, x: T, w: T, pad: number): T {
  const [batch, height, width, channels] = x.shape
  const [kh, kw, , out] = w.shape
  const padded = o.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
  const [oh, ow] = [height + 2 * pad - kh + 1, width + 2 * pad - kw + 1]
  let sum: T | undefined
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      const part = o.matmul(o.reshape(o.slice(padded, [0, i, j, 0], [batch, oh, ow, channels]), [batch * oh * ow, channels]), o.reshape(o.slice(w, [i, j, 0, 0], [1, 1, channels, out]), [channels, out]))
      sum = sum === undefined ? part : o.add(sum, part)
    }
  }
  if (sum === undefined) throw new Error('an empty kernel')
  return o.reshape(sum, [batch, oh, ow, out])
}

const convBn: GoldenHandler = (c, set) => {
  const p = configuration<ConvParams>(c)
  const [x, w, gamma, beta] = ['xNhwc', 'wHwio', 'gamma', 'beta'].map((role) => input(set, c, role))
  const running = { mean: input(set, c, 'runningMean'), variance: input(set, c, 'runningVar') }
  const [kh, kw, channels, out] = w.shape
  const inputParams = { scale: ops.constant(p.input.scale), zeroPoint: ops.constant(p.input.zeroPoint) }
  const inputRange = { min: p.input.qmin, max: p.input.qmax }
  const weightRange = { min: p.weights.qmin, max: p.weights.qmax }
  const kept: { folded?: T; bias?: T; scale?: T; next?: { mean: T; variance: T } } = {}
  const forward = ([xv, wv, g, b]: readonly T[]): T => {
    const xq = fakeQuantizeAffine(ops, xv, inputParams, inputRange)
    const moments = p.mode === 'batch' ? batchMoments(ops, conv(ops, xq, wv, p.pad)) : undefined
    const { mean, variance } = moments ?? running
    const folded = foldBatchNorm(ops, ops.reshape(wv, [kh * kw * channels, out]), 1, { gamma: g, beta: b, mean, variance, epsilon: p.epsilon })
    const scale = ops.stopGradient(ops.div(ops.max(ops.abs(folded.weight), [0], true), ops.constant(weightRange.max)))
    kept.folded = folded.weight
    kept.bias = folded.bias
    kept.scale = scale
    kept.next = moments === undefined ? running : updateRunning(ops, running, moments, p.momentum)
    const wq = fakeQuantizeAffine(ops, folded.weight, { scale }, weightRange)
    const y = ops.add(conv(ops, xq, ops.reshape(wq, w.shape), p.pad), folded.bias)
    return ops.minimum(relu(y), ops.constant(6))
  }
  const { y, gradients } = vjp(forward, [x, w, gamma, beta], input(set, c, 'dyNhwc'))
  if (kept.folded === undefined || kept.scale === undefined || kept.bias === undefined || kept.next === undefined) throw new Error('forward did not run')
  const codes = ops.rint(ops.mul(kept.folded, ops.div(ops.constant(1), kept.scale)))
  const inputCodes = ops.minimum(ops.maximum(ops.add(ops.rint(ops.mul(x, ops.div(ops.constant(1), inputParams.scale))), inputParams.zeroPoint), ops.constant(-128)), ops.constant(127))
  const nchw = (t: T): ArrayLike<number> => ops.transpose(t, [0, 3, 1, 2]).data
  const oihw = (t: T): ArrayLike<number> => ops.transpose(ops.reshape(t, w.shape), [3, 2, 0, 1]).data
  return {
    y: nchw(y), yNhwc: y.data,
    foldedWeight: oihw(kept.folded), foldedBias: kept.bias.data, weightScale: kept.scale.data, weightCodes: oihw(codes), weightCodesHwio: codes.data,
    inputCodes: nchw(inputCodes),
    dx: nchw(gradients[0]), dxNhwc: gradients[0].data, dw: oihw(gradients[1]), dwHwio: gradients[1].data, dGamma: gradients[2].data, dBeta: gradients[3].data,
    newMean: kept.next.mean.data, newVar: kept.next.variance.data,
  }
}

runGoldens('qat-step', { qatTrain: train, qatConvert: convert, qatConvBn: convBn })

import { referenceOps, type Granularity, type ReferenceTensor } from '@lowbit/core'
import { inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenHandler, type GoldenSet } from '../../../tools/goldens.js'
import {
  binaryConnectQuantize,
  clipToUnit,
  dampeningLoss,
  dorefaActivation,
  dorefaBinaryWeight,
  dorefaWeight,
  fakeQuantizeAffine,
  fakeQuantizeLearnable,
  lsqPaperScales,
  lsqPlusQuantize,
  lsqPlusWeightScales,
  lsqQuantize,
  oscillationStep,
  pactPenalty,
  pactQuantize,
  startOscillation,
  ste,
  ttqCodes,
  ttqQuantize,
  usedCodes,
  xnorQuantize,
  xnorScales,
  type ScaleRule,
} from '../src/index.js'

const { ops, vjp } = referenceOps()

const input = (set: GoldenSet, c: GoldenCase, role: string): ReferenceTensor => {
  const t = inputTensor(set, c, role)
  return ops.constant(Float32Array.from(t.data as ArrayLike<number>), t.shape)
}
const number = (c: GoldenCase, name: string): number => {
  const value = c.params[name]
  if (typeof value !== 'number') throw new Error(`${c.id}: param '${name}' is ${JSON.stringify(value)}`)
  return value
}
const range = (c: GoldenCase): { min: number; max: number } => ({ min: number(c, 'qmin'), max: number(c, 'qmax') })
const groups = (size: unknown): Granularity => (typeof size === 'number' ? { kind: 'group', axis: 1, size } : { kind: 'tensor' })
const unused = { read: (): never => { throw new Error('no variables') }, write: (): never => { throw new Error('no variables') }, step: 0, training: true }
/** `f` with its gradients, where the case has a dy. */
const run = (set: GoldenSet, c: GoldenCase, f: (leaves: readonly ReferenceTensor[]) => ReferenceTensor, ...leaves: ReferenceTensor[]) => vjp(f, leaves, input(set, c, 'dy'))

const affine: GoldenHandler = (c, set) => {
  const axis = c.params['axis']
  const x = input(set, c, 'x')
  const spread = (t: ReferenceTensor): ReferenceTensor => ops.reshape(t, x.shape.map((size, a) => (a === axis ? size : 1)))
  const params = typeof axis === 'number' ? { scale: spread(input(set, c, 'scale')), zeroPoint: spread(input(set, c, 'zeroPoint')) } : { scale: ops.constant(number(c, 'scale')), zeroPoint: ops.constant(number(c, 'zeroPoint')) }
  const { y, gradients } = run(set, c, ([v]) => fakeQuantizeAffine(ops, v, params, range(c)), x)
  return { y: y.data, dx: gradients[0].data }
}

const learnable: GoldenHandler = (c, set) => {
  const axis = c.params['axis']
  const granularity: Granularity = typeof axis === 'number' ? { kind: 'channel', axis } : { kind: 'tensor' }
  const [scale, zeroPoint] = ['scale', 'zeroPoint'].map((role) => input(set, c, role))
  const shaped = (t: ReferenceTensor): ReferenceTensor => (typeof axis === 'number' ? t : ops.reshape(t, []))
  const { y, gradients } = run(set, c, ([x, s, z]) => fakeQuantizeLearnable(ops, x, s, z, { range: range(c), granularity, gradientFactor: number(c, 'gradFactor') }), input(set, c, 'x'), shaped(scale), shaped(zeroPoint))
  return { y: y.data, dx: gradients[0].data, dScale: gradients[1].data, dZeroPoint: gradients[2].data }
}

const token: GoldenHandler = (c, set) => {
  const x = input(set, c, 'x')
  const fakeQuant = ste({ epsilon: number(c, 'eps') }).fakeQuant({ scheme: { dtype: 'int8', granularity: { kind: 'token' }, symmetric: false }, shape: [null, x.shape[1]], role: 'activation' })
  const { y, gradients } = run(set, c, ([v]) => fakeQuant.forward(ops, v, unused), x)
  const { codes, scales, zeroPoints } = fakeQuant.quantize(ops, x, unused)
  return { y: y.data, dx: gradients[0].data, codes: codes.data, scale: scales.data, zeroPoint: zeroPoints?.data ?? [] }
}

const group: GoldenHandler = (c, set) => {
  const w = input(set, c, 'w')
  const rules: Record<string, ScaleRule> = { '(qmax - qmin) / 2': 'half-range', 'no-clipping': 'no-clipping' }
  const rule = rules[String(c.params['divisor'])]
  if (rule === undefined) throw new Error(`${c.id}: divisor ${String(c.params['divisor'])}`)
  const bits = number(c, 'bits')
  if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8) throw new Error(`${c.id}: ${bits} bits`)
  const fakeQuant = ste({ rule, epsilon: number(c, 'eps') }).fakeQuant({ scheme: { dtype: `int${bits}`, granularity: groups(c.params['groupSize']), symmetric: true }, shape: w.shape, role: 'weight' })
  const { y, gradients } = run(set, c, ([v]) => fakeQuant.forward(ops, v, unused), w)
  const { codes, scales } = fakeQuant.quantize(ops, w, unused)
  return { y: y.data, dw: gradients[0].data, codes: codes.data, scale: scales.data }
}

const lsqCase: GoldenHandler = (c, set) => {
  const v = input(set, c, 'v')
  const granularity = groups(c.params['groupSize'])
  const scale = input(set, c, 'scale')
  const options = { range: range(c), granularity }
  const shaped = granularity.kind === 'tensor' ? ops.reshape(scale, []) : ops.reshape(scale, [v.shape[0], scale.data.length / v.shape[0]])
  const { y, gradients } = run(set, c, ([x, s]) => lsqQuantize(ops, x, s, options), v, shaped)
  return { y: y.data, dv: gradients[0].data, dScale: gradients[1].data, initialScale: lsqPaperScales(inputFloats(set, c, 'v'), v.shape, granularity, options.range) }
}

const lsqPlusCase: GoldenHandler = (c, set) => {
  const options = { range: range(c), granularity: { kind: 'tensor' } as const, gradientScale: number(c, 'gradScale'), offsetGradientScale: number(c, 'betaGradScale') }
  const { y, gradients } = run(set, c, ([x, s, b]) => lsqPlusQuantize(ops, x, s, b, options), input(set, c, 'x'), ops.constant(number(c, 'scale')), ops.constant(number(c, 'offset')))
  return { y: y.data, dx: gradients[0].data, dScale: gradients[1].data, dOffset: gradients[2].data }
}

const pactCase: GoldenHandler = (c, set) => {
  const x = input(set, c, 'x')
  const levels = 2 ** number(c, 'bits') - 1
  const alpha = ops.constant(number(c, 'alpha'))
  const { y, gradients } = run(set, c, ([v, a]) => pactQuantize(ops, v, a, levels), x, alpha)
  const penalty = vjp(([a]) => pactPenalty(ops, a, number(c, 'alphaDecay')), [alpha], ops.constant(1))
  return { y: y.data, dx: gradients[0].data, dAlpha: gradients[1].data, dAlphaWithDecay: [gradients[1].data[0] + penalty.gradients[0].data[0]] }
}

const dorefaWeightCase: GoldenHandler = (c, set) => {
  const w = input(set, c, 'w')
  const bits = number(c, 'bits')
  if (bits === 1) {
    const { y, gradients } = run(set, c, ([v]) => dorefaBinaryWeight(ops, v), w)
    return { y: y.data, dw: gradients[0].data }
  }
  const through = run(set, c, ([v]) => dorefaWeight(ops, v, bits), w)
  const constant = run(set, c, ([v]) => dorefaWeight(ops, v, bits, { maximum: 'constant' }), w)
  const levels = 2 ** bits - 1
  return { y: through.y.data, dw: through.gradients[0].data, dwMaxConstant: constant.gradients[0].data, codes: Array.from(through.y.data, (v) => Math.round(((v + 1) * levels) / 2)) }
}

const dorefaActivationCase: GoldenHandler = (c, set) => {
  const { y, gradients } = run(set, c, ([x]) => dorefaActivation(ops, x, number(c, 'bits')), input(set, c, 'x'))
  return { y: y.data, dx: gradients[0].data }
}

const ttqCase: GoldenHandler = (c, set) => {
  const w = input(set, c, 'w')
  const threshold = number(c, 'threshold')
  const { y, gradients } = run(set, c, ([v, p, n]) => ttqQuantize(ops, v, p, n, threshold), w, ops.constant(number(c, 'wp')), ops.constant(number(c, 'wn')))
  return { y: y.data, codes: ttqCodes(ops, w, threshold).data, dw: gradients[0].data, dWp: gradients[1].data, dWn: gradients[2].data }
}

const binaryConnectCase: GoldenHandler = (c, set) => {
  const w = input(set, c, 'w')
  const { y, gradients } = run(set, c, ([v]) => binaryConnectQuantize(ops, v), w)
  return { y: y.data, dw: gradients[0].data, clipped: clipToUnit(ops, w).data }
}

const xnorCase: GoldenHandler = (c, set) => {
  const w = input(set, c, 'w')
  const granularity = { kind: 'channel', axis: 0 } as const
  const by = (gradient: 'chain-rule' | 'paper' | 'alpha-constant') => run(set, c, ([v]) => xnorQuantize(ops, v, granularity, gradient), w)
  const chain = by('chain-rule')
  return { y: chain.y.data, alpha: xnorScales(ops, w, granularity).data, dw: chain.gradients[0].data, dwPaper: by('paper').gradients[0].data, dwAlphaConstant: by('alpha-constant').gradients[0].data }
}

/** In double precision, as the recorded means are. */
const oscillationCase: GoldenHandler = (c, set) => {
  const exact = referenceOps({ precision: 'float64' }).ops
  const integers = inputTensor(set, c, 'integers')
  const [steps, width] = integers.shape
  const options = { momentum: number(c, 'momentum'), threshold: number(c, 'threshold') }
  const results = { used: [] as number[], frequency: [] as number[], frozen: [] as number[] }
  const row = (t: number): ReferenceTensor => ({ shape: [width], data: Float64Array.from({ length: width }, (_, i) => Number(integers.data[t * width + i])) })
  let track = startOscillation(exact, row(0))
  for (let t = 0; t < steps; t++) {
    results.used.push(...usedCodes(exact, row(t), track).data)
    track = oscillationStep(exact, row(t), track, options)
    results.frequency.push(...track.frequency.data)
    results.frozen.push(...track.frozen.data)
  }
  return results
}

const dampeningCase: GoldenHandler = (c, set) => {
  const w = input(set, c, 'w')
  const scale = number(c, 'scale')
  const { min, max } = range(c)
  const quantized = fakeQuantizeAffine(ops, w, { scale: ops.constant(scale) }, { min, max })
  const { y, gradients } = vjp(([v]) => dampeningLoss(ops, v, quantized, ops.constant(min * scale), ops.constant(max * scale), number(c, 'lambda_')), [w], ops.constant(1))
  return { loss: y.data, dw: gradients[0].data }
}

runGoldens('fake-quant', {
  fakeQuantizeTensor: affine,
  fakeQuantizeChannel: affine,
  fakeQuantizeLearnable: learnable,
  fakeQuantizeToken: token,
  fakeQuantizeGroup: group,
  lsq: lsqCase,
  lsqPlus: lsqPlusCase,
  lsqPlusWeightInit: (c, set) => {
    const w = input(set, c, 'w')
    return { scale: lsqPlusWeightScales(inputFloats(set, c, 'w'), w.shape, { kind: 'tensor' }, number(c, 'bits')) }
  },
  pact: pactCase,
  dorefaWeight: dorefaWeightCase,
  dorefaActivation: dorefaActivationCase,
  ttq: ttqCase,
  binaryConnect: binaryConnectCase,
  xnorWeight: xnorCase,
  oscillation: oscillationCase,
  dampeningLoss: dampeningCase,
})

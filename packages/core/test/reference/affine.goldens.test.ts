import { expect } from 'vitest'
import type { Codes } from '../../src/qtensor.js'
import * as reference from '../../src/reference/index.js'
import { isIntegerCode, type Granularity, type IntegerCode } from '../../src/scheme.js'
import { tensor, type HostTensor } from '../../src/tensor.js'
import { packNibbles } from '../../src/layout/bits.js'
import { exactly, goldenNumbers, inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenSet } from '../../../../tools/goldens.js'

function dtypeOf(golden: GoldenCase): IntegerCode {
  const name = String(golden.params['dtype'])
  if (name !== 'float8e4m3fn' && isIntegerCode(name as IntegerCode)) return name as IntegerCode
  throw new Error(`no integer type ${name}`)
}

function granularityOf(golden: GoldenCase, rank: number): Granularity {
  const { granularity, axis, blockSize, block_size: size } = golden.params
  const positive = (Number(axis) + rank) % rank
  if (granularity === 'tensor') return { kind: 'tensor' }
  return granularity === 'channel' ? { kind: 'channel', axis: positive } : { kind: 'group', axis: positive, size: Number(blockSize ?? size) }
}

function inputHost(golden: GoldenCase, set: GoldenSet): HostTensor {
  const { data, shape } = inputTensor(set, golden, 'x')
  if (data instanceof Float32Array) return tensor('float32', shape, data)
  if (data instanceof Uint16Array) return tensor('float16', shape, data)
  throw new Error(`${golden.id}: x is neither float32 nor float16`)
}

function quantize(golden: GoldenCase, set: GoldenSet) {
  const { params } = golden
  const x = inputHost(golden, set)
  const range = params['rminOverride'] === undefined ? {} : { range: { min: Number(params['rminOverride']), max: Number(params['rmaxOverride']) } }
  const minRealRange = typeof params['minRealRange'] === 'number' ? { minRealRange: params['minRealRange'] } : {}
  const dtype = dtypeOf(golden)
  const q = reference.quantizeAffine(x, dtype, granularityOf(golden, x.shape.length), { symmetric: params['symmetric'] === true, reduceRange: params['reduceRange'] === true, ...range, ...minRealRange })
  return { codes: q.codes, scale: q.scales, zeroPoint: q.zeroPoints, scaleF64: q.exactScales, packed: dtype.endsWith('4') ? packNibbles(q.codes) : [] }
}

function float8(golden: GoldenCase, set: GoldenSet) {
  const x = inputFloats(set, golden, 'x')
  const stored = goldenNumbers(set.tensor(golden.outputs['scale'] ?? ''))[0] ?? NaN
  return { scale: reference.float8Scale(x), codes: exactly(reference.quantizeFloat8(x, stored)) }
}

function qdq(golden: GoldenCase, set: GoldenSet) {
  const x = inputHost(golden, set)
  const granularity = granularityOf(golden, x.shape.length)
  const scales = inputFloats(set, golden, 'scale')
  const zeroPoints = goldenNumbers(inputTensor(set, golden, 'zeroPoint'))
  const codes: Codes = reference.quantizeLinear(x, scales, zeroPoints, dtypeOf(golden), granularity)
  return { codes, y: reference.dequantizeLinear(codes, x.shape, scales, zeroPoints, granularity) }
}

function dynamic(golden: GoldenCase, set: GoldenSet) {
  const { codes, scale, zeroPoint } = reference.dynamicQuantizeLinear(inputFloats(set, golden, 'x'))
  return { codes, scale, zeroPoint }
}

function bias(golden: GoldenCase, set: GoldenSet) {
  const q = reference.quantizeBias(inputFloats(set, golden, 'bias'), inputFloats(set, golden, 'inputScale')[0] ?? NaN, inputFloats(set, golden, 'weightScale'), Number(golden.params['beta']))
  return { scale: q.scales, codes: q.codes }
}

function weightScale(golden: GoldenCase, set: GoldenSet) {
  const old = inputFloats(set, golden, 'weightScale')
  const newWeightScale = reference.weightScalesForInt32Bias(inputFloats(set, golden, 'bias'), inputFloats(set, golden, 'inputScale')[0] ?? NaN, old)
  expect(newWeightScale.some((scale, n) => scale !== old[n])).toBe(golden.params['adjusted'])
  return { newWeightScale }
}

function snap(golden: GoldenCase) {
  const number = (name: string): number => Number(golden.params[name])
  const minimum = golden.params['minRealRange']
  const { scale, zeroPoint } = reference.snappedParams(number('rmin'), number('rmax'), { min: number('qmin'), max: number('qmax') }, typeof minimum === 'number' ? minimum : undefined)
  return { scale, zeroPoint }
}

function kindOf({ params }: GoldenCase): string {
  if (typeof params['kind'] === 'string') return params['kind']
  return params['dtype'] === 'float8e4m3fn' ? 'float8' : String(params['granularity'])
}

runGoldens('affine', { tensor: quantize, channel: quantize, block: quantize, float8, qdq, dynamic, bias, weightScaleForInt32Bias: weightScale, snapZeroPoint: snap }, { kindOf })


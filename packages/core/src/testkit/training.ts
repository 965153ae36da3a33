import type { Differentiator, FakeQuantSpec, FakeQuantState, TrainingAlgorithm } from '../contract/v2/training.js'
import { isLowbitError } from '../errors.js'
import { paramShape } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { codeRange, describeScheme } from '../scheme.js'
import { convertWeight } from '../training/convert.js'
import { holdVariables } from '../training/variables.js'
import { check, type TestRunner } from './runner.js'

export interface TrainingSuiteCase {
  readonly spec: FakeQuantSpec
  /** Values to be quantized, in a shape the spec allows; sizes that are `null` in the spec are taken from `shape`. */
  readonly shape: readonly number[]
  /** Values lie in this range. Default -1 to 1. */
  readonly from?: number
  readonly to?: number
  /** Converting throws LOWBIT_UNSUPPORTED, because no scheme can say what the estimator computes. */
  readonly notConvertible?: boolean
}

function values(count: number, from: number, to: number): Float32Array {
  let state = 20_071
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    // The square root of the distance: more values near the ends, so that some of them clip.
    const u = (state + 0.5) / 2 ** 31 - 1
    return (from + to) / 2 + ((to - from) / 2) * Math.sign(u) * Math.abs(u) ** 0.7
  })
}

/**
 * What every training algorithm must keep, on any backend: finite values and gradients in the right shapes, no writes outside a
 * training step, and prepare = convert to the last bit.
 */
export function trainingSuite<T>(runner: TestRunner, name: string, factory: () => TrainingAlgorithm, cases: readonly TrainingSuiteCase[], backendFactory: () => Differentiator<T> | Promise<Differentiator<T>>): void {
  runner.describe(`${name}: training algorithm`, () => {
    runner.it('is a plugin whose configuration is JSON', () => {
      const plugin = factory()
      check(plugin.kind === 'training' && plugin.apiVersion === 2, `kind ${plugin.kind}, apiVersion ${plugin.apiVersion}`)
      check(/^@?[\w./-]+$/.test(plugin.name) && /^\d+\.\d+\.\d+/.test(plugin.version), `name '${plugin.name}', version '${plugin.version}'`)
      const again: unknown = JSON.parse(JSON.stringify(plugin.config))
      check(JSON.stringify(again) === JSON.stringify(plugin.config), 'the configuration does not survive JSON')
    })
    runner.it('refuses codes that are not integers by name', () => {
      let refused = false
      try {
        factory().fakeQuant({ scheme: { dtype: 'nf4', granularity: { kind: 'tensor' }, symmetric: true }, shape: [4, 4], role: 'weight' })
      } catch (error) {
        refused = isLowbitError(error, 'LOWBIT_UNSUPPORTED')
      }
      check(refused, 'nf4 weights were accepted, or refused with another error than LOWBIT_UNSUPPORTED')
    })
    for (const c of cases) {
      runner.it(`${c.spec.role} [${c.shape.join(', ')}] in ${describeScheme(c.spec.scheme)}`, async () => {
        const backend = await backendFactory()
        const { ops, read } = backend
        const data = values(c.shape.reduce((a, b) => a * b, 1), c.from ?? -1, c.to ?? 1)
        const x = ops.constant(data, c.shape)
        const fakeQuant = factory().fakeQuant(c.spec)
        const held = holdVariables(ops, fakeQuant, c.spec.role === 'weight' ? data : undefined)
        check(new Set(held.definitions.map((v) => v.name)).size === held.definitions.length, 'two variables have one name')
        for (const v of held.definitions) {
          check(v.initial.length === v.shape.reduce((a, b) => a * b, 1), `variable '${v.name}' has ${v.initial.length} values for shape [${v.shape.join(', ')}]`)
          check(v.initial.every((n) => Number.isFinite(n)), `variable '${v.name}' does not start finite`)
        }

        const trainable = held.definitions.filter((v) => v.trainable)
        const { y, gradients } = backend.vjp(
          ([v, ...rest]) => fakeQuant.forward(ops, v, held.state(0, true, Object.fromEntries(rest.map((t, i) => [trainable[i].name, t])))),
          [x, ...trainable.map((v) => held.get(v.name))],
          ops.constant(values(data.length, -1, 1), c.shape),
        )
        check(ops.shape(y).join() === c.shape.join(), `forward gives shape [${ops.shape(y).join(', ')}]`)
        check((await read(y)).every((n) => Number.isFinite(n)), 'forward gives values that are not finite')
        for (let i = 0; i < gradients.length; i++) {
          check((await read(gradients[i])).every((n) => Number.isFinite(n)), `gradient ${i} is not finite`)
        }

        const frozen: FakeQuantState<T> = {
          read: (variable) => held.get(variable),
          write: (variable) => check(false, `'${variable}' is written outside a training step`),
          step: 1,
          training: false,
        }
        const prepared = await read(fakeQuant.forward(ops, x, frozen))
        if (fakeQuant.penalty !== undefined) check(Number.isFinite((await read(fakeQuant.penalty(ops, x, frozen)))[0]), 'the penalty is not finite')
        if (c.notConvertible === true) {
          let refused = false
          try {
            fakeQuant.quantize(ops, x, frozen)
          } catch (error) {
            refused = isLowbitError(error, 'LOWBIT_UNSUPPORTED')
          }
          check(refused, 'quantize was expected to throw LOWBIT_UNSUPPORTED')
          return
        }
        const converted = c.spec.role === 'weight' ? dequantize(await convertWeight(backend, fakeQuant, x, frozen)).data : await dequantizeActivation(backend, fakeQuant, c, x, frozen)
        check(converted.length === prepared.length, `conversion gives ${converted.length} values, the prepared model ${prepared.length}`)
        for (let i = 0; i < prepared.length; i++) {
          check(prepared[i] === converted[i], `prepare is not convert: element ${i} is ${prepared[i]} in the prepared model, ${converted[i]} converted`)
        }
        if (c.spec.role === 'activation') await checkRule(backend, fakeQuant, x, frozen, held.definitions.map((v) => v.name))
      })
    }
  })
}

async function dequantizeActivation<T>(backend: Differentiator<T>, fakeQuant: ReturnType<TrainingAlgorithm['fakeQuant']>, c: TrainingSuiteCase, x: T, state: FakeQuantState<T>): Promise<Float32Array> {
  const rounded = fakeQuant.quantize(backend.ops, x, state)
  const codes = await backend.read(rounded.codes)
  const scales = await backend.read(rounded.scales)
  const zeroPoints = rounded.zeroPoints === undefined ? undefined : await backend.read(rounded.zeroPoints)
  const { granularity, dtype } = fakeQuant.scheme
  const granules = granularity.kind === 'token' ? codes.length / c.shape[c.shape.length - 1] : paramShape(granularity, c.shape).reduce((a, b) => a * b, 1)
  check(scales.length === granules, `${scales.length} scales, expected ${granules}`)
  const { min, max } = codeRange(dtype)
  const per = codes.length / granules
  return codes.map((code, i) => {
    check(Number.isInteger(code) && code >= min && code <= max, `code ${code} is not a whole number from ${min} to ${max}`)
    const granule = Math.floor(i / per)
    return Math.fround(Math.fround(code - (zeroPoints?.[granule] ?? 0)) * scales[granule])
  })
}

/** The rule that the deployed model gets must say what `quantize` did. */
async function checkRule<T>(backend: Differentiator<T>, fakeQuant: ReturnType<TrainingAlgorithm['fakeQuant']>, x: T, state: FakeQuantState<T>, names: readonly string[]): Promise<void> {
  check(fakeQuant.activation !== undefined, 'an activation must have a rule for the deployed model')
  const variables = new Map<string, Float32Array>()
  for (const variable of names) variables.set(variable, await backend.read(state.read(variable)))
  const rule = fakeQuant.activation((variable) => variables.get(variable) ?? new Float32Array())
  if (rule.kind === 'dynamic') return
  const rounded = fakeQuant.quantize(backend.ops, x, state)
  const scale = (await backend.read(rounded.scales))[0]
  const zeroPoint = rounded.zeroPoints === undefined ? 0 : (await backend.read(rounded.zeroPoints))[0]
  check(Math.abs(rule.scale - scale) <= 1e-6 * scale && rule.zeroPoint === zeroPoint, `the rule has scale ${rule.scale}, zero point ${rule.zeroPoint}; quantize used ${scale}, ${zeroPoint}`)
}

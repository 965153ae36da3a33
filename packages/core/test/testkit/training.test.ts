import { describe, expect, it } from 'vitest'
import type { Differentiator, FakeQuant, Ops, TrainingAlgorithm } from '../../src/contract/v2/training.js'
import { LowbitError } from '../../src/errors.js'
import { referenceOps, type ReferenceTensor } from '../../src/reference/ops.js'
import { int8 } from '../../src/weight-scheme.js'
import { opsSuite } from '../../src/testkit/ops.js'
import { trainingSuite } from '../../src/testkit/training.js'

/** Runs a suite and gives the tests that failed, with what they said. */
async function failures(suite: (runner: { describe(name: string, body: () => void): void; it(name: string, body: () => void | Promise<void>): void }) => void): Promise<Map<string, string>> {
  const tests: [string, () => void | Promise<void>][] = []
  suite({ describe: (_, body) => body(), it: (name, body) => tests.push([name, body]) })
  const failed = new Map<string, string>()
  for (const [name, body] of tests) {
    try {
      await body()
    } catch (error) {
      failed.set(name, error instanceof Error ? error.message : String(error))
    }
  }
  return failed
}

const SCHEME = int8({ perTensor: true })

function rounding(change: Partial<FakeQuant>): TrainingAlgorithm {
  const scale = <T>(ops: Ops<T>): T => ops.constant(0.25)
  const honest: FakeQuant = {
    scheme: SCHEME,
    variables: () => [],
    forward: (ops, x) => ops.custom([x], ([v]) => ({ output: ops.mul(ops.rint(ops.div(v, scale(ops))), scale(ops)), saved: [] }), (dy) => [dy]),
    quantize: (ops, x) => ({ codes: ops.rint(ops.div(x, scale(ops))), scales: scale(ops) }),
  }
  return {
    kind: 'training', name: '@lowbit/core/rounding', version: '1.0.0', apiVersion: 2, config: {},
    fakeQuant(spec) {
      if (spec.scheme.dtype !== 'int8') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'rounding', found: spec.scheme.dtype, expected: 'int8' })
      return { ...honest, ...change }
    },
  }
}
const run = (algorithm: TrainingAlgorithm): Promise<Map<string, string>> =>
  failures((runner) => trainingSuite(runner, 'test', () => algorithm, [{ spec: { scheme: SCHEME, shape: [3, 4], role: 'weight' }, shape: [3, 4] }], () => referenceOps()))

describe('trainingSuite', () => {
  it('passes an honest algorithm', async () => {
    expect(await run(rounding({}))).toEqual(new Map())
  })

  it('catches an algorithm that converts what it did not train with', async () => {
    const [message] = (await run(rounding({ quantize: (ops, x) => ({ codes: ops.rint(ops.div(x, ops.constant(0.26))), scales: ops.constant(0.25) }) }))).values()
    expect(message).toMatch(/prepare is not convert/)
  })

  it('catches writes outside training, gradients that are not finite, and two variables of one name', async () => {
    const variable = { name: 'a', shape: [], initial: new Float32Array(1), trainable: false }
    const writes = await run(rounding({ variables: () => [variable], forward: (ops, x, state) => { state.write('a', ops.constant(1)); return x } }))
    expect([...writes.values()].join()).toMatch(/'a' is written outside a training step/)
    const infinite = await run(rounding({ forward: (ops, x) => ops.custom([x], ([v]) => ({ output: v, saved: [] }), (dy) => [ops.div(dy, ops.constant(0))]) }))
    expect([...infinite.values()].join()).toMatch(/gradient 0 is not finite/)
    expect([...(await run(rounding({ variables: () => [variable, variable] }))).values()].join()).toMatch(/two variables have one name/)
  })

  it('catches a plugin that takes everything', async () => {
    expect([...(await run({ ...rounding({}), fakeQuant: () => rounding({}).fakeQuant({ scheme: SCHEME, shape: [1], role: 'weight' }) })).keys()]).toContain('refuses codes that are not integers by name')
  })
})

describe('opsSuite', () => {
  const broken = (change: (ops: Ops<ReferenceTensor>) => Partial<Ops<ReferenceTensor>>): Differentiator<ReferenceTensor> => {
    const backend = referenceOps()
    return { ...backend, ops: { ...backend.ops, ...change(backend.ops) } }
  }
  const run = (backend: Differentiator<ReferenceTensor>): Promise<Map<string, string>> => failures((runner) => opsSuite(runner, 'test', () => backend))

  it('passes the reference and catches a value, a gradient, a tie and a reciprocal that are wrong', async () => {
    expect((await run(referenceOps())).size).toBe(0)
    expect([...(await run(broken((ops) => ({ tanh: (x) => ops.mul(ops.tanh(x), ops.constant(1.001)) })))).keys()]).toEqual(['tanh', 'a value used twice'])
    expect((await run(broken((ops) => ({ exp: (x) => ops.stopGradient(ops.exp(x)) })))).get('exp')).toMatch(/gradient 0/)
    const half = broken((ops) => ({ rint: (x) => ops.sub(ops.rint(ops.add(x, ops.constant(0.001))), ops.constant(0)) }))
    expect([...(await run(half)).keys()]).toContain('rint rounds halves to even')
    expect([...(await run(broken((ops) => ({ div: (a, b) => ops.mul(a, ops.div(ops.constant(1), b)) })))).keys()]).toContain('div is a true division')
  })
})

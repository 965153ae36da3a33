import { describe, expect, it } from 'vitest'
import { int4, rtn, sensitivity, tune, type ModelHost } from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'

const schemes = [int4({ group: 8 })]
const measured = (options: object): Promise<unknown> => sensitivity(toyHost(), { schemes, calibration: toyBatches(), ...options })

const rung = { name: 'int4', options: { weights: int4() } }
/** Nothing may be opened for options that are refused. */
const unopened = (): Promise<ModelHost> => Promise.reject(new Error('opened'))
const tuned = (options: object): Promise<unknown> => tune(unopened, { ladder: [rung], metric: () => Promise.resolve(0), tolerance: 1, ...options })

/** What someone without types may write: where it is refused, and what the message says. */
const WRONG: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
  ['a misspelt key of sensitivity', () => measured({ mesure: 'weight' }), /sensitivity\(\{ mesure \}\).*did you mean measure/s],
  ['no schemes', () => measured({ schemes: undefined }), /sensitivity\(\{ schemes \}\).*nothing/s],
  ['a scheme by name', () => measured({ schemes: ['int4'] }), /sensitivity\(\{ schemes\[0\] \}\)/],
  ['a builder that was not called', () => measured({ schemes: [int4] }), /sensitivity\(\{ schemes\[0\] \}\).*int4/s],
  ['an unknown measure', () => measured({ measure: 'hesian' }), /did you mean hessian/],
  ['no probes', () => measured({ measure: 'hessian', probes: 0 }), /sensitivity\(\{ probes \}\).*at least 1/s],
  ['probes that nothing uses', () => measured({ probes: 8 }), /sensitivity\(\{ probes \}\).*does nothing with measure model/s],
  ['a pattern in place of a function', () => measured({ include: 'block*' }), /sensitivity\(\{ include \}\).*a function/s],
  ['an algorithm that was not called', () => measured({ rounding: rtn }), /sensitivity\(\{ rounding \}\).*call it: rtn\(\)/s],
  ['a seed below 0', () => measured({ seed: -1 }), /sensitivity\(\{ seed \}\).*at least 0/s],
  ['a misspelt key of tune', () => tuned({ maxfloats: 2 }), /tune\(\{ maxfloats \}\).*did you mean maxFloat/s],
  ['no metric', () => tuned({ metric: undefined }), /tune\(\{ metric \}\).*a function/s],
  ['a tolerance that is text', () => tuned({ tolerance: '1%' }), /tune\(\{ tolerance \}\).*a number/s],
  ['a tolerance that is no number', () => tuned({ tolerance: Number.NaN }), /tune\(\{ tolerance \}\)/],
  ['fewer than no sites in float', () => tuned({ maxFloat: -1 }), /tune\(\{ maxFloat \}\).*at least 0/s],
  ['a rung without a name', () => tuned({ ladder: [{ options: rung.options }] }), /tune\(\{ ladder\[0\]\.name \}\)/],
  ['a misspelt key of a rung', () => tuned({ ladder: [rung, { name: 'b', options: { weights: int4(), roundng: rtn() } }] }), /tune\(\{ ladder\[1\]\.options\.roundng \}\).*did you mean rounding/s],
]

describe('options of searches', () => {
  it.each(WRONG)('%s is refused', async (_, run, message) => {
    await expect(run()).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(run()).rejects.toThrow(message)
  })
})

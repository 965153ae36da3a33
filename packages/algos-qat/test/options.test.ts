import { describe, expect, it } from 'vitest'
import { isLowbitError } from '@lowbit/core'
import { distillation, dorefa, int8DynamicInt4Weights, intWeights, lsq, pact, stabilize, ste, ternary, ttq, withDampening, withOscillation, xnor } from '@lowbit/algos-qat'

/** What someone without types may write: where it is refused, and what the message says. */
const WRONG: readonly (readonly [string, () => unknown, RegExp])[] = [
  ['a misspelt key of ste', () => ste({ epsilom: 1e-6 } as never), /ste\(\{ epsilom \}\).*did you mean epsilon/s],
  ['an unknown rule', () => ste({ rule: 'halfrange' } as never), /ste\(\{ rule \}\).*did you mean half-range/s],
  ['a momentum above 1', () => ste({ momentum: 2 }), /ste\(\{ momentum \}\).*at most 1/s],
  ['a floor of 0', () => ste({ epsilon: 0 }), /ste\(\{ epsilon \}\).*above 0/s],
  ['a misspelt key of lsq', () => lsq({ observSteps: 2 } as never), /did you mean observeSteps/],
  ['half a step', () => lsq({ observeSteps: 0.5 }), /lsq\(\{ observeSteps \}\).*a whole number/s],
  ['a misspelt key of dorefa', () => dorefa({ maximun: 'constant' } as never), /did you mean maximum/],
  ['a clipping level below 0', () => pact({ alpha: -1 }), /pact\(\{ alpha \}\).*above 0/s],
  ['a decay that is text', () => pact({ decay: '0.1' } as never), /pact\(\{ decay \}\).*a number/s],
  ['a threshold that leaves nothing', () => ttq({ threshold: 1 }), /ttq\(\{ threshold \}\).*below 1/s],
  ['a flag that is a number', () => ttq({ tied: 1 } as never), /ttq\(\{ tied \}\).*true or false/s],
  ['a threshold below 0', () => ternary({ threshold: -0.1 }), /ternary\(\{ threshold \}\).*at least 0/s],
  ['an unknown gradient', () => xnor({ gradient: 'chainrule' } as never), /did you mean chain-rule/],
  ['half an anneal', () => withDampening(lsq(), { lambda: { from: 0, to: 1 } } as never), /withDampening\(\{ lambda\.steps \}\)/],
  ['freeze: true', () => withOscillation(lsq(), { freeze: true } as never), /withOscillation\(\{ freeze \}\)/],
  ['a misspelt remedy', () => stabilize(intWeights(4), { dampning: {} } as never), /did you mean dampening/],
  ['a misspelt key of a remedy', () => stabilize(intWeights(4), { oscillation: { momentun: 0.1 } } as never), /stabilize\(\{ oscillation\.momentun \}\).*did you mean momentum/s],
  ['a temperature of 0', () => distillation({ temperature: 0 }), /distillation\(\{ temperature \}\).*above 0/s],
  ['a misspelt key of a recipe', () => int8DynamicInt4Weights({ groups: 32 } as never), /int8DynamicInt4Weights\(\{ groups \}\).*did you mean group/s],
  ['a group of 0', () => intWeights(4, { group: 0 }), /intWeights\(\{ group \}\).*at least 1/s],
  ['an estimator that was not called', () => intWeights(4, { algorithm: lsq } as never), /intWeights\(\{ algorithm \}\).*call it: lsq\(\)/s],
]

describe('options of training', () => {
  it.each(WRONG)('%s is refused', (_, make, message) => {
    let error: unknown
    try {
      make()
    } catch (thrown) {
      error = thrown
    }
    expect(isLowbitError(error, 'LOWBIT_ARGUMENT')).toBe(true)
    expect((error as Error).message).toMatch(message)
  })

  it('fills in what is not given, also where it is undefined', () => {
    expect(ste({ rule: undefined, momentum: 0.5 } as never).config).toEqual({ estimator: 'ste', rule: 'no-clipping', epsilon: 2 ** -126, momentum: 0.5 })
    expect(withOscillation(lsq(), { freeze: false }).config).toMatchObject({ momentum: 0.01, freeze: false })
    expect(withDampening(lsq()).config).toMatchObject({ lambda: { from: 0, to: 0.1, steps: 1000 } })
  })
})

import { describe, it } from 'vitest'
import { rtn } from '../../src/rounding/rtn.js'
import { int2, int4, int8, uint4, uint8, weightScheme } from '../../src/weight-scheme.js'
import { roundingSuite } from '../../src/testkit/rounding.js'

const schemes = [int4({ group: 32 }), uint4({ group: 32 }), int8(), uint8(), int2({ group: 16 }), int4({ perTensor: true }), weightScheme('ternary', { perTensor: true }), weightScheme('binary'), weightScheme('nf4', { group: 64 })]

for (const range of ['minmax', 'search', 'search-gram'] as const) {
  describe(`range ${range}`, () => roundingSuite({ runner: { describe, it }, factory: () => rtn({ range }), schemes }))
}

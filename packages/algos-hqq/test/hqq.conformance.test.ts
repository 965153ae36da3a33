import { describe, it } from 'vitest'
import { int4, uint4, uint8, weightScheme, type Scheme } from '@lowbit/core'
import { roundingSuite } from '@lowbit/core/testkit'
import { hqq } from '@lowbit/algos-hqq'

const float = (scheme: Scheme): Scheme => ({ ...scheme, zeroPoint: 'float' })

roundingSuite({
  runner: { describe, it },
  factory: () => hqq(),
  schemes: [float(uint4({ group: 32 })), float(uint4()), uint8({ group: 32 }), float(int4({ group: 16, symmetric: false }))],
  refuses: [int4({ group: 32 }), weightScheme('ternary'), weightScheme('nf4', { group: 64 })],
})

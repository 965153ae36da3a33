import { describe, it } from 'vitest'
import { fastLinAlg, referenceLinAlg } from '@lowbit/core'
import { linalgSuite } from '@lowbit/core/testkit'

for (const linalg of [referenceLinAlg, fastLinAlg]) linalgSuite({ runner: { describe, it }, factory: () => linalg })

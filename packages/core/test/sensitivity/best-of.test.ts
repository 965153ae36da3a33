import { describe, expect, it } from 'vitest'
import { bestOf, int3, rtn, uint4 } from '@lowbit/core'
import { roundingSuite, toyJob } from '@lowbit/core/testkit'

roundingSuite({ runner: { describe, it }, factory: () => bestOf([rtn({ range: 'search-gram' }), rtn()]), schemes: [int3({ group: 16 }), uint4({ group: 16 })] })

describe('bestOf', () => {
  it('keeps the result with the least output error, whatever the order', async () => {
    const { job } = toyJob({ scheme: int3({ group: 16 }) })
    const searched = rtn({ range: 'search-gram' })
    const { q, notes } = await bestOf([rtn(), searched]).round(job)
    expect(q).toEqual((await searched.round(job)).q)
    expect(notes?.['config']).toEqual({ range: 'search-gram' })
    expect((await bestOf([searched, rtn()]).round(job)).q).toEqual(q)
  })

  it('takes the first where nothing was measured', async () => {
    const { job } = toyJob({ scheme: int3({ group: 16 }), statistics: [] })
    expect((await bestOf([rtn(), rtn({ range: 'search' })]).round(job)).q).toEqual((await rtn().round(job)).q)
  })

  it('needs what its candidates need, and a Gram matrix to choose by', () => {
    expect(bestOf([rtn()]).needs(int3())).toEqual(['gram'])
    expect(() => bestOf([])).toThrow(/LOWBIT_ARGUMENT/)
  })
})

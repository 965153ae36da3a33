import { describe, expect, it } from 'vitest'
import { probeRelaxedSimd } from '../src/probe.js'
import { byteDotMismatches } from './engine/byte-dot.js'

const { relaxed } = probeRelaxedSimd()
const runs = relaxed !== 'absent' && relaxed !== 'wrong'

describe('int8 by the four-way dot product', () => {
  it.skipIf(!runs)(`gives the bits of plain TypeScript (dot product of this engine: ${relaxed}${runs ? '' : '; skipped here, run on Node 22 and 24 by engines.test.ts'})`, async () => {
    expect(await byteDotMismatches()).toEqual([])
  })
})

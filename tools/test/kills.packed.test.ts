import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KillBench, SCENARIOS } from '../soak/kills.js'

/** `npm run soak` tries every file operation; this is a taste of it. */
const KILLS = 2

const bench = new KillBench()
beforeAll(() => bench.prepare())
afterAll(() => bench.remove())

describe('a command that is killed', () => {
  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))('leaves the old files or the new ones, and the next run gives what a whole one gives: %s', async (_, scenario) => {
    const reference = await bench.reference(scenario)
    expect(reference.operations).toBeGreaterThan(10)
    // Spread over the run, the last ones too: files get their names there.
    const points = Array.from({ length: KILLS }, (_, i) => Math.round(((i + 1) * (reference.operations - 1)) / KILLS))
    for (const at of points) expect(await bench.kill(scenario, reference, at)).toEqual([])
  })
})

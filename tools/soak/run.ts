import { parseArgs } from 'node:util'
import { KillBench, SCENARIOS, type Reference, type Scenario } from './kills.js'

/**
 * `npm run soak`: kills the built command at every file operation of small runs, then at random ones until there are as many kills as
 * asked for. After each, outputs are the old ones or the new ones, whole, and the next run gives the bytes of an undisturbed one and
 * leaves nothing else behind.
 */
const { values } = parseArgs({ options: { kills: { type: 'string', default: '500' }, seed: { type: 'string', default: '1' }, only: { type: 'string' }, random: { type: 'boolean', default: false } } })
const wanted = Number(values.kills)
let state = Number(values.seed)
const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * below)
}

const bench = new KillBench()
const start = performance.now()
let kills = 0
const wrong: string[] = []
try {
  await bench.prepare()
  const all: { readonly scenario: Scenario; readonly reference: Reference }[] = []
  for (const scenario of SCENARIOS.filter(({ name }) => values.only === undefined || name.includes(values.only))) all.push({ scenario, reference: await bench.reference(scenario) })
  const attempt = async ({ scenario, reference }: (typeof all)[number], at: number): Promise<void> => {
    kills++
    const found = await bench.kill(scenario, reference, at)
    wrong.push(...found)
    for (const line of found) console.log(line)
  }
  if (!values.random) {
    for (const one of all) {
      for (let at = 1; at <= one.reference.operations; at++) await attempt(one, at)
      console.log(`${one.scenario.name}: each of ${one.reference.operations} file operations, ${wrong.length} wrong so far, ${((performance.now() - start) / 1000).toFixed(0)} s`)
    }
  }
  while (kills < wanted) {
    const one = all[random(all.length)]
    await attempt(one, 1 + random(one.reference.operations))
  }
} finally {
  bench.remove()
}
console.log(`${kills} kills, ${wrong.length} wrong, ${((performance.now() - start) / 1000).toFixed(0)} s`)
if (wrong.length > 0) process.exitCode = 1

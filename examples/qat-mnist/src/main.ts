import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { learningCurveSvg } from '@lowbit/core'
import { loadDigits } from './digits.js'
import { runSeed } from './experiment.js'
import { loadTf } from './load-tf.js'
import { Results } from './results.js'
import { rows } from './rows.js'
import { SETTINGS } from './settings.js'
import { COLUMNS, curvesOf, markdown, tableRows, type Scores } from './table.js'

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    'first-seed': { type: 'string', default: '1' },
    all: { type: 'boolean', default: false },
    only: { type: 'string' },
    cache: { type: 'string' },
    report: { type: 'string', default: fileURLToPath(new URL('../report', import.meta.url)) },
  },
})

const began = performance.now()
const tf = await loadTf()
const digits = loadDigits()
console.log(`${digits.train.count} digits to learn from, ${digits.test.count} to test with`)

const only = flags.only?.split(',')
const chosen = rows
  .map((row) => ({ ...row, during: row.during.filter(({ extra }) => flags.all || extra !== true) }))
  .filter((row) => row.during.length > 0 && (only === undefined || only.some((name) => row.title.includes(name))))
const results = await Results.open(flags.cache)
const log = (line: string): void => console.log(`${line}, ${((performance.now() - began) / 1000).toFixed(0)} s`)

const seeds: Scores[] = []
const first = Number(flags['first-seed'])
for (let seed = first; seed < first + Number(flags.seeds); seed++) seeds.push(await runSeed({ tf, digits, settings: SETTINGS, results, log }, chosen, seed))

const lines = tableRows(seeds, chosen)
const title = `Percent of the test digits, mean of ${seeds.length} seed${seeds.length === 1 ? '' : 's'}`
console.log(`\n${title}\n\n${markdown(COLUMNS, lines)}\n`)

await mkdir(flags.report, { recursive: true })
await writeFile(join(flags.report, 'curves.svg'), learningCurveSvg(curvesOf(seeds[0], chosen), { title: 'Loss while training in low precision', yLabel: 'loss (moving mean)', logarithmic: true }))
await writeFile(join(flags.report, 'table.json'), JSON.stringify({ title, columns: COLUMNS, rows: lines }, null, 2))
await writeFile(join(flags.report, 'report.md'), `# Digits in low precision\n\n${title}.\n\n${markdown(COLUMNS, lines)}\n\n![Learning curves](curves.svg)\n`)
console.log(`report: ${join(flags.report, 'report.md')}`)

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { firstLight } from './first-light.ts'
import { lmPtq } from './lm-ptq.ts'
import { lmQat } from './lm-qat.ts'
import { mergeTables } from './merge.ts'
import { ptq } from './ptq.ts'
import { smoothing } from './smoothing.ts'
import { staticInt8 } from './static.ts'
import { training } from './training.ts'
import type { EvidenceModule, EvidenceTable, Selection } from './types.ts'

/** In the order they stand in docs/evidence.md. */
const MODULES: readonly EvidenceModule[] = [firstLight, staticInt8, ...ptq, lmPtq, smoothing, ...training, lmQat]

const RESULTS = new URL('../results/', import.meta.url)
const PAGE = new URL('../../docs/evidence.md', import.meta.url)

interface Kept {
  readonly name: string
  readonly machine: string
  readonly tables: readonly EvidenceTable[]
}

/** Runs the named modules, or all, keeps their figures as JSON and writes the page from everything that is kept; `--page` does the last alone. */
async function main(args: readonly string[]): Promise<void> {
  const { values, positionals: names } = parseArgs({ args: [...args], allowPositionals: true, options: { rows: { type: 'string' }, columns: { type: 'string' }, page: { type: 'boolean' } } })
  if (values.page === true) return writeFileSync(PAGE, page())
  const chosen = names.length === 0 ? MODULES : MODULES.filter((m) => names.includes(m.name))
  if (chosen.length === 0) throw new Error(`no such evidence: ${names.join(', ')}; there is ${MODULES.map((m) => m.name).join(', ')}`)
  const selection: Selection = { row: matcher(values.rows), column: matcher(values.columns) }
  const some = values.rows !== undefined || values.columns !== undefined
  const whole = chosen.find((m) => m.partial !== true)
  if (some && whole !== undefined) throw new Error(`${whole.name} runs whole or not at all: name others with --rows and --columns`)
  mkdirSync(RESULTS, { recursive: true })
  for (const module of chosen) {
    const start = performance.now()
    const file = new URL(`evidence-${module.name}.json`, RESULTS)
    const keep = (fresh: readonly EvidenceTable[], merge: boolean): void => {
      const tables = merge && existsSync(file) ? mergeTables(fresh, readKept(file).tables) : fresh
      const kept: Kept = { name: module.name, machine: `${cpus()[0].model}, Node ${process.versions.node}`, tables }
      writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`)
    }
    keep(await module.run((line) => console.log(line), selection, (tables) => keep(tables, true)), some)
    console.log(`${module.name}: ${((performance.now() - start) / 1000).toFixed(0)} s`)
  }
  writeFileSync(PAGE, page())
}

/** `GPTQ*`, several with `;` between: `*` stands for any characters. Without a pattern everything. */
function matcher(patterns: string | undefined): (name: string) => boolean {
  if (patterns === undefined) return () => true
  const tests = patterns.split(';').map((p) => new RegExp(`^${p.trim().replace(/[\\^$+?.()[\]{}|/]/g, '\\$&').replaceAll('*', '.*')}$`))
  return (name) => tests.some((t) => t.test(name))
}

function readKept(file: URL): Kept {
  return JSON.parse(readFileSync(file, 'utf8'))
}

function page(): string {
  const kept = readdirSync(RESULTS)
    .filter((f) => f.startsWith('evidence-') && f.endsWith('.json'))
    .map((f) => readKept(new URL(f, RESULTS)))
    .sort((a, b) => order(a.name) - order(b.name))
  const parts = kept.flatMap(({ name, machine, tables }) =>
    tables.filter(({ rows }) => rows.some((row) => row.some((cell, i) => i > 0 && cell !== ''))).map((t) => `## ${t.title}\n\n${t.note}. \`npm run evidence -- ${name}\` on ${machine}.\n\n${markdown(t)}\n`),
  )
  return `# Evidence\n\nEvery figure on this page is written by \`npm run evidence\`; \`npm run evidence -- name\` renews one part, with \`--rows\` and \`--columns\` single cells of a table after calibration.\n\n${parts.join('\n')}`
}

function order(name: string): number {
  const at = MODULES.findIndex((m) => m.name === name)
  return at < 0 ? MODULES.length : at
}

/** Rows and columns without a figure are left out. */
function markdown({ columns, rows }: EvidenceTable): string {
  const filled = rows.filter((row) => row.some((cell, i) => i > 0 && cell !== ''))
  const shown = columns.map((_, i) => i).filter((i) => i === 0 || filled.some((row) => row[i] !== ''))
  const line = (cells: readonly (string | number)[]): string => `| ${shown.map((i) => String(cells[i]).replaceAll('|', '\\|')).join(' | ')} |`
  return [line(columns), line(columns.map((_, i) => (i === 0 ? '---' : '---:'))), ...filled.map(line)].join('\n')
}

await main(process.argv.slice(2))

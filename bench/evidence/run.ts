import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { firstLight } from './first-light.ts'
import { ptq } from './ptq.ts'
import { smoothing } from './smoothing.ts'
import { staticInt8 } from './static.ts'
import type { EvidenceModule, EvidenceTable } from './types.ts'

/** In the order they stand in docs/evidence.md. */
const MODULES: readonly EvidenceModule[] = [firstLight, staticInt8, ...ptq, smoothing]

const RESULTS = new URL('../results/', import.meta.url)
const PAGE = new URL('../../docs/evidence.md', import.meta.url)

interface Kept {
  readonly name: string
  readonly machine: string
  readonly tables: readonly EvidenceTable[]
}

/** Runs the named modules, or all, keeps their figures as JSON and writes the page from everything that is kept. */
async function main(names: readonly string[]): Promise<void> {
  const chosen = names.length === 0 ? MODULES : MODULES.filter((m) => names.includes(m.name))
  if (chosen.length === 0) throw new Error(`no such evidence: ${names.join(', ')}; there is ${MODULES.map((m) => m.name).join(', ')}`)
  mkdirSync(RESULTS, { recursive: true })
  for (const module of chosen) {
    const start = performance.now()
    const tables = await module.run((line) => console.log(line))
    const kept: Kept = { name: module.name, machine: `${cpus()[0].model}, Node ${process.versions.node}`, tables }
    writeFileSync(new URL(`evidence-${module.name}.json`, RESULTS), `${JSON.stringify(kept, null, 2)}\n`)
    console.log(`${module.name}: ${((performance.now() - start) / 1000).toFixed(0)} s`)
  }
  writeFileSync(PAGE, page())
}

function page(): string {
  const kept = readdirSync(RESULTS)
    .filter((f) => f.startsWith('evidence-') && f.endsWith('.json'))
    .map((f): Kept => JSON.parse(readFileSync(new URL(f, RESULTS), 'utf8')))
    .sort((a, b) => order(a.name) - order(b.name))
  const parts = kept.flatMap(({ name, machine, tables }) =>
    tables.map((t) => `## ${t.title}\n\n${t.note}. \`npm run evidence -- ${name}\` on ${machine}.\n\n${markdown(t)}\n`),
  )
  return `# Evidence\n\nEvery figure on this page is written by \`npm run evidence\`; \`npm run evidence -- name\` renews one part.\n\n${parts.join('\n')}`
}

function order(name: string): number {
  const at = MODULES.findIndex((m) => m.name === name)
  return at < 0 ? MODULES.length : at
}

function markdown({ columns, rows }: EvidenceTable): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.map((c) => String(c).replaceAll('|', '\\|')).join(' | ')} |`
  return [line(columns), line(columns.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

await main(process.argv.slice(2))

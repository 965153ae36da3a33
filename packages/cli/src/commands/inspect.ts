import type { Command } from 'commander'
import { openOnnx } from '@lowbit/backend-ort'
import { planToJson, quantize, resolveRecipe, type ModelHost } from '@lowbit/core'
import { ALGORITHMS } from '../recipes/algorithms.js'
import { QUIET_FLAGS } from '../flags/common.js'
import { addFlags, readFlags, type FlagsOf } from '../flags/flag.js'
import { formatBytes, formatPercent, inspectModel, shorten, textTable, type Inspection } from '@lowbit/report'
import { processTerminal } from '../output/terminal.js'
import { recipeFromFlags } from './recipe-from-flags.js'

interface InspectValues {
  readonly all?: boolean
  readonly plan?: boolean
  readonly json?: boolean
  readonly quiet?: boolean
}

const FLAGS: FlagsOf<InspectValues> = {
  all: { flags: '--all', option: { type: 'boolean', about: 'list every site, not only the largest' } },
  plan: { flags: '--plan', option: { type: 'boolean', about: 'print as JSON how `lowbit quantize` without other options would store every tensor' } },
  ...QUIET_FLAGS,
}

/** `lowbit inspect` */
export function inspectCommand(program: Command): void {
  const command = program.command('inspect').description('list what can be quantized in a model and what it would save').argument('<model>', 'an .onnx file')
  addFlags(command, FLAGS)
    .addHelpText('after', '\nExamples:\n  $ lowbit inspect model.onnx\n  $ lowbit inspect model.onnx --json > sites.json\n  $ lowbit inspect model.onnx --plan > plan.json')
    .action(async (model: string) => {
      const flags = readFlags<InspectValues>(command, FLAGS)
      const terminal = processTerminal({ quiet: flags.quiet === true || flags.json === true || flags.plan === true })
      const host = await openOnnx(model)
      try {
        if (flags.plan === true) return terminal.print(await planOf(host, model))
        const inspection = inspectModel(host)
        terminal.print(flags.json === true ? JSON.stringify(inspection, null, 2) : describe(model, inspection, flags.all === true))
      } finally {
        terminal.stop()
        await host.dispose()
      }
    })
}

/** The plan of the file that the command's defaults would write; nothing is written. */
async function planOf(host: ModelHost, model: string): Promise<string> {
  const recipe = recipeFromFlags(model, {}, process.cwd())
  const { plan } = await quantize(host, { ...resolveRecipe(recipe, ALGORITHMS), allowNothing: true })
  return plan === undefined ? 'null' : JSON.stringify(planToJson(plan), null, 2)
}

function describe(model: string, found: Inspection, all: boolean): string {
  const total = found.sites.reduce((sum, s) => ({ bytes: sum.bytes + s.bytes, int8: sum.int8 + s.int8, int4: sum.int4 + s.int4 }), { bytes: 0, int8: 0, int4: 0 })
  const shown = all ? found.sites : [...found.sites].sort((a, b) => b.bytes - a.bytes).slice(0, 15)
  const row = (name: string, op: string, shape: string, s: { bytes: number; int8: number; int4: number }): string[] => [name, op, shape, formatBytes(s.bytes), formatBytes(s.int8), formatBytes(s.int4)]
  const ref = (r: { name: string; dtype?: string; shape?: readonly (number | string)[] }): string => `${r.name} ${r.dtype ?? ''} [${(r.shape ?? []).join(', ')}]`
  const lines = [
    `${model}: ${formatBytes(found.bytes)}, ${found.sites.length} sites hold ${formatPercent(total.bytes / Math.max(1, found.bytes), 0)} of it`,
    `inputs   ${found.inputs.map(ref).join('; ')}`,
    `outputs  ${found.outputs.map(ref).join('; ')}`,
    '',
    textTable(
      [{ heading: 'site' }, { heading: 'op' }, { heading: 'N × K', right: true }, { heading: 'now', right: true }, { heading: 'int8', right: true }, { heading: 'int4 g32', right: true }],
      [
        ...shown.map((s) => row(shorten(s.id, 52), s.op, s.shape.join(' × '), s.tiedTo === undefined ? s : { bytes: 0, int8: 0, int4: 0 })),
        ...(shown.length < found.sites.length ? [row(`… ${found.sites.length - shown.length} smaller sites (--all)`, '', '', rest(found, shown))] : []),
        row('together', '', '', total),
      ],
    ),
  ]
  if (found.skipped.length > 0) {
    const largest = [...found.skipped].sort((a, b) => (b.bytes ?? 0) - (a.bytes ?? 0))
    lines.push('', 'Not offered:', ...largest.slice(0, all ? undefined : 10).map((s) => `  ${shorten(s.id, 52)}: ${s.reason}${s.bytes === undefined ? '' : ` (${formatBytes(s.bytes)})`}`))
    if (!all && largest.length > 10) lines.push(`  … ${largest.length - 10} more (--all)`)
  }
  lines.push('', `Formats: ${found.formats.join(', ')}. Next: lowbit quantize ${model}`)
  return lines.join('\n')
}

function rest(found: Inspection, shown: Inspection['sites']): { bytes: number; int8: number; int4: number } {
  const names = new Set(shown.map((s) => s.id))
  return found.sites.filter((s) => !names.has(s.id)).reduce((sum, s) => ({ bytes: sum.bytes + s.bytes, int8: sum.int8 + s.int8, int4: sum.int4 + s.int4 }), { bytes: 0, int8: 0, int4: 0 })
}

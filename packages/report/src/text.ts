import { describeScheme, type Report } from '@lowbit/core'
import { chosenLine } from './chosen.js'
import { formatBytes, formatDecibels, formatPercent, shorten, textTable } from './table.js'

/** Sites shown one by one before the rest is only counted. */
const WORST = 8

/** The report as JSON text. */
export function reportJson(report: Report): string {
  return `${JSON.stringify(report, null, 2)}\n`
}

/** The report for a reader at a terminal: sizes, the worst sites, what stayed in float and why. */
export function formatReport(report: Report, output: string): string {
  const done = report.sites.filter((s) => s.status === 'quantized')
  const float = report.sites.filter((s) => s.status === 'float')
  const lines = [
    `${output}`,
    `${formatBytes(report.sizeBefore)} → ${formatBytes(report.sizeAfter)} (${formatPercent(report.sizeAfter / report.sizeBefore, 1)}), ${report.format}, ${done.length} of ${report.sites.length} sites quantized`,
  ]
  if (done.length > 0) {
    const worst = [...done].sort((a, b) => (a.outputSqnr ?? a.weightSqnr ?? 0) - (b.outputSqnr ?? b.weightSqnr ?? 0)).slice(0, WORST)
    const rows = worst.map((s) => [
      shorten(s.id, 48),
      s.op,
      s.shape.join(' × '),
      s.scheme === undefined ? '' : describeScheme(s.scheme),
      formatDecibels(s.weightSqnr ?? 0),
      s.outputSqnr === undefined ? '' : formatDecibels(s.outputSqnr),
    ])
    lines.push('', `Sites that lost most${done.length > WORST ? ` (${WORST} of ${done.length})` : ''}:`)
    lines.push(textTable([{ heading: 'site' }, { heading: 'op' }, { heading: 'N × K' }, { heading: 'scheme' }, { heading: 'weight dB', right: true }, { heading: 'output dB', right: true }], rows))
  }
  const chosen = chosenLine(report)
  if (chosen !== undefined) lines.push('', chosen)
  const left = floatLines([...float.map((s) => ({ reason: s.reason ?? 'no reason given', bytes: s.bytesAfter })), ...report.skipped])
  if (left.length > 0) lines.push('', 'Left in float:', ...left)
  const transforms = transformLines(report)
  if (transforms.length > 0) lines.push('', 'Transforms:', ...transforms)
  if (report.warnings.length > 0) lines.push('', 'Warnings:', ...report.warnings.slice(0, 20).map((w) => `  ${w}`))
  return lines.join('\n')
}

/** What stays in float, by reason, the largest first. */
export function floatLines(tensors: readonly { readonly reason: string; readonly bytes?: number }[]): readonly string[] {
  const reasons = new Map<string, { count: number; bytes: number }>()
  for (const { reason, bytes = 0 } of tensors) {
    const seen = reasons.get(reason) ?? { count: 0, bytes: 0 }
    reasons.set(reason, { count: seen.count + 1, bytes: seen.bytes + bytes })
  }
  return [...reasons].sort((a, b) => b[1].bytes - a[1].bytes).map(([reason, { count, bytes }]) => `  ${count} × ${reason}${bytes === 0 ? '' : ` (${formatBytes(bytes)})`}`)
}

/** What transforms did, and the reason where it was not folding into what comes before; equal ones counted. */
function transformLines({ transforms }: Report): readonly string[] {
  const counts = new Map<string, { count: number; first: string }>()
  for (const { algorithm, group, applied, reason } of transforms) {
    const line = `${algorithm.replace(/@[^@]*$/, '')}: ${applied.length === 0 ? 'left alone' : applied.join(', ')}${reason === undefined ? '' : `: ${reason}`}`
    const seen = counts.get(line)
    if (seen === undefined) counts.set(line, { count: 1, first: group })
    else seen.count++
  }
  const lines = [...counts].map(([line, { count, first }]) => `  ${count} × ${line} (${shorten(first, 40)}${count > 1 ? ' …' : ''})`)
  return lines.length > WORST ? [...lines.slice(0, WORST), `  and ${lines.length - WORST} other outcomes: see the JSON report`] : lines
}

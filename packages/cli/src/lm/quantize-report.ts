import { describeScheme, type Report, type SiteReport } from '@lowbit/core'
import { formatBytes, textTable } from '@lowbit/report'

/**
 * What became of a language model, for a terminal. Like is compared with like: bytes of the quantized matrices against the bytes
 * of the same matrices before, not against those of others.
 */
export function formatLmReport(report: Report, output: string): string {
  const owners = report.sites.filter((s) => s.bytesBefore > 0)
  const quantized = owners.filter((s) => s.status === 'quantized')
  const float = owners.filter((s) => s.status === 'float')
  const lines = [
    textTable(
      [{ heading: 'matrices' }, { heading: 'count', right: true }, { heading: 'N × K', right: true }, { heading: 'became' }, { heading: 'before', right: true }, { heading: 'after', right: true }, { heading: 'worst SQNR', right: true }],
      groups(owners).map((group) => [kindOf(group[0]), String(group.length), group[0].shape.join(' × '), became(group[0]), formatBytes(sum(group, 'bytesBefore')), formatBytes(sum(group, 'bytesAfter')), worst(group)]),
    ),
    '',
    `quantized: ${quantized.length} matrices, ${formatBytes(sum(quantized, 'bytesBefore'))} → ${formatBytes(sum(quantized, 'bytesAfter'))} (${share(sum(quantized, 'bytesAfter'), sum(quantized, 'bytesBefore'))} of the same matrices before)`,
  ]
  if (float.length > 0) {
    lines.push(`as they were: ${float.length} matrices, ${formatBytes(sum(float, 'bytesAfter'))}`)
    for (const [reason, sites] of byReason(float)) lines.push(`  ${some(sites)}: ${reason} (${formatBytes(sum(sites, 'bytesAfter'))})`)
  }
  for (const [reason, sites] of byReason(quantized)) lines.push(`  ${some(sites)}: ${reason}`)
  lines.push(`file: ${formatBytes(report.sizeAfter)}, ${output}`)
  if (report.damage !== undefined && report.damage.batches > 0) lines.push(`logits: ${report.damage.sqnr.toFixed(1)} dB signal over noise on ${report.damage.batches} windows of the text`)
  for (const warning of report.warnings) lines.push(`warning: ${warning}`)
  return lines.join('\n')
}

const kindOf = ({ id }: SiteReport): string => id.replace(/^layers\.\d+\./, '')

function became({ status, scheme }: SiteReport): string {
  return status === 'float' || scheme === undefined ? 'float' : describeScheme(scheme)
}

/** Matrices of one kind, size and fate. */
function groups(sites: readonly SiteReport[]): readonly (readonly SiteReport[])[] {
  const found = new Map<string, SiteReport[]>()
  for (const site of sites) {
    const key = JSON.stringify([kindOf(site), site.shape, became(site)])
    found.set(key, [...(found.get(key) ?? []), site])
  }
  return [...found.values()]
}

function byReason(sites: readonly SiteReport[]): ReadonlyMap<string, readonly SiteReport[]> {
  const found = new Map<string, SiteReport[]>()
  for (const site of sites) if (site.reason !== undefined) found.set(site.reason, [...(found.get(site.reason) ?? []), site])
  return found
}

const SHOWN = 4

const some = (sites: readonly SiteReport[]): string => `${sites.slice(0, SHOWN).map(({ id }) => id).join(', ')}${sites.length > SHOWN ? `, … (${sites.length})` : ''}`

const sum = (sites: readonly SiteReport[], key: 'bytesBefore' | 'bytesAfter'): number => sites.reduce((total, site) => total + site[key], 0)

const share = (part: number, whole: number): string => (whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`)

function worst(sites: readonly SiteReport[]): string {
  const values = sites.flatMap(({ weightSqnr }) => (weightSqnr === undefined ? [] : [weightSqnr]))
  return values.length === 0 ? '' : `${Math.min(...values).toFixed(1)} dB`
}

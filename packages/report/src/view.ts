import { describeScheme, type Comparison, type Report, type SiteReport } from '@lowbit/core'
import { barChart } from './bars.js'
import { worstSites, type Distribution, type ReportDetails } from './details.js'
import { distributionChart, distributionRows } from './distribution.js'
import { escapeText as escape } from './escape.js'
import { SATURATION_ADVICE, saturationRow } from './saturation.js'
import { formatBytes, formatDecibels, formatPercent } from './table.js'
import { folded, tableHtml } from './table-html.js'

/** Bars in the chart of sites. */
const CHARTED_SITES = 24

export interface ViewOptions {
  /** Above everything, as a heading. */
  readonly title?: string
  /** Of the first headings: 2 where the title is the page's. Default 2. */
  readonly level?: 2 | 3
  /** Rows of a table at most; the rest is counted. Default all. */
  readonly rows?: number
}

/** A report as HTML to put into `class="lowbit-report"` with {@link REPORT_STYLE}: no scripts, no links, names are text. */
export function reportView(report: Report, details: ReportDetails = { weights: [], activations: [] }, options: ViewOptions = {}): string {
  const { comparison } = report
  const { title, level = 2, rows = Infinity } = options
  const heading = (text: string): string => `<h${level}>${escape(text)}</h${level}>`
  const table = (caption: string, headings: readonly string[], all: readonly (readonly string[])[]): string =>
    tableHtml(all.length > rows ? `${caption}, the first ${rows} of ${all.length}` : caption, headings, all.length > rows ? all.slice(0, rows) : all)
  const worst = worstSites(report, CHARTED_SITES)
  const done = report.sites.filter((s) => s.status === 'quantized').length
  return [
    title === undefined ? '' : `<h1>${escape(title)}</h1>`,
    cards(report, done),
    report.warnings.length === 0 ? '' : `<div class="warnings"><strong>Warnings</strong><ul>${report.warnings.map((w) => `<li>${escape(w)}</li>`).join('')}</ul></div>`,
    rescued(report, heading, table),
    comparison === undefined ? '' : outputs(comparison, heading, table),
    worst.length === 0 ? '' : siteErrors(worst, done, heading),
    damage(comparison, heading),
    distributions('Weights of the worst sites', details.weights, heading),
    distributions('Inputs of the worst sites', details.activations, heading),
    `${heading('Everything')}${folded(`All ${report.sites.length} sites`, sitesTable(report.sites, table))}`,
    report.activations.length === 0 ? '' : folded(`All ${report.activations.length} activations`, activationsTable(report, table)),
    report.transforms.length === 0 ? '' : folded(`${report.transforms.length} transforms`, table('Transforms of the float model', ['fold group', 'algorithm', 'what was done', 'remark'], report.transforms.map((t) => [t.group, t.algorithm, t.applied.join(', '), t.reason ?? '']))),
    report.skipped.length === 0 ? '' : folded(`${report.skipped.length} places that stay as they are`, table('What was not offered, and why', ['place', 'reason', '#bytes'], report.skipped.map((s) => [s.id, s.reason, s.bytes === undefined ? '' : formatBytes(s.bytes)]))),
    folded('Recipe with exact versions', `<pre tabindex="0">${escape(JSON.stringify({ core: report.core, plugins: report.plugins, options: report.options }, null, 2))}</pre>`),
  ].join('\n')
}

type Heading = (text: string) => string
type Table = (caption: string, headings: readonly string[], rows: readonly (readonly string[])[]) => string

function cards(report: Report, done: number): string {
  const { comparison: c } = report
  const items: (readonly [string, string, string])[] = [
    ['Size', `${formatBytes(report.sizeBefore)} → ${formatBytes(report.sizeAfter)}`, `${formatPercent(report.sizeAfter / report.sizeBefore, 1)} of the original`],
    ['Sites', `${done} of ${report.sites.length}`, `quantized, as ${report.format}`],
  ]
  const worst = c?.outputs.reduce<Comparison['outputs'][number] | undefined>((a, b) => (a === undefined || b.sqnr < a.sqnr ? b : a), undefined)
  if (worst !== undefined) items.push(['Signal over error', `${formatDecibels(worst.sqnr)} dB`, worst.top1 === undefined ? `cosine ${worst.cosine.toFixed(5)}` : `${formatPercent(worst.top1, 1)} give the same top answer`])
  if (c?.latencyBefore !== undefined && c.latencyAfter !== undefined) items.push(['Time of a run here', `${c.latencyBefore.toFixed(2)} → ${c.latencyAfter.toFixed(2)} ms`, `${(c.latencyBefore / c.latencyAfter).toFixed(2)}× as fast`])
  return `<dl class="cards">${items.map(([label, value, note]) => `<div><dt>${escape(label)}</dt><dd>${escape(value)}<small>${escape(note)}</small></dd></div>`).join('')}</dl>`
}

function outputs(c: Comparison, heading: Heading, table: Table): string {
  const rows = c.outputs.map((o) => [o.name, formatDecibels(o.sqnr), o.cosine.toFixed(6), o.maxError.toPrecision(3), o.top1 === undefined ? '' : formatPercent(o.top1)])
  const saturation = c.saturation === undefined || c.saturation.length === 0 ? '' : `${heading('Saturation on some CPUs')}<p>${escape(SATURATION_ADVICE)}</p>${table('Sites that saturate', ['site', 'op', '#sums that differ', '#SQNR dB'], c.saturation.map((s) => saturationRow(s)))}`
  return `${heading('Outputs')}${table(`Against the original, over ${c.batches} ${c.batches === 1 ? 'batch' : 'batches'}`, ['output', '#SQNR dB', '#cosine', '#max error', '#top-1 equal'], rows)}${saturation}`
}

function siteErrors(worst: readonly SiteReport[], done: number, heading: Heading): string {
  const measured = worst.some((s) => s.outputSqnr !== undefined) ? 'output' : 'weight'
  const bars = worst.map((s) => ({ name: s.id, remark: s.op, value: s.outputSqnr ?? s.weightSqnr ?? 0 }))
  const rows = worst.map((s) => [s.id, s.op, s.weightSqnr === undefined ? '' : formatDecibels(s.weightSqnr), s.outputSqnr === undefined ? '' : formatDecibels(s.outputSqnr)])
  return `${heading('Error of each site')}<p>Signal to quantization noise of the ${measured} in decibels; shorter is worse. ${worst.length < done ? `The ${worst.length} worst of ${done}.` : ''}</p>${barChart(bars, `Signal to noise of the ${measured}, dB`, formatDecibels)}${folded('As a table', tableHtml('Error of each site', ['site', 'op', '#weight dB', '#output dB'], rows))}`
}

function damage(comparison: Comparison | undefined, heading: Heading): string {
  const layers = comparison?.layers ?? []
  if (layers.length === 0) return ''
  const shown = layers.slice(0, CHARTED_SITES)
  return `${heading('Damage of each site alone')}<p>Signal to noise of the model’s outputs in decibels with only this site computed as in the new model; shorter is worse.</p>${barChart(shown.map((l) => ({ name: l.id, value: l.sqnr })), 'Signal to noise of the outputs, dB', formatDecibels)}${folded('As a table', tableHtml('Damage of each site alone', ['site', '#dB'], shown.map((l) => [l.id, formatDecibels(l.sqnr)])))}`
}

function sitesTable(sites: readonly SiteReport[], table: Table): string {
  return table(
    'All sites',
    ['site', 'op', '#N × K', 'scheme', '#weight dB', '#output dB', '#bytes', 'remark'],
    sites.map((s) => [
      s.id,
      s.op,
      s.shape.join(' × '),
      s.scheme === undefined ? 'float' : describeScheme(s.scheme),
      s.weightSqnr === undefined ? '' : formatDecibels(s.weightSqnr),
      s.outputSqnr === undefined ? '' : formatDecibels(s.outputSqnr),
      formatBytes(s.bytesAfter),
      s.reason ?? '',
    ]),
  )
}

/** What did not bear the type asked for. */
function rescued({ sites, activations }: Report, heading: Heading, table: Table): string {
  const rows = [
    ...activations.filter(isRescued).map((a) => [a.id, 'activation', a.dtype ?? 'float', a.reason ?? '']),
    ...sites.filter(isRescued).map((s) => [s.id, 'weight', s.scheme?.dtype ?? 'float', s.reason ?? '']),
  ]
  return rows.length === 0 ? '' : `${heading('Rescued')}<p>Rounding these to 8 bits made most of the error.</p>${table('What got more bits', ['place', 'what', 'now', 'remark'], rows)}`
}

function isRescued({ reason }: { readonly reason?: string }): boolean {
  return reason?.startsWith('rescued') === true
}

function activationsTable(report: Report, table: Table): string {
  return table('All activations', ['tensor', 'type', '#scale', '#zero point', '#min', '#max', 'remark'], report.activations.map((a) => [a.id, a.dtype ?? 'float', a.scale?.toPrecision(4) ?? '', String(a.zeroPoint ?? ''), a.min?.toPrecision(4) ?? '', a.max?.toPrecision(4) ?? '', a.reason ?? '']))
}

function distributions(title: string, list: readonly Distribution[], heading: Heading): string {
  if (list.length === 0) return ''
  const figures = list.map((d) => {
    const clipped = d.clipped === undefined ? '' : `; codes reach ${d.range?.map((v) => v.toPrecision(4)).join(' … ') ?? ''}, ${formatPercent(d.clipped, 3)} clipped`
    const caption = `<figcaption>${escape(d.title)}<small>${escape(`${d.low.toPrecision(4)} … ${d.high.toPrecision(4)}${clipped}`)}</small></figcaption>`
    return `<figure>${caption}${distributionChart(d)}${folded('As a table', tableHtml(d.title, ['#from', '#to', '#values'], distributionRows(d)))}</figure>`
  })
  const limits = list.some((d) => d.range !== undefined) ? 'red lines are the limits of the codes, what lies outside is clipped' : 'the codes of weights reach their largest values, in parts of the tensor that share a scale'
  return `${heading(title)}<p>Heights are square roots of counts, so that tails show; ${limits}.</p><div class="grid">${figures.join('')}</div>`
}

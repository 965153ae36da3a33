import { describeScheme, type Comparison, type Report, type SiteReport } from '@lowbit/core'
import { barChart, distributionChart } from './charts.js'
import { worstSites, type Distribution, type ReportDetails } from './details.js'
import { escapeText as escape } from './escape.js'
import { SATURATION_ADVICE, saturationRow } from './saturation.js'
import { formatBytes, formatDecibels, formatPercent } from './table.js'

/** Bars in the chart of sites. */
const CHARTED_SITES = 40

/** The report as one page that needs nothing else: no scripts, no links. */
export function reportHtml(report: Report, details: ReportDetails, comparison: Comparison | undefined, title: string): string {
  const worst = worstSites(report, CHARTED_SITES)
  const measured = worst.some((s) => s.outputSqnr !== undefined) ? 'output' : 'weight'
  const done = report.sites.filter((s) => s.status === 'quantized').length
  const parts = [
    `<h1>${escape(title)}</h1>`,
    cards([
      ['size', `${formatBytes(report.sizeBefore)} → ${formatBytes(report.sizeAfter)}`, formatPercent(report.sizeAfter / report.sizeBefore, 1)],
      ['sites', `${done} of ${report.sites.length} quantized`, report.format],
      ...(comparison === undefined ? [] : comparisonCards(comparison)),
    ]),
    rescuedTable(report),
    report.warnings.length === 0 ? '' : `<h2>Warnings</h2><ul>${report.warnings.map((w) => `<li>${escape(w)}</li>`).join('')}</ul>`,
    comparison === undefined ? '' : `<h2>Outputs</h2>${outputsTable(comparison)}`,
    comparison?.saturation === undefined || comparison.saturation.length === 0 ? '' : `<h2>Saturation on some CPUs</h2><p>${escape(SATURATION_ADVICE)}</p>${table(['site', 'op', '#sums that differ', '#SQNR dB'], comparison.saturation.map((s) => saturationRow(s)))}`,
    worst.length === 0 ? '' : `<h2>Error of each site</h2><p>Signal to quantization noise of the ${measured} in decibels; shorter is worse. ${worst.length} worst of ${done}.</p>${barChart(worst.map((s) => ({ name: s.id, value: s.outputSqnr ?? s.weightSqnr ?? 0 })), 'dB')}`,
    comparison?.layers === undefined || comparison.layers.length === 0 ? '' : `<h2>Damage of each site alone</h2><p>Signal to noise of the model’s outputs in decibels with only this site computed as in the new model; shorter is worse.</p>${barChart(comparison.layers.slice(0, CHARTED_SITES).map((l) => ({ name: l.id, value: l.sqnr })), 'dB')}`,
    distributions('Weights of the worst sites', details.weights, distributionChart),
    distributions('Inputs of the worst sites', details.activations, distributionChart),
    `<h2>Sites</h2>${sitesTable(report.sites)}`,
    report.activations.length === 0 ? '' : `<h2>Activations</h2>${activationsTable(report)}`,
    report.transforms.length === 0 ? '' : `<h2>Transforms</h2>${table(['fold group', 'algorithm', 'what was done', 'remark'], report.transforms.map((t) => [t.group, t.algorithm, t.applied.join(', '), t.reason ?? '']))}`,
    report.skipped.length === 0 ? '' : `<h2>Not offered</h2>${table(['place', 'reason'], report.skipped.map((s) => [s.id, s.reason]))}`,
    `<h2>Recipe</h2><pre>${escape(JSON.stringify({ core: report.core, plugins: report.plugins, options: report.options }, null, 2))}</pre>`,
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escape(title)}</title><style>${STYLE}</style></head>
<body>${parts.join('\n')}</body></html>
`
}

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#1c1b1f}
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;font-size:13px}
td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #ddd;overflow-wrap:anywhere}td.n,th.n{text-align:right;white-space:nowrap}
.cards{display:flex;flex-wrap:wrap;gap:1rem}.card{border:1px solid #ddd;border-radius:8px;padding:.75rem 1rem;min-width:10rem}
.card b{display:block;font-size:1.15rem}.card small{color:#555}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:1rem}
figure{margin:0}figcaption{font-size:12px;color:#555}pre{background:#f6f6f6;padding:1rem;overflow:auto;font-size:12px}svg{max-width:100%;height:auto}`

function cards(items: readonly (readonly [string, string, string])[]): string {
  return `<div class="cards">${items.map(([label, value, note]) => `<div class="card"><small>${escape(label)}</small><b>${escape(value)}</b><small>${escape(note)}</small></div>`).join('')}</div>`
}

function comparisonCards(c: Comparison): readonly (readonly [string, string, string])[] {
  const worst = c.outputs.reduce((a, b) => (b.sqnr < a.sqnr ? b : a), c.outputs[0])
  const out: (readonly [string, string, string])[] = []
  if (worst !== undefined) out.push(['accuracy', `${formatDecibels(worst.sqnr)} dB`, worst.top1 === undefined ? `cosine ${worst.cosine.toFixed(5)}` : `${formatPercent(worst.top1, 1)} top-1 equal`])
  if (c.latencyBefore !== undefined && c.latencyAfter !== undefined) out.push(['latency', `${c.latencyBefore.toFixed(2)} → ${c.latencyAfter.toFixed(2)} ms`, `${(c.latencyBefore / c.latencyAfter).toFixed(2)}× as fast here`])
  return out
}

function outputsTable(c: Comparison): string {
  return table(['output', '#SQNR dB', '#cosine', '#max error', '#top-1 equal'], c.outputs.map((o) => [o.name, formatDecibels(o.sqnr), o.cosine.toFixed(6), o.maxError.toPrecision(3), o.top1 === undefined ? '' : formatPercent(o.top1)]))
}

function sitesTable(sites: readonly SiteReport[]): string {
  return table(
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
function rescuedTable({ sites, activations }: Report): string {
  const rows = [
    ...activations.filter(isRescued).map((a) => [a.id, 'activation', a.dtype ?? 'float', a.reason ?? '']),
    ...sites.filter(isRescued).map((s) => [s.id, 'weight', s.scheme?.dtype ?? 'float', s.reason ?? '']),
  ]
  return rows.length === 0 ? '' : `<h2>Rescued</h2><p>Rounding these to 8 bits made most of the error.</p>${table(['place', 'what', 'now', 'remark'], rows)}`
}

function isRescued({ reason }: { readonly reason?: string }): boolean {
  return reason?.startsWith('rescued') === true
}

function activationsTable(report: Report): string {
  return table(['tensor', 'type', '#scale', '#zero point', '#min', '#max', 'remark'], report.activations.map((a) => [a.id, a.dtype ?? 'float', a.scale?.toPrecision(4) ?? '', String(a.zeroPoint ?? ''), a.min?.toPrecision(4) ?? '', a.max?.toPrecision(4) ?? '', a.reason ?? '']))
}

function distributions(title: string, list: readonly Distribution[], draw: (d: Distribution) => string): string {
  if (list.length === 0) return ''
  const figures = list.map((d) => {
    const clipped = d.clipped === undefined ? '' : `; codes reach ${d.range?.map((v) => v.toPrecision(4)).join(' … ') ?? ''}, ${formatPercent(d.clipped, 3)} clipped`
    return `<figure>${draw(d)}<figcaption>${d.low.toPrecision(4)} … ${d.high.toPrecision(4)}${clipped}</figcaption></figure>`
  })
  const limits = list.some((d) => d.range !== undefined) ? 'red lines are the limits of the codes' : 'the codes of weights reach their largest values, in parts of the tensor that share a scale'
  return `<h2>${title}</h2><p>Heights are square roots of counts, so that tails show; ${limits}.</p><div class="grid">${figures.join('')}</div>`
}

/** Headings that begin with # head columns of numbers. */
function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const number = headings.map((h) => h.startsWith('#'))
  const head = headings.map((h, i) => `<th${number[i] ? ' class="n"' : ''}>${escape(h.replace(/^#/, ''))}</th>`).join('')
  const body = rows.map((r) => `<tr>${r.map((cell, i) => `<td${number[i] ? ' class="n"' : ''}>${escape(cell)}</td>`).join('')}</tr>`).join('')
  return `<table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>`
}

import { folded, formatBytes, formatPercent, tableHtml, treemap, type Tile } from '@lowbit/report'
import { html, type TemplateResult } from 'lit-html'
import { guard } from 'lit-html/directives/guard.js'
import { unsafeHTML } from 'lit-html/directives/unsafe-html.js'
import type { OnnxInspection } from '../lab/messages.js'

/** Rectangles of the map; the rest is one. */
const TILES = 60
/** Rows of the table on the page. */
const ROWS = 200

/** What is in the model, before anything is done to it. */
export function insideView(name: string, inspection: OnnxInspection): TemplateResult {
  const { bytes, inputs, outputs, opset, sites, skipped } = inspection
  const ref = (r: OnnxInspection['inputs'][number]): string => `${r.name} ${r.dtype ?? ''} [${(r.shape ?? []).join(', ')}]`
  const stored = sites.filter((s) => s.kind === 'stored')
  return html`
    <section aria-labelledby="inside-title">
      <h2 id="inside-title">What is inside</h2>
      <dl class="facts">
        <div><dt>Size</dt><dd>${formatBytes(bytes)}</dd></div>
        <div><dt>Can be made smaller</dt><dd>${sites.length - stored.length} ${sites.length - stored.length === 1 ? 'place' : 'places'}</dd></div>
        <div><dt>Quantized already</dt><dd>${stored.length === 0 ? 'nothing' : `${stored.length} places`}</dd></div>
        <div><dt>ONNX opset</dt><dd>${opset}</dd></div>
        <div class="wide"><dt>Inputs</dt><dd>${inputs.map(ref).join('; ')}</dd></div>
        <div class="wide"><dt>Outputs</dt><dd>${outputs.map(ref).join('; ')}</dd></div>
      </dl>
      ${guard([inspection], () => html`<div class="lowbit-report">${unsafeHTML(mapOf(name, inspection))}</div>`)}
      ${skipped.length === 0 ? '' : html`<h3>What stays as it is, and why</h3><ul class="reasons">${reasons(inspection).map(({ reason, count, bytes: size }) => html`<li><span>${reason}</span><span class="n">${count === 1 ? '1 place' : `${count} places`}${size === 0 ? '' : `, ${formatBytes(size)}`}</span></li>`)}</ul>`}
    </section>
  `
}

function mapOf(name: string, { bytes, sites, skipped }: OnnxInspection): string {
  const held = sites.reduce((sum, s) => sum + s.bytes, 0)
  const largest = [...sites].sort((a, b) => b.bytes - a.bytes)
  const stays = skipped.reduce((sum, s) => sum + (s.bytes ?? 0), 0)
  const tiles: Tile[] = largest.slice(0, TILES).map((s) => ({ name: s.id, value: s.bytes, kind: s.kind === 'stored' ? 'stored' : 'site', remark: `${s.op} ${s.shape.join(' × ')}, ${formatBytes(s.bytes)}` }))
  const rest = largest.slice(TILES)
  if (rest.length > 0) tiles.push({ name: `${rest.length} smaller places`, value: rest.reduce((sum, s) => sum + s.bytes, 0), kind: 'site', remark: 'together' })
  const other = Math.max(0, bytes - held)
  if (other > 0) tiles.push({ name: 'everything else', value: other, kind: 'stays', remark: `${formatBytes(other)}: what stays as it is${stays > 0 ? '' : ', and the graph'}` })
  const label = `Map of ${name} by bytes: ${formatPercent(held / Math.max(1, bytes), 0)} can be made smaller. Largest: ${largest.slice(0, 3).map((s) => `${s.id} ${formatBytes(s.bytes)}`).join(', ')}`
  const isThere = (kind: string): boolean => tiles.some((t) => t.kind === kind)
  const legend = `<ul class="legend">${isThere('site') ? '<li><i></i>can be made smaller</li>' : ''}${isThere('stored') ? '<li class="stored"><i></i>quantized already</li>' : ''}${isThere('stays') ? '<li class="stays"><i></i>stays as it is</li>' : ''}</ul>`
  const rows = largest.slice(0, ROWS).map((s) => [s.id, s.op, s.shape.join(' × '), ...[s.bytes, s.int8, s.int4].map((n) => (s.tiedTo === undefined ? formatBytes(n) : `shared with ${s.tiedTo}`))])
  const caption = largest.length > ROWS ? `The ${ROWS} largest of ${largest.length} places` : 'All places, the largest first'
  // A small screen gets a map of its own shape: letters keep their size.
  const [width, height] = innerWidth < 640 ? [380, 280] : [960, 320]
  return treemap(tiles, label, width, height) + legend + folded('The map as a table', tableHtml(caption, ['place', 'op', '#N × K', '#now', '#in int8', '#in int4, groups of 32'], rows))
}

function reasons({ skipped }: OnnxInspection): readonly { readonly reason: string; readonly count: number; readonly bytes: number }[] {
  const found = new Map<string, { count: number; bytes: number }>()
  for (const { reason, bytes = 0 } of skipped) {
    const seen = found.get(reason) ?? { count: 0, bytes: 0 }
    found.set(reason, { count: seen.count + 1, bytes: seen.bytes + bytes })
  }
  return [...found].map(([reason, n]) => ({ reason, ...n })).sort((a, b) => b.bytes - a.bytes || b.count - a.count)
}

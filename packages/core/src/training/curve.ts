/** One line of a learning-curve picture. */
export interface Curve {
  readonly name: string
  /** `[step, value]`; values that are not finite break the line. */
  readonly points: readonly (readonly [number, number])[]
}

export interface CurveOptions {
  readonly title?: string
  readonly width?: number
  readonly height?: number
  readonly xLabel?: string
  readonly yLabel?: string
  /** A logarithmic vertical axis, where all values are positive. */
  readonly logarithmic?: boolean
}

const COLOURS = ['#2563eb', '#dc2626', '#16a34a', '#9333ea', '#ea580c', '#0891b2', '#a16207', '#be185d', '#475569', '#65a30d', '#7c2d12', '#0f766e']
const MARGIN = { left: 64, right: 16, top: 34, bottom: 44 }
const LEGEND = { line: 16, mark: 18, letter: 6.2 }

const escape = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
const short = (v: number): string => Number(v.toPrecision(3)).toString()

/** Learning curves as a stand-alone SVG picture. The legend stands beside the plot, in the order in which the curves end. */
export function learningCurveSvg(curves: readonly Curve[], options: CurveOptions = {}): string {
  const { title = '', width = 760, height = 380, xLabel = 'step', yLabel = 'loss' } = options
  const finite = curves.flatMap((c) => c.points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)))
  const logarithmic = options.logarithmic === true && finite.length > 0 && finite.every(([, y]) => y > 0)
  const scaleY = (y: number): number => (logarithmic ? Math.log10(y) : y)
  const [x0, x1] = extent(finite.map(([x]) => x))
  const [y0, y1] = extent(finite.map(([, y]) => scaleY(y)))
  const legendWidth = LEGEND.mark + 8 + LEGEND.letter * curves.reduce((most, { name }) => Math.max(most, name.length), 0)
  const right = width - MARGIN.right - legendWidth
  const bottom = height - MARGIN.bottom
  const px = (x: number): string => (MARGIN.left + ((x - x0) / (x1 - x0)) * (right - MARGIN.left)).toFixed(1)
  const py = (y: number): string => (MARGIN.top + (1 - (scaleY(y) - y0) / (y1 - y0)) * (bottom - MARGIN.top)).toFixed(1)
  const colour = (i: number): string => COLOURS[i % COLOURS.length]
  const last = ({ points }: Curve): number => points.findLast(([, y]) => Number.isFinite(y))?.[1] ?? -Infinity
  const legend = curves.map((curve, i) => ({ curve, i })).sort((a, b) => last(b.curve) - last(a.curve))
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${width / 2}" y="18" text-anchor="middle" font-size="14">${escape(title)}</text>`,
    ...(logarithmic ? logTicks(y0, y1) : ticks(y0, y1)).map((value) => {
      const y = py(value)
      return `<line x1="${MARGIN.left}" x2="${right.toFixed(1)}" y1="${y}" y2="${y}" stroke="#e5e7eb"/><text x="${MARGIN.left - 6}" y="${(Number(y) + 4).toFixed(1)}" text-anchor="end">${short(value)}</text>`
    }),
    ...ticks(x0, x1).map((value) => `<line x1="${px(value)}" x2="${px(value)}" y1="${bottom}" y2="${bottom + 4}" stroke="#9ca3af"/><text x="${px(value)}" y="${bottom + 16}" text-anchor="middle">${short(value)}</text>`),
    `<line x1="${MARGIN.left}" x2="${right.toFixed(1)}" y1="${bottom}" y2="${bottom}" stroke="#9ca3af"/>`,
    `<text x="${((MARGIN.left + right) / 2).toFixed(1)}" y="${height - 8}" text-anchor="middle">${escape(xLabel)}</text>`,
    `<text transform="translate(14 ${(MARGIN.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escape(yLabel)}</text>`,
    ...curves.map((curve, i) => `<path d="${linePath(curve, px, py)}" fill="none" stroke="${colour(i)}" stroke-width="1.5"/>`),
    ...legend.map(({ curve, i }, place) => {
      const y = MARGIN.top + 8 + LEGEND.line * place
      const x = right + 8
      return `<line x1="${x.toFixed(1)}" x2="${(x + LEGEND.mark - 4).toFixed(1)}" y1="${y - 4}" y2="${y - 4}" stroke="${colour(i)}" stroke-width="2"/><text x="${(x + LEGEND.mark).toFixed(1)}" y="${y}">${escape(curve.name)}</text>`
    }),
    '</svg>',
  ]
  return parts.join('\n')
}

function extent(values: readonly number[]): [number, number] {
  let low = Infinity
  let high = -Infinity
  for (const v of values) {
    if (v < low) low = v
    if (v > high) high = v
  }
  if (low > high) return [0, 1]
  return low === high ? [low - 0.5, high + 0.5] : [low, high]
}

/** Four to nine round numbers from low to high: steps of 1, 2 or 5 times a power of ten. */
function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * (rough / power < 1.5 ? 1 : rough / power < 3.5 ? 2 : rough / power < 7.5 ? 5 : 10)
  const first = Math.ceil(low / step)
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step)
}

/** 1, 2 and 5 times each power of ten between two logarithms; over more than two decades the powers alone. */
function logTicks(low: number, high: number): number[] {
  const parts = high - low > 2 ? [1] : [1, 2, 5]
  const all = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, i) => parts.map((part) => part * 10 ** (Math.floor(low) + i))).flat()
  return all.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high)
}

function linePath(curve: Curve, px: (x: number) => string, py: (y: number) => string): string {
  let path = ''
  let open = false
  for (const [x, y] of curve.points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      open = false
      continue
    }
    path += `${open ? 'L' : 'M'}${px(x)} ${py(y)}`
    open = true
  }
  return path
}

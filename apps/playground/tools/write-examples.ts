/**
 * Writes the models that come with the page:
 *   npx tsx --tsconfig tsconfig.base.json apps/playground/tools/write-examples.ts digits
 *   npx tsx --tsconfig tsconfig.base.json apps/playground/tools/write-examples.ts stories stories260K.bin tok512.bin
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createCanvas, GlobalFonts, type Canvas } from '@napi-rs/canvas'
import { openLayersModel } from '@lowbit/backend-tfjs'
import { toFloat16 } from '@lowbit/core'
import { memorySource, openLlama2c, writeGguf, type GgufTensorSource, type GgufValue } from '@lowbit/formats/gguf'
import { atomicWrite } from '@lowbit/formats/node'
import type { Digits } from '../../../examples/qat-mnist/src/digits.js'
import { loadTf } from '../../../examples/qat-mnist/src/load-tf.js'
import { network } from '../../../examples/qat-mnist/src/network.js'
import { accuracy, train } from '../../../examples/qat-mnist/src/training.js'

const examples = join(import.meta.dirname, '../public/examples')
const SIDE = 28
const TRAINED = 8000
const SHOWN = 48

const [what, ...files] = process.argv.slice(2)
if (what === 'digits') await writeDigits()
else if (what === 'stories') await writeStories(...(files as [string, string]))
else throw new Error('digits, or stories with a checkpoint and a tokenizer')

/** A network that reads digits which are drawn here, in fonts, sizes and angles that it has not all seen. */
async function writeDigits(): Promise<void> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')), 'ttf')
  const fonts = ['DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSerif', 'DejaVuSerif-Italic', 'DejaVuSansMono', 'DejaVuSans-ExtraLight', 'DejaVuSansCondensed-Oblique']
  for (const font of fonts) GlobalFonts.registerFromPath(join(folder, `${font}.ttf`), font.replaceAll('-', ''))
  const random = generator(7)
  const tf = await loadTf()
  const data = draw(TRAINED, fonts, random)
  const test = draw(2000, fonts, generator(99))
  const model = network(tf, 3)
  await train(tf, model, data, { epochs: 4, batch: 32, learningRate: 3e-3, seed: 1 })
  console.info(`accuracy ${accuracy(tf, model, test).toFixed(2)} % of drawings it has not seen`)
  const host = await openLayersModel(tf, model)
  const artifact = await host.emit('dequantize')
  await atomicWrite(join(examples, 'digits.onnx'), [artifact.bytes()])
  const shown = generator(2024)
  const images = Array.from({ length: SHOWN }, (_, i) => ({ name: `digit-${String(i).padStart(2, '0')}.png`, png: drawOne(i % 10, fonts, shown).toBuffer('image/png').toString('base64') }))
  await atomicWrite(join(examples, 'digits.json'), [new TextEncoder().encode(`${JSON.stringify({ labels: Array.from({ length: 10 }, (_, i) => String(i)), images })}\n`)])
}

function draw(count: number, fonts: readonly string[], random: () => number): Digits {
  const images = new Float32Array(count * SIDE * SIDE)
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10)
  for (let i = 0; i < count; i++) {
    const { data } = drawOne(labels[i], fonts, random).getContext('2d').getImageData(0, 0, SIDE, SIDE)
    for (let p = 0; p < SIDE * SIDE; p++) images[i * SIDE * SIDE + p] = data[4 * p] / 255
  }
  return { images, labels, count }
}

function drawOne(digit: number, fonts: readonly string[], random: () => number): Canvas {
  const canvas = createCanvas(SIDE, SIDE)
  const context = canvas.getContext('2d')
  context.fillStyle = '#000'
  context.fillRect(0, 0, SIDE, SIDE)
  context.translate(SIDE / 2 + (random() - 0.5) * 5, SIDE / 2 + (random() - 0.5) * 5)
  context.rotate((random() - 0.5) * 0.9)
  context.transform(1, 0, (random() - 0.5) * 0.7, 0.75 + random() * 0.5, 0, 0)
  context.font = `${17 + Math.floor(random() * 9)}px ${fonts[Math.floor(random() * fonts.length)].replaceAll('-', '')}`
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  const light = 140 + Math.floor(random() * 116)
  context.fillStyle = `rgb(${light},${light},${light})`
  context.fillText(String(digit), 0, 1)
  const image = context.getImageData(0, 0, SIDE, SIDE)
  for (let p = 0; p < SIDE * SIDE; p++) {
    const value = Math.max(0, Math.min(255, image.data[4 * p] + (random() - 0.5) * 90))
    image.data.fill(value, 4 * p, 4 * p + 3)
  }
  context.putImageData(image, 0, 0)
  return canvas
}

/** mulberry32 */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The smallest model of llama2.c (MIT) as GGUF: matrices in float16, its tokenizer inside. */
async function writeStories(checkpoint: string, tokenizer: string): Promise<void> {
  const file = await openLlama2c(memorySource(new Uint8Array(readFileSync(checkpoint)), 'stories260K'))
  const metadata = new Map<string, GgufValue>(file.metadata)
  metadata.set('general.name', { type: 'string', value: 'stories260K' })
  metadata.set('general.license', { type: 'string', value: 'mit' })
  for (const [key, value] of tokenizerMetadata(new Uint8Array(readFileSync(tokenizer)))) metadata.set(key, value)
  const tensors = [...file.tensors.values()].map(({ name, shape }): GgufTensorSource => {
    const isMatrix = shape.length > 1
    return {
      name,
      shape,
      type: isMatrix ? 'F16' : 'F32',
      data: async () => {
        const values = await file.floats(name)
        const packed = isMatrix ? toFloat16(values.data) : values.data
        return new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength)
      },
    }
  })
  const pieces: Uint8Array[] = []
  for await (const piece of writeGguf({ metadata, tensors })) pieces.push(piece)
  await atomicWrite(join(examples, 'stories260K.gguf'), pieces)
}

/** `tokenizer.bin`: u32 longest piece, then for each token f32 score, u32 length, its UTF-8. */
function tokenizerMetadata(bytes: Uint8Array): ReadonlyMap<string, GgufValue> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const tokens: string[] = []
  const scores: number[] = []
  for (let at = 4; at < bytes.length; ) {
    const length = view.getUint32(at + 4, true)
    const spelling = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(at + 8, at + 8 + length))
    scores.push(view.getFloat32(at, true))
    tokens.push(tokens.length < 3 ? spelling.trim() : tokens.length < 259 ? spelling : spelling.replaceAll(' ', '\u2581'))
    at += 8 + length
  }
  return new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', items: 'string', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', items: 'float32', value: Float32Array.from(scores) }],
    ['tokenizer.ggml.token_type', { type: 'array', items: 'int32', value: Int32Array.from(tokens, (_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1)) }],
    ['tokenizer.ggml.bos_token_id', { type: 'uint32', value: 1 }],
    ['tokenizer.ggml.eos_token_id', { type: 'uint32', value: 2 }],
    ['tokenizer.ggml.unknown_token_id', { type: 'uint32', value: 0 }],
  ])
}

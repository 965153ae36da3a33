import { readdir } from 'node:fs/promises'
import { loadImage, createCanvas } from '@napi-rs/canvas'
import type { Batch } from '@lowbit/core'
import { type BenchModel, compareClassifiers } from './bench-model.ts'
import { needSharedData } from './shared.ts'

const SIZE = 224
const MEAN = [0.485, 0.456, 0.406]
const STD = [0.229, 0.224, 0.225]

/** SqueezeNet 1.1 on 300 ImageNet pictures, 100 to calibrate and 200 to test. */
export function squeezenet(): BenchModel {
  let test: Promise<LabelledImages> | undefined
  return {
    name: 'squeezenet1.1',
    path: needSharedData('squeezenet1.1.onnx'),
    calibration: async () => (await images('calibration')).batches,
    evaluate: async (float, quantized) => {
      const { batches, labels } = await (test ??= images('test'))
      return compareClassifiers(batches, float, quantized, labels)
    },
  }
}

interface LabelledImages {
  /** Centre crops of 224, normalized, `[1, 3, 224, 224]`. */
  readonly batches: readonly Batch[]
  /** ImageNet classes: what the files are named after. */
  readonly labels: readonly number[]
}

async function images(part: string): Promise<LabelledImages> {
  const folder = needSharedData(`imagenet-sample/${part}`)
  const files = (await readdir(folder)).filter((f) => f.endsWith('.jpg')).sort()
  const batches = await Promise.all(files.map((file) => imageBatch(`${folder}/${file}`)))
  return { batches, labels: files.map((f) => Number.parseInt(f, 10)) }
}

async function imageBatch(path: string): Promise<Batch> {
  const image = await loadImage(path)
  const context = createCanvas(SIZE, SIZE).getContext('2d')
  context.drawImage(image, -Math.floor((image.width - SIZE) / 2), -Math.floor((image.height - SIZE) / 2))
  const pixels = context.getImageData(0, 0, SIZE, SIZE).data
  const plane = SIZE * SIZE
  const data = new Float32Array(3 * plane)
  for (let p = 0; p < plane; p++) {
    for (let c = 0; c < 3; c++) data[c * plane + p] = ((pixels[p * 4 + c] ?? 0) / 255 - (MEAN[c] ?? 0)) / (STD[c] ?? 1)
  }
  return { data: { dtype: 'float32', shape: [1, 3, SIZE, SIZE], data } }
}

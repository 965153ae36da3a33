import { type Json, LowbitError } from '@lowbit/core'
import type { Expand } from './dequantize-weight.js'

/** The setting `expand`. @throws LOWBIT_ARGUMENT for anything but `run` and `load` */
export function expandSetting(settings: Readonly<Record<string, Json>>): Expand {
  const setting = settings['expand']
  if (setting === undefined) return 'run'
  if (setting === 'run' || setting === 'load') return setting
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'setting expand', found: JSON.stringify(setting), expected: "'run' or 'load'" })
}

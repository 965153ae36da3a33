import type { ModelHost } from '../contract/v2/host.js'
import type { QuantizeOptions } from '../pipeline/options.js'
import { LowbitError } from '../errors.js'
import { checkOptions } from './check-options.js'
import { requireShallow } from './depth.js'
import { QUANTIZE_OPTIONS } from './quantize-options.js'

/**
 * Holds options, before any work, to what `quantize` declares and to what the host declares for its formats.
 * @throws LOWBIT_ARGUMENT naming the option and the one that was probably meant
 */
export function checkQuantizeOptions(options: QuantizeOptions): void {
  checkOptions(QUANTIZE_OPTIONS, options, { form: 'value', code: 'LOWBIT_ARGUMENT', place: (path) => (path === '' ? 'options of quantize' : `quantize({ ${path} })`) })
}

/**
 * Holds what depends on the format to what the host declares: settings and static activations.
 * @throws LOWBIT_ARGUMENT for a setting that the host does not have, that has another type, or that this format does not read
 */
export function checkForFormat({ name, supports }: ModelHost, format: string, { settings, activations }: QuantizeOptions): void {
  const { staticFormats, settings: declared } = supports
  if (activations !== undefined && staticFormats !== undefined && !staticFormats.includes(format)) {
    throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'quantize({ activations })', found: `does nothing with format ${format}`, expected: staticFormats.length === 0 ? `no activations: no format of ${name} holds them` : `format ${staticFormats.join(' or ')}`, fix: 'leave activations out, or give another format' })
  }
  if (settings === undefined) return
  requireShallow(settings, 'settings')
  if (declared === undefined) return
  checkOptions(declared, settings, { form: 'json', code: 'LOWBIT_ARGUMENT', place: (path) => (path === '' ? `settings of ${name}` : `setting ${path}`), surroundings: (option) => (option === 'format' ? format : undefined) })
}

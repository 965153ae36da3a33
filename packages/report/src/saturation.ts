import type { Comparison, SiteSaturation } from '@lowbit/core'
import { formatDecibels, formatPercent, shorten, textTable } from './table.js'

/** Sites shown one by one. */
const SHOWN = 10

/** What to say of sites that depend on the CPU, for readers who cannot see it on their own machine. */
export const SATURATION_ADVICE =
  'On x86 without VNNI (AVX2 only) these sites compute something else: kernels for signed weights add pairs of products in 16 bits and saturate. Quantize with unsigned weights (lowbit’s default) or --reduce-range.'

/** The warning for a terminal; nothing where no site saturates. */
export function saturationLines({ saturation = [] }: Comparison): readonly string[] {
  if (saturation.length === 0) return []
  const table = textTable([{ heading: 'site' }, { heading: 'op' }, { heading: 'sums that differ', right: true }, { heading: 'SQNR dB', right: true }], saturation.slice(0, SHOWN).map((s) => saturationRow(s, 60)))
  return ['', `Warning: ${saturation.length} sites saturate on some CPUs.`, SATURATION_ADVICE, table]
}

export function saturationRow({ id, op, share, sqnr }: SiteSaturation, width = Infinity): readonly [string, string, string, string] {
  return [shorten(id, width), op, formatPercent(share, 2), formatDecibels(sqnr)]
}

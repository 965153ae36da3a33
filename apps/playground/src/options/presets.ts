import type { InspectedSite } from '@lowbit/report'
import type { QuantizeValues } from 'lowbit/recipes'
import type { OnnxInspection } from '../lab/messages.js'

/** A choice in plain words. What it means is what the command makes of the same values. */
export interface Preset {
  readonly id: string
  readonly title: string
  readonly about: string
  readonly values: QuantizeValues
  /** It cannot do without calibration data. */
  readonly calibrated?: true
  /** Bytes of a site's weight, about. */
  readonly bytes: (site: InspectedSite) => number
}

export const PRESETS: readonly Preset[] = [
  { id: 'half', title: 'Half the size', about: '16-bit weights. Answers stay the same to four digits. No data needed; no faster.', values: { weights: ['int16'], format: 'dequantize', algorithm: 'rtn' }, bytes: ({ bytes }) => bytes / 2 },
  { id: 'quarter', title: 'A quarter', about: '8-bit weights, numbers between layers rounded as they come. No data needed; a good first try.', values: { weights: ['int8'], format: 'dynamic' }, bytes: ({ int8 }) => int8 },
  { id: 'quarter-calibrated', title: 'A quarter, calibrated', about: '8 bits from end to end, ranges learnt from your samples. The fastest on most processors.', values: { weights: ['int8'], format: 'qdq' }, calibrated: true, bytes: ({ int8 }) => int8 },
  { id: 'eighth', title: 'An eighth', about: '4-bit weights in groups of 32. No data needed; small models feel it.', values: { weights: ['int4'], group: 32, format: 'dequantize', algorithm: 'rtn' }, bytes: ({ int4 }) => int4 },
  { id: 'eighth-calibrated', title: 'An eighth, calibrated', about: '4-bit weights, each row rounded so that its output suffers least on your samples. Takes longest.', values: { weights: ['int4'], group: 32, format: 'dequantize', algorithm: 'best' }, calibrated: true, bytes: ({ int4 }) => int4 },
]

/** How large the file gets, about: what is no site stays as it is. */
export function estimate(preset: Preset, { bytes, sites }: OnnxInspection): number {
  const own = sites.filter((s) => s.tiedTo === undefined && s.kind !== 'stored')
  return Math.round(bytes + own.reduce((sum, site) => sum + Math.min(0, preset.bytes(site) - site.bytes), 0))
}

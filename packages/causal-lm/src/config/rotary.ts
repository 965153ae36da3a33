import { LowbitError } from '@lowbit/core'
import type { Fields } from './fields.js'
import type { Rotary } from './model-config.js'

/** Angles a position `base^(-2i / rotated)`, in float32 as transformers computes them (Su et al. 2021). */
export function plainRotary(base: number, rotated: number): Rotary {
  return { base, frequencies: Float32Array.from({ length: rotated / 2 }, (_, i) => 1 / Math.fround(Math.pow(base, Math.fround((2 * i) / rotated)))) }
}

/** All angles divided by a factor (position interpolation). */
export function linearRotary({ base, frequencies }: Rotary, factor: number): Rotary {
  return { base, frequencies: frequencies.map((f) => f / factor) }
}

/** Each angle divided by its own factor: `rope_freqs` of GGUF. @throws LOWBIT_SHAPE, LOWBIT_NONFINITE. */
export function dividedRotary({ base, frequencies }: Rotary, factors: Float32Array): Rotary {
  if (factors.length !== frequencies.length) throw new LowbitError('LOWBIT_SHAPE', { thing: 'rope_freqs.weight', found: `${factors.length} factors`, expected: `${frequencies.length}, one for each pair of a head` })
  if (factors.some((f) => !Number.isFinite(f) || f <= 0)) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'rope_freqs.weight', found: 'a factor that is no number above 0' })
  return { base, frequencies: frequencies.map((f, i) => f / factors[i]) }
}

/**
 * Llama 3's scaling: long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
 * @param scaling the fields of `rope_scaling`
 */
export function llama3Rotary({ base, frequencies }: Rotary, scaling: Fields): Rotary {
  const factor = scaling.positive('factor')
  const low = scaling.positive('low_freq_factor')
  const high = scaling.positive('high_freq_factor')
  const original = scaling.positive('original_max_position_embeddings')
  if (high <= low) throw scaling.wrong('high_freq_factor', high, `more than low_freq_factor (${low})`)
  return {
    base,
    frequencies: frequencies.map((f) => {
      const wavelength = (2 * Math.PI) / f
      if (wavelength < original / high) return f
      if (wavelength > original / low) return f / factor
      const smooth = (original / wavelength - low) / (high - low)
      return ((1 - smooth) * f) / factor + smooth * f
    }),
  }
}

/**
 * The angles that a configuration asks for.
 * @param scaling `rope_scaling` or an entry of `rope_parameters`
 * @throws LOWBIT_UNSUPPORTED for a way of scaling that is not known here
 */
export function scaledRotary(plain: Rotary, scaling: Fields | undefined): Rotary {
  const type = scaling?.text('rope_type') ?? scaling?.text('type') ?? 'default'
  if (scaling === undefined || type === 'default') return plain
  if (type === 'linear') return linearRotary(plain, scaling.positive('factor'))
  if (type === 'llama3') return llama3Rotary(plain, scaling)
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: scaling.thing, found: `rotary scaling '${type.slice(0, 80)}'`, expected: 'default, linear or llama3', fix: 'a model within its original context may be opened with the key removed' })
}

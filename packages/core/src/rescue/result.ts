/** A group of activations, or a weight, that ruined the model. */
export interface Rescued {
  readonly kind: 'activations' | 'weight'
  /** Tensors that share a scale; of a weight, the site that owns it. */
  readonly points: readonly string[]
  /** What takes the place of 8 bits: 16 where they measure as good as float. */
  readonly to: '16-bit' | 'float'
  /** Share of the output noise that it made when it was found. */
  readonly share: number
  /** Bytes that the weight takes more. */
  readonly bytes: number
}

export interface RescueResult {
  /** Output signal over noise in decibels, before and after. */
  readonly before: number
  readonly after: number
  readonly rescued: readonly Rescued[]
  /** What the figures leave out, in sentences. */
  readonly warnings?: readonly string[]
}

/** True for a value that has the form of a rescue's result: what a file gave back. */
export function isRescueResult(value: unknown): value is RescueResult {
  if (!isObject(value) || !isNumber(value['before']) || !isNumber(value['after'])) return false
  const { rescued, warnings } = value
  if (warnings !== undefined && !isTexts(warnings)) return false
  return Array.isArray(rescued) && rescued.every((r: unknown) => isObject(r) && (r['kind'] === 'activations' || r['kind'] === 'weight') && (r['to'] === '16-bit' || r['to'] === 'float') && isNumber(r['share']) && isNumber(r['bytes']) && isTexts(r['points']))
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

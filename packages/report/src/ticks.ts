/** Round numbers between two values, five at most. */
export function niceTicks(low: number, high: number): readonly number[] {
  const span = high - low
  if (!(span > 0) || !Number.isFinite(span)) return Number.isFinite(low) ? [low] : []
  const rough = span / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough
  const ticks: number[] = []
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9 && ticks.length < 6; i++) ticks.push(i * step)
  return ticks
}

export function numberText(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  return String(Number(value.toPrecision(4)))
}

/** Two digits behind the point are more than a screen shows. */
export function round(value: number): number {
  return Math.round(value * 100) / 100
}

const MAX_LENGTH = 60

/** Deeper than this is only hinted at. */
const MAX_DEPTH = 4

/** A value as a piece of an error message: short, and safe for values that are deep, circular or no JSON at all. */
export function show(value: unknown): string {
  const text = write(value, 0)
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH - 3)}…` : text
}

function write(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.length > MAX_LENGTH ? value.slice(0, MAX_LENGTH) : value)
  if (value === undefined) return 'nothing'
  if (typeof value === 'function') return `the function ${value.name || 'without a name'}`
  if (typeof value !== 'object' || value === null) return String(value)
  if (depth >= MAX_DEPTH) return '…'
  if (ArrayBuffer.isView(value)) return value.constructor.name
  if (Array.isArray(value)) return `[${value.slice(0, 8).map((v: unknown) => write(v, depth + 1)).join(',')}${value.length > 8 ? ',…' : ''}]`
  const entries = Object.entries(value).slice(0, 8)
  return `{${entries.map(([key, v]) => `${JSON.stringify(key)}:${write(v, depth + 1)}`).join(',')}}`
}

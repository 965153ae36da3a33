/** Bytes of the plain types of metadata. */
const SIZES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
const STRING = 8
const ARRAY = 9

/**
 * Where the counts, lengths, types, sizes and offsets stand in the header of a sound GGUF file: what a reader trusts if it trusts
 * anything. Empty for a file of the other byte order.
 */
export function headerNumbers(bytes: Uint8Array): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length < 24 || view.getUint32(4, true) > 3) return []
  const found: number[] = [4, 8, 16]
  let at = 24
  const skip = (bytes: number): void => {
    at += bytes
  }
  const u32 = (): number => {
    found.push(at)
    skip(4)
    return view.getUint32(at - 4, true)
  }
  const u64 = (): number => {
    found.push(at)
    skip(8)
    return Number(view.getBigUint64(at - 8, true))
  }
  const text = (): void => skip(u64())
  const value = (type: number): void => {
    if (type === STRING) return text()
    if (type !== ARRAY) {
      found.push(at)
      return skip(SIZES[type] ?? 0)
    }
    const inner = u32()
    const count = u64()
    for (let i = 0; i < count; i++) value(inner)
  }
  const tensors = Number(view.getBigUint64(8, true))
  const entries = Number(view.getBigUint64(16, true))
  for (let i = 0; i < entries && at < bytes.length; i++) {
    text()
    value(u32())
  }
  for (let i = 0; i < tensors && at < bytes.length; i++) {
    text()
    const rank = u32()
    for (let d = 0; d < rank; d++) u64()
    u32()
    u64()
  }
  return found
}

/** What a header may ask for. Real files: a vocabulary of 300,000 pieces with merges makes 15 MiB and 900,000 items. */
export const GGUF_LIMITS = {
  /** Bytes before the tensors. */
  headerBytes: 256 << 20,
  keys: 1 << 16,
  keyBytes: 65_535,
  tensors: 1 << 17,
  dimensions: 4,
  /** Lists inside lists. */
  nesting: 4,
  /** Texts, flags and lists in all metadata together; numbers lie packed and count by their bytes. */
  items: 1 << 23,
  alignment: 1 << 20,
  parts: 1 << 12,
} as const

import type { Message } from '@bufbuild/protobuf'

/** A message with some fields changed; the rest, unknown fields too, is shared with the original. */
export function withFields<M extends Message>(message: M, changes: Partial<M>): M {
  const copy: M = Object.create(Object.getPrototypeOf(message))
  return Object.assign(copy, message, changes)
}

/** A message that holds only some of the fields of another. */
export function onlyFields<M extends Message>(message: M, keep: (field: string) => boolean): M {
  const copy: M = Object.create(Object.getPrototypeOf(message))
  const fields = Object.entries(message).flatMap(([key, value]): [string, unknown][] => {
    if (key === '$typeName' || keep(key)) return [[key, value]]
    return Array.isArray(value) && key !== '$unknown' ? [[key, []]] : []
  })
  return Object.assign(copy, Object.fromEntries(fields))
}

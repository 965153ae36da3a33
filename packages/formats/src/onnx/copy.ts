import type { AnyMessage } from './wire/messages.js'

/** A message with some fields changed; the rest, unknown fields too, is shared with the original. */
export function withFields<M extends AnyMessage>(message: M, changes: Partial<M>): M {
  const copy: M = Object.create(Object.getPrototypeOf(message))
  return Object.assign(copy, message, changes)
}

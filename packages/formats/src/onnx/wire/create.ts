import { LowbitError } from '@lowbit/core'
import type { AnyMessage, Init, Message, MessageName } from './messages.js'
import type { Field, Schema } from './schema.js'

/** A message with nothing set, ready to be filled by its field names. */
export type OpenMessage = AnyMessage & Record<string, unknown>

/** A message in which nothing is set: lists are empty, choices have no case. */
export function blank(schema: Schema): OpenMessage {
  const message: OpenMessage = Object.create(schema.defaults)
  message.$typeName = `onnx.${schema.name}`
  for (const { name, list, choice } of schema.fields) {
    if (list) message[name] = []
    else if (choice !== undefined && message[choice] === undefined) message[choice] = { case: undefined }
  }
  return message
}

/**
 * A message from some of its fields; messages inside may be given by their fields too. Lists and bytes are taken as they are, not
 * copied.
 * @throws LOWBIT_ARGUMENT for a message of another kind
 */
export function create<N extends MessageName>(schema: Schema<N>, init?: Init<N>): Message<N>
export function create(schema: Schema, init: Readonly<Record<string, unknown>> = {}): OpenMessage {
  const message = blank(schema)
  for (const field of schema.fields) {
    if (field.choice !== undefined) {
      const given = init[field.choice]
      if (isCase(given) && given.case === field.name) message[field.choice] = { case: field.name, value: valueOf(field, given.value) }
      continue
    }
    const value = Object.hasOwn(init, field.name) ? init[field.name] : undefined
    if (value === undefined) continue
    message[field.name] = field.list && field.kind === 'message' && Array.isArray(value) ? value.map((item) => valueOf(field, item)) : valueOf(field, value)
  }
  return message
}

function valueOf(field: Field, value: unknown): unknown {
  if (field.child === undefined || typeof value !== 'object' || value === null) return value
  if (!('$typeName' in value)) return create(field.child, value)
  if (value.$typeName !== `onnx.${field.child.name}`) throw new LowbitError('LOWBIT_ARGUMENT', { thing: `field ${field.name}`, found: String(value.$typeName), expected: `onnx.${field.child.name}` })
  return value
}

function isCase(value: unknown): value is { readonly case: string; readonly value: unknown } {
  return typeof value === 'object' && value !== null && 'case' in value && 'value' in value
}
